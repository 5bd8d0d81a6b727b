/* kernels/neon/v16.h: sixteen floats as four NEON registers. The operations that float.tmpl.h asks for. */
#ifndef NB_KERNELS_NEON_V16_H
#define NB_KERNELS_NEON_V16_H

#include "base/half.h"
#include "kernels/exp.h"

#include <arm_neon.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#define PARTS 4

struct v16 {
    float32x4_t v[PARTS];
};

/* One register wide operation on all parts. */
#define V16_EACH(expr)                                                                             \
    struct v16 r;                                                                                  \
    for (size_t i = 0; i < PARTS; i++)                                                             \
        r.v[i] = (expr);                                                                           \
    return r

static inline struct v16 v16_set1(float x)
{
    V16_EACH(vdupq_n_f32(x));
}

static inline struct v16 v16_load(const float *p)
{
    V16_EACH(vld1q_f32(p + 4 * i));
}

/* The first n lanes from memory, the others 0; touches only n floats. */
static inline struct v16 v16_load_n(const float *p, size_t n)
{
    float buf[16] = {0};
    memcpy(buf, p, n * sizeof *p);
    return v16_load(buf);
}

static inline void v16_store(float *p, struct v16 x)
{
    for (size_t i = 0; i < PARTS; i++)
        vst1q_f32(p + 4 * i, x.v[i]);
}

static inline void v16_store_n(float *p, struct v16 x, size_t n)
{
    float buf[16];
    v16_store(buf, x);
    memcpy(p, buf, n * sizeof *p);
}

static inline struct v16 v16_load_f16(const uint16_t *p)
{
    V16_EACH(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))));
}

static inline void v16_store_f16(uint16_t *p, struct v16 x)
{
    for (size_t i = 0; i < PARTS; i++)
        vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(x.v[i])));
}

static inline struct v16 v16_load_bf16(const uint16_t *p)
{
    V16_EACH(vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)));
}

/* To the upper half of each lane's bits, nearest even, NaN quiet: nb_f32_to_bf16. */
static inline void v16_store_bf16(uint16_t *p, struct v16 x)
{
    for (size_t i = 0; i < PARTS; i++) {
        const uint32x4_t u = vreinterpretq_u32_f32(x.v[i]);
        const uint32x4_t top = vshrq_n_u32(u, 16);
        const uint32x4_t odd = vandq_u32(top, vdupq_n_u32(1));
        const uint32x4_t sum = vaddq_u32(vaddq_u32(u, vdupq_n_u32(0x7fff)), odd);
        const uint32x4_t number = vceqq_f32(x.v[i], x.v[i]);
        const uint32x4_t quiet = vorrq_u32(top, vdupq_n_u32(0x40));
        vst1_u16(p + 4 * i, vmovn_u32(vbslq_u32(number, vshrq_n_u32(sum, 16), quiet)));
    }
}

static inline struct v16 v16_add(struct v16 x, struct v16 y)
{
    V16_EACH(vaddq_f32(x.v[i], y.v[i]));
}

static inline struct v16 v16_sub(struct v16 x, struct v16 y)
{
    V16_EACH(vsubq_f32(x.v[i], y.v[i]));
}

static inline struct v16 v16_mul(struct v16 x, struct v16 y)
{
    V16_EACH(vmulq_f32(x.v[i], y.v[i]));
}

static inline struct v16 v16_div(struct v16 x, struct v16 y)
{
    V16_EACH(vdivq_f32(x.v[i], y.v[i]));
}

static inline struct v16 v16_fma(struct v16 x, struct v16 y, struct v16 z)
{
    V16_EACH(vfmaq_f32(z.v[i], x.v[i], y.v[i]));
}

/* The sign bit flipped. */
static inline struct v16 v16_neg(struct v16 x)
{
    V16_EACH(vnegq_f32(x.v[i]));
}

static inline struct v16 v16_abs(struct v16 x)
{
    V16_EACH(vabsq_f32(x.v[i]));
}

