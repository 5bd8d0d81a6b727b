/* api/quantize_net.c: nb_quantize_net: samples from files, then ptq/, then a file; nb_plan_net: the same without samples
 * and file. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/net.h"
#include "ptq/ptq.h"

void nb_quantize_net_options_init(struct nb_quantize_net_options *o)
{
    *o = (struct nb_quantize_net_options){.size = sizeof *o,
                                          .profile = "ort-cpu",
                                          .range = "minmax",
                                          .percentile = 99.999,
                                          .type = "int8",
                                          .bias_correct = -1,
                                          .max_drop = (double)NAN,
                                          .min_sqnr_db = (double)NAN,
                                          .activations = "int8",
                                          .weight_bits = 8,
                                          .smooth = (double)NAN,
                                          .encodings_version = "1.0.0"};
}

/* What the call has open. Owns: all but o. */
struct work {
    nb_context *ctx;
    const struct nb_quantize_net_options *o;
    const struct nb_allocator *a;
    struct nb_net_source source;
    struct nb_arena arena;
    struct nb_net_feed feed;
    struct nb_net_options net;
    struct nb_ptq_options ptq;
    struct nb_ptq_data data;
    struct nb_ptq *result;
    bool planning;
};

static void work_fini(struct work *w)
{
    nb_ptq_destroy(w->result);
    nb_net_source_close(&w->source);
    nb_net_feed_fini(&w->feed);
    nb_arena_fini(&w->arena);
}

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to quantize a net");
}

/* ---- options ---- */

/* Weights and activations? */
static bool is_static(const struct nb_quantize_net_options *o)
{
    return o->type == NULL || nb_str_eq(o->type, "int8");
}

static bool is_half(const struct nb_quantize_net_options *o)
{
    return nb_str_eq(o->type, "f16");
}

static bool is_dynamic(const struct nb_quantize_net_options *o)
{
    return nb_str_eq(o->type, "int8_dynamic");
}

/* Place of a word in a list, or -1. */
typedef const char *name_fn(int i);
static const char *profile_name(int i)
{
    return nb_ptq_profile_name((enum nb_ptq_profile)i);
}
static const char *range_name(int i)
{
    return nb_ptq_range_name((enum nb_ptq_range)i);
}
static const char *weights_name(int i)
{
    return nb_ptq_weights_name((enum nb_ptq_weights)i);
}
static const char *format_name(int i)
{
    return nb_ptq_format_name((enum nb_ptq_format)i);
}

static const char *activations_name(int i)
{
    return nb_ptq_activations_name((enum nb_ptq_activations)i);
}

static int find_word(const char *word, name_fn *name, int n)
{
    for (int i = 0; i < n && word != NULL; i++)
        if (nb_str_eq(word, name(i)))
            return i;
    return -1;
}

/* Which engines take codes of other widths than 8 bits. */
static enum nb_status check_widths(const struct nb_quantize_net_options *o, int activations,
                                   struct nb_error *err)
{
    const bool wide = activations > NB_PTQ_INT8, narrow = o->weight_bits == 4;
    if (activations < 0)
        NB_FAIL(err, NB_ERR_ARG, "no activations of '%s'; expected int8, uint16 or int16",
                o->activations);
    if (o->weight_bits != 8 && !narrow)
        NB_FAIL(err, NB_ERR_ARG, "weights of %u bits; expected 8 or 4", o->weight_bits);
    if ((wide || narrow) && !is_static(o))
        NB_FAIL(err, NB_ERR_ARG, "widths of activations and weights are of type int8");
    if ((wide || narrow) && o->format != NULL && nb_str_eq(o->format, "qoperator"))
        NB_FAIL(err, NB_ERR_ARG, "integer operators are of 8 bits; expected format qdq");
    if ((wide || narrow) && nb_str_eq(o->profile, "tensorrt"))
        NB_FAIL(err, NB_ERR_ARG, "TensorRT takes %s in 8 bits alone beside quantized %s",
                wide ? "activations" : "weights", wide ? "weights" : "activations");
    return NB_OK;
}

