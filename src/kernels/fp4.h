/* kernels/fp4.h: the E2M1 values of mxfp4 and nvfp4, doubled so that they are integers, and the E4M3 scales
 * of nvfp4 (OCP Microscaling Formats 1.0; ggml stores both without a sign bit of 0 or of the scale).
 */
#ifndef NB_KERNELS_FP4_H
#define NB_KERNELS_FP4_H

#include "base/half.h"

/* Nibbles; bit 3 is the sign, and the value of 8 is 0. */
static const int8_t nb_fp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

enum { NB_FP4_TOP = 12 };

/* The nearest doubled value of a magnitude, ties to the even mantissa: adding a power of two leaves one
 * mantissa bit (magnitudes from 2 on), or a whole number. */
static inline float nb_fp4_round(float a)
{
    a = a < (float)NB_FP4_TOP ? a : (float)NB_FP4_TOP;
    const uint32_t size = nb_f32_bits(a > 2.0F ? a : 2.0F) & 0x7f800000U;
    const float shift = nb_f32_from_bits(size + (22U << 23));
    return (a + shift) - shift;
}

/* Sign bit ignored; 0x7f, which is no number, counts as 0. */
static inline float nb_e4m3_value(unsigned byte)
{
    const unsigned c = byte & 0x7fU;
    if (byte == 0x7fU)
        return 0.0F;
    return c < 8 ? (float)c * 0x1p-9F : nb_f32_from_bits((c + 960U) << 20);
}

#endif
