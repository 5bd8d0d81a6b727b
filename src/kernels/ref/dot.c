/* kernels/ref/dot.c: dot products of floats and the float matrix product, in the canonical order. */
#include "kernels/panel.h"
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

void nb_scores_f32_f32_f32_ref(float *y, size_t y_stride, const float *w, size_t n_rows,
                               const float *x, size_t x_stride, size_t n_cols, size_t k,
                               float *scratch)
{
    (void)scratch;
    nb_gemm_f32_f32_f32_ref(y, y_stride, w, n_rows, x, x_stride, n_cols, k);
}

/* Element i of row r, of panels or groups of `size` rows. */
static float packed(const float *p, size_t size, size_t r, size_t i, size_t steps)
{
    const size_t h = i % 16 / 8;
    return p[((r / size * 2 + h) * steps + i / 16) * 8 * size + r % size * 8 + i % 8];
}

void nb_gemm_f32_f32p_f32p_ref(float *y, size_t y_stride, const float *w, size_t n_rows,
                               const float *x, size_t n_cols, size_t k, float *scratch)
{
    const size_t steps = nb_panel_steps(k);
    (void)scratch;
    for (size_t c = 0; c < n_cols; c++)
        for (size_t r = 0; r < n_rows; r++) {
            float lane[16] = {0.0F};
            for (size_t i = 0; i < k; i++)
                lane[i % 16] = fmaf(packed(w, NB_PANEL_ROWS, r, i, steps),
                                    packed(x, NB_PANEL_COLS, c, i, steps), lane[i % 16]);
            y[c * y_stride + r] = ref_tree(lane);
        }
}
