/* kernels/float.tmpl.h: the float kernels written once over sixteen lanes.
 *
 * An ISA defines NB_FN(op) as nb_<op>_<isa>, brings its v16.h and includes this. Whole vectors first,
 * then one partial vector: lanes beyond the end are loaded as 0 and never reach an accumulator.
 */
#include "kernels/kernels.h"

#define STEP 16

/* A partial vector of 16-bit elements by way of the stack. */
static inline const uint16_t *tail16(uint16_t buf[STEP], const uint16_t *p, size_t n)
{
    memset(buf, 0, STEP * sizeof *buf);
    memcpy(buf, p, n * sizeof *buf);
    return buf;
}

float NB_FN(dot_f32_f32)(const float *a, const float *b, size_t n)
{
    struct v16 acc = v16_set1(0.0F);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        acc = v16_fma(v16_load(a + i), v16_load(b + i), acc);
    if (i < n) {
        const struct v16 t = v16_fma(v16_load_n(a + i, n - i), v16_load_n(b + i, n - i), acc);
        acc = v16_keep_n(t, acc, n - i);
    }
    return v16_sum(acc);
}

float NB_FN(dot_f16_f32)(const uint16_t *a, const float *b, size_t n)
{
    struct v16 acc = v16_set1(0.0F);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        acc = v16_fma(v16_load_f16(a + i), v16_load(b + i), acc);
    if (i < n) {
        uint16_t buf[STEP];
        const struct v16 va = v16_load_f16(tail16(buf, a + i, n - i));
        acc = v16_keep_n(v16_fma(va, v16_load_n(b + i, n - i), acc), acc, n - i);
    }
    return v16_sum(acc);
}

float NB_FN(dot_bf16_f32)(const uint16_t *a, const float *b, size_t n)
{
    struct v16 acc = v16_set1(0.0F);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        acc = v16_fma(v16_load_bf16(a + i), v16_load(b + i), acc);
    if (i < n) {
        uint16_t buf[STEP];
        const struct v16 va = v16_load_bf16(tail16(buf, a + i, n - i));
        acc = v16_keep_n(v16_fma(va, v16_load_n(b + i, n - i), acc), acc, n - i);
    }
    return v16_sum(acc);
}

void NB_FN(cvt_f32_f16)(float *dst, const uint16_t *src, size_t n)
{
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        v16_store(dst + i, v16_load_f16(src + i));
    if (i < n) {
        uint16_t buf[STEP];
        v16_store_n(dst + i, v16_load_f16(tail16(buf, src + i, n - i)), n - i);
    }
}

void NB_FN(cvt_f16_f32)(uint16_t *dst, const float *src, size_t n)
{
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        v16_store_f16(dst + i, v16_load(src + i));
    if (i < n) {
        uint16_t buf[STEP];
        v16_store_f16(buf, v16_load_n(src + i, n - i));
        memcpy(dst + i, buf, (n - i) * sizeof *buf);
    }
}

void NB_FN(cvt_f32_bf16)(float *dst, const uint16_t *src, size_t n)
{
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        v16_store(dst + i, v16_load_bf16(src + i));
    if (i < n) {
        uint16_t buf[STEP];
        v16_store_n(dst + i, v16_load_bf16(tail16(buf, src + i, n - i)), n - i);
    }
}

void NB_FN(cvt_bf16_f32)(uint16_t *dst, const float *src, size_t n)
{
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        v16_store_bf16(dst + i, v16_load(src + i));
    if (i < n) {
        uint16_t buf[STEP];
        v16_store_bf16(buf, v16_load_n(src + i, n - i));
        memcpy(dst + i, buf, (n - i) * sizeof *buf);
    }
}

void NB_FN(add_f32)(float *y, const float *a, const float *b, size_t n)
{
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        v16_store(y + i, v16_add(v16_load(a + i), v16_load(b + i)));
    if (i < n)
        v16_store_n(y + i, v16_add(v16_load_n(a + i, n - i), v16_load_n(b + i, n - i)), n - i);
}

void NB_FN(axpy_f32_f32)(float *y, float a, const float *x, size_t n)
{
    const struct v16 va = v16_set1(a);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        v16_store(y + i, v16_fma(va, v16_load(x + i), v16_load(y + i)));
    if (i < n)
        v16_store_n(y + i, v16_fma(va, v16_load_n(x + i, n - i), v16_load_n(y + i, n - i)), n - i);
}

void NB_FN(axpy_f32_f16)(float *y, float a, const uint16_t *x, size_t n)
{
    const struct v16 va = v16_set1(a);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        v16_store(y + i, v16_fma(va, v16_load_f16(x + i), v16_load(y + i)));
    if (i < n) {
        uint16_t buf[STEP];
        const struct v16 vx = v16_load_f16(tail16(buf, x + i, n - i));
        v16_store_n(y + i, v16_fma(va, vx, v16_load_n(y + i, n - i)), n - i);
    }
}

/* The largest scale * x[i]. */
static inline float scaled_max(const float *x, size_t n, float scale)
{
    const struct v16 s = v16_set1(scale);
    struct v16 best = v16_set1(-INFINITY);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        best = v16_max(v16_mul(s, v16_load(x + i)), best);
    if (i < n)
        best = v16_keep_n(v16_max(v16_mul(s, v16_load_n(x + i, n - i)), best), best, n - i);
    return v16_top(best);
}

