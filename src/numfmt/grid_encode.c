/* numfmt/grid_encode.c: rows of values onto a general grid (grid.h).
 *
 * Each group of a row: weights from importance, a scale (and zero) from scale_search.c or, where a whole
 * tensor shares it, from training; then the nearest level for each value. Double-quantized scales take
 * two passes over the row: what the groups want, then the best of 256 multiples of a row's unit.
 */
#include "numfmt/grid_internal.h"

/* A row at work. Borrows: everything. */
struct row {
    const struct nb_grid_encode *e;
    const struct nb_gridfmt *g;
    struct nb_levels *levels; /* (2): of the element or the tensor; of the group at hand */
    struct nb_tensor t;       /* the record being written, as a tensor */
    size_t cols, group, n_groups;
    uint8_t *part[NB_MAX_PARTS]; /* of the record */
    float *w;                    /* (group) */
    float *search;               /* scratch of the search */
    double *sorted;              /* (256) levels; (2, group): values and weights by value */
};

static const struct nb_scale_options defaults;

static const struct nb_scale_options *how_of(const struct nb_grid_encode *e)
{
    return e->how != NULL ? e->how : &defaults;
}

/* ---- storing ---- */

/* What stored scales of this row are multiplied by. */
static float scale2_of(const struct row *r, uint64_t row)
{
    if (r->g->scale != NB_SCALE_E4M3 && r->g->scale != NB_SCALE_U8)
        return 1.0F;
    return nb_load_f32(nb_part_row(&r->t, NB_PART_SCALE2, row));
}

void nb_grid_put_scale(const struct nb_gridfmt *g, uint8_t *part, size_t k, float scale,
                       float scale2)
{
    const uint32_t code = nb_scale_code(g->scale, scale2, scale);
    if (g->scale == NB_SCALE_F32)
        nb_store_u32(part + 4 * k, code);
    else if (g->scale == NB_SCALE_F16 || g->scale == NB_SCALE_BF16)
        nb_store_u16(part + 2 * k, (uint16_t)code);
    else if (g->scale != NB_SCALE_NONE)
        part[k] = (uint8_t)code;
}

void nb_grid_put_zero(const struct nb_gridfmt *g, uint8_t *part, size_t k, float zero)
{
    const uint32_t bits = g->elem->bits;
    if (g->zero == NB_ZERO_F16) {
        nb_store_u16(part + 2 * k, nb_f32_to_f16(zero));
        return;
    }
    uint16_t run[8];
    if (k % 8 > 0)
        nb_codes_unpack(run, part, bits, k / 8 * 8, k % 8);
    run[k % 8] = (uint16_t)((int32_t)zero - g->elem->lo);
    nb_codes_pack(part, run, bits, k / 8 * 8, k % 8 + 1);
}

/* Codes of the levels nearest to x / scale + zero, elements at .. at + n - 1 of the row. */
static void put_codes(const struct row *r, const struct nb_levels *lv, const float *x, size_t at,
                      size_t n, struct nb_scale s)
{
    const float inv = nb_inverse(s.scale);
    for (size_t i = 0; i < n; i += NB_GRID_RUN) {
        float t[NB_GRID_RUN];
        float v[NB_GRID_RUN];
        uint16_t codes[NB_GRID_RUN];
        const size_t run = NB_MIN((size_t)NB_GRID_RUN, n - i);
        for (size_t k = 0; k < run; k++)
            t[k] = x[i + k] * inv + s.zero;
        lv->snap(lv, t, v, run);
        for (size_t k = 0; k < run; k++)
            codes[k] = nb_level_code(lv, v[k]);
        nb_codes_pack(r->part[NB_PART_CODES], codes, r->g->elem->bits, at + i, run);
    }
}

/* ---- a group ---- */

static const float *weights_of(const struct row *r, size_t at, size_t n)
{
    if (r->e->importance == NULL)
        return NULL;
    nb_numfmt_weights(r->w, r->e->importance + at, (uint32_t)n);
    return r->w;
}

