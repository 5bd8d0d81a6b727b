/* kernels/act.tmpl.h: the activation functions of act.h over sixteen lanes.
 *
 * Step for step what ref/act.c does; where that branches, both sides are computed and one is picked.
 */
#include "kernels/act.h"
#include "kernels/kernels.h"

#define STEP 16

static inline struct v16 tanh16(struct v16 x)
{
    const struct v16 one = v16_set1(1.0F), a = v16_abs(x), z = v16_mul(a, a);
    struct v16 p = v16_set1(NB_TANH_T4);
    p = v16_fma(p, z, v16_set1(NB_TANH_T3));
    p = v16_fma(p, z, v16_set1(NB_TANH_T2));
    p = v16_fma(p, z, v16_set1(NB_TANH_T1));
    p = v16_fma(p, z, v16_set1(NB_TANH_T0));
    const struct v16 small = v16_fma(v16_mul(a, z), p, a);
    const struct v16 e = v16_exp(v16_mul(v16_set1(-2.0F), a));
    const struct v16 large = v16_div(v16_sub(one, e), v16_add(one, e));
    const struct v16 t = v16_if_less(a, v16_set1(NB_TANH_SPLIT), small, large);
    return v16_if_less(x, v16_set1(0.0F), v16_neg(t), t);
}

static inline struct v16 silu16(struct v16 x)
{
    return v16_div(x, v16_add(v16_set1(1.0F), v16_exp(v16_neg(x))));
}

static inline struct v16 gelu_tanh16(struct v16 x)
{
    const struct v16 p = v16_fma(v16_mul(x, x), v16_set1(NB_GELU_CUBE), v16_set1(NB_GELU_LINEAR));
    return v16_div(x, v16_add(v16_set1(1.0F), v16_exp(v16_mul(x, p))));
}

/* 1 - Phi(t), 0 <= t <= END */
static inline struct v16 gelu_tail16(struct v16 t)
{
    const struct v16 one = v16_set1(1.0F), shift = v16_set1(NB_GELU_SHIFT);
    const struct v16 half = v16_set1(-0.5F), h = v16_mul(t, t);
    const struct v16 l = v16_fma(t, t, v16_neg(h));
    struct v16 e = v16_exp(v16_mul(half, h));
    e = v16_fma(e, v16_mul(half, l), e);
    const struct v16 i = v16_div(one, v16_add(t, shift)), s = v16_mul(v16_sub(t, shift), i);
    struct v16 p = v16_set1(NB_GELU_G9);
    p = v16_fma(p, s, v16_set1(NB_GELU_G8));
    p = v16_fma(p, s, v16_set1(NB_GELU_G7));
    p = v16_fma(p, s, v16_set1(NB_GELU_G6));
    p = v16_fma(p, s, v16_set1(NB_GELU_G5));
    p = v16_fma(p, s, v16_set1(NB_GELU_G4));
    p = v16_fma(p, s, v16_set1(NB_GELU_G3));
    p = v16_fma(p, s, v16_set1(NB_GELU_G2));
    p = v16_fma(p, s, v16_set1(NB_GELU_G1));
    p = v16_fma(p, s, v16_set1(NB_GELU_G0));
    return v16_mul(v16_mul(e, i), p);
}

static inline struct v16 gelu16(struct v16 x)
{
    const struct v16 end = v16_set1(NB_GELU_END), a = v16_abs(x);
    const struct v16 q = gelu_tail16(v16_if_less(a, end, a, end));
    return v16_mul(x, v16_if_less(x, v16_set1(0.0F), q, v16_sub(v16_set1(1.0F), q)));
}

static inline struct v16 relu16(struct v16 x)
{
    return v16_max(v16_set1(0.0F), x);
}

static inline struct v16 relu2_16(struct v16 x)
{
    return v16_mul(relu16(x), relu16(x));
}

static inline struct v16 silu_grad16(struct v16 x)
{
    const struct v16 one = v16_set1(1.0F);
    const struct v16 s = v16_div(one, v16_add(one, v16_exp(v16_neg(x))));
    return v16_mul(s, v16_fma(x, v16_sub(one, s), one));
}

