/* api/compare_net.c: nb_compare_nets: a net beside its reference: outputs, layers, accuracy. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/net_layers.h"

void nb_compare_net_options_init(struct nb_compare_net_options *o)
{
    *o = (struct nb_compare_net_options){.size = sizeof *o, .layers = 1};
}

/* Owns: the result's names and lists. */
struct owner {
    struct nb_allocator a;
    struct nb_arena arena;
};

/* An output of both. */
struct pair {
    size_t index[2];
    size_t row; /* elements of the last dimension */
    struct nb_agreement agreement;
};

/* What the call has open. Owns: all but o and owner. */
struct work {
    nb_context *ctx;
    const struct nb_compare_net_options *o;
    const char *path[2];
    struct nb_net_feed feed;
    struct nb_executor_options options[2];
    struct nb_net_side side[2];
    struct nb_net_layers layers;
    struct pair *pairs; /* (outputs of the reference) */
    double *seconds[2]; /* (runs) */
    size_t label_pair;  /* the output that labels are for */
    uint64_t n_classes;
    struct nb_class_score score[2];
    struct owner *owner;
};

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to compare two nets");
}

static void work_fini(struct work *w)
{
    nb_net_layers_fini(&w->layers);
    for (int k = 0; k < 2; k++) {
        nb_net_side_close(&w->side[k]);
        nb_free(&w->ctx->allocator, w->seconds[k]);
    }
    nb_net_feed_fini(&w->feed);
}

/* ---- opening ---- */

/* The other net's inputs have the same shapes, under their own names. */
static enum nb_status open_sides(struct work *w, struct nb_error *err)
{
    struct nb_net_info info = {.n_inputs = 0};
    struct nb_executor_shape *shapes =
        nb_arena_alloc(&w->owner->arena, w->feed.n_inputs + 1, sizeof *shapes);
    if (shapes == NULL)
        return no_memory(err);
    NB_TRY(nb_net_side_open(&w->side[0], w->ctx, w->path[0], &w->feed.options, err));
    NB_TRY(nb_inspect_net(w->ctx, w->path[1], &info, err));
    size_t n = 0;
    for (size_t i = 0; i < w->feed.n_inputs; i++) {
        shapes[n] = w->feed.shapes[i];
        const char *name = i < info.n_inputs ? info.inputs[i].name : NULL;
        for (size_t k = 0; k < info.n_inputs; k++)
            if (nb_str_eq(info.inputs[k].name, shapes[n].input))
                name = shapes[n].input;
        if (name == NULL)
            continue;
        shapes[n].input = nb_arena_strndup(&w->owner->arena, name, strlen(name));
        if (shapes[n++].input == NULL) {
            nb_net_info_free(&info);
            return no_memory(err);
        }
    }
    nb_net_info_free(&info);
    w->options[0] = w->options[1] = w->feed.options;
    w->options[1].shapes = shapes;
    w->options[1].n_shapes = n;
    return nb_net_side_open(&w->side[1], w->ctx, w->path[1], &w->options[1], err);
}

static size_t output_named(const struct nb_net_side *s, const char *name, size_t otherwise)
{
    for (size_t i = 0; i < s->n_out; i++)
        if (nb_str_eq(s->out[i].port.name, name))
            return i;
    return otherwise;
}

static enum nb_status pair_outputs(struct work *w, struct nb_error *err)
{
    const struct nb_net_side *a = &w->side[0], *b = &w->side[1];
    w->pairs = nb_arena_alloc(&w->owner->arena, a->n_out + 1, sizeof *w->pairs);
    if (w->pairs == NULL)
        return no_memory(err);
    if (a->n_out != b->n_out)
        NB_FAIL(err, NB_ERR_ARG, "%s has %zu outputs, %s %zu", a->path, a->n_out, b->path,
                b->n_out);
    for (size_t i = 0; i < a->n_out; i++) {
        const struct nb_executor_port *p = &a->out[i].port;
        const size_t other = output_named(b, p->name, i);
        const struct nb_executor_port *q = &b->out[other].port;
        if (p->elements != q->elements)
            NB_FAIL(err, NB_ERR_ARG, "output '%s' of %s has %llu elements, '%s' of %s %llu",
                    p->name, a->path, (unsigned long long)p->elements, q->name, b->path,
                    (unsigned long long)q->elements);
        w->pairs[i].index[0] = i;
        w->pairs[i].index[1] = other;
        w->pairs[i].row = p->rank > 0 ? (size_t)p->dims[p->rank - 1] : 1;
    }
    return NB_OK;
}