/* The type, and what is of one alone. groups: it is of weights in groups. */
static enum nb_status check_type(const struct nb_quantize_net_options *o, bool groups,
                                 struct nb_error *err)
{
    if (groups && !nb_nbits_fits(nb_numfmt_find(o->type)))
        NB_FAIL(err, NB_ERR_ARG,
                "nets are quantized to int8, int8_dynamic, f16, or their weights alone to int4 or "
                "int8 in groups "
                "(int4_g32, int8_g128_asym ...), not to '%s'",
                o->type);
    if (!groups && (o->method != NULL || o->scale_search != NULL))
        NB_FAIL(err, NB_ERR_ARG, "a method, or a search for scales, is of weights in groups");
    if (o->smooth > 1.0 || (!isnan(o->smooth) && !is_static(o)))
        NB_FAIL(err, NB_ERR_ARG, "smoothing is of type int8, by an alpha of 0 to 1");
    return NB_OK;
}

static enum nb_status find_rules(struct work *w, struct nb_error *err)
{
    const struct nb_quantize_net_options *o = w->o;
    const int profile = find_word(o->profile, profile_name, NB_N_PTQ_PROFILES);
    const int range = find_word(o->range, range_name, NB_N_PTQ_RANGES);
    const bool narrow = o->weight_bits == 4; /* to nearest is not enough */
    const char *rule = o->weights != NULL ? o->weights : narrow ? "gptq" : "rtn";
    const int weights = find_word(rule, weights_name, NB_N_PTQ_WEIGHTS);
    const int activations = find_word(o->activations, activations_name, NB_N_PTQ_ACTIVATIONS);
    const int format =
        o->format != NULL ? find_word(o->format, format_name, NB_N_PTQ_FORMATS) : NB_PTQ_QDQ;
    const bool groups = !is_static(o) && !is_half(o) && !is_dynamic(o);
    NB_TRY(check_type(o, groups, err));
    if (format < 0)
        NB_FAIL(err, NB_ERR_ARG, "no format '%s'; expected qdq, qoperator or float", o->format);
    if (format == NB_PTQ_QOPERATOR && profile == NB_PTQ_TENSORRT)
        NB_FAIL(err, NB_ERR_ARG, "TensorRT takes no integer operators");
    if ((format != NB_PTQ_QDQ || o->encodings != NULL || (o->format != NULL && !groups)) &&
        !is_static(o))
        NB_FAIL(err, NB_ERR_ARG,
                "formats and encodings are of type int8; weights in groups have qdq");
    if (!nb_str_eq(o->encodings_version, "1.0.0") && !nb_str_eq(o->encodings_version, "0.6.1"))
        NB_FAIL(err, NB_ERR_ARG, "no encodings of version '%s'; expected 1.0.0 or 0.6.1",
                o->encodings_version);
    if (profile < 0)
        NB_FAIL(err, NB_ERR_ARG, "no profile '%s'; expected ort-cpu, openvino, tensorrt or qnn",
                o->profile);
    if (range < 0)
        NB_FAIL(err, NB_ERR_ARG,
                "no rule '%s' for ranges; expected minmax, moving, percentile, mse or entropy",
                o->range);
    if (weights < 0)
        NB_FAIL(err, NB_ERR_ARG, "no rule '%s' for weights; expected rtn, mse, gptq or adaround",
                rule);
    NB_TRY(check_widths(o, activations, err));
    if (!(o->percentile > 50.0 && o->percentile <= 100.0))
        NB_FAIL(err, NB_ERR_ARG, "a percentile of %g; expected one above 50, up to 100",
                o->percentile);
    w->ptq = (struct nb_ptq_options){
        .encodings = o->encodings != NULL ? o->encodings_version : NULL,
        .format = (enum nb_ptq_format)format,
        .profile = (enum nb_ptq_profile)profile,
        .range = (enum nb_ptq_range)range,
        .weights = (enum nb_ptq_weights)weights,
        .activations = (enum nb_ptq_activations)activations,
        .weight_bits = o->weight_bits,
        .bias_correct = o->bias_correct >= 0
                            ? o->bias_correct != 0
                            : narrow || weights == NB_PTQ_RTN || weights == NB_PTQ_WEIGHTS_MSE,
        .equalize = o->equalize != 0,
        .smooth = !isnan(o->smooth),
        .alpha = o->smooth,
        .bounded = !isnan(o->max_drop) || !isnan(o->min_sqnr_db),
        .max_drop = isnan(o->max_drop) ? (double)INFINITY : o->max_drop,
        .min_sqnr_db = isnan(o->min_sqnr_db) ? -(double)INFINITY : o->min_sqnr_db,
        .percentile = o->percentile,
        .per_tensor = o->per_tensor != 0,
        .keep = o->keep,
        .n_keep = o->n_keep};
    return NB_OK;
}

