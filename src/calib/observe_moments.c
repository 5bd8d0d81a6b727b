/* calib/observe_moments.c: sums of squares, column by column: the diagonal of H = X X^T.
 *
 * Columns are dealt out to threads; the tokens of a column are summed in order, in double, where the square of
 * a float is exact.
 */
#include "calib/observer.h"

#include <math.h>

#define GRAIN 64 /* columns */

struct moments {
    const struct nb_allocator *a;
    size_t cols;
    double *sum; /* (cols) */
};

static enum nb_status init(void *state, size_t cols, const struct nb_allocator *a,
                           struct nb_error *err)
{
    struct moments *s = state;
    s->a = a;
    s->cols = cols;
    s->sum = nb_alloc_zero(a, cols, sizeof *s->sum);
    if (s->sum == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu columns of statistics", cols);
    return NB_OK;
}

static void fini(void *state)
{
    struct moments *s = state;
    nb_free(s->a, s->sum);
}

struct job {
    struct moments *s;
    const struct nb_observed *v;
};

static void add_columns(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *job = ctx;
    double *sum = job->s->sum;
    (void)worker;
    for (size_t i = 0; i < job->v->n_rows; i++) {
        const float *x = nb_observed_row(job->v, i);
        for (size_t j = begin; j < end; j++)
            sum[j] += (double)x[j] * (double)x[j];
    }
}

static enum nb_status add(void *state, const struct nb_observed *v, struct nb_error *err)
{
    struct job job = {state, v};
    (void)err;
    nb_pool_for(v->pool, v->cols, GRAIN, add_columns, &job);
    return NB_OK;
}

static enum nb_status settle(void *state, struct nb_pool *pool, const char *weight,
                             struct nb_error *err)
{
    const struct moments *s = state;
    (void)pool;
    for (size_t j = 0; j < s->cols; j++)
        if (!isfinite(s->sum[j]))
            NB_FAIL(err, NB_ERR_NUMERIC, "the input of '%s' is not finite in column %zu", weight,
                    j);
    return NB_OK;
}

static enum nb_status merge(void *state, const void *from, struct nb_error *err)
{
    struct moments *s = state;
    const struct moments *f = from;
    (void)err;
    for (size_t j = 0; j < s->cols; j++)
        s->sum[j] += f->sum[j];
    return NB_OK;
}

static struct nb_stored stored(const void *state)
{
    return (struct nb_stored){&nb_numfmt_f64, 1, ((const struct moments *)state)->cols};
}

static void save(const void *state, size_t first, size_t n, double *dst)
{
    const struct moments *s = state;
    for (size_t i = 0; i < n; i++)
        dst[i] = s->sum[first + i];
}

static enum nb_status check(const struct nb_stored *is, size_t cols, struct nb_error *err)
{
    return nb_observer_shape(is, 1, cols, err);
}

static enum nb_status load(void *state, const struct nb_stored *is, size_t first, size_t n,
                           const double *src, struct nb_error *err)
{
    struct moments *s = state;
    (void)is;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(src[i]) || src[i] < 0.0)
            NB_FAIL(err, NB_ERR_FORMAT,
                    "number %zu is %g; a sum of squares is finite and not negative", first + i,
                    src[i]);
        s->sum[first + i] = src[i];
    }
    return NB_OK;
}

const struct nb_observer nb_observer_moments = {
    .name = "moments",
    .summary = "sums of squares of each column: importance",
    .per_matrix = true,
    .state_bytes = sizeof(struct moments),
    .init = init,
    .fini = fini,
    .add = add,
    .settle = settle,
    .merge = merge,
    .stored = stored,
    .save = save,
    .check = check,
    .load = load,
};
