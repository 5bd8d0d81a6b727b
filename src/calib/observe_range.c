/* calib/observe_range.c: the least and the greatest value of each column: what a static grid must reach, and
 * what SmoothQuant (arXiv:2211.10438) divides columns by. */
#include "calib/observer.h"

#include <math.h>

#define GRAIN 64 /* columns */

/* Owns: lo, hi, bad. */
struct range {
    const struct nb_allocator *a;
    size_t cols;
    float *lo, *hi; /* (cols); 0 until a token was seen                  */
    float *bad;     /* (cols) sums of x - x: NaN once a value was not finite */
    bool seen;
};

static enum nb_status init(void *state, size_t cols, const struct nb_allocator *a,
                           struct nb_error *err)
{
    struct range *s = state;
    s->a = a;
    s->cols = cols;
    s->lo = nb_alloc_zero(a, cols, sizeof *s->lo);
    s->hi = nb_alloc_zero(a, cols, sizeof *s->hi);
    s->bad = nb_alloc_zero(a, cols, sizeof *s->bad);
    if (s->lo == NULL || s->hi == NULL || s->bad == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu columns of statistics", cols);
    return NB_OK;
}

static void fini(void *state)
{
    struct range *s = state;
    nb_free(s->a, s->lo);
    nb_free(s->a, s->hi);
    nb_free(s->a, s->bad);
}

struct job {
    struct range *s;
    const struct nb_observed *v;
};

static void add_columns(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *job = ctx;
    struct range *s = job->s;
    const float *first = nb_observed_row(job->v, 0);
    (void)worker;
    for (size_t j = begin; j < end && !s->seen; j++)
        s->lo[j] = s->hi[j] = first[j];
    for (size_t i = 0; i < job->v->n_rows; i++) {
        const float *x = nb_observed_row(job->v, i);
        for (size_t j = begin; j < end; j++) {
            s->lo[j] = x[j] < s->lo[j] ? x[j] : s->lo[j];
            s->hi[j] = x[j] > s->hi[j] ? x[j] : s->hi[j];
            s->bad[j] += x[j] - x[j];
        }
    }
}

static enum nb_status add(void *state, const struct nb_observed *v, struct nb_error *err)
{
    struct job job = {state, v};
    (void)err;
    if (v->n_rows == 0)
        return NB_OK;
    nb_pool_for(v->pool, v->cols, GRAIN, add_columns, &job);
    job.s->seen = true;
    return NB_OK;
}

static enum nb_status settle(void *state, struct nb_pool *pool, const char *weight,
                             struct nb_error *err)
{
    const struct range *s = state;
    (void)pool;
    for (size_t j = 0; j < s->cols; j++)
        if (!(s->bad[j] == 0.0F))
            NB_FAIL(err, NB_ERR_NUMERIC, "the input of '%s' is not finite in column %zu", weight,
                    j);
    return NB_OK;
}

static enum nb_status merge(void *state, const void *from, struct nb_error *err)
{
    struct range *s = state;
    const struct range *f = from;
    (void)err;
    for (size_t j = 0; j < s->cols && f->seen; j++) {
        s->lo[j] = !s->seen || f->lo[j] < s->lo[j] ? f->lo[j] : s->lo[j];
        s->hi[j] = !s->seen || f->hi[j] > s->hi[j] ? f->hi[j] : s->hi[j];
    }
    s->seen = s->seen || f->seen;
    return NB_OK;
}

static struct nb_stored stored(const void *state)
{
    return (struct nb_stored){&nb_numfmt_f32, 2, ((const struct range *)state)->cols};
}

static void save(const void *state, size_t first, size_t n, double *dst)
{
    const struct range *s = state;
    for (size_t i = first; i < first + n; i++)
        *dst++ = (double)(i < s->cols ? s->lo[i] : s->hi[i - s->cols]);
}

static enum nb_status check(const struct nb_stored *is, size_t cols, struct nb_error *err)
{
    return nb_observer_shape(is, 2, cols, err);
}

static enum nb_status load(void *state, const struct nb_stored *is, size_t first, size_t n,
                           const double *src, struct nb_error *err)
{
    struct range *s = state;
    (void)is;
    for (size_t i = first; i < first + n; i++) {
        const double v = *src++;
        if (!isfinite(v) || (i >= s->cols && v < (double)s->lo[i - s->cols]))
            NB_FAIL(
                err, NB_ERR_FORMAT,
                "number %zu is %g; the bounds of a column are finite and the upper is not below "
                "the lower",
                i, v);
        if (i < s->cols)
            s->lo[i] = (float)v;
        else
            s->hi[i - s->cols] = (float)v;
    }
    return NB_OK;
}

static void tokens(void *state, double n)
{
    ((struct range *)state)->seen = n > 0.0;
}

const struct nb_observer nb_observer_range = {
    .name = "range",
    .summary = "least and greatest value of each column",
    .state_bytes = sizeof(struct range),
    .init = init,
    .fini = fini,
    .add = add,
    .settle = settle,
    .merge = merge,
    .stored = stored,
    .save = save,
    .check = check,
    .load = load,
    .tokens = tokens,
};
