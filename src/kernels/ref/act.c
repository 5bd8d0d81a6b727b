/* kernels/ref/act.c: activation functions (act.h has their numbers and errors). */
#include "kernels/act.h"
#include "kernels/ref/ref.h"

static float ref_tanh(float x)
{
    const float a = fabsf(x);
    float t;
    if (a < NB_TANH_SPLIT) {
        const float z = a * a;
        float p = NB_TANH_T4;
        p = fmaf(p, z, NB_TANH_T3);
        p = fmaf(p, z, NB_TANH_T2);
        p = fmaf(p, z, NB_TANH_T1);
        p = fmaf(p, z, NB_TANH_T0);
        t = fmaf(a * z, p, a);
    } else {
        const float e = ref_exp(-2.0F * a);
        t = (1.0F - e) / (1.0F + e);
    }
    return x < 0.0F ? -t : t;
}

static float ref_gelu_tanh(float x)
{
    const float p = fmaf(x * x, NB_GELU_CUBE, NB_GELU_LINEAR);
    return x / (1.0F + ref_exp(x * p));
}

/* 1 - Phi(t), 0 <= t <= END */
static float ref_gelu_tail(float t)
{
    const float h = t * t, l = fmaf(t, t, -h);
    float e = ref_exp(-0.5F * h);
    e = fmaf(e, -0.5F * l, e);
    const float i = 1.0F / (t + NB_GELU_SHIFT), s = (t - NB_GELU_SHIFT) * i;
    float p = NB_GELU_G9;
    p = fmaf(p, s, NB_GELU_G8);
    p = fmaf(p, s, NB_GELU_G7);
    p = fmaf(p, s, NB_GELU_G6);
    p = fmaf(p, s, NB_GELU_G5);
    p = fmaf(p, s, NB_GELU_G4);
    p = fmaf(p, s, NB_GELU_G3);
    p = fmaf(p, s, NB_GELU_G2);
    p = fmaf(p, s, NB_GELU_G1);
    p = fmaf(p, s, NB_GELU_G0);
    return (e * i) * p;
}

static float ref_gelu(float x)
{
    const float a = fabsf(x), q = ref_gelu_tail(a < NB_GELU_END ? a : NB_GELU_END);
    return x * (x < 0.0F ? q : 1.0F - q);
}

/* NaN stays NaN */
static float ref_relu(float x)
{
    return 0.0F > x ? 0.0F : x;
}

static float ref_act(float x, enum nb_act act)
{
    switch (act) {
    case NB_ACT_GELU_TANH:
        return ref_gelu_tanh(x);
    case NB_ACT_GELU:
        return ref_gelu(x);
    case NB_ACT_RELU:
        return ref_relu(x);
    case NB_ACT_RELU2:
        return ref_relu(x) * ref_relu(x);
    case NB_ACT_SILU:
    default:
        return x / (1.0F + ref_exp(-x));
    }
}

void nb_act_f32_ref(float *y, const float *x, size_t n, enum nb_act act)
{
    for (size_t i = 0; i < n; i++)
        y[i] = ref_act(x[i], act);
}

void nb_glu_f32_ref(float *y, const float *gate, const float *up, size_t n, enum nb_act act)
{
    for (size_t i = 0; i < n; i++)
        y[i] = ref_act(gate[i], act) * up[i];
}

static float ref_gelu_tanh_grad(float far)
{
    const float end = NB_GELU_END, x = far < -end ? -end : end < far ? end : far;
    const float z = x * x, p = fmaf(z, NB_GELU_CUBE, NB_GELU_LINEAR);
    const float s = 1.0F / (1.0F + ref_exp(x * p));
    const float slope = x * fmaf(z, -3.0F * NB_GELU_CUBE, -NB_GELU_LINEAR);
    return fmaf(s * (1.0F - s), slope, s);
}

/* Phi(x) + x phi(x) */
static float ref_gelu_grad(float x)
{
    const float a = fabsf(x), t = a < NB_GELU_END ? a : NB_GELU_END;
    const float phi = NB_GELU_PHI0 * ref_exp(-0.5F * (t * t));
    const float tail = ref_gelu_tail(t);
    return fmaf(x < 0.0F ? -t : t, phi, x < 0.0F ? tail : 1.0F - tail);
}

static float ref_act_grad(float x, enum nb_act act)
{
    switch (act) {
    case NB_ACT_GELU_TANH:
        return ref_gelu_tanh_grad(x);
    case NB_ACT_GELU:
        return ref_gelu_grad(x);
    case NB_ACT_RELU:
        return 0.0F < x ? 1.0F : 0.0F;
    case NB_ACT_RELU2:
        return 2.0F * ref_relu(x);
    case NB_ACT_SILU:
    default: {
        const float s = 1.0F / (1.0F + ref_exp(-x));
        return s * fmaf(x, 1.0F - s, 1.0F);
    }
    }
}

void nb_act_grad_f32_ref(float *y, const float *x, size_t n, enum nb_act act)
{
    for (size_t i = 0; i < n; i++)
        y[i] = ref_act_grad(x[i], act);
}

static float ref_erf(float x)
{
    const float a = fabsf(x), z = x * x, t = a * NB_ERF_SQRT2;
    const float far = fmaf(-2.0F, ref_gelu_tail(t < NB_GELU_END ? t : NB_GELU_END), 1.0F);
    float p = NB_ERF_P8;
    p = fmaf(p, z, NB_ERF_P7);
    p = fmaf(p, z, NB_ERF_P6);
    p = fmaf(p, z, NB_ERF_P5);
    p = fmaf(p, z, NB_ERF_P4);
    p = fmaf(p, z, NB_ERF_P3);
    p = fmaf(p, z, NB_ERF_P2);
    p = fmaf(p, z, NB_ERF_P1);
    p = fmaf(p, z, NB_ERF_P0);
    if (NB_ERF_SPLIT < a)
        return x < 0.0F ? -far : far;
    return x * p;
}

void nb_erf_f32_ref(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = ref_erf(x[i]);
}

void nb_sigmoid_f32_ref(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 1.0F / (1.0F + ref_exp(-x[i]));
}

void nb_softcap_f32_ref(float *y, const float *x, size_t n, float factor, float cap)
{
    for (size_t i = 0; i < n; i++)
        y[i] = cap * ref_tanh(factor * x[i]);
}
