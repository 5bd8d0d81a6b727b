/* numfmt/grid_train.c: what all rows of a tensor share: found in one pass, with bounded memory.
 *
 * Tensor-wide scales and scalar levels come from a histogram of the values by their upper 16 bits (so a
 * bf16 tensor is held exactly; otherwise a bin is a value within 2^-8 of its own, at the mean of what
 * fell into it). Codebooks of vectors come from at most SAMPLE vectors, evenly spread over the tensor.
 * Tiles of 128 x 128 are searched as soon as their rows are complete.
 */
#include "numfmt/grid_internal.h"

#define BINS   65536U
#define SAMPLE 131072U

struct nb_grid_training {
    const struct nb_allocator *a;
    const struct nb_numfmt *f;
    struct nb_shape shape;
    struct nb_scale_options how;
    size_t cols;
    uint64_t row; /* rows seen */
    float min, max;
    double *bin_w, *bin_wx; /* (BINS) */
    /* vectors */
    float *sample, *sample_w; /* (SAMPLE, dim) */
    size_t n_sample;
    uint64_t vector, stride; /* vectors seen; one in so many is kept */
    bool weighted;
    /* tiles */
    float *strip, *strip_w; /* (128, cols); (cols) */
    float *tile, *tile_w, *search;
    float *scales; /* (tiles) */
    size_t n_scales;
};

enum wants { WANTS_NOTHING, WANTS_RANGE, WANTS_BINS, WANTS_VECTORS, WANTS_TILES };

static enum wants wants(const struct nb_gridfmt *g)
{
    if (g->elem->dim > 1)
        return WANTS_VECTORS;
    if (g->share == NB_SHARE_BLOCK)
        return WANTS_TILES;
    if (g->share == NB_SHARE_TENSOR)
        return WANTS_BINS;
    return g->scale == NB_SCALE_E4M3 ? WANTS_RANGE : WANTS_NOTHING;
}

bool nb_grid_needs_training(const struct nb_numfmt *f)
{
    return f->kind == NB_NUMFMT_GRID && wants(f->grid) != WANTS_NOTHING;
}

/* ---- setting up ---- */

static uint64_t tiles(uint64_t n)
{
    return (n + NB_GRID_TILE - 1) / NB_GRID_TILE;
}

static bool alloc_tiles(struct nb_grid_training *t)
{
    const size_t n = (size_t)NB_GRID_TILE * NB_GRID_TILE;
    struct nb_levels lv;
    nb_element_levels(&lv, t->f->grid->elem);
    t->n_scales = (size_t)(tiles(nb_shape_rows(&t->shape)) * tiles(t->cols));
    t->strip = nb_alloc(t->a, NB_GRID_TILE * NB_MAX(t->cols, 1), sizeof *t->strip);
    t->strip_w = nb_alloc(t->a, NB_MAX(t->cols, 1), sizeof *t->strip_w);
    t->tile = nb_alloc(t->a, n, sizeof *t->tile);
    t->tile_w = nb_alloc(t->a, n, sizeof *t->tile_w);
    t->search = nb_alloc(t->a, nb_scale_scratch_floats(&lv, n, &t->how), sizeof *t->search);
    t->scales = nb_alloc(t->a, NB_MAX(t->n_scales, 1), sizeof *t->scales);
    return t->strip != NULL && t->strip_w != NULL && t->tile != NULL && t->tile_w != NULL &&
           t->search != NULL && t->scales != NULL;
}

static bool alloc_vectors(struct nb_grid_training *t)
{
    const uint32_t dim = t->f->grid->elem->dim;
    const uint64_t n = nb_shape_rows(&t->shape) * (t->cols / dim);
    t->stride = NB_MAX((n + SAMPLE - 1) / SAMPLE, 1);
    t->sample = nb_alloc(t->a, (size_t)NB_MAX(n / t->stride + 1, 1) * dim, sizeof *t->sample);
    t->sample_w = nb_alloc(t->a, (size_t)NB_MAX(n / t->stride + 1, 1) * dim, sizeof *t->sample_w);
    return t->sample != NULL && t->sample_w != NULL;
}

