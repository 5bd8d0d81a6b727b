/* kernels/fit_sym_k.tmpl.h: the search of q3_k and q6_k: 16 sub-blocks of 16, signed integer scales, one
 * f16 d. fit_q3_k.tmpl.h and fit_q6_k.tmpl.h give the numbers:
 *
 *   SK_FIT                      the function's name
 *   SK_LO, SK_HI                codes
 *   SK_SCALE_LO, SK_SCALE_HI    integer scales
 *   SK_TRIALS, SK_STEP          trial steps on either side of SK_LO and of SK_HI at the largest weight
 *   SK_REACH, SK_REACH_AGAIN    how far integer scales are searched at first and after d changed
 *   SK_REFINEMENTS              how often step 3 is repeated at most
 *
 * 1. Each sub-block, a lane, finds its own scale by trial steps and least squares (enc_search.h). The
 *    levels are not symmetric, so the largest weight is tried at either end: the scale has a sign.
 * 2. Of the d that bring the largest of them near SK_SCALE_LO or SK_SCALE_HI, the one is taken that
 *    stores all scales with the least loss, to second order; every sub-block then tries the integer
 *    scales around its own, its codes rounded anew, and keeps the one with the least weighted squared error.
 * 3. With all codes fixed, least squares gives a better d; sub-blocks try the neighbouring integers
 *    once more; kept if the block's error is lower.
 */
#include "kernels/enc_k.h"
#include "kernels/kernels.h"

enum { SK_SUB = 16, SK_SUBS = 16, SK_GROUPS = SK_SUBS / LANES };

/* How many d are tried near either end, and how far apart, in integer scales of the largest. */
enum { SK_STEPS = 8 };
#define SK_STEPS_APART 1.0F

static const struct code_range sk_range = {SK_LO, SK_HI};

/* The block in units of its largest magnitude. */
struct sk_block {
    vf x[SK_GROUPS][SK_SUB];
    vf w[SK_GROUPS][SK_SUB]; /* only if weighted */
    vf wxx[SK_GROUPS];       /* S(w x x): the error of scale 0 */
    bool weighted;
};

/* A way to store it. */
struct sk_grid {
    vf code[SK_GROUPS]; /* integer scales */
    float d;            /* in units of the block */
    float error;
};

NB_LANES_INLINE const vf *sk_weights(const struct sk_block *b, int g)
{
    return b->weighted ? b->w[g] : NULL;
}

/* The best scale that keeps the largest weight inside the levels, and the best that clips it. */
NB_LANES_INLINE void sk_scales(struct sym_fit fit[2], const vf *x, const vf *w)
{
    const vf peak = peak_of(x, SK_SUB);
    const vf zero = vf_set(0.0F);
    const vf per_peak = vf_set(1.0F) / vf_select(vf_lt(zero, vf_abs(peak)), peak, vf_set(1.0F));
    for (int clip = 0; clip < 2; clip++) {
        struct sym_fit best = {zero, zero, zero};
        for (int t = clip; t <= SK_TRIALS; t++) {
            const float more = (clip ? SK_STEP : -SK_STEP) * (float)t;
            sym_try(&best, x, w, SK_SUB, per_peak * (SK_LO + more), sk_range);
            sym_try(&best, x, w, SK_SUB, per_peak * (SK_HI - more), sk_range);
        }
        fit[clip] = best;
    }
}

/* Each step twice, without and with weights, and not inline: frames are bounded. */
#define SK_NOINLINE static __attribute__((noinline))

SK_NOINLINE void sk_scales_plain(struct sym_fit fit[2], const vf *x)
{
    sk_scales(fit, x, NULL);
}

SK_NOINLINE void sk_scales_weighted(struct sym_fit fit[2], const vf *x, const vf *w)
{
    sk_scales(fit, x, w);
}

/* Tries the integer scales within `reach` of the ones in grid; sums the error. */
NB_LANES_INLINE void sk_try_codes(const struct sk_block *b, struct sk_grid *grid, bool weighted,
                                  int reach)
{
    const vf zero = vf_set(0.0F);
    float error[SK_SUBS];
    for (int g = 0; g < SK_GROUPS; g++) {
        const vf middle = grid->code[g];
        vf best = vf_set(1e30F);
        for (int k = -reach; k <= reach; k++) {
            const vf code = vf_min(vf_max(middle + (float)k, vf_set(SK_SCALE_LO)), vf_set(SK_SCALE_HI));
            const vf scale = code * grid->d;
            const struct k_trial trial = {scale, vf_inverse(scale), zero, false};
            const vf e = vf_select(vf_lt(zero, vf_abs(scale)),
                                   k_error(&trial, b->x[g], weighted ? b->w[g] : NULL, SK_SUB, sk_range),
                                   b->wxx[g]);
            const vu better = vf_lt(e, best);
            grid->code[g] = vf_select(better, code, grid->code[g]);
            best = vf_select(better, e, best);
        }
        vf_store(error + g * LANES, best);
    }
    grid->error = sum_of(error, SK_SUBS);
}

