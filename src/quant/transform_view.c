/* quant/transform_view.c: a model's weights as transforms leave them, row by row.
 *
 * Scales cost a product per number; rotated columns a transform per row, in the caller's scratch. Where
 * rows are rotated each depends on all others of its run: such a matrix is computed once and held. All in
 * doubles, rounded once. Vectors are small and lie ready.
 */
#include "quant/transform_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define STRIP      32 /* columns that are rotated together, at least */
#define CHUNK_ROWS 64

static const struct nb_weight *weight_of(const struct nb_view *v, size_t i)
{
    return &v->m->w.items[i];
}

static bool is_vector(const struct nb_view *v, size_t i)
{
    return weight_of(v, i)->t.shape.n < 2;
}

static size_t cols_of(const struct nb_view *v, size_t i)
{
    return (size_t)nb_shape_cols(&weight_of(v, i)->t.shape);
}

static size_t rows_of(const struct nb_view *v, size_t i)
{
    return (size_t)nb_shape_rows(&weight_of(v, i)->t.shape);
}

static size_t mats_of(const struct nb_view *v, size_t i)
{
    const struct nb_shape *s = &weight_of(v, i)->t.shape;
    return s->n > 2 ? (size_t)s->dim[0] : 1;
}

/* ---- life ---- */

static enum nb_status fill(struct nb_view *v, struct nb_error *err)
{
    v->items = nb_arena_alloc(&v->arena, v->m->w.n + 1, sizeof *v->items);
    if (v->items == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a view of %zu weights", v->m->w.n);
    return nb_sites_list(&v->m->w, &v->sites, &v->n_sites, &v->arena, err);
}

enum nb_status nb_view_create(struct nb_view **out, const struct nb_model *m,
                              const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_view *v = nb_alloc_zero(a, 1, sizeof *v);
    if (v == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    v->a = a;
    v->m = m;
    nb_arena_init(&v->arena, a, 0);
    const enum nb_status st = fill(v, err);
    if (st == NB_OK)
        *out = v;
    else
        nb_view_destroy(v);
    return st;
}

void nb_view_destroy(struct nb_view *v)
{
    if (v == NULL)
        return;
    for (size_t i = 0; v->items != NULL && i < v->m->w.n; i++)
        nb_free(v->a, v->items[i].held);
    nb_rotation_fini(&v->stream, v->a);
    nb_rotation_fini(&v->heads, v->a);
    nb_arena_fini(&v->arena);
    nb_free(v->a, v);
}

const struct nb_model *nb_view_model(const struct nb_view *v)
{
    return v->m;
}

const struct nb_site *nb_view_sites(const struct nb_view *v, size_t *n)
{
    *n = v->n_sites;
    return v->sites;
}

/* ---- changing ---- */

double *nb_view_vector(struct nb_view *v, size_t i)
{
    struct nb_viewed *x = &v->items[i];
    const size_t n = cols_of(v, i);
    if (x->vec != NULL)
        return x->vec;
    float *raw = nb_alloc(v->a, n, sizeof *raw);
    x->vec = raw == NULL ? NULL : nb_arena_alloc(&v->arena, n, sizeof *x->vec);
    if (x->vec != NULL) {
        nb_model_read_rows(v->m, i, 0, 1, raw);
        for (size_t k = 0; k < n; k++)
            x->vec[k] = (double)raw[k];
    }
    nb_free(v->a, raw);
    return x->vec;
}

static enum nb_status no_memory(const struct nb_view *v, size_t i, struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "tensor '%s': out of memory for its scales",
            weight_of(v, i)->spec.name);
}

/* (n) factors, ones at first. */
static bool ready(struct nb_view *v, double **factors, size_t n)
{
    if (*factors != NULL)
        return true;
    *factors = nb_arena_alloc(&v->arena, n, sizeof **factors);
    for (size_t k = 0; *factors != NULL && k < n; k++)
        (*factors)[k] = 1.0;
    return *factors != NULL;
}

enum nb_status nb_view_scale_columns(struct nb_view *v, size_t i, const double *s, size_t n_s,
                                     struct nb_error *err)
{
    struct nb_viewed *x = &v->items[i];
    const size_t n = mats_of(v, i) * cols_of(v, i);
    nb_assert(n % n_s == 0 && x->held == NULL);
    double *f = NULL;
    if (is_vector(v, i))
        f = nb_view_vector(v, i);
    else if (ready(v, &x->col.post, n))
        f = x->col.post;
    if (f == NULL)
        return no_memory(v, i, err);
    for (size_t k = 0; k < n; k++)
        f[k] *= s[k % n_s];
    return NB_OK;
}

enum nb_status nb_view_scale_rows(struct nb_view *v, size_t i, size_t first, const double *s,
                                  size_t n, struct nb_error *err)
{
    struct nb_viewed *x = &v->items[i];
    nb_assert(first + n <= rows_of(v, i) && x->held == NULL);
    if (!ready(v, &x->row.post, rows_of(v, i)))
        return no_memory(v, i, err);
    for (size_t k = 0; k < n; k++)
        x->row.post[first + k] *= s[k];
    return NB_OK;
}

static void turn(struct nb_side *s, const struct nb_rotation *r, size_t first, size_t n)
{
    nb_assert(s->turn == NULL);
    *s = (struct nb_side){.pre = s->post, .turn = r, .first = first, .count = n};
}

void nb_view_turn_columns(struct nb_view *v, size_t i, const struct nb_rotation *r)
{
    turn(&v->items[i].col, r, 0, cols_of(v, i));
}

void nb_view_turn_rows(struct nb_view *v, size_t i, size_t first, size_t n,
                       const struct nb_rotation *r)
{
    turn(&v->items[i].row, r, first, n);
}

static enum nb_status check_scales(const struct nb_view *v, const struct nb_site *site,
                                   const double *s, struct nb_error *err)
{
    char name[NB_NAME_BYTES];
    if (site->refusal[0] != '\0')
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "'%s' cannot be scaled: %s",
                nb_site_name(&v->m->w, site, name), site->refusal);
    for (size_t k = 0; k < site->n_mat * site->n_scales; k++)
        if (!(s[k] > 0.0) || !isfinite(s[k]) || !isfinite(1.0 / s[k]))
            NB_FAIL(err, NB_ERR_NUMERIC, "'%s': scale %zu is %g, expected a positive number",
                    nb_site_name(&v->m->w, site, name), k, s[k]);
    return NB_OK;
}