static bool alloc_bins(struct nb_grid_training *t)
{
    t->bin_w = nb_alloc_zero(t->a, BINS, sizeof *t->bin_w);
    t->bin_wx = nb_alloc_zero(t->a, BINS, sizeof *t->bin_wx);
    return t->bin_w != NULL && t->bin_wx != NULL;
}

enum nb_status nb_grid_training_create(struct nb_grid_training **out, const struct nb_numfmt *f,
                                       const struct nb_shape *shape,
                                       const struct nb_scale_options *how,
                                       const struct nb_allocator *a, struct nb_error *err)
{
    *out = NULL;
    struct nb_grid_training *t = nb_alloc_zero(a, 1, sizeof *t);
    if (t == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    t->a = a;
    t->f = f;
    t->shape = *shape;
    t->cols = (size_t)nb_shape_cols(shape);
    if (how != NULL)
        t->how = *how;
    const enum wants w = wants(f->grid);
    if ((w == WANTS_BINS && !alloc_bins(t)) || (w == WANTS_VECTORS && !alloc_vectors(t)) ||
        (w == WANTS_TILES && !alloc_tiles(t))) {
        nb_grid_training_destroy(t);
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to learn the parameters of %s", f->name);
    }
    *out = t;
    return NB_OK;
}

void nb_grid_training_destroy(struct nb_grid_training *t)
{
    if (t == NULL)
        return;
    nb_free(t->a, t->bin_w);
    nb_free(t->a, t->bin_wx);
    nb_free(t->a, t->sample);
    nb_free(t->a, t->sample_w);
    nb_free(t->a, t->strip);
    nb_free(t->a, t->strip_w);
    nb_free(t->a, t->tile);
    nb_free(t->a, t->tile_w);
    nb_free(t->a, t->search);
    nb_free(t->a, t->scales);
    nb_free(t->a, t);
}

/* ---- a row ---- */

static float weight_of(const float *importance, size_t i)
{
    const float w = importance == NULL ? 1.0F : importance[i];
    return w > 0.0F && w - w == 0.0F ? w : 0.0F;
}

/* Upper halves of floats in the order of their values. */
static uint32_t bin_of(float x)
{
    const uint32_t u = nb_f32_bits(x);
    return (u >> 31 != 0 ? ~u : u | 0x80000000U) >> 16;
}

static void see_values(struct nb_grid_training *t, const float *x, const float *importance)
{
    for (size_t i = 0; i < t->cols; i++) {
        t->min = x[i] < t->min ? x[i] : t->min;
        t->max = x[i] > t->max ? x[i] : t->max;
        if (t->bin_w == NULL)
            continue;
        const uint32_t b = bin_of(x[i]);
        const double w = (double)weight_of(importance, i);
        t->bin_w[b] += w;
        t->bin_wx[b] += w * (double)x[i];
    }
}

static void see_vectors(struct nb_grid_training *t, const float *x, const float *importance)
{
    const uint32_t dim = t->f->grid->elem->dim;
    const bool scaled = t->f->grid->scale != NB_SCALE_NONE;
    const float rms = scaled ? nb_grid_row_rms(x, t->cols) : 1.0F;
    const float inv = nb_inverse(rms);
    t->weighted = t->weighted || importance != NULL;
    for (size_t at = 0; at + dim <= t->cols; at += dim, t->vector++) {
        if (t->vector % t->stride != 0)
            continue;
        for (uint32_t d = 0; d < dim; d++) {
            t->sample[t->n_sample * dim + d] = x[at + d] * inv;
            /* an error in a long row counts as it will be stored */
            t->sample_w[t->n_sample * dim + d] = weight_of(importance, at + d);
        }
        t->n_sample++;
    }
}

static void search_tile(struct nb_grid_training *t, size_t rows, uint64_t strip, size_t first)
{
    const size_t cols = NB_MIN((size_t)NB_GRID_TILE, t->cols - first);
    struct nb_levels lv;
    nb_element_levels(&lv, t->f->grid->elem);
    for (size_t r = 0; r < rows; r++) {
        memcpy(t->tile + r * cols, t->strip + r * t->cols + first, cols * sizeof *t->tile);
        memcpy(t->tile_w + r * cols, t->strip_w + first, cols * sizeof *t->tile_w);
    }
    const struct nb_scale_problem p = {
        .levels = &lv,
        .x = t->tile,
        .w = t->tile_w,
        .n = rows * cols,
        .store = NB_SCALE_F32,
        .how = t->how,
        .scratch = t->search,
    };
    t->scales[strip * tiles(t->cols) + first / NB_GRID_TILE] = nb_scale_search(&p).scale;
}

static void see_strip(struct nb_grid_training *t, const float *x, const float *importance)
{
    const size_t at = (size_t)(t->row % NB_GRID_TILE);
    memcpy(t->strip + at * t->cols, x, t->cols * sizeof *x);
    for (size_t i = 0; i < t->cols; i++)
        t->strip_w[i] = weight_of(importance, i);
    if (at + 1 < NB_GRID_TILE && t->row + 1 < nb_shape_rows(&t->shape))
        return;
    for (size_t first = 0; first < t->cols; first += NB_GRID_TILE)
        search_tile(t, at + 1, t->row / NB_GRID_TILE, first);
}

enum nb_status nb_grid_train(struct nb_grid_training *t, const float *x, const float *importance,
                             uint64_t n_rows, struct nb_error *err)
{
    if (n_rows > nb_shape_rows(&t->shape) - t->row)
        NB_FAIL(err, NB_ERR_ARG, "more rows than the tensor has");
    for (uint64_t r = 0; r < n_rows; r++, x += t->cols, t->row++) {
        if (t->strip != NULL)
            see_strip(t, x, importance);
        else if (t->sample != NULL)
            see_vectors(t, x, importance);
        else
            see_values(t, x, importance);
    }
    return NB_OK;
}

/* ---- the end ---- */

/* The values seen, ascending, one for each bin that is not empty. */
static size_t points_of(const struct nb_grid_training *t, double *x, double *w)
{
    size_t n = 0;
    for (uint32_t b = 0; b < BINS; b++)
        if (t->bin_w[b] > 0.0) {
            x[n] = t->bin_wx[b] / t->bin_w[b];
            w[n++] = t->bin_w[b];
        }
    return n;
}

static enum nb_status finish_levels(const struct nb_grid_training *t, const double *x,
                                    const double *w, size_t n, uint8_t *side, struct nb_error *err)
{
    double level[NB_MAX_LEVELS] = {0.0};
    const uint32_t k = 1U << t->f->grid->elem->bits;
    struct nb_kmeans job = {.x = x, .w = w, .n = n, .k = k, .levels = level};
    if (n > 0)
        NB_TRY(nb_kmeans_levels(&job, t->a, err));
    for (uint32_t c = 0; c < k; c++)
        nb_store_u32(side + 4 * (size_t)c, nb_f32_bits((float)level[c]));
    return NB_OK;
}

/* Scale, then zero, as the parts lie behind each other. The extremes count as values without weight. */
static enum nb_status finish_scale(const struct nb_grid_training *t, const double *x,
                                   const double *w, size_t n, uint8_t *side, struct nb_error *err)
{
    const struct nb_gridfmt *g = t->f->grid;
    struct nb_levels lv;
    nb_element_levels(&lv, g->elem);
    float *values = nb_alloc(t->a, 2 * (n + 2), sizeof *values);
    float *search = nb_alloc(t->a, nb_scale_scratch_floats(&lv, n + 2, &t->how), sizeof *search);
    if (values != NULL && search != NULL) {
        float *weights = values + n + 2;
        for (size_t i = 0; i < n; i++) {
            values[i] = (float)x[i];
            weights[i] = (float)w[i];
        }
        values[n] = t->min;
        values[n + 1] = t->max;
        weights[n] = weights[n + 1] = 0.0F;
        const struct nb_scale_problem p = {
            .levels = &lv,
            .x = values,
            .w = weights,
            .n = n + 2,
            .store = g->scale,
            .zero = g->zero,
            .how = t->how,
            .scratch = search,
        };
        const struct nb_scale s = nb_scale_search(&p);
        nb_store_u32(side, nb_f32_bits(s.scale));
        if (g->zero == NB_ZERO_F16)
            nb_store_u16(side + 4, nb_f32_to_f16(s.zero));
        if (g->zero == NB_ZERO_INT)
            side[4] = (uint8_t)((int32_t)s.zero - g->elem->lo);
    }
    const bool ok = values != NULL && search != NULL;
    nb_free(t->a, values);
    nb_free(t->a, search);
    return ok ? NB_OK : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for %zu values", n);
}

static enum nb_status finish_bins(const struct nb_grid_training *t, uint8_t *side,
                                  struct nb_error *err)
{
    double *x = nb_alloc(t->a, BINS, sizeof *x), *w = nb_alloc(t->a, BINS, sizeof *w);
    enum nb_status st = NB_OK;
    if (x == NULL || w == NULL) {
        st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory for %u values", BINS);
    } else {
        const size_t n = points_of(t, x, w);
        st = t->f->grid->elem->learned ? finish_levels(t, x, w, n, side, err)
                                       : finish_scale(t, x, w, n, side, err);
    }
    nb_free(t->a, x);
    nb_free(t->a, w);
    return st;
}

static enum nb_status finish_vectors(struct nb_grid_training *t, uint8_t *side,
                                     struct nb_pool *pool, struct nb_error *err)
{
    const struct nb_element *e = t->f->grid->elem;
    const size_t n = ((size_t)1 << e->bits) * e->dim;
    float *book = nb_alloc_zero(t->a, n, sizeof *book);
    if (book == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a codebook");
    struct nb_vq job = {
        .x = t->sample,
        .n = t->n_sample,
        .dim = e->dim,
        .k = 1U << e->bits,
        .w = t->sample_w,
        .n_w = t->weighted ? t->n_sample * e->dim : 0,
        .pool = pool,
        .codebook = book,
    };
    const enum nb_status st = t->n_sample == 0 ? NB_OK : nb_vq_train(&job, t->a, err);
    for (size_t i = 0; i < n; i++)
        nb_store_u32(side + 4 * i, nb_f32_bits(book[i]));
    nb_free(t->a, book);
    return st;
}

enum nb_status nb_grid_training_finish(struct nb_grid_training *t, uint8_t *side,
                                       struct nb_pool *pool, struct nb_error *err)
{
    struct nb_levels lv;
    const enum wants w = wants(t->f->grid);
    if (t->row != nb_shape_rows(&t->shape))
        NB_FAIL(err, NB_ERR_ARG, "fewer rows than the tensor has");
    if (w == WANTS_BINS)
        return finish_bins(t, side, err);
    if (w == WANTS_VECTORS)
        return finish_vectors(t, side, pool, err);
    if (w == WANTS_TILES) {
        for (size_t i = 0; i < t->n_scales; i++)
            nb_store_u32(side + 4 * i, nb_f32_bits(t->scales[i]));
        return NB_OK;
    }
    nb_element_levels(&lv, t->f->grid->elem);
    const float top = t->max > -t->min ? t->max : -t->min;
    nb_store_u32(side, nb_f32_bits(top / (448.0F * lv.hi))); /* the outermost: 448 times it */
    return NB_OK;
}
