/* kernels/fit_min_k.tmpl.h: the search of q2_k, q4_k and q5_k: sub-blocks with integer scales and minima,
 * f16 d, dmin. fit_q2_k.tmpl.h, fit_q4_k.tmpl.h and fit_q5_k.tmpl.h give the numbers:
 *
 *   MK_FIT           the function's name
 *   MK_SUB           elements of a sub-block
 *   MK_TOP           the highest code
 *   MK_SCALE_TOP     the highest integer scale and minimum
 *
 * 1. Each sub-block, a lane, tries ranges around the span of its values; for the codes of each range
 *    weighted least squares gives scale and minimum in closed form (docs/numfmt.md).
 * 2. d and dmin make the largest scale and minimum MK_SCALE_TOP; every sub-block then tries the integer pairs
 *    around its own, its codes rounded anew, and keeps the pair with the least weighted squared error.
 * 3. With all codes fixed, least squares gives better d and dmin; sub-blocks try the neighbouring
 *    pairs once more; kept if the block's error is lower.
 */
#include "kernels/enc_k.h"
#include "kernels/kernels.h"

enum { MK_SUBS = K_BLOCK / MK_SUB, MK_GROUPS = MK_SUBS / LANES };

/* Ends of the trial ranges, as shares of the span cut off on either side (negative: added), and how
 * often step 3 is repeated. Chosen by squared error of q4_k on trained weights: 4.86e-3 of the signal, with
 * 81 trials 4.85e-3, with cuts but no additions 4.93e-3. */
enum { MK_CUTS = 5, MK_REFINEMENTS = 3 };
#define MK_CUT(share) ((share) * (15.0F / MK_TOP)) /* the same number of steps */
static const float mk_cut[MK_CUTS] = {MK_CUT(-0.07F), MK_CUT(-0.045F), MK_CUT(-0.02F),
                                      MK_CUT(0.005F), MK_CUT(0.03F)};

static const struct code_range mk_range = {0.0F, MK_TOP};

/* The block in units of its largest magnitude. */
struct mk_block {
    vf x[MK_GROUPS][MK_SUB];
    vf w[MK_GROUPS][MK_SUB]; /* only if weighted */
    bool weighted;
    float grow, shrink;
};

/* A way to store it: integer scales and minima, d and dmin in units of the block. */
struct mk_grid {
    vf scale[MK_GROUPS], low[MK_GROUPS];
    float d, dmin;
    float error;
};

/* Scale and minimum (>= 0, subtracted) of a sub-block, and its error as a drop from S(w x x). */
struct mk_fit {
    vf scale, low, gain;
};

/* Sums that do not depend on the codes. */
struct mk_sums {
    vf w, wx;
};

NB_LANES_INLINE const vf *mk_weights(const struct mk_block *b, int g)
{
    return b->weighted ? b->w[g] : NULL;
}

/* One trial: codes (x - start) * inv, then least squares for x = scale * code - low with low >= 0. */
NB_LANES_INLINE void mk_try(struct mk_fit *best, const vf *x, const vf *w,
                            const struct mk_sums *sums, vf start, vf inv)
{
    const vf zero = vf_set(0.0F);
    vf l1 = zero;
    vf l2 = zero;
    vf lx = zero;
    for (int i = 0; i < MK_SUB; i++) {
        const vf l = vf_code((x[i] - start) * inv, mk_range.lo, mk_range.hi);
        const vf wl = w != NULL ? w[i] * l : l;
        l1 += wl;
        l2 += wl * l;
        lx += wl * x[i];
    }
    const vf det = sums->w * l2 - l1 * l1;
    const vf free_scale = (sums->w * lx - sums->wx * l1) / det;
    const vf free_low = (l1 * lx - l2 * sums->wx) / det;
    /* det is 0, or rounding noise, when all codes are equal: then a scale alone. */
    const vu clipped = vf_lt(free_low, zero) | ~vf_lt(sums->w * l2 * 1e-6F, det);
    const vf scale = vf_select(clipped, lx / l2, free_scale);
    const vf low = vf_select(clipped, zero, free_low);
    const vf gain = scale * lx - low * sums->wx;
    const vu better = vf_lt(best->gain, gain) & vf_lt(zero, scale); /* false for 0 / 0 */
    best->scale = vf_select(better, scale, best->scale);
    best->low = vf_select(better, low, best->low);
    best->gain = vf_select(better, gain, best->gain);
}

