/* quant/adaround.c: learned rounding of one layer (AdaRound, Nagel et al. 2020, arXiv:2004.10568).
 *
 * Scales are those of rounding to nearest. Each weight lies between two values of its grid, v0 (the nearer)
 * and v1; h in [0, 1] says how far it goes, and is pushed to either end:
 *
 *   min over a of tr(E H E^T) + lambda sum (1 - |2h - 1|^b),   E = v0 + h (v1 - v0) - W,
 *   h = clip(1.2 sigmoid(a) - 0.1, 0, 1),   b from 20 to 2 after the first fifth of the steps
 *
 * With H known the gradient of the loss is closed, 2 (E H) (v1 - v0), and needs no batches. Adam (Kingma and
 * Ba 2015) in f32, in a fixed order. lambda is relative to what a weight costs when rounded to nearest. A
 * row for which the result is worse than rounding to nearest stays rounded to nearest.
 *
 * Left out: the paper's relu in the loss. Scalar formats alone: neighbours of code words are many.
 */
#include "quant/algo_internal.h"

#include <math.h>
#include <string.h>

#include "math/linalg.h"
#include "math/math.h"

#define STEPS   200
#define WARM_UP (STEPS / 5)
#define RATE    0.1F
#define MEAN    0.9F   /* Adam's beta 1, */
#define SQUARE  0.999F /* beta 2 */
#define TINY    1e-12F
#define LAMBDA  50.0F
#define PROBES  24

/* polish: for H in floats and room for E H; rows are not polished. */
static const struct nb_algo_params params = {
    .damp = 0.01,
    .weigh = NB_WEIGH_DIAG,
    .polish = 1,
    .polish_damp = 0.0,
};

static bool supports(const struct nb_coder *c)
{
    return c->dim == 1;
}

/* What is learned of n_rows rows; arrays are (n_rows, n). Owns: all but k. */
struct learning {
    struct nb_row_work *k;
    size_t n_rows, n;
    float *other;  /* v1 - v0; 0: there is no other value */
    int16_t *code; /* of v1 */
    float *a, *mean, *square;
    float *slope; /* dh / da */
    double *loss; /* (n_rows) of rounding to nearest */
};

static void fini(struct learning *l, const struct nb_allocator *a)
{
    void *const all[] = {l->other, l->code, l->a, l->mean, l->square, l->slope, l->loss};
    for (size_t i = 0; i < NB_COUNTOF(all); i++)
        nb_free(a, all[i]);
}

static bool init(struct learning *l, const struct nb_allocator *a)
{
    const size_t size = l->n * sizeof(float);
    l->other = nb_alloc(a, l->n_rows, size);
    l->code = nb_alloc(a, l->n_rows, l->n * sizeof *l->code);
    l->a = nb_alloc(a, l->n_rows, size);
    l->mean = nb_alloc_zero(a, l->n_rows, size);
    l->square = nb_alloc_zero(a, l->n_rows, size);
    l->slope = nb_alloc(a, l->n_rows, size);
    l->loss = nb_alloc(a, l->n_rows, sizeof *l->loss);
    return l->other != NULL && l->code != NULL && l->a != NULL && l->mean != NULL &&
           l->square != NULL && l->slope != NULL && l->loss != NULL;
}

/* ---- the other value ---- */

/* The value on the other side of x: from v0 on, past x in small steps, until the code is another. */
static void find_other(struct learning *l, const struct nb_grid *g, uint32_t in_block, size_t at)
{
    struct nb_row_work *k = l->k;
    const float x = k->target[at], v0 = k->values[at];
    float step = (x - v0) * 1.01F, v1 = v0;
    int16_t code = k->codes[at];
    for (int i = 0; i < PROBES && code == k->codes[at] && step != 0.0F; i++, step *= 1.5F) {
        const float y = v0 + step;
        nb_coder_round(k->coder, g, in_block, &y, NULL, &code, &v1);
    }
    const bool beyond = (x - v0) * (v1 - x) > 0.0F; /* x lies between the two */
    l->other[at] = beyond ? v1 - v0 : 0.0F;
    l->code[at] = beyond ? code : k->codes[at];
    if (beyond) { /* h that leaves W as it is */
        const double h = (double)(x - v0) / (double)(v1 - v0);
        const double p = (h + 0.1) / 1.2;
        l->a[at] = (float)nb_log(p / (1.0 - p));
    } else {
        l->a[at] = 0.0F;
    }
}

static void find_others(struct learning *l)
{
    const struct nb_coder *c = l->k->coder;
    for (size_t r = 0; r < l->n_rows; r++)
        for (size_t j = 0; j < l->n; j++)
            find_other(l, &l->k->grids[r * c->n_blocks + j / c->block], (uint32_t)(j % c->block),
                       r * l->n + j);
}

/* ---- steps ---- */

/* h of a, and its slope. */
static float stretch(float a, float *slope)
{
    const float s = (float)(1.0 / (1.0 + nb_exp(-(double)a)));
    const float h = 1.2F * s - 0.1F;
    *slope = h > 0.0F && h < 1.0F ? 1.2F * s * (1.0F - s) : 0.0F;
    return h < 0.0F ? 0.0F : (h > 1.0F ? 1.0F : h);
}

static float power(float x, int n)
{
    float y = 1.0F;
    for (; n > 0; n--)
        y *= x;
    return y;
}

