/* quant/feedback.c: rounding rows column by column, each error passed on to the columns still to come.
 *
 *   target of place j:  t_j = w_j - sum_{i < j} (t_i - q_i) U_ij / U_ii         (GPTQ, arXiv 2210.17323)
 *
 * which is LDLQ (arXiv 2307.13304) and Babai's nearest plane (arXiv 2507.18553) in another order of columns;
 * code words of several columns are one step of block LDL (arXiv 2402.04396). The loss is sum D_i (t_i - q_i)^2,
 * so D_i is what an error weighs when scales are fitted; published GPTQ fits them unweighted.
 *
 * Scales are fitted to the moving targets when their block's turn comes, and (NB_FIT_LATE) each sub-block's once
 * more at its own turn, with what the whole block shares frozen. Errors go at once to the columns of the same
 * panel, and to all others after it. Every element is one chain of fma over the places before it, in
 * order, whatever the panel: the width of panels changes no bit.
 */
#include "quant/algo_internal.h"

#include <string.h>

#include "kernels/kernels.h"
#include "math/linalg.h"

/* ---- rounding by itself ---- */

static void round_block(struct nb_row_work *k, const struct nb_grid *g, size_t r, size_t b,
                        const float *weight)
{
    struct nb_coder *c = k->coder;
    const size_t at = b * c->block, row = r * k->p->n;
    const uint32_t n = nb_coder_block_cols(c, b);
    for (uint32_t i = 0; i < n; i += c->dim)
        nb_coder_round(c, g, i, k->target + row + at + i, weight != NULL ? weight + at + i : NULL,
                       k->codes + row + at + i, k->values + row + at + i);
}

void nb_algo_round_plain(struct nb_row_work *k, uint64_t row, size_t n_rows, const float *weight)
{
    struct nb_coder *c = k->coder;
    for (size_t r = 0; r < n_rows; r++) {
        const float *x = k->target + r * k->p->n;
        nb_coder_row(c, row + r, x, weight);
        for (size_t b = 0; b < c->n_blocks; b++) {
            struct nb_grid *g = &k->grids[r * c->n_blocks + b];
            nb_coder_fit(c, row + r, b, g, x + b * c->block,
                         weight != NULL ? weight + b * c->block : NULL);
            round_block(k, g, r, b, weight);
        }
    }
}

/* ---- with feedback ---- */

/* A panel of places [begin, end) of one row. */
struct panel {
    size_t begin, end;
    uint64_t row; /* in the tensor */
    size_t r;     /* in the chunk  */
};

/* n places from p on hold the columns [at, at + n) in some order: their moving targets by column. */
static void gather(struct nb_row_work *k, size_t r, size_t p, size_t at, size_t n)
{
    const uint32_t *order = k->p->order + p;
    const float *t = k->moving + r * k->p->n + p;
    for (size_t i = 0; i < n; i++)
        k->x[order[i] - at] = t[i];
}

static const float *weights_at(const struct nb_prepared *p, size_t column)
{
    return p->weight != NULL ? p->weight + column : NULL;
}

/* Does place p begin a run of columns that share column / width? */
static bool begins(const struct nb_prepared *p, size_t place, uint32_t width)
{
    return place == 0 || p->order[place] / width != p->order[place - 1] / width;
}

/* Weighted squared error of n columns from column i of a block on, values in k->x. */
static double error_of(struct nb_row_work *k, const struct nb_grid *g, uint32_t i, uint32_t n,
                       const float *w)
{
    int16_t codes[NB_ALGO_MAX_WORD];
    float y[NB_ALGO_MAX_WORD];
    double sum = 0.0;
    for (uint32_t at = 0; at < n; at += k->coder->dim) {
        nb_coder_round(k->coder, g, i + at, k->x + at, w != NULL ? w + at : NULL, codes, y);
        for (uint32_t j = 0; j < k->coder->dim; j++) {
            const double e = (double)k->x[at + j] - (double)y[j];
            sum += e * e * (w != NULL ? (double)w[at + j] : 1.0);
        }
    }
    return sum;
}

/* Sub-block `sub` of block b at place p, again: what the block's fit gave it stays if it is better. */
static void fit_again(struct nb_row_work *k, const struct panel *l, size_t p, size_t b,
                      uint32_t sub)
{
    struct nb_coder *c = k->coder;
    const size_t first = b * c->block + (size_t)sub * c->sub;
    const uint32_t i = sub * c->sub;
    const float *w = weights_at(k->p, first);
    struct nb_grid *g = &k->grids[l->r * c->n_blocks + b];
    const struct nb_grid before = *g;
    gather(k, l->r, p, first, c->sub);
    nb_coder_refit(c, g, sub, k->x, w);
    if (memcmp(&before, g, sizeof before) != 0 &&
        error_of(k, g, i, c->sub, w) > error_of(k, &before, i, c->sub, w))
        *g = before;
}