void NB_FN(softmax_f32)(float *x, size_t n, float scale)
{
    const float max = scaled_max(x, n, scale);
    const struct v16 s = v16_set1(scale);
    const struct v16 m = v16_set1(max == -INFINITY ? 0.0F : max);
    struct v16 acc = v16_set1(0.0F);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        const struct v16 e = v16_exp(v16_sub(v16_mul(s, v16_load(x + i)), m));
        v16_store(x + i, e);
        acc = v16_add(acc, e);
    }
    if (i < n) {
        const struct v16 e = v16_exp(v16_sub(v16_mul(s, v16_load_n(x + i, n - i)), m));
        v16_store_n(x + i, e, n - i);
        acc = v16_keep_n(v16_add(acc, e), acc, n - i);
    }
    const float sum = v16_sum(acc);
    if (sum == 0.0F)
        return;
    const struct v16 inv = v16_set1(1.0F / sum);
    for (i = 0; i + STEP <= n; i += STEP)
        v16_store(x + i, v16_mul(v16_load(x + i), inv));
    if (i < n)
        v16_store_n(x + i, v16_mul(v16_load_n(x + i, n - i), inv), n - i);
}

float NB_FN(expsum_f32)(const float *x, size_t n, float *max)
{
    const float top = scaled_max(x, n, 1.0F);
    const struct v16 m = v16_set1(top == -INFINITY ? 0.0F : top);
    struct v16 acc = v16_set1(0.0F);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        acc = v16_add(acc, v16_exp(v16_sub(v16_load(x + i), m)));
    if (i < n) {
        const struct v16 e = v16_exp(v16_sub(v16_load_n(x + i, n - i), m));
        acc = v16_keep_n(v16_add(acc, e), acc, n - i);
    }
    *max = top + 0.0F;
    return v16_sum(acc);
}

void NB_FN(rmsnorm_f32)(float *y, const float *x, const float *w, size_t n, float eps)
{
    const float ss = NB_FN(dot_f32_f32)(x, x, n);
    const struct v16 r = v16_set1(1.0F / sqrtf(ss / (float)n + eps));
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        v16_store(y + i, v16_mul(v16_mul(v16_load(x + i), r), v16_load(w + i)));
    if (i < n) {
        const struct v16 t = v16_mul(v16_load_n(x + i, n - i), r);
        v16_store_n(y + i, v16_mul(t, v16_load_n(w + i, n - i)), n - i);
    }
}

/* The sum of (x[i] - mean)^2. */
static inline float spread(const float *x, size_t n, struct v16 mean)
{
    struct v16 acc = v16_set1(0.0F);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        const struct v16 d = v16_sub(v16_load(x + i), mean);
        acc = v16_fma(d, d, acc);
    }
    if (i < n) {
        const struct v16 d = v16_sub(v16_load_n(x + i, n - i), mean);
        acc = v16_keep_n(v16_fma(d, d, acc), acc, n - i);
    }
    return v16_sum(acc);
}

static inline float sum(const float *x, size_t n)
{
    struct v16 acc = v16_set1(0.0F);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        acc = v16_add(acc, v16_load(x + i));
    if (i < n)
        acc = v16_keep_n(v16_add(acc, v16_load_n(x + i, n - i)), acc, n - i);
    return v16_sum(acc);
}

void NB_FN(layernorm_f32)(float *y, const float *x, const float *w, const float *b, size_t n,
                          float eps)
{
    const struct v16 mean = v16_set1(sum(x, n) / (float)n);
    const struct v16 r = v16_set1(1.0F / sqrtf(spread(x, n, mean) / (float)n + eps));
    size_t i = 0;
    for (; i + STEP <= n; i += STEP) {
        const struct v16 z = v16_mul(v16_sub(v16_load(x + i), mean), r), vw = v16_load(w + i);
        v16_store(y + i, b ? v16_fma(z, vw, v16_load(b + i)) : v16_mul(z, vw));
    }
    if (i < n) {
        const size_t left = n - i;
        const struct v16 z = v16_mul(v16_sub(v16_load_n(x + i, left), mean), r);
        const struct v16 vw = v16_load_n(w + i, left);
        v16_store_n(y + i, b ? v16_fma(z, vw, v16_load_n(b + i, left)) : v16_mul(z, vw), left);
    }
}

/* n pairs at most STEP; the results lie in y (2 * STEP). */
static inline void rope16(float *y, struct v16 x0, struct v16 x1, struct v16 c, struct v16 s)
{
    v16_zip(y, v16_fma(x0, c, v16_neg(v16_mul(x1, s))), v16_fma(x0, s, v16_mul(x1, c)));
}

void NB_FN(rope_f32)(float *y, const float *x, const float *cosine, const float *sine,
                     size_t n_pairs, bool halves)
{
    struct v16 x0, x1;
    size_t i = 0;
    for (; i + STEP <= n_pairs; i += STEP) {
        if (halves) {
            x0 = v16_load(x + i);
            x1 = v16_load(x + n_pairs + i);
        } else {
            v16_split(&x0, &x1, x + 2 * i);
        }
        rope16(y + 2 * i, x0, x1, v16_load(cosine + i), v16_load(sine + i));
    }
    if (i < n_pairs) {
        const size_t n = n_pairs - i;
        float buf[2 * STEP] = {0};
        if (halves) {
            x0 = v16_load_n(x + i, n);
            x1 = v16_load_n(x + n_pairs + i, n);
        } else {
            memcpy(buf, x + 2 * i, 2 * n * sizeof *buf);
            v16_split(&x0, &x1, buf);
        }
        rope16(buf, x0, x1, v16_load_n(cosine + i, n), v16_load_n(sine + i, n));
        memcpy(y + 2 * i, buf, 2 * n * sizeof *buf);
    }
}
