/* kernels/x86_gemv_nl.tmpl.h: x86_gemv.tmpl.h for the formats whose nibbles index a table (nl.h): a byte
 * shuffle makes codes of them. Included after it.
 */
#include "kernels/nl.h"

static inline __m256i nl_table(void)
{
    return both16(nb_nl_values);
}

/* Sums of 32 columns in the 16 bytes at `offset`; fold_s8 adds up what is left. */
static inline __m256i nl_sums(const struct rows *rows, size_t offset, const int8_t *q)
{
    const __m256i low = _mm256_set1_epi8(15), table = nl_table();
    const __m256i x0 = both16(q), x1 = both16(q + 16);
    __m256i s[4];
    for (size_t p = 0; p < 4; p++) {
        const __m256i v = pair16(rows, p, offset);
        const __m256i hi = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
        s[p] = sum_s8(_mm256_shuffle_epi8(table, _mm256_and_si256(v, low)), x0,
                      _mm256_shuffle_epi8(table, hi), x1);
    }
    return fold_s8(s);
}

void NB_FN(gemv_f32_iq4_nl_q8)(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                               const struct nb_q8 *x)
{
    for (size_t r = 0; r < n_rows; r += ROWS) {
        const struct rows rows = rows_at(w, row_bytes, r, n_rows);
        __m256 acc = _mm256_setzero_ps();
        for (size_t i = 0, o = 0; i < k / 32; i++, o += 18) {
            fetch_next(&rows, i, 18);
            const __m256i sum = nl_sums(&rows, o + 2, x->q + 32 * i);
            const __m256 scale = _mm256_mul_ps(rows_f16(&rows, o), _mm256_set1_ps(x->d[i]));
            acc = step(acc, sum, S8_BIAS * xsum32(x, i), scale);
        }
        rows_store(y, acc, r, n_rows);
    }
}

/* The scale of sub-block j of eight iq4_xs blocks, still without d. low, high: dwords 1 and 0. */
static inline __m256 iq4_xs_scale(__m256i low, __m256i high, int j)
{
    const __m256i lo =
        _mm256_and_si256(_mm256_srl_epi32(low, _mm_cvtsi32_si128(4 * j)), _mm256_set1_epi32(15));
    const __m256i hi = _mm256_and_si256(_mm256_srl_epi32(high, _mm_cvtsi32_si128(16 + 2 * j)),
                                        _mm256_set1_epi32(3));
    const __m256i code = _mm256_or_si256(lo, _mm256_slli_epi32(hi, 4));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(code, _mm256_set1_epi32(32)));
}

void NB_FN(gemv_f32_iq4_xs_q8)(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                               const struct nb_q8 *x)
{
    for (size_t r = 0; r < n_rows; r += ROWS) {
        const struct rows rows = rows_at(w, row_bytes, r, n_rows);
        __m256 acc = _mm256_setzero_ps();
        for (size_t i = 0, o = 0; i < k / 256; i++, o += 136) {
            fetch_next(&rows, i, 136);
            const __m256 d = rows_f16(&rows, o);
            __m256i head[4];
            rows_dwords(head, &rows, o);
            for (size_t j = 0; j < 8; j++) {
                const size_t b = 8 * i + j;
                const __m256i sum = nl_sums(&rows, o + 8 + 16 * j, x->q + 32 * b);
                const __m256 scale = _mm256_mul_ps(d, iq4_xs_scale(head[1], head[0], (int)j));
                acc = step(acc, sum, S8_BIAS * xsum32(x, b),
                           _mm256_mul_ps(scale, _mm256_set1_ps(x->d[b])));
            }
        }
        rows_store(y, acc, r, n_rows);
    }
}
