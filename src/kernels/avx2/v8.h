/* kernels/avx2/v8.h: eight floats in one AVX register: half of a v16, for the last outputs of a convolution. */
#ifndef NB_KERNELS_AVX2_V8_H
#define NB_KERNELS_AVX2_V8_H

#include "kernels/avx2/v16.h"

struct v8 {
    __m256 v;
};

static inline struct v8 v8_set1(float x)
{
    return (struct v8){_mm256_set1_ps(x)};
}

static inline struct v8 v8_load(const float *p)
{
    return (struct v8){_mm256_loadu_ps(p)};
}

/* The first n lanes from memory, the others 0; touches only n floats. */
static inline struct v8 v8_load_n(const float *p, size_t n)
{
    return (struct v8){_mm256_maskload_ps(p, v16_mask(n, 0))};
}

static inline void v8_store(float *p, struct v8 x)
{
    _mm256_storeu_ps(p, x.v);
}

static inline void v8_store_n(float *p, struct v8 x, size_t n)
{
    if (n == 8)
        _mm256_storeu_ps(p, x.v);
    else
        v16_store_half(p, x.v, n);
}

static inline struct v8 v8_add(struct v8 x, struct v8 y)
{
    return (struct v8){_mm256_add_ps(x.v, y.v)};
}

static inline struct v8 v8_mul(struct v8 x, struct v8 y)
{
    return (struct v8){_mm256_mul_ps(x.v, y.v)};
}

static inline struct v8 v8_fma(struct v8 x, struct v8 y, struct v8 z)
{
    return (struct v8){_mm256_fmadd_ps(x.v, y.v, z.v)};
}

/* x > best ? x : best, x < best ? x : best */
static inline struct v8 v8_max(struct v8 x, struct v8 best)
{
    return (struct v8){_mm256_max_ps(x.v, best.v)};
}

static inline struct v8 v8_min(struct v8 x, struct v8 best)
{
    return (struct v8){_mm256_min_ps(x.v, best.v)};
}

#endif
