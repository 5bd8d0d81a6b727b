/* kernels/ref/dot.c: dot products of floats and the float matrix product, in the canonical order. */
#include "kernels/ref/ref.h"

float nb_dot_f32_f32_ref(const float *a, const float *b, size_t n)
{
    float lane[NB_REF_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lane[i % NB_REF_LANES] = fmaf(a[i], b[i], lane[i % NB_REF_LANES]);
    return ref_tree(lane);
}

float nb_dot_f16_f32_ref(const uint16_t *a, const float *b, size_t n)
{
    float lane[NB_REF_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lane[i % NB_REF_LANES] = fmaf(nb_f16_to_f32(a[i]), b[i], lane[i % NB_REF_LANES]);
    return ref_tree(lane);
}

float nb_dot_bf16_f32_ref(const uint16_t *a, const float *b, size_t n)
{
    float lane[NB_REF_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lane[i % NB_REF_LANES] = fmaf(nb_bf16_to_f32(a[i]), b[i], lane[i % NB_REF_LANES]);
    return ref_tree(lane);
}

void nb_gemm_f32_f32_f32_ref(float *y, size_t y_stride, const float *w, size_t n_rows,
                             const float *x, size_t x_stride, size_t n_cols, size_t k)
{
    for (size_t c = 0; c < n_cols; c++)
        for (size_t r = 0; r < n_rows; r++)
            y[c * y_stride + r] = nb_dot_f32_f32_ref(w + r * k, x + c * x_stride, k);
}
