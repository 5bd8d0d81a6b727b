/* kernels/avx2/d8.h: eight doubles as two AVX registers. */
#ifndef NB_KERNELS_AVX2_D8_H
#define NB_KERNELS_AVX2_D8_H

#include "kernels/avx2/v16.h"

struct d8 {
    __m256d a, b;
};

static inline struct d8 d8_set1(double x)
{
    return (struct d8){_mm256_set1_pd(x), _mm256_set1_pd(x)};
}

static inline struct d8 d8_load(const double *p)
{
    return (struct d8){_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)};
}

static inline void d8_store(double *p, struct d8 x)
{
    _mm256_storeu_pd(p, x.a);
    _mm256_storeu_pd(p + 4, x.b);
}

static inline struct d8 d8_fma(struct d8 x, struct d8 y, struct d8 z)
{
    return (struct d8){_mm256_fmadd_pd(x.a, y.a, z.a), _mm256_fmadd_pd(x.b, y.b, z.b)};
}

static inline struct d8 d8_div(struct d8 x, struct d8 y)
{
    return (struct d8){_mm256_div_pd(x.a, y.a), _mm256_div_pd(x.b, y.b)};
}

/* The sign bit flipped. */
static inline struct d8 d8_neg(struct d8 x)
{
    const __m256d sign = _mm256_set1_pd(-0.0);
    return (struct d8){_mm256_xor_pd(x.a, sign), _mm256_xor_pd(x.b, sign)};
}

/* p (16) += x */
static inline void d8_add_v16(double *p, struct v16 x)
{
    const __m256 half[2] = {x.a, x.b};
    for (size_t i = 0; i < 2; i++) {
        const __m256d lo = _mm256_cvtps_pd(_mm256_castps256_ps128(half[i]));
        const __m256d hi = _mm256_cvtps_pd(_mm256_extractf128_ps(half[i], 1));
        double *q = p + 8 * i;
        _mm256_storeu_pd(q, _mm256_add_pd(_mm256_loadu_pd(q), lo));
        _mm256_storeu_pd(q + 4, _mm256_add_pd(_mm256_loadu_pd(q + 4), hi));
    }
}

#endif
