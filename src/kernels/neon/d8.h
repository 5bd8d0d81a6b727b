/* kernels/neon/d8.h: eight doubles as four NEON registers. */
#ifndef NB_KERNELS_NEON_D8_H
#define NB_KERNELS_NEON_D8_H

#include "kernels/neon/v16.h"

struct d8 {
    float64x2_t v[PARTS];
};

#define D8_EACH(expr)                                                                              \
    struct d8 r;                                                                                   \
    for (size_t i = 0; i < PARTS; i++)                                                             \
        r.v[i] = (expr);                                                                           \
    return r

static inline struct d8 d8_set1(double x)
{
    D8_EACH(vdupq_n_f64(x));
}

static inline struct d8 d8_load(const double *p)
{
    D8_EACH(vld1q_f64(p + 2 * i));
}

static inline void d8_store(double *p, struct d8 x)
{
    for (size_t i = 0; i < PARTS; i++)
        vst1q_f64(p + 2 * i, x.v[i]);
}

static inline struct d8 d8_fma(struct d8 x, struct d8 y, struct d8 z)
{
    D8_EACH(vfmaq_f64(z.v[i], x.v[i], y.v[i]));
}

static inline struct d8 d8_div(struct d8 x, struct d8 y)
{
    D8_EACH(vdivq_f64(x.v[i], y.v[i]));
}

/* The sign bit flipped. */
static inline struct d8 d8_neg(struct d8 x)
{
    D8_EACH(vnegq_f64(x.v[i]));
}

/* p (16) += x */
static inline void d8_add_v16(double *p, struct v16 x)
{
    for (size_t i = 0; i < PARTS; i++) {
        double *q = p + 4 * i;
        vst1q_f64(q, vaddq_f64(vld1q_f64(q), vcvt_f64_f32(vget_low_f32(x.v[i]))));
        vst1q_f64(q + 2, vaddq_f64(vld1q_f64(q + 2), vcvt_high_f64_f32(x.v[i])));
    }
}

#endif