static struct nb_scale search(const struct row *r, const float *x, size_t at, size_t n,
                              enum nb_scale_store store, float scale2)
{
    const struct nb_scale_problem p = {
        .levels = r->levels,
        .x = x + at,
        .w = weights_of(r, at, n),
        .n = n,
        .store = store,
        .zero = r->g->zero,
        .scale2 = scale2,
        .positive = r->g->scale == NB_SCALE_U8,
        .how = *how_of(r->e),
        .scratch = r->search,
    };
    return nb_scale_search(&p);
}

/* The unit of a row's 8-bit scales: the largest scale is 255 of them. */
static void put_scale_unit(const struct row *r, const float *x)
{
    float top = 0.0F;
    for (size_t k = 0; k < r->n_groups; k++) {
        const float s = search(r, x, k * r->group, r->group, NB_SCALE_F32, 1.0F).scale;
        top = s > top ? s : top;
    }
    nb_store_u32(r->part[NB_PART_SCALE2], nb_f32_bits(top / 255.0F));
}

static void encode_group(const struct row *r, const float *x, uint64_t row, size_t k)
{
    const size_t at = k * r->group, n = NB_MIN(r->group, r->cols - at);
    const bool own = r->g->share == NB_SHARE_CHANNEL || r->g->share == NB_SHARE_GROUP;
    if (own) {
        const struct nb_scale s = search(r, x, at, n, r->g->scale, scale2_of(r, row));
        nb_grid_put_scale(r->g, r->part[NB_PART_SCALES], k, s.scale, scale2_of(r, row));
        if (r->g->zero != NB_ZERO_NONE)
            nb_grid_put_zero(r->g, r->part[NB_PART_ZEROS], k, s.zero);
    }
    put_codes(r, r->levels, x + at, at, n, nb_grid_params(&r->t, row, k));
}

/* ---- learned levels ---- */

static void sort_pairs(double *x, double *w, size_t n)
{
    for (size_t gap = n / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11)
        for (size_t i = gap; i < n; i++) {
            const double xi = x[i], wi = w[i];
            size_t k = i;
            for (; k >= gap && x[k - gap] > xi; k -= gap) {
                x[k] = x[k - gap];
                w[k] = w[k - gap];
            }
            x[k] = xi;
            w[k] = wi;
        }
}

enum nb_status nb_grid_own_levels(struct nb_kmeans *job, const float *x, const float *w,
                                  float *stored, const struct nb_allocator *a, struct nb_error *err)
{
    double *values = job->levels + job->k;
    double *weights = values + job->n;
    for (size_t i = 0; i < job->n; i++) {
        values[i] = (double)x[i];
        weights[i] = w == NULL ? 1.0 : (double)w[i];
    }
    sort_pairs(values, weights, job->n);
    job->x = values;
    job->w = weights;
    NB_TRY(nb_kmeans_levels(job, a, err));
    for (uint32_t c = 0; c < job->k; c++)
        stored[c] = nb_via_f16((float)job->levels[c]);
    return NB_OK;
}

void nb_grid_put_levels(uint8_t *part, size_t k, const float *level, uint32_t n)
{
    for (uint32_t c = 0; c < n; c++)
        nb_store_u16(part + 2 * (k * n + c), nb_f32_to_f16(level[c]));
}

/* The optimal levels of one group, in f16; then its codes. */
static enum nb_status encode_own_levels(const struct row *r, const float *x, size_t k,
                                        struct nb_error *err)
{
    const size_t at = k * r->group, n = NB_MIN(r->group, r->cols - at);
    const uint32_t n_levels = 1U << r->g->elem->bits;
    float stored[NB_MAX_LEVELS];
    struct nb_levels *lv = r->levels + 1;
    struct nb_kmeans job = {.n = n, .k = n_levels, .levels = r->sorted};
    NB_TRY(nb_grid_own_levels(&job, x + at, weights_of(r, at, n), stored, r->e->a, err));
    nb_grid_put_levels(r->part[NB_PART_LEVELS], k, stored, n_levels);
    nb_learned_levels(lv, stored, n_levels);
    put_codes(r, lv, x + at, at, n, (struct nb_scale){1.0F, 0.0F});
    return NB_OK;
}