/* ---- samples ---- */

static enum nb_status read_samples(struct work *w, const char *path, struct nb_error *err)
{
    const struct nb_net_feed_options o = {.samples = w->o->samples,
                                          .dims = w->o->dims,
                                          .fixed = w->o->fixed,
                                          .n_samples = w->o->n_samples,
                                          .n_dims = w->o->n_dims,
                                          .n_fixed = w->o->n_fixed};
    NB_TRY(nb_net_feed_read(&w->feed, w->ctx, path, &o, err));
    NB_TRY(nb_executor_room_options(&w->net, &w->arena, &w->feed.options, err));
    const float **inputs = nb_arena_alloc(&w->arena, w->feed.n_inputs + 1, sizeof *inputs);
    if (inputs == NULL)
        return no_memory(err);
    for (size_t i = 0; i < w->feed.n_inputs; i++)
        NB_TRY(nb_net_feed_floats(&w->feed, i, &inputs[i], err));
    w->data = (struct nb_ptq_data){.inputs = inputs,
                                   .n_samples = (size_t)w->feed.n_runs,
                                   .labels = w->o->labels,
                                   .progress = &w->ctx->progress};
    if (w->o->labels != NULL && w->o->n_labels != w->data.n_samples)
        NB_FAIL(err, NB_ERR_ARG, "%zu labels for %zu samples", w->o->n_labels, w->data.n_samples);
    return NB_OK;
}

/* ---- the work ---- */

static double decibels(double signal, double noise)
{
    return noise > 0.0 ? 10.0 * log10(signal / noise) : (double)INFINITY;
}

static enum nb_status measure(struct work *w, struct nb_quantize_net_result *r,
                              struct nb_error *err)
{
    const struct nb_onnx_model *m = nb_net_source_model(&w->source);
    struct nb_ptq_error *errors = nb_arena_alloc(&w->arena, m->graph.n_outputs + 1, sizeof *errors);
    if (errors == NULL)
        return no_memory(err);
    NB_TRY(nb_ptq_measure(errors, m, nb_ptq_model(w->result), &w->net, &w->data, w->ctx->pool, w->a,
                          err));
    r->sqnr_db = INFINITY;
    r->same_top = 1.0;
    for (size_t i = 0; i < m->graph.n_outputs; i++) {
        const struct nb_ptq_error *e = &errors[i];
        const double db = nb_agreement_sqnr(&e->of);
        if (e->of.n == 0 || !(db < r->sqnr_db))
            continue;
        r->sqnr_db = db;
        r->same_top = (double)e->of.n_same / (double)e->of.n_rows;
    }
    return NB_OK;
}

/* ---- by type ---- */

static enum nb_status quantize(struct work *w, struct nb_error *err)
{
    const struct nb_onnx_model *m = nb_net_source_model(&w->source);
    const struct nb_quantize_net_options *o = w->o;
    const struct nb_ptq_weight_options weights = {.type = o->type,
                                                  .method = o->method,
                                                  .scale_search = o->scale_search,
                                                  .keep = o->keep,
                                                  .n_keep = o->n_keep,
                                                  .qdq = o->format != NULL,
                                                  .planning = w->planning};
    const struct nb_ptq_half_options half = {.keep = o->keep, .n_keep = o->n_keep};
    if (is_dynamic(o))
        return nb_ptq_create_dynamic(&w->result, m, o->keep, o->n_keep, w->a, err);
    if (is_half(o))
        return nb_ptq_create_half(&w->result, m, &w->net, &half, &w->data, w->ctx->pool, w->a, err);
    if (!is_static(o))
        return nb_ptq_create_weights(&w->result, m, &w->net, &weights, &w->data, w->ctx->pool, w->a,
                                     err);
    return nb_ptq_create(&w->result, m, &w->net, &w->ptq, &w->data, w->ctx->pool, w->a, err);
}