static inline struct v16 gelu_tanh_grad16(struct v16 far)
{
    const struct v16 end = v16_set1(NB_GELU_END), low = v16_set1(-NB_GELU_END);
    const struct v16 x = v16_if_less(far, low, low, v16_if_less(end, far, end, far));
    const struct v16 one = v16_set1(1.0F), z = v16_mul(x, x);
    const struct v16 p = v16_fma(z, v16_set1(NB_GELU_CUBE), v16_set1(NB_GELU_LINEAR));
    const struct v16 s = v16_div(one, v16_add(one, v16_exp(v16_mul(x, p))));
    const struct v16 d = v16_fma(z, v16_set1(-3.0F * NB_GELU_CUBE), v16_set1(-NB_GELU_LINEAR));
    return v16_fma(v16_mul(s, v16_sub(one, s)), v16_mul(x, d), s);
}

static inline struct v16 gelu_grad16(struct v16 x)
{
    const struct v16 zero = v16_set1(0.0F), end = v16_set1(NB_GELU_END), a = v16_abs(x);
    const struct v16 t = v16_if_less(a, end, a, end), tail = gelu_tail16(t);
    const struct v16 e = v16_exp(v16_mul(v16_set1(-0.5F), v16_mul(t, t)));
    return v16_fma(v16_if_less(x, zero, v16_neg(t), t), v16_mul(v16_set1(NB_GELU_PHI0), e),
                   v16_if_less(x, zero, tail, v16_sub(v16_set1(1.0F), tail)));
}

static inline struct v16 relu_grad16(struct v16 x)
{
    const struct v16 zero = v16_set1(0.0F);
    return v16_if_less(zero, x, v16_set1(1.0F), zero);
}

static inline struct v16 relu2_grad16(struct v16 x)
{
    return v16_mul(v16_set1(2.0F), relu16(x));
}

