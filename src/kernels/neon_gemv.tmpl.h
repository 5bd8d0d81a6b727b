/* kernels/neon_gemv.tmpl.h: a matrix of ggml blocks times one quantized vector, eight rows at a time.
 *
 * The lanes of two registers of floats are eight rows. Codes are made signed. An ISA brings NB_FN(op)
 * and dot16(acc, w, x): the products of 16 bytes added, in any arrangement, to the four lanes of acc.
 */
#include "base/half.h"
#include "kernels/kernels.h"

#include <arm_neon.h>

#define ROWS 8

/* Rows to work on at once. Fewer than eight: the last one again, its result is not stored. */
struct rows {
    const uint8_t *p[ROWS];
};

/* A value per row: rows 0-3, rows 4-7. */
struct f8 {
    float32x4_t v[2];
};

static inline struct rows rows_at(const void *w, size_t row_bytes, size_t r, size_t n_rows)
{
    struct rows rows;
    for (size_t i = 0; i < ROWS; i++)
        rows.p[i] = (const uint8_t *)w + (r + i < n_rows ? r + i : n_rows - 1) * row_bytes;
    return rows;
}

static inline void rows_store(float *y, struct f8 acc, size_t r, size_t n_rows)
{
    float buf[ROWS];
    vst1q_f32(buf, acc.v[0]);
    vst1q_f32(buf + 4, acc.v[1]);
    for (size_t i = 0; i < ROWS && r + i < n_rows; i++)
        y[r + i] = buf[i];
}

static inline struct f8 f8_set1(float x)
{
    return (struct f8){{vdupq_n_f32(x), vdupq_n_f32(x)}};
}

/* The halves at `offset` of the eight rows. */
static inline struct f8 rows_f16(const struct rows *rows, size_t offset)
{
    uint16_t h[ROWS];
    for (size_t i = 0; i < ROWS; i++)
        memcpy(h + i, rows->p[i] + offset, 2);
    return (struct f8){{vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h))),
                        vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h + 4)))}};
}

/* 16 bytes of rows 4 half .. 4 half + 3 as columns of 32 bits: col[j] lane i = dword j of row i. */
static inline void rows_dwords(uint32x4_t col[4], const struct rows *rows, size_t half,
                               size_t offset)
{
    uint32x4_t a[4];
    for (size_t i = 0; i < 4; i++)
        a[i] = vreinterpretq_u32_u8(vld1q_u8(rows->p[4 * half + i] + offset));
    const uint32x4_t ab0 = vzip1q_u32(a[0], a[1]), ab1 = vzip2q_u32(a[0], a[1]);
    const uint32x4_t cd0 = vzip1q_u32(a[2], a[3]), cd1 = vzip2q_u32(a[2], a[3]);
    col[0] = vcombine_u32(vget_low_u32(ab0), vget_low_u32(cd0));
    col[1] = vcombine_u32(vget_high_u32(ab0), vget_high_u32(cd0));
    col[2] = vcombine_u32(vget_low_u32(ab1), vget_low_u32(cd1));
    col[3] = vcombine_u32(vget_high_u32(ab1), vget_high_u32(cd1));
}

/* Four rows' partial sums to one total a lane. */
static inline int32x4_t fold(const int32x4_t s[4])
{
    return vpaddq_s32(vpaddq_s32(s[0], s[1]), vpaddq_s32(s[2], s[3]));
}

/* acc + isum * (scale * xd), one fma */
static inline float32x4_t step(float32x4_t acc, int32x4_t isum, float32x4_t scale, float xd)
{
    return vfmaq_f32(acc, vcvtq_f32_s32(isum), vmulq_n_f32(scale, xd));
}

void NB_FN(gemv_f32_q8_0_q8)(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                             const struct nb_q8 *x)
{
    for (size_t r = 0; r < n_rows; r += ROWS) {
        const struct rows rows = rows_at(w, row_bytes, r, n_rows);
        struct f8 acc = f8_set1(0.0F);
        for (size_t i = 0, o = 0; i < k / 32; i++, o += 34) {
            const int8x16_t x0 = vld1q_s8(x->q + 32 * i), x1 = vld1q_s8(x->q + 32 * i + 16);
            const struct f8 scale = rows_f16(&rows, o);
            int32x4_t s[ROWS];
            for (size_t j = 0; j < ROWS; j++) {
                const int8x16_t w0 = vreinterpretq_s8_u8(vld1q_u8(rows.p[j] + o + 2));
                const int8x16_t w1 = vreinterpretq_s8_u8(vld1q_u8(rows.p[j] + o + 18));
                s[j] = dot16(dot16(vdupq_n_s32(0), w0, x0), w1, x1);
            }
            for (size_t h = 0; h < 2; h++)
                acc.v[h] = step(acc.v[h], fold(s + 4 * h), scale.v[h], x->d[i]);
        }
        rows_store(y, acc, r, n_rows);
    }
}

