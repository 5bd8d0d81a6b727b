/* kernels/ref/gemm_tile.c: 8 interleaved rows of integer weights times many quantized columns. */
#include "kernels/ref/ref.h"

static float tile_dot(const struct nb_tile *w, size_t r, size_t k, const struct nb_q8 *x, size_t c)
{
    const size_t sub = w->sub;
    float acc = 0.0F;
    for (size_t s = 0; s < k / sub; s++) {
        int32_t isum = 0, xsum = 0;
        for (size_t i = s * sub; i < (s + 1) * sub; i++) {
            const int32_t code = w->codes[(i / 4) * (4 * NB_TILE_ROWS) + 4 * r + i % 4];
            isum += code * x->q[c * k + i];
        }
        for (size_t i = s * sub / 16; i < (s + 1) * sub / 16; i++)
            xsum += x->sum16[c * (k / 16) + i];
        const float xd = x->d[c * (k / NB_Q8_BLOCK) + s * sub / NB_Q8_BLOCK];
        acc = fmaf((float)isum, w->scale[s * NB_TILE_ROWS + r] * xd, acc);
        if (w->min)
            acc = fmaf((float)xsum, w->min[s * NB_TILE_ROWS + r] * xd, acc);
    }
    return acc;
}

void nb_gemm_f32_tile_q8_ref(float *y, size_t y_stride, const struct nb_tile *w, size_t k,
                             const struct nb_q8 *x, size_t n_cols)
{
    for (size_t c = 0; c < n_cols; c++)
        for (size_t r = 0; r < NB_TILE_ROWS; r++)
            y[c * y_stride + r] = tile_dot(w, r, k, x, c);
}
