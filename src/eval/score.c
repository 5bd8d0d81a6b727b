/* eval/score.c: perplexity and KL divergence of sessions over a text, side by side.
 *
 * For a scored position with logits z and reference logits r, in double:
 *   log p(t) = z_t - lse(z)            nll = -log p(next token)
 *   KL(ref || model) = sum_t p_ref(t) (log p_ref(t) - log p(t))
 * Percentiles are of the sorted KL values, the nearest rank below. Standard errors are those of a mean
 * of independent values (positions of one window are not quite: read them as a lower bound).
 */
#include "eval/eval_internal.h"

#include <math.h>
#include <string.h>

#include "math/math.h"

#define LANES 16

struct row_stat {
    double nll, ref_nll, ratio, kld; /* ratio: nll - ref_nll */
    bool same_top, finite;
};

struct batch {
    const struct nb_score_job *job;
    const float *z, *r;    /* (rows, n_vocab); r NULL without reference */
    const uint32_t *next;  /* (rows) the token that followed            */
    struct row_stat *stat; /* (rows)                                    */
};

struct row_summary {
    double max, sum; /* lse = max + log sum */
    uint32_t top;
    bool finite;
};

static double tree_sum(double lane[LANES])
{
    for (int step = LANES / 2; step > 0; step /= 2)
        for (int l = 0; l < step; l++)
            lane[l] += lane[l + step];
    return lane[0];
}

static struct row_summary summarize(const float *z, uint32_t n)
{
    struct row_summary s = {.finite = true};
    for (uint32_t t = 0; t < n; t++) {
        s.finite = s.finite && isfinite(z[t]);
        if (z[t] > z[s.top])
            s.top = t;
    }
    s.max = (double)z[s.top];
    double lane[LANES] = {0};
    for (uint32_t t = 0; t < n; t++)
        lane[t % LANES] += nb_exp((double)z[t] - s.max);
    s.sum = tree_sum(lane);
    return s;
}

double nb_row_nll(const float *z, uint32_t n, uint32_t next)
{
    const struct row_summary s = summarize(z, n);
    return s.finite ? s.max + nb_log(s.sum) - (double)z[next] : (double)NAN;
}

/* sum over t of p(t) (log p(t) - log q(t)), p from r and q from z. */
static double divergence(const float *z, double lse_z, const float *r, double lse_r, uint32_t n)
{
    double lane[LANES] = {0};
    for (uint32_t t = 0; t < n; t++) {
        const double log_p = (double)r[t] - lse_r;
        lane[t % LANES] += nb_exp(log_p) * (log_p - ((double)z[t] - lse_z));
    }
    return tree_sum(lane);
}

static void score_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    const struct batch *b = ctx;
    const uint32_t n = b->job->n_vocab;
    for (size_t i = begin; i < end; i++) {
        struct row_stat *st = &b->stat[i];
        const float *z = b->z + i * n;
        const struct row_summary sz = summarize(z, n);
        const double lse = sz.max + nb_log(sz.sum);
        *st = (struct row_stat){.nll = lse - (double)z[b->next[i]], .finite = sz.finite};
        if (b->r == NULL)
            continue;
        const float *r = b->r + i * n;
        const struct row_summary sr = summarize(r, n);
        const double lse_r = sr.max + nb_log(sr.sum);
        st->ref_nll = lse_r - (double)r[b->next[i]];
        st->ratio = st->nll - st->ref_nll;
        st->kld = divergence(z, lse, r, lse_r, n);
        st->same_top = sz.top == sr.top;
        st->finite = st->finite && sr.finite;
    }
}

uint32_t nb_score_rows(uint32_t n_vocab)
{
    const uint64_t rows = (UINT64_C(32) << 20) / (4 * (uint64_t)NB_MAX(n_vocab, 1U));
    return (uint32_t)NB_MIN(NB_MAX(rows, 16), 512);
}

/* Mean and standard error of a list, summed in order. */
static void mean_error(const struct row_stat *st, size_t n, size_t field, double *mean,
                       double *error)
{
    double sum = 0, sum2 = 0;
    for (size_t i = 0; i < n; i++) {
        double v;
        memcpy(&v, (const char *)&st[i] + field, sizeof v);
        sum += v;
        sum2 += v * v;
    }
    *mean = sum / (double)n;
    const double var = sum2 / (double)n - *mean * *mean;
    *error = n > 1 && var > 0 ? sqrt(var / (double)(n - 1)) : 0;
}

/* In-place heap sort: no recursion, no library comparator. */
static void sort_doubles(double *v, size_t n)
{
    for (size_t end = n, start = n / 2; end > 1;) {
        if (start > 0) {
            start--;
        } else {
            end--;
            const double t = v[0];
            v[0] = v[end];
            v[end] = t;
        }
        for (size_t root = start;;) {
            size_t child = 2 * root + 1;
            if (child >= end)
                break;
            if (child + 1 < end && v[child] < v[child + 1])
                child++;
            if (v[root] >= v[child])
                break;
            const double t = v[root];
            v[root] = v[child];
            v[child] = t;
            root = child;
        }
    }
}

