/* kernels/fit_q6_k.tmpl.h: the search of q6_k: 16 sub-blocks of 16, 8-bit scales, one f16 d.
 *
 * 1. Each sub-block, a lane, finds its own scale by trial steps and least squares (enc_search.h).
 * 2. d makes the largest of them -128; every sub-block then tries the integer scales around its own,
 *    its codes rounded anew, and keeps the one with the least weighted squared error.
 * 3. With all codes fixed, least squares gives a better d; sub-blocks try the neighbouring integers
 *    once more; kept if the block's error is lower.
 */
#include "kernels/enc_k.h"
#include "kernels/kernels.h"

enum { Q6_SUB = 16, Q6_SUBS = 16, Q6_GROUPS = Q6_SUBS / LANES };

/* Trials on either side of -32 and of 31 at the largest weight; how far the integer scales are
 * searched at first and after d changed; how often step 3 is repeated. At 6 bits the error of a
 * sub-block is mostly luck, so more trials keep helping, slowly. */
enum { Q6_TRIALS = 4, Q6_REACH = 8, Q6_REACH_AGAIN = 2, Q6_REFINEMENTS = 2 };

static const struct code_range q6_range = {-32.0F, 31.0F};

/* The block in units of its largest magnitude. */
struct q6_block {
    vf x[Q6_GROUPS][Q6_SUB];
    vf w[Q6_GROUPS][Q6_SUB]; /* only if weighted */
    bool weighted;
};

/* A way to store it. */
struct q6_grid {
    vf code[Q6_GROUPS]; /* integer scales */
    float d;            /* in units of the block */
    float error;
};

NB_LANES_INLINE const vf *q6_weights(const struct q6_block *b, int g)
{
    return b->weighted ? b->w[g] : NULL;
}

NB_LANES_INLINE vf q6_scale(const struct q6_block *b, int g)
{
    const vf peak = peak_of(b->x[g], Q6_SUB);
    const vf zero = vf_set(0.0F);
    const vf per_peak = vf_set(1.0F) / vf_select(vf_lt(zero, vf_abs(peak)), peak, vf_set(1.0F));
    struct sym_fit best = {zero, zero};
    for (int t = -Q6_TRIALS; t <= Q6_TRIALS; t++) {
        const float more = 0.7F * (float)t;
        sym_try(&best, b->x[g], q6_weights(b, g), Q6_SUB, per_peak * (-32.0F - more), q6_range);
        sym_try(&best, b->x[g], q6_weights(b, g), Q6_SUB, per_peak * (31.0F + more), q6_range);
    }
    return best.scale;
}

/* Tries the integer scales within `reach` of the ones in grid; sums the error. */
NB_LANES_INLINE void q6_search(const struct q6_block *b, struct q6_grid *grid, int reach)
{
    const vf d = vf_set(grid->d);
    const vf zero = vf_set(0.0F);
    float error[Q6_SUBS];
    for (int g = 0; g < Q6_GROUPS; g++) {
        const vf middle = grid->code[g];
        vf best = grid_error(b->x[g], q6_weights(b, g), Q6_SUB, d * middle, zero, q6_range);
        for (int k = -reach; k <= reach; k++) {
            if (k == 0)
                continue;
            const vf code = vf_min(vf_max(middle + (float)k, vf_set(-128.0F)), vf_set(127.0F));
            const vf e = grid_error(b->x[g], q6_weights(b, g), Q6_SUB, d * code, zero, q6_range);
            const vu better = vf_lt(e, best);
            grid->code[g] = vf_select(better, code, grid->code[g]);
            best = vf_select(better, e, best);
        }
        vf_store(error + g * LANES, best);
    }
    grid->error = sum_of(error, Q6_SUBS);
}

