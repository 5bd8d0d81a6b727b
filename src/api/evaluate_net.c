/* api/evaluate_net.c: nb_evaluate_net: a net over samples, against labels or expected outputs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/net_side.h"
#include "eval/net_score.h"

void nb_eval_net_options_init(struct nb_eval_net_options *o)
{
    *o = (struct nb_eval_net_options){.size = sizeof *o, .top = 5};
}

/* What the call has open. Owns: feed, side, expected, seconds. */
struct work {
    nb_context *ctx;
    const struct nb_eval_net_options *o;
    struct nb_net_feed feed;
    struct nb_net_side side;
    struct nb_npy expected;
    const struct nb_net_end *out;
    double *seconds; /* (runs) */
    double *wanted;  /* (elements of the output), of the side's arena */
    struct nb_class_score score;
    struct nb_agreement agreement;
    uint64_t n_classes;
};

static enum nb_status check_expected(struct work *w, struct nb_error *err)
{
    const struct nb_executor_port *p = &w->out->port;
    NB_TRY(nb_npy_read(w->ctx, w->o->expected, &w->expected, err));
    if (w->expected.elements != p->elements * w->feed.n_runs)
        NB_FAIL(err, NB_ERR_ARG, "%s has %llu numbers; output '%s' of %llu samples has %llu",
                w->o->expected, (unsigned long long)w->expected.elements, p->name,
                (unsigned long long)(w->feed.n_runs * (uint64_t)w->feed.batch),
                (unsigned long long)(p->elements * w->feed.n_runs));
    w->wanted = nb_arena_alloc(&w->side.arena, (size_t)p->elements + 1, sizeof *w->wanted);
    if (w->wanted == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to evaluate a net");
    return NB_OK;
}

static enum nb_status check(struct work *w, struct nb_error *err)
{
    const struct nb_eval_net_options *o = w->o;
    const uint64_t n = w->feed.n_runs * (uint64_t)w->feed.batch;
    size_t output;
    if (o->labels == NULL && o->expected == NULL)
        NB_FAIL(err, NB_ERR_ARG, "neither labels nor expected outputs to measure against");
    NB_TRY(nb_net_side_output(&w->side, o->output, &output, err));
    w->out = &w->side.out[output];
    w->score = (struct nb_class_score){.top = o->top, .step = (double)w->out->step};
    if (o->labels != NULL && o->n_labels != n)
        NB_FAIL(err, NB_ERR_ARG, "%zu labels for %llu samples", o->n_labels, (unsigned long long)n);
    if (o->labels != NULL)
        NB_TRY(nb_net_side_classes(&w->side, output, (uint64_t)w->feed.batch, o->labels,
                                   o->n_labels, &w->n_classes, err));
    return o->expected != NULL ? check_expected(w, err) : NB_OK;
}

static void add(struct work *w, uint64_t run)
{
    const uint64_t n = w->out->port.elements, batch = (uint64_t)w->feed.batch;
    double *y = w->side.reals;
    nb_net_end_reals(w->out, y);
    for (uint64_t i = 0; w->o->labels != NULL && i < batch; i++)
        nb_class_score_add(&w->score, y + i * w->n_classes, (size_t)w->n_classes,
                           (size_t)w->o->labels[run * batch + i]);
    if (w->o->expected == NULL)
        return;
    nb_net_numbers(w->wanted, w->expected.type, w->expected.data, run * n, n);
    nb_agreement_add(&w->agreement, w->wanted, y, (size_t)n, (size_t)n);
}

static enum nb_status run_all(struct work *w, struct nb_error *err)
{
    const struct nb_progress *p = &w->ctx->progress;
    const uint64_t n = w->feed.n_runs;
    w->seconds = nb_alloc(&w->ctx->allocator, (size_t)n + 1, sizeof *w->seconds);
    if (w->seconds == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to evaluate a net");
    for (uint64_t i = 0; i < n; i++) {
        NB_TRY(nb_net_side_feed(&w->side, &w->feed, i, err));
        const uint64_t begin = nb_clock_ns();
        NB_TRY(nb_net_side_run(&w->side, err));
        w->seconds[i] = (double)(nb_clock_ns() - begin) * 1e-9;
        add(w, i);
        if (p->fn != NULL && p->fn(p->ctx, "evaluating", i + 1, n, "runs") != 0)
            NB_FAIL(err, NB_ERR_CANCELLED, "evaluating: cancelled");
    }
    return NB_OK;
}

static int ascending(const void *pa, const void *pb)
{
    const double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

static void report(struct work *w, struct nb_eval_net_result *r)
{
    const size_t n = (size_t)w->feed.n_runs;
    const struct nb_agreement *a = &w->agreement;
    *r = (struct nb_eval_net_result){.n = w->feed.n_runs * (uint64_t)w->feed.batch,
                                     .batch = (uint32_t)w->feed.batch,
                                     .threads = nb_executor_threads(w->side.e),
                                     .has_classes = w->o->labels != NULL,
                                     .has_expected = w->o->expected != NULL,
                                     .n_classes = w->n_classes,
                                     .n_right = w->score.n_right,
                                     .n_right_top = w->score.n_right_top,
                                     .loss = nb_class_score_loss(&w->score)};
    const char *name = w->out->port.name;
    memcpy(r->output, name, NB_MIN(strlen(name), sizeof r->output - 1));
    if (r->has_expected) {
        r->sqnr_db = nb_agreement_sqnr(a);
        r->cosine = nb_agreement_cosine(a);
        r->rmse = a->n > 0 ? sqrt(a->noise / (double)a->n) : 0.0;
        r->most = a->most;
    }
    for (size_t i = 0; i < n; i++)
        r->seconds += w->seconds[i];
    qsort(w->seconds, n, sizeof *w->seconds, ascending);
    r->run_median = (w->seconds[(n - 1) / 2] + w->seconds[n / 2]) / 2.0;
    r->run_min = w->seconds[0];
}

static enum nb_status evaluate(struct work *w, const char *path, struct nb_eval_net_result *r,
                               struct nb_error *err)
{
    const struct nb_eval_net_options *o = w->o;
    const struct nb_net_feed_options feed = {.samples = o->samples,
                                             .dims = o->dims,
                                             .fixed = o->fixed,
                                             .n_samples = o->n_samples,
                                             .n_dims = o->n_dims,
                                             .n_fixed = o->n_fixed};
    NB_TRY(nb_net_feed_read(&w->feed, w->ctx, path, &feed, err));
    NB_TRY(nb_net_side_open(&w->side, w->ctx, path, &w->feed.options, err));
    if (w->feed.n_inputs == 0)
        NB_FAIL(err, NB_ERR_ARG, "%s has no input that takes samples", path);
    NB_TRY(check(w, err));
    NB_TRY(run_all(w, err));
    report(w, r);
    return NB_OK;
}

enum nb_status nb_evaluate_net(nb_context *ctx, const char *path,
                               const struct nb_eval_net_options *options,
                               struct nb_eval_net_result *result, struct nb_error *err)
{
    struct nb_eval_net_options o;
    nb_error_clear(err);
    if (ctx == NULL || path == NULL || options == NULL || result == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_evaluate_net: an argument is NULL");
    nb_eval_net_options_init(&o);
    NB_TRY(nb_options_copy(&o, sizeof o, options, options->size, "nb_eval_net_options", err));
    struct work w = {.ctx = ctx, .o = &o};
    const enum nb_status st = evaluate(&w, path, result, err);
    nb_free(&ctx->allocator, w.seconds);
    nb_npy_free(&w.expected);
    nb_net_side_close(&w.side);
    nb_net_feed_fini(&w.feed);
    return st;
}
