/* kernels/neon/quant_q8.c: activations to 8 bits, a scale per 32. */
#include "kernels/kernels.h"
#include "kernels/q8_block.h"

#include <arm_neon.h>

/* Eight codes; |x * inv| never exceeds 127 by more than rounding, so that 16 bits hold it. */
static inline int16x8_t code8(const float *x, float inv)
{
    const int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inv)); /* to nearest even */
    const int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), inv));
    const int16x8_t v = vcombine_s16(vqmovn_s32(a), vqmovn_s32(b));
    return vmaxq_s16(vminq_s16(v, vdupq_n_s16(127)), vdupq_n_s16(-127));
}

void nb_quant_q8_f32_neon(int8_t *q, float *d, int16_t *sum16, const float *x, size_t k)
{
    for (size_t b = 0; b < k / NB_Q8_BLOCK; b++, q += 32, x += 32, sum16 += 2) {
        uint32x4_t top = vdupq_n_u32(0);
        for (size_t i = 0; i < NB_Q8_BLOCK; i += 4) {
            const uint32x4_t u = vreinterpretq_u32_f32(vld1q_f32(x + i));
            top = vmaxq_u32(top, vandq_u32(u, vdupq_n_u32(0x7fffffffU)));
        }
        const float inv = q8_scale(&d[b], vmaxvq_u32(top));
        if (!(inv > 0.0F)) {
            vst1q_s8(q, vdupq_n_s8(0));
            vst1q_s8(q + 16, vdupq_n_s8(0));
            sum16[0] = sum16[1] = 0;
            continue;
        }
        for (size_t i = 0; i < 2; i++) {
            const int16x8_t lo = code8(x + 16 * i, inv), hi = code8(x + 16 * i + 8, inv);
            vst1q_s8(q + 16 * i, vcombine_s8(vmovn_s16(lo), vmovn_s16(hi)));
            sum16[i] = vaddvq_s16(vaddq_s16(lo, hi));
        }
    }
}
