/* kernels/ref/ref.h: what the reference kernels share. */
#ifndef NB_KERNELS_REF_REF_H
#define NB_KERNELS_REF_REF_H

#include "base/half.h"
#include "kernels/exp.h"
#include "kernels/kernels.h"

#include <math.h>

#define NB_REF_LANES 16

/* The tree 8-4-2-1. Destroys lane. */
static inline float ref_tree(float lane[NB_REF_LANES])
{
    for (size_t half = NB_REF_LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++)
            lane[l] += lane[l + half];
    return lane[0];
}

static inline float ref_exp(float x)
{
    if (x != x)
        return x;
    if (x > NB_EXP_HI)
        return INFINITY;
    if (x < NB_EXP_LO)
        return 0.0F;
    const float t = fmaf(x, NB_EXP_LOG2E, NB_EXP_MAGIC);
    const float n = t - NB_EXP_MAGIC;
    float r = fmaf(n, -NB_EXP_LN2_HI, x);
    r = fmaf(n, -NB_EXP_LN2_LO, r);
    float p = NB_EXP_C6;
    p = fmaf(p, r, NB_EXP_C5);
    p = fmaf(p, r, NB_EXP_C4);
    p = fmaf(p, r, NB_EXP_C3);
    p = fmaf(p, r, NB_EXP_C2);
    p = fmaf(p, r, 1.0F);
    p = fmaf(p, r, 1.0F);
    return nb_f32_from_bits(nb_f32_bits(p) + (nb_f32_bits(t) << 23));
}

/* The larger; NaN is passed over, -0 counts as +0. best starts at -infinity. */
static inline float ref_max(float x, float best)
{
    return x > best ? x : best;
}

static inline uint16_t ref_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | ((unsigned)p[1] << 8));
}

static inline float ref_f16(const uint8_t *p)
{
    return nb_f16_to_f32(ref_u16(p));
}

#endif