/* A loop for each function, so that its constants stay in registers. */
#define LOOPS(name, f)                                                                             \
    static void name##_grad(float *y, const float *x, size_t n)                                    \
    {                                                                                              \
        size_t i = 0;                                                                              \
        for (; i + STEP <= n; i += STEP)                                                           \
            v16_store(y + i, name##_grad16(v16_load(x + i)));                                      \
        if (i < n)                                                                                 \
            v16_store_n(y + i, name##_grad16(v16_load_n(x + i, n - i)), n - i);                    \
    }                                                                                              \
    static void act_##name(float *y, const float *x, size_t n)                                     \
    {                                                                                              \
        size_t i = 0;                                                                              \
        for (; i + STEP <= n; i += STEP)                                                           \
            v16_store(y + i, f(v16_load(x + i)));                                                  \
        if (i < n)                                                                                 \
            v16_store_n(y + i, f(v16_load_n(x + i, n - i)), n - i);                                \
    }                                                                                              \
    static void glu_##name(float *y, const float *gate, const float *up, size_t n)                 \
    {                                                                                              \
        size_t i = 0;                                                                              \
        for (; i + STEP <= n; i += STEP)                                                           \
            v16_store(y + i, v16_mul(f(v16_load(gate + i)), v16_load(up + i)));                    \
        if (i < n) {                                                                               \
            const struct v16 g = f(v16_load_n(gate + i, n - i));                                   \
            v16_store_n(y + i, v16_mul(g, v16_load_n(up + i, n - i)), n - i);                      \
        }                                                                                          \
    }
LOOPS(silu, silu16)
LOOPS(gelu_tanh, gelu_tanh16)
LOOPS(gelu, gelu16)
LOOPS(relu, relu16)
LOOPS(relu2, relu2_16)
#undef LOOPS

void NB_FN(act_f32)(float *y, const float *x, size_t n, enum nb_act act)
{
    switch (act) {
    case NB_ACT_GELU_TANH:
        act_gelu_tanh(y, x, n);
        return;
    case NB_ACT_GELU:
        act_gelu(y, x, n);
        return;
    case NB_ACT_RELU:
        act_relu(y, x, n);
        return;
    case NB_ACT_RELU2:
        act_relu2(y, x, n);
        return;
    case NB_ACT_SILU:
    default:
        act_silu(y, x, n);
    }
}

void NB_FN(act_grad_f32)(float *y, const float *x, size_t n, enum nb_act act)
{
    switch (act) {
    case NB_ACT_GELU_TANH:
        gelu_tanh_grad(y, x, n);
        return;
    case NB_ACT_GELU:
        gelu_grad(y, x, n);
        return;
    case NB_ACT_RELU:
        relu_grad(y, x, n);
        return;
    case NB_ACT_RELU2:
        relu2_grad(y, x, n);
        return;
    case NB_ACT_SILU:
    default:
        silu_grad(y, x, n);
    }
}

void NB_FN(glu_f32)(float *y, const float *gate, const float *up, size_t n, enum nb_act act)
{
    switch (act) {
    case NB_ACT_GELU_TANH:
        glu_gelu_tanh(y, gate, up, n);
        return;
    case NB_ACT_GELU:
        glu_gelu(y, gate, up, n);
        return;
    case NB_ACT_RELU:
        glu_relu(y, gate, up, n);
        return;
    case NB_ACT_RELU2:
        glu_relu2(y, gate, up, n);
        return;
    case NB_ACT_SILU:
    default:
        glu_silu(y, gate, up, n);
    }
}

static inline struct v16 erf16(struct v16 x)
{
    const struct v16 one = v16_set1(1.0F), end = v16_set1(NB_GELU_END);
    const struct v16 a = v16_abs(x), z = v16_mul(x, x), t = v16_mul(a, v16_set1(NB_ERF_SQRT2));
    const struct v16 tail = gelu_tail16(v16_if_less(t, end, t, end));
    const struct v16 far = v16_fma(v16_set1(-2.0F), tail, one);
    struct v16 p = v16_set1(NB_ERF_P8);
    p = v16_fma(p, z, v16_set1(NB_ERF_P7));
    p = v16_fma(p, z, v16_set1(NB_ERF_P6));
    p = v16_fma(p, z, v16_set1(NB_ERF_P5));
    p = v16_fma(p, z, v16_set1(NB_ERF_P4));
    p = v16_fma(p, z, v16_set1(NB_ERF_P3));
    p = v16_fma(p, z, v16_set1(NB_ERF_P2));
    p = v16_fma(p, z, v16_set1(NB_ERF_P1));
    p = v16_fma(p, z, v16_set1(NB_ERF_P0));
    return v16_if_less(v16_set1(NB_ERF_SPLIT), a,
                       v16_if_less(x, v16_set1(0.0F), v16_neg(far), far), v16_mul(x, p));
}

static inline struct v16 sigmoid16(struct v16 x)
{
    const struct v16 one = v16_set1(1.0F);
    return v16_div(one, v16_add(one, v16_exp(v16_neg(x))));
}

#define MAP(op, f)                                                                                 \
    void NB_FN(op)(float *y, const float *x, size_t n)                                             \
    {                                                                                              \
        size_t i = 0;                                                                              \
        for (; i + STEP <= n; i += STEP)                                                           \
            v16_store(y + i, f(v16_load(x + i)));                                                  \
        if (i < n)                                                                                 \
            v16_store_n(y + i, f(v16_load_n(x + i, n - i)), n - i);                                \
    }
MAP(erf_f32, erf16)
MAP(sigmoid_f32, sigmoid16)
#undef MAP

void NB_FN(softcap_f32)(float *y, const float *x, size_t n, float factor, float cap)
{
    const struct v16 f = v16_set1(factor), c = v16_set1(cap);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        v16_store(y + i, v16_mul(c, tanh16(v16_mul(f, v16_load(x + i)))));
    if (i < n)
        v16_store_n(y + i, v16_mul(c, tanh16(v16_mul(f, v16_load_n(x + i, n - i)))), n - i);
}
