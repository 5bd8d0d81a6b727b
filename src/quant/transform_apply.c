/* quant/transform_apply.c: what transforms that scale have in common: ranges of weights and inputs, a walk
 * over the sites, what is reported. */
#include "quant/transform_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define BATCH_ROWS 64

/* ---- rows of a weight ---- */

static void read_batch(const struct nb_view *v, size_t weight, nb_view_rows_fn *fn, void *ctx,
                       float *x, void *scratch)
{
    const struct nb_shape *shape = &v->m->w.items[weight].t.shape;
    const size_t rows = (size_t)nb_shape_rows(shape);
    for (size_t row = 0; row < rows; row += BATCH_ROWS) {
        const size_t n = NB_MIN(BATCH_ROWS, rows - row);
        nb_view_read_rows(v, weight, row, n, x, scratch);
        fn(ctx, row, n, x);
        nb_model_drop_rows(v->m, weight, row, n);
    }
}

enum nb_status nb_view_each(struct nb_view *v, size_t weight, nb_view_rows_fn *fn, void *ctx,
                            struct nb_pool *pool, struct nb_error *err)
{
    const size_t cols = (size_t)nb_shape_cols(&v->m->w.items[weight].t.shape);
    const size_t scratch_bytes = nb_view_scratch(v, weight);
    const bool held = v->items[weight].held != NULL;
    enum nb_status st = nb_view_hold(v, weight, pool, err);
    if (st != NB_OK)
        return st;
    float *x = nb_alloc(v->a, BATCH_ROWS * cols, sizeof *x);
    void *scratch = nb_alloc(v->a, scratch_bytes, 1);
    if (x != NULL && (scratch != NULL || scratch_bytes == 0))
        read_batch(v, weight, fn, ctx, x, scratch);
    else
        st = NB_ERROR(err, NB_ERR_NOMEM, "tensor '%s': out of memory",
                      v->m->w.items[weight].spec.name);
    nb_free(v->a, x);
    nb_free(v->a, scratch);
    if (!held)
        nb_view_release(v, weight);
    return st;
}

bool nb_view_is_rounded(const struct nb_view *v, size_t weight)
{
    return v->m->w.items[weight].spec.quantizable;
}

/* ---- ranges ---- */

struct ranges {
    const struct nb_site *site;
    size_t mat_rows; /* rows of a matrix of the weight */
    bool apart;      /* each matrix has scales of its own */
    double *amax;    /* (n_mat, n_scales) */
};

static void grow_columns(void *ctx, size_t row, size_t n, const float *x)
{
    const struct ranges *r = ctx;
    const struct nb_site *s = r->site;
    for (size_t k = 0; k < n; k++, x += s->n) {
        double *amax = r->amax + (r->apart ? (row + k) / r->mat_rows * s->n_scales : 0);
        for (size_t j = 0; j < s->n; j++) {
            double *a = &amax[nb_site_scale(s, j)];
            *a = fmax(*a, fabs((double)x[j]));
        }
    }
}

enum nb_status nb_site_column_amax(struct nb_view *v, const struct nb_site *s, double *amax,
                                   struct nb_pool *pool, struct nb_error *err)
{
    memset(amax, 0, s->n_mat * s->n_scales * sizeof *amax);
    for (size_t r = 0; r < s->n_readers; r++) {
        const struct nb_shape *shape = &v->m->w.items[s->readers[r]].t.shape;
        struct ranges ranges = {.site = s, .apart = s->n_mat > 1, .amax = amax};
        ranges.mat_rows = (size_t)nb_shape_rows(shape) / s->n_mat;
        if (nb_view_is_rounded(v, s->readers[r]))
            NB_TRY(nb_view_each(v, s->readers[r], grow_columns, &ranges, pool, err));
    }
    return NB_OK;
}

struct row_ranges {
    size_t first, n, cols;
    double *amax; /* (n) */
};

static void grow_rows(void *ctx, size_t row, size_t n, const float *x)
{
    const struct row_ranges *r = ctx;
    for (size_t k = 0; k < n; k++, x += r->cols) {
        if (row + k < r->first || row + k - r->first >= r->n)
            continue;
        double *a = &r->amax[row + k - r->first];
        for (size_t j = 0; j < r->cols; j++)
            *a = fmax(*a, fabs((double)x[j]));
    }
}

