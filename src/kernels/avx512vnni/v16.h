/* kernels/avx512vnni/v16.h: sixteen floats in one AVX-512 register. The operations float.tmpl.h asks for. */
#ifndef NB_KERNELS_AVX512VNNI_V16_H
#define NB_KERNELS_AVX512VNNI_V16_H

#include "base/half.h"
#include "kernels/exp.h"

#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

struct v16 {
    __m512 v;
};

static inline __mmask16 v16_mask(size_t n)
{
    return (__mmask16)((1U << n) - 1U);
}

static inline struct v16 v16_set1(float x)
{
    return (struct v16){_mm512_set1_ps(x)};
}

static inline struct v16 v16_load(const float *p)
{
    return (struct v16){_mm512_loadu_ps(p)};
}

/* The first n lanes from memory, the others 0; touches only n floats. */
static inline struct v16 v16_load_n(const float *p, size_t n)
{
    return (struct v16){_mm512_maskz_loadu_ps(v16_mask(n), p)};
}

static inline void v16_store(float *p, struct v16 x)
{
    _mm512_storeu_ps(p, x.v);
}

static inline void v16_store_n(float *p, struct v16 x, size_t n)
{
    _mm512_mask_storeu_ps(p, v16_mask(n), x.v);
}

static inline struct v16 v16_load_f16(const uint16_t *p)
{
    return (struct v16){_mm512_cvtph_ps(_mm256_loadu_si256((const void *)p))};
}

static inline void v16_store_f16(uint16_t *p, struct v16 x)
{
    _mm256_storeu_si256((void *)p,
                        _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline struct v16 v16_load_bf16(const uint16_t *p)
{
    const __m512i u = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));
    return (struct v16){_mm512_castsi512_ps(_mm512_slli_epi32(u, 16))};
}

/* To the upper half of each lane's bits, nearest even, NaN quiet: nb_f32_to_bf16. */
static inline void v16_store_bf16(uint16_t *p, struct v16 x)
{
    const __m512i u = _mm512_castps_si512(x.v);
    const __m512i top = _mm512_srli_epi32(u, 16);
    const __m512i odd = _mm512_and_si512(top, _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);
    const __m512i r =
        _mm512_mask_or_epi32(_mm512_srli_epi32(sum, 16), nan, top, _mm512_set1_epi32(0x40));
    _mm256_storeu_si256((void *)p, _mm512_cvtepi32_epi16(r));
}

static inline struct v16 v16_add(struct v16 x, struct v16 y)
{
    return (struct v16){_mm512_add_ps(x.v, y.v)};
}

static inline struct v16 v16_sub(struct v16 x, struct v16 y)
{
    return (struct v16){_mm512_sub_ps(x.v, y.v)};
}

static inline struct v16 v16_mul(struct v16 x, struct v16 y)
{
    return (struct v16){_mm512_mul_ps(x.v, y.v)};
}

static inline struct v16 v16_div(struct v16 x, struct v16 y)
{
    return (struct v16){_mm512_div_ps(x.v, y.v)};
}

static inline struct v16 v16_fma(struct v16 x, struct v16 y, struct v16 z)
{
    return (struct v16){_mm512_fmadd_ps(x.v, y.v, z.v)};
}

/* The sign bit flipped. */
static inline struct v16 v16_neg(struct v16 x)
{
    const __m512i sign = _mm512_set1_epi32((int)0x80000000U);
    return (struct v16){_mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(x.v), sign))};
}

static inline struct v16 v16_abs(struct v16 x)
{
    return (struct v16){_mm512_abs_ps(x.v)};
}

/* a < b ? x : y, lane by lane */
static inline struct v16 v16_if_less(struct v16 a, struct v16 b, struct v16 x, struct v16 y)
{
    return (struct v16){_mm512_mask_mov_ps(y.v, _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), x.v)};
}

/* x > best ? x : best, lane by lane (vmaxps gives its second operand for NaN and for equals) */
static inline struct v16 v16_max(struct v16 x, struct v16 best)
{
    return (struct v16){_mm512_max_ps(x.v, best.v)};
}

/* x < best ? x : best, lane by lane (vminps likewise) */
static inline struct v16 v16_min(struct v16 x, struct v16 best)
{
    return (struct v16){_mm512_min_ps(x.v, best.v)};
}

/* Lanes below n from x, the others from old. */
static inline struct v16 v16_keep_n(struct v16 x, struct v16 old, size_t n)
{
    return (struct v16){_mm512_mask_mov_ps(old.v, v16_mask(n), x.v)};
}

static inline __m256 v16_upper(struct v16 x)
{
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x.v), 1));
}

static inline float v16_sum(struct v16 x)
{
    const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(x.v), v16_upper(x));
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/* No lane is NaN. */
static inline float v16_top(struct v16 x)
{
    const __m256 s8 = _mm256_max_ps(_mm512_castps512_ps256(x.v), v16_upper(x));
    const __m128 s4 = _mm_max_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_max_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_max_ss(s2, _mm_movehdup_ps(s2)));
}

static inline struct v16 v16_exp(struct v16 x)
{
    const __m512 one = _mm512_set1_ps(1.0F), magic = _mm512_set1_ps(NB_EXP_MAGIC);
    const __m512 t = _mm512_fmadd_ps(x.v, _mm512_set1_ps(NB_EXP_LOG2E), magic);
    const __m512 n = _mm512_sub_ps(t, magic);
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-NB_EXP_LN2_HI), x.v);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-NB_EXP_LN2_LO), r);
    __m512 p = _mm512_set1_ps(NB_EXP_C6);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(NB_EXP_C5));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(NB_EXP_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(NB_EXP_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(NB_EXP_C2));
    p = _mm512_fmadd_ps(p, r, one);
    p = _mm512_fmadd_ps(p, r, one);
    const __m512i e = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
    __m512 y = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), e));
    const __mmask16 low = _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(NB_EXP_LO), _CMP_LT_OQ);
    const __mmask16 high = _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(NB_EXP_HI), _CMP_GT_OQ);
    y = _mm512_mask_mov_ps(y, low, _mm512_setzero_ps());
    y = _mm512_mask_mov_ps(y, high, _mm512_set1_ps(INFINITY));
    return (struct v16){_mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q), x.v)};
}

/* (x0 y0 x1 y1 ...) to even = (x0 x1 ...), odd = (y0 y1 ...) */
static inline void v16_split(struct v16 *even, struct v16 *odd, const float *p)
{
    const __m512i e = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i o = _mm512_add_epi32(e, _mm512_set1_epi32(1));
    const __m512 u = _mm512_loadu_ps(p), v = _mm512_loadu_ps(p + 16);
    even->v = _mm512_permutex2var_ps(u, e, v);
    odd->v = _mm512_permutex2var_ps(u, o, v);
}

static inline void v16_zip(float *p, struct v16 even, struct v16 odd)
{
    const __m512i lo = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i hi = _mm512_add_epi32(lo, _mm512_set1_epi32(8));
    _mm512_storeu_ps(p, _mm512_permutex2var_ps(even.v, lo, odd.v));
    _mm512_storeu_ps(p + 16, _mm512_permutex2var_ps(even.v, hi, odd.v));
}

#endif
