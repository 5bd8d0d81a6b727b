/* kernels/avx2/gemv.c: block matrix times vector on AVX2: byte products summed in pairs to 16 bits
 * (vpmaddubsw), which the ranges of the codes keep exact. */
#include "base/half.h"

#include <immintrin.h>

#define NB_FN(op) nb_##op##_avx2
#define S8_BIAS   0

/* 8 sums of 4 products below 16 * 127 each per row. */
static inline __m256i sum_u4(__m256i lo, __m256i xlo, __m256i hi, __m256i xhi)
{
    return _mm256_add_epi16(_mm256_maddubs_epi16(lo, xlo), _mm256_maddubs_epi16(hi, xhi));
}

/* Two sums of 16 products per row fit 16 bits: 16 * 15 * 127 = 30480. */
static inline __m256i fold_u4(const __m256i s[4])
{
    const __m256i a = _mm256_hadd_epi16(s[0], s[1]), b = _mm256_hadd_epi16(s[2], s[3]);
    return _mm256_madd_epi16(_mm256_hadd_epi16(a, b), _mm256_set1_epi16(1));
}

static inline __m256i sum_u6(__m256i c, __m256i x)
{
    return _mm256_maddubs_epi16(c, x);
}

/* Sums of 4 products still fit: 4 * 63 * 127 = 32004. */
static inline __m256i fold_u6(const __m256i s[4])
{
    const __m256i one = _mm256_set1_epi16(1);
    const __m256i a = _mm256_madd_epi16(_mm256_hadd_epi16(s[0], s[1]), one);
    const __m256i b = _mm256_madd_epi16(_mm256_hadd_epi16(s[2], s[3]), one);
    return _mm256_hadd_epi32(a, b);
}

/* |w| x with the sign of w put on x: 2 * 128 * 127 fits 16 bits, and x is never -128. */
static inline __m256i mul_s8(__m256i w, __m256i x)
{
    const __m256i p = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_madd_epi16(p, _mm256_set1_epi16(1));
}

static inline __m256i sum_s8(__m256i w0, __m256i x0, __m256i w1, __m256i x1)
{
    return _mm256_add_epi32(mul_s8(w0, x0), mul_s8(w1, x1));
}

static inline __m256i fold_s8(const __m256i s[4])
{
    const __m256i a = _mm256_hadd_epi32(s[0], s[1]), b = _mm256_hadd_epi32(s[2], s[3]);
    return _mm256_hadd_epi32(a, b);
}

#include "kernels/x86_gemv.tmpl.h"

#include "kernels/x86_gemv_nl.tmpl.h"
