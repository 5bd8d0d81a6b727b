/* kernels/dotprod/gemm_tile.c: packed tile times columns with the dot product of ARMv8.2. */
#include <arm_neon.h>
#include <string.h>

#define NB_FN(op) nb_##op##_dotprod
#define COLS      4

struct sums {
    int32x4_t v[2];
};

static inline void sums_add(struct sums *s, const int8x16_t w[8], int8x16_t x)
{
    s->v[0] = vdotq_laneq_s32(s->v[0], w[0], x, 0);
    s->v[1] = vdotq_laneq_s32(s->v[1], w[1], x, 0);
    s->v[0] = vdotq_laneq_s32(s->v[0], w[2], x, 1);
    s->v[1] = vdotq_laneq_s32(s->v[1], w[3], x, 1);
    s->v[0] = vdotq_laneq_s32(s->v[0], w[4], x, 2);
    s->v[1] = vdotq_laneq_s32(s->v[1], w[5], x, 2);
    s->v[0] = vdotq_laneq_s32(s->v[0], w[6], x, 3);
    s->v[1] = vdotq_laneq_s32(s->v[1], w[7], x, 3);
}

static inline int32x4_t sums_rows(const struct sums *s, size_t half)
{
    return s->v[half];
}

#include "kernels/neon_tile.tmpl.h"