/* a < b ? x : y, lane by lane */
static inline struct v16 v16_if_less(struct v16 a, struct v16 b, struct v16 x, struct v16 y)
{
    V16_EACH(vbslq_f32(vcltq_f32(a.v[i], b.v[i]), x.v[i], y.v[i]));
}

/* x > best ? x : best, lane by lane */
static inline struct v16 v16_max(struct v16 x, struct v16 best)
{
    V16_EACH(vbslq_f32(vcgtq_f32(x.v[i], best.v[i]), x.v[i], best.v[i]));
}

/* x < best ? x : best, lane by lane */
static inline struct v16 v16_min(struct v16 x, struct v16 best)
{
    V16_EACH(vbslq_f32(vcltq_f32(x.v[i], best.v[i]), x.v[i], best.v[i]));
}

/* Lanes below n from x, the others from old. */
static inline struct v16 v16_keep_n(struct v16 x, struct v16 old, size_t n)
{
    static const uint32_t lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const uint32x4_t end = vdupq_n_u32((uint32_t)n);
    V16_EACH(vbslq_f32(vcltq_u32(vld1q_u32(lane + 4 * i), end), x.v[i], old.v[i]));
}

static inline float v16_sum(struct v16 x)
{
    const float32x4_t s8[2] = {vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3])};
    const float32x4_t s4 = vaddq_f32(s8[0], s8[1]);
    const float32x2_t s2 = vadd_f32(vget_low_f32(s4), vget_high_f32(s4));
    return vget_lane_f32(s2, 0) + vget_lane_f32(s2, 1);
}

/* No lane is NaN. */
static inline float v16_top(struct v16 x)
{
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.v[0], x.v[1]), vmaxq_f32(x.v[2], x.v[3])));
}

static inline float32x4_t v16_part_exp(float32x4_t x)
{
    const float32x4_t one = vdupq_n_f32(1.0F), magic = vdupq_n_f32(NB_EXP_MAGIC);
    const float32x4_t t = vfmaq_f32(magic, x, vdupq_n_f32(NB_EXP_LOG2E));
    const float32x4_t n = vsubq_f32(t, magic);
    float32x4_t r = vfmaq_f32(x, n, vdupq_n_f32(-NB_EXP_LN2_HI));
    r = vfmaq_f32(r, n, vdupq_n_f32(-NB_EXP_LN2_LO));
    float32x4_t p = vdupq_n_f32(NB_EXP_C6);
    p = vfmaq_f32(vdupq_n_f32(NB_EXP_C5), p, r);
    p = vfmaq_f32(vdupq_n_f32(NB_EXP_C4), p, r);
    p = vfmaq_f32(vdupq_n_f32(NB_EXP_C3), p, r);
    p = vfmaq_f32(vdupq_n_f32(NB_EXP_C2), p, r);
    p = vfmaq_f32(one, p, r);
    p = vfmaq_f32(one, p, r);
    const int32x4_t e = vshlq_n_s32(vreinterpretq_s32_f32(t), 23);
    float32x4_t y = vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), e));
    y = vbslq_f32(vcltq_f32(x, vdupq_n_f32(NB_EXP_LO)), vdupq_n_f32(0.0F), y);
    y = vbslq_f32(vcgtq_f32(x, vdupq_n_f32(NB_EXP_HI)), vdupq_n_f32(INFINITY), y);
    return vbslq_f32(vceqq_f32(x, x), y, x);
}

static inline struct v16 v16_exp(struct v16 x)
{
    V16_EACH(v16_part_exp(x.v[i]));
}

/* (x0 y0 x1 y1 ...) to even = (x0 x1 ...), odd = (y0 y1 ...) */
static inline void v16_split(struct v16 *even, struct v16 *odd, const float *p)
{
    for (size_t i = 0; i < PARTS; i++) {
        const float32x4x2_t t = vld2q_f32(p + 8 * i);
        even->v[i] = t.val[0];
        odd->v[i] = t.val[1];
    }
}

static inline void v16_zip(float *p, struct v16 even, struct v16 odd)
{
    for (size_t i = 0; i < PARTS; i++) {
        const float32x4x2_t t = {{even.v[i], odd.v[i]}};
        vst2q_f32(p + 8 * i, t);
    }
}

#endif
