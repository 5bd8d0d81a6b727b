/* kernels/neon_gemv_nl.tmpl.h: neon_gemv.tmpl.h for the formats whose nibbles index a table (nl.h): a byte
 * lookup makes codes of them. Included after it.
 */
#include "kernels/nl.h"

/* Sums of 32 columns in the 16 bytes at `offset` of each row. */
static inline void nl_sums(int32x4_t s[ROWS], const struct rows *rows, size_t offset,
                           const int8_t *q)
{
    const int8x16_t table = vld1q_s8(nb_nl_values);
    const int8x16_t x0 = vld1q_s8(q), x1 = vld1q_s8(q + 16);
    for (size_t j = 0; j < ROWS; j++) {
        const uint8x16_t v = vld1q_u8(rows->p[j] + offset);
        const int8x16_t w0 = vqtbl1q_s8(table, vandq_u8(v, vdupq_n_u8(15)));
        const int8x16_t w1 = vqtbl1q_s8(table, vshrq_n_u8(v, 4));
        s[j] = dot16(dot16(vdupq_n_s32(0), w0, x0), w1, x1);
    }
}

void NB_FN(gemv_f32_iq4_nl_q8)(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                               const struct nb_q8 *x)
{
    for (size_t r = 0; r < n_rows; r += ROWS) {
        const struct rows rows = rows_at(w, row_bytes, r, n_rows);
        struct f8 acc = f8_set1(0.0F);
        for (size_t i = 0, o = 0; i < k / 32; i++, o += 18) {
            const struct f8 scale = rows_f16(&rows, o);
            int32x4_t s[ROWS];
            nl_sums(s, &rows, o + 2, x->q + 32 * i);
            for (size_t h = 0; h < 2; h++)
                acc.v[h] = step(acc.v[h], fold(s + 4 * h), scale.v[h], x->d[i]);
        }
        rows_store(y, acc, r, n_rows);
    }
}

/* The scale of sub-block j of four iq4_xs blocks, still without d. low, high: dwords 1 and 0. */
static inline float32x4_t iq4_xs_scale(uint32x4_t low, uint32x4_t high, int32_t j)
{
    const uint32x4_t lo = vandq_u32(vshlq_u32(low, vdupq_n_s32(-4 * j)), vdupq_n_u32(15));
    const uint32x4_t hi = vandq_u32(vshlq_u32(high, vdupq_n_s32(-16 - 2 * j)), vdupq_n_u32(3));
    const int32x4_t code = vreinterpretq_s32_u32(vorrq_u32(lo, vshlq_n_u32(hi, 4)));
    return vcvtq_f32_s32(vsubq_s32(code, vdupq_n_s32(32)));
}

void NB_FN(gemv_f32_iq4_xs_q8)(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                               const struct nb_q8 *x)
{
    for (size_t r = 0; r < n_rows; r += ROWS) {
        const struct rows rows = rows_at(w, row_bytes, r, n_rows);
        struct f8 acc = f8_set1(0.0F);
        for (size_t i = 0, o = 0; i < k / 256; i++, o += 136) {
            const struct f8 d = rows_f16(&rows, o);
            uint32x4_t head[2][4];
            rows_dwords(head[0], &rows, 0, o);
            rows_dwords(head[1], &rows, 1, o);
            for (size_t j = 0; j < 8; j++) {
                int32x4_t s[ROWS];
                nl_sums(s, &rows, o + 8 + 16 * j, x->q + 256 * i + 32 * j);
                for (size_t h = 0; h < 2; h++) {
                    const float32x4_t sc = iq4_xs_scale(head[h][1], head[h][0], (int32_t)j);
                    acc.v[h] =
                        step(acc.v[h], fold(s + 4 * h), vmulq_f32(d.v[h], sc), x->d[8 * i + j]);
                }
            }
        }
        rows_store(y, acc, r, n_rows);
    }
}
