/* kernels/avx2/probe.c: see ref/probe.c. Ten chains of FMA cover latency 4-5 at two a cycle; an exact
 * s8 product is maddubs, madd, add. */
#include "kernels/kernels.h"

#include <immintrin.h>

#define CHAINS    10
#define S8_CHAINS 12

uint64_t nb_xor_u64_avx2(const void *data, size_t n)
{
    const uint8_t *p = data;
    __m256i x[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                    _mm256_setzero_si256()};
    size_t i = 0;
    for (; i + 128 <= n; i += 128)
        for (int v = 0; v < 4; v++)
            x[v] =
                _mm256_xor_si256(x[v], _mm256_loadu_si256((const void *)(p + i + 32 * (size_t)v)));
    uint64_t lane[4], tail = nb_xor_u64_ref(p + i, n - i);
    _mm256_storeu_si256(
        (void *)lane, _mm256_xor_si256(_mm256_xor_si256(x[0], x[1]), _mm256_xor_si256(x[2], x[3])));
    return tail ^ lane[0] ^ lane[1] ^ lane[2] ^ lane[3];
}

double nb_peak_f32_avx2(uint32_t steps, float *sink)
{
    __m256 acc[CHAINS];
    const __m256 mul = _mm256_set1_ps(0.999F), add = _mm256_set1_ps(0.001F);
    for (int c = 0; c < CHAINS; c++)
        acc[c] = _mm256_set1_ps((float)c);
    for (uint32_t i = 0; i < steps; i++)
        for (int c = 0; c < CHAINS; c++)
            acc[c] = _mm256_fmadd_ps(acc[c], mul, add);
    for (int c = 0; c < CHAINS; c++)
        *sink += _mm256_cvtss_f32(acc[c]);
    return 2.0 * 8 * CHAINS * steps;
}

double nb_peak_s8_avx2(uint32_t steps, float *sink)
{
    __m256i acc[S8_CHAINS], w = _mm256_set1_epi8(3);
    const __m256i x = _mm256_set1_epi8(5), ones = _mm256_set1_epi16(1), one = _mm256_set1_epi8(1);
    for (int c = 0; c < S8_CHAINS; c++)
        acc[c] = _mm256_setzero_si256();
    for (uint32_t i = 0; i < steps; i++) {
        w = _mm256_add_epi8(w, one); /* keeps the products from being hoisted */
        for (int c = 0; c < S8_CHAINS; c++) {
            /* the accumulator in the operand makes the eight products distinct */
            const __m256i p = _mm256_maddubs_epi16(_mm256_xor_si256(w, acc[c]), x);
            acc[c] = _mm256_add_epi32(acc[c], _mm256_madd_epi16(p, ones));
        }
    }
    for (int c = 0; c < S8_CHAINS; c++)
        *sink += (float)_mm256_extract_epi32(acc[c], 0);
    return 2.0 * 32 * S8_CHAINS * steps;
}
