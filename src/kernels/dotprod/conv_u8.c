/* kernels/dotprod/conv_u8.c: convolutions of 8-bit integers with the dot product of ARMv8.2. */
#include <arm_neon.h>

/* acc[0..3] += the products of four elements of the image with those of 4 x 4 outputs */
static inline void four_products(int32x4_t acc[4], int8x16_t x, const int8x16_t w[4])
{
    for (int i = 0; i < 4; i++)
        acc[i] = vdotq_s32(acc[i], w[i], x);
}

#define NB_FN(op) nb_##op##_dotprod
#include "kernels/neon_conv_u8.tmpl.h"