static enum nb_status check_labels(struct work *w, struct nb_error *err)
{
    const struct nb_compare_net_options *o = w->o;
    const uint64_t n = w->feed.n_runs * (uint64_t)w->feed.batch;
    if (o->labels == NULL)
        return NB_OK;
    if (o->n_labels != n)
        NB_FAIL(err, NB_ERR_ARG, "%zu labels for %llu samples", o->n_labels, (unsigned long long)n);
    NB_TRY(nb_net_side_output(&w->side[0], o->output, &w->label_pair, err));
    return nb_net_side_classes(&w->side[0], w->label_pair, (uint64_t)w->feed.batch, o->labels,
                               o->n_labels, &w->n_classes, err);
}

/* ---- running ---- */

static void add_labels(struct work *w, int k, const double *x, uint64_t run)
{
    const uint64_t batch = (uint64_t)w->feed.batch;
    for (uint64_t i = 0; i < batch; i++)
        nb_class_score_add(&w->score[k], x + i * w->n_classes, (size_t)w->n_classes,
                           (size_t)w->o->labels[run * batch + i]);
}

static enum nb_status run_once(struct work *w, uint64_t run, struct nb_error *err)
{
    NB_TRY(nb_net_side_feed(&w->side[0], &w->feed, run, err));
    NB_TRY(nb_net_side_feed_like(&w->side[1], &w->side[0], err));
    for (int k = 0; k < 2; k++) {
        const uint64_t begin = nb_clock_ns();
        NB_TRY(nb_net_side_run(&w->side[k], err));
        w->seconds[k][run] = (double)(nb_clock_ns() - begin) * 1e-9;
    }
    for (size_t i = 0; i < w->side[0].n_out; i++) {
        struct pair *p = &w->pairs[i];
        for (int k = 0; k < 2; k++) {
            nb_net_end_reals(&w->side[k].out[p->index[k]], w->side[k].reals);
            if (w->o->labels != NULL && i == w->label_pair)
                add_labels(w, k, w->side[k].reals, run);
        }
        nb_agreement_add(&p->agreement, w->side[0].reals, w->side[1].reals,
                         (size_t)w->side[0].out[p->index[0]].port.elements, p->row);
    }
    return w->o->layers ? nb_net_layers_run(&w->layers, &w->side[0], err) : NB_OK;
}

static enum nb_status run_all(struct work *w, struct nb_error *err)
{
    const struct nb_progress *p = &w->ctx->progress;
    for (int k = 0; k < 2; k++) {
        w->seconds[k] = nb_alloc(&w->ctx->allocator, (size_t)w->feed.n_runs + 1, sizeof(double));
        if (w->seconds[k] == NULL)
            return no_memory(err);
    }
    for (uint64_t i = 0; i < w->feed.n_runs; i++) {
        NB_TRY(run_once(w, i, err));
        if (p->fn != NULL && p->fn(p->ctx, "comparing", i + 1, w->feed.n_runs, "runs") != 0)
            NB_FAIL(err, NB_ERR_CANCELLED, "comparing: cancelled");
    }
    return NB_OK;
}

/* ---- the result ---- */

/* Names outlive the nets. */
static enum nb_status keep_names(struct work *w, struct nb_net_nearness *list, size_t n,
                                 struct nb_error *err)
{
    for (size_t i = 0; i < n; i++) {
        list[i].name = nb_arena_strndup(&w->owner->arena, list[i].name, strlen(list[i].name));
        list[i].other = nb_arena_strndup(&w->owner->arena, list[i].other, strlen(list[i].other));
        if (list[i].name == NULL || list[i].other == NULL)
            return no_memory(err);
    }
    return NB_OK;
}

static enum nb_status report_layers(struct work *w, struct nb_compare_net_result *r,
                                    struct nb_error *err)
{
    struct nb_arena *arena = &w->owner->arena;
    struct nb_net_nearness *list = nb_arena_alloc(arena, w->layers.n + 1, sizeof *list);
    double *room = nb_arena_alloc(arena, w->layers.side[0].e->net->g.n_values + 1, sizeof *room);
    if (list == NULL || room == NULL)
        return no_memory(err);
    nb_net_layers_report(&w->layers, list, room);
    r->layers = list;
    r->n_layers = w->layers.n;
    r->n_alone = w->layers.n_alone;
    return keep_names(w, list, w->layers.n, err);
}

