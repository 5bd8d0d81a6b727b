/* kernels/avx512vnni/d8.h: eight doubles in one AVX-512 register. */
#ifndef NB_KERNELS_AVX512VNNI_D8_H
#define NB_KERNELS_AVX512VNNI_D8_H

#include "kernels/avx512vnni/v16.h"

struct d8 {
    __m512d v;
};

static inline struct d8 d8_set1(double x)
{
    return (struct d8){_mm512_set1_pd(x)};
}

static inline struct d8 d8_load(const double *p)
{
    return (struct d8){_mm512_loadu_pd(p)};
}

static inline void d8_store(double *p, struct d8 x)
{
    _mm512_storeu_pd(p, x.v);
}

static inline struct d8 d8_fma(struct d8 x, struct d8 y, struct d8 z)
{
    return (struct d8){_mm512_fmadd_pd(x.v, y.v, z.v)};
}

static inline struct d8 d8_div(struct d8 x, struct d8 y)
{
    return (struct d8){_mm512_div_pd(x.v, y.v)};
}

/* The sign bit flipped. */
static inline struct d8 d8_neg(struct d8 x)
{
    const __m512i sign = _mm512_set1_epi64((long long)0x8000000000000000ULL);
    return (struct d8){_mm512_castsi512_pd(_mm512_xor_si512(_mm512_castpd_si512(x.v), sign))};
}

/* p (16) += x */
static inline void d8_add_v16(double *p, struct v16 x)
{
    const __m512d lo = _mm512_cvtps_pd(_mm512_castps512_ps256(x.v));
    const __m512d hi = _mm512_cvtps_pd(v16_upper(x));
    _mm512_storeu_pd(p, _mm512_add_pd(_mm512_loadu_pd(p), lo));
    _mm512_storeu_pd(p + 8, _mm512_add_pd(_mm512_loadu_pd(p + 8), hi));
}

#endif
