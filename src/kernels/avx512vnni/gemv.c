/* kernels/avx512vnni/gemv.c: block matrix times vector with VNNI: four products of an unsigned and a
 * signed byte summed to 32 bits by one instruction. 256-bit registers: memory is the limit. */
#include "base/half.h"

#include <immintrin.h>

#define NB_FN(op) nb_##op##_avx512vnni
#define S8_BIAS   128

static inline __m256i sum_u4(__m256i lo, __m256i xlo, __m256i hi, __m256i xhi)
{
    return _mm256_dpbusd_epi32(_mm256_dpbusd_epi32(_mm256_setzero_si256(), lo, xlo), hi, xhi);
}

/* Four sums per row and register; the eight totals in row order. */
static inline __m256i fold_u4(const __m256i s[4])
{
    const __m256i a = _mm256_hadd_epi32(s[0], s[1]), b = _mm256_hadd_epi32(s[2], s[3]);
    return _mm256_hadd_epi32(a, b);
}

static inline __m256i sum_u6(__m256i c, __m256i x)
{
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), c, x);
}

static inline __m256i fold_u6(const __m256i s[4])
{
    return fold_u4(s);
}

/* w + 128 is unsigned */
static inline __m256i sum_s8(__m256i w0, __m256i x0, __m256i w1, __m256i x1)
{
    const __m256i flip = _mm256_set1_epi8((char)-128);
    return sum_u4(_mm256_xor_si256(w0, flip), x0, _mm256_xor_si256(w1, flip), x1);
}

static inline __m256i fold_s8(const __m256i s[4])
{
    return fold_u4(s);
}

#include "kernels/x86_gemv.tmpl.h"

#include "kernels/x86_gemv_nl.tmpl.h"
