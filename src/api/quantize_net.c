/* api/quantize_net.c: nb_quantize_net: samples from files, then ptq/, then a file. */
#include <math.h>
#include <string.h>

#include "api/net.h"
#include "ptq/ptq.h"

void nb_quantize_net_options_init(struct nb_quantize_net_options *o)
{
    *o = (struct nb_quantize_net_options){
        .size = sizeof *o, .profile = "ort-cpu", .range = "minmax", .percentile = 99.999};
}

/* What the call has open. Owns: all but o. */
struct work {
    nb_context *ctx;
    const struct nb_quantize_net_options *o;
    const struct nb_allocator *a;
    struct nb_onnx *file;
    struct nb_arena arena;
    struct nb_npy *files; /* (n_inputs of the model), data NULL: fixed */
    struct nb_net_dim *dims;
    struct nb_net_shape *shapes;
    struct nb_net_fixed *fixed;
    struct nb_net_options net;
    struct nb_ptq_options ptq;
    struct nb_ptq_data data;
    struct nb_ptq *result;
};

static void work_fini(struct work *w)
{
    for (size_t i = 0; w->files != NULL && i < nb_onnx_model(w->file)->graph.n_inputs; i++)
        nb_npy_free(&w->files[i]);
    nb_ptq_destroy(w->result);
    nb_onnx_close(w->file);
    nb_arena_fini(&w->arena);
}

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to quantize a net");
}

/* ---- options ---- */

static enum nb_status find_rules(struct work *w, struct nb_error *err)
{
    const struct nb_quantize_net_options *o = w->o;
    int profile = -1, range = -1;
    for (int i = 0; i < NB_N_PTQ_PROFILES; i++)
        if (nb_str_eq(o->profile, nb_ptq_profile_name((enum nb_ptq_profile)i)))
            profile = i;
    for (int i = 0; i < NB_N_PTQ_RANGES; i++)
        if (nb_str_eq(o->range, nb_ptq_range_name((enum nb_ptq_range)i)))
            range = i;
    if (profile < 0)
        NB_FAIL(err, NB_ERR_ARG, "no profile '%s'; expected ort-cpu, openvino, tensorrt or qnn",
                o->profile);
    if (range < 0)
        NB_FAIL(err, NB_ERR_ARG,
                "no rule '%s' for ranges; expected minmax, moving, percentile, mse or entropy",
                o->range);
    if (!(o->percentile > 50.0 && o->percentile <= 100.0))
        NB_FAIL(err, NB_ERR_ARG, "a percentile of %g; expected one above 50, up to 100",
                o->percentile);
    w->ptq = (struct nb_ptq_options){.profile = (enum nb_ptq_profile)profile,
                                     .range = (enum nb_ptq_range)range,
                                     .percentile = o->percentile,
                                     .per_tensor = o->per_tensor != 0,
                                     .keep = o->keep,
                                     .n_keep = o->n_keep};
    return NB_OK;
}

static enum nb_status copy_options(struct work *w, struct nb_error *err)
{
    const struct nb_quantize_net_options *o = w->o;
    const size_t n_inputs = nb_onnx_model(w->file)->graph.n_inputs;
    w->dims = nb_arena_alloc(&w->arena, o->n_dims + 1, sizeof *w->dims);
    w->shapes = nb_arena_alloc(&w->arena, n_inputs + 1, sizeof *w->shapes);
    w->fixed = nb_arena_alloc(&w->arena, o->n_fixed + 1, sizeof *w->fixed);
    w->files = nb_arena_alloc(&w->arena, n_inputs + 1, sizeof *w->files);
    if (!w->dims || !w->shapes || !w->fixed || !w->files)
        return no_memory(err);
    for (size_t i = 0; i < o->n_dims; i++)
        w->dims[i] = (struct nb_net_dim){o->dims[i].name, o->dims[i].n};
    for (size_t i = 0; i < o->n_fixed; i++)
        w->fixed[i] = (struct nb_net_fixed){o->fixed[i].input, o->fixed[i].value, o->fixed[i].data};
    w->net = (struct nb_net_options){.dims = w->dims,
                                     .shapes = w->shapes,
                                     .fixed = w->fixed,
                                     .n_dims = o->n_dims,
                                     .n_fixed = o->n_fixed};
    return NB_OK;
}

/* ---- samples ---- */

static bool is_fixed(const struct work *w, const char *input)
{
    for (size_t i = 0; i < w->o->n_fixed; i++)
        if (nb_str_eq(w->o->fixed[i].input, input))
            return true;
    return false;
}

