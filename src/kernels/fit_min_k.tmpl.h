/* kernels/fit_min_k.tmpl.h: the search of q2_k, q4_k and q5_k: sub-blocks with integer scales and minima,
 * f16 d, dmin. fit_q2_k.tmpl.h, fit_q4_k.tmpl.h and fit_q5_k.tmpl.h give the numbers:
 *
 *   MK_FIT           the function's name
 *   MK_SUB           elements of a sub-block
 *   MK_TOP           the highest code
 *   MK_SCALE_TOP     the highest integer scale and minimum
 *   MK_CUTS          the trial ranges: shares of the span of the values cut off below and above (negative:
 *                    added)
 *   MK_D_LOW, MK_D_STEPS, MK_D_APART    d and dmin tried: those that make the largest scale and minimum
 *                    MK_SCALE_TOP + MK_D_LOW, and so on, MK_D_APART apart
 *   MK_REACH, MK_SIDE    how far integer scales, and minima beside the best of each, are searched after d
 *                    and dmin changed
 *   MK_SIDE_OFF      1: minima beside the best of every scale; 0: of the middle one alone
 *   MK_REFINEMENTS   how often step 3 is repeated at most
 *
 * 1. Each sub-block, a lane, tries ranges around the span of its values; for the codes of each range
 *    weighted least squares gives scale and minimum in closed form (docs/numfmt.md).
 * 2. Of all pairs of d and dmin tried, the one is taken that stores all scales and minima with the least
 *    loss, to second order: a scale off by e moves the best minimum by lean e.
 *    Sub-blocks take the nearest integer scale and the minimum that suits it.
 * 3. With all codes fixed, least squares gives better d and dmin. Every sub-block then tries the integer
 *    scales around its own, each with its best minimum and those beside, its codes rounded anew, and
 *    keeps the pair with the least weighted squared error. Kept if the block's error is lower.
 */
#include "kernels/enc_k.h"
#include "kernels/kernels.h"

enum { MK_SUBS = K_BLOCK / MK_SUB, MK_GROUPS = MK_SUBS / LANES };

static const float mk_cut[][2] = {MK_CUTS};

static const struct code_range mk_range = {0.0F, MK_TOP};

/* Sums over a sub-block that do not depend on the codes. */
struct mk_sums {
    vf w, wx, wxx;
};

/* The block in units of its largest magnitude. */
struct mk_block {
    vf x[MK_GROUPS][MK_SUB];
    vf w[MK_GROUPS][MK_SUB]; /* only if weighted */
    struct mk_sums sums[MK_GROUPS];
    bool weighted;
    float grow, shrink;
};

/* A way to store it: integer scales and minima, d and dmin in units of the block. lean: the mean of the
 * codes, by which the best minimum follows the scale. */
struct mk_grid {
    vf scale[MK_GROUPS], low[MK_GROUPS], lean[MK_GROUPS];
    float d, dmin;
    float error;
};

/* Scale and minimum (>= 0, subtracted) of a sub-block, its error as a drop from S(w x x), and S(w l),
 * S(w l l) of its codes. */
struct mk_fit {
    vf scale, low, gain, l1, l2;
};

NB_LANES_INLINE const vf *mk_weights(const struct mk_block *b, int g)
{
    return b->weighted ? b->w[g] : NULL;
}

