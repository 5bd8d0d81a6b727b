/* kernels/neon/v8.h: eight floats as two NEON registers: half of a v16, for the last outputs of a convolution. */
#ifndef NB_KERNELS_NEON_V8_H
#define NB_KERNELS_NEON_V8_H

#include "kernels/neon/v16.h"

struct v8 {
    float32x4_t a, b;
};

static inline struct v8 v8_set1(float x)
{
    return (struct v8){vdupq_n_f32(x), vdupq_n_f32(x)};
}

static inline struct v8 v8_load(const float *p)
{
    return (struct v8){vld1q_f32(p), vld1q_f32(p + 4)};
}

/* The first n lanes from memory, the others 0; touches only n floats. */
static inline struct v8 v8_load_n(const float *p, size_t n)
{
    float buf[8] = {0};
    memcpy(buf, p, n * sizeof *p);
    return v8_load(buf);
}

static inline void v8_store(float *p, struct v8 x)
{
    vst1q_f32(p, x.a);
    vst1q_f32(p + 4, x.b);
}

static inline void v8_store_n(float *p, struct v8 x, size_t n)
{
    float buf[8];
    v8_store(buf, x);
    memcpy(p, buf, n * sizeof *p);
}

static inline struct v8 v8_add(struct v8 x, struct v8 y)
{
    return (struct v8){vaddq_f32(x.a, y.a), vaddq_f32(x.b, y.b)};
}

static inline struct v8 v8_mul(struct v8 x, struct v8 y)
{
    return (struct v8){vmulq_f32(x.a, y.a), vmulq_f32(x.b, y.b)};
}

static inline struct v8 v8_fma(struct v8 x, struct v8 y, struct v8 z)
{
    return (struct v8){vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b)};
}

/* x > best ? x : best, x < best ? x : best */
static inline struct v8 v8_max(struct v8 x, struct v8 best)
{
    return (struct v8){vbslq_f32(vcgtq_f32(x.a, best.a), x.a, best.a),
                       vbslq_f32(vcgtq_f32(x.b, best.b), x.b, best.b)};
}

static inline struct v8 v8_min(struct v8 x, struct v8 best)
{
    return (struct v8){vbslq_f32(vcltq_f32(x.a, best.a), x.a, best.a),
                       vbslq_f32(vcltq_f32(x.b, best.b), x.b, best.b)};
}

#endif
