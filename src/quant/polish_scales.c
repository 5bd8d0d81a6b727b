/* quant/polish_scales.c: the stored scales and offsets of a row that lower its loss, its codes as they are.
 *
 * With the codes fixed, a change ds, do of a sub-block's scale and offset changes its values by ds l + do (l:
 * the levels), so the loss is a quadratic in (ds, do) whose coefficients are Gram products of l and 1 under H;
 * nb_coder_rescale finds the best pair that can be stored. What stands above (d and dmin of a block) is moved
 * by the same least squares over the whole block. Every step is taken only if the loss, formed with the values
 * as they will be decoded, falls.
 */
#include "quant/algo_internal.h"

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static double total(const float *a, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i];
    return sum;
}

/* y (n) = H[at .., at ..] x, x NULL: ones. */
static void times_h(float *y, const struct nb_prepared *p, size_t at, const float *x, size_t n)
{
    const struct nb_kernels *kernels = nb_kernels_get();
    memset(y, 0, n * sizeof *y);
    for (size_t i = 0; i < n; i++)
        if (x == NULL || x[i] != 0.0F)
            kernels->axpy_f32_f32(y, x != NULL ? x[i] : 1.0F, p->moments + (at + i) * p->n + at, n);
}

/* A block of a row: `at` its first column. */
struct part {
    size_t r, at;
    uint32_t n;
    struct nb_grid *g;
    double share; /* of a column in the row's loss */
};

/* A step that gains less than this part of its columns' share in the loss is not worth moving them. */
#define WORTH 1e-3

static double rescale(struct nb_row_work *k, const struct part *b, uint32_t s)
{
    const uint32_t i = s * k->coder->sub, n = NB_MIN(k->coder->sub, b->n - i);
    const size_t at = b->at + i, row = b->r * k->p->n;
    const float *g = k->g + row + at;
    const int16_t *codes = k->codes + row + at;
    struct nb_scale_quad q;
    nb_coder_levels(k->coder, b->g, i, n, codes, k->level);
    times_h(k->h1, k->p, at, k->level, n);
    q.a11 = dot(k->level, k->h1, n);
    q.a12 = total(k->h1, n);
    q.b1 = dot(k->level, g, n);
    q.a22 = q.b2 = 0.0;
    if (k->coder->has_offset) {
        times_h(k->h2, k->p, at, NULL, n);
        q.a22 = total(k->h2, n);
        q.b2 = total(g, n);
    }
    const struct nb_grid before = *b->g;
    if (!(nb_coder_rescale(k->coder, b->g, s, &q) < -WORTH * n * b->share)) {
        *b->g = before;
        return 0.0;
    }
    nb_coder_values(k->coder, b->g, i, n, codes, k->next);
    const double gain = nb_algo_move(k, b->r, at, n);
    if (gain == 0.0)
        *b->g = before;
    return gain;
}

/* d and dmin times what least squares over the block wants. */
static double rescale_outer(struct nb_row_work *k, const struct part *b)
{
    const size_t row = b->r * k->p->n;
    const float *g = k->g + row + b->at;
    float *u = k->level, *o = k->next;   /* the parts of the values that d and dmin scale */
    double fd = 0.0, fo = 0.0, og = 0.0; /* changes of the factors */
    for (uint32_t i = 0; i < b->n; i++) {
        o[i] = b->g->offset[i / k->coder->sub];
        u[i] = k->values[row + b->at + i] - o[i];
    }
    times_h(k->h1, k->p, b->at, u, b->n);
    const double uu = dot(u, k->h1, b->n), ug = dot(u, g, b->n);
    if (k->coder->has_offset) {
        times_h(k->h2, k->p, b->at, o, b->n);
        const double oo = dot(o, k->h2, b->n), uo = dot(o, k->h1, b->n);
        og = dot(o, g, b->n);
        const double det = uu * oo - uo * uo;
        if (det > 1e-6 * uu * oo) {
            fd = (ug * oo - og * uo) / det;
            fo = (og * uu - ug * uo) / det;
        } else if (uu > 0.0) {
            fd = ug / uu;
        }
    } else if (uu > 0.0) {
        fd = ug / uu;
    }
    const struct nb_grid before = *b->g;
    /* what the bottom of the parabola would gain */
    const double promise = fd * ug + fo * og;
    if (!isfinite(fd) || !isfinite(fo) || !(promise > WORTH * b->n * b->share) ||
        !nb_coder_outer(k->coder, b->g, 1.0 + fd, 1.0 + fo))
        return 0.0;
    nb_coder_values(k->coder, b->g, 0, b->n, k->codes + row + b->at, k->next);
    const double gain = nb_algo_move(k, b->r, b->at, b->n);
    if (gain == 0.0)
        *b->g = before;
    return gain;
}

double nb_algo_polish_scales(struct nb_row_work *k, size_t r, double loss)
{
    struct nb_coder *c = k->coder;
    double gain = 0.0;
    if (c->fixed)
        return 0.0;
    for (size_t i = 0; i < c->n_blocks; i++) {
        struct part b = {r, i * c->block, nb_coder_block_cols(c, i), &k->grids[r * c->n_blocks + i],
                         loss / (double)k->p->n};
        struct nb_grid trial = *b.g;
        for (uint32_t s = 0; s * c->sub < b.n; s++)
            gain += rescale(k, &b, s);
        if (nb_coder_outer(c, &trial, 1.0, 1.0))
            gain += rescale_outer(k, &b);
    }
    return gain;
}
