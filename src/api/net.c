/* api/net.c: nb_executor: a net in ONNX, opened, planned and run.
 *
 * The caller holds numbers in the file's types. Where the graph has another one (float32 for float16 and bfloat16,
 * bytes for codes of 4 and 2 bits) they pass through staging memory, made when the net is opened.
 */
#include "api/net.h"

#include <string.h>

/* ---- element types ---- */

/* What the graph's own types are called in a file. */
static int32_t natural_type(enum nb_value_type type)
{
    static const int32_t map[] = {
        [NB_VALUE_F32] = NB_ONNX_FLOAT32, [NB_VALUE_F64] = NB_ONNX_FLOAT64,
        [NB_VALUE_U32] = NB_ONNX_UINT32,  [NB_VALUE_I64] = NB_ONNX_INT64,
        [NB_VALUE_I32] = NB_ONNX_INT32,   [NB_VALUE_I16] = NB_ONNX_INT16,
        [NB_VALUE_U16] = NB_ONNX_UINT16,  [NB_VALUE_I8] = NB_ONNX_INT8,
        [NB_VALUE_U8] = NB_ONNX_UINT8,    [NB_VALUE_BOOL] = NB_ONNX_BOOL};
    return (size_t)type < NB_COUNTOF(map) ? map[type] : NB_ONNX_UNDEFINED;
}

/* An output's type is what the file says only if the graph makes that. */
static int32_t type_of(int32_t said, const struct nb_value *v)
{
    enum nb_value_type type;
    return nb_net_type(said, &type) && type == v->type ? said : natural_type(v->type);
}

static bool is_half(int32_t type)
{
    return type == NB_ONNX_FLOAT16 || type == NB_ONNX_BFLOAT16;
}

static bool is_staged(int32_t type, bool input)
{
    return is_half(type) || nb_onnx_type_info(type)->bits < 8 || (input && type == NB_ONNX_BOOL);
}

static void encode(void *dst, int32_t type, const void *src, size_t n)
{
    uint8_t *bytes = dst;
    if (is_half(type)) {
        for (size_t i = 0; i < n; i++) {
            const float x = ((const float *)src)[i];
            const uint16_t h = type == NB_ONNX_FLOAT16 ? nb_f32_to_f16(x) : nb_f32_to_bf16(x);
            memcpy(bytes + 2 * i, &h, sizeof h);
        }
        return;
    }
    const unsigned bits = nb_onnx_type_info(type)->bits, per = 8 / bits, mask = (1U << bits) - 1;
    memset(bytes, 0, (n + per - 1) / per);
    for (size_t i = 0; i < n; i++)
        bytes[i / per] =
            (uint8_t)(bytes[i / per] | (((const uint8_t *)src)[i] & mask) << (i % per * bits));
}

static void decode(void *dst, int32_t type, const void *src, const struct nb_executor_port *p)
{
    if (type == NB_ONNX_BOOL) {
        for (uint64_t i = 0; i < p->elements; i++)
            ((uint8_t *)dst)[i] = ((const uint8_t *)src)[i] != 0;
        return;
    }
    nb_net_decode(dst, &(struct nb_onnx_tensor){
                           .type = type, .n = p->elements, .data = src, .bytes = p->bytes});
}

/* ---- opening ---- */

void nb_executor_options_init(struct nb_executor_options *o)
{
    *o = (struct nb_executor_options){.size = sizeof *o};
}

