/* kernels/avx2/v16.h: sixteen floats as two AVX registers. The operations that float.tmpl.h asks for. */
#ifndef NB_KERNELS_AVX2_V16_H
#define NB_KERNELS_AVX2_V16_H

#include "base/half.h"
#include "kernels/exp.h"

#include <immintrin.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

struct v16 {
    __m256 a, b;
};

static const int32_t v16_ones[32] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                     -1, -1, -1, -1, -1, -1, -1, -1};

/* All bits set in the lanes below n - 8 * half; n at most 16. */
static inline __m256i v16_mask(size_t n, size_t half)
{
    return _mm256_loadu_si256((const void *)(v16_ones + 16 - n + 8 * half));
}

static inline struct v16 v16_set1(float x)
{
    return (struct v16){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

static inline struct v16 v16_load(const float *p)
{
    return (struct v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

/* The first n lanes from memory, the others 0; touches only n floats. */
static inline struct v16 v16_load_n(const float *p, size_t n)
{
    struct v16 r = {_mm256_maskload_ps(p, v16_mask(n, 0)), _mm256_setzero_ps()};
    if (n > 8)
        r.b = _mm256_maskload_ps(p + 8, v16_mask(n, 1));
    return r;
}

static inline void v16_store(float *p, struct v16 x)
{
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}

/* The first n < 8 lanes, in pieces: masked stores take many times as long on Zen. */
static inline void v16_store_half(float *p, __m256 x, size_t n)
{
    __m128 v = _mm256_castps256_ps128(x);
    if (n & 4) {
        _mm_storeu_ps(p, v);
        v = _mm256_extractf128_ps(x, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((void *)p, v);
        v = _mm_movehl_ps(v, v);
        p += 2;
    }
    if (n & 1)
        _mm_store_ss(p, v);
}

static inline void v16_store_n(float *p, struct v16 x, size_t n)
{
    if (n == 16)
        v16_store(p, x);
    else if (n >= 8) {
        _mm256_storeu_ps(p, x.a);
        v16_store_half(p + 8, x.b, n - 8);
    } else
        v16_store_half(p, x.a, n);
}

static inline struct v16 v16_load_f16(const uint16_t *p)
{
    return (struct v16){_mm256_cvtph_ps(_mm_loadu_si128((const void *)p)),
                        _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p + 8)))};
}

static inline void v16_store_f16(uint16_t *p, struct v16 x)
{
    _mm_storeu_si128((void *)p, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((void *)(p + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}

static inline __m256 v16_half_bf16(const uint16_t *p)
{
    const __m256i u = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(u, 16));
}

static inline struct v16 v16_load_bf16(const uint16_t *p)
{
    return (struct v16){v16_half_bf16(p), v16_half_bf16(p + 8)};
}

/* To the upper half of each lane's bits, nearest even, NaN quiet: nb_f32_to_bf16. */
static inline __m256i v16_half_to_bf16(__m256 x)
{
    const __m256i u = _mm256_castps_si256(x);
    const __m256i top = _mm256_srli_epi32(u, 16);
    const __m256i odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i quiet = _mm256_or_si256(top, _mm256_set1_epi32(0x40));
    return _mm256_blendv_epi8(_mm256_srli_epi32(sum, 16), quiet, nan);
}

static inline void v16_store_bf16(uint16_t *p, struct v16 x)
{
    const __m256i u = _mm256_packus_epi32(v16_half_to_bf16(x.a), v16_half_to_bf16(x.b));
    _mm256_storeu_si256((void *)p, _mm256_permute4x64_epi64(u, 0xd8));
}

static inline struct v16 v16_add(struct v16 x, struct v16 y)
{
    return (struct v16){_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}

static inline struct v16 v16_sub(struct v16 x, struct v16 y)
{
    return (struct v16){_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}

static inline struct v16 v16_mul(struct v16 x, struct v16 y)
{
    return (struct v16){_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}

static inline struct v16 v16_div(struct v16 x, struct v16 y)
{
    return (struct v16){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}

static inline struct v16 v16_fma(struct v16 x, struct v16 y, struct v16 z)
{
    return (struct v16){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}

/* The sign bit flipped. */
static inline struct v16 v16_neg(struct v16 x)
{
    const __m256 sign = _mm256_set1_ps(-0.0F);
    return (struct v16){_mm256_xor_ps(x.a, sign), _mm256_xor_ps(x.b, sign)};
}

static inline struct v16 v16_abs(struct v16 x)
{
    const __m256 sign = _mm256_set1_ps(-0.0F);
    return (struct v16){_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}

/* a < b ? x : y, lane by lane */
static inline struct v16 v16_if_less(struct v16 a, struct v16 b, struct v16 x, struct v16 y)
{
    return (struct v16){_mm256_blendv_ps(y.a, x.a, _mm256_cmp_ps(a.a, b.a, _CMP_LT_OQ)),
                        _mm256_blendv_ps(y.b, x.b, _mm256_cmp_ps(a.b, b.b, _CMP_LT_OQ))};
}

/* x > best ? x : best, lane by lane (vmaxps gives its second operand for NaN and for equals) */
static inline struct v16 v16_max(struct v16 x, struct v16 best)
{
    return (struct v16){_mm256_max_ps(x.a, best.a), _mm256_max_ps(x.b, best.b)};
}

/* x < best ? x : best, lane by lane (vminps likewise) */
static inline struct v16 v16_min(struct v16 x, struct v16 best)
{
    return (struct v16){_mm256_min_ps(x.a, best.a), _mm256_min_ps(x.b, best.b)};
}

/* Lanes below n from x, the others from old. */
static inline struct v16 v16_keep_n(struct v16 x, struct v16 old, size_t n)
{
    return (struct v16){_mm256_blendv_ps(old.a, x.a, _mm256_castsi256_ps(v16_mask(n, 0))),
                        n > 8 ? _mm256_blendv_ps(old.b, x.b, _mm256_castsi256_ps(v16_mask(n, 1)))
                              : old.b};
}

static inline float v16_sum(struct v16 x)
{
    const __m256 s8 = _mm256_add_ps(x.a, x.b);
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/* No lane is NaN. */
static inline float v16_top(struct v16 x)
{
    const __m256 s8 = _mm256_max_ps(x.a, x.b);
    const __m128 s4 = _mm_max_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_max_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_max_ss(s2, _mm_movehdup_ps(s2)));
}

static inline __m256 v16_half_exp(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0F), magic = _mm256_set1_ps(NB_EXP_MAGIC);
    const __m256 t = _mm256_fmadd_ps(x, _mm256_set1_ps(NB_EXP_LOG2E), magic);
    const __m256 n = _mm256_sub_ps(t, magic);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-NB_EXP_LN2_HI), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-NB_EXP_LN2_LO), r);
    __m256 p = _mm256_set1_ps(NB_EXP_C6);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(NB_EXP_C5));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(NB_EXP_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(NB_EXP_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(NB_EXP_C2));
    p = _mm256_fmadd_ps(p, r, one);
    p = _mm256_fmadd_ps(p, r, one);
    const __m256i e = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
    __m256 y = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), e));
    const __m256 low = _mm256_cmp_ps(x, _mm256_set1_ps(NB_EXP_LO), _CMP_LT_OQ);
    const __m256 high = _mm256_cmp_ps(x, _mm256_set1_ps(NB_EXP_HI), _CMP_GT_OQ);
    y = _mm256_andnot_ps(low, y);
    y = _mm256_blendv_ps(y, _mm256_set1_ps(INFINITY), high);
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

static inline struct v16 v16_exp(struct v16 x)
{
    return (struct v16){v16_half_exp(x.a), v16_half_exp(x.b)};
}

/* (x0 y0 x1 y1 ...) to even = (x0 x1 ...), odd = (y0 y1 ...) */
static inline void v16_split(struct v16 *even, struct v16 *odd, const float *p)
{
    __m256 *e[2] = {&even->a, &even->b}, *o[2] = {&odd->a, &odd->b};
    for (size_t i = 0; i < 2; i++) {
        const __m256 u = _mm256_loadu_ps(p + 16 * i), v = _mm256_loadu_ps(p + 16 * i + 8);
        const __m256 lo = _mm256_permute2f128_ps(u, v, 0x20),
                     hi = _mm256_permute2f128_ps(u, v, 0x31);
        *e[i] = _mm256_shuffle_ps(lo, hi, 0x88);
        *o[i] = _mm256_shuffle_ps(lo, hi, 0xdd);
    }
}

static inline void v16_zip(float *p, struct v16 even, struct v16 odd)
{
    const __m256 e[2] = {even.a, even.b}, o[2] = {odd.a, odd.b};
    for (size_t i = 0; i < 2; i++) {
        const __m256 lo = _mm256_unpacklo_ps(e[i], o[i]), hi = _mm256_unpackhi_ps(e[i], o[i]);
        _mm256_storeu_ps(p + 16 * i, _mm256_permute2f128_ps(lo, hi, 0x20));
        _mm256_storeu_ps(p + 16 * i + 8, _mm256_permute2f128_ps(lo, hi, 0x31));
    }
}

#endif
