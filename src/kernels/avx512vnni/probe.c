/* kernels/avx512vnni/probe.c: see ref/probe.c. */
#include "kernels/kernels.h"

#include <immintrin.h>

#define CHAINS 10

double nb_peak_f32_avx512vnni(uint32_t steps, float *sink)
{
    __m512 acc[CHAINS];
    const __m512 mul = _mm512_set1_ps(0.999F), add = _mm512_set1_ps(0.001F);
    for (int c = 0; c < CHAINS; c++)
        acc[c] = _mm512_set1_ps((float)c);
    for (uint32_t i = 0; i < steps; i++)
        for (int c = 0; c < CHAINS; c++)
            acc[c] = _mm512_fmadd_ps(acc[c], mul, add);
    for (int c = 0; c < CHAINS; c++)
        *sink += _mm512_cvtss_f32(acc[c]);
    return 2.0 * 16 * CHAINS * steps;
}

double nb_peak_s8_avx512vnni(uint32_t steps, float *sink)
{
    __m512i acc[CHAINS], w = _mm512_set1_epi8(3);
    const __m512i x = _mm512_set1_epi8(5), one = _mm512_set1_epi8(1);
    for (int c = 0; c < CHAINS; c++)
        acc[c] = _mm512_set1_epi32(c);
    for (uint32_t i = 0; i < steps; i++) {
        w = _mm512_add_epi8(w, one);
        for (int c = 0; c < CHAINS; c++)
            acc[c] = _mm512_dpbusd_epi32(acc[c], w, x);
    }
    for (int c = 0; c < CHAINS; c++)
        *sink += (float)_mm512_cvtsi512_si32(acc[c]);
    return 2.0 * 64 * CHAINS * steps;
}
