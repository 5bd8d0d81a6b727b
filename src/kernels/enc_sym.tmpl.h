/* kernels/enc_sym.tmpl.h: encoding into q8_0, q4_0 and q5_0, blocks of 32 with one f16 scale.
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
    union {
        vf w[SYM_BLOCK]; /* only if weighted */
        vu code[SYM_BLOCK];
    };
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

/* Steps of 1/127 around absmax, wide enough to find a scale whose rounding errors happen to be small:
 * at 8 bits there is nothing to clip, only luck to pick from (-0.6 dB for 11 trials). */
NB_LANES_INLINE void q8_0_round(uint8_t *dst, const float *x, const float *w, size_t used)
{
    const struct code_range range = {-127.0F, 127.0F};
    struct sym_blocks b;
    struct sym_fit best = {vf_set(0.0F), vf_set(0.0F), vf_set(0.0F)};
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
    blocks_store(dst, &d, 1, word, 8, used);
}

/* Signed grids -half..half-1: the largest weight near either end, 11 or 17 trials each. With weights further
 * outside, since an outlier may be of little importance. Fills b->code with codes + half; returns the scale. */
NB_LANES_INLINE vf sym_signed(struct sym_blocks *b, const float *x, const float *w, size_t used,
                              float half)
{
    const struct code_range range = {-half, half - 1.0F};
    struct sym_fit best = {vf_set(0.0F), vf_set(0.0F), vf_set(0.0F)};
    const vf *weight = w != NULL ? b->w : NULL;
    const int last = w != NULL ? 11 : 5;
    vf inv;
    sym_load(b, x, w, used);
    const vf per_peak = vf_set(1.0F) / b->peak;
    for (int t = -5; t <= last; t++) {
        const float more = (w != NULL ? 0.25F : 0.2F) * (float)t;
        sym_try(&best, b->x, weight, SYM_BLOCK, per_peak * (range.lo - more), range);
        sym_try(&best, b->x, weight, SYM_BLOCK, per_peak * (range.hi + more), range);
    }
    sym_try(&best, b->x, weight, SYM_BLOCK, vf_inverse(best.scale), range);
    const vf d = sym_scale(b, best.scale, &inv);
    for (int i = 0; i < SYM_BLOCK; i++)
        b->code[i] = vf_int_bits(vf_code(b->x[i] * inv, range.lo, range.hi) + half);
    return d;
}

NB_LANES_INLINE void q4_0_round(uint8_t *dst, const float *x, const float *w, size_t used)
{
    struct sym_blocks b;
    vu word[4];
    const vf d = sym_signed(&b, x, w, used, 8.0F);
    nibble_words(word, b.code);
    blocks_store(dst, &d, 1, word, 4, used);
}

NB_LANES_INLINE void q5_0_round(uint8_t *dst, const float *x, const float *w, size_t used)
{
    struct sym_blocks b;
    vu word[5];
    const vf d = sym_signed(&b, x, w, used, 16.0F);
    word[0] = nibble_words(word + 1, b.code);
    blocks_store(dst, &d, 1, word, 5, used);
}

BLOCKS_ENCODER(q8_0, SYM_BLOCK, 34)
BLOCKS_ENCODER(q4_0, SYM_BLOCK, 18)
BLOCKS_ENCODER(q5_0, SYM_BLOCK, 22)
