/* kernels/avx512vnni/gemm_tile.c: 8 interleaved rows of integer weights times many quantized columns.
 *
 * Lanes are rows: 256-bit registers hold the eight. Codes are made unsigned by adding 128; the sums are
 * corrected by 128 * xsum. Eight columns share a load of the codes.
 */
#include "kernels/kernels.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define COLS   8

/* Four activations in every lane. */
INLINE __m256i four(const void *p)
{
    return _mm256_castps_si256(_mm256_broadcast_ss(p));
}

/* factor * xsum of sub-block s of column c in every lane. */
INLINE __m256i xsum_of(const struct nb_q8 *x, size_t k, size_t c, size_t s, uint32_t sub,
                       int factor)
{
    const int16_t *p = x->sum16 + c * (k / 16) + s * (sub / 16);
    if (sub == 16) /* the sum in the lower half of each lane meets the factor, the upper 0 */
        return _mm256_madd_epi16(_mm256_set1_epi16(*p), _mm256_set1_epi32(factor));
    return _mm256_madd_epi16(four(p), _mm256_set1_epi16((short)factor));
}

/* Columns c0 .. c0 + n - 1, n a constant of at most COLS. */
INLINE void cols(float *y, size_t y_stride, const struct nb_tile *w, size_t k,
                 const struct nb_q8 *x, size_t c0, size_t n, uint32_t sub)
{
    const __m256i flip = _mm256_set1_epi8((char)-128);
    __m256 acc[COLS];
    for (size_t c = 0; c < n; c++)
        acc[c] = _mm256_setzero_ps();
    for (size_t s = 0; s < k / sub; s++) {
        const int8_t *codes = w->codes + s * sub * NB_TILE_ROWS, *q = x->q + c0 * k + s * sub;
        __m256i sum[COLS];
        for (size_t c = 0; c < n; c++)
            sum[c] = _mm256_setzero_si256();
        for (uint32_t j = 0; j < sub; j += 4) {
            const __m256i v = _mm256_loadu_si256((const void *)(codes + (size_t)j * NB_TILE_ROWS));
            const __m256i u = _mm256_xor_si256(v, flip);
            for (size_t c = 0; c < n; c++) {
                sum[c] = _mm256_dpbusd_epi32(sum[c], u, four(q + c * k + j));
                __asm__ volatile("" : "+v"(sum[c])); /* in this order, without spills */
            }
        }
        const __m256 scale = _mm256_loadu_ps(w->scale + s * NB_TILE_ROWS);
        for (size_t c = 0; c < n; c++) {
            const __m256 xd = _mm256_broadcast_ss(x->d + (c0 + c) * (k / 32) + s * sub / 32);
            const __m256i isum = _mm256_sub_epi32(sum[c], xsum_of(x, k, c0 + c, s, sub, 128));
            const __m256 f = _mm256_cvtepi32_ps(isum);
            acc[c] = _mm256_fmadd_ps(f, _mm256_mul_ps(scale, xd), acc[c]);
            if (w->min) {
                const __m256 xsum = _mm256_cvtepi32_ps(xsum_of(x, k, c0 + c, s, sub, 1));
                const __m256 min = _mm256_loadu_ps(w->min + s * NB_TILE_ROWS);
                acc[c] = _mm256_fmadd_ps(xsum, _mm256_mul_ps(min, xd), acc[c]);
            }
        }
    }
    for (size_t c = 0; c < n; c++)
        _mm256_storeu_ps(y + (c0 + c) * y_stride, acc[c]);
}

INLINE void all_cols(float *y, size_t y_stride, const struct nb_tile *w, size_t k,
                     const struct nb_q8 *x, size_t n_cols, uint32_t sub)
{
    size_t c = 0;
    for (; c + COLS <= n_cols; c += COLS)
        cols(y, y_stride, w, k, x, c, COLS, sub);
    for (; c < n_cols; c++)
        cols(y, y_stride, w, k, x, c, 1, sub);
}

void nb_gemm_f32_tile_q8_avx512vnni(float *y, size_t y_stride, const struct nb_tile *w, size_t k,
                                    const struct nb_q8 *x, size_t n_cols)
{
    if (w->sub == 32)
        all_cols(y, y_stride, w, k, x, n_cols, 32);
    else
        all_cols(y, y_stride, w, k, x, n_cols, 16);
}
