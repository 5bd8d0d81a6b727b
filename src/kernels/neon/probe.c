/* kernels/neon/probe.c: see ref/probe.c. */
#include "kernels/kernels.h"

#include <arm_neon.h>

#define CHAINS 10

uint64_t nb_xor_u64_neon(const void *data, size_t n)
{
    const uint8_t *p = data;
    uint64x2_t a = vdupq_n_u64(0), b = a;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        a = veorq_u64(a, vreinterpretq_u64_u8(vld1q_u8(p + i)));
        b = veorq_u64(b, vreinterpretq_u64_u8(vld1q_u8(p + i + 16)));
    }
    a = veorq_u64(a, b);
    return nb_xor_u64_ref(p + i, n - i) ^ vgetq_lane_u64(a, 0) ^ vgetq_lane_u64(a, 1);
}

double nb_peak_f32_neon(uint32_t steps, float *sink)
{
    float32x4_t acc[CHAINS];
    const float32x4_t mul = vdupq_n_f32(0.999F), add = vdupq_n_f32(0.001F);
    for (int c = 0; c < CHAINS; c++)
        acc[c] = vdupq_n_f32((float)c);
    for (uint32_t i = 0; i < steps; i++)
        for (int c = 0; c < CHAINS; c++)
            acc[c] = vfmaq_f32(add, acc[c], mul);
    for (int c = 0; c < CHAINS; c++)
        *sink += vgetq_lane_f32(acc[c], 0);
    return 2.0 * 4 * CHAINS * steps;
}

double nb_peak_s8_neon(uint32_t steps, float *sink)
{
    int32x4_t acc[CHAINS];
    int8x16_t w = vdupq_n_s8(3);
    const int8x16_t x = vdupq_n_s8(5), one = vdupq_n_s8(1);
    for (int c = 0; c < CHAINS; c++)
        acc[c] = vdupq_n_s32(c);
    for (uint32_t i = 0; i < steps; i++) {
        w = vaddq_s8(w, one);
        for (int c = 0; c < CHAINS; c++) {
            const int8x16_t v = veorq_s8(w, vreinterpretq_s8_s32(acc[c]));
            int16x8_t p = vmull_s8(vget_low_s8(v), vget_low_s8(x));
            p = vmlal_s8(p, vget_high_s8(v), vget_high_s8(x));
            acc[c] = vpadalq_s16(acc[c], p);
        }
    }
    for (int c = 0; c < CHAINS; c++)
        *sink += (float)vgetq_lane_s32(acc[c], 0);
    return 2.0 * 16 * CHAINS * steps;
}
