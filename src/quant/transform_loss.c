/* quant/transform_loss.c: what rounding to nearest would cost at a site under given scales: the error of the
 * outputs of the layers that read it, tr(E H E^T), E = Q(W diag(s)) diag(1/s) - W.
 *
 * AWQ's loss as published is the squared error of the layers' outputs over sampled tokens; over all the
 * tokens of H it is this trace. What a format's rows share is found for each trial anew.
 */
#include "quant/transform_internal.h"

#include <string.h>

#include "numfmt/grid.h"

#define ROWS 96 /* rounded at once */

/* A worker's. Owns: all. */
struct rounder {
    struct nb_coder *coder;
    struct nb_grid *grids; /* (n_blocks) */
    int16_t *codes;        /* (n) */
    float *x, *q;          /* (n) a scaled row, its rounded values */
};

/* A reader at a time. Owns: workers, e, weight, side. Borrows: the rest. */
struct trial {
    struct nb_view *v;
    const struct nb_site *site;
    const struct nb_site_rounding *how;
    const double *s;         /* (n_mat, n_scales), NULL: ones */
    struct rounder *workers; /* (threads) */
    float *e;                /* (ROWS, n) rows, then their errors */
    size_t row[ROWS];        /* their numbers */
    float *weight;           /* (n) of errors when scales are fitted */
    uint8_t *side;           /* what rows share; NULL: nothing */
    struct nb_grid_training *training;
    size_t n_rows, every, mat_rows, mat;
    bool apart;
    double loss;
    enum nb_status st;
    struct nb_error *err;
};

static double scale_of(const struct trial *t, size_t j)
{
    return t->s == NULL ? 1.0 : t->s[t->mat * t->site->n_scales + nb_site_scale(t->site, j)];
}

static void scale_row(const struct trial *t, float *x, const float *w)
{
    for (size_t j = 0; j < t->site->n; j++)
        x[j] = (float)((double)w[j] * scale_of(t, j));
}

/* ---- rounding ---- */

static void round_row(const struct trial *t, const struct rounder *k, size_t row)
{
    struct nb_coder *c = k->coder;
    const float *w = t->how->plain ? NULL : t->weight;
    nb_coder_row(c, row, k->x, w);
    for (size_t b = 0; b < c->n_blocks; b++) {
        const size_t at = b * c->block;
        const uint32_t n = nb_coder_block_cols(c, b);
        w = t->how->plain ? NULL : t->weight + at;
        nb_coder_fit(c, row, b, &k->grids[b], k->x + at, w);
        for (uint32_t i = 0; i < n; i += c->dim)
            nb_coder_round(c, &k->grids[b], i, k->x + at + i, w == NULL ? NULL : w + i,
                           k->codes + at + i, k->q + at + i);
    }
}

/* Rows of e become their errors. */
static void try_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct trial *t = ctx;
    const struct rounder *k = &t->workers[worker];
    for (size_t r = begin; r < end; r++) {
        float *e = t->e + r * t->site->n;
        scale_row(t, k->x, e);
        round_row(t, k, t->row[r]);
        for (size_t j = 0; j < t->site->n; j++)
            e[j] = (float)((double)k->q[j] / scale_of(t, j) - (double)e[j]);
    }
}

/* The rows kept so far, under the H of their matrix. */
static void settle(struct trial *t)
{
    const struct nb_sym_product p = {.h = t->how->h[t->mat],
                                     .n = t->site->n,
                                     .e = t->e,
                                     .e_stride = t->site->n,
                                     .rows = t->n_rows};
    double total = 0.0;
    if (t->st == NB_OK && t->n_rows > 0) {
        nb_pool_for(t->how->pool, t->n_rows, 4, try_rows, t);
        t->st = nb_quad_form(&total, NULL, &p, t->how->pool, t->v->a, t->err);
    }
    t->loss += total;
    t->n_rows = 0;
}

static void set_matrix(struct trial *t, size_t mat)
{
    const double *h = t->how->h[mat];
    t->mat = mat;
    for (size_t j = 0; j < t->site->n && !t->how->plain; j++) {
        const double s = scale_of(t, j);
        t->weight[j] = (float)(h[j * (t->site->n + 1)] / t->how->tokens / (s * s));
    }
}

static void keep_rows(void *ctx, size_t row, size_t n, const float *w)
{
    struct trial *t = ctx;
    for (size_t k = 0; k < n && t->st == NB_OK; k++, w += t->site->n) {
        const size_t mat = t->apart ? (row + k) / t->mat_rows : 0;
        if (mat != t->mat) {
            settle(t);
            set_matrix(t, mat);
        }
        if ((row + k) % t->every != 0)
            continue;
        t->row[t->n_rows] = row + k;
        memcpy(t->e + t->n_rows++ * t->site->n, w, t->site->n * sizeof *w);
        if (t->n_rows == ROWS)
            settle(t);
    }
}

