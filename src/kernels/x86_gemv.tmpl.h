/* kernels/x86_gemv.tmpl.h: a matrix of ggml blocks times one quantized vector, eight rows at a time.
 *
 * The lanes of a register of floats are eight rows. Codes of two rows r and r + 4 lie in the two halves
 * of a register ("pair"), 16 bytes each, so that a tree of horizontal adds over the four pairs ends
 * with the eight integer sums in row order. Codes are made unsigned (nibbles as stored) and the bias
 * is taken off the sum with the known sum of the activations.
 *
 * An ISA brings NB_FN(op) and the integer steps:
 *   sum_u4(lo, xlo, hi, xhi), fold_u4(s)   codes 0..15, 32 columns
 *   sum_u6(c, x), fold_u6(s)               codes 0..63, 16 columns
 *   sum_s8(w0, x0, w1, x1), fold_s8(s), S8_BIAS   codes -128..127, 32 columns
 * where sum_* works on a pair and fold_*(s[4]) adds up what is left within each row.
 */
#include "kernels/kernels.h"

#include <immintrin.h>

#define ROWS       8
#define FETCH_HINT _MM_HINT_T1

/* Rows to work on at once. Fewer than eight: the last one again, its result is not stored. */
struct rows {
    const uint8_t *p[ROWS];
    uintptr_t next; /* where the next eight begin */
};

/* Fetches the bytes of the next eight rows that lie as far from their start as this step's blocks of
 * block_bytes, the i-th, from this start. Eight short streams are too many for the hardware to follow. */
static inline void fetch_next(const struct rows *rows, size_t i, size_t block_bytes)
{
    const uintptr_t at = rows->next + i * ROWS * block_bytes;
    for (size_t b = 0; b < ROWS * block_bytes; b += 64)
        _mm_prefetch((const void *)(at + b), FETCH_HINT);
}

static inline struct rows rows_at(const void *w, size_t row_bytes, size_t r, size_t n_rows)
{
    struct rows rows;
    for (size_t i = 0; i < ROWS; i++)
        rows.p[i] = (const uint8_t *)w + (r + i < n_rows ? r + i : n_rows - 1) * row_bytes;
    rows.next = (uintptr_t)w + (r + ROWS) * row_bytes;
    return rows;
}

static inline void rows_store(float *y, __m256 acc, size_t r, size_t n_rows)
{
    if (n_rows - r >= ROWS) {
        _mm256_storeu_ps(y + r, acc);
        return;
    }
    float buf[ROWS];
    _mm256_storeu_ps(buf, acc);
    for (size_t i = 0; r + i < n_rows; i++)
        y[r + i] = buf[i];
}

/* 16 bytes of row i and of row i + 4. */
static inline __m256i pair16(const struct rows *rows, size_t i, size_t offset)
{
    const __m128i lo = _mm_loadu_si128((const void *)(rows->p[i] + offset));
    const __m128i hi = _mm_loadu_si128((const void *)(rows->p[i + 4] + offset));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(lo), hi, 1);
}

/* 16 activations for both rows of a pair. */
static inline __m256i both16(const int8_t *q)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)q));
}

/* The halves at `offset` of the eight rows. */
static inline __m256 rows_f16(const struct rows *rows, size_t offset)
{
    uint16_t h[ROWS];
    for (size_t i = 0; i < ROWS; i++)
        memcpy(h + i, rows->p[i] + offset, 2);
    return _mm256_cvtph_ps(_mm_setr_epi16((short)h[0], (short)h[1], (short)h[2], (short)h[3],
                                          (short)h[4], (short)h[5], (short)h[6], (short)h[7]));
}

