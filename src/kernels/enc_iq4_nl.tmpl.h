/* kernels/enc_iq4_nl.tmpl.h: encoding into iq4_nl, blocks of 32 with one signed f16 scale, a block per
 * lane: the search of enc_nl.h, then once more with the best scale, then d goes through f16 and the
 * codes are rounded with what f16 gives back. Not exhaustive (enc_nl.h says what that costs).
 */
#include "kernels/enc_nl.h"

NB_LANES_INLINE vf nl_best_scale(const vf *x, const vf *w)
{
    const vf per_peak = nl_per_peak(x);
    vf scale = vf_set(0.0F);
    vf gain = vf_set(0.0F);
    for (int k = 0; k <= NL_ENDS; k++) {
        const struct nl_sums s =
            nl_try(x, w, k < NL_ENDS ? per_peak * nl_ends[k] : vf_inverse(scale));
        const vf this_scale = s.lx / s.l2;
        const vf this_gain = this_scale * s.lx;
        const vu better = vf_lt(gain, this_gain);
        scale = vf_select(better, this_scale, scale);
        gain = vf_select(better, this_gain, gain);
    }
    return scale;
}

NB_LANES_INLINE void iq4_nl_round(uint8_t *dst, const float *src, const float *weights, size_t used)
{
    vf x[NL_SUB];
    union { /* one after the other: a small frame */
        vf w[NL_SUB]; /* only if weighted */
        vu code[NL_SUB];
    } u;
    vu word[4];
    vf_load_turned(x, src, NL_SUB, used);
    const struct unit unit = unit_of(abs_max(x, NL_SUB));
    for (int i = 0; i < NL_SUB; i++)
        x[i] = unit_apply(x[i], unit.shrink);
    if (weights != NULL)
        vf_load_turned(u.w, weights, NL_SUB, used);
    const vf d = vf_via_f16(nl_best_scale(x, weights != NULL ? u.w : NULL) * unit.grow);
    const vf inv = vf_inverse(d * unit.shrink);
    for (int i = 0; i < NL_SUB; i++)
        u.code[i] = nl_index(x[i] * inv);
    (void)nibble_words(word, u.code);
    blocks_store(dst, &d, 1, word, 4, used);
}

BLOCKS_ENCODER(iq4_nl, NL_SUB, 18)
