/* kernels/enc_nl.h: the scale search on the non-linear table of nl.h, one sub-block of 32 per lane.
 *
 * The nearest value is found by four comparisons, each threshold picked by the results of those before
 * it. A trial step 1 / inv rounds to table values q, and weighted least squares gives the best scale
 * S(w x q) / S(w q q) for them, which lowers the squared error by S(w x q)^2 / S(w q q).
 *
 * The table is lopsided, so both signs of the scale are tried: the peak near -127 and near 113, from
 * 0.7 to 1.26 of these ends (beyond an end, the peak is clipped). On Gaussians steps of 6 units lose
 * 0.1 % of the squared error against an exhaustive search, steps of 2 units 0.01 %.
 */
#ifndef NB_KERNELS_ENC_NL_H
#define NB_KERNELS_ENC_NL_H

#include "kernels/enc_common.h"

enum { NL_SUB = 32, NL_ENDS = 24 };

/* What the peak is mapped to. */
static const float nl_ends[NL_ENDS] = {-88.0F,  -94.0F,  -100.0F, -106.0F, -112.0F, -118.0F,
                                       -124.0F, -130.0F, -136.0F, -142.0F, -148.0F, -154.0F,
                                       -160.0F, 82.0F,   88.0F,   94.0F,   100.0F,  106.0F,
                                       112.0F,  118.0F,  124.0F,  130.0F,  136.0F,  142.0F};

/* Entry -k (mod 8): the threshold that splits the group k of the values, counted from the top. */
static const float nl_halves[8] = {45.5F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F, -57.0F};
static const float nl_quarters[8] = {79.0F, 0.0F, 0.0F, 0.0F, 0.0F, -93.5F, -28.5F, 19.0F};
static const float nl_pairs[8] = {101.0F, -115.5F, -74.0F, -42.0F, -16.0F, 7.0F, 31.5F, 61.0F};
static const float nl_upper[8] = {113.0F, -104.0F, -65.0F, -35.0F, -10.0F, 13.0F, 38.0F, 69.0F};
static const float nl_lower[8] = {89.0F, -127.0F, -83.0F, -49.0F, -22.0F, 1.0F, 25.0F, 53.0F};

/* Minus the number of the pair of values that t belongs to, from the top; and which of the two. */
struct nl_place {
    vu pair, lower;
};

NB_LANES_INLINE struct nl_place nl_find(vf t)
{
    const vu half = vf_lt(t, vf_set(-4.5F));
    const vu quarter = half + half + vf_lt(t, vf_pick8(nl_halves, half));
    const vu pair = quarter + quarter + vf_lt(t, vf_pick8(nl_quarters, quarter));
    return (struct nl_place){pair, vf_lt(t, vf_pick8(nl_pairs, pair))};
}

NB_LANES_INLINE vf nl_nearest(vf t)
{
    const struct nl_place p = nl_find(t);
    return vf_select(p.lower, vf_pick8(nl_lower, p.pair), vf_pick8(nl_upper, p.pair));
}

/* The index of the nearest value, as nb_nl_nearest gives it. */
NB_LANES_INLINE vu nl_index(vf t)
{
    const struct nl_place p = nl_find(t);
    return 15U + p.pair + p.pair + p.lower;
}

struct nl_sums {
    vf lx, l2;
};

/* w NULL: all ones. */
NB_LANES_INLINE struct nl_sums nl_try(const vf *x, const vf *w, vf inv)
{
    struct nl_sums s = {vf_set(0.0F), vf_set(0.0F)};
    for (int i = 0; i < NL_SUB; i++) {
        const vf l = nl_nearest(x[i] * inv);
        const vf wl = w != NULL ? w[i] * l : l;
        s.lx += wl * x[i];
        s.l2 += wl * l;
    }
    return s;
}

/* 1 over the peak. A sub-block of zeros may have any peak. */
NB_LANES_INLINE vf nl_per_peak(const vf *x)
{
    const vf peak = peak_of(x, NL_SUB);
    return vf_set(1.0F) / vf_select(vf_lt(vf_set(0.0F), vf_abs(peak)), peak, vf_set(1.0F));
}

#endif