static enum nb_status finish(struct nb_score *out, const struct nb_score_job *job,
                             const struct row_stat *st, size_t n, uint64_t bytes,
                             struct nb_error *err)
{
    out->n = n;
    mean_error(st, n, offsetof(struct row_stat, nll), &out->nll, &out->nll_error);
    out->bits_per_byte = bytes > 0 ? out->nll * (double)n / nb_log(2.0) / (double)bytes : 0;
    if (job->ref == NULL)
        return NB_OK;
    mean_error(st, n, offsetof(struct row_stat, ref_nll), &out->ref_nll, &out->ref_nll_error);
    double mean_ratio;
    mean_error(st, n, offsetof(struct row_stat, ratio), &mean_ratio, &out->ratio_error);
    mean_error(st, n, offsetof(struct row_stat, kld), &out->kld_mean, &out->kld_error);
    double *kld = nb_alloc(job->a, n, sizeof *kld);
    if (kld == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for %zu KL values", n);
    size_t same = 0;
    for (size_t i = 0; i < n; i++) {
        kld[i] = st[i].kld;
        same += st[i].same_top;
    }
    sort_doubles(kld, n);
    out->kld_min = kld[0];
    out->kld_p50 = kld[(n - 1) / 2];
    out->kld_p90 = kld[(n - 1) * 9 / 10];
    out->kld_p99 = kld[(n - 1) * 99 / 100];
    out->kld_max = kld[n - 1];
    out->top1 = (double)same / (double)n;
    out->top1_error = n > 1 ? sqrt(out->top1 * (1 - out->top1) / (double)(n - 1)) : 0;
    nb_free(job->a, kld);
    return NB_OK;
}

/* One session under way. */
struct lane {
    struct row_stat *stat; /* (chunks, scored) */
    struct nb_hasher *hash;
    uint64_t token_ns;
};

struct work {
    const struct nb_score_job *job;
    float *z, *r;       /* (n_rows, n_vocab): of the session at hand, of the reference */
    uint32_t *window;   /* (ctx)          */
    struct lane *lanes; /* (n_sessions)   */
    uint64_t done, total, bytes;
};

/* window[at .. at + n) through one session; logits of all n tokens unless NULL. */
static enum nb_status advance(struct work *w, struct nb_session *s, uint32_t at, uint32_t n,
                              float *logits, uint64_t *ns, struct nb_error *err)
{
    const uint64_t t0 = nb_clock_ns();
    NB_TRY(nb_session_eval(s, w->window + at, n, logits, logits != NULL ? 0 : n, err));
    *ns += nb_clock_ns() - t0;
    w->done += n;
    const struct nb_progress *p = w->job->progress;
    if (p != NULL && p->fn != NULL && p->fn(p->ctx, "evaluating", w->done, w->total, "tokens") != 0)
        NB_FAIL(err, NB_ERR_CANCELLED, "evaluation cancelled");
    return NB_OK;
}

/* The first half of a window: context only. */
static enum nb_status begin_window(struct work *w, uint32_t c, struct nb_error *err)
{
    const struct nb_score_job *job = w->job;
    uint64_t ref_ns = 0;
    memcpy(w->window, job->tokens + (size_t)c * job->ctx, job->ctx * sizeof *w->window);
    if (job->bos >= 0)
        w->window[0] = (uint32_t)job->bos;
    if (job->ref != NULL) {
        nb_session_rewind(job->ref, 0);
        NB_TRY(advance(w, job->ref, 0, job->ctx / 2, NULL, &ref_ns, err));
    }
    for (size_t i = 0; i < job->n_sessions; i++) {
        nb_session_rewind(job->sessions[i], 0);
        NB_TRY(advance(w, job->sessions[i], 0, job->ctx / 2, NULL, &w->lanes[i].token_ns, err));
    }
    return NB_OK;
}

/* Positions at .. at + n of window c, whose first statistic is number `row` of every lane. */
static enum nb_status score_batch(struct work *w, uint32_t c, uint32_t at, uint32_t n, size_t row,
                                  struct nb_error *err)
{
    const struct nb_score_job *job = w->job;
    uint64_t ref_ns = 0;
    if (job->ref != NULL)
        NB_TRY(advance(w, job->ref, at, n, w->r, &ref_ns, err));
    for (size_t i = 0; i < job->n_sessions; i++) {
        struct lane *l = &w->lanes[i];
        struct batch b = {job, w->z, w->r, w->window + at + 1, l->stat + row};
        NB_TRY(advance(w, job->sessions[i], at, n, w->z, &l->token_ns, err));
        nb_hasher_update(l->hash, w->z, (size_t)n * job->n_vocab * sizeof *w->z);
        nb_pool_for(job->pool, n, 4, score_rows, &b);
        for (uint32_t k = 0; k < n; k++)
            if (!b.stat[k].finite)
                NB_FAIL(err, NB_ERR_NUMERIC,
                        "a logit of window %u, position %u is not a finite number", c, at + k);
    }
    for (uint32_t k = 0; k < n; k++)
        w->bytes += nb_tokenizer_piece(job->tokenizer, (int32_t)w->window[at + k + 1]).n;
    return NB_OK;
}

static enum nb_status run_windows(struct work *w, uint32_t chunks, struct nb_error *err)
{
    const uint32_t end = w->job->ctx - 1;
    size_t row = 0;
    for (uint32_t c = 0; c < chunks; c++) {
        NB_TRY(begin_window(w, c, err));
        for (uint32_t at = w->job->ctx / 2, n; at < end; at += n, row += n) {
            n = NB_MIN(w->job->n_rows, end - at);
            NB_TRY(score_batch(w, c, at, n, row, err));
        }
    }
    return NB_OK;
}

static enum nb_status check_job(const struct nb_score_job *job, uint32_t *chunks,
                                struct nb_error *err)
{
    if (job->ctx < 4)
        NB_FAIL(err, NB_ERR_ARG, "a window of %u tokens is too short, expected at least 4",
                job->ctx);
    if (job->n_tokens < job->ctx)
        NB_FAIL(err, NB_ERR_ARG, "the text has %zu tokens, fewer than one window of %u",
                job->n_tokens, job->ctx);
    const size_t full = job->n_tokens / job->ctx;
    *chunks = (uint32_t)NB_MIN(full, (size_t)(job->chunks > 0 ? job->chunks : UINT32_MAX));
    for (size_t i = 0; i < (size_t)*chunks * job->ctx; i++)
        if (job->tokens[i] >= job->n_vocab)
            NB_FAIL(err, NB_ERR_ARG, "token %u of the text is %u, the model has %u", (unsigned)i,
                    job->tokens[i], job->n_vocab);
    return NB_OK;
}

static bool take_memory(struct work *w, size_t n_positions)
{
    const struct nb_score_job *job = w->job;
    size_t n;
    if (!nb_mul_size(&n, job->n_rows, job->n_vocab))
        return false;
    w->z = nb_alloc(job->a, n, sizeof *w->z);
    w->r = job->ref != NULL ? nb_alloc(job->a, n, sizeof *w->r) : NULL;
    w->window = nb_alloc(job->a, job->ctx, sizeof *w->window);
    w->lanes = nb_alloc_zero(job->a, job->n_sessions, sizeof *w->lanes);
    bool ok =
        w->z != NULL && (job->ref == NULL || w->r != NULL) && w->window != NULL && w->lanes != NULL;
    for (size_t i = 0; ok && i < job->n_sessions; i++) {
        w->lanes[i].stat = nb_alloc(job->a, n_positions, sizeof *w->lanes[i].stat);
        w->lanes[i].hash = nb_hasher_create(job->a);
        ok = w->lanes[i].stat != NULL && w->lanes[i].hash != NULL;
    }
    return ok;
}

static void release_memory(struct work *w)
{
    const struct nb_allocator *a = w->job->a;
    for (size_t i = 0; w->lanes != NULL && i < w->job->n_sessions; i++) {
        nb_hasher_destroy(w->lanes[i].hash);
        nb_free(a, w->lanes[i].stat);
    }
    nb_free(a, w->lanes);
    nb_free(a, w->window);
    nb_free(a, w->r);
    nb_free(a, w->z);
}

enum nb_status nb_score_run(struct nb_score *out, const struct nb_score_job *job,
                            struct nb_error *err)
{
    uint32_t chunks = 0;
    NB_TRY(check_job(job, &chunks, err));
    const size_t n = (size_t)chunks * (job->ctx - 1 - job->ctx / 2);
    struct work w = {.job = job};
    w.total = (uint64_t)chunks * (job->ctx - 1) * (job->n_sessions + (job->ref != NULL));
    enum nb_status st = NB_OK;
    if (!take_memory(&w, n))
        st = NB_ERROR(err, NB_ERR_NOMEM, "no memory for %u rows of %u logits", job->n_rows,
                      job->n_vocab);
    if (st == NB_OK)
        st = run_windows(&w, chunks, err);
    for (size_t i = 0; st == NB_OK && i < job->n_sessions; i++) {
        out[i] = (struct nb_score){.chunks = chunks,
                                   .seconds = (double)w.lanes[i].token_ns * 1e-9,
                                   .logits = nb_hasher_digest(w.lanes[i].hash)};
        st = finish(&out[i], job, w.lanes[i].stat, n, w.bytes, err);
    }
    release_memory(&w);
    return st;
}