/* 1 / s, or its root, to the rows or the elements that make the values. work: as long as s. */
static enum nb_status take_up(struct nb_view *v, const struct nb_site *site, const double *s,
                              double *work, struct nb_error *err)
{
    const size_t n = site->n_mat * site->n_scales;
    for (size_t k = 0; k < n; k++)
        work[k] = 1.0 / (site->squared ? sqrt(s[k]) : s[k]);
    if (!site->norm)
        NB_TRY(nb_view_scale_rows(v, site->producer, site->first_row, work, n, err));
    const size_t vectors[] = {site->norm ? site->producer : NB_NO_WEIGHT, site->producer_bias};
    for (size_t j = 0; j < NB_COUNTOF(vectors); j++) {
        if (vectors[j] == NB_NO_WEIGHT)
            continue;
        double *x = nb_view_vector(v, vectors[j]);
        if (x == NULL)
            return no_memory(v, vectors[j], err);
        for (size_t k = 0; k < n; k++)
            x[site->first_row + k] *= work[k];
    }
    return NB_OK;
}

static enum nb_status scale(struct nb_view *v, const struct nb_site *site, const double *s,
                            double *work, struct nb_error *err)
{
    const size_t n = site->n_mat * site->n;
    for (size_t k = 0; k < n; k++)
        work[k] = s[k / site->n * site->n_scales + nb_site_scale(site, k % site->n)];
    for (size_t r = 0; r < site->n_readers; r++)
        NB_TRY(nb_view_scale_columns(v, site->readers[r], work, n, err));
    return take_up(v, site, s, work, err);
}

enum nb_status nb_view_scale(struct nb_view *v, const struct nb_site *site, const double *s,
                             struct nb_error *err)
{
    NB_TRY(check_scales(v, site, s, err));
    double *work = nb_alloc(v->a, site->n_mat * site->n, sizeof *work);
    if (work == NULL)
        return no_memory(v, site->readers[0], err);
    const enum nb_status st = scale(v, site, s, work, err);
    nb_free(v->a, work);
    return st;
}

size_t nb_view_bias_of(const struct nb_view *v, size_t weight)
{
    const struct nb_weight *w = nb_weights_bias(&v->m->w, weight_of(v, weight));
    return w == NULL ? NB_NO_WEIGHT : (size_t)(w - v->m->w.items);
}

/* ---- what has changed ---- */

static bool side_changes(const struct nb_side *s)
{
    return s->pre != NULL || s->post != NULL || s->turn != NULL;
}

bool nb_view_changes(const struct nb_view *v, size_t weight)
{
    const struct nb_viewed *x = &v->items[weight];
    return x->vec != NULL || side_changes(&x->col) || side_changes(&x->row);
}

