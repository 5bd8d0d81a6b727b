/* calib/collect.c: runs a model over windows of text while an nb_stats observes it. */
#include "calib/calib_internal.h"

#include <string.h>

#include "calib/stats_internal.h"

#define ALL_EXPERTS_BATCH 64 /* tokens at once: each has a row of results in every expert */
#define HEAD_BYTES        (UINT64_C(32) << 20) /* of logits nobody reads */

/* Owns: window, logits, session. */
struct runner {
    const struct nb_collect_job *job;
    struct nb_stats *s;
    struct nb_session *session;
    uint32_t *window; /* (ctx) */
    float *logits;    /* (rows, n_vocab), NULL without head */
    uint32_t rows;
    size_t n_windows;
};

static const uint32_t *window_tokens(const struct nb_collect_job *job, size_t i, bool *held_out)
{
    if (job->windows != NULL) {
        const struct nb_window *w = &job->windows[i];
        *held_out = w->held_out;
        return job->texts[w->text].tokens + w->offset;
    }
    *held_out = job->held_every > 0 && i % job->held_every == job->held_every - 1;
    return job->tokens + i * job->ctx;
}

static enum nb_status run_window(struct runner *k, size_t i, struct nb_error *err)
{
    const struct nb_collect_job *job = k->job;
    const struct nb_progress *p = job->progress;
    const uint64_t total = (uint64_t)k->n_windows * job->ctx;
    bool held_out;
    memcpy(k->window, window_tokens(job, i, &held_out), job->ctx * sizeof *k->window);
    if (job->bos >= 0)
        k->window[0] = (uint32_t)job->bos;
    nb_stats_window(k->s, held_out);
    if (held_out && !k->s->o.held_out) /* nobody looks */
        return NB_OK;
    nb_session_rewind(k->session, 0);
    for (uint32_t at = 0, n; at < job->ctx; at += n) {
        n = NB_MIN(k->rows, job->ctx - at);
        NB_TRY(nb_session_eval(k->session, k->window + at, n, k->logits, job->head ? 0 : n, err));
        if (k->s->status != NB_OK)
            return nb_stats_settle(k->s, err);
        if (p != NULL && p->fn != NULL &&
            p->fn(p->ctx, "calibrating", (uint64_t)i * job->ctx + at + n, total, "tokens") != 0)
            NB_FAIL(err, NB_ERR_CANCELLED, "calibration cancelled");
    }
    return NB_OK;
}

static enum nb_status set_up(struct runner *k, struct nb_error *err)
{
    const struct nb_collect_job *job = k->job;
    const struct nb_allocator *a = k->s->a;
    const struct nb_session_options so = {.n_ctx = job->ctx,
                                          .n_batch = job->all_experts ? ALL_EXPERTS_BATCH : 0,
                                          .kv_type = &nb_numfmt_f32,
                                          .float_activations = true,
                                          .all_experts = job->all_experts,
                                          .pool = job->pool};
    const uint32_t n_vocab = NB_MAX(job->w->hp.n_vocab, 1U);
    k->rows = job->ctx;
    NB_TRY(nb_session_create(&k->session, job->w, &so, a, err));
    k->window = nb_alloc(a, job->ctx, sizeof *k->window);
    if (job->head) {
        const uint64_t rows = HEAD_BYTES / sizeof(float) / n_vocab;
        k->rows = (uint32_t)NB_MIN(NB_MAX(rows, 16), job->ctx);
        k->logits = nb_alloc(a, (size_t)k->rows * n_vocab, sizeof *k->logits);
    }
    if (k->window == NULL || (job->head && k->logits == NULL))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %u rows of logits", k->rows);
    nb_stats_attach(k->s, k->session);
    return NB_OK;
}

static enum nb_status check_job(const struct nb_collect_job *job, size_t *n_windows,
                                struct nb_error *err)
{
    if (job->ctx == 0)
        NB_FAIL(err, NB_ERR_ARG, "a window of 0 tokens; expected at least 1");
    *n_windows = job->n_windows;
    if (job->windows != NULL)
        return NB_OK;
    const size_t full = job->n_tokens / job->ctx;
    if (full == 0)
        NB_FAIL(err, NB_ERR_ARG, "the text has %zu tokens, fewer than one window of %u",
                job->n_tokens, job->ctx);
    *n_windows = NB_MIN(full, (size_t)(job->chunks > 0 ? job->chunks : UINT32_MAX));
    return NB_OK;
}

enum nb_status nb_stats_collect(struct nb_stats *s, const struct nb_collect_job *job,
                                struct nb_error *err)
{
    struct runner k = {.job = job, .s = s};
    NB_TRY(check_job(job, &k.n_windows, err));
    s->o.pool = job->pool;
    enum nb_status st = set_up(&k, err);
    for (size_t i = 0; i < k.n_windows && st == NB_OK; i++)
        st = run_window(&k, i, err);
    if (st == NB_OK)
        st = nb_stats_settle(s, err);
    nb_session_destroy(k.session);
    nb_free(s->a, k.window);
    nb_free(s->a, k.logits);
    return st;
}

enum nb_status nb_calib_collect(struct nb_calib *c, const struct nb_collect_job *job,
                                struct nb_error *err)
{
    const struct nb_stats_options o = {.kinds = NB_STAT_BIT(moments),
                                       .all_experts = job->all_experts};
    struct nb_stats *s;
    NB_TRY(nb_stats_create(&s, &o, c->a, err));
    nb_stats_set_windows(s, job->ctx, 0);
    enum nb_status st = nb_stats_collect(s, job, err);
    if (st == NB_OK)
        st = nb_stats_moments(s, c, err);
    nb_stats_destroy(s);
    return st;
}