/* One trial: codes x inv + shift, then least squares for x = scale * code - low with low >= 0. */
NB_LANES_INLINE void mk_try(struct mk_fit *best, const vf *x, const vf *w,
                            const struct mk_sums *sums, vf inv, vf shift)
{
    const vf zero = vf_set(0.0F);
    vf l1 = zero;
    vf l2 = zero;
    vf lx = zero;
    for (int i = 0; i < MK_SUB; i++) {
        const vf l = vf_code(x[i] * inv + shift, mk_range.lo, mk_range.hi);
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
    best->l1 = vf_select(better, l1, best->l1);
    best->l2 = vf_select(better, l2, best->l2);
}

NB_LANES_INLINE struct mk_fit mk_sub_fit(const vf *x, const vf *w, const struct mk_sums *sums)
{
    const vf zero = vf_set(0.0F);
    vf lo = zero;
    vf hi = x[0];
    for (int i = 0; i < MK_SUB; i++) {
        lo = vf_min(x[i], lo);
        hi = vf_max(x[i], hi);
    }
    const vf per_span = vf_inverse(hi - lo);
    /* Without a scale: all of it the minimum. */
    struct mk_fit best = {zero, zero - lo, lo * (sums->wx + sums->wx - lo * sums->w), zero, zero};
    for (size_t t = 0; t < sizeof mk_cut / sizeof mk_cut[0]; t++) {
        const float wide = MK_TOP / (1.0F - mk_cut[t][0] - mk_cut[t][1]);
        const vf inv = per_span * wide;
        mk_try(&best, x, w, sums, inv, zero - (lo * inv + mk_cut[t][0] * wide));
    }
    return best;
}

/* Each step twice, without and with weights, and not inline: frames are bounded. */
#define MK_NOINLINE static __attribute__((noinline))

MK_NOINLINE void mk_sub_plain(struct mk_fit *fit, const struct mk_block *b, int g)
{
    *fit = mk_sub_fit(b->x[g], NULL, &b->sums[g]);
}

MK_NOINLINE void mk_sub_weighted(struct mk_fit *fit, const struct mk_block *b, int g)
{
    *fit = mk_sub_fit(b->x[g], b->w[g], &b->sums[g]);
}

/* Tries integer pairs around those in grid; sums the error. */
NB_LANES_INLINE void mk_try_pairs(const struct mk_block *b, struct mk_grid *grid, bool weighted,
                                  int reach, int side)
{
    const vf top = vf_set(MK_SCALE_TOP);
    const vf zero = vf_set(0.0F);
    const vf inv_dmin = vf_inverse(vf_set(grid->dmin));
    float error[MK_SUBS];
    for (int g = 0; g < MK_GROUPS; g++) {
        const struct mk_sums *sums = &b->sums[g];
        const vf middle = grid->scale[g];
        const vf mean = sums->wx / sums->w;
        vf best = vf_set(1e30F);
        for (int i = -reach; i <= reach; i++) {
            const vf code = vf_min(vf_max(middle + (float)i, zero), top);
            const vf scale = code * grid->d;
            const vf inv = vf_inverse(scale);
            const vf low = vf_code((grid->lean[g] * scale - mean) * inv_dmin, 0.0F, MK_SCALE_TOP);
            const int beside = i == 0 ? side : side * MK_SIDE_OFF;
            for (int j = -beside; j <= beside; j++) {
                const vf next = vf_min(vf_max(low + (float)j, zero), top);
                const vf min = next * grid->dmin;
                const struct k_trial k = {scale, inv, min * inv, true};
                const vf flat = sums->wxx + min * (sums->wx + sums->wx + min * sums->w);
                const vf e = vf_select(vf_lt(zero, scale),
                                       k_error(&k, b->x[g], weighted ? b->w[g] : NULL, MK_SUB,
                                               mk_range),
                                       flat);
                const vu better = vf_lt(e, best);
                grid->scale[g] = vf_select(better, code, grid->scale[g]);
                grid->low[g] = vf_select(better, next, grid->low[g]);
                best = vf_select(better, e, best);
            }
        }
        vf_store(error + g * LANES, best);
    }
    grid->error = sum_of(error, MK_SUBS);
}

MK_NOINLINE void mk_pairs_plain(const struct mk_block *b, struct mk_grid *grid, int reach, int side)
{
    mk_try_pairs(b, grid, false, reach, side);
}

MK_NOINLINE void mk_pairs_weighted(const struct mk_block *b, struct mk_grid *grid, int reach,
                                   int side)
{
    mk_try_pairs(b, grid, true, reach, side);
}

NB_LANES_INLINE void mk_search(const struct mk_block *b, struct mk_grid *grid, int reach, int side)
{
    if (b->weighted)
        mk_pairs_weighted(b, grid, reach, side);
    else
        mk_pairs_plain(b, grid, reach, side);
}

/* d and dmin by least squares over the whole block, its codes as they are: x = d u - dmin m with
 * u = scale * code. Not inline: frames are bounded. */
MK_NOINLINE void mk_best_d(const struct mk_block *b, struct mk_grid *grid)
{
    float uu[MK_SUBS];
    float um[MK_SUBS];
    float mm[MK_SUBS];
    float ux[MK_SUBS];
    float mx[MK_SUBS];
    for (int g = 0; g < MK_GROUPS; g++) {
        const vf *w = mk_weights(b, g);
        const vf inv = vf_inverse(vf_set(grid->d) * grid->scale[g]);
        const vf shift = grid->low[g] * grid->dmin * inv;
        const vf s1 = b->sums[g].w;
        const vf sx = b->sums[g].wx;
        vf su = vf_set(0.0F);
        vf suu = vf_set(0.0F);
        vf sux = vf_set(0.0F);
        for (int i = 0; i < MK_SUB; i++) {
            const vf x = b->x[g][i];
            const vf u = vf_code(x * inv + shift, mk_range.lo, mk_range.hi) * grid->scale[g];
            const vf wu = w != NULL ? w[i] * u : u;
            su += wu;
            suu += wu * u;
            sux += wu * x;
        }
        grid->lean[g] = su * vf_inverse(grid->scale[g]) / s1;
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

/* The scales and minima wanted, how fast the error grows beside them, and lean. */
struct mk_want {
    float scale[MK_SUBS], low[MK_SUBS], lean[MK_SUBS];
    float curve[MK_SUBS], w[MK_SUBS]; /* of the scale, with the minimum that suits it; of the minimum */
};

/* A lane is a d: what the block loses with it and each dmin, to second order. */
NB_LANES_INLINE void mk_losses(vf loss[MK_D_STEPS], const struct mk_want *c, vf d, const float *dmin)
{
    const vf inv = vf_inverse(d);
    vf inv_dmin[MK_D_STEPS];
    for (int k = 0; k < MK_D_STEPS; k++) {
        loss[k] = vf_set(0.0F);
        inv_dmin[k] = vf_inverse(vf_set(dmin[k]));
    }
    for (int s = 0; s < MK_SUBS; s++) {
        const vf off = d * vf_code(c->scale[s] * inv, 0.0F, MK_SCALE_TOP) - c->scale[s];
        const vf base = c->curve[s] * off * off;
        const vf low = c->low[s] + c->lean[s] * off;
        for (int k = 0; k < MK_D_STEPS; k++) {
            const vf miss = low - dmin[k] * vf_code(low * inv_dmin[k], 0.0F, MK_SCALE_TOP);
            loss[k] += base + c->w[s] * miss * miss;
        }
    }
}

/* The pair of d and dmin that suits best. Not inline: frames are bounded. */
MK_NOINLINE void mk_first_d(const struct mk_want *c, struct mk_grid *grid)
{
    float d[MK_D_STEPS];
    float dmin[MK_D_STEPS];
    float max_scale = 0.0F;
    float max_low = 0.0F;
    float best = 1e30F;
    for (int s = 0; s < MK_SUBS; s++) {
        max_scale = c->scale[s] > max_scale ? c->scale[s] : max_scale;
        max_low = c->low[s] > max_low ? c->low[s] : max_low;
    }
    for (int k = 0; k < MK_D_STEPS; k++) {
        d[k] = max_scale / (MK_SCALE_TOP + MK_D_LOW + MK_D_APART * (float)k);
        dmin[k] = max_low / (MK_SCALE_TOP + MK_D_LOW + MK_D_APART * (float)k);
    }
    for (int i = 0; i < MK_D_STEPS; i += LANES) {
        vf loss[MK_D_STEPS];
        mk_losses(loss, c, vf_load(d + i), dmin);
        for (int k = 0; k < MK_D_STEPS; k++) {
            float lane[LANES];
            vf_store(lane, loss[k]);
            for (int l = 0; l < LANES; l++) {
                if (lane[l] < best) {
                    best = lane[l];
                    grid->d = d[i + l];
                    grid->dmin = dmin[k];
                }
            }
        }
    }
}

MK_NOINLINE void mk_first(const struct mk_block *b, struct mk_grid *grid)
{
    struct mk_want c;
    for (int g = 0; g < MK_GROUPS; g++) {
        struct mk_fit fit;
        if (b->weighted)
            mk_sub_weighted(&fit, b, g);
        else
            mk_sub_plain(&fit, b, g);
        const vf lean = fit.l1 / b->sums[g].w;
        grid->lean[g] = lean;
        vf_store(c.scale + g * LANES, fit.scale);
        vf_store(c.low + g * LANES, fit.low);
        vf_store(c.lean + g * LANES, lean);
        vf_store(c.curve + g * LANES, fit.l2 - fit.l1 * lean);
        vf_store(c.w + g * LANES, b->sums[g].w);
    }
    grid->d = 0.0F;
    grid->dmin = 0.0F;
    mk_first_d(&c, grid);
    mk_round_d(b, grid);
    const vf inv_d = vf_inverse(vf_set(grid->d));
    for (int g = 0; g < MK_GROUPS; g++) {
        grid->scale[g] = vf_code(vf_load(c.scale + g * LANES) * inv_d, 0.0F, MK_SCALE_TOP);
        grid->low[g] = vf_set(0.0F);
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
        struct mk_sums sums = {vf_set(0.0F), vf_set(0.0F), vf_set(0.0F)};
        for (int i = 0; i < MK_SUB; i++) {
            const vf wx = w != NULL ? b->w[g][i] * b->x[g][i] : b->x[g][i];
            sums.w += w != NULL ? b->w[g][i] : vf_set(1.0F);
            sums.wx += wx;
            sums.wxx += wx * b->x[g][i];
        }
        b->sums[g] = sums;
    }
}

MK_NOINLINE void mk_store(struct nb_fit_k *out, const struct mk_block *b,
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
    mk_search(b, &best, 0, 0);
    for (int round = 0; round < MK_REFINEMENTS; round++) {
        struct mk_grid next = best;
        mk_best_d(b, &next);
        mk_round_d(b, &next);
        mk_search(b, &next, MK_REACH, MK_SIDE);
        if (!(next.error < best.error))
            break;
        best = next;
    }
    mk_store(out, b, &best);
}

MK_NOINLINE void mk_plain(struct nb_fit_k *out, const float *x)
{
    struct mk_block b;
    mk_fit(out, &b, x, NULL);
}

MK_NOINLINE void mk_weighted(struct nb_fit_k *out, const float *x, const float *w)
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
