/* numfmt/coder_block.c: coders of ggml's blocks, through the hooks of struct nb_numfmt. */
#include "numfmt/coder_internal.h"

static void fit(struct nb_coder *c, uint64_t row, size_t block, struct nb_grid *g, const float *x,
                const float *w)
{
    (void)row;
    (void)block;
    c->type->fit(g, x, w);
}

static void refit(struct nb_coder *c, struct nb_grid *g, uint32_t s, const float *x, const float *w)
{
    c->type->refit(g, s, x, w);
}

static void round_codes(struct nb_coder *c, const struct nb_grid *g, uint32_t i, const float *x,
                        const float *w, int16_t *codes, float *values)
{
    int8_t narrow[NB_NUMFMT_MAX_BLOCK];
    if (c->dim == 1) {
        codes[0] = (int16_t)c->type->round(g, i, x[0], values);
        return;
    }
    c->type->round_vec(g, i, x, w, narrow, values);
    for (uint32_t k = 0; k < c->dim; k++)
        codes[k] = narrow[k];
}

static void values_of(const struct nb_coder *c, const struct nb_grid *g, uint32_t i, uint32_t n,
                      const int16_t *codes, float *values)
{
    for (uint32_t k = 0; k < n; k++) {
        const uint32_t s = (i + k) / c->sub;
        values[k] = g->scale[s] * (float)codes[k];
        if (c->has_offset)
            values[k] += g->offset[s];
    }
}

static void levels_of(const struct nb_coder *c, const struct nb_grid *g, uint32_t i, uint32_t n,
                      const int16_t *codes, float *levels)
{
    (void)c;
    (void)g;
    (void)i;
    for (uint32_t k = 0; k < n; k++)
        levels[k] = (float)codes[k];
}

static void pack(struct nb_coder *c, uint64_t row, const struct nb_grid *g, const int16_t *codes,
                 uint8_t *record)
{
    (void)row;
    int8_t narrow[NB_NUMFMT_MAX_BLOCK];
    for (size_t b = 0; b < c->n_blocks; b++) {
        for (size_t i = 0; i < c->block; i++)
            narrow[i] = (int8_t)codes[b * c->block + i];
        c->type->pack(record + b * c->type->block_bytes, &g[b], narrow);
    }
}

static void unpack(struct nb_coder *c, uint64_t row, struct nb_grid *g, int16_t *codes,
                   const uint8_t *record)
{
    (void)row;
    int8_t narrow[NB_NUMFMT_MAX_BLOCK];
    for (size_t b = 0; b < c->n_blocks; b++) {
        c->type->unpack(&g[b], narrow, record + b * c->type->block_bytes);
        for (size_t i = 0; i < c->block; i++)
            codes[b * c->block + i] = narrow[i];
    }
}

const struct nb_coder_ops nb_coder_block_ops = {
    .fit = fit,
    .refit = refit,
    .round = round_codes,
    .values = values_of,
    .levels = levels_of,
    .rescale = nb_coder_rescale_block,
    .outer = nb_coder_outer_block,
    .pack = pack,
    .unpack = unpack,
};