NB_LANES_INLINE struct mk_fit mk_sub_fit(const vf *x, const vf *w)
{
    const vf zero = vf_set(0.0F);
    struct mk_sums sums = {zero, zero};
    vf lo = zero;
    vf hi = x[0];
    for (int i = 0; i < MK_SUB; i++) {
        lo = vf_min(x[i], lo);
        hi = vf_max(x[i], hi);
        sums.w += w != NULL ? w[i] : vf_set(1.0F);
        sums.wx += w != NULL ? w[i] * x[i] : x[i];
    }
    const vf span = hi - lo;
    /* Without a scale: all of it the minimum. */
    struct mk_fit best = {zero, zero - lo, lo * (sums.wx + sums.wx - lo * sums.w)};
    for (int a = 0; a < MK_CUTS; a++) {
        for (int b = 0; b < MK_CUTS; b++) {
            const vf inv = vf_inverse(span * ((1.0F - mk_cut[a] - mk_cut[b]) / MK_TOP));
            mk_try(&best, x, w, &sums, lo + span * mk_cut[a], inv);
        }
    }
    mk_try(&best, x, w, &sums, zero - best.low, vf_inverse(best.scale));
    return best;
}

/* Tries the integer pairs beside those in grid; sums the error. */
NB_LANES_INLINE void mk_search(const struct mk_block *b, struct mk_grid *grid)
{
    const vf d = vf_set(grid->d);
    const vf minus_dmin = vf_set(-grid->dmin);
    const vf top = vf_set(MK_SCALE_TOP);
    const vf zero = vf_set(0.0F);
    float error[MK_SUBS];
    for (int g = 0; g < MK_GROUPS; g++) {
        const vf mid_scale = grid->scale[g];
        const vf mid_low = grid->low[g];
        vf best = vf_set(1e30F);
        for (int i = -1; i <= 1; i++) {
            for (int j = -1; j <= 1; j++) {
                const vf scale = vf_min(vf_max(mid_scale + (float)i, zero), top);
                const vf low = vf_min(vf_max(mid_low + (float)j, zero), top);
                const vf e = grid_error(b->x[g], mk_weights(b, g), MK_SUB, d * scale,
                                        minus_dmin * low, mk_range);
                const vu better = vf_lt(e, best);
                grid->scale[g] = vf_select(better, scale, grid->scale[g]);
                grid->low[g] = vf_select(better, low, grid->low[g]);
                best = vf_select(better, e, best);
            }
        }
        vf_store(error + g * LANES, best);
    }
    grid->error = sum_of(error, MK_SUBS);
}

/* d and dmin by least squares over the whole block, its codes as they are: x = d u - dmin m with
 * u = scale * code. Not inline: frames are bounded. */
static __attribute__((noinline)) void mk_best_d(const struct mk_block *b, struct mk_grid *grid)
{
    float uu[MK_SUBS];
    float um[MK_SUBS];
    float mm[MK_SUBS];
    float ux[MK_SUBS];
    float mx[MK_SUBS];
    for (int g = 0; g < MK_GROUPS; g++) {
        const vf *w = mk_weights(b, g);
        const vf inv = vf_inverse(vf_set(grid->d) * grid->scale[g]);
        const vf offset = vf_set(-grid->dmin) * grid->low[g];
        vf s1 = vf_set(0.0F);
        vf sx = vf_set(0.0F);
        vf su = vf_set(0.0F);
        vf suu = vf_set(0.0F);
        vf sux = vf_set(0.0F);
        for (int i = 0; i < MK_SUB; i++) {
            const vf x = b->x[g][i];
            const vf u = vf_code((x - offset) * inv, mk_range.lo, mk_range.hi) * grid->scale[g];
            const vf wu = w != NULL ? w[i] * u : u;
            s1 += w != NULL ? w[i] : vf_set(1.0F);
            sx += w != NULL ? w[i] * x : x;
            su += wu;
            suu += wu * u;
            sux += wu * x;
        }
        vf_store(uu + g * LANES, suu);
        vf_store(um + g * LANES, su * grid->low[g]);
        vf_store(mm + g * LANES, s1 * grid->low[g] * grid->low[g]);
        vf_store(ux + g * LANES, sux);
        vf_store(mx + g * LANES, sx * grid->low[g]);
    }
    const float a = sum_of(uu, MK_SUBS);
    const float c = sum_of(um, MK_SUBS);
    const float e = sum_of(mm, MK_SUBS);
    const float p = sum_of(ux, MK_SUBS);
    const float q = sum_of(mx, MK_SUBS);
    const float det = a * e - c * c;
    if (det > 0.0F) {
        grid->d = (e * p - c * q) / det;
        grid->dmin = (c * p - a * q) / det;
    } else if (a > 0.0F) {
        grid->d = (p + grid->dmin * c) / a;
    }
}

