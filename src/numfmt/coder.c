/* numfmt/coder.c: making coders, weights as they are used, and the way to the two kinds of formats. */
#include "numfmt/coder_internal.h"

#include <math.h>

/* ---- making ---- */

static enum nb_status block_init(struct nb_coder *c, struct nb_error *err)
{
    const struct nb_numfmt *f = c->type;
    if (f->kind != NB_NUMFMT_BLOCK)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s has no parameters to choose: no coder for it",
                f->name);
    c->ops = &nb_coder_block_ops;
    c->block = f->block;
    c->sub = f->sub;
    c->dim = f->dim > 1 ? f->dim : 1;
    c->has_offset = f->has_min;
    return NB_OK;
}

enum nb_status nb_coder_create(struct nb_coder **out, const struct nb_coder_spec *spec,
                               struct nb_error *err)
{
    const struct nb_numfmt *f = spec->type;
    enum nb_status st = NB_OK;
    uint64_t bytes;
    *out = NULL;
    NB_TRY(nb_numfmt_row_bytes(f, nb_shape_cols(spec->shape), &bytes, err));
    struct nb_coder *c = nb_alloc_zero(spec->a, 1, sizeof *c);
    if (c == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    c->type = f;
    c->a = spec->a;
    c->weighting = spec->weighting;
    c->cols = (size_t)nb_shape_cols(spec->shape);
    c->work = nb_alloc_zero(c->a, 1, sizeof *c->work);
    if (c->work == NULL)
        NB_TRY_TO(fail, NB_ERROR(err, NB_ERR_NOMEM, "out of memory"));
    c->work->shape = *spec->shape;
    c->work->side = spec->side;
    if (f->kind == NB_NUMFMT_GRID)
        NB_TRY_TO(fail, nb_coder_grid_init(c, spec, err));
    else
        NB_TRY_TO(fail, block_init(c, err));
    c->n_blocks = (c->cols + c->block - 1) / c->block;
    c->work->w = nb_alloc(c->a, c->block, sizeof *c->work->w);
    if (c->work->w == NULL)
        NB_TRY_TO(fail, NB_ERROR(err, NB_ERR_NOMEM, "out of memory for a coder of %s", f->name));
    *out = c;
    return NB_OK;
fail:
    nb_coder_destroy(c);
    return st;
}

void nb_coder_destroy(struct nb_coder *c)
{
    if (c == NULL)
        return;
    if (c->work != NULL) {
        nb_free(c->a, c->work->w);
        nb_free(c->a, c->work->levels);
        nb_free(c->a, c->work->record);
        nb_free(c->a, c->work->level);
        nb_free(c->a, c->work->search);
        nb_free(c->a, c->work->sorted);
        nb_free(c->a, c->work->arena);
    }
    nb_free(c->a, c->work);
    nb_free(c->a, c);
}

struct nb_grid *nb_coder_grids_create(const struct nb_coder *c, size_t n_rows)
{
    size_t n = 0;
    size_t levels = 0;
    if (!nb_mul_size(&n, n_rows, c->n_blocks) || !nb_mul_size(&levels, n, c->own_levels))
        return NULL;
    struct nb_grid *g = nb_alloc_zero(c->a, NB_MAX(n, (size_t)1), sizeof *g);
    if (g == NULL || levels == 0)
        return g;
    float *level = nb_alloc_zero(c->a, levels, sizeof *level);
    if (level == NULL) {
        nb_free(c->a, g);
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        g[i].level = level + i * c->own_levels;
    return g;
}

void nb_coder_grids_destroy(const struct nb_coder *c, struct nb_grid *grids)
{
    if (grids != NULL && c->own_levels > 0)
        nb_free(c->a, grids->level);
    nb_free(c->a, grids);
}

/* ---- weights ---- */

float nb_coder_spread(const struct nb_coder *c, const float *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n && c->weighting == NB_CODER_SPREAD; i++)
        sum += (double)x[i] * (double)x[i];
    return (float)(sum / (double)n);
}

const float *nb_coder_weigh(const struct nb_coder *c, const float *x, const float *w, size_t n,
                            float spread)
{
    float *out = c->work->w;
    if (c->weighting == NB_CODER_PLAIN && w == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const float v = w == NULL ? 1.0F : w[i];
        out[i] = v > 0.0F && v < INFINITY ? v : 0.0F;
    }
    for (size_t i = 0; i < n && c->weighting == NB_CODER_SPREAD; i++)
        out[i] *= sqrtf(2.0F * spread + x[i] * x[i]);
    return out;
}

/* ---- the door ---- */

void nb_coder_row(struct nb_coder *c, uint64_t row, const float *x, const float *w)
{
    if (c->ops->row != NULL)
        c->ops->row(c, row, x, w);
}

void nb_coder_fit(struct nb_coder *c, uint64_t row, size_t block, struct nb_grid *g, const float *x,
                  const float *w)
{
    const size_t n = nb_coder_block_cols(c, block);
    const float spread = nb_coder_spread(c, x, n);
    c->ops->fit(c, row, block, g, x, nb_coder_weigh(c, x, w, n, spread));
    g->spread = spread;
}

void nb_coder_refit(struct nb_coder *c, struct nb_grid *g, uint32_t s, const float *x,
                    const float *w)
{
    if (!c->fixed)
        c->ops->refit(c, g, s, x, nb_coder_weigh(c, x, w, c->sub, g->spread));
}

void nb_coder_round(struct nb_coder *c, const struct nb_grid *g, uint32_t i, const float *x,
                    const float *w, int16_t *codes, float *values)
{
    c->ops->round(c, g, i, x, w, codes, values);
}

void nb_coder_values(const struct nb_coder *c, const struct nb_grid *g, uint32_t i, uint32_t n,
                     const int16_t *codes, float *values)
{
    c->ops->values(c, g, i, n, codes, values);
}

void nb_coder_levels(const struct nb_coder *c, const struct nb_grid *g, uint32_t i, uint32_t n,
                     const int16_t *codes, float *levels)
{
    c->ops->levels(c, g, i, n, codes, levels);
}

double nb_coder_rescale(struct nb_coder *c, struct nb_grid *g, uint32_t s,
                        const struct nb_scale_quad *q)
{
    return c->ops->rescale(c, g, s, q);
}

bool nb_coder_outer(const struct nb_coder *c, struct nb_grid *g, double factor_d,
                    double factor_dmin)
{
    return c->ops->outer != NULL && c->ops->outer(c, g, factor_d, factor_dmin);
}

size_t nb_coder_record_bytes(const struct nb_coder *c)
{
    return c->type->kind == NB_NUMFMT_GRID ? (size_t)nb_grid_row_bytes(c->type, c->cols)
                                           : c->n_blocks * c->type->block_bytes;
}

void nb_coder_pack(struct nb_coder *c, uint64_t row, const struct nb_grid *g, const int16_t *codes,
                   uint8_t *record)
{
    c->ops->pack(c, row, g, codes, record);
}

void nb_coder_unpack(struct nb_coder *c, uint64_t row, struct nb_grid *g, int16_t *codes,
                     const uint8_t *record)
{
    c->ops->unpack(c, row, g, codes, record);
}