/* E of the weights as they are between their values; keeps slopes. push: (n_rows, n) to 2h - 1. */
static void errors(struct learning *l, float *push)
{
    struct nb_row_work *k = l->k;
    for (size_t i = 0; i < l->n_rows * l->n; i++) {
        const float h = stretch(l->a[i], &l->slope[i]);
        k->e[i] = k->values[i] + h * l->other[i] - k->target[i];
        push[i] = 2.0F * h - 1.0F;
    }
}

/* One step of Adam. g holds -E H; push 2h - 1. beta: 0 while warming up. */
static void move(struct learning *l, const float *g, const float *push, int step, int beta)
{
    const float c1 = 1.0F - power(MEAN, step), c2 = 1.0F - power(SQUARE, step);
    for (size_t i = 0; i < l->n_rows * l->n; i++) {
        const float lambda = LAMBDA * (float)(l->loss[i / l->n] / (double)l->n);
        float d = -2.0F * g[i] * l->other[i];
        if (beta > 0) {
            const float u = push[i] < 0.0F ? -push[i] : push[i];
            const float f = 2.0F * (float)beta * power(u, beta - 1) * lambda;
            d -= push[i] < 0.0F ? -f : f;
        }
        d *= l->slope[i];
        l->mean[i] = MEAN * l->mean[i] + (1.0F - MEAN) * d;
        l->square[i] = SQUARE * l->square[i] + (1.0F - SQUARE) * d * d;
        if (l->other[i] != 0.0F)
            l->a[i] -= RATE * (l->mean[i] / c1) / (sqrtf(l->square[i] / c2) + TINY);
    }
}

static enum nb_status learn(struct learning *l, struct nb_error *err)
{
    struct nb_row_work *k = l->k;
    const size_t n = l->n, all = l->n_rows * n;
    float *push = nb_alloc(k->p->job.a, all, sizeof *push);
    if (push == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu rows of %zu columns", l->n_rows, n);
    for (int step = 1; step <= STEPS; step++) {
        const int beta = step <= WARM_UP ? 0 : 20 - 18 * (step - WARM_UP) / (STEPS - WARM_UP);
        errors(l, push);
        memset(k->g, 0, all * sizeof *k->g);
        nb_gemm_sub_f32(k->g, n, k->e, n, k->p->moments, n, l->n_rows, n, n);
        move(l, k->g, push, step, beta);
    }
    nb_free(k->p->job.a, push);
    return NB_OK;
}

/* ---- the result ---- */

static void subtract(struct learning *l)
{
    for (size_t i = 0; i < l->n_rows * l->n; i++)
        l->k->e[i] = l->k->target[i] - l->k->values[i];
}

/* Rows go to the ends they are nearer to, unless that is worse. */
static enum nb_status settle(struct learning *l, struct nb_error *err)
{
    struct nb_row_work *k = l->k;
    float unused;
    for (size_t i = 0; i < l->n_rows * l->n; i++) {
        const bool other = l->other[i] != 0.0F && stretch(l->a[i], &unused) >= 0.5F;
        l->slope[i] = k->values[i]; /* to go back to */
        l->mean[i] = (float)k->codes[i];
        if (!other)
            continue;
        k->codes[i] = l->code[i];
        k->values[i] += l->other[i];
    }
    for (size_t r = 0; r < l->n_rows; r++) { /* v0 + (v1 - v0) need not be v1 */
        const struct nb_coder *c = k->coder;
        for (size_t b = 0; b < c->n_blocks; b++)
            nb_coder_values(c, &k->grids[r * c->n_blocks + b], 0, nb_coder_block_cols(c, b),
                            k->codes + r * l->n + b * c->block,
                            k->values + r * l->n + b * c->block);
    }
    subtract(l);
    NB_TRY(nb_algo_losses(k->p, k->loss, k->e, l->n_rows, false, err));
    for (size_t r = 0; r < l->n_rows; r++) {
        if (k->loss[r] <= l->loss[r])
            continue;
        for (size_t i = r * l->n; i < (r + 1) * l->n; i++) {
            k->values[i] = l->slope[i];
            k->codes[i] = (int16_t)l->mean[i];
        }
    }
    return NB_OK;
}

static enum nb_status learn_rows(struct learning *l, struct nb_error *err)
{
    struct nb_row_work *k = l->k;
    subtract(l);
    NB_TRY(nb_algo_losses(k->p, l->loss, k->e, l->n_rows, false, err));
    find_others(l);
    NB_TRY(learn(l, err));
    return settle(l, err);
}

static enum nb_status round_rows(struct nb_row_work *k, uint64_t row, size_t n_rows,
                                 struct nb_error *err)
{
    struct learning l = {.k = k, .n_rows = n_rows, .n = k->p->n};
    nb_algo_round_plain(k, row, n_rows, k->p->weight);
    const enum nb_status st =
        init(&l, k->p->job.a)
            ? learn_rows(&l, err)
            : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for %zu rows of %zu columns", n_rows,
                       k->p->n);
    fini(&l, k->p->job.a);
    return st;
}

const struct nb_algo nb_algo_adaround = {
    .name = "adaround",
    .summary = "learns for each weight which of its two neighbours it takes (AdaRound)",
    .needs = NB_NEEDS_H,
    .params = &params,
    .supports = supports,
    .round = round_rows,
};
