/* quant/awq.c: AWQ as published (Lin et al. 2023, arXiv:2306.00978): the transform `awq` with its loss measured
 * (transform_awq.c, transform_measure.c), H of the float model, and the clip search, which is here.
 *
 * Each group of a row by itself: its weights are clipped to a share 1, 19/20 .. 11/20 of the largest, rounded
 * to nearest in the range that is left, and the share is kept whose group output errs least, e H_gg e^T over
 * the tokens of H (as published: over 512 sampled ones). q and k, also fused with v, are rounded unclipped: their product
 * takes clipping badly.
 */
#include "quant/algo_internal.h"

#include <math.h>

#include "kernels/kernels.h"
#include "numfmt/grid.h"

#define SHARES 10
#define GRID   20

/* polish: for H in floats; rows are not polished. */
static const struct nb_algo_params params = {
    .damp = 0.01,
    .weigh = NB_WEIGH_NONE,
    .polish = 1,
    .polish_damp = 0.0,
};

static bool supports(const struct nb_coder *c)
{
    return c->dim == 1 && !c->fixed && c->own_levels == 0;
}

/* A group of a row: n columns from `at` on. */
struct group {
    struct nb_row_work *k;
    uint64_t row;
    size_t r, b, at, n;
};

/* Rounds the group clipped to limit: grid, codes, values. */
static void round_clipped(const struct group *p, float limit)
{
    struct nb_row_work *k = p->k;
    struct nb_grid *g = &k->grids[p->r * k->coder->n_blocks + p->b];
    const size_t at = p->r * k->p->n + p->at;
    for (size_t i = 0; i < p->n; i++) {
        const float x = k->target[at + i];
        k->x[i] = x > limit ? limit : (x < -limit ? -limit : x);
    }
    nb_coder_fit(k->coder, p->row, p->b, g, k->x, NULL);
    for (uint32_t i = 0; i < p->n; i++)
        nb_coder_round(k->coder, g, i, k->x + i, NULL, k->codes + at + i, k->values + at + i);
}

/* e H_gg e^T */
static double loss_of(const struct group *p)
{
    const struct nb_kernels *kern = nb_kernels_get();
    const struct nb_row_work *k = p->k;
    const size_t n = k->p->n, at = p->r * n + p->at;
    double sum = 0.0;
    for (size_t i = 0; i < p->n; i++)
        k->level[i] = k->target[at + i] - k->values[at + i];
    for (size_t i = 0; i < p->n; i++) {
        const float *h = k->p->moments + (p->at + i) * n + p->at;
        sum += (double)k->level[i] * (double)kern->dot_f32_f32(h, k->level, p->n);
    }
    return sum;
}

static void clip(const struct group *p)
{
    const float *x = p->k->target + p->r * p->k->p->n + p->at;
    float amax = 0.0F, best = 0.0F;
    double least = INFINITY;
    for (size_t i = 0; i < p->n; i++)
        amax = fmaxf(amax, fabsf(x[i]));
    for (int s = 0; s < SHARES; s++) {
        const float limit = amax * (1.0F - (float)s / (float)GRID);
        round_clipped(p, limit);
        const double loss = loss_of(p);
        if (loss < least) {
            least = loss;
            best = limit;
        }
    }
    round_clipped(p, best);
}

static bool is_clipped(enum nb_role role)
{
    return role != NB_ROLE_ATTN_Q && role != NB_ROLE_ATTN_K && role != NB_ROLE_ATTN_QKV;
}

static enum nb_status round_rows(struct nb_row_work *k, uint64_t row, size_t n_rows,
                                 struct nb_error *err)
{
    struct nb_coder *c = k->coder;
    (void)err;
    if (!is_clipped(k->role)) {
        nb_algo_round_plain(k, row, n_rows, NULL);
        return NB_OK;
    }
    for (size_t r = 0; r < n_rows; r++) {
        nb_coder_row(c, row + r, k->target + r * k->p->n, NULL);
        for (size_t b = 0; b < c->n_blocks; b++)
            clip(&(struct group){.k = k,
                                 .row = row + r,
                                 .r = r,
                                 .b = b,
                                 .at = b * c->block,
                                 .n = nb_coder_block_cols(c, b)});
    }
    return NB_OK;
}

const struct nb_algo nb_algo_awq = {
    .name = "awq",
    .summary = "AWQ as published: measured scales of columns, clip search, plain rounding",
    .needs = NB_NEEDS_H,
    .params = &params,
    .scale_search = "minmax",
    .transform = "awq",
    .as_published = NB_PUBLISHED_NO_SHIFT | NB_PUBLISHED_FLOAT_PREFIX,
    .supports = supports,
    .round = round_rows,
};
