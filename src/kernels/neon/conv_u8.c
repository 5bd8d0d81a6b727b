/* kernels/neon/conv_u8.c: convolutions of 8-bit integers on NEON: bytes made signed, products of 16 bits added
 * in pairs at once, as two of them do not always fit. */
#include <arm_neon.h>

/* acc[0..3] += the products of four elements of the image with those of 4 x 4 outputs */
static inline void four_products(int32x4_t acc[4], int8x16_t x, const int8x16_t w[4])
{
    for (int i = 0; i < 4; i++) {
        /* pairs of products per output: 0 and 1, 2 and 3; -128 x -128 twice fits 32 bits only */
        const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(w[i]), vget_low_s8(x)));
        const int32x4_t high = vpaddlq_s16(vmull_high_s8(w[i], x));
        acc[i] = vaddq_s32(acc[i], vpaddq_s32(low, high));
    }
}

#define NB_FN(op) nb_##op##_neon
#include "kernels/neon_conv_u8.tmpl.h"
