/* kernels/enc_k.h: what the searches of the 256-element formats share: lanes back to plain arrays. */
#ifndef NB_KERNELS_ENC_K_H
#define NB_KERNELS_ENC_K_H

#include "kernels/enc_search.h"

enum { K_BLOCK = 256 };

/* A trial grid of sub-blocks: codes x inv + shift. */
struct k_trial {
    vf scale, inv, shift;
    bool shifted; /* else shift is 0 */
};

/* Weighted squared error of sub-blocks on it, codes rounded anew; in a grid without scale the caller
 * knows better. w NULL: all ones. */
NB_LANES_INLINE vf k_error(const struct k_trial *k, const vf *x, const vf *w, int n,
                           struct code_range range)
{
    vf sum = vf_set(0.0F);
    for (int i = 0; i < n; i++) {
        const vf t = k->shifted ? x[i] * k->inv + k->shift : x[i] * k->inv;
        const vf diff = t - vf_code(t, range.lo, range.hi);
        sum += (w != NULL ? w[i] * diff : diff) * diff;
    }
    return sum * (k->scale * k->scale);
}

/* Of the largest magnitude in the whole block, for every lane. */
NB_LANES_INLINE struct unit k_unit(const float *x)
{
    vf amax = vf_set(0.0F);
    for (int i = 0; i < K_BLOCK; i += LANES)
        amax = vf_max(vf_abs(vf_load(x + i)), amax);
    float lane[LANES];
    float all = 0.0F;
    vf_store(lane, amax);
    for (int l = 0; l < LANES; l++)
        all = lane[l] > all ? lane[l] : all;
    return unit_of(vf_set(all));
}

/* Element i of LANES consecutive sub-blocks of n, a multiple of 4: codes as stored. */
NB_LANES_INLINE void k_store_codes(int8_t *dst, const vf *x, int n, vf scale, vf offset,
                                   struct code_range range)
{
    const vf inv = vf_inverse(scale);
    for (int i = 0; i < n; i += 4) {
        uint32_t lane[LANES];
        vu word = vu_set(0);
        for (int j = 3; j >= 0; j--) {
            const vf code = vf_code((x[i + j] - offset) * inv, range.lo, range.hi);
            word = word << 8 | (vf_int_bits(code) & 255U);
        }
        vu_store(lane, word);
        for (int l = 0; l < LANES; l++)
            memcpy(dst + l * n + i, &lane[l], 4);
    }
}

NB_LANES_INLINE float sum_of(const float *x, int n)
{
    float sum = 0.0F;
    for (int i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

/* What an f16 field gives back. */
NB_LANES_INLINE float via_f16(float x)
{
    x = x > 65504.0F ? 65504.0F : x;
    x = x < -65504.0F ? -65504.0F : x;
    return nb_f16_to_f32(nb_f32_to_f16(x));
}

#endif
