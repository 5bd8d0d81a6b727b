/* kernels/avx2/panel_finish.h: the sums of 4 rows x 3 columns from their lanes, in the canonical order
 * (8-4-2-1): for gemm_panel.tmpl.h and gemm_f32.c.
 *
 * Two vectors are added across lanes in one addition: of what each keeps in its place and what the other
 * moves there, one shuffle instead of two.
 */
#ifndef NB_KERNELS_AVX2_PANEL_FINISH_H
#define NB_KERNELS_AVX2_PANEL_FINISH_H

#include <immintrin.h>
#include <stddef.h>

/* Spelled out: gcc makes a call of memcpy of a loop. */
static inline void store_column(float *sums, __m256 a, __m256 b, __m256 c, __m256 d)
{
    _mm256_storeu_ps(sums, a);
    _mm256_storeu_ps(sums + 8, b);
    _mm256_storeu_ps(sums + 16, c);
    _mm256_storeu_ps(sums + 24, d);
}

/* Lanes 4 apart: those of u below, of v above. */
static inline __m256 fold4(__m256 u, __m256 v)
{
    return _mm256_add_ps(_mm256_blend_ps(u, v, 0xf0), _mm256_permute2f128_ps(u, v, 0x21));
}

/* Lanes 2 apart of each half: [u u v v]. */
static inline __m256 fold2(__m256 u, __m256 v)
{
    return _mm256_add_ps(_mm256_blend_ps(u, v, 0xcc), _mm256_shuffle_ps(u, v, 0x4e));
}

/* The last two lanes of two columns: [u0 u1 v0 v1 | u2 u3 v2 v3]. */
static inline __m256 fold1(__m256 u, __m256 v)
{
    return _mm256_add_ps(_mm256_shuffle_ps(u, v, 0x88), _mm256_shuffle_ps(u, v, 0xdd));
}

/* v: lanes 8 apart are added; rows of column 0, of column 1, of column 2. */
static inline void finish_sums(float *y, size_t y_stride, const __m256 v[12])
{
    const __m256 u0 = fold2(fold4(v[0], v[2]), fold4(v[1], v[3]));
    const __m256 u1 = fold2(fold4(v[4], v[6]), fold4(v[5], v[7]));
    const __m256 u2 = fold2(fold4(v[8], v[10]), fold4(v[9], v[11]));
    const __m256 p = fold1(u0, u1), q = fold1(u2, u2);
    const __m128 p0 = _mm256_castps256_ps128(p), p1 = _mm256_extractf128_ps(p, 1);
    const __m128 q0 = _mm256_castps256_ps128(q), q1 = _mm256_extractf128_ps(q, 1);
    _mm_storeu_ps(y, _mm_movelh_ps(p0, p1));
    _mm_storeu_ps(y + y_stride, _mm_movehl_ps(p1, p0));
    _mm_storeu_ps(y + 2 * y_stride, _mm_movelh_ps(q0, q1));
}

static inline void finish(float *y, size_t y_stride, const float *lo, const float *hi)
{
    __m256 v[12];
    for (size_t i = 0; i < 12; i++)
        v[i] = _mm256_add_ps(_mm256_loadu_ps(lo + 8 * i), _mm256_loadu_ps(hi + 8 * i));
    finish_sums(y, y_stride, v);
}

#endif
