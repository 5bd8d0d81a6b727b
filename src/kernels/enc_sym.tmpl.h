/* kernels/enc_sym.tmpl.h: encoding into q8_0 and q4_0, blocks of 32 with one f16 scale.
 *
 * A lane holds a block. The scale is searched among steps around the plain absmax fit by the closed
 * form of weighted least squares: codes q of a trial step give d = S(w x q) / S(w q q) and lower the
 * squared error by d S(w x q) (docs/numfmt.md). The winner is refined by rounding again
 * with its own d, then d goes through f16 and the final codes are rounded with what f16 gives back.
 * Unweighted when w is NULL: squares of weights as weights, as some encoders use, measure worse.
 * Sums run over the elements of a block in index order.
 */
#include "kernels/enc_search.h"

enum { SYM_BLOCK = 32 };

/* The blocks of one round of lanes, brought to a common size. */
struct sym_blocks {
    vf x[SYM_BLOCK];
    vf w[SYM_BLOCK]; /* only if weighted */
    struct unit unit;
    vf peak;
};

NB_LANES_INLINE void sym_load(struct sym_blocks *b, const float *x, const float *w, size_t used)
{
    vf_load_turned(b->x, x, SYM_BLOCK, used);
    b->unit = unit_of(abs_max(b->x, SYM_BLOCK));
    for (int i = 0; i < SYM_BLOCK; i++)
        b->x[i] = unit_apply(b->x[i], b->unit.shrink);
    if (w != NULL)
        vf_load_turned(b->w, w, SYM_BLOCK, used);
    /* A block of zeros may have any peak: no code leaves 0. */
    const vf peak = peak_of(b->x, SYM_BLOCK);
    b->peak = vf_select(vf_lt(vf_set(0.0F), vf_abs(peak)), peak, vf_set(1.0F));
}

/* The scale as stored; *inv rounds the scaled values with it. */
NB_LANES_INLINE vf sym_scale(const struct sym_blocks *b, vf scale, vf *inv)
{
    const vf d = vf_via_f16(scale * b->unit.grow);
    *inv = vf_inverse(d * b->unit.shrink);
    return d;
}

/* Four codes to the bytes of a word, the first lowest. */
NB_LANES_INLINE vu word_of(const vu *c)
{
    return c[0] | c[1] << 8 | c[2] << 16 | c[3] << 24;
}

/* dst: lane after lane, an f16 scale and n_words words of codes, for the lanes in use. */
NB_LANES_INLINE void sym_store(uint8_t *dst, vf d, const vu *word, int n_words, size_t used)
{
    float scale[LANES];
    uint32_t lane[8][LANES];
    vf_store(scale, d);
    for (int k = 0; k < n_words; k++)
        vu_store(lane[k], word[k]);
    for (size_t l = 0; l < LANES && l < used; l++) {
        put_u16(dst, nb_f32_to_f16(scale[l]));
        for (int k = 0; k < n_words; k++)
            memcpy(dst + 2 + 4 * k, &lane[k][l], 4);
        dst += 2 + 4 * n_words;
    }
}

/* Steps of 1/127 around absmax, wide enough to find a scale whose rounding errors happen to be small:
 * at 8 bits there is nothing to clip, only luck to pick from (-0.6 dB for 11 trials). */
NB_LANES_INLINE void q8_0_round(uint8_t *dst, const float *x, const float *w, size_t used)
{
    const struct code_range range = {-127.0F, 127.0F};
    struct sym_blocks b;
    struct sym_fit best = {vf_set(0.0F), vf_set(0.0F)};
    vu word[8];
    vf inv;
    sym_load(&b, x, w, used);
    const vf per_peak = vf_set(1.0F) / vf_abs(b.peak);
    for (int t = -5; t <= 5; t++)
        sym_try(&best, b.x, w != NULL ? b.w : NULL, SYM_BLOCK, per_peak * (127.0F + (float)t),
                range);
    const vf d = sym_scale(&b, best.scale, &inv);
    for (int k = 0; k < 8; k++) {
        vu c[4];
        for (int j = 0; j < 4; j++)
            c[j] = vf_int_bits(vf_code(b.x[4 * k + j] * inv, range.lo, range.hi)) & 255U;
        word[k] = word_of(c);
    }
    sym_store(dst, d, word, 8, used);
}

/* The largest weight near -8 or near +7 (the scale is signed): 11 trials each. */
NB_LANES_INLINE void q4_0_round(uint8_t *dst, const float *x, const float *w, size_t used)
{
    const struct code_range range = {-8.0F, 7.0F};
    struct sym_blocks b;
    struct sym_fit best = {vf_set(0.0F), vf_set(0.0F)};
    const vf *weight = w != NULL ? b.w : NULL;
    vu word[4];
    vf inv;
    sym_load(&b, x, w, used);
    const vf per_peak = vf_set(1.0F) / b.peak;
    for (int t = -5; t <= 5; t++) {
        const float more = 0.2F * (float)t;
        sym_try(&best, b.x, weight, SYM_BLOCK, per_peak * (-8.0F - more), range);
        sym_try(&best, b.x, weight, SYM_BLOCK, per_peak * (7.0F + more), range);
    }
    sym_try(&best, b.x, weight, SYM_BLOCK, vf_inverse(best.scale), range);
    const vf d = sym_scale(&b, best.scale, &inv);
    for (int k = 0; k < 4; k++) {
        vu c[4];
        for (int j = 0; j < 4; j++) {
            const vu lo = vf_int_bits(vf_code(b.x[4 * k + j] * inv, range.lo, range.hi)) + 8U;
            const vu hi = vf_int_bits(vf_code(b.x[4 * k + j + 16] * inv, range.lo, range.hi)) + 8U;
            c[j] = lo | hi << 4;
        }
        word[k] = word_of(c);
    }
    sym_store(dst, d, word, 4, used);
}

/* All of n elements, LANES blocks at a time; the last round may leave lanes unused. */
#define SYM_ENCODER(name, bytes)                                                                   \
    static                                                                                         \
        __attribute__((noinline)) void name##_plain(uint8_t *dst, const float *x, size_t blocks)   \
    {                                                                                              \
        for (size_t b = 0; b < blocks; b += LANES)                                                 \
            name##_round(dst + b * (bytes), x + b * SYM_BLOCK, NULL, blocks - b);                  \
    }                                                                                              \
    static __attribute__((noinline)) void name##_weighted(uint8_t *dst, const float *x,            \
                                                          const float *w, size_t blocks)           \
    {                                                                                              \
        for (size_t b = 0; b < blocks; b += LANES)                                                 \
            name##_round(dst + b * (bytes), x + b * SYM_BLOCK, w + b * SYM_BLOCK, blocks - b);     \
    }                                                                                              \
    void NB_LANES_NAME(enc_##name##_f32)(void *dst, const float *x, const float *w, size_t n)      \
    {                                                                                              \
        if (w == NULL)                                                                             \
            name##_plain(dst, x, n / SYM_BLOCK);                                                   \
        else                                                                                       \
            name##_weighted(dst, x, w, n / SYM_BLOCK);                                             \
    }

SYM_ENCODER(q8_0, 34)
SYM_ENCODER(q4_0, 18)
