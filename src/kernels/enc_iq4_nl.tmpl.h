/* kernels/enc_iq4_nl.tmpl.h: encoding into iq4_nl, blocks of 32 with one signed f16 scale, a block per
 * lane: the search of enc_nl.h, then once more with the best scale, then d goes through f16 and the
 * codes are rounded with what f16 gives back. Not exhaustive (enc_nl.h says what that costs).
 */
#include "kernels/enc_nl.h"

enum { NL_BYTES = 18 };

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

NB_LANES_INLINE void nl_round(uint8_t *dst, const float *src, const float *weights, size_t used)
{
    vf x[NL_SUB];
    vf w[NL_SUB]; /* only if weighted */
    float scale[LANES];
    uint32_t lane[4][LANES];
    vf_load_turned(x, src, NL_SUB, used);
    const struct unit unit = unit_of(abs_max(x, NL_SUB));
    for (int i = 0; i < NL_SUB; i++)
        x[i] = unit_apply(x[i], unit.shrink);
    if (weights != NULL)
        vf_load_turned(w, weights, NL_SUB, used);
    const vf d = vf_via_f16(nl_best_scale(x, weights != NULL ? w : NULL) * unit.grow);
    const vf inv = vf_inverse(d * unit.shrink);
    for (int k = 0; k < 4; k++) {
        vu word = vu_set(0);
        for (int j = 0; j < 4; j++) {
            const vu low = nl_index(x[4 * k + j] * inv);
            const vu high = nl_index(x[4 * k + j + 16] * inv);
            word |= (low | high << 4) << 8 * j;
        }
        vu_store(lane[k], word);
    }
    vf_store(scale, d);
    for (size_t l = 0; l < LANES && l < used; l++, dst += NL_BYTES) {
        put_u16(dst, nb_f32_to_f16(scale[l]));
        for (int k = 0; k < 4; k++)
            memcpy(dst + 2 + 4 * k, &lane[k][l], 4);
    }
}

static __attribute__((noinline)) void nl_plain(uint8_t *dst, const float *x, size_t blocks)
{
    for (size_t b = 0; b < blocks; b += LANES)
        nl_round(dst + b * NL_BYTES, x + b * NL_SUB, NULL, blocks - b);
}

static __attribute__((noinline)) void nl_weighted(uint8_t *dst, const float *x, const float *w,
                                                  size_t blocks)
{
    for (size_t b = 0; b < blocks; b += LANES)
        nl_round(dst + b * NL_BYTES, x + b * NL_SUB, w + b * NL_SUB, blocks - b);
}

void NB_LANES_NAME(enc_iq4_nl_f32)(void *dst, const float *x, const float *w, size_t n)
{
    if (w == NULL)
        nl_plain(dst, x, n / NL_SUB);
    else
        nl_weighted(dst, x, w, n / NL_SUB);
}
