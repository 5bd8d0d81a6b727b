/* numfmt/coder_grid.c: coders of general grids (grid.h).
 *
 * A block is a group, a row, or as much of a row as lies in a tile. In struct nb_grid: scale[0]; dmin the
 * zero point; offset[0] = -scale * zero; d the unit of a row's 8-bit scales; level the levels of formats
 * that learn them for each block. Fits are those of grid_encode.c.
 */
#include "numfmt/coder_internal.h"

#include <math.h>

/* ---- memory for k-means, so that a fit cannot fail ---- */

static void *arena_alloc(void *ctx, size_t bytes, size_t align)
{
    struct nb_coder_work *k = ctx;
    const size_t at = (k->arena_used + align - 1) / align * align;
    if (bytes > k->arena_bytes || at > k->arena_bytes - bytes)
        return NULL;
    k->arena_used = at + bytes;
    return k->arena + at;
}

static void arena_free(void *ctx, void *p)
{
    (void)ctx;
    (void)p;
}

/* What nb_kmeans_levels asks for: six arrays of doubles and a table of indices. */
static size_t arena_size(size_t n, size_t levels)
{
    return (n + 1) * (6 * sizeof(double) + levels * sizeof(uint32_t)) + (size_t)8 * NB_ALIGN;
}

/* ---- making ---- */

static bool learns_own(const struct nb_gridfmt *g)
{
    return g->elem->learned && !nb_grid_levels_shared(g);
}

/* What codes mean, where that is a table: (levels, dim). */
static bool load_levels(struct nb_coder_work *k, const struct nb_gridfmt *g,
                        const struct nb_allocator *a)
{
    const struct nb_element *e = g->elem;
    const size_t n = ((size_t)1 << e->bits) * e->dim;
    if (e->uniform || learns_own(g)) {
        if (e->uniform)
            nb_element_levels(k->levels, e);
        return true;
    }
    k->level = nb_alloc(a, n, sizeof *k->level);
    if (k->level == NULL)
        return false;
    for (size_t i = 0; i < n; i++) {
        const float v = e->learned ? nb_load_f32(k->side + 4 * i) : e->value((uint32_t)i);
        k->level[i] = v == v ? v : 0.0F;
    }
    if (e->dim == 1 && e->learned)
        nb_learned_levels(k->levels, k->level, (uint32_t)n);
    else if (e->dim == 1)
        nb_element_levels(k->levels, e);
    return true;
}

static bool make_room(struct nb_coder *c, const struct nb_gridfmt *g)
{
    struct nb_coder_work *k = c->work;
    const size_t levels = (size_t)1 << g->elem->bits;
    bool ok = true;
    if (g->elem->dim == 1 && !g->elem->learned && !c->fixed) {
        const size_t n = nb_scale_scratch_floats(k->levels, c->block, &k->how);
        k->search = nb_alloc(c->a, n, sizeof *k->search);
        ok = k->search != NULL;
    }
    if (learns_own(g)) {
        k->sorted = nb_alloc(c->a, 2 * (size_t)c->block + levels, sizeof *k->sorted);
        k->arena_bytes = arena_size(c->block, levels);
        k->arena = nb_alloc(c->a, k->arena_bytes, 1);
        ok = k->sorted != NULL && k->arena != NULL;
    }
    return ok;
}

enum nb_status nb_coder_grid_init(struct nb_coder *c, const struct nb_coder_spec *spec,
                                  struct nb_error *err)
{
    const struct nb_gridfmt *g = c->type->grid;
    struct nb_coder_work *k = c->work;
    if (nb_grid_needs_training(c->type) && spec->side == NULL)
        NB_FAIL(err, NB_ERR_ARG, "%s: what its rows share was not given", c->type->name);
    c->ops = &nb_coder_grid_ops;
    c->block = c->sub = (uint32_t)NB_MAX(nb_grid_group(g, c->cols), (size_t)1);
    c->dim = g->elem->dim;
    c->has_offset = g->zero != NB_ZERO_NONE;
    c->own_levels = learns_own(g) ? 1U << g->elem->bits : 0;
    c->fixed = g->share == NB_SHARE_TENSOR || g->share == NB_SHARE_BLOCK;
    if (spec->how != NULL)
        k->how = *spec->how;
    k->tensor_scale2 = g->scale == NB_SCALE_E4M3 ? nb_load_f32(spec->side) : 1.0F;
    k->levels = nb_alloc(c->a, 1, sizeof *k->levels);
    k->record = nb_alloc_zero(c->a, (size_t)nb_grid_row_bytes(c->type, c->cols) + 1, 1);
    if (k->levels == NULL || k->record == NULL || !load_levels(k, g, c->a) || !make_room(c, g))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a coder of %s", c->type->name);
    return NB_OK;
}