NB_LANES_INLINE void mk_round_d(const struct mk_block *b, struct mk_grid *grid)
{
    grid->d = via_f16(grid->d * b->grow) * b->shrink;
    grid->dmin = via_f16(grid->dmin * b->grow) * b->shrink;
}

NB_LANES_INLINE void mk_first(const struct mk_block *b, struct mk_grid *grid)
{
    float scale[MK_SUBS];
    float low[MK_SUBS];
    float max_scale = 0.0F;
    float max_low = 0.0F;
    for (int g = 0; g < MK_GROUPS; g++) {
        const struct mk_fit fit = mk_sub_fit(b->x[g], mk_weights(b, g));
        vf_store(scale + g * LANES, fit.scale);
        vf_store(low + g * LANES, fit.low);
    }
    for (int s = 0; s < MK_SUBS; s++) {
        max_scale = scale[s] > max_scale ? scale[s] : max_scale;
        max_low = low[s] > max_low ? low[s] : max_low;
    }
    grid->d = max_scale / MK_SCALE_TOP;
    grid->dmin = max_low / MK_SCALE_TOP;
    mk_round_d(b, grid);
    const vf inv_d = vf_inverse(vf_set(grid->d));
    const vf inv_dmin = vf_inverse(vf_set(grid->dmin));
    for (int g = 0; g < MK_GROUPS; g++) {
        grid->scale[g] = vf_code(vf_load(scale + g * LANES) * inv_d, 0.0F, MK_SCALE_TOP);
        grid->low[g] = vf_code(vf_load(low + g * LANES) * inv_dmin, 0.0F, MK_SCALE_TOP);
    }
}

NB_LANES_INLINE void mk_load(struct mk_block *b, const float *x, const float *w)
{
    const struct unit unit = k_unit(x);
    float grow[LANES];
    float shrink[LANES];
    vf_store(grow, unit.grow);
    vf_store(shrink, unit.shrink);
    b->grow = grow[0];
    b->shrink = shrink[0];
    b->weighted = w != NULL;
    for (int g = 0; g < MK_GROUPS; g++) {
        vf_load_turned(b->x[g], x + g * LANES * MK_SUB, MK_SUB, LANES);
        for (int i = 0; i < MK_SUB; i++)
            b->x[g][i] = unit_apply(b->x[g][i], unit.shrink);
        if (w != NULL)
            vf_load_turned(b->w[g], w + g * LANES * MK_SUB, MK_SUB, LANES);
    }
}

NB_LANES_INLINE void mk_store(struct nb_fit_k *out, const struct mk_block *b,
                              const struct mk_grid *grid)
{
    out->d = grid->d * b->grow;
    out->dmin = grid->dmin * b->grow;
    for (int g = 0; g < MK_GROUPS; g++) {
        uint32_t scale[LANES];
        uint32_t low[LANES];
        vu_store(scale, vf_int_bits(grid->scale[g]));
        vu_store(low, vf_int_bits(grid->low[g]));
        for (int l = 0; l < LANES; l++) {
            out->scale_code[g * LANES + l] = (int16_t)scale[l];
            out->min_code[g * LANES + l] = (int16_t)low[l];
        }
        k_store_codes(out->codes + g * LANES * MK_SUB, b->x[g], MK_SUB,
                      vf_set(grid->d) * grid->scale[g], vf_set(-grid->dmin) * grid->low[g],
                      mk_range);
    }
}

NB_LANES_INLINE void mk_fit(struct nb_fit_k *out, struct mk_block *b, const float *x,
                            const float *w)
{
    struct mk_grid best;
    mk_load(b, x, w);
    mk_first(b, &best);
    mk_search(b, &best);
    for (int round = 0; round < MK_REFINEMENTS; round++) {
        struct mk_grid next = best;
        mk_best_d(b, &next);
        mk_round_d(b, &next);
        mk_search(b, &next);
        if (!(next.error < best.error))
            break;
        best = next;
    }
    mk_store(out, b, &best);
}

static __attribute__((noinline)) void mk_plain(struct nb_fit_k *out, const float *x)
{
    struct mk_block b;
    mk_fit(out, &b, x, NULL);
}

static __attribute__((noinline)) void mk_weighted(struct nb_fit_k *out, const float *x,
                                                  const float *w)
{
    struct mk_block b;
    mk_fit(out, &b, x, w);
}

void MK_FIT(struct nb_fit_k *out, const float *x, const float *w)
{
    memset(out, 0, sizeof *out);
    if (w == NULL)
        mk_plain(out, x);
    else
        mk_weighted(out, x, w);
}
