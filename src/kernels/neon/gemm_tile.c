/* kernels/neon/gemm_tile.c: packed tile times columns on the base NEON of ARMv8. */
#include <arm_neon.h>
#include <string.h>

#define NB_FN(op) nb_##op##_neon
#define COLS      2

/* v[i]: two partial sums of row 2 i, two of row 2 i + 1 */
struct sums {
    int32x4_t v[4];
};

/* Two products of a byte fit 16 bits: 2 * 128 * 127 = 32512 (x is never -128). w0, w1: the same rows,
 * four columns apart, as are x0 and x1. */
static inline void add_rows(int32x4_t v[2], int8x16_t w0, int8x8_t x0, int8x16_t w1, int8x8_t x1)
{
    const int16x8_t a = vmlal_s8(vmull_s8(vget_low_s8(w0), x0), vget_low_s8(w1), x1);
    const int16x8_t b = vmlal_s8(vmull_s8(vget_high_s8(w0), x0), vget_high_s8(w1), x1);
    v[0] = vpadalq_s16(v[0], a);
    v[1] = vpadalq_s16(v[1], b);
}

static inline void sums_add(struct sums *s, const int8x16_t w[8], int8x16_t x)
{
    const int32x4_t q = vreinterpretq_s32_s8(x);
    const int8x8_t x0 = vreinterpret_s8_s32(vdup_laneq_s32(q, 0));
    const int8x8_t x1 = vreinterpret_s8_s32(vdup_laneq_s32(q, 1));
    const int8x8_t x2 = vreinterpret_s8_s32(vdup_laneq_s32(q, 2));
    const int8x8_t x3 = vreinterpret_s8_s32(vdup_laneq_s32(q, 3));
    add_rows(s->v, w[0], x0, w[2], x1);
    add_rows(s->v, w[4], x2, w[6], x3);
    add_rows(s->v + 2, w[1], x0, w[3], x1);
    add_rows(s->v + 2, w[5], x2, w[7], x3);
}

static inline int32x4_t sums_rows(const struct sums *s, size_t half)
{
    return vpaddq_s32(s->v[2 * half], s->v[2 * half + 1]);
}

#include "kernels/neon_tile.tmpl.h"
