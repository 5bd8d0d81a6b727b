/* kernels/avx2/quant_q8.c: activations to 8 bits, a scale per 32. */
#include "kernels/kernels.h"
#include "kernels/q8_block.h"

#include <immintrin.h>

static inline __m256i abs_bits(__m256 x)
{
    return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
}

static inline uint32_t top(__m256i m)
{
    __m128i t = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
    t = _mm_max_epi32(t, _mm_shuffle_epi32(t, 0x4e));
    t = _mm_max_epi32(t, _mm_shuffle_epi32(t, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(t);
}

static inline __m256i code8(__m256 x, __m256 inv)
{
    const __m256i v = _mm256_cvtps_epi32(_mm256_mul_ps(x, inv)); /* to nearest even */
    const __m256i lim = _mm256_set1_epi32(127);
    return _mm256_max_epi32(_mm256_min_epi32(v, lim),
                            _mm256_sub_epi32(_mm256_setzero_si256(), lim));
}

void nb_quant_q8_f32_avx2(int8_t *q, float *d, int16_t *sum16, const float *x, size_t k)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (size_t b = 0; b < k / NB_Q8_BLOCK; b++, q += 32, x += 32, sum16 += 2) {
        const __m256 x0 = _mm256_loadu_ps(x), x1 = _mm256_loadu_ps(x + 8);
        const __m256 x2 = _mm256_loadu_ps(x + 16), x3 = _mm256_loadu_ps(x + 24);
        const float inv =
            q8_scale(&d[b], top(_mm256_max_epi32(_mm256_max_epi32(abs_bits(x0), abs_bits(x1)),
                                                 _mm256_max_epi32(abs_bits(x2), abs_bits(x3)))));
        if (!(inv > 0.0F)) {
            _mm256_storeu_si256((void *)q, _mm256_setzero_si256());
            sum16[0] = sum16[1] = 0;
            continue;
        }
        const __m256 f = _mm256_set1_ps(inv);
        const __m256i a = _mm256_packs_epi32(code8(x0, f), code8(x1, f)); /* 0-3 8-11 4-7 12-15 */
        const __m256i c = _mm256_packs_epi32(code8(x2, f), code8(x3, f));
        _mm256_storeu_si256((void *)q,
                            _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, c), order));
        const __m256i one = _mm256_set1_epi16(1);
        /* per half: 2 sums of a, 2 of c */
        const __m256i s = _mm256_hadd_epi32(_mm256_madd_epi16(a, one), _mm256_madd_epi16(c, one));
        __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
        t = _mm_hadd_epi32(t, t);
        sum16[0] = (int16_t)_mm_extract_epi32(t, 0);
        sum16[1] = (int16_t)_mm_extract_epi32(t, 1);
    }
}