static int ascending(const void *pa, const void *pb)
{
    const double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

static enum nb_status report(struct work *w, struct nb_compare_net_result *r, struct nb_error *err)
{
    const size_t n = w->side[0].n_out, runs = (size_t)w->feed.n_runs;
    struct nb_net_nearness *list = nb_arena_alloc(&w->owner->arena, n + 1, sizeof *list);
    if (list == NULL)
        return no_memory(err);
    r->n = w->feed.n_runs * (uint64_t)w->feed.batch;
    r->batch = (uint32_t)w->feed.batch;
    r->threads = nb_executor_threads(w->side[0].e);
    for (size_t i = 0; i < n; i++) {
        const struct pair *p = &w->pairs[i];
        list[i] = (struct nb_net_nearness){.name = w->side[0].out[p->index[0]].port.name,
                                           .other = w->side[1].out[p->index[1]].port.name,
                                           .sqnr_db = nb_agreement_sqnr(&p->agreement),
                                           .cosine = nb_agreement_cosine(&p->agreement),
                                           .most = p->agreement.most,
                                           .before_db = (double)INFINITY,
                                           .elements = w->side[0].out[p->index[0]].port.elements,
                                           .n_rows = p->agreement.n_rows,
                                           .n_same = p->agreement.n_same};
    }
    r->outputs = list;
    r->n_outputs = n;
    r->has_classes = w->o->labels != NULL;
    r->n_classes = w->n_classes;
    for (int k = 0; k < 2; k++) {
        r->n_right[k] = w->score[k].n_right;
        qsort(w->seconds[k], runs, sizeof(double), ascending);
        r->run_median[k] = (w->seconds[k][(runs - 1) / 2] + w->seconds[k][runs / 2]) / 2.0;
    }
    NB_TRY(keep_names(w, list, n, err));
    return w->o->layers ? report_layers(w, r, err) : NB_OK;
}

static enum nb_status compare(struct work *w, struct nb_compare_net_result *r, struct nb_error *err)
{
    const struct nb_compare_net_options *o = w->o;
    const struct nb_net_feed_options feed = {.samples = o->samples,
                                             .dims = o->dims,
                                             .fixed = o->fixed,
                                             .n_samples = o->n_samples,
                                             .n_dims = o->n_dims,
                                             .n_fixed = o->n_fixed};
    NB_TRY(nb_net_feed_read(&w->feed, w->ctx, w->path[0], &feed, err));
    if (w->feed.n_inputs == 0)
        NB_FAIL(err, NB_ERR_ARG, "%s has no input that takes samples", w->path[0]);
    NB_TRY(open_sides(w, err));
    NB_TRY(pair_outputs(w, err));
    NB_TRY(check_labels(w, err));
    if (o->layers)
        NB_TRY(nb_net_layers_open(&w->layers, w->ctx, w->path, w->options, err));
    NB_TRY(run_all(w, err));
    return report(w, r, err);
}

enum nb_status nb_compare_nets(nb_context *ctx, const char *reference, const char *net,
                               const struct nb_compare_net_options *options,
                               struct nb_compare_net_result *result, struct nb_error *err)
{
    struct nb_compare_net_options o;
    nb_error_clear(err);
    if (ctx == NULL || reference == NULL || net == NULL || options == NULL || result == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_compare_nets: an argument is NULL");
    *result = (struct nb_compare_net_result){.n = 0};
    nb_compare_net_options_init(&o);
    NB_TRY(nb_options_copy(&o, sizeof o, options, options->size, "nb_compare_net_options", err));
    struct owner *owner = nb_alloc_zero(&ctx->allocator, 1, sizeof *owner);
    if (owner == NULL)
        return no_memory(err);
    owner->a = ctx->allocator;
    nb_arena_init(&owner->arena, &owner->a, 0);
    result->owner = owner;
    struct work w = {.ctx = ctx, .o = &o, .path = {reference, net}, .owner = owner};
    const enum nb_status st = compare(&w, result, err);
    work_fini(&w);
    if (st != NB_OK)
        nb_compare_net_result_free(result);
    return st;
}

void nb_compare_net_result_free(struct nb_compare_net_result *r)
{
    struct owner *o = r->owner;
    if (o != NULL) {
        const struct nb_allocator a = o->a;
        nb_arena_fini(&o->arena);
        nb_free(&a, o);
    }
    *r = (struct nb_compare_net_result){.n = 0};
}
