/* kernels/enc_common.h: what the encoder templates share: loading, scaling to a common size, writing.
 *
 * Values are multiplied by a power of two that brings the block's largest magnitude into [1, 2), so
 * that no square or product of the search can overflow or vanish, and blocks that differ by a power of
 * two get the same codes. Beyond 2^30 an f16 scale has long saturated and below 2^-30 it is 0: the
 * power stops there and values are clamped to 4, which changes no code.
 */
#ifndef NB_KERNELS_ENC_COMMON_H
#define NB_KERNELS_ENC_COMMON_H

#include "base/half.h"
#include "kernels/lanes.h"

struct code_range {
    float lo, hi;
};

/* 2^e and 2^-e for the exponent e of amax. */
struct unit {
    vf grow, shrink;
};

NB_LANES_INLINE struct unit unit_of(vf amax)
{
    const vf a = vf_min(vf_max(amax, vf_set(0x1p-30F)), vf_set(0x1p30F));
    const vu e = vf_bits(a) & 0x7f800000U;
    return (struct unit){vu_float(e), vu_float(0x7f000000U - e)};
}

NB_LANES_INLINE vf unit_apply(vf x, vf shrink)
{
    return vf_min(vf_max(x * shrink, vf_set(-4.0F)), vf_set(4.0F));
}

NB_LANES_INLINE vf abs_max(const vf *x, int n)
{
    vf amax = vf_set(0.0F);
    for (int i = 0; i < n; i++)
        amax = vf_max(vf_abs(x[i]), amax);
    return amax;
}

/* The signed value of the largest magnitude, the first of equals. */
NB_LANES_INLINE vf peak_of(const vf *x, int n)
{
    vf amax = vf_set(0.0F);
    vf peak = vf_set(0.0F);
    for (int i = 0; i < n; i++) {
        const vu more = vf_lt(amax, vf_abs(x[i]));
        peak = vf_select(more, x[i], peak);
        amax = vf_max(vf_abs(x[i]), amax);
    }
    return peak;
}

NB_LANES_INLINE void put_u16(uint8_t *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}

#endif