/* Fits what begins at place p: its block, or its sub-block again. */
static void fit_here(struct nb_row_work *k, const struct panel *l, size_t p)
{
    const struct nb_prepared *s = k->p;
    struct nb_coder *c = k->coder;
    const size_t b = s->order[p] / c->block, first = b * c->block;
    if (begins(s, p, c->block)) {
        gather(k, l->r, p, first, nb_coder_block_cols(c, b));
        nb_coder_fit(c, l->row, b, &k->grids[l->r * c->n_blocks + b], k->x, weights_at(s, first));
    }
    if (s->params.fit == NB_FIT_LATE && c->sub < c->block && begins(s, p, c->sub))
        fit_again(k, l, p, b, (uint32_t)((s->order[p] - first) / c->sub));
}

/* e D e^T of a word's error. */
static double cost(const float *schur, const float *e, uint32_t dim)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < dim; i++)
        for (uint32_t j = 0; j < dim; j++)
            sum += (double)e[i] * (double)e[j] * (double)schur[i * dim + j];
    return sum;
}

/* Rounds the columns of a panel in one row and passes errors on within it. What rounding cost. */
static double round_panel(struct nb_row_work *k, const struct panel *l)
{
    const struct nb_kernels *kernels = nb_kernels_get();
    const struct nb_prepared *s = k->p;
    struct nb_coder *c = k->coder;
    const size_t n = s->n, row = l->r * n;
    const uint32_t dim = c->dim;
    float *t = k->moving + row, *e = k->error + l->r * k->lazy, w[NB_ALGO_MAX_WORD];
    double sum = 0.0;
    for (size_t p = l->begin; p < l->end; p += dim) {
        const size_t col = s->order[p];
        if (s->params.fit != NB_FIT_STATIC)
            fit_here(k, l, p);
        for (uint32_t i = 0; i < dim && dim > 1; i++)
            w[i] = s->schur[(p + i) * dim + i];
        nb_coder_round(c, &k->grids[l->r * c->n_blocks + col / c->block],
                       (uint32_t)(col % c->block), t + p, dim > 1 ? w : NULL, k->codes + row + col,
                       k->values + row + col);
        float *ep = e + (p - l->begin);
        for (uint32_t i = 0; i < dim; i++)
            ep[i] = t[p + i] - k->values[row + col + i];
        for (uint32_t i = 0; i < dim && p + dim < l->end; i++)
            kernels->axpy_f32_f32(t + p + dim, -ep[i], s->feedback + (p + i) * n + p + dim,
                                  l->end - p - dim);
        sum += cost(s->schur + p * dim, ep, dim);
    }
    return sum;
}

/* Past the last place of the block that place p is in. */
static size_t block_end(const struct nb_row_work *k, size_t p)
{
    const uint32_t block = k->coder->block;
    for (p++; p < k->p->n && !begins(k->p, p, block); p++) {
    }
    return p;
}

uint32_t nb_algo_panel(const struct nb_prepared *p)
{
    const struct nb_algo_layout l = p->job.layout;
    const uint32_t unit = l.sub < l.block ? l.sub : l.dim;
    const uint32_t lazy = p->params.lazy > 0 ? p->params.lazy : NB_ALGO_LAZY;
    return lazy < unit ? unit : lazy - lazy % unit;
}

/* Where the panel that begins here ends: whole blocks, or a part of one that is larger than a panel, so that
 * whatever is to be fitted inside has all earlier errors. */
static size_t panel_end(const struct nb_row_work *k, size_t begin)
{
    const size_t n = k->p->n;
    if (k->p->params.order == NB_ORDER_FULL)
        return NB_MIN(begin + k->lazy, n);
    size_t end = block_end(k, begin);
    if (end - begin > k->lazy)
        return begin + k->lazy;
    while (end < n) {
        const size_t next = block_end(k, end);
        if (next - begin > k->lazy)
            break;
        end = next;
    }
    return end;
}

/* All targets in working order, and what is fitted before anything is rounded. */
static void begin_rows(struct nb_row_work *k, uint64_t row, size_t n_rows)
{
    const struct nb_prepared *s = k->p;
    struct nb_coder *c = k->coder;
    for (size_t r = 0; r < n_rows; r++) {
        const float *x = k->target + r * s->n;
        for (size_t p = 0; p < s->n; p++)
            k->moving[r * s->n + p] = x[s->order[p]];
        nb_coder_row(c, row + r, x, s->weight);
        for (size_t b = 0; b < c->n_blocks && s->params.fit == NB_FIT_STATIC; b++)
            nb_coder_fit(c, row + r, b, &k->grids[r * c->n_blocks + b], x + b * c->block,
                         weights_at(s, b * c->block));
    }
}

double nb_algo_round_feedback(struct nb_row_work *k, uint64_t row, size_t n_rows)
{
    const size_t n = k->p->n;
    double sum = 0.0;
    size_t end = 0;
    begin_rows(k, row, n_rows);
    for (size_t begin = 0; begin < n; begin = end) {
        end = panel_end(k, begin);
        for (size_t r = 0; r < n_rows; r++) {
            const struct panel l = {begin, end, row + r, r};
            sum += round_panel(k, &l);
        }
        if (end < n)
            nb_gemm_sub_f32(k->moving + end, n, k->error, k->lazy, k->p->feedback + begin * n + end,
                            n, n_rows, end - begin, n - end);
    }
    return sum;
}