enum nb_status nb_site_row_amax(struct nb_view *v, const struct nb_site *s, double *amax,
                                struct nb_pool *pool, struct nb_error *err)
{
    struct row_ranges r = {.first = s->first_row, .n = s->n_mat * s->n_scales, .amax = amax};
    r.cols = (size_t)nb_shape_cols(&v->m->w.items[s->producer].t.shape);
    memset(amax, 0, r.n * sizeof *amax);
    return nb_view_each(v, s->producer, grow_rows, &r, pool, err);
}

bool nb_site_stat(const struct nb_transform_job *job, const struct nb_site *s,
                  enum nb_site_stat which, double *out)
{
    const double *x = job->stat == NULL ? NULL : job->stat(job->stat_ctx, s, which);
    const double count = (double)s->n / (double)s->n_scales;
    if (x == NULL)
        return false;
    memset(out, 0, s->n_mat * s->n_scales * sizeof *out);
    for (size_t k = 0; k < s->n_mat * s->n; k++) {
        double *o = &out[k / s->n * s->n_scales + nb_site_scale(s, k % s->n)];
        if (which == NB_STAT_AMAX)
            *o = fmax(*o, x[k]);
        else
            *o += (which == NB_STAT_RMS ? x[k] * x[k] : x[k]) / count;
    }
    for (size_t k = 0; k < s->n_mat * s->n_scales && which == NB_STAT_RMS; k++)
        out[k] = sqrt(out[k]);
    return true;
}

/* ---- the walk ---- */

static void refuse(struct nb_transform_report *r, const struct nb_view *v, const struct nb_site *s,
                   const struct nb_log *log)
{
    char name[NB_NAME_BYTES];
    if (r->n_refused++ == 0)
        memcpy(r->refusal, s->refusal, sizeof r->refusal);
    nb_log_msg(log, NB_LOG_DEBUG, "'%s' is not scaled: %s", nb_site_name(&v->m->w, s, name),
               s->refusal);
}

static void note(struct nb_transform_report *r, double parameter)
{
    r->parameter_min = r->n_sites == 0 ? parameter : fmin(r->parameter_min, parameter);
    r->parameter_max = r->n_sites == 0 ? parameter : fmax(r->parameter_max, parameter);
    r->parameter_mean += parameter; /* a sum as yet */
    r->n_sites++;
}

static enum nb_status apply_site(const struct nb_scaling *how, struct nb_view *v,
                                 const struct nb_transform_job *job, const struct nb_site *site,
                                 struct nb_transform_report *report, struct nb_error *err)
{
    enum nb_choice choice = NB_UNKNOWN;
    double parameter = 0.0;
    double *s = nb_alloc(v->a, site->n_mat * site->n_scales, sizeof *s);
    if (s == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu scales", site->n_mat * site->n_scales);
    enum nb_status st = how->choose(v, job, site, s, &parameter, &choice, err);
    if (st == NB_OK && choice == NB_CHOSEN)
        st = nb_view_scale(v, site, s, err);
    nb_free(v->a, s);
    if (st != NB_OK)
        return st;
    if (choice == NB_CHOSEN)
        note(report, parameter);
    report->n_idle += choice == NB_IDLE;
    report->n_unknown += choice == NB_UNKNOWN;
    return NB_OK;
}

enum nb_status nb_scaling_apply(const struct nb_scaling *how, struct nb_view *v,
                                const struct nb_transform_job *job,
                                struct nb_transform_report *report, struct nb_error *err)
{
    const unsigned kinds = job->kinds != 0 ? job->kinds : how->kinds;
    *report = (struct nb_transform_report){.n_sites = 0};
    for (size_t k = 0; k < v->n_sites; k++) {
        const struct nb_site *site = &v->sites[k];
        if (!(kinds >> site->kind & 1U) || (how->rows_only && site->norm))
            continue;
        if (site->refusal[0] != '\0')
            refuse(report, v, site, job->log);
        else
            NB_TRY(apply_site(how, v, job, site, report, err));
    }
    if (report->n_sites > 0)
        report->parameter_mean /= (double)report->n_sites;
    if (report->n_sites + report->n_idle > 0)
        return NB_OK;
    if (report->n_unknown > 0)
        NB_FAIL(err, NB_ERR_ARG, "'%s' needs statistics of the inputs: none are known", how->name);
    NB_FAIL(err, NB_ERR_UNSUPPORTED, "'%s' cannot be carried: %s", how->name,
            report->n_refused > 0 ? report->refusal : "the model has no site for it");
}