static bool is_weight(const struct nb_onnx_graph *g, const char *input)
{
    for (size_t i = 0; i < g->n_initializers; i++)
        if (nb_str_eq(g->initializers[i].name, input))
            return true;
    return false;
}

static const struct nb_net_samples *samples_of(const struct work *w, const char *input)
{
    for (size_t i = 0; i < w->o->n_samples; i++)
        if (w->o->samples[i].input == NULL || nb_str_eq(w->o->samples[i].input, input))
            return &w->o->samples[i];
    return NULL;
}

static int64_t named_dim(const struct work *w, const struct nb_onnx_dim *d)
{
    for (size_t i = 0; i < w->o->n_dims && d->name != NULL; i++)
        if (nb_str_eq(w->o->dims[i].name, d->name))
            return w->o->dims[i].n;
    return d->value;
}

/* The input's dimensions, open ones filled: the first with 1, others from the array, whose last dimensions they are. */
static enum nb_status find_shape(struct work *w, const struct nb_onnx_value *in,
                                 const struct nb_npy *npy, struct nb_net_shape *shape,
                                 struct nb_error *err)
{
    const size_t rank = in->rank >= 0 ? (size_t)in->rank : npy->rank;
    int64_t *dims = nb_arena_alloc(&w->arena, rank + 1, sizeof *dims);
    if (dims == NULL)
        return no_memory(err);
    if (npy->rank != rank && npy->rank != rank + 1)
        NB_FAIL(err, NB_ERR_ARG, "samples of input '%s' have %u dimensions, expected %zu or %zu",
                in->name, npy->rank, rank, rank + 1);
    for (size_t i = 0; i < rank; i++) {
        const int64_t have = npy->dims[npy->rank - rank + i];
        const int64_t want = in->rank >= 0 ? named_dim(w, &in->dims[i]) : -1;
        const bool counts = i == 0 && npy->rank == rank; /* this dimension is that of samples */
        dims[i] = want >= 0 ? want : counts ? 1 : have;
        if (!counts && have != dims[i])
            NB_FAIL(err, NB_ERR_ARG, "dimension %zu of input '%s' is %lld, of its samples %lld", i,
                    in->name, (long long)dims[i], (long long)have);
        if (counts && (dims[i] < 1 || have % dims[i] != 0))
            NB_FAIL(err, NB_ERR_ARG, "%lld samples of input '%s', which takes %lld at once",
                    (long long)have, in->name, (long long)dims[i]);
    }
    *shape = (struct nb_net_shape){.input = in->name, .dims = dims, .rank = rank};
    return NB_OK;
}

static float element(const struct nb_npy *npy, uint64_t i)
{
    const char *t = npy->type;
    if (nb_str_eq(t, "float16"))
        return nb_f16_to_f32(((const uint16_t *)npy->data)[i]);
    if (nb_str_eq(t, "float64"))
        return (float)((const double *)npy->data)[i];
    if (nb_str_eq(t, "uint8") || nb_str_eq(t, "bool"))
        return (float)((const uint8_t *)npy->data)[i];
    if (nb_str_eq(t, "int8"))
        return (float)((const int8_t *)npy->data)[i];
    if (nb_str_eq(t, "int16"))
        return (float)((const int16_t *)npy->data)[i];
    if (nb_str_eq(t, "uint16"))
        return (float)((const uint16_t *)npy->data)[i];
    if (nb_str_eq(t, "int32"))
        return (float)((const int32_t *)npy->data)[i];
    if (nb_str_eq(t, "uint32"))
        return (float)((const uint32_t *)npy->data)[i];
    if (nb_str_eq(t, "int64"))
        return (float)((const int64_t *)npy->data)[i];
    return (float)((const uint64_t *)npy->data)[i];
}

static enum nb_status as_floats(struct work *w, const struct nb_npy *npy, const float **out,
                                struct nb_error *err)
{
    if (nb_str_eq(npy->type, "float32")) {
        *out = npy->data;
        return NB_OK;
    }
    float *x = nb_arena_alloc(&w->arena, (size_t)npy->elements + 1, sizeof *x);
    if (x == NULL)
        return no_memory(err);
    for (uint64_t i = 0; i < npy->elements; i++)
        x[i] = element(npy, i);
    *out = x;
    return NB_OK;
}

