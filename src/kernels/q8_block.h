/* kernels/q8_block.h: the scale of one block of quantized activations, for every ISA. */
#ifndef NB_KERNELS_Q8_BLOCK_H
#define NB_KERNELS_Q8_BLOCK_H

#include "base/half.h"

/* amax_bits: the bits of the largest |x|. Sets d, returns the factor for x; 0: every code is 0. */
static inline float q8_scale(float *d, uint32_t amax_bits)
{
    if (amax_bits >= 0x7f800000U) {
        *d = nb_f32_from_bits(0x7fc00000U);
        return 0.0F;
    }
    const float amax = nb_f32_from_bits(amax_bits);
    if (amax < 0x1p-100F) {
        *d = 0.0F;
        return 0.0F;
    }
    *d = amax / 127.0F;
    return 1.0F / *d;
}

#endif
