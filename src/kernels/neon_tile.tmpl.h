/* kernels/neon_tile.tmpl.h: 8 interleaved rows of integer weights times many quantized columns.
 *
 * An ISA brings NB_FN(op), COLS (columns that share a load of the codes), and for one column
 *   struct sums                                        sums of 8 rows over a sub-block
 *   sums_add(s, w, x)   16 columns: w 8 registers of codes (4 columns of rows 0-3, of 4-7, ...), x 16
 *                       activations
 *   sums_rows(s, half)  totals of rows 4 half .. 4 half + 3
 */
#include "kernels/kernels.h"

#include <arm_neon.h>

#define INLINE static inline __attribute__((always_inline))

INLINE int32_t tile_xsum(const struct nb_q8 *x, size_t k, size_t c, size_t s, uint32_t sub)
{
    const int16_t *p = x->sum16 + c * (k / 16) + s * (sub / 16);
    return sub == 32 ? p[0] + p[1] : p[0];
}

/* Columns c0 .. c0 + n - 1, n a constant of at most COLS. */
INLINE void cols(float *y, size_t y_stride, const struct nb_tile *w, size_t k,
                 const struct nb_q8 *x, size_t c0, size_t n)
{
    const uint32_t sub = w->sub;
    float32x4_t acc[COLS][2];
    for (size_t c = 0; c < n; c++)
        acc[c][0] = acc[c][1] = vdupq_n_f32(0.0F);
    for (size_t s = 0; s < k / sub; s++) {
        struct sums sum[COLS];
        memset(sum, 0, sizeof sum);
        for (size_t j = s * sub; j < (s + 1) * sub; j += 16) {
            int8x16_t v[8];
            for (size_t i = 0; i < 8; i++)
                v[i] = vld1q_s8(w->codes + j * NB_TILE_ROWS + 16 * i);
            for (size_t c = 0; c < n; c++)
                sums_add(&sum[c], v, vld1q_s8(x->q + (c0 + c) * k + j));
        }
        for (size_t c = 0; c < n; c++)
            for (size_t h = 0; h < 2; h++) {
                const float xd = x->d[(c0 + c) * (k / 32) + s * sub / 32];
                const float32x4_t f = vcvtq_f32_s32(sums_rows(&sum[c], h));
                const float32x4_t scale = vld1q_f32(w->scale + s * NB_TILE_ROWS + 4 * h);
                acc[c][h] = vfmaq_f32(acc[c][h], f, vmulq_n_f32(scale, xd));
                if (w->min) {
                    const float xsum = (float)tile_xsum(x, k, c0 + c, s, sub);
                    const float32x4_t min = vld1q_f32(w->min + s * NB_TILE_ROWS + 4 * h);
                    acc[c][h] = vfmaq_f32(acc[c][h], vdupq_n_f32(xsum), vmulq_n_f32(min, xd));
                }
            }
    }
    for (size_t c = 0; c < n; c++) {
        vst1q_f32(y + (c0 + c) * y_stride, acc[c][0]);
        vst1q_f32(y + (c0 + c) * y_stride + 4, acc[c][1]);
    }
}

void NB_FN(gemm_f32_tile_q8)(float *y, size_t y_stride, const struct nb_tile *w, size_t k,
                             const struct nb_q8 *x, size_t n_cols)
{
    size_t c = 0;
    for (; c + COLS <= n_cols; c += COLS)
        cols(y, y_stride, w, k, x, c, COLS);
    for (; c < n_cols; c++)
        cols(y, y_stride, w, k, x, c, 1);
}