/* 16 bytes of each row as four columns of 32 bits: col[j] lane i = dword j of row i. */
static inline void rows_dwords(__m256i col[4], const struct rows *rows, size_t offset)
{
    const __m256i a = pair16(rows, 0, offset), b = pair16(rows, 1, offset);
    const __m256i c = pair16(rows, 2, offset), d = pair16(rows, 3, offset);
    const __m256i ab0 = _mm256_unpacklo_epi32(a, b), ab1 = _mm256_unpackhi_epi32(a, b);
    const __m256i cd0 = _mm256_unpacklo_epi32(c, d), cd1 = _mm256_unpackhi_epi32(c, d);
    col[0] = _mm256_unpacklo_epi64(ab0, cd0);
    col[1] = _mm256_unpackhi_epi64(ab0, cd0);
    col[2] = _mm256_unpacklo_epi64(ab1, cd1);
    col[3] = _mm256_unpackhi_epi64(ab1, cd1);
}

/* acc + (sum - bias * xsum) * scale, one fma */
static inline __m256 step(__m256 acc, __m256i sum, int bias_xsum, __m256 scale)
{
    const __m256i isum = _mm256_sub_epi32(sum, _mm256_set1_epi32(bias_xsum));
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(isum), scale, acc);
}

static inline int xsum32(const struct nb_q8 *x, size_t block)
{
    return x->sum16[2 * block] + x->sum16[2 * block + 1];
}

void NB_FN(gemv_f32_q8_0_q8)(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                             const struct nb_q8 *x)
{
    for (size_t r = 0; r < n_rows; r += ROWS) {
        const struct rows rows = rows_at(w, row_bytes, r, n_rows);
        __m256 acc = _mm256_setzero_ps();
        for (size_t i = 0, o = 0; i < k / 32; i++, o += 34) {
            fetch_next(&rows, i, 34);
            const __m256i x0 = both16(x->q + 32 * i), x1 = both16(x->q + 32 * i + 16);
            __m256i s[4];
            for (size_t p = 0; p < 4; p++)
                s[p] = sum_s8(pair16(&rows, p, o + 2), x0, pair16(&rows, p, o + 18), x1);
            const __m256 scale = _mm256_mul_ps(rows_f16(&rows, o), _mm256_set1_ps(x->d[i]));
            acc = step(acc, fold_s8(s), S8_BIAS * xsum32(x, i), scale);
        }
        rows_store(y, acc, r, n_rows);
    }
}

void NB_FN(gemv_f32_q4_0_q8)(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                             const struct nb_q8 *x)
{
    const __m256i low = _mm256_set1_epi8(15);
    for (size_t r = 0; r < n_rows; r += ROWS) {
        const struct rows rows = rows_at(w, row_bytes, r, n_rows);
        __m256 acc = _mm256_setzero_ps();
        for (size_t i = 0, o = 0; i < k / 32; i++, o += 18) {
            fetch_next(&rows, i, 18);
            const __m256i x0 = both16(x->q + 32 * i), x1 = both16(x->q + 32 * i + 16);
            __m256i s[4];
            for (size_t p = 0; p < 4; p++) {
                const __m256i v = pair16(&rows, p, o + 2);
                const __m256i hi = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
                s[p] = sum_u4(_mm256_and_si256(v, low), x0, hi, x1);
            }
            const __m256 scale = _mm256_mul_ps(rows_f16(&rows, o), _mm256_set1_ps(x->d[i]));
            acc = step(acc, fold_u4(s), 8 * xsum32(x, i), scale);
        }
        rows_store(y, acc, r, n_rows);
    }
}

/* The header of eight q4_K blocks: factors as f32, and 6-bit scales and mins as bytes. */
struct q4_k_head {
    __m256 d, dmin;
    __m256i sc[2], m[2]; /* byte j % 4 of a lane of [j / 4]: sub-block j */
};

