/* calib/observe_histogram.c: how often each magnitude occurs: bins of equal width over |x|.
 *
 * What percentile, entropy and error searches for the range of a static grid start from. Larger values add bins of the same
 * width; nothing is spread over bins again. The width is a power of two, the least one for which MAX_BINS reach the
 * greatest value: when a value lies beyond, pairs of bins become one, and each count stays exact. So the
 * histogram depends on the values alone, not on their order, and two of them merge to what one run would give.
 */
#include "calib/observer.h"

#include <math.h>
#include <string.h>

#define MAX_BINS  16384 /* the greatest value lies in the upper half of them */
#define MIN_POWER (-126)
#define FLOAT_MAX 3.4028234663852886e38

/* Owns: count. */
struct histogram {
    const struct nb_allocator *a;
    uint64_t *count; /* (cap) of width 2^power: bin i holds [i, i + 1) 2^power */
    size_t cap;      /* MAX_BINS; in a state from a file as many as it has */
    int power;       /* MIN_POWER until a value needs more */
    double inverse;  /* 2^-power */
    size_t used;     /* bins up to the last that is not empty */
    bool bad;
};

static enum nb_status init(void *state, size_t cols, const struct nb_allocator *a,
                           struct nb_error *err)
{
    struct histogram *s = state;
    (void)cols, (void)err;
    s->a = a;
    s->power = MIN_POWER;
    s->inverse = 0x1p126;
    return NB_OK;
}

/* Room for so many bins at least. */
static enum nb_status reserve(struct histogram *s, size_t bins, struct nb_error *err)
{
    if (s->cap >= bins)
        return NB_OK;
    uint64_t *count = nb_alloc_zero(s->a, bins, sizeof *count);
    if (count == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a histogram");
    for (size_t i = 0; i < s->used; i++)
        count[i] = s->count[i];
    nb_free(s->a, s->count);
    s->count = count;
    s->cap = bins;
    return NB_OK;
}

static void fini(void *state)
{
    struct histogram *s = state;
    nb_free(s->a, s->count);
}

static double width(const struct histogram *s)
{
    return 1.0 / s->inverse; /* exact: a power of two */
}

static void fold(struct histogram *s)
{
    const size_t half = (s->used + 1) / 2;
    for (size_t i = 0; i < half; i++)
        s->count[i] = s->count[2 * i] + (2 * i + 1 < s->used ? s->count[2 * i + 1] : 0);
    memset(s->count + half, 0, (s->used - half) * sizeof *s->count);
    s->used = half;
    s->power++;
    s->inverse *= 0.5;
}

static void reach(struct histogram *s, double value)
{
    while (value * s->inverse >= MAX_BINS)
        fold(s);
}

static enum nb_status add(void *state, const struct nb_observed *v, struct nb_error *err)
{
    struct histogram *s = state;
    NB_TRY(reserve(s, MAX_BINS, err));
    for (size_t i = 0; i < v->n_rows; i++) {
        const float *x = nb_observed_row(v, i);
        for (size_t j = 0; j < v->cols; j++) {
            const double value = (double)fabsf(x[j]);
            size_t bin;
            if (!(value <= FLOAT_MAX)) {
                s->bad = true;
                continue;
            }
            if (value * s->inverse >= MAX_BINS)
                reach(s, value);
            bin = (size_t)(value * s->inverse);
            s->count[bin]++;
            s->used = bin >= s->used ? bin + 1 : s->used;
        }
    }
    return NB_OK;
}

static enum nb_status settle(void *state, struct nb_pool *pool, const char *weight,
                             struct nb_error *err)
{
    const struct histogram *s = state;
    (void)pool;
    if (s->bad)
        NB_FAIL(err, NB_ERR_NUMERIC, "the input of '%s' is not finite", weight);
    return NB_OK;
}

static enum nb_status merge(void *state, const void *from, struct nb_error *err)
{
    struct histogram *s = state;
    const struct histogram *f = from;
    NB_TRY(reserve(s, MAX_BINS, err));
    while (s->power < f->power)
        fold(s);
    const int shift = s->power - f->power;
    for (size_t i = 0; i < f->used; i++) {
        uint64_t *at = &s->count[shift < 32 ? i >> shift : 0];
        if (!nb_add_u64(at, *at, f->count[i]))
            NB_FAIL(err, NB_ERR_FORMAT, "more than 2^64 values in a histogram");
    }
    const size_t used = f->used > 0 ? (shift < 32 ? (f->used - 1) >> shift : 0) + 1 : 0;
    s->used = NB_MAX(s->used, used);
    return NB_OK;
}

/* ---- files: (2, bins), upper bounds and counts; up to the last bin that is not empty ---- */

static struct nb_stored stored(const void *state)
{
    const struct histogram *s = state;
    return (struct nb_stored){&nb_numfmt_f64, 2, NB_MAX(s->used, (size_t)1)};
}

static void save(const void *state, size_t first, size_t n, double *dst)
{
    const struct histogram *s = state;
    const size_t bins = stored(s).cols;
    for (size_t i = first; i < first + n; i++)
        *dst++ = i < bins           ? width(s) * (double)(i + 1)
                 : s->count != NULL ? (double)s->count[i - bins]
                                    : 0.0;
}

static enum nb_status check(const struct nb_stored *is, size_t cols, struct nb_error *err)
{
    (void)cols;
    if (is->rows != 2 || is->cols == 0 || is->cols > MAX_BINS)
        NB_FAIL(err, NB_ERR_FORMAT,
                "%zu x %zu numbers, expected a histogram of 2 rows of at most %d bins", is->rows,
                is->cols, MAX_BINS);
    return NB_OK;
}

static enum nb_status load_bound(struct histogram *s, size_t i, double v, struct nb_error *err)
{
    if (i == 0) {
        int power;
        if (!(v > 0.0 && v <= FLOAT_MAX) || frexp(v, &power) != 0.5 || power - 1 < MIN_POWER)
            NB_FAIL(err, NB_ERR_FORMAT, "bins of width %g, expected a power of two of floats", v);
        s->power = power - 1;
        s->inverse = 1.0 / v;
    }
    if (v != width(s) * (double)(i + 1))
        NB_FAIL(err, NB_ERR_FORMAT, "bin %zu ends at %g, expected bins of equal width %g", i, v,
                width(s));
    return NB_OK;
}

static enum nb_status load(void *state, const struct nb_stored *is, size_t first, size_t n,
                           const double *src, struct nb_error *err)
{
    struct histogram *s = state;
    NB_TRY(reserve(s, is->cols, err));
    for (size_t i = first; i < first + n; i++, src++) {
        if (i < is->cols) {
            NB_TRY(load_bound(s, i, *src, err));
            continue;
        }
        if (!(*src >= 0.0 && *src <= 0x1p53) || *src != (double)(uint64_t)*src)
            NB_FAIL(err, NB_ERR_FORMAT, "bin %zu counts %g, expected a whole number", i - is->cols,
                    *src);
        s->count[i - is->cols] = (uint64_t)*src;
        s->used = *src > 0.0 ? i - is->cols + 1 : s->used;
    }
    return NB_OK;
}

const struct nb_observer nb_observer_histogram = {
    .name = "histogram",
    .summary = "how often each magnitude occurs",
    .state_bytes = sizeof(struct histogram),
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