/* ---- parameters ---- */

static float scale2_of(const struct nb_coder *c, const struct nb_grid *g)
{
    return c->type->grid->scale == NB_SCALE_U8 ? g->d : c->work->tensor_scale2;
}

static void set(struct nb_grid *g, struct nb_scale s)
{
    g->scale[0] = s.scale;
    g->dmin = s.zero;
    g->offset[0] = -(s.scale * s.zero);
}

/* Weights of mean 1, or NULL: all alike. */
static const float *even_out(struct nb_coder *c, const float *w, size_t n)
{
    double sum = 0.0;
    if (w == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++)
        sum += (double)w[i];
    if (!(sum > 0.0))
        return NULL;
    for (size_t i = 0; i < n; i++)
        c->work->w[i] = (float)((double)w[i] * (double)n / sum);
    return c->work->w;
}

static struct nb_scale search(struct nb_coder *c, const float *x, const float *w, size_t n,
                              enum nb_scale_store store, float scale2)
{
    const struct nb_gridfmt *g = c->type->grid;
    const struct nb_scale_problem p = {
        .levels = c->work->levels,
        .x = x,
        .w = even_out(c, w, n),
        .n = n,
        .store = store,
        .zero = g->zero,
        .scale2 = scale2,
        .positive = g->scale == NB_SCALE_U8,
        .how = c->work->how,
        .scratch = c->work->search,
    };
    return nb_scale_search(&p);
}

/* The unit of a row's 8-bit scales: the largest scale is 255 of them. */
static void start_row(struct nb_coder *c, uint64_t row, const float *x, const float *w)
{
    (void)row;
    float top = 0.0F;
    if (c->type->grid->scale != NB_SCALE_U8)
        return;
    for (size_t b = 0; b < c->n_blocks; b++) {
        const size_t at = b * c->block;
        const float spread = nb_coder_spread(c, x + at, c->block);
        const float *weight =
            nb_coder_weigh(c, x + at, w == NULL ? NULL : w + at, c->block, spread);
        const float s = search(c, x + at, weight, c->block, NB_SCALE_F32, 1.0F).scale;
        top = s > top ? s : top;
    }
    c->work->unit = top / 255.0F;
}

static void fit_own_levels(struct nb_coder *c, struct nb_grid *g, const float *x, const float *w,
                           size_t n)
{
    struct nb_coder_work *k = c->work;
    const struct nb_allocator arena = {k, arena_alloc, arena_free};
    struct nb_kmeans job = {.n = n, .k = c->own_levels, .levels = k->sorted};
    k->arena_used = 0;
    const enum nb_status st = nb_grid_own_levels(&job, x, w, g->level, &arena, NULL);
    nb_assert(st == NB_OK);
    (void)st;
    set(g, (struct nb_scale){1.0F, 0.0F});
}

static void fit_values(struct nb_coder *c, struct nb_grid *g, const float *x, const float *w,
                       size_t n)
{
    const struct nb_gridfmt *f = c->type->grid;
    if (c->own_levels > 0)
        fit_own_levels(c, g, x, w, n);
    else if (f->elem->dim > 1)
        set(g, (struct nb_scale){f->scale == NB_SCALE_NONE ? 1.0F : nb_grid_row_rms(x, n), 0.0F});
    else
        set(g, search(c, x, w, n, f->scale, scale2_of(c, g)));
}

