/* kernels/dotprod/probe.c: see ref/probe.c. */
#include "kernels/kernels.h"

#include <arm_neon.h>

#define CHAINS 10

double nb_peak_s8_dotprod(uint32_t steps, float *sink)
{
    int32x4_t acc[CHAINS];
    int8x16_t w = vdupq_n_s8(3);
    const int8x16_t x = vdupq_n_s8(5), one = vdupq_n_s8(1);
    for (int c = 0; c < CHAINS; c++)
        acc[c] = vdupq_n_s32(c);
    for (uint32_t i = 0; i < steps; i++) {
        w = vaddq_s8(w, one);
        for (int c = 0; c < CHAINS; c++)
            acc[c] = vdotq_s32(acc[c], w, x);
    }
    for (int c = 0; c < CHAINS; c++)
        *sink += (float)vgetq_lane_s32(acc[c], 0);
    return 2.0 * 16 * CHAINS * steps;
}
