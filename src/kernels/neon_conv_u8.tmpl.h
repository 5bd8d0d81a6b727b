/* kernels/neon_conv_u8.tmpl.h: convolutions of 8-bit integers with products of signed bytes, neon and dotprod.
 *
 * Elements of the image become signed by taking 128 off: sums begin at 128 times the sum of an output's weights.
 * That sum is found on the way as the product of the weights with ones, as one more row.
 */
#include "kernels/kernels.h"

#include <arm_neon.h>
#include <stdbool.h>
#include <string.h>

enum { ROWS = 4, PANELS = 1, STEPS = 128 };

struct image {
    int32_t four[ROWS][STEPS]; /* less 128 each */
};

struct sums {
    int32_t *y;
    size_t y_stride, n;
    bool fresh;
};

static inline void put(struct image *g, size_t r, size_t k, const uint8_t *x, size_t n)
{
    const uint8x16_t flip = vdupq_n_u8(0x80);
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_u8((uint8_t *)&g->four[r][k + i], veorq_u8(vld1q_u8(x + 4 * i), flip));
    for (; i < n; i++) {
        uint32_t v;
        memcpy(&v, x + 4 * i, sizeof v);
        v ^= 0x80808080U;
        memcpy(&g->four[r][k + i], &v, sizeof v);
    }
}

/* y[i] (+)= acc[i], i < n */
static inline void out(const struct sums *s, size_t r, const int32x4_t acc[4], size_t n)
{
    int32_t part[NB_CONV_PANEL] = {0}, *y = s->y + r * s->y_stride;
    if (!s->fresh)
        memcpy(part, y, n * sizeof *y);
    for (size_t i = 0; i < 4; i++)
        vst1q_s32(part + 4 * i, vaddq_s32(vld1q_s32(part + 4 * i), acc[i]));
    memcpy(y, part, n * sizeof *y);
}

/* rows is a constant of at most ROWS */
static inline __attribute__((always_inline)) void some_rows(const struct sums *s, size_t rows,
                                                            const struct image *g, size_t n_steps,
                                                            const int8_t *w, const int8_t *next)
{
    const int8x16_t ones = vdupq_n_s8(1);
    int32x4_t acc[ROWS][4], sum[4];
    for (size_t i = 0; i < 4; i++) {
        sum[i] = vdupq_n_s32(0);
        for (size_t r = 0; r < rows; r++)
            acc[r][i] = sum[i];
    }
    for (size_t k = 0; k < n_steps; k++, w += 64, next += 64) {
        const int8x16_t v[4] = {vld1q_s8(w), vld1q_s8(w + 16), vld1q_s8(w + 32), vld1q_s8(w + 48)};
        __builtin_prefetch(next);
        four_products(sum, ones, v);
        for (size_t r = 0; r < rows; r++)
            four_products(acc[r], vreinterpretq_s8_s32(vdupq_n_s32(g->four[r][k])), v);
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < 4; i++)
            acc[r][i] = vaddq_s32(acc[r][i], vshlq_n_s32(sum[i], 7));
        out(s, r, acc[r], s->n);
    }
}

static inline void tile(const struct sums *s, size_t rows, const struct image *g, size_t n_steps,
                        const int8_t *w, size_t panel, const int8_t *next)
{
    (void)panel;
    switch (rows) {
    case 1:
        some_rows(s, 1, g, n_steps, w, next);
        return;
    case 2:
        some_rows(s, 2, g, n_steps, w, next);
        return;
    case 3:
        some_rows(s, 3, g, n_steps, w, next);
        return;
    default:
        some_rows(s, ROWS, g, n_steps, w, next);
        return;
    }
}

#include "kernels/conv_u8.tmpl.h"