static inline struct q4_k_head q4_k_head_at(const struct rows *rows, size_t offset)
{
    const __m256i six = _mm256_set1_epi8(63), low = _mm256_set1_epi8(15);
    const __m256i two = _mm256_set1_epi8(0x30);
    struct q4_k_head h;
    __m256i u[4];
    rows_dwords(u, rows, offset);
    /* u[0]: d, dmin. Packed per half: d of rows 0-3, dmin of rows 0-3 | the same of rows 4-7. */
    __m256i dd = _mm256_packus_epi32(_mm256_and_si256(u[0], _mm256_set1_epi32(0xffff)),
                                     _mm256_srli_epi32(u[0], 16));
    dd = _mm256_permute4x64_epi64(dd, 0xd8);
    h.d = _mm256_cvtph_ps(_mm256_castsi256_si128(dd));
    h.dmin = _mm256_cvtph_ps(_mm256_extracti128_si256(dd, 1));
    /* bits 6-7 of the first eight bytes are bits 4-5 of the later sub-blocks (q4_k.h) */
    h.sc[0] = _mm256_and_si256(u[1], six);
    h.m[0] = _mm256_and_si256(u[2], six);
    h.sc[1] = _mm256_or_si256(_mm256_and_si256(u[3], low),
                              _mm256_and_si256(_mm256_srli_epi16(u[1], 2), two));
    h.m[1] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(u[3], 4), low),
                             _mm256_and_si256(_mm256_srli_epi16(u[2], 2), two));
    return h;
}

/* Byte j of each lane as a float. */
static inline __m256 byte_ps(__m256i v, int j)
{
    const __m256i b = _mm256_and_si256(_mm256_srli_epi32(v, 8 * j), _mm256_set1_epi32(255));
    return _mm256_cvtepi32_ps(b);
}

static inline __m256 q4_k_step(__m256 acc, __m256i sum, const struct q4_k_head *h, size_t j,
                               const struct nb_q8 *x, size_t block)
{
    const __m256 xd = _mm256_set1_ps(x->d[block]);
    const __m256 xsum = _mm256_set1_ps((float)xsum32(x, block));
    const __m256 scale = _mm256_mul_ps(h->d, byte_ps(h->sc[j / 4], (int)(j % 4)));
    const __m256 min = _mm256_mul_ps(h->dmin, byte_ps(h->m[j / 4], (int)(j % 4)));
    acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(scale, xd), acc);
    return _mm256_fnmadd_ps(xsum, _mm256_mul_ps(min, xd), acc);
}

void NB_FN(gemv_f32_q4_k_q8)(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                             const struct nb_q8 *x)
{
    const __m256i low = _mm256_set1_epi8(15);
    for (size_t r = 0; r < n_rows; r += ROWS) {
        const struct rows rows = rows_at(w, row_bytes, r, n_rows);
        __m256 acc = _mm256_setzero_ps();
        for (size_t i = 0, o = 0; i < k / 256; i++, o += 144) {
            fetch_next(&rows, i, 144);
            const struct q4_k_head h = q4_k_head_at(&rows, o);
            for (size_t j = 0; j < 8; j += 2) { /* two sub-blocks share their bytes */
                const int8_t *q = x->q + 256 * i + 32 * j;
                __m256i s0[4], s1[4];
                for (size_t p = 0; p < 4; p++) {
                    const __m256i a = pair16(&rows, p, o + 16 + 16 * j);
                    const __m256i b = pair16(&rows, p, o + 32 + 16 * j);
                    const __m256i a1 = _mm256_and_si256(_mm256_srli_epi16(a, 4), low);
                    const __m256i b1 = _mm256_and_si256(_mm256_srli_epi16(b, 4), low);
                    s0[p] = sum_u4(_mm256_and_si256(a, low), both16(q), _mm256_and_si256(b, low),
                                   both16(q + 16));
                    s1[p] = sum_u4(a1, both16(q + 32), b1, both16(q + 48));
                }
                acc = q4_k_step(acc, fold_u4(s0), &h, j, x, 8 * i + j);
                acc = q4_k_step(acc, fold_u4(s1), &h, j + 1, x, 8 * i + j + 1);
            }
        }
        rows_store(y, acc, r, n_rows);
    }
}