/* ---- a row ---- */

static enum nb_status encode_row(const struct row *r, const float *x, uint64_t row,
                                 struct nb_error *err)
{
    const bool own_levels = r->g->elem->learned && !nb_grid_levels_shared(r->g);
    if (r->g->elem->dim > 1) {
        nb_grid_encode_vectors(&r->t, r->e->importance, x, row, r->part);
        return NB_OK;
    }
    if (r->g->scale == NB_SCALE_U8)
        put_scale_unit(r, x);
    for (size_t k = 0; k < r->n_groups; k++) {
        if (own_levels)
            NB_TRY(encode_own_levels(r, x, k, err));
        else
            encode_group(r, x, row, k);
    }
    return NB_OK;
}

/* Levels for all rows; learned ones of the tensor come from the side. */
static void levels_for_all(struct nb_levels *lv, const struct nb_grid_encode *e)
{
    const struct nb_element *elem = e->type->grid->elem;
    float level[NB_MAX_LEVELS];
    if (elem->dim > 1 || (elem->learned && !nb_grid_levels_shared(e->type->grid)))
        return;
    if (!elem->learned) {
        nb_element_levels(lv, elem);
        return;
    }
    for (uint32_t c = 0; c < 1U << elem->bits; c++) /* the only tensor-wide part there is */
        level[c] = nb_load_f32(e->side + 4 * (size_t)c);
    nb_learned_levels(lv, level, 1U << elem->bits);
}

static void row_fini(struct row *r)
{
    nb_free(r->e->a, r->levels);
    nb_free(r->e->a, r->w);
    nb_free(r->e->a, r->search);
    nb_free(r->e->a, r->sorted);
}

static enum nb_status row_init(struct row *r, const struct nb_grid_encode *e, struct nb_error *err)
{
    const bool searches = e->type->grid->elem->dim == 1 && !e->type->grid->elem->learned;
    *r = (struct row){.e = e, .g = e->type->grid, .cols = (size_t)nb_shape_cols(e->shape)};
    r->group = nb_grid_group(r->g, r->cols);
    r->n_groups = (r->cols + r->group - 1) / r->group;
    r->levels = nb_alloc(e->a, 2, sizeof *r->levels);
    if (r->levels != NULL) {
        levels_for_all(r->levels, e);
        const size_t n = searches ? nb_scale_scratch_floats(r->levels, r->group, how_of(e)) : 1;
        r->w = nb_alloc(e->a, r->group, sizeof *r->w);
        r->search = nb_alloc(e->a, n, sizeof *r->search);
        r->sorted = nb_alloc(e->a, 2 * r->group + NB_MAX_LEVELS, sizeof *r->sorted);
    }
    if (r->w != NULL && r->search != NULL && r->sorted != NULL)
        return NB_OK;
    row_fini(r);
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a row of %zu elements", r->cols);
}

enum nb_status nb_grid_encode_rows(const struct nb_grid_encode *e, uint8_t *records, const float *x,
                                   uint64_t row, uint64_t n_rows, struct nb_error *err)
{
    struct row r;
    const size_t n = (size_t)(n_rows * nb_shape_cols(e->shape));
    const size_t bad = nb_first_not_finite(x, n);
    if (bad < n)
        NB_FAIL(err, NB_ERR_NUMERIC, "element %zu is %s, expected a finite number", bad,
                x[bad] != x[bad] ? "NaN" : "infinite");
    struct nb_parts parts = nb_grid_records(e->type, e->shape, records, row, e->side);
    NB_TRY(row_init(&r, e, err));
    r.t = (struct nb_tensor){.type = e->type, .shape = *e->shape, .parts = &parts};
    enum nb_status st = NB_OK;
    for (uint64_t i = 0; i < n_rows && st == NB_OK; i++) {
        for (int p = 0; p < NB_MAX_PARTS; p++)
            r.part[p] = parts.stride[p] == 0
                            ? NULL
                            : records + i * parts.stride[p] + (size_t)(parts.at[p] - records);
        st = encode_row(&r, x + i * r.cols, row + i, err);
    }
    row_fini(&r);
    return st;
}
