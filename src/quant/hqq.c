/* quant/hqq.c: half-quadratic quantization (Badri and Shaji 2023, mobiusml.github.io/hqq_blog): no data; the
 * zero point of each group, in half precision, is moved to where few large errors are left.
 *
 *   min over z of |W - Q(W)|_p^p, p = 0.7, the scale that of the range; repeated up to 20 times:
 *   Q = round(W / s + z),  R = s (Q - z),  r = W - R,
 *   e = sign(r) max(0, |r| - |r|^(p-1) / beta),  z = mean of (Q - (W - e) / s),  beta times 1.01
 *
 * The paper stops when the mean |r| of the tensor grows; rows are independent here, so each group stops by
 * itself and keeps its best zero. Here for comparison: it is a problem in one number a group, and a
 * search over scale and zero by squared error (rtn with "mse") beats it wherever H decides.
 */
#include "quant/algo_internal.h"

#include <math.h>
#include <string.h>

#include "math/math.h"
#include "numfmt/grid.h"

#define ROUNDS 20
#define P      0.7
#define BETA   10.0
#define GROWTH 1.01

static const struct nb_algo_params params = {
    .damp = 0.01,
    .weigh = NB_WEIGH_NONE,
};

static bool supports(const struct nb_coder *c)
{
    const struct nb_gridfmt *g = c->type->grid;
    return c->type->kind == NB_NUMFMT_GRID && g->elem->uniform && g->zero == NB_ZERO_F16 &&
           !c->fixed;
}

/* A group: n numbers. */
struct group {
    struct nb_coder *c;
    struct nb_grid *g;
    const float *x;
    int16_t *codes;
    float *values;
    uint32_t n;
};

/* Rounds with this zero, as it is stored. Returns the mean error. */
static double round_group(const struct group *p, float zero)
{
    double sum = 0.0;
    p->g->dmin = nb_f16_to_f32(nb_f32_to_f16(zero));
    p->g->offset[0] = -(p->g->scale[0] * p->g->dmin);
    for (uint32_t i = 0; i < p->n; i++) {
        nb_coder_round(p->c, p->g, i, p->x + i, NULL, p->codes + i, p->values + i);
        sum += fabs((double)p->x[i] - (double)p->values[i]);
    }
    return sum / (double)p->n;
}

static double shrink(double r, double beta)
{
    const double a = fabs(r);
    if (a == 0.0)
        return 0.0;
    const double left = a - nb_pow(a, P - 1.0) / beta;
    return left > 0.0 ? copysign(left, r) : 0.0;
}

static double next_zero(const struct group *p, double beta)
{
    const double s = (double)p->g->scale[0];
    double sum = 0.0;
    for (uint32_t i = 0; i < p->n; i++) {
        const double e = shrink((double)p->x[i] - (double)p->values[i], beta);
        sum += (double)p->codes[i] - ((double)p->x[i] - e) / s;
    }
    return sum / (double)p->n;
}

static void refine(const struct group *p)
{
    float best = p->g->dmin;
    double beta = BETA, least = round_group(p, best);
    if (!(p->g->scale[0] > 0.0F) || !isfinite(p->g->scale[0]))
        return;
    for (int k = 0; k < ROUNDS; k++, beta *= GROWTH) {
        const float zero = (float)next_zero(p, beta);
        const double error = round_group(p, zero);
        if (!(error < least))
            break;
        least = error;
        best = zero;
    }
    (void)round_group(p, best);
}

static enum nb_status round_rows(struct nb_row_work *k, uint64_t row, size_t n_rows,
                                 struct nb_error *err)
{
    struct nb_coder *c = k->coder;
    (void)err;
    nb_algo_round_plain(k, row, n_rows, NULL);
    for (size_t i = 0; i < n_rows * c->n_blocks; i++) {
        const size_t at = i / c->n_blocks * k->p->n + i % c->n_blocks * c->block;
        refine(&(struct group){.c = c,
                               .g = &k->grids[i],
                               .x = k->target + at,
                               .codes = k->codes + at,
                               .values = k->values + at,
                               .n = nb_coder_block_cols(c, i % c->n_blocks)});
    }
    return NB_OK;
}

const struct nb_algo nb_algo_hqq = {
    .name = "hqq",
    .summary = "half-quadratic zero points, as published: needs no text, grids with f16 zeros",
    .needs = 0,
    .params = &params,
    .scale_search = "minmax",
    .as_published = NB_PUBLISHED_NO_SHIFT,
    .supports = supports,
    .round = round_rows,
};
