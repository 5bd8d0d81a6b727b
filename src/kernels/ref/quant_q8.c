/* kernels/ref/quant_q8.c: activations to 8 bits, a scale per 32. */
#include "kernels/ref/ref.h"

#include "kernels/q8_block.h"

void nb_quant_q8_f32_ref(int8_t *q, float *d, int16_t *sum16, const float *x, size_t k)
{
    for (size_t b = 0; b < k / NB_Q8_BLOCK; b++) {
        const float *xb = x + b * NB_Q8_BLOCK;
        uint32_t amax_bits = 0; /* as integers, so that infinity and NaN come out on top */
        for (size_t i = 0; i < NB_Q8_BLOCK; i++) {
            const uint32_t u = nb_f32_bits(xb[i]) & 0x7fffffffU;
            amax_bits = u > amax_bits ? u : amax_bits;
        }
        const float inv = q8_scale(&d[b], amax_bits);
        int sum[2] = {0, 0};
        for (size_t i = 0; i < NB_Q8_BLOCK; i++) {
            int v = 0;
            if (inv > 0.0F) {
                /* adding 1.5 * 2^23 rounds to an integer, to nearest even */
                const float t = xb[i] * inv + 0x1.8p23F;
                v = (int)(t - 0x1.8p23F);
                v = v > 127 ? 127 : v < -127 ? -127 : v;
            }
            q[b * NB_Q8_BLOCK + i] = (int8_t)v;
            sum[i / 16] += v;
        }
        sum16[2 * b] = (int16_t)sum[0];
        sum16[2 * b + 1] = (int16_t)sum[1];
    }
}