const struct nb_numfmt *nb_view_type(const struct nb_view *v, size_t weight)
{
    const struct nb_weight *w = weight_of(v, weight);
    return nb_view_changes(v, weight) && !w->spec.quantizable ? &nb_numfmt_f32 : w->t.type;
}

static void hash_numbers(struct nb_hasher *h, const double *x, size_t n)
{
    const uint64_t there = x == NULL ? 0 : n;
    nb_hasher_update(h, &there, sizeof there);
    if (x != NULL)
        nb_hasher_update(h, x, n * sizeof *x);
}

static void hash_side(struct nb_hasher *h, const struct nb_side *s, size_t n)
{
    const uint64_t turned[2] = {s->turn == NULL ? 0 : s->turn->q.n, s->first};
    hash_numbers(h, s->pre, n);
    hash_numbers(h, s->post, n);
    nb_hasher_update(h, turned, sizeof turned);
}

static void hash_rotation(struct nb_hasher *h, const struct nb_rotation *r)
{
    const uint64_t n = r->q.n, kinds = (r->signs != NULL) + 2U * (r->q.sign != NULL);
    nb_hasher_update(h, &n, sizeof n);
    nb_hasher_update(h, &kinds, sizeof kinds);
    if (r->signs != NULL)
        nb_hasher_update(h, r->signs, r->q.n);
    if (n > 0 && r->q.sign != NULL)
        nb_hasher_update(h, r->q.sign, r->q.n);
}

enum nb_status nb_view_hash(const struct nb_view *v, struct nb_hash *hash, struct nb_error *err)
{
    struct nb_hasher *h = nb_hasher_create(v->a);
    if (h == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    hash_rotation(h, &v->stream);
    hash_rotation(h, &v->heads);
    for (size_t i = 0; i < v->m->w.n; i++) {
        const struct nb_viewed *x = &v->items[i];
        const char *name = weight_of(v, i)->spec.name;
        if (!nb_view_changes(v, i))
            continue;
        nb_hasher_update(h, name, strlen(name) + 1);
        hash_numbers(h, x->vec, cols_of(v, i));
        hash_side(h, &x->col, mats_of(v, i) * cols_of(v, i));
        hash_side(h, &x->row, rows_of(v, i));
    }
    *hash = nb_hasher_digest(h);
    nb_hasher_destroy(h);
    return NB_OK;
}

/* ---- reading ---- */

static bool row_is_turned(const struct nb_side *s, size_t row)
{
    return s->turn != NULL && row >= s->first && row - s->first < s->count;
}

static double factor(const double *f, size_t k)
{
    return f == NULL ? 1.0 : f[k];
}

/* Columns [at, at + n) of a row with what is done to columns; dst may be doubles for more to come. */
static void read_columns(const struct nb_view *v, size_t i, size_t row, size_t at, size_t n,
                         const float *src, double *dst)
{
    const struct nb_viewed *x = &v->items[i];
    const size_t mat = row / (rows_of(v, i) / mats_of(v, i)), from = mat * cols_of(v, i) + at;
    for (size_t k = 0; k < n; k++)
        dst[k] = (double)src[k] * factor(x->col.pre, from + k);
    if (x->col.turn != NULL)
        nb_rotation_apply(x->col.turn, dst, n);
    for (size_t k = 0; k < n && x->col.post != NULL; k++)
        dst[k] *= x->col.post[from + k];
}

/* A row that is not rotated into others, in place. work: STRIP numbers, or a run of the rotation. */
static void view_row(const struct nb_view *v, size_t i, size_t row, float *dst, double *work)
{
    const struct nb_viewed *x = &v->items[i];
    const size_t cols = cols_of(v, i), step = x->col.turn != NULL ? x->col.turn->q.n : STRIP;
    const double f = factor(x->row.pre, row) * factor(x->row.post, row);
    for (size_t at = 0; at < cols; at += step) {
        const size_t n = NB_MIN(step, cols - at);
        read_columns(v, i, row, at, n, dst + at, work);
        for (size_t k = 0; k < n; k++)
            dst[at + k] = (float)(work[k] * f);
    }
}

size_t nb_view_scratch(const struct nb_view *v, size_t weight)
{
    const struct nb_rotation *r = v->items[weight].col.turn;
    return r == NULL ? 0 : r->q.n * sizeof(double);
}

void nb_view_read_rows(const struct nb_view *v, size_t weight, uint64_t row, uint64_t n_rows,
                       float *dst, void *scratch)
{
    const struct nb_viewed *x = &v->items[weight];
    const size_t cols = cols_of(v, weight);
    double strip[STRIP];
    if (x->vec != NULL) {
        for (size_t k = 0; k < cols; k++)
            dst[k] = (float)x->vec[k];
        return;
    }
    if (x->held != NULL) {
        memcpy(dst, x->held + row * cols, n_rows * cols * sizeof *dst);
        return;
    }
    nb_model_read_rows(v->m, weight, row, n_rows, dst);
    if (!nb_view_changes(v, weight))
        return;
    for (uint64_t r = 0; r < n_rows; r++) {
        nb_assert(!row_is_turned(&x->row, (size_t)(row + r)));
        view_row(v, weight, (size_t)(row + r), dst + r * cols,
                 x->col.turn != NULL ? scratch : strip);
    }
}

/* ---- holding ---- */

struct holding {
    const struct nb_view *v;
    size_t i, cols, rows;
    size_t run, strip, strips; /* rows of a run, columns of a task, tasks of a run */
    float *held;               /* (rows, cols) */
    double *work;              /* (threads, (run + 1) * strip) */
};

/* Rows that stay by themselves are finished; the others as they are stored. */
static void load_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct holding *h = ctx;
    double *work = h->work + worker * (h->run + 1) * h->strip;
    nb_model_read_rows(h->v->m, h->i, begin, end - begin, h->held + begin * h->cols);
    for (size_t r = begin; r < end; r++)
        if (!row_is_turned(&h->v->items[h->i].row, r))
            view_row(h->v, h->i, r, h->held + r * h->cols, work);
}

