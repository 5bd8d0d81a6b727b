/* kernels/enc_common.h: what the encoder templates share: loading, scaling to a common size, writing.
 *
 * Values are multiplied by a power of two that brings the block's largest magnitude into [1, 2), so
 * that no square or product of the search can overflow or vanish, and blocks that differ by a power of
 * two get the same codes. Beyond 2^30 an f16 scale has long saturated and below 2^-30 it is 0: the
 * power stops there and values are clamped to 4, which changes no code.
 */
#ifndef NB_KERNELS_ENC_COMMON_H
#define NB_KERNELS_ENC_COMMON_H

#include "base/half.h"
#include "kernels/lanes.h"

struct code_range {
    float lo, hi;
};

/* 2^e and 2^-e for the exponent e of amax. */
struct unit {
    vf grow, shrink;
};

NB_LANES_INLINE struct unit unit_of(vf amax)
{
    const vf a = vf_min(vf_max(amax, vf_set(0x1p-30F)), vf_set(0x1p30F));
    const vu e = vf_bits(a) & 0x7f800000U;
    return (struct unit){vu_float(e), vu_float(0x7f000000U - e)};
}

NB_LANES_INLINE vf unit_apply(vf x, vf shrink)
{
    return vf_min(vf_max(x * shrink, vf_set(-4.0F)), vf_set(4.0F));
}

NB_LANES_INLINE vf abs_max(const vf *x, int n)
{
    vf amax = vf_set(0.0F);
    for (int i = 0; i < n; i++)
        amax = vf_max(vf_abs(x[i]), amax);
    return amax;
}

/* The signed value of the largest magnitude, the first of equals. */
NB_LANES_INLINE vf peak_of(const vf *x, int n)
{
    vf amax = vf_set(0.0F);
    vf peak = vf_set(0.0F);
    for (int i = 0; i < n; i++) {
        const vu more = vf_lt(amax, vf_abs(x[i]));
        peak = vf_select(more, x[i], peak);
        amax = vf_max(vf_abs(x[i]), amax);
    }
    return peak;
}

NB_LANES_INLINE void put_u16(uint8_t *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}

/* Four codes to the bytes of a word, the first lowest. */
NB_LANES_INLINE vu word_of(const vu *c)
{
    return c[0] | c[1] << 8 | c[2] << 16 | c[3] << 24;
}

enum { HEADS_MAX = 2, WORDS_MAX = 8 };

/* dst: lane after lane, n_heads f16 fields and n_words words of codes, for the lanes in use. */
NB_LANES_INLINE void blocks_store(uint8_t *dst, const vf *head, int n_heads, const vu *word,
                                  int n_words, size_t used)
{
    float field[HEADS_MAX][LANES];
    uint32_t lane[WORDS_MAX][LANES];
    for (int k = 0; k < n_heads; k++)
        vf_store(field[k], head[k]);
    for (int k = 0; k < n_words; k++)
        vu_store(lane[k], word[k]);
    for (size_t l = 0; l < LANES && l < used; l++) {
        for (int k = 0; k < n_heads; k++, dst += 2)
            put_u16(dst, nb_f32_to_f16(field[k][l]));
        for (int k = 0; k < n_words; k++, dst += 4)
            memcpy(dst, &lane[k][l], 4);
    }
}

/* Codes 0..31 of 32 elements: the low nibbles as word 0..3 (elements i and i + 16 share a byte); returns
 * the fifth bits, element i in bit i. */
NB_LANES_INLINE vu nibble_words(vu *word, const vu *code)
{
    vu fifth = vu_set(0U);
    for (int k = 0; k < 4; k++) {
        vu c[4];
        for (int j = 0; j < 4; j++) {
            const int i = 4 * k + j;
            c[j] = (code[i] & 15U) | (code[i + 16] & 15U) << 4;
            fifth |= (code[i] >> 4) << i | (code[i + 16] >> 4) << (i + 16);
        }
        word[k] = word_of(c);
    }
    return fifth;
}

/* nb_enc_<name>_f32_<isa> of name_round(dst, x, w, used), which encodes LANES blocks of `elems` into `bytes` each
 * and stores those in use; the last round may leave lanes unused. */
#define BLOCKS_ENCODER(name, elems, bytes)                                                         \
    static                                                                                         \
        __attribute__((noinline)) void name##_plain(uint8_t *dst, const float *x, size_t blocks)   \
    {                                                                                              \
        for (size_t b = 0; b < blocks; b += LANES)                                                 \
            name##_round(dst + b * (bytes), x + b * (elems), NULL, blocks - b);                    \
    }                                                                                              \
    static __attribute__((noinline)) void name##_weighted(uint8_t *dst, const float *x,            \
                                                          const float *w, size_t blocks)           \
    {                                                                                              \
        for (size_t b = 0; b < blocks; b += LANES)                                                 \
            name##_round(dst + b * (bytes), x + b * (elems), w + b * (elems), blocks - b);         \
    }                                                                                              \
    void NB_LANES_NAME(enc_##name##_f32)(void *dst, const float *x, const float *w, size_t n)      \
    {                                                                                              \
        if (w == NULL)                                                                             \
            name##_plain(dst, x, n / (elems));                                                     \
        else                                                                                       \
            name##_weighted(dst, x, w, n / (elems));                                               \
    }

#endif