/* ---- what rows share ---- */

static void train_rows(void *ctx, size_t row, size_t n, const float *w)
{
    struct trial *t = ctx;
    for (size_t k = 0; k < n && t->st == NB_OK; k++, w += t->site->n) {
        const size_t mat = t->apart ? (row + k) / t->mat_rows : 0;
        if (mat != t->mat)
            set_matrix(t, mat);
        scale_row(t, t->e, w);
        t->st = nb_grid_train(t->training, t->e, t->how->plain ? NULL : t->weight, 1, t->err);
    }
}

static enum nb_status train(struct trial *t, size_t weight, struct nb_coder_spec *spec,
                            struct nb_error *err)
{
    const struct nb_allocator *a = t->v->a;
    if (spec->type->kind != NB_NUMFMT_GRID || !nb_grid_needs_training(spec->type))
        return NB_OK;
    t->side = nb_alloc_zero(a, (size_t)nb_grid_side_bytes(spec->type, spec->shape), 1);
    if (t->side == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    spec->side = t->side;
    set_matrix(t, 0);
    NB_TRY(nb_grid_training_create(&t->training, spec->type, spec->shape, spec->how, a, err));
    enum nb_status st = nb_view_each(t->v, weight, train_rows, t, t->how->pool, err);
    st = st == NB_OK ? t->st : st;
    if (st == NB_OK)
        st = nb_grid_training_finish(t->training, t->side, t->how->pool, err);
    nb_grid_training_destroy(t->training);
    return st;
}

/* ---- a reader ---- */

static void rounder_fini(struct rounder *k, const struct nb_allocator *a)
{
    if (k->coder != NULL)
        nb_coder_grids_destroy(k->coder, k->grids);
    nb_coder_destroy(k->coder);
    nb_free(a, k->codes);
    nb_free(a, k->x);
    *k = (struct rounder){.coder = NULL};
}

static enum nb_status rounder_init(struct rounder *k, const struct nb_coder_spec *spec, size_t n,
                                   const struct nb_allocator *a, struct nb_error *err)
{
    NB_TRY(nb_coder_create(&k->coder, spec, err));
    k->grids = nb_coder_grids_create(k->coder, 1);
    k->codes = nb_alloc(a, n, sizeof *k->codes);
    k->x = nb_alloc(a, 2 * n, sizeof *k->x);
    if (k->grids == NULL || k->codes == NULL || k->x == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for rows of %zu columns", n);
    k->q = k->x + n;
    return NB_OK;
}

static enum nb_status try_reader(struct trial *t, size_t weight, struct nb_coder_spec spec,
                                 struct nb_error *err)
{
    const unsigned threads = nb_pool_threads(t->how->pool);
    spec.shape = &t->v->m->w.items[weight].t.shape;
    t->mat_rows = (size_t)nb_shape_rows(spec.shape) / t->site->n_mat;
    t->every = t->how->max_rows == 0 ? 1 : NB_MAX(t->mat_rows / t->how->max_rows, 1);
    enum nb_status st = train(t, weight, &spec, err);
    for (unsigned i = 0; i < threads && st == NB_OK; i++)
        st = rounder_init(&t->workers[i], &spec, t->site->n, t->v->a, err);
    if (st == NB_OK) {
        set_matrix(t, 0);
        st = nb_view_each(t->v, weight, keep_rows, t, t->how->pool, err);
    }
    if (st == NB_OK) {
        settle(t);
        st = t->st;
    }
    for (unsigned i = 0; i < threads; i++)
        rounder_fini(&t->workers[i], t->v->a);
    nb_free(t->v->a, t->side);
    t->side = NULL;
    return st;
}

enum nb_status nb_site_rtn_loss(struct nb_view *v, const struct nb_site *site,
                                const struct nb_site_rounding *how, const double *s, double *loss,
                                struct nb_error *err)
{
    struct trial t = {.v = v, .site = site, .how = how, .s = s, .err = err};
    t.apart = site->n_mat > 1;
    t.workers = nb_alloc_zero(v->a, nb_pool_threads(how->pool), sizeof *t.workers);
    t.e = nb_alloc(v->a, ROWS * site->n, sizeof *t.e);
    t.weight = nb_alloc(v->a, site->n, sizeof *t.weight);
    enum nb_status st = NB_OK;
    if (t.workers == NULL || t.e == NULL || t.weight == NULL)
        st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory");
    for (size_t r = 0; r < site->n_readers && st == NB_OK; r++)
        if (nb_view_is_rounded(v, site->readers[r]) && how->spec[r].type != NULL)
            st = try_reader(&t, site->readers[r], how->spec[r], err);
    *loss = t.loss / how->tokens;
    nb_free(v->a, t.workers);
    nb_free(v->a, t.e);
    nb_free(v->a, t.weight);
    return st;
}
