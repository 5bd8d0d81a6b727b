/* quant/polish_rows.c: coordinate descent on the loss of rows that are rounded, from any start.
 *
 * With E = W - Q and G = E H, the best change of one value is G_i / H_ii; the nearest stored value to that is
 * taken if the loss really falls (QuIP#, Tseng et al. 2024, arXiv 2402.04396, rounds its code words again like
 * this). Passes over the codes alternate with least squares of the scales (polish_scales.c).
 *
 * H is an estimate. Where moments of tokens that it does not hold are given, a round that makes a row worse by
 * their measure is undone, and the row left alone. They are an estimate too: worse means by more than 1 /
 * sqrt(tokens) of the best so far, 0.7 standard errors of such a sum of squares.
 */
#include "quant/algo_internal.h"

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "math/linalg.h"
#include "numfmt/grid.h"

enum { PASSES = 2 }; /* over the codes, in a round */

#define ENOUGH 1e-3 /* a round that gains a smaller share of the loss is the last */

/* Least distance of two levels, for changes not worth a look; 0: not known. */
static float level_gap(const struct nb_coder *c)
{
    const struct nb_gridfmt *g = c->type->grid;
    return g == NULL || g->elem->uniform ? 1.0F : 0.0F;
}

/* Code of column `col` (column i of the block of g) as good as it gets. How much the loss fell. */
static double descend_scalar(struct nb_row_work *k, size_t r, const struct nb_grid *g, uint32_t i,
                             size_t col)
{
    const struct nb_prepared *p = k->p;
    const size_t at = r * p->n + col;
    const float h = p->stiffness[col], x = k->values[at] + k->g[at] / h;
    int16_t code;
    float y;
    nb_coder_round(k->coder, g, i, &x, NULL, &code, &y);
    const float dv = y - k->values[at];
    const double change = (double)dv * ((double)h * (double)dv - 2.0 * (double)k->g[at]);
    if (code == k->codes[at] || !(change < 0.0))
        return 0.0;
    k->codes[at] = code;
    k->values[at] = y;
    nb_kernels_get()->axpy_f32_f32(k->g + r * p->n, -dv, p->moments + col * p->n, p->n);
    return -change;
}

/* What the loss changes by when a word's values change by dv. g: E H there. */
static double word_change(const struct nb_prepared *p, size_t col, const float *dv, const float *g,
                          uint32_t dim)
{
    double change = 0.0;
    for (uint32_t i = 0; i < dim; i++) {
        const float *h = p->moments + (col + i) * p->n + col;
        double push = 0.0;
        for (uint32_t j = 0; j < dim; j++)
            push += (double)h[j] * (double)dv[j];
        change += (double)dv[i] * (push - 2.0 * (double)g[i]);
    }
    return change;
}

/* The same for a whole code word. */
static double descend_word(struct nb_row_work *k, size_t r, const struct nb_grid *g, uint32_t i,
                           size_t col)
{
    const struct nb_prepared *p = k->p;
    const uint32_t dim = k->coder->dim;
    const size_t at = r * p->n + col;
    float x[NB_ALGO_MAX_WORD], y[NB_ALGO_MAX_WORD], dv[NB_ALGO_MAX_WORD];
    int16_t codes[NB_ALGO_MAX_WORD];
    for (uint32_t j = 0; j < dim; j++)
        x[j] = k->values[at + j] + k->g[at + j] / p->stiffness[col + j];
    nb_coder_round(k->coder, g, i, x, p->stiffness + col, codes, y);
    if (memcmp(codes, k->codes + at, dim * sizeof *codes) == 0)
        return 0.0;
    for (uint32_t j = 0; j < dim; j++)
        dv[j] = y[j] - k->values[at + j];
    const double change = word_change(p, col, dv, k->g + at, dim);
    if (!(change < 0.0))
        return 0.0;
    memcpy(k->codes + at, codes, dim * sizeof *codes);
    memcpy(k->values + at, y, dim * sizeof *y);
    for (uint32_t j = 0; j < dim; j++)
        nb_kernels_get()->axpy_f32_f32(k->g + r * p->n, -dv[j], p->moments + (col + j) * p->n,
                                       p->n);
    return -change;
}

/* One pass over the codes of row r. How much the loss fell. */
static double descend(struct nb_row_work *k, size_t r)
{
    const struct nb_coder *c = k->coder;
    const float gap = 0.5F * level_gap(c);
    double gain = 0.0;
    for (size_t b = 0; b < c->n_blocks; b++) {
        const struct nb_grid *g = &k->grids[r * c->n_blocks + b];
        const uint32_t n = nb_coder_block_cols(c, b);
        for (uint32_t i = 0; i < n; i += c->dim) {
            const size_t col = b * c->block + i;
            if (c->dim > 1) {
                gain += descend_word(k, r, g, i, col);
                continue;
            }
            const float reach = gap * fabsf(g->scale[i / c->sub]) * k->p->stiffness[col];
            if (fabsf(k->g[r * k->p->n + col]) > reach)
                gain += descend_scalar(k, r, g, i, col);
        }
    }
    return gain;
}

double nb_algo_move(struct nb_row_work *k, size_t r, size_t at, size_t n)
{
    const struct nb_prepared *p = k->p;
    const struct nb_kernels *kernels = nb_kernels_get();
    float *value = k->values + r * p->n + at, *g = k->g + r * p->n;
    double change = 0.0;
    memset(k->push, 0, p->n * sizeof *k->push);
    for (size_t i = 0; i < n; i++)
        if (k->next[i] != value[i])
            kernels->axpy_f32_f32(k->push, k->next[i] - value[i], p->moments + (at + i) * p->n,
                                  p->n);
    for (size_t i = 0; i < n; i++)
        change +=
            (double)(k->next[i] - value[i]) * ((double)k->push[at + i] - 2.0 * (double)g[at + i]);
    if (!(change < 0.0))
        return 0.0;
    kernels->axpy_f32_f32(g, -1.0F, k->push, p->n);
    memcpy(value, k->next, n * sizeof *value);
    return -change;
}

