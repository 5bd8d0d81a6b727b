/* calib/stats_summary.c: an edge in a line of numbers. */
#include <math.h>
#include <string.h>

#include "calib/observe_hessian.h"
#include "calib/stats_internal.h"
#include "math/linalg.h"
#include "math/math.h"

#define RUN 256

static void tokens_of(const struct nb_stats_edge *e, struct nb_stats_summary *out)
{
    out->least = out->most = e->count[NB_STATS_TRAIN][0];
    for (size_t i = 0; i < e->n_mat; i++) {
        const double n = e->count[NB_STATS_TRAIN][i];
        out->least = NB_MIN(out->least, n);
        out->most = NB_MAX(out->most, n);
        out->tokens += n / (double)e->n_mat;
        out->held += e->count[NB_STATS_HELD][i] / (double)e->n_mat;
    }
}

static void range_of(const struct nb_stats_edge *e, struct nb_stats_summary *out)
{
    const void *state = e->states[NB_STAT_range][NB_STATS_TRAIN];
    double v[RUN];
    if (state == NULL)
        return;
    for (size_t at = 0, n; at < 2 * e->cols; at += n) {
        n = NB_MIN((at < e->cols ? e->cols : 2 * e->cols) - at, (size_t)RUN);
        nb_observer_range.save(state, at, n, v);
        for (size_t i = 0; i < n; i++) {
            out->lo = at < e->cols && !(v[i] >= out->lo) ? v[i] : out->lo;
            out->hi = at >= e->cols && !(v[i] <= out->hi) ? v[i] : out->hi;
        }
    }
}

/* The sums of column j over all matrices. */
static double column(const struct nb_stats_edge *e, size_t j)
{
    double sum = 0.0, v;
    for (size_t k = 0; k < e->n_mat; k++) {
        nb_observer_moments.save(nb_stats_state(e, NB_STAT_moments, NB_STATS_TRAIN, k), j, 1, &v);
        sum += v;
    }
    return sum;
}

static void moments_of(const struct nb_stats_edge *e, struct nb_stats_summary *out)
{
    const double tokens = out->tokens * (double)e->n_mat;
    double sum = 0.0, top = 0.0;
    if (e->states[NB_STAT_moments][NB_STATS_TRAIN] == NULL || !(tokens > 0.0))
        return;
    for (size_t j = 0; j < e->cols; j++) {
        const double v = column(e, j);
        sum += v;
        top = NB_MAX(top, v);
    }
    out->rms = sqrt(sum / (tokens * (double)e->cols));
    if (sum > 0.0) {
        out->top = top / (sum / (double)e->cols);
        out->outlier = NB_MAX(-out->lo, out->hi) / out->rms; /* NaN without a range */
    }
}

/* H of all matrices together, taken apart. */
static enum nb_status pivots_of(const struct nb_stats *s, const struct nb_stats_edge *e,
                                struct nb_pool *pool, struct nb_stats_summary *out,
                                struct nb_error *err)
{
    struct nb_hessian *h;
    double logs = 0.0;
    NB_TRY(nb_hessian_create(&h, e->cols, s->a, err));
    enum nb_status st = NB_OK;
    for (size_t k = 0; k < e->n_mat && st == NB_OK; k++) {
        const struct nb_hessian_state *one = nb_stats_state(e, NB_STAT_hessian, NB_STATS_TRAIN, k);
        st = one->h != NULL ? nb_hessian_merge(h, one->h, err) : NB_OK;
    }
    const double mean = nb_hessian_mean_diag(h);
    if (st == NB_OK)
        st = nb_chol_reverse(h->h, h->n, pool, NULL, s->a, err);
    for (size_t i = 0; i < h->n && st == NB_OK; i++)
        logs += 2.0 * nb_log(h->h[i * h->n + i]);
    if (st == NB_OK)
        out->gain_db = 10.0 * (nb_log(mean) - logs / (double)h->n) / nb_log(10.0);
    if (st == NB_ERR_NUMERIC) {
        out->gain_db = (double)INFINITY;
        nb_error_clear(err);
        st = NB_OK;
    }
    nb_hessian_destroy(h);
    return st;
}

enum nb_status nb_stats_summarize(const struct nb_stats *s, size_t edge, bool pivots,
                                  struct nb_pool *pool, struct nb_stats_summary *out,
                                  struct nb_error *err)
{
    const double none = (double)NAN;
    const struct nb_stats_edge *e = &s->edges[edge];
    *out = (struct nb_stats_summary){.weight = e->first,
                                     .n_mat = e->n_mat,
                                     .cols = e->cols,
                                     .lo = none,
                                     .hi = none,
                                     .rms = none,
                                     .outlier = none,
                                     .top = none,
                                     .gain_db = none};
    for (size_t i = 0; i < s->n_readers; i++)
        out->n_weights += s->readers[i].edge == edge;
    tokens_of(e, out);
    range_of(e, out);
    moments_of(e, out);
    if (pivots && e->states[NB_STAT_hessian][NB_STATS_TRAIN] != NULL)
        NB_TRY(pivots_of(s, e, pool, out, err));
    return NB_OK;
}