void NB_FN(gemv_f32_q4_0_q8)(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                             const struct nb_q8 *x)
{
    const int8x16_t eight = vdupq_n_s8(8);
    for (size_t r = 0; r < n_rows; r += ROWS) {
        const struct rows rows = rows_at(w, row_bytes, r, n_rows);
        struct f8 acc = f8_set1(0.0F);
        for (size_t i = 0, o = 0; i < k / 32; i++, o += 18) {
            const int8x16_t x0 = vld1q_s8(x->q + 32 * i), x1 = vld1q_s8(x->q + 32 * i + 16);
            const struct f8 scale = rows_f16(&rows, o);
            int32x4_t s[ROWS];
            for (size_t j = 0; j < ROWS; j++) {
                const uint8x16_t v = vld1q_u8(rows.p[j] + o + 2);
                const int8x16_t lo = vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15)));
                const int8x16_t hi = vreinterpretq_s8_u8(vshrq_n_u8(v, 4));
                s[j] =
                    dot16(dot16(vdupq_n_s32(0), vsubq_s8(lo, eight), x0), vsubq_s8(hi, eight), x1);
            }
            for (size_t h = 0; h < 2; h++)
                acc.v[h] = step(acc.v[h], fold(s + 4 * h), scale.v[h], x->d[i]);
        }
        rows_store(y, acc, r, n_rows);
    }
}

/* The header of eight q4_K blocks: factors as f32, and 6-bit scales and mins as bytes. */
struct q4_k_head {
    struct f8 d, dmin;
    uint32x4_t sc[2][2], m[2][2]; /* [half][j / 4]: byte j % 4 of a lane is sub-block j */
};

static inline void q4_k_head_half(struct q4_k_head *h, const struct rows *rows, size_t half,
                                  size_t offset)
{
    const uint32x4_t six = vdupq_n_u32(0x3f3f3f3fU), low = vdupq_n_u32(0x0f0f0f0fU);
    const uint32x4_t two = vdupq_n_u32(0x30303030U);
    uint32x4_t u[4]; /* d and dmin, then the 12 bytes of q4_k.h */
    rows_dwords(u, rows, half, offset);
    h->d.v[half] = vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(u[0])));
    h->dmin.v[half] = vcvt_f32_f16(vreinterpret_f16_u16(vshrn_n_u32(u[0], 16)));
    h->sc[half][0] = vandq_u32(u[1], six);
    h->m[half][0] = vandq_u32(u[2], six);
    h->sc[half][1] = vorrq_u32(vandq_u32(u[3], low), vandq_u32(vshrq_n_u32(u[1], 2), two));
    h->m[half][1] =
        vorrq_u32(vandq_u32(vshrq_n_u32(u[3], 4), low), vandq_u32(vshrq_n_u32(u[2], 2), two));
}

/* Byte j of each lane as a float. */
static inline float32x4_t byte_ps(uint32x4_t v, size_t j)
{
    const uint32x4_t b = vshlq_u32(v, vdupq_n_s32(-8 * (int32_t)j)); /* to the right */
    return vcvtq_f32_u32(vandq_u32(b, vdupq_n_u32(255)));
}

static inline struct f8 q4_k_step(struct f8 acc, const int32x4_t s[ROWS], const struct q4_k_head *h,
                                  size_t j, const struct nb_q8 *x, size_t block)
{
    const float xd = x->d[block];
    const float xsum = (float)(x->sum16[2 * block] + x->sum16[2 * block + 1]);
    for (size_t i = 0; i < 2; i++) {
        const float32x4_t scale = vmulq_f32(h->d.v[i], byte_ps(h->sc[i][j / 4], j % 4));
        const float32x4_t min = vmulq_f32(h->dmin.v[i], byte_ps(h->m[i][j / 4], j % 4));
        acc.v[i] = step(acc.v[i], fold(s + 4 * i), scale, xd);
        acc.v[i] = vfmsq_f32(acc.v[i], vdupq_n_f32(xsum), vmulq_n_f32(min, xd));
    }
    return acc;
}