/* The tensor a record belongs to. */
static struct nb_tensor tensor_of(const struct nb_coder *c, const struct nb_parts *parts)
{
    return (struct nb_tensor){.type = c->type, .shape = c->work->shape, .parts = parts};
}

static void fit(struct nb_coder *c, uint64_t row, size_t block, struct nb_grid *g, const float *x,
                const float *w)
{
    struct nb_coder_work *k = c->work;
    g->d = k->unit;
    if (!c->fixed) {
        fit_values(c, g, x, w, nb_coder_block_cols(c, block));
        return;
    }
    const struct nb_parts parts = nb_grid_records(c->type, &k->shape, k->record, row, k->side);
    const struct nb_tensor t = tensor_of(c, &parts);
    set(g, nb_grid_params(&t, row, block));
}

static void refit(struct nb_coder *c, struct nb_grid *g, uint32_t s, const float *x, const float *w)
{
    (void)s;
    fit_values(c, g, x, w, c->sub);
}

/* ---- codes ---- */

/* As the decoder forms them: the order of operations counts. */
static float value_of(const struct nb_coder *c, const struct nb_grid *g, uint32_t i, int16_t code)
{
    const struct nb_element *e = c->type->grid->elem;
    if (e->uniform)
        return g->scale[0] * ((float)(code - e->lo) + ((float)e->lo - g->dmin));
    if (c->own_levels > 0)
        return g->scale[0] * g->level[code];
    return g->scale[0] * c->work->level[(size_t)code * e->dim + i % e->dim];
}

static void round_vector(const struct nb_coder *c, const struct nb_grid *g, const float *x,
                         const float *w, int16_t *codes)
{
    const uint32_t dim = c->dim;
    const float inv = nb_inverse(g->scale[0]);
    float scaled[NB_VQ_MAX_DIM];
    float weight[NB_VQ_MAX_DIM];
    float sum = 0.0F;
    uint16_t code;
    for (uint32_t k = 0; k < dim; k++) {
        scaled[k] = x[k] * inv;
        weight[k] = w != NULL && w[k] > 0.0F && w[k] < INFINITY ? w[k] : 0.0F;
        sum += weight[k];
    }
    const struct nb_vq_search q = {
        .codebook = c->work->level,
        .k = 1U << c->type->grid->elem->bits,
        .dim = dim,
        .x = scaled,
        .w = weight,
        .n_w = sum > 0.0F ? dim : 0,
    };
    (void)nb_vq_nearest(&q, 0, 1, &code);
    for (uint32_t k = 0; k < dim; k++)
        codes[k] = (int16_t)code;
}

/* Of the block's own levels, which a file may hold in any order. */
static int16_t nearest_own(const struct nb_coder *c, const struct nb_grid *g, float x)
{
    int16_t best = 0;
    float least = INFINITY;
    for (uint32_t k = 0; k < c->own_levels; k++) {
        const float off = fabsf(x - g->level[k]);
        best = off < least ? (int16_t)k : best;
        least = off < least ? off : least;
    }
    return best;
}

static void round_codes(struct nb_coder *c, const struct nb_grid *g, uint32_t i, const float *x,
                        const float *w, int16_t *codes, float *values)
{
    const struct nb_levels *lv = c->work->levels;
    if (c->dim > 1) {
        round_vector(c, g, x, w, codes);
    } else if (c->own_levels > 0) {
        codes[0] = nearest_own(c, g, x[0]);
    } else {
        const float t = x[0] * nb_inverse(g->scale[0]) + g->dmin;
        float level;
        lv->snap(lv, &t, &level, 1);
        codes[0] = lv->uniform ? (int16_t)level : (int16_t)nb_level_code(lv, level);
    }
    for (uint32_t k = 0; k < c->dim; k++)
        values[k] = value_of(c, g, i + k, codes[k]);
}

static void values_of(const struct nb_coder *c, const struct nb_grid *g, uint32_t i, uint32_t n,
                      const int16_t *codes, float *values)
{
    for (uint32_t k = 0; k < n; k++)
        values[k] = value_of(c, g, i + k, codes[k]);
}

