/* kernels/enc_search.h: the scale search of symmetric grids, and the error of any uniform grid, one
 * sub-block per lane. */
#ifndef NB_KERNELS_ENC_SEARCH_H
#define NB_KERNELS_ENC_SEARCH_H

#include "kernels/enc_common.h"

/* Best scale so far, by how much it lowers the weighted sum of squares, and how fast that is lost beside
 * it: a scale off by e loses curve e e. */
struct sym_fit {
    vf scale, gain, curve;
};

/* One trial step 1 / inv. w NULL: all ones. A trial with no codes but 0 changes nothing (0 / 0). */
NB_LANES_INLINE void sym_try(struct sym_fit *best, const vf *x, const vf *w, int n, vf inv,
                             struct code_range range)
{
    vf lx = vf_set(0.0F);
    vf l2 = vf_set(0.0F);
    for (int i = 0; i < n; i++) {
        const vf l = vf_code(x[i] * inv, range.lo, range.hi);
        const vf wl = w != NULL ? w[i] * l : l;
        lx += wl * x[i];
        l2 += wl * l;
    }
    const vf scale = lx / l2;
    const vf gain = scale * lx;
    const vu better = vf_lt(best->gain, gain);
    best->scale = vf_select(better, scale, best->scale);
    best->gain = vf_select(better, gain, best->gain);
    best->curve = vf_select(better, l2, best->curve);
}

/* Weighted squared error of sub-blocks stored with this scale and offset. w NULL: all ones. */
NB_LANES_INLINE vf grid_error(const vf *x, const vf *w, int n, vf scale, vf offset,
                              struct code_range range)
{
    const vf inv = vf_inverse(scale);
    vf sum = vf_set(0.0F);
    for (int i = 0; i < n; i++) {
        const vf code = vf_code((x[i] - offset) * inv, range.lo, range.hi);
        const vf diff = x[i] - (scale * code + offset);
        sum += (w != NULL ? w[i] * diff : diff) * diff;
    }
    return sum;
}

#endif
