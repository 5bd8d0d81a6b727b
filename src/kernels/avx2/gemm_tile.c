/* kernels/avx2/gemm_tile.c: 8 interleaved rows of integer weights times many quantized columns.
 *
 * Lanes are rows. Four activations of a column are broadcast against four codes of each row; four
 * columns share a load of the codes. Small codes (tile_range.h) sum in 16 bits over the sub-block.
 */
#include "base/status.h"
#include "kernels/tile_range.h"

#include <immintrin.h>

#define INLINE       static inline __attribute__((always_inline))
#define COLS         4
#define SUMS_AT_ONCE ((size_t)128) /* sub-blocks: 2 kB of the stack */

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

/* The sums of the activations of sub-blocks s .. s + n - 1 of column c, as floats. */
static void float_sums(float *sums, const struct nb_q8 *x, size_t k, size_t c, size_t s, size_t n,
                       uint32_t sub)
{
    const int16_t *p = x->sum16 + c * (k / 16) + s * (sub / 16);
    size_t i = 0;
    for (; sub == 32 && i + 8 <= n; i += 8) {
        const __m256i pairs = _mm256_loadu_si256((const void *)(p + 2 * i));
        const __m256i v = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
        _mm256_storeu_ps(sums + i, _mm256_cvtepi32_ps(v));
    }
    for (; i < n; i++)
        sums[i] = sub == 32 ? (float)(p[2 * i] + p[2 * i + 1]) : (float)p[i];
}

/* Columns c0 .. c0 + n - 1, n a constant of at most COLS. That a sum of codes is what its bias added too much
 * to is said in floats: the numbers are integers far below 2^24, so it is exact. */
INLINE void cols(float *y, size_t y_stride, const struct nb_tile *w, size_t k,
                 const struct nb_q8 *x, size_t c0, size_t n, enum tile_range range, uint32_t sub,
                 bool has_min)
{
    const __m256 bias = _mm256_set1_ps((float)tile_bias(range));
    const bool needs_sums = has_min || tile_bias(range);
    float sums[COLS][SUMS_AT_ONCE];
    const int8_t *q = x->q + c0 * k, *codes = w->codes;
    const float *d = x->d + c0 * (k / 32), *scales = w->scale, *mins = w->min;
    const size_t subs = k / sub, blocks = k / 32;
    __m256 acc[COLS];
    for (size_t c = 0; c < n; c++)
        acc[c] = _mm256_setzero_ps();
    for (size_t s0 = 0; s0 < subs; s0 += SUMS_AT_ONCE) {
        const size_t m = NB_MIN(subs - s0, SUMS_AT_ONCE);
        for (size_t c = 0; needs_sums && c < n; c++)
            float_sums(sums[c], x, k, c0 + c, s0, m, sub);
        for (size_t i = 0; i < m; i++) {
            const size_t s = s0 + i;
            __m256i sum[COLS];
            sub_sums(sum, codes + s * sub * NB_TILE_ROWS, sub, q + s * sub, k, n, range);
            const __m256 scale = _mm256_loadu_ps(scales + s * NB_TILE_ROWS);
            const __m256 min =
                has_min ? _mm256_loadu_ps(mins + s * NB_TILE_ROWS) : _mm256_setzero_ps();
            for (size_t c = 0; c < n; c++) {
                const __m256 xd = _mm256_broadcast_ss(d + c * blocks + s * sub / 32);
                __m256 f = _mm256_cvtepi32_ps(sum[c]), xsum = min;
                if (needs_sums)
                    xsum = _mm256_broadcast_ss(&sums[c][i]);
                if (tile_bias(range))
                    f = _mm256_fnmadd_ps(bias, xsum, f);
                acc[c] = _mm256_fmadd_ps(f, _mm256_mul_ps(scale, xd), acc[c]);
                if (has_min)
                    acc[c] = _mm256_fmadd_ps(xsum, _mm256_mul_ps(min, xd), acc[c]);
            }
        }
    }
    for (size_t c = 0; c < n; c++)
        _mm256_storeu_ps(y + (c0 + c) * y_stride, acc[c]);
}

INLINE void all_cols(float *y, size_t y_stride, const struct nb_tile *w, size_t k,
                     const struct nb_q8 *x, size_t n_cols, enum tile_range range, uint32_t sub,
                     bool has_min)
{
    size_t c = 0;
    for (; c + COLS <= n_cols; c += COLS)
        cols(y, y_stride, w, k, x, c, COLS, range, sub, has_min);
    for (; c < n_cols; c++)
        cols(y, y_stride, w, k, x, c, 1, range, sub, has_min);
}

/* An instance per range and sub: constants inside. */
#define INSTANCE(range, sub)                                                                       \
    static void run_##range##_##sub(float *y, size_t y_stride, const struct nb_tile *w, size_t k,  \
                                    const struct nb_q8 *x, size_t n_cols)                          \
    {                                                                                              \
        if (w->min)                                                                                \
            all_cols(y, y_stride, w, k, x, n_cols, range, sub, true);                              \
        else                                                                                       \
            all_cols(y, y_stride, w, k, x, n_cols, range, sub, false);                             \
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