enum nb_status nb_executor_room_options(struct nb_net_options *out, struct nb_arena *arena,
                                        const struct nb_executor_options *o, struct nb_error *err)
{
    struct nb_net_dim *dims = nb_arena_alloc(arena, o->n_dims + 1, sizeof *dims);
    struct nb_net_shape *shapes = nb_arena_alloc(arena, o->n_shapes + 1, sizeof *shapes);
    struct nb_net_fixed *fixed = nb_arena_alloc(arena, o->n_fixed + 1, sizeof *fixed);
    if (dims == NULL || shapes == NULL || fixed == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to open a net");
    for (size_t i = 0; i < o->n_dims; i++) {
        dims[i] = (struct nb_net_dim){.name = o->dims[i].name, .n = o->dims[i].n};
        if (dims[i].name == NULL || dims[i].n < 0)
            NB_FAIL(err, NB_ERR_ARG, "dimension %zu of the options has no name or no size", i);
    }
    for (size_t i = 0; i < o->n_shapes; i++) {
        const struct nb_executor_shape *s = &o->shapes[i];
        if (s->input == NULL || (s->dims == NULL && s->rank > 0))
            NB_FAIL(err, NB_ERR_ARG, "shape %zu of the options has no name or no dimensions", i);
        shapes[i] = (struct nb_net_shape){.input = s->input, .dims = s->dims, .rank = s->rank};
        for (uint32_t k = 0; k < s->rank; k++)
            if (s->dims[k] < 0)
                NB_FAIL(err, NB_ERR_ARG, "dimension %u of the shape given for '%s' is negative", k,
                        s->input);
    }
    for (size_t i = 0; i < o->n_fixed; i++) {
        if (o->fixed[i].input == NULL)
            NB_FAIL(err, NB_ERR_ARG, "value %zu of the options has no name", i);
        fixed[i] = (struct nb_net_fixed){
            .input = o->fixed[i].input, .value = o->fixed[i].value, .data = o->fixed[i].data};
    }
    *out = (struct nb_net_options){.dims = dims,
                                   .shapes = shapes,
                                   .fixed = fixed,
                                   .n_dims = o->n_dims,
                                   .n_shapes = o->n_shapes,
                                   .n_fixed = o->n_fixed};
    return NB_OK;
}

static enum nb_status open_net(nb_executor *e, const char *path,
                               const struct nb_executor_options *o, struct nb_error *err)
{
    struct nb_net_options options;
    struct nb_arena arena;
    nb_arena_init(&arena, e->a, 1024);
    enum nb_status st = nb_executor_room_options(&options, &arena, o, err);
    if (st == NB_OK) {
        st = nb_net_open(&e->file, path, &options, e->a, err);
        if (st != NB_OK)
            st = nb_error_prefix(err, st, "%s", path);
    }
    nb_arena_fini(&arena);
    if (st != NB_OK || (o->flags & NB_EXECUTOR_AS_FILE) != 0)
        return st;
    return nb_net_derive(&e->rewritten, e->file, NB_NET_ALL, err);
}

enum nb_status nb_executor_describe(struct nb_executor_port *out, const char *name, int32_t type,
                                    const struct nb_value *v, struct nb_error *err)
{
    type = type_of(type, v);
    const struct nb_onnx_type_info *info = nb_onnx_type_info(type);
    if (info == NULL || info->bits == 0 || v->rank > NB_NET_MAX_DIMS)
        NB_FAIL(err, NB_ERR_INTERNAL, "value '%s' is nothing that a caller could hold", name);
    *out = (struct nb_executor_port){.name = name, .type = info->name, .rank = v->rank};
    for (uint32_t i = 0; i < v->rank; i++)
        out->dims[i] = (int64_t)v->dim[i].n;
    if (!nb_onnx_count(&out->elements, &out->bytes, type, out->dims, v->rank))
        NB_FAIL(err, NB_ERR_LIMIT, "value '%s' is too large", name);
    return NB_OK;
}

static enum nb_status stage(nb_executor *e, struct nb_executor_end *end, struct nb_error *err)
{
    uint64_t bytes;
    static const uint64_t one[NB_N_SYMS] = {1, 1, 1, 1, 1};
    if (!nb_value_bytes(end->value, one, &bytes) || bytes > SIZE_MAX / 4)
        NB_FAIL(err, NB_ERR_LIMIT, "value '%s' is too large", end->port.name);
    end->staging = nb_alloc_zero(e->a, (size_t)NB_MAX(bytes, (uint64_t)1), 1);
    if (end->staging == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for '%s'", end->port.name);
    e->staging_bytes += bytes;
    return NB_OK;
}

static enum nb_status set_up_ends(nb_executor *e, struct nb_error *err)
{
    const struct nb_net *net = e->net;
    const size_t n = net->n_inputs + net->n_outputs;
    e->ends = nb_alloc_zero(e->a, n + 1, sizeof *e->ends);
    e->inputs = nb_alloc_zero(e->a, net->n_inputs + 1, sizeof *e->inputs);
    e->outputs = nb_alloc_zero(e->a, net->n_outputs + 1, sizeof *e->outputs);
    if (e->ends == NULL || e->inputs == NULL || e->outputs == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for %zu inputs and outputs", n);
    for (size_t i = 0; i < n; i++) {
        const bool input = i < net->n_inputs;
        const struct nb_net_port *p = input ? &net->inputs[i] : &net->outputs[i - net->n_inputs];
        struct nb_executor_end *end = &e->ends[i];
        end->value = &net->g.values[p->value];
        end->type = type_of(p->type, end->value);
        NB_TRY(nb_executor_describe(&end->port, p->name, end->type, end->value, err));
        if (is_staged(end->type, input))
            NB_TRY(stage(e, end, err));
    }
    return NB_OK;
}

static enum nb_status set_up(nb_executor *e, nb_context *ctx, const char *path,
                             const struct nb_executor_options *o, struct nb_error *err)
{
    NB_TRY(open_net(e, path, o, err));
    e->net = e->rewritten != NULL ? e->rewritten : e->file;
    e->pool = ctx->pool;
    if (o->threads > 0 && o->threads != nb_pool_threads(ctx->pool)) {
        NB_TRY(nb_pool_create(&e->own_pool, o->threads, e->a, err));
        e->pool = e->own_pool;
    }
    NB_TRY(set_up_ends(e, err));
    const struct nb_net_ports ports = {.g = &e->net->g,
                                       .inputs = e->net->input_values,
                                       .outputs = e->net->output_values,
                                       .n_inputs = e->net->n_inputs,
                                       .n_outputs = e->net->n_outputs};
    NB_TRY(nb_net_session_create(&e->session, &ports, e->pool, e->a, err));
    e->times = nb_alloc_zero(e->a, e->net->g.n_nodes + 1, sizeof *e->times);
    if (e->times == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for the times of %zu nodes", e->net->g.n_nodes);
    return NB_OK;
}

enum nb_status nb_executor_create(nb_executor **out, nb_context *ctx, const char *path,
                                  const struct nb_executor_options *options, struct nb_error *err)
{
    struct nb_executor_options o;
    nb_error_clear(err);
    if (out == NULL || ctx == NULL || path == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_executor_create needs a context, a file and a result");
    *out = NULL;
    nb_executor_options_init(&o);
    NB_TRY(nb_options_copy(&o, sizeof o, options, options != NULL ? options->size : 0,
                           "executor options", err));
    if ((o.flags & ~(uint32_t)NB_EXECUTOR_AS_FILE) != 0)
        NB_FAIL(err, NB_ERR_ARG, "flags 0x%x of an executor: no such flag", o.flags);
    nb_executor *e = nb_alloc_zero(&ctx->allocator, 1, sizeof *e);
    if (e == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for an executor");
    e->allocator = ctx->allocator;
    e->a = &e->allocator;
    const enum nb_status st = set_up(e, ctx, path, &o, err);
    if (st != NB_OK) {
        nb_executor_destroy(e);
        return st;
    }
    *out = e;
    return NB_OK;
}

void nb_executor_destroy(nb_executor *e)
{
    if (e == NULL)
        return;
    const struct nb_allocator a = e->allocator;
    nb_net_session_destroy(e->session);
    for (size_t i = 0; e->ends != NULL && i < e->net->n_inputs + e->net->n_outputs; i++)
        nb_free(&a, e->ends[i].staging);
    nb_free(&a, e->ends);
    nb_free(&a, e->inputs);
    nb_free(&a, e->outputs);
    nb_free(&a, e->times);
    nb_net_close(e->rewritten);
    nb_net_close(e->file);
    nb_pool_destroy(e->own_pool);
    nb_free(&a, e);
}

/* ---- running ---- */

enum nb_status nb_executor_input(const nb_executor *e, size_t i, struct nb_executor_port *port)
{
    if (e == NULL || port == NULL)
        return NB_ERR_ARG;
    if (i >= e->net->n_inputs)
        return NB_ERR_NOT_FOUND;
    *port = e->ends[i].port;
    return NB_OK;
}

enum nb_status nb_executor_output(const nb_executor *e, size_t i, struct nb_executor_port *port)
{
    if (e == NULL || port == NULL)
        return NB_ERR_ARG;
    if (i >= e->net->n_outputs)
        return NB_ERR_NOT_FOUND;
    *port = e->ends[e->net->n_inputs + i].port;
    return NB_OK;
}

enum nb_status nb_executor_run(nb_executor *e, const void *const *inputs, void *const *outputs,
                               struct nb_error *err)
{
    nb_error_clear(err);
    if (e == NULL || (inputs == NULL && e->net->n_inputs > 0) ||
        (outputs == NULL && e->net->n_outputs > 0))
        NB_FAIL(err, NB_ERR_ARG, "running a net needs an executor, inputs and outputs");
    const size_t n_in = e->net->n_inputs;
    struct nb_executor_end *ends = e->ends;
    for (size_t i = 0; i < n_in + e->net->n_outputs; i++)
        if ((i < n_in ? inputs[i] : outputs[i - n_in]) == NULL)
            NB_FAIL(err, NB_ERR_ARG, "no memory was given for %s '%s'",
                    i < n_in ? "input" : "output", ends[i].port.name);
    for (size_t i = 0; i < n_in; i++) {
        if (ends[i].staging != NULL)
            decode(ends[i].staging, ends[i].type, inputs[i], &ends[i].port);
        e->inputs[i] = ends[i].staging != NULL ? ends[i].staging : inputs[i];
    }
    for (size_t i = 0; i < e->net->n_outputs; i++)
        e->outputs[i] = ends[n_in + i].staging != NULL ? ends[n_in + i].staging : outputs[i];
    nb_net_session_run(e->session, e->inputs, e->outputs);
    for (size_t i = 0; i < e->net->n_outputs; i++) {
        const struct nb_executor_end *end = &ends[n_in + i];
        if (end->staging != NULL)
            encode(outputs[i], end->type, end->staging, (size_t)end->port.elements);
    }
    return NB_OK;
}
