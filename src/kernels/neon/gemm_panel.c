/* kernels/neon/gemm_panel.c: packed float matrix product; half of the lanes of 4 rows x 3 columns take 24
 * registers, a group's 6, a row's 2. */
#include "kernels/kernels.h"
#include "kernels/panel.h"

#include <arm_neon.h>

struct sums {
    float32x4_t a[NB_PANEL_COLS], b[NB_PANEL_COLS]; /* of a row: lanes 0..3 and 4..7 */
};

static inline void add(struct sums *s, const float *w, const float32x4_t *x)
{
    const float32x4_t a = vld1q_f32(w), b = vld1q_f32(w + 4);
    for (size_t c = 0; c < NB_PANEL_COLS; c++) {
        s->a[c] = vfmaq_f32(s->a[c], a, x[2 * c]);
        s->b[c] = vfmaq_f32(s->b[c], b, x[2 * c + 1]);
    }
}

static inline void half(float *acc, const float *w, const float *x, size_t n, bool fresh,
                        const float *next)
{
    struct sums s[NB_PANEL_ROWS];
    for (size_t i = 0; i < NB_PANEL_ROWS * NB_PANEL_COLS; i++) {
        const size_t r = i % NB_PANEL_ROWS, c = i / NB_PANEL_ROWS;
        s[r].a[c] = fresh ? vdupq_n_f32(0.0F) : vld1q_f32(acc + 8 * i);
        s[r].b[c] = fresh ? vdupq_n_f32(0.0F) : vld1q_f32(acc + 8 * i + 4);
    }
    for (size_t i = 0; i < n; i++, w += 32, x += 24, next += 12) {
        float32x4_t v[2 * NB_PANEL_COLS];
        __builtin_prefetch(next);
        for (size_t c = 0; c < 2 * NB_PANEL_COLS; c++)
            v[c] = vld1q_f32(x + 4 * c);
        for (size_t r = 0; r < NB_PANEL_ROWS; r++)
            add(&s[r], w + 8 * r, v);
    }
    for (size_t i = 0; i < NB_PANEL_ROWS * NB_PANEL_COLS; i++) {
        vst1q_f32(acc + 8 * i, s[i % NB_PANEL_ROWS].a[i / NB_PANEL_ROWS]);
        vst1q_f32(acc + 8 * i + 4, s[i % NB_PANEL_ROWS].b[i / NB_PANEL_ROWS]);
    }
}

static inline void pass(float *acc, const float *w, size_t w_stride, size_t panels, const float *x,
                        size_t n, bool fresh, const float *next)
{
    for (size_t p = 0; p < panels; p++)
        half(acc + p * 2 * NB_PANEL_SUMS, w + p * w_stride, x, n, fresh, next + p * n * 12);
}

/* Lanes 8 and 4 apart. */
static inline float32x4_t fold(const float *lo, const float *hi)
{
    return vaddq_f32(vaddq_f32(vld1q_f32(lo), vld1q_f32(hi)),
                     vaddq_f32(vld1q_f32(lo + 4), vld1q_f32(hi + 4)));
}

static inline void finish(float *y, size_t y_stride, const float *lo, const float *hi)
{
    for (size_t i = 0; i < NB_PANEL_ROWS * NB_PANEL_COLS; i++) {
        const float32x4_t v = fold(lo + 8 * i, hi + 8 * i);
        const float32x2_t u = vadd_f32(vget_low_f32(v), vget_high_f32(v));
        y[i / NB_PANEL_ROWS * y_stride + i % NB_PANEL_ROWS] =
            vget_lane_f32(u, 0) + vget_lane_f32(u, 1);
    }
}

#define NB_FN(op) nb_##op##_neon
#include "kernels/gemm_panel.tmpl.h"