SK_NOINLINE void sk_codes_plain(const struct sk_block *b, struct sk_grid *grid, int reach)
{
    sk_try_codes(b, grid, false, reach);
}

SK_NOINLINE void sk_codes_weighted(const struct sk_block *b, struct sk_grid *grid, int reach)
{
    sk_try_codes(b, grid, true, reach);
}

NB_LANES_INLINE void sk_search(const struct sk_block *b, struct sk_grid *grid, int reach)
{
    if (b->weighted)
        sk_codes_weighted(b, grid, reach);
    else
        sk_codes_plain(b, grid, reach);
}

/* d by least squares over the whole block, its codes as they are. */
NB_LANES_INLINE float sk_best_d(const struct sk_block *b, const struct sk_grid *grid)
{
    float lx[SK_SUBS];
    float l2[SK_SUBS];
    for (int g = 0; g < SK_GROUPS; g++) {
        const vf *w = sk_weights(b, g);
        const vf inv = vf_inverse(vf_set(grid->d) * grid->code[g]);
        vf sum_lx = vf_set(0.0F);
        vf sum_l2 = vf_set(0.0F);
        for (int i = 0; i < SK_SUB; i++) {
            const vf l = vf_code(b->x[g][i] * inv, sk_range.lo, sk_range.hi) * grid->code[g];
            const vf wl = w != NULL ? w[i] * l : l;
            sum_lx += wl * b->x[g][i];
            sum_l2 += wl * l;
        }
        vf_store(lx + g * LANES, sum_lx);
        vf_store(l2 + g * LANES, sum_l2);
    }
    const float den = sum_of(l2, SK_SUBS);
    return den > 0.0F ? sum_of(lx, SK_SUBS) / den : grid->d;
}

/* Two ways to store each sub-block: scales, what they lose at least, and how fast they lose more. */
struct sk_choice {
    float scale[2][SK_SUBS], loss[2][SK_SUBS], curve[2][SK_SUBS];
};

NB_LANES_INLINE vf sk_code(vf scale, vf inv)
{
    return vf_code(scale * inv, SK_SCALE_LO, SK_SCALE_HI);
}

/* A lane is a d: what the block loses with it, to second order, each sub-block taking its better way. */
NB_LANES_INLINE vf sk_loss(const struct sk_choice *c, vf d)
{
    const vf inv = vf_inverse(d);
    vf sum = vf_set(0.0F);
    for (int s = 0; s < SK_SUBS; s++) {
        vf loss[2];
        for (int way = 0; way < 2; way++) {
            const vf scale = vf_set(c->scale[way][s]);
            const vf diff = scale - d * sk_code(scale, inv);
            loss[way] = c->loss[way][s] + c->curve[way][s] * diff * diff;
        }
        sum += vf_min(loss[0], loss[1]);
    }
    return sum;
}

/* The steps that bring `peak` near either end of the integer scales. */
NB_LANES_INLINE void sk_steps(float *step, float peak)
{
    for (int k = 0; k < SK_STEPS; k++) {
        const float more = SK_STEPS_APART * (float)(k - 6);
        step[k] = peak / (SK_SCALE_LO - more);
        step[SK_STEPS + k] = peak / (SK_SCALE_HI + more);
    }
}

/* Of the d that fit the largest scale, or the largest that cannot be had smaller, the best. */
NB_LANES_INLINE float sk_first_d(const struct sk_choice *c)
{
    float step[4 * SK_STEPS];
    float peak[2] = {0.0F, 0.0F};
    for (int s = 0; s < SK_SUBS; s++) {
        const float a = c->scale[0][s] < 0.0F ? -c->scale[0][s] : c->scale[0][s];
        const float b = c->scale[1][s] < 0.0F ? -c->scale[1][s] : c->scale[1][s];
        const float low = a < b ? a : b;
        const float high = a < b ? b : a;
        peak[0] = high > peak[0] ? high : peak[0];
        peak[1] = low > peak[1] ? low : peak[1];
    }
    sk_steps(step, peak[0]);
    sk_steps(step + 2 * SK_STEPS, peak[1]);
    float best = step[0];
    float best_loss = 1e30F;
    for (int k = 0; k < 4 * SK_STEPS; k += LANES) {
        float loss[LANES];
        vf_store(loss, sk_loss(c, vf_load(step + k)));
        for (int l = 0; l < LANES; l++) {
            if (loss[l] < best_loss) {
                best_loss = loss[l];
                best = step[k + l];
            }
        }
    }
    return best;
}