/* d by least squares over the whole block, its codes as they are. */
NB_LANES_INLINE float q6_best_d(const struct q6_block *b, const struct q6_grid *grid)
{
    float lx[Q6_SUBS];
    float l2[Q6_SUBS];
    for (int g = 0; g < Q6_GROUPS; g++) {
        const vf *w = q6_weights(b, g);
        const vf inv = vf_inverse(vf_set(grid->d) * grid->code[g]);
        vf sum_lx = vf_set(0.0F);
        vf sum_l2 = vf_set(0.0F);
        for (int i = 0; i < Q6_SUB; i++) {
            const vf l = vf_code(b->x[g][i] * inv, q6_range.lo, q6_range.hi) * grid->code[g];
            const vf wl = w != NULL ? w[i] * l : l;
            sum_lx += wl * b->x[g][i];
            sum_l2 += wl * l;
        }
        vf_store(lx + g * LANES, sum_lx);
        vf_store(l2 + g * LANES, sum_l2);
    }
    const float den = sum_of(l2, Q6_SUBS);
    return den > 0.0F ? sum_of(lx, Q6_SUBS) / den : grid->d;
}

/* The d whose code -128 is the scale of largest magnitude, and the codes of the others. */
NB_LANES_INLINE void q6_first(const struct q6_block *b, struct q6_grid *grid, float grow,
                              float shrink)
{
    float scale[Q6_SUBS];
    float peak = 0.0F;
    for (int g = 0; g < Q6_GROUPS; g++)
        vf_store(scale + g * LANES, q6_scale(b, g));
    for (int s = 0; s < Q6_SUBS; s++) {
        const float a = peak < 0.0F ? -peak : peak;
        peak = scale[s] > a || -scale[s] > a ? scale[s] : peak;
    }
    grid->d = via_f16(peak / -128.0F * grow) * shrink;
    const vf inv = vf_inverse(vf_set(grid->d));
    for (int g = 0; g < Q6_GROUPS; g++)
        grid->code[g] = vf_code(vf_load(scale + g * LANES) * inv, -128.0F, 127.0F);
}

NB_LANES_INLINE void q6_fit(struct nb_fit_k *out, struct q6_block *b, const float *x,
                            const float *w)
{
    const struct unit unit = k_unit(x);
    float grow[LANES];
    float shrink[LANES];
    vf_store(grow, unit.grow);
    vf_store(shrink, unit.shrink);
    b->weighted = w != NULL;
    for (int g = 0; g < Q6_GROUPS; g++) {
        vf_load_turned(b->x[g], x + g * LANES * Q6_SUB, Q6_SUB, LANES);
        for (int i = 0; i < Q6_SUB; i++)
            b->x[g][i] = unit_apply(b->x[g][i], unit.shrink);
        if (w != NULL)
            vf_load_turned(b->w[g], w + g * LANES * Q6_SUB, Q6_SUB, LANES);
    }
    struct q6_grid best;
    q6_first(b, &best, grow[0], shrink[0]);
    q6_search(b, &best, Q6_REACH);
    for (int round = 0; round < Q6_REFINEMENTS; round++) {
        struct q6_grid next = best;
        next.d = via_f16(q6_best_d(b, &best) * grow[0]) * shrink[0];
        q6_search(b, &next, Q6_REACH_AGAIN);
        if (!(next.error < best.error))
            break;
        best = next;
    }
    out->d = best.d * grow[0];
    for (int g = 0; g < Q6_GROUPS; g++) {
        uint32_t lane[LANES];
        vu_store(lane, vf_int_bits(best.code[g]));
        for (int l = 0; l < LANES; l++)
            out->scale_code[g * LANES + l] = (int16_t)(int32_t)lane[l];
        k_store_codes(out->codes + g * LANES * Q6_SUB, b->x[g], Q6_SUB,
                      vf_set(best.d) * best.code[g], vf_set(0.0F), q6_range);
    }
}

static __attribute__((noinline)) void q6_plain(struct nb_fit_k *out, const float *x)
{
    struct q6_block b;
    q6_fit(out, &b, x, NULL);
}

static __attribute__((noinline)) void q6_weighted(struct nb_fit_k *out, const float *x,
                                                  const float *w)
{
    struct q6_block b;
    q6_fit(out, &b, x, w);
}

void NB_LANES_NAME(fit_q6_k_f32)(struct nb_fit_k *out, const float *x, const float *w)
{
    memset(out, 0, sizeof *out);
    if (w == NULL)
        q6_plain(out, x);
    else
        q6_weighted(out, x, w);
}