/* ---- rows of a chunk, round by round ---- */

/* Owns: nothing. */
struct rows {
    size_t n;
    bool active[NB_ALGO_CHUNK];
    double loss[NB_ALGO_CHUNK]; /* on H, damped              */
    double held[NB_ALGO_CHUNK]; /* the least so far          */
    double gain[NB_ALGO_CHUNK]; /* up to the state that is kept */
    double more[NB_ALGO_CHUNK]; /* since then */
};

/* G = E H of all rows, and their losses. */
static void start(struct nb_row_work *k, struct rows *s)
{
    const size_t n = k->p->n;
    for (size_t i = 0; i < s->n * n; i++)
        k->e[i] = k->values[i] - k->target[i];
    memset(k->g, 0, s->n * n * sizeof *k->g);
    nb_gemm_sub_f32(k->g, n, k->e, n, k->p->moments, n, s->n, n, n);
    for (size_t r = 0; r < s->n; r++) {
        s->active[r] = true;
        s->loss[r] = s->gain[r] = s->more[r] = 0.0;
        for (size_t i = r * n; i < (r + 1) * n; i++)
            s->loss[r] -= (double)k->e[i] * (double)k->g[i];
    }
}

static enum nb_status measure_held(struct nb_row_work *k, size_t n_rows, struct nb_error *err)
{
    const size_t n = k->p->n;
    for (size_t i = 0; i < n_rows * n; i++)
        k->e[i] = k->target[i] - k->values[i];
    return nb_algo_losses(k->p, k->loss, k->e, n_rows, true, err);
}

/* The state of row r becomes the kept one, or the kept one its state. */
static void copy_row(struct nb_row_work *k, size_t r, bool keep)
{
    const size_t n = k->p->n, nb = k->coder->n_blocks, levels = k->coder->own_levels;
    struct nb_grid *to = (keep ? k->best_grids : k->grids) + r * nb;
    const struct nb_grid *from = (keep ? k->grids : k->best_grids) + r * nb;
    int16_t *codes = k->codes + r * n, *best_codes = k->best_codes + r * n;
    float *values = k->values + r * n, *best_values = k->best_values + r * n;
    memcpy(keep ? best_codes : codes, keep ? codes : best_codes, n * sizeof *codes);
    memcpy(keep ? best_values : values, keep ? values : best_values, n * sizeof *values);
    for (size_t b = 0; b < nb; b++) {
        float *own = to[b].level;
        to[b] = from[b];
        to[b].level = own;
        if (levels > 0)
            memcpy(own, from[b].level, levels * sizeof *own);
    }
}

/* After a round: rows that got worse by the held-out measure go back and rest. */
static enum nb_status judge(struct nb_row_work *k, struct rows *s, struct nb_algo_sums *sums,
                            struct nb_error *err)
{
    const bool held = k->p->job.held != NULL;
    const double worse = held ? 1.0 + 1.0 / sqrt(k->p->job.held_tokens) : 1.0;
    if (held)
        NB_TRY(measure_held(k, s->n, err));
    for (size_t r = 0; r < s->n; r++) {
        if (!s->active[r])
            continue;
        if (held && k->loss[r] > worse * s->held[r]) {
            copy_row(k, r, false);
            s->active[r] = false;
            sums->n_held_stops++;
            continue;
        }
        if (s->more[r] <= ENOUGH * s->loss[r])
            s->active[r] = false;
        s->gain[r] += s->more[r];
        s->loss[r] -= s->more[r];
        s->more[r] = 0.0;
        if (held) {
            s->held[r] = NB_MIN(s->held[r], k->loss[r]);
            copy_row(k, r, true);
        }
    }
    return NB_OK;
}

static bool any_active(const struct rows *s)
{
    for (size_t r = 0; r < s->n; r++)
        if (s->active[r])
            return true;
    return false;
}

enum nb_status nb_algo_polish_rows(struct nb_row_work *k, size_t n_rows, struct nb_algo_sums *sums,
                                   struct nb_error *err)
{
    struct rows s = {.n = n_rows};
    start(k, &s);
    if (k->p->job.held != NULL) {
        NB_TRY(measure_held(k, n_rows, err));
        memcpy(s.held, k->loss, n_rows * sizeof *s.held);
        for (size_t r = 0; r < n_rows; r++)
            copy_row(k, r, true);
    }
    for (uint32_t round = 0; round < k->p->params.polish && any_active(&s); round++) {
        size_t active[NB_ALGO_CHUNK], n_active = 0;
        double gain[NB_ALGO_CHUNK] = {0.0};
        for (size_t r = 0; r < n_rows; r++) {
            for (int pass = 0; pass < PASSES && s.active[r]; pass++)
                s.more[r] += descend(k, r);
            if (s.active[r])
                active[n_active++] = r;
        }
        nb_algo_polish_scales(k, &(struct nb_algo_polish){active, n_active, s.loss, gain});
        for (size_t i = 0; i < n_active; i++)
            s.more[active[i]] += gain[active[i]];
        NB_TRY(judge(k, &s, sums, err));
    }
    for (size_t r = 0; r < n_rows; r++) {
        sums->polish_gain += s.gain[r];
        sums->n_polished += s.gain[r] > 0.0;
    }
    return NB_OK;
}
