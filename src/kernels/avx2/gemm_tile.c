/* kernels/avx2/gemm_tile.c: 8 interleaved rows of integer weights times many quantized columns.
 *
 * Lanes are rows. Four activations of a column are broadcast against four codes of each row; four
 * columns share a load of the codes. Small codes (tile_cols.h) sum in 16 bits over the sub-block.
 */
#include "kernels/tile_cols.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define COLS 4

INLINE __m256i four(const int8_t *q)
{
    int32_t v;
    memcpy(&v, q, sizeof v);
    return _mm256_set1_epi32(v);
}

/* One step: four columns of codes of 8 rows, s in 16 bits (U4, S4) or 32 bits. */
INLINE __m256i one_group(__m256i s, __m256i w, __m256i x, enum tile_range range)
{
    if (range == TILE_S8) {
        const __m256i p = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
        return _mm256_add_epi32(s, _mm256_madd_epi16(p, _mm256_set1_epi16(1)));
    }
    return _mm256_add_epi16(s, _mm256_maddubs_epi16(w, x));
}

/* isum of one sub-block for n columns starting at q, k apart. */
INLINE void sub_sums(__m256i isum[COLS], const int8_t *codes, uint32_t sub, const int8_t *q,
                     size_t k, size_t n, enum tile_range range)
{
    const __m256i one = _mm256_set1_epi16(1);
    const __m256i bias = _mm256_set1_epi8(range == TILE_S4 ? 8 : range == TILE_S6 ? 32 : 0);
    /* groups that may be added up before going to 32 bits: 2 * 2 * 63 * 127 < 2^15 */
    const uint32_t run = range == TILE_S6 ? 8 : sub;
    __m256i s[COLS];
    for (size_t c = 0; c < n; c++)
        isum[c] = _mm256_setzero_si256();
    for (uint32_t i = 0; i < sub; i += run) {
        for (size_t c = 0; c < n; c++)
            s[c] = range == TILE_S8 ? isum[c] : _mm256_setzero_si256();
        for (uint32_t j = i; j < i + run; j += 4) {
            __m256i w = _mm256_loadu_si256((const void *)(codes + (size_t)j * NB_TILE_ROWS));
            if (range == TILE_S4 || range == TILE_S6)
                w = _mm256_add_epi8(w, bias);
            for (size_t c = 0; c < n; c++)
                s[c] = one_group(s[c], w, four(q + c * k + j), range);
        }
        for (size_t c = 0; c < n; c++)
            isum[c] = range == TILE_S8 ? s[c]
                                       : _mm256_add_epi32(isum[c], _mm256_madd_epi16(s[c], one));
    }
}

/* Columns c0 .. c0 + n - 1, n a constant of at most COLS. */
INLINE void cols(float *y, size_t y_stride, const struct nb_tile *w, size_t k,
                 const struct nb_q8 *x, size_t c0, size_t n, enum tile_range range, uint32_t sub)
{
    const int bias = range == TILE_S4 ? 8 : range == TILE_S6 ? 32 : 0;
    __m256 acc[COLS];
    for (size_t c = 0; c < n; c++)
        acc[c] = _mm256_setzero_ps();
    for (size_t s = 0; s < k / sub; s++) {
        __m256i isum[COLS];
        sub_sums(isum, w->codes + s * sub * NB_TILE_ROWS, sub, x->q + c0 * k + s * sub, k, n, range);
        const __m256 scale = _mm256_loadu_ps(w->scale + s * NB_TILE_ROWS);
        for (size_t c = 0; c < n; c++) {
            const __m256 xd = _mm256_set1_ps(x->d[(c0 + c) * (k / 32) + s * sub / 32]);
            if (bias) {
                const int xsum = tile_xsum(x, k, c0 + c, s, sub);
                isum[c] = _mm256_sub_epi32(isum[c], _mm256_set1_epi32(bias * xsum));
            }
            const __m256 f = _mm256_cvtepi32_ps(isum[c]);
            acc[c] = _mm256_fmadd_ps(f, _mm256_mul_ps(scale, xd), acc[c]);
            if (w->min) {
                const __m256 xsum = _mm256_set1_ps((float)tile_xsum(x, k, c0 + c, s, sub));
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
