/* measure/speed.c: prefill and decode speed of a session, and what they cost in bytes and operations. */
#include "measure/measure.h"

#include <string.h>

#define MAX_REPEAT 64

static double median(double *v, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) /* insertion sort: a handful of values */
        for (uint32_t j = i; j > 0 && v[j - 1] > v[j]; j--) {
            const double t = v[j];
            v[j] = v[j - 1];
            v[j - 1] = t;
        }
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

struct speed_work {
    const struct nb_speed_job *job;
    uint32_t *tokens; /* (max(prompt, depth), at least 1) */
    float *logits;    /* (n_vocab)                       */
    uint32_t runs_done;
};

static enum nb_status tell(struct speed_work *w, struct nb_error *err)
{
    const struct nb_progress *p = w->job->progress;
    if (p != NULL && p->fn != NULL &&
        p->fn(p->ctx, "measuring speed", ++w->runs_done, 2ULL * w->job->repeat, "runs") != 0)
        NB_FAIL(err, NB_ERR_CANCELLED, "measurement cancelled");
    return NB_OK;
}

static enum nb_status prefill(struct speed_work *w, double *tok_s, struct nb_error *err)
{
    const struct nb_speed_job *j = w->job;
    nb_session_rewind(j->session, 0);
    const uint64_t t0 = nb_clock_ns();
    NB_TRY(nb_session_eval(j->session, w->tokens, j->prompt, w->logits, j->prompt - 1, err));
    *tok_s = j->prompt / ((double)(nb_clock_ns() - t0) * 1e-9);
    return tell(w, err);
}

static enum nb_status decode(struct speed_work *w, double *tok_s, struct nb_error *err)
{
    const struct nb_speed_job *j = w->job;
    const uint32_t start = NB_MAX(j->depth, 1U);
    nb_session_rewind(j->session, 0);
    NB_TRY(nb_session_eval(j->session, w->tokens, start, w->logits, start - 1, err));
    const uint64_t t0 = nb_clock_ns();
    for (uint32_t i = 0; i < j->generate; i++)
        NB_TRY(nb_session_eval(j->session, &w->tokens[i % start], 1, w->logits, 0, err));
    *tok_s = j->generate / ((double)(nb_clock_ns() - t0) * 1e-9);
    return tell(w, err);
}

enum nb_status nb_speed_measure(struct nb_speed *out, const struct nb_speed_job *job,
                                struct nb_error *err)
{
    double pre[MAX_REPEAT], dec[MAX_REPEAT];
    if (job->prompt == 0 || job->generate == 0 || job->repeat == 0 || job->repeat > MAX_REPEAT)
        NB_FAIL(err, NB_ERR_ARG, "prompt and generate must be at least 1, repeat 1..%d",
                MAX_REPEAT);
    const uint32_t n_tokens = NB_MAX(NB_MAX(job->prompt, job->depth), 1U);
    struct speed_work w = {.job = job};
    enum nb_status st = NB_OK;
    w.tokens = nb_alloc(job->a, n_tokens, sizeof *w.tokens);
    w.logits = nb_alloc(job->a, job->n_vocab, sizeof *w.logits);
    if (w.tokens == NULL || w.logits == NULL) {
        st = NB_ERROR(err, NB_ERR_NOMEM, "no memory for %u tokens", n_tokens);
        goto out;
    }
    struct nb_rng rng = {.seed = 1};
    for (uint32_t i = 0; i < n_tokens; i++)
        w.tokens[i] = (uint32_t)(nb_rng_u64(&rng) % job->n_vocab);
    for (uint32_t r = 0; r < job->repeat; r++)
        NB_TRY_TO(out, prefill(&w, &pre[r], err));
    for (uint32_t r = 0; r < job->repeat; r++)
        NB_TRY_TO(out, decode(&w, &dec[r], err));
    out->prefill_tok_s = median(pre, job->repeat);
    out->decode_tok_s = median(dec, job->repeat);
out:
    nb_free(job->a, w.logits);
    nb_free(job->a, w.tokens);
    return st;
}

/* A matrix that every token multiplies: all quantizable weights, but of an embedding that is not the
 * head only a row is read. */
static bool multiplied(const struct nb_weights *w, const struct nb_weight *item)
{
    return item->spec.quantizable && (item->spec.role != NB_ROLE_EMBED || w->hp.tied);
}

/* The part of a weight that one token meets: of experts those that are chosen. */
static double met(const struct nb_weights *w, const struct nb_weight *item)
{
    const bool experts = item->spec.shape.n == 3 && w->hp.n_experts > 0;
    return experts ? (double)w->hp.n_experts_used / w->hp.n_experts : 1.0;
}

double nb_decode_bytes(const struct nb_weights *w, const struct nb_numfmt *kv_type, uint32_t depth)
{
    double bytes = 0;
    for (size_t i = 0; i < w->n; i++)
        if (multiplied(w, &w->items[i]) || w->items[i].spec.role == NB_ROLE_NORM)
            bytes += met(w, &w->items[i]) * (double)w->items[i].t.bytes;
    const double kv = 2.0 * w->hp.n_kv_heads * w->hp.head_dim * nb_numfmt_bpw(kv_type) / 8;
    for (uint32_t i = 0; i < w->hp.n_layers; i++) {
        const bool windowed = w->hp.window > 0 && nb_layers_has(&w->hp.windowed, i);
        bytes += kv * (windowed ? NB_MIN(depth, w->hp.window) : depth);
    }
    return bytes;
}

double nb_token_ops(const struct nb_weights *w)
{
    double ops = 0;
    for (size_t i = 0; i < w->n; i++) {
        uint64_t n;
        if (multiplied(w, &w->items[i]) && w->items[i].spec.role != NB_ROLE_HEAD &&
            w->items[i].spec.role != NB_ROLE_EMBED && nb_shape_count(&w->items[i].t.shape, &n))
            ops += 2.0 * met(w, &w->items[i]) * (double)n;
    }
    return ops;
}

bool nb_weights_integer(const struct nb_weights *w)
{
    double integer = 0, all = 0;
    for (size_t i = 0; i < w->n; i++)
        if (w->items[i].spec.quantizable) {
            all += (double)w->items[i].t.bytes;
            integer += nb_numfmt_expands(w->items[i].t.type) ? (double)w->items[i].t.bytes : 0;
        }
    return integer * 2 > all;
}