static enum nb_status read_input(struct work *w, size_t i, const float **data, struct nb_error *err)
{
    const struct nb_onnx_value *in = &nb_onnx_model(w->file)->graph.inputs[i];
    const struct nb_net_samples *s = samples_of(w, in->name);
    struct nb_net_shape *shape = &w->shapes[w->net.n_shapes];
    uint64_t per = 1;
    if (s == NULL)
        NB_FAIL(err, NB_ERR_ARG, "input '%s' has no samples; give some, or fix it to a value",
                in->name);
    NB_TRY(nb_npy_read(w->ctx, s->path, &w->files[i], err));
    const struct nb_npy *npy = &w->files[i];
    NB_TRY(find_shape(w, in, npy, shape, err));
    w->net.n_shapes++;
    for (size_t k = 0; k < shape->rank; k++)
        per *= (uint64_t)shape->dims[k];
    const uint64_t n = per > 0 ? npy->elements / per : 0;
    if (n == 0 || (w->data.n_samples != 0 && n != w->data.n_samples))
        NB_FAIL(err, NB_ERR_ARG, "%s: %llu samples of input '%s', expected %zu", s->path,
                (unsigned long long)n, in->name, w->data.n_samples);
    w->data.n_samples = (size_t)n;
    return as_floats(w, npy, data, err);
}

static enum nb_status read_samples(struct work *w, struct nb_error *err)
{
    const struct nb_onnx_graph *g = &nb_onnx_model(w->file)->graph;
    const float **inputs = nb_arena_alloc(&w->arena, g->n_inputs + 1, sizeof *inputs);
    size_t n = 0;
    if (inputs == NULL)
        return no_memory(err);
    for (size_t i = 0; i < g->n_inputs; i++)
        if (!is_weight(g, g->inputs[i].name) && !is_fixed(w, g->inputs[i].name))
            NB_TRY(read_input(w, i, &inputs[n++], err));
    w->data.inputs = inputs;
    if (w->o->n_samples > n)
        NB_FAIL(err, NB_ERR_ARG, "samples for %zu inputs, the net has %zu that want some",
                w->o->n_samples, n);
    return NB_OK;
}

/* ---- the work ---- */

static enum nb_status measure(struct work *w, struct nb_quantize_net_result *r,
                              struct nb_error *err)
{
    const struct nb_onnx_model *m = nb_onnx_model(w->file);
    struct nb_ptq_error *errors = nb_arena_alloc(&w->arena, m->graph.n_outputs + 1, sizeof *errors);
    if (errors == NULL)
        return no_memory(err);
    NB_TRY(nb_ptq_measure(errors, m, nb_ptq_model(w->result), &w->net, &w->data, w->ctx->pool, w->a,
                          err));
    r->sqnr_db = INFINITY;
    r->same_top = 1.0;
    for (size_t i = 0; i < m->graph.n_outputs; i++) {
        const struct nb_ptq_error *e = &errors[i];
        const double db = e->noise > 0.0 ? 10.0 * log10(e->signal / e->noise) : INFINITY;
        if (e->n == 0 || !(db < r->sqnr_db))
            continue;
        r->sqnr_db = db;
        r->same_top = (double)e->n_same_top / (double)e->n_samples;
    }
    return NB_OK;
}

static enum nb_status run(struct work *w, const char *path, const char *out,
                          struct nb_quantize_net_result *r, struct nb_error *err)
{
    struct nb_onnx_write_options write;
    NB_TRY(find_rules(w, err));
    NB_TRY(nb_onnx_open(&w->file, path, 0, w->a, err));
    NB_TRY(copy_options(w, err));
    NB_TRY(read_samples(w, err));
    NB_TRY(nb_ptq_create(&w->result, nb_onnx_model(w->file), &w->net, &w->ptq, &w->data,
                         w->ctx->pool, w->a, err));
    const struct nb_ptq_report *report = nb_ptq_report(w->result);
    *r = (struct nb_quantize_net_result){.float_bytes = report->float_bytes,
                                         .bytes = report->bytes,
                                         .n_nodes = report->n_nodes,
                                         .n_quantized = report->n_quantized,
                                         .n_activations = report->n_activations,
                                         .n_samples = w->data.n_samples};
    NB_TRY(measure(w, r, err));
    nb_onnx_write_options_init(&write);
    if (w->o->overwrite)
        write.out_flags = NB_OUT_OVERWRITE;
    return nb_onnx_write(out, nb_ptq_model(w->result), &write, w->a, err);
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
