/* kernels/neon/u8.c: 8-bit integers of nets on NEON. */
#include "kernels/neon/v16.h"

#include <stdbool.h>

static inline struct v16 v16_of_u8(const uint8_t *p)
{
    const uint8x16_t v = vld1q_u8(p);
    const uint16x8_t a = vmovl_u8(vget_low_u8(v)), b = vmovl_high_u8(v);
    return (struct v16){
        {vcvtq_f32_u32(vmovl_u16(vget_low_u16(a))), vcvtq_f32_u32(vmovl_high_u16(a)),
         vcvtq_f32_u32(vmovl_u16(vget_low_u16(b))), vcvtq_f32_u32(vmovl_high_u16(b))}};
}

static inline struct v16 v16_of_sum(const int32_t *a, const int32_t *b)
{
    V16_EACH(vcvtq_f32_s32(vaddq_s32(vld1q_s32(a + 4 * i), vld1q_s32(b + 4 * i))));
}

static inline int16x4_t codes(float32x4_t v, int32_t zero)
{
    return vmovn_s32(vaddq_s32(vcvtnq_s32_f32(v), vdupq_n_s32(zero)));
}

static inline void put_codes(uint8_t *y, struct v16 v, int32_t zero)
{
    const int16x8_t a = vcombine_s16(codes(v.v[0], zero), codes(v.v[1], zero));
    const int16x8_t b = vcombine_s16(codes(v.v[2], zero), codes(v.v[3], zero));
    vst1q_u8(y, vreinterpretq_u8_s8(vcombine_s8(vmovn_s16(a), vmovn_s16(b))));
}

struct sum16 {
    int32x4_t v[4];
};

struct taps16 {
    int16x8_t first[2], second[2];
};

static inline struct sum16 sum16_zero(void)
{
    const int32x4_t z = vdupq_n_s32(0);
    return (struct sum16){{z, z, z, z}};
}

static inline void sum16_store(int32_t *y, const struct sum16 *s)
{
    for (size_t i = 0; i < 4; i++)
        vst1q_s32(y + 4 * i, s->v[i]);
}

typedef uint8x16_t b16;

static inline b16 b16_load(const void *p)
{
    return vld1q_u8(p);
}

static inline b16 b16_pair(const void *p, const void *q)
{
    return vcombine_u8(vld1_u8(p), vld1_u8(q));
}

static inline b16 b16_zero(void)
{
    return vdupq_n_u8(0);
}

static inline struct taps16 taps16_of(b16 w, b16 v)
{
    const int8x16_t p = vreinterpretq_s8_u8(w), q = vreinterpretq_s8_u8(v);
    return (struct taps16){{vmovl_s8(vget_low_s8(p)), vmovl_high_s8(p)},
                           {vmovl_s8(vget_low_s8(q)), vmovl_high_s8(q)}};
}

static inline void add_tap(struct sum16 *s, b16 v, const int16x8_t w[2])
{
    const int16x8_t a = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(v)));
    const int16x8_t b = vreinterpretq_s16_u16(vmovl_high_u8(v));
    s->v[0] = vmlal_s16(s->v[0], vget_low_s16(a), vget_low_s16(w[0]));
    s->v[1] = vmlal_high_s16(s->v[1], a, w[0]);
    s->v[2] = vmlal_s16(s->v[2], vget_low_s16(b), vget_low_s16(w[1]));
    s->v[3] = vmlal_high_s16(s->v[3], b, w[1]);
}

static inline void sum16_add(struct sum16 *s, b16 x, b16 z, const struct taps16 *w)
{
    add_tap(s, x, w->first);
    add_tap(s, z, w->second);
}

#define NB_FN(op) nb_##op##_neon
#include "kernels/u8.tmpl.h"
#include "kernels/dwconv_u8.tmpl.h"
