/* kernels/avx2/panel_finish.h: the sums of 4 rows x 3 columns from their lanes (kernels/gemm_panel.tmpl.h). */
#ifndef NB_KERNELS_AVX2_PANEL_FINISH_H
#define NB_KERNELS_AVX2_PANEL_FINISH_H

#include <immintrin.h>
#include <stddef.h>

/* Lanes 8 and 4 and 2 apart of four rows: [r0 r0 r1 r1 | r2 r2 r3 r3]. */
static inline __m256 fold(const float *lo, const float *hi)
{
    __m256 v[4];
    for (size_t i = 0; i < 4; i++)
        v[i] = _mm256_add_ps(_mm256_loadu_ps(lo + 8 * i), _mm256_loadu_ps(hi + 8 * i));
    const __m256 s = _mm256_add_ps(_mm256_permute2f128_ps(v[0], v[2], 0x20),
                                   _mm256_permute2f128_ps(v[0], v[2], 0x31));
    const __m256 t = _mm256_add_ps(_mm256_permute2f128_ps(v[1], v[3], 0x20),
                                   _mm256_permute2f128_ps(v[1], v[3], 0x31));
    return _mm256_add_ps(_mm256_shuffle_ps(s, t, 0x44), _mm256_shuffle_ps(s, t, 0xee));
}

/* The last two lanes of two columns: [u0 u1 v0 v1 | u2 u3 v2 v3]. */
static inline __m256 last(__m256 u, __m256 v)
{
    return _mm256_add_ps(_mm256_shuffle_ps(u, v, 0x88), _mm256_shuffle_ps(u, v, 0xdd));
}

static inline void finish(float *y, size_t y_stride, const float *lo, const float *hi)
{
    const __m256 u0 = fold(lo, hi), u1 = fold(lo + 32, hi + 32), u2 = fold(lo + 64, hi + 64);
    const __m256 p = last(u0, u1), q = last(u2, u2);
    const __m128 p0 = _mm256_castps256_ps128(p), p1 = _mm256_extractf128_ps(p, 1);
    const __m128 q0 = _mm256_castps256_ps128(q), q1 = _mm256_extractf128_ps(q, 1);
    _mm_storeu_ps(y, _mm_movelh_ps(p0, p1));
    _mm_storeu_ps(y + y_stride, _mm_movehl_ps(p1, p0));
    _mm_storeu_ps(y + 2 * y_stride, _mm_movelh_ps(q0, q1));
}

#endif
