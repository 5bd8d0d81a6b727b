/* quant/polish_scales.c: the stored scales and offsets of a row that lower its loss, its codes as they are.
 *
 * With the codes fixed, a change ds, do of a sub-block's scale and offset changes its values by ds l + do (l:
 * the levels), so the loss is a quadratic in (ds, do) whose coefficients are Gram products of l and 1 under H;
 * nb_coder_rescale finds the best pair that can be stored. What stands above (d and dmin of a block) is moved
 * by the same least squares over the whole block. Every step is taken only if the loss, formed with the values
 * as they will be decoded, falls. Rows do not depend on each other: those of a chunk go through a block
 * together, so that its part of H is read once for all of them.
 */
#include "quant/algo_internal.h"

#include <math.h>
#include <string.h>

#include "math/linalg.h"

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

/* A block of columns of the chunk's rows. */
struct part {
    struct nb_row_work *k;
    const struct nb_algo_polish *rows;
    size_t i, at; /* number of the block; its first column */
    uint32_t n;
};

/* y (rows, block) = x H[at .., at ..], n columns of each. */
static void times_h(const struct part *b, float *y, const float *x, size_t rows, size_t at,
                    size_t n)
{
    const struct nb_prepared *p = b->k->p;
    const size_t stride = b->k->coder->block;
    for (size_t r = 0; r < rows; r++)
        memset(y + r * stride, 0, n * sizeof *y);
    nb_gemm_sub_f32(y, stride, x, stride, p->moments + at * p->n + at, p->n, rows, n, n);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++)
            y[r * stride + i] = -y[r * stride + i];
}

static struct nb_grid *grid_of(const struct part *b, size_t r)
{
    return &b->k->grids[r * b->k->coder->n_blocks + b->i];
}

/* A column's share in the row's loss. */
static double share_of(const struct part *b, size_t r)
{
    return b->rows->loss[r] / (double)b->k->p->n;
}

/* A step that gains less than this part of its columns' share in the loss is not worth moving them. */
#define WORTH 1e-3

/* Sub-block s, n columns, of row r. level, h_level: of the row; ones: 1 H 1. */
static double rescale(const struct part *b, size_t r, uint32_t s, uint32_t n, const float *level,
                      const float *h_level, double ones)
{
    struct nb_row_work *k = b->k;
    struct nb_grid *grid = grid_of(b, r);
    const uint32_t i = s * k->coder->sub;
    const size_t at = b->at + i, row = r * k->p->n;
    const float *g = k->g + row + at;
    struct nb_scale_quad q = {.a11 = dot(level, h_level, n),
                              .a12 = total(h_level, n),
                              .a22 = ones,
                              .b1 = dot(level, g, n)};
    q.b2 = k->coder->has_offset ? total(g, n) : 0.0;
    const struct nb_grid before = *grid;
    if (!(nb_coder_rescale(k->coder, grid, s, &q) < -WORTH * n * share_of(b, r))) {
        *grid = before;
        return 0.0;
    }
    nb_coder_values(k->coder, grid, i, n, k->codes + row + at, k->next);
    const double gain = nb_algo_move(k, r, at, n);
    if (gain == 0.0)
        *grid = before;
    return gain;
}

/* One sub-block of all rows. */
static void rescale_rows(const struct part *b, uint32_t s)
{
    struct nb_row_work *k = b->k;
    const struct nb_algo_polish *rows = b->rows;
    const size_t block = k->coder->block;
    const uint32_t i = s * k->coder->sub, n = NB_MIN(k->coder->sub, b->n - i);
    double ones = 0.0;
    for (size_t m = 0; m < rows->n_active; m++)
        nb_coder_levels(k->coder, grid_of(b, rows->active[m]), i, n,
                        k->codes + rows->active[m] * k->p->n + b->at + i, k->level + m * block);
    times_h(b, k->h_level, k->level, rows->n_active, b->at + i, n);
    if (k->coder->has_offset) {
        for (size_t j = 0; j < n; j++)
            k->offset[j] = 1.0F;
        times_h(b, k->h_offset, k->offset, 1, b->at + i, n);
        ones = total(k->h_offset, n);
    }
    for (size_t m = 0; m < rows->n_active; m++)
        rows->gain[rows->active[m]] +=
            rescale(b, rows->active[m], s, n, k->level + m * block, k->h_level + m * block, ones);
}

/* d and dmin of row r times what least squares over the block wants; u, o: the parts of its values that they
 * scale, hu, ho: times H. */
static double rescale_outer(const struct part *b, size_t r, const float *u, const float *hu,
                            const float *o, const float *ho)
{
    struct nb_row_work *k = b->k;
    struct nb_grid *grid = grid_of(b, r);
    const size_t row = r * k->p->n;
    const float *g = k->g + row + b->at;
    double fd = 0.0, fo = 0.0, og = 0.0; /* changes of the factors */
    const double uu = dot(u, hu, b->n), ug = dot(u, g, b->n);
    if (k->coder->has_offset) {
        const double oo = dot(o, ho, b->n), uo = dot(o, hu, b->n);
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
    const struct nb_grid before = *grid;
    /* what the bottom of the parabola would gain */
    const double promise = fd * ug + fo * og;
    if (!isfinite(fd) || !isfinite(fo) || !(promise > WORTH * b->n * share_of(b, r)) ||
        !nb_coder_outer(k->coder, grid, 1.0 + fd, 1.0 + fo))
        return 0.0;
    nb_coder_values(k->coder, grid, 0, b->n, k->codes + row + b->at, k->next);
    const double gain = nb_algo_move(k, r, b->at, b->n);
    if (gain == 0.0)
        *grid = before;
    return gain;
}

static void rescale_outer_rows(const struct part *b)
{
    struct nb_row_work *k = b->k;
    const struct nb_algo_polish *rows = b->rows;
    const size_t block = k->coder->block;
    for (size_t m = 0; m < rows->n_active; m++) {
        const struct nb_grid *g = grid_of(b, rows->active[m]);
        const float *values = k->values + rows->active[m] * k->p->n + b->at;
        float *u = k->level + m * block, *o = k->offset + m * block;
        for (uint32_t i = 0; i < b->n; i++) {
            o[i] = g->offset[i / k->coder->sub];
            u[i] = values[i] - o[i];
        }
    }
    times_h(b, k->h_level, k->level, rows->n_active, b->at, b->n);
    if (k->coder->has_offset)
        times_h(b, k->h_offset, k->offset, rows->n_active, b->at, b->n);
    for (size_t m = 0; m < rows->n_active; m++)
        rows->gain[rows->active[m]] +=
            rescale_outer(b, rows->active[m], k->level + m * block, k->h_level + m * block,
                          k->offset + m * block, k->h_offset + m * block);
}

void nb_algo_polish_scales(struct nb_row_work *k, const struct nb_algo_polish *rows)
{
    const struct nb_coder *c = k->coder;
    struct nb_grid trial = k->grids[0];
    if (c->fixed || rows->n_active == 0)
        return;
    const bool outer = nb_coder_outer(c, &trial, 1.0, 1.0);
    for (size_t i = 0; i < c->n_blocks; i++) {
        const struct part b = {k, rows, i, i * c->block, nb_coder_block_cols(c, i)};
        for (uint32_t s = 0; s * c->sub < b.n; s++)
            rescale_rows(&b, s);
        if (outer)
            rescale_outer_rows(&b);
    }
}