static enum nb_status write_encodings(struct work *w, struct nb_error *err)
{
    const struct nb_str *text = nb_ptq_encodings(w->result);
    struct nb_out out;
    NB_TRY(nb_out_create(&out, w->o->encodings, w->o->overwrite ? NB_OUT_OVERWRITE : 0, text->len,
                         w->a, err));
    enum nb_status st = nb_out_write(&out, text->data, text->len, err);
    if (st == NB_OK)
        st = nb_out_commit(&out, err);
    nb_out_abort(&out);
    return st;
}

static enum nb_status run(struct work *w, const char *path, const char *out,
                          struct nb_quantize_net_result *r, struct nb_error *err)
{
    struct nb_onnx_write_options write;
    NB_TRY(find_rules(w, err));
    if (w->o->encodings != NULL && !w->o->overwrite && nb_path_exists(w->o->encodings))
        NB_FAIL(err, NB_ERR_EXISTS, "%s exists", w->o->encodings);
    NB_TRY(nb_net_source_open(&w->source, path, w->a, err));
    if (is_static(w->o) || w->o->n_samples > 0)
        NB_TRY(read_samples(w, path, err));
    if (!w->o->overwrite && nb_path_exists(out)) /* before the minutes of work */
        NB_FAIL(err, NB_ERR_EXISTS, "%s exists", out);
    NB_TRY(quantize(w, err));
    const struct nb_ptq_report *report = nb_ptq_report(w->result);
    *r = (struct nb_quantize_net_result){.float_bytes = report->float_bytes,
                                         .bytes = report->bytes,
                                         .n_nodes = report->n_nodes,
                                         .n_quantized = report->n_quantized,
                                         .n_activations = report->n_activations,
                                         .n_samples = w->data.n_samples,
                                         .n_beyond = report->n_beyond,
                                         .n_kept = report->n_kept,
                                         .n_beyond_values = report->n_beyond_values,
                                         .n_pairs = report->n_pairs,
                                         .smooth =
                                             w->ptq.smooth ? report->smoothed.alpha : (double)NAN,
                                         .n_folded = report->smoothed.n_folded,
                                         .n_multiplied = report->smoothed.n_multiplied,
                                         .n_even = report->smoothed.n_even,
                                         .n_stuck = report->smoothed.n_stuck,
                                         .n_stay = report->n_stay,
                                         .n_models = report->n_models,
                                         .drop = report->score.drop,
                                         .sqnr_db = (double)NAN,
                                         .same_top = (double)NAN,
                                         .weight_sqnr_db = (double)NAN};
    for (size_t i = 0, at = 0; i < report->n_stay && at < sizeof r->stay; i++)
        at += (size_t)snprintf(r->stay + at, sizeof r->stay - at, "%s%s", i > 0 ? ", " : "",
                               report->stay[i].name);
    if (report->weight_signal > 0.0)
        r->weight_sqnr_db = decibels(report->weight_signal, report->weight_noise);
    if (w->data.n_samples > 0)
        NB_TRY(measure(w, r, err));
    nb_onnx_write_options_init(&write);
    if (w->o->overwrite)
        write.out_flags = NB_OUT_OVERWRITE;
    NB_TRY(nb_onnx_write(out, nb_ptq_file(w->result), &write, w->a, err));
    return w->o->encodings != NULL ? write_encodings(w, err) : NB_OK;
}

