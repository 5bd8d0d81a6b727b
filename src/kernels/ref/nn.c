/* kernels/ref/nn.c: softmax, normalizations and rotary embedding. */
#include "kernels/ref/ref.h"

void nb_softmax_f32_ref(float *x, size_t n, float scale)
{
    float max = -INFINITY;
    float lane[NB_REF_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        max = ref_max(scale * x[i], max);
    if (max == -INFINITY)
        max = 0.0F; /* all masked: exp(-inf - 0) = 0 where -inf - -inf would be NaN */
    for (size_t i = 0; i < n; i++) {
        x[i] = ref_exp(scale * x[i] - max);
        lane[i % NB_REF_LANES] += x[i];
    }
    const float sum = ref_tree(lane);
    if (sum == 0.0F)
        return;
    const float inv = 1.0F / sum;
    for (size_t i = 0; i < n; i++)
        x[i] *= inv;
}

float nb_expsum_f32_ref(const float *x, size_t n, float *max)
{
    float m = -INFINITY;
    float lane[NB_REF_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        m = ref_max(x[i], m);
    *max = m + 0.0F; /* -0 becomes +0: which of the two comes first must not show */
    if (m == -INFINITY)
        m = 0.0F;
    for (size_t i = 0; i < n; i++)
        lane[i % NB_REF_LANES] += ref_exp(x[i] - m);
    return ref_tree(lane);
}

void nb_rmsnorm_f32_ref(float *y, const float *x, const float *w, size_t n, float eps)
{
    const float ss = nb_dot_f32_f32_ref(x, x, n);
    const float r = 1.0F / sqrtf(ss / (float)n + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] * r) * w[i];
}

void nb_layernorm_f32_ref(float *y, const float *x, const float *w, const float *b, size_t n,
                          float eps)
{
    float lane[NB_REF_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lane[i % NB_REF_LANES] += x[i];
    const float mean = ref_tree(lane) / (float)n;
    memset(lane, 0, sizeof lane);
    for (size_t i = 0; i < n; i++)
        lane[i % NB_REF_LANES] = fmaf(x[i] - mean, x[i] - mean, lane[i % NB_REF_LANES]);
    const float r = 1.0F / sqrtf(ref_tree(lane) / (float)n + eps);
    for (size_t i = 0; i < n; i++) {
        const float z = (x[i] - mean) * r;
        y[i] = b ? fmaf(z, w[i], b[i]) : z * w[i];
    }
}

void nb_rope_f32_ref(float *y, const float *x, const float *cosine, const float *sine,
                     size_t n_pairs, bool halves)
{
    for (size_t i = 0; i < n_pairs; i++) {
        const float x0 = halves ? x[i] : x[2 * i];
        const float x1 = halves ? x[i + n_pairs] : x[2 * i + 1];
        y[2 * i] = fmaf(x0, cosine[i], -(x1 * sine[i]));
        y[2 * i + 1] = fmaf(x0, sine[i], x1 * cosine[i]);
    }
}
