/* kernels/avx2/transpose.h: 8 x 8 floats, rows to columns. */
#ifndef NB_KERNELS_AVX2_TRANSPOSE_H
#define NB_KERNELS_AVX2_TRANSPOSE_H

#include <immintrin.h>
#include <stddef.h>

/* Four rows' halves of 128 bits, each transposed as 4 x 4. */
static inline void transpose_halves(__m256 out[4], const float *src, size_t stride)
{
    const __m256 a = _mm256_loadu_ps(src), b = _mm256_loadu_ps(src + stride);
    const __m256 c = _mm256_loadu_ps(src + 2 * stride), d = _mm256_loadu_ps(src + 3 * stride);
    const __m256 ab0 = _mm256_unpacklo_ps(a, b), ab1 = _mm256_unpackhi_ps(a, b);
    const __m256 cd0 = _mm256_unpacklo_ps(c, d), cd1 = _mm256_unpackhi_ps(c, d);
    out[0] = _mm256_shuffle_ps(ab0, cd0, 0x44);
    out[1] = _mm256_shuffle_ps(ab0, cd0, 0xee);
    out[2] = _mm256_shuffle_ps(ab1, cd1, 0x44);
    out[3] = _mm256_shuffle_ps(ab1, cd1, 0xee);
}

/* dst[j * dst_stride + i] = src[i * stride + j] */
static inline void transpose_8x8(float *dst, size_t dst_stride, const float *src, size_t stride)
{
    __m256 u[4], v[4];
    transpose_halves(u, src, stride);
    transpose_halves(v, src + 4 * stride, stride);
    for (size_t i = 0; i < 4; i++) {
        _mm256_storeu_ps(dst + i * dst_stride, _mm256_permute2f128_ps(u[i], v[i], 0x20));
        _mm256_storeu_ps(dst + (i + 4) * dst_stride, _mm256_permute2f128_ps(u[i], v[i], 0x31));
    }
}

#endif