static void levels_of(const struct nb_coder *c, const struct nb_grid *g, uint32_t i, uint32_t n,
                      const int16_t *codes, float *levels)
{
    const struct nb_element *e = c->type->grid->elem;
    for (uint32_t k = 0; k < n; k++)
        levels[k] = e->uniform ? (float)codes[k]
                    : c->own_levels > 0
                        ? g->level[codes[k]]
                        : c->work->level[(size_t)codes[k] * e->dim + (i + k) % e->dim];
}

/* ---- records ---- */

static void pack_codes(const struct nb_coder *c, const int16_t *codes, uint8_t *part)
{
    const struct nb_element *e = c->type->grid->elem;
    const size_t words = c->cols / c->dim;
    for (size_t at = 0; at < words; at += NB_GRID_RUN) {
        uint16_t run[NB_GRID_RUN];
        const size_t n = NB_MIN((size_t)NB_GRID_RUN, words - at);
        for (size_t k = 0; k < n; k++)
            run[k] = (uint16_t)(codes[(at + k) * c->dim] - (e->uniform ? e->lo : 0));
        nb_codes_pack(part, run, e->bits, at, n);
    }
}

static void pack(struct nb_coder *c, uint64_t row, const struct nb_grid *g, const int16_t *codes,
                 uint8_t *record)
{
    const struct nb_gridfmt *f = c->type->grid;
    const struct nb_parts parts =
        nb_grid_records(c->type, &c->work->shape, record, row, c->work->side);
    uint8_t *part[NB_MAX_PARTS];
    for (int p = 0; p < NB_MAX_PARTS; p++)
        part[p] = parts.stride[p] == 0 ? NULL : record + (size_t)(parts.at[p] - record);
    if (c->cols == 0)
        return;
    pack_codes(c, codes, part[NB_PART_CODES]);
    if (f->scale == NB_SCALE_U8)
        nb_store_u32(part[NB_PART_SCALE2], nb_f32_bits(g[0].d));
    for (size_t b = 0; b < c->n_blocks && !c->fixed; b++) {
        nb_grid_put_scale(f, part[NB_PART_SCALES], b, g[b].scale[0], scale2_of(c, &g[b]));
        if (c->has_offset)
            nb_grid_put_zero(f, part[NB_PART_ZEROS], b, g[b].dmin);
        if (c->own_levels > 0)
            nb_grid_put_levels(part[NB_PART_LEVELS], b, g[b].level, c->own_levels);
    }
}

static void unpack(struct nb_coder *c, uint64_t row, struct nb_grid *g, int16_t *codes,
                   const uint8_t *record)
{
    const struct nb_element *e = c->type->grid->elem;
    const size_t words = c->cols / c->dim;
    const struct nb_parts parts =
        nb_grid_records(c->type, &c->work->shape, record, row, c->work->side);
    const struct nb_tensor t = tensor_of(c, &parts);
    for (size_t b = 0; b < c->n_blocks; b++) {
        if (c->type->grid->scale == NB_SCALE_U8)
            g[b].d = nb_load_f32(nb_part_row(&t, NB_PART_SCALE2, row));
        set(&g[b], nb_grid_params(&t, row, b));
        for (size_t k = 0; k < c->own_levels; k++)
            g[b].level[k] = nb_f16_to_f32(
                nb_load_u16(nb_part_row(&t, NB_PART_LEVELS, row) + 2 * (b * c->own_levels + k)));
    }
    for (size_t at = 0; at < words; at += NB_GRID_RUN) {
        uint16_t run[NB_GRID_RUN];
        const size_t n = NB_MIN((size_t)NB_GRID_RUN, words - at);
        nb_codes_unpack(run, nb_part_row(&t, NB_PART_CODES, row), e->bits, at, n);
        for (size_t k = 0; k < n * c->dim; k++)
            codes[at * c->dim + k] = (int16_t)(run[k / c->dim] + (e->uniform ? e->lo : 0));
    }
}

const struct nb_coder_ops nb_coder_grid_ops = {
    .row = start_row,
    .fit = fit,
    .refit = refit,
    .round = round_codes,
    .values = values_of,
    .levels = levels_of,
    .rescale = nb_coder_rescale_grid,
    .pack = pack,
    .unpack = unpack,
};