/* Sums over the four runs of 16 columns that start 32 apart in half n of a q6_K block, at h in 0, 16:
 * sum[g] for columns 128 n + 32 g + h. q: the activations of column 128 n + h. */
static inline void q6_k_sums(__m256i sum[4], const struct rows *rows, size_t ql, size_t qh,
                             const int8_t *q)
{
    const __m256i low = _mm256_set1_epi8(15), two = _mm256_set1_epi8(0x30);
    __m256i s[4][4];
    for (size_t p = 0; p < 4; p++) {
        const __m256i a = pair16(rows, p, ql), b = pair16(rows, p, ql + 32);
        const __m256i t = pair16(rows, p, qh);
        const __m256i t0 = _mm256_and_si256(_mm256_slli_epi16(t, 4), two);
        const __m256i t1 = _mm256_and_si256(_mm256_slli_epi16(t, 2), two);
        const __m256i t2 = _mm256_and_si256(t, two);
        const __m256i t3 = _mm256_and_si256(_mm256_srli_epi16(t, 2), two);
        const __m256i a1 = _mm256_and_si256(_mm256_srli_epi16(a, 4), low);
        const __m256i b1 = _mm256_and_si256(_mm256_srli_epi16(b, 4), low);
        s[0][p] = sum_u6(_mm256_or_si256(_mm256_and_si256(a, low), t0), both16(q));
        s[1][p] = sum_u6(_mm256_or_si256(_mm256_and_si256(b, low), t1), both16(q + 32));
        s[2][p] = sum_u6(_mm256_or_si256(a1, t2), both16(q + 64));
        s[3][p] = sum_u6(_mm256_or_si256(b1, t3), both16(q + 96));
    }
    for (size_t g = 0; g < 4; g++)
        sum[g] = fold_u6(s[g]);
}

static inline __m256 q6_k_step(__m256 acc, __m256i sum, __m256 scale, const struct nb_q8 *x,
                               size_t run)
{
    const __m256 xd = _mm256_set1_ps(x->d[run / 2]);
    return step(acc, sum, 32 * x->sum16[run], _mm256_mul_ps(scale, xd));
}

/* Signed byte j of each lane as a float. */
static inline __m256 sbyte_ps(__m256i v, int j)
{
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(v, 24 - 8 * j), 24));
}

void NB_FN(gemv_f32_q6_k_q8)(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                             const struct nb_q8 *x)
{
    for (size_t r = 0; r < n_rows; r += ROWS) {
        const struct rows rows = rows_at(w, row_bytes, r, n_rows);
        __m256 acc = _mm256_setzero_ps();
        for (size_t i = 0, o = 0; i < k / 256; i++, o += 210) {
            fetch_next(&rows, i, 210);
            const __m256 d = rows_f16(&rows, o + 208);
            __m256i sc[4]; /* byte j % 4 of a lane of [j / 4]: sub-block j */
            rows_dwords(sc, &rows, o + 192);
            for (size_t n = 0; n < 2; n++) {
                const size_t run = 16 * i + 8 * n;
                __m256i s0[4], s1[4];
                q6_k_sums(s0, &rows, o + 64 * n, o + 128 + 32 * n, x->q + 16 * run);
                q6_k_sums(s1, &rows, o + 64 * n + 16, o + 144 + 32 * n, x->q + 16 * run + 16);
                for (size_t g = 0; g < 4; g++) {
                    const __m256i v = sc[2 * n + g / 2];
                    const int j = (int)(2 * (g % 2));
                    const __m256 scale0 = _mm256_mul_ps(d, sbyte_ps(v, j));
                    const __m256 scale1 = _mm256_mul_ps(d, sbyte_ps(v, j + 1));
                    acc = q6_k_step(acc, s0[g], scale0, x, run + 2 * g);
                    acc = q6_k_step(acc, s1[g], scale1, x, run + 2 * g + 1);
                }
            }
        }
        rows_store(y, acc, r, n_rows);
    }
}