enum nb_status nb_quantize_net(nb_context *ctx, const char *path, const char *out,
                               const struct nb_quantize_net_options *options,
                               struct nb_quantize_net_result *result, struct nb_error *err)
{
    struct nb_quantize_net_options o;
    if (ctx == NULL || path == NULL || out == NULL || result == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_quantize_net: an argument is NULL");
    nb_quantize_net_options_init(&o);
    if (options != NULL)
        NB_TRY(
            nb_options_copy(&o, sizeof o, options, options->size, "nb_quantize_net_options", err));
    const struct nb_allocator a = ctx->allocator;
    struct work w = {.ctx = ctx, .o = &o, .a = &a};
    const uint64_t begin = nb_clock_ns();
    nb_arena_init(&w.arena, &a, 0);
    const enum nb_status st = run(&w, path, out, result, err);
    if (st == NB_OK)
        result->seconds = (double)(nb_clock_ns() - begin) * 1e-9;
    work_fini(&w);
    return st;
}

/* ---- plans ---- */

struct plan_owner {
    struct nb_allocator a;
    struct nb_arena arena;
};

void nb_plan_net_result_free(struct nb_plan_net_result *r)
{
    struct plan_owner *owner = r->owner;
    if (owner != NULL) {
        const struct nb_allocator a = owner->a;
        nb_arena_fini(&owner->arena);
        nb_free(&a, owner);
    }
    *r = (struct nb_plan_net_result){.owner = NULL};
}

/* Dimensions without samples: an open first one is 1, others must be given. */
static enum nb_status suppose_shapes(struct work *w, const char *path, struct nb_error *err)
{
    const struct nb_net_feed_options o = {
        .dims = w->o->dims, .fixed = w->o->fixed, .n_dims = w->o->n_dims, .n_fixed = w->o->n_fixed};
    NB_TRY(nb_net_feed_suppose(&w->feed, w->ctx, path, &o, err));
    return nb_executor_room_options(&w->net, &w->arena, &w->feed.options, err);
}

static enum nb_status copy_nodes(struct plan_owner *owner, const struct nb_ptq_report *report,
                                 struct nb_plan_net_result *r, struct nb_error *err)
{
    struct nb_plan_net_node *nodes =
        nb_arena_alloc(&owner->arena, report->n_listed + 1, sizeof *nodes);
    if (nodes == NULL)
        return no_memory(err);
    for (size_t i = 0; i < report->n_listed; i++) {
        const struct nb_ptq_node *n = &report->nodes[i];
        if (n->op == NULL)
            continue;
        const char *name = nb_arena_strndup(&owner->arena, n->name, strlen(n->name));
        const char *op = nb_arena_strndup(&owner->arena, n->op, strlen(n->op));
        if (name == NULL || op == NULL)
            return no_memory(err);
        nodes[r->n_nodes++] =
            (struct nb_plan_net_node){name, op, nb_ptq_fate_name(n->fate), n->bytes};
    }
    r->nodes = nodes;
    return NB_OK;
}

static enum nb_status plan(struct work *w, const char *path, struct nb_plan_net_result *r,
                           struct nb_error *err)
{
    NB_TRY(find_rules(w, err));
    NB_TRY(nb_net_source_open(&w->source, path, w->a, err));
    if (w->o->n_samples > 0)
        NB_TRY(read_samples(w, path, err));
    else if (is_static(w->o))
        NB_TRY(suppose_shapes(w, path, err));
    r->n_samples = w->data.n_samples;
    w->ptq.planning = true;
    w->ptq.weights = NB_PTQ_RTN;
    w->ptq.equalize = w->ptq.smooth = w->ptq.bounded = false;
    if (is_half(w->o))
        w->data.n_samples = 0;
    NB_TRY(quantize(w, err));
    const struct nb_ptq_report *report = nb_ptq_report(w->result);
    r->float_bytes = report->float_bytes;
    r->bytes = report->bytes;
    r->n_quantized = report->n_quantized;
    r->n_activations = report->n_activations;
    return copy_nodes(r->owner, report, r, err);
}

enum nb_status nb_plan_net(nb_context *ctx, const char *path,
                           const struct nb_quantize_net_options *options,
                           struct nb_plan_net_result *result, struct nb_error *err)
{
    struct nb_quantize_net_options o;
    if (ctx == NULL || path == NULL || result == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_plan_net: an argument is NULL");
    nb_quantize_net_options_init(&o);
    if (options != NULL)
        NB_TRY(
            nb_options_copy(&o, sizeof o, options, options->size, "nb_quantize_net_options", err));
    struct plan_owner *owner = nb_alloc_zero(&ctx->allocator, 1, sizeof *owner);
    if (owner == NULL)
        return no_memory(err);
    owner->a = ctx->allocator;
    nb_arena_init(&owner->arena, &owner->a, 0);
    *result = (struct nb_plan_net_result){.owner = owner};
    const struct nb_allocator a = ctx->allocator;
    struct work w = {.ctx = ctx, .o = &o, .a = &a, .planning = true};
    nb_arena_init(&w.arena, &a, 0);
    const enum nb_status st = plan(&w, path, result, err);
    work_fini(&w);
    if (st != NB_OK)
        nb_plan_net_result_free(result);
    return st;
}