void NB_FN(gemv_f32_q4_k_q8)(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                             const struct nb_q8 *x)
{
    for (size_t r = 0; r < n_rows; r += ROWS) {
        const struct rows rows = rows_at(w, row_bytes, r, n_rows);
        struct f8 acc = f8_set1(0.0F);
        for (size_t i = 0, o = 0; i < k / 256; i++, o += 144) {
            struct q4_k_head head;
            q4_k_head_half(&head, &rows, 0, o);
            q4_k_head_half(&head, &rows, 1, o);
            for (size_t j = 0; j < 8; j++) {
                const int8_t *q = x->q + 256 * i + 32 * j;
                const int8x16_t x0 = vld1q_s8(q), x1 = vld1q_s8(q + 16);
                const int8x16_t shift = vdupq_n_s8(j % 2 ? -4 : 0);
                int32x4_t s[ROWS];
                for (size_t p = 0; p < ROWS; p++) { /* two sub-blocks share their bytes */
                    const uint8_t *b = rows.p[p] + o + 16 + 32 * (j / 2);
                    const uint8x16_t a = vshlq_u8(vld1q_u8(b), shift);
                    const uint8x16_t c = vshlq_u8(vld1q_u8(b + 16), shift);
                    const int8x16_t w0 = vreinterpretq_s8_u8(vandq_u8(a, vdupq_n_u8(15)));
                    const int8x16_t w1 = vreinterpretq_s8_u8(vandq_u8(c, vdupq_n_u8(15)));
                    s[p] = dot16(dot16(vdupq_n_s32(0), w0, x0), w1, x1);
                }
                acc = q4_k_step(acc, s, &head, j, x, 8 * i + j);
            }
        }
        rows_store(y, acc, r, n_rows);
    }
}

/* Codes of columns 32 g + h .. + 15 of half n of a q6_K block, h in 0, 16: ql and qh at those bytes. */
static inline int8x16_t q6_k_codes(const uint8_t *ql, const uint8_t *qh, size_t g)
{
    const int8x16_t down = vdupq_n_s8(g >= 2 ? -4 : 0);
    const uint8x16_t lo = vandq_u8(vshlq_u8(vld1q_u8(ql + 32 * (g % 2)), down), vdupq_n_u8(15));
    const int8x16_t up = vdupq_n_s8((int8_t)(4 - 2 * (int)g));
    const uint8x16_t hi = vandq_u8(vshlq_u8(vld1q_u8(qh), up), vdupq_n_u8(0x30));
    return vsubq_s8(vreinterpretq_s8_u8(vorrq_u8(lo, hi)), vdupq_n_s8(32));
}

void NB_FN(gemv_f32_q6_k_q8)(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                             const struct nb_q8 *x)
{
    for (size_t r = 0; r < n_rows; r += ROWS) {
        const struct rows rows = rows_at(w, row_bytes, r, n_rows);
        struct f8 acc = f8_set1(0.0F);
        for (size_t i = 0, o = 0; i < k / 256; i++, o += 210) {
            const struct f8 d = rows_f16(&rows, o + 208);
            uint32x4_t sc[2][4]; /* [half][j / 4]: byte j % 4 of a lane is sub-block j */
            rows_dwords(sc[0], &rows, 0, o + 192);
            rows_dwords(sc[1], &rows, 1, o + 192);
            for (size_t j = 0; j < 16; j++) {
                const size_t n = j / 8, g = j % 8 / 2, h = 16 * (j % 2);
                const int8x16_t xq = vld1q_s8(x->q + 256 * i + 16 * j);
                int32x4_t s[ROWS];
                for (size_t p = 0; p < ROWS; p++) {
                    const uint8_t *b = rows.p[p] + o;
                    const int8x16_t c = q6_k_codes(b + 64 * n + h, b + 128 + 32 * n + h, g);
                    s[p] = dot16(vdupq_n_s32(0), c, xq);
                }
                for (size_t p = 0; p < 2; p++) {
                    const int32x4_t up = vdupq_n_s32(24 - 8 * (int32_t)(j % 4));
                    const int32x4_t v = vshlq_s32(vreinterpretq_s32_u32(sc[p][j / 4]), up);
                    const float32x4_t scale = vmulq_f32(d.v[p], vcvtq_f32_s32(vshrq_n_s32(v, 24)));
                    acc.v[p] = step(acc.v[p], fold(s + 4 * p), scale, x->d[8 * i + j / 2]);
                }
            }
        }
        rows_store(y, acc, r, n_rows);
    }
}