/* The d that suits the scales best, and their codes. */
SK_NOINLINE void sk_first(const struct sk_block *b, struct sk_grid *grid, float grow,
                              float shrink)
{
    struct sk_choice c;
    struct sym_fit fit[SK_GROUPS][2];
    for (int g = 0; g < SK_GROUPS; g++) {
        if (b->weighted)
            sk_scales_weighted(fit[g], b->x[g], b->w[g]);
        else
            sk_scales_plain(fit[g], b->x[g]);
        for (int way = 0; way < 2; way++) {
            vf_store(c.scale[way] + g * LANES, fit[g][way].scale);
            vf_store(c.loss[way] + g * LANES, vf_set(0.0F) - fit[g][way].gain);
            vf_store(c.curve[way] + g * LANES, fit[g][way].curve);
        }
    }
    grid->d = via_f16(sk_first_d(&c) * grow) * shrink;
    const vf d = vf_set(grid->d);
    const vf inv = vf_inverse(d);
    for (int g = 0; g < SK_GROUPS; g++) {
        vf code[2];
        vf loss[2];
        for (int way = 0; way < 2; way++) {
            const struct sym_fit *f = &fit[g][way];
            code[way] = sk_code(f->scale, inv);
            const vf diff = f->scale - d * code[way];
            loss[way] = f->curve * diff * diff - f->gain;
        }
        grid->code[g] = vf_select(vf_lt(loss[1], loss[0]), code[1], code[0]);
    }
}

NB_LANES_INLINE void sk_fit(struct nb_fit_k *out, struct sk_block *b, const float *x,
                            const float *w)
{
    const struct unit unit = k_unit(x);
    float grow[LANES];
    float shrink[LANES];
    vf_store(grow, unit.grow);
    vf_store(shrink, unit.shrink);
    b->weighted = w != NULL;
    for (int g = 0; g < SK_GROUPS; g++) {
        vf_load_turned(b->x[g], x + g * LANES * SK_SUB, SK_SUB, LANES);
        for (int i = 0; i < SK_SUB; i++)
            b->x[g][i] = unit_apply(b->x[g][i], unit.shrink);
        if (w != NULL)
            vf_load_turned(b->w[g], w + g * LANES * SK_SUB, SK_SUB, LANES);
        b->wxx[g] = vf_set(0.0F);
        for (int i = 0; i < SK_SUB; i++)
            b->wxx[g] += (w != NULL ? b->w[g][i] * b->x[g][i] : b->x[g][i]) * b->x[g][i];
    }
    struct sk_grid best;
    sk_first(b, &best, grow[0], shrink[0]);
    sk_search(b, &best, SK_REACH);
    for (int round = 0; round < SK_REFINEMENTS; round++) {
        struct sk_grid next = best;
        next.d = via_f16(sk_best_d(b, &best) * grow[0]) * shrink[0];
        sk_search(b, &next, SK_REACH_AGAIN);
        if (!(next.error < best.error))
            break;
        best = next;
    }
    out->d = best.d * grow[0];
    for (int g = 0; g < SK_GROUPS; g++) {
        uint32_t lane[LANES];
        vu_store(lane, vf_int_bits(best.code[g]));
        for (int l = 0; l < LANES; l++)
            out->scale_code[g * LANES + l] = (int16_t)(int32_t)lane[l];
        k_store_codes(out->codes + g * LANES * SK_SUB, b->x[g], SK_SUB,
                      vf_set(best.d) * best.code[g], vf_set(0.0F), sk_range);
    }
}

SK_NOINLINE void sk_plain(struct nb_fit_k *out, const float *x)
{
    struct sk_block b;
    sk_fit(out, &b, x, NULL);
}

SK_NOINLINE void sk_weighted(struct nb_fit_k *out, const float *x, const float *w)
{
    struct sk_block b;
    sk_fit(out, &b, x, w);
}

void SK_FIT(struct nb_fit_k *out, const float *x, const float *w)
{
    memset(out, 0, sizeof *out);
    if (w == NULL)
        sk_plain(out, x);
    else
        sk_weighted(out, x, w);
}