/* Task k: strip k mod strips of run k / strips. */
static void turn_strips(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct holding *h = ctx;
    const struct nb_side *s = &h->v->items[h->i].row;
    double *line = h->work + worker * (h->run + 1) * h->strip, *x = line + h->strip;
    for (size_t k = begin; k < end; k++) {
        const size_t row = s->first + k / h->strips * h->run, at = k % h->strips * h->strip;
        const size_t n = NB_MIN(h->strip, h->cols - at);
        float *part = h->held + row * h->cols + at;
        for (size_t r = 0; r < h->run; r++) {
            read_columns(h->v, h->i, row + r, at, n, part + r * h->cols, line);
            for (size_t c = 0; c < n; c++)
                x[c * h->run + r] = line[c] * factor(s->pre, row + r);
        }
        for (size_t c = 0; c < n; c++)
            nb_rotation_apply(s->turn, x + c * h->run, h->run);
        for (size_t r = 0; r < h->run; r++)
            for (size_t c = 0; c < n; c++)
                part[r * h->cols + c] = (float)(x[c * h->run + r] * factor(s->post, row + r));
    }
}

uint64_t nb_view_hold_bytes(const struct nb_view *v, size_t weight)
{
    return v->items[weight].row.turn == NULL
               ? 0
               : (uint64_t)rows_of(v, weight) * cols_of(v, weight) * sizeof(float);
}

enum nb_status nb_view_hold(struct nb_view *v, size_t weight, struct nb_pool *pool,
                            struct nb_error *err)
{
    struct nb_viewed *x = &v->items[weight];
    struct holding h = {
        .v = v, .i = weight, .cols = cols_of(v, weight), .rows = rows_of(v, weight)};
    if (x->row.turn == NULL || x->held != NULL)
        return NB_OK;
    h.run = x->row.turn->q.n;
    h.strip = x->col.turn != NULL ? x->col.turn->q.n : STRIP;
    h.strips = (h.cols + h.strip - 1) / h.strip;
    h.held = nb_alloc(v->a, h.rows * h.cols, sizeof *h.held);
    h.work = nb_alloc(v->a, nb_pool_threads(pool) * (h.run + 1) * h.strip, sizeof *h.work);
    if (h.held == NULL || h.work == NULL) {
        nb_free(v->a, h.held);
        nb_free(v->a, h.work);
        NB_FAIL(err, NB_ERR_NOMEM, "tensor '%s': no memory for %llu bytes of rotated rows",
                weight_of(v, weight)->spec.name, (unsigned long long)nb_view_hold_bytes(v, weight));
    }
    nb_pool_for(pool, h.rows, CHUNK_ROWS, load_rows, &h);
    nb_pool_for(pool, x->row.count / h.run * h.strips, 1, turn_strips, &h);
    nb_free(v->a, h.work);
    x->held = h.held;
    return NB_OK;
}

void nb_view_release(struct nb_view *v, size_t weight)
{
    nb_free(v->a, v->items[weight].held);
    v->items[weight].held = NULL;
}
