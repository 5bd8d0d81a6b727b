/* kernels/avx2/gemm_tile.c: 8 interleaved rows of integer weights times many quantized columns.
 *
 * Lanes are rows. Four activations of a column are broadcast against four codes of each row; four
 * columns share a load of the codes. Small codes (tile_range.h) sum in 16 bits over the sub-block.
 */
#include "kernels/tile_range.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define COLS   4

/* Four activations in every lane. One instruction; spelled with 32-bit integers, gcc gathers the loads
 * of many steps into vectors first. */
INLINE __m256i four(const int8_t *q)
{
    return _mm256_castps_si256(_mm256_broadcast_ss((const void *)q));
}

/* Keeps the steps in the order written: unrolled, gcc would otherwise go column by column and spill
 * every broadcast. */
#define IN_ORDER(v) __asm__ volatile("" : "+x"(v))

/* One step: four columns of codes of 8 rows, s in 32 bits (S8) or 16. */
INLINE __m256i one_group(__m256i s, __m256i w, __m256i x, enum tile_range range)
{
    if (range == TILE_S8) {
        const __m256i p = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
        return _mm256_add_epi32(s, _mm256_madd_epi16(p, _mm256_set1_epi16(1)));
    }
    return _mm256_add_epi16(s, _mm256_maddubs_epi16(w, x));
}

/* Sums of biased code * xq of one sub-block for n columns starting at q, k apart. */
INLINE void sub_sums(__m256i sum[COLS], const int8_t *codes, uint32_t sub, const int8_t *q,
                     size_t k, size_t n, enum tile_range range)
{
    const __m256i one = _mm256_set1_epi16(1), bias = _mm256_set1_epi8((char)tile_bias(range));
    /* columns that may be added up before going to 32 bits: 2 * 2 * 63 * 127 < 2^15 */
    const uint32_t run = range == TILE_S6 ? 8 : sub;
    __m256i s[COLS];
    for (size_t c = 0; c < n; c++)
        sum[c] = _mm256_setzero_si256();
    for (uint32_t i = 0; i < sub; i += run) {
        for (size_t c = 0; c < n; c++)
            s[c] = range == TILE_S8 ? sum[c] : _mm256_setzero_si256();
        for (uint32_t j = i; j < i + run; j += 4) {
            __m256i w = _mm256_loadu_si256((const void *)(codes + (size_t)j * NB_TILE_ROWS));
            w = _mm256_add_epi8(w, bias);
            for (size_t c = 0; c < n; c++) {
                s[c] = one_group(s[c], w, four(q + c * k + j), range);
                IN_ORDER(s[c]);
            }
        }
        for (size_t c = 0; c < n; c++)
            sum[c] =
                range == TILE_S8 ? s[c] : _mm256_add_epi32(sum[c], _mm256_madd_epi16(s[c], one));
    }
}

/* factor * xsum of sub-block s of column c in every lane. */
INLINE __m256i xsum_of(const struct nb_q8 *x, size_t k, size_t c, size_t s, uint32_t sub,
                       int factor)
{
    const int16_t *p = x->sum16 + c * (k / 16) + s * (sub / 16);
    if (sub == 16) /* the sum in the lower half of each lane meets the factor, the upper 0 */
        return _mm256_madd_epi16(_mm256_set1_epi16(*p), _mm256_set1_epi32(factor));
    return _mm256_madd_epi16(_mm256_castps_si256(_mm256_broadcast_ss((const void *)p)),
                             _mm256_set1_epi16((short)factor));
}

/* Columns c0 .. c0 + n - 1, n a constant of at most COLS. */
INLINE void cols(float *y, size_t y_stride, const struct nb_tile *w, size_t k,
                 const struct nb_q8 *x, size_t c0, size_t n, enum tile_range range, uint32_t sub)
{
    const int bias = tile_bias(range);
    __m256 acc[COLS];
    for (size_t c = 0; c < n; c++)
        acc[c] = _mm256_setzero_ps();
    for (size_t s = 0; s < k / sub; s++) {
        __m256i sum[COLS];
        sub_sums(sum, w->codes + s * sub * NB_TILE_ROWS, sub, x->q + c0 * k + s * sub, k, n, range);
        const __m256 scale = _mm256_loadu_ps(w->scale + s * NB_TILE_ROWS);
        for (size_t c = 0; c < n; c++) {
            const __m256 xd = _mm256_broadcast_ss(x->d + (c0 + c) * (k / 32) + s * sub / 32);
            if (bias)
                sum[c] = _mm256_sub_epi32(sum[c], xsum_of(x, k, c0 + c, s, sub, bias));
            const __m256 f = _mm256_cvtepi32_ps(sum[c]);
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
                     const struct nb_q8 *x, size_t n_cols, enum tile_range range, uint32_t sub)
{
    size_t c = 0;
    for (; c + COLS <= n_cols; c += COLS)
        cols(y, y_stride, w, k, x, c, COLS, range, sub);
    for (; c < n_cols; c++)
        cols(y, y_stride, w, k, x, c, 1, range, sub);
}

/* An instance per range and sub: constants inside. */
#define INSTANCE(range, sub)                                                                       \
    static void run_##range##_##sub(float *y, size_t y_stride, const struct nb_tile *w, size_t k,  \
                                    const struct nb_q8 *x, size_t n_cols)                          \
    {                                                                                              \
        all_cols(y, y_stride, w, k, x, n_cols, range, sub);                                        \
    }

INSTANCE(TILE_U4, 16)
INSTANCE(TILE_S4, 16)
INSTANCE(TILE_S6, 16)
INSTANCE(TILE_S8, 16)
INSTANCE(TILE_U4, 32)
INSTANCE(TILE_S4, 32)
INSTANCE(TILE_S6, 32)
INSTANCE(TILE_S8, 32)

void nb_gemm_f32_tile_q8_avx2(float *y, size_t y_stride, const struct nb_tile *w, size_t k,
                              const struct nb_q8 *x, size_t n_cols)
{
    static nb_gemm_f32_tile_q8_fn *const run[2][4] = {
        {run_TILE_U4_16, run_TILE_S4_16, run_TILE_S6_16, run_TILE_S8_16},
        {run_TILE_U4_32, run_TILE_S4_32, run_TILE_S6_32, run_TILE_S8_32},
    };
    run[w->sub == 32][tile_range_of(w)](y, y_stride, w, k, x, n_cols);
}
