/* net/tflite.c: a TFLite net as an ONNX model in memory: the first subgraph, operator by operator.
 *
 * Rules: tflite_rules.inc. Quantized tensors (int8, uint8 and int32 biases) are what they are in the file; around
 * each operator they are dequantized and quantized again, rounding to the nearest code, ties to even. TFLite's own
 * integer kernels multiply in fixed point and round ties away from zero: codes may differ by one here and there.
 * Dimensions are the file's shapes, not its signature: the batch is the one it was written with.
 * Left out: variables, sparse constants, int16 and int4, custom operators, subgraphs behind the first.
 */
#include "net/tflite_internal.h"

#include <string.h>

#define ARENA_CHUNK_BYTES 65536
#define OPSET             17
#define IR_VERSION        8
#define NODES_PER_OP      12 /* and those of its inputs */
#define NAME_SHOWN        64

struct nb_net_tflite {
    const struct nb_allocator *a;
    struct nb_arena arena;
    struct nb_tflite *file;
    struct nb_onnx_model model;
};

struct rule {
    nb_tfl_rule *fn;
    int64_t arg;
    int32_t code;
    uint8_t options;
};
static const struct rule rules[] = {
#define NB_TFL_OP(code, rule, options, arg) {nb_tfl_rule_##rule, arg, NB_TFLITE_##code, options},
#include "net/tflite_rules.inc"
#undef NB_TFL_OP
};

static const struct rule *find_rule(int32_t code)
{
    for (size_t i = 0; i < NB_COUNTOF(rules); i++)
        if (rules[i].code == code)
            return &rules[i];
    return NULL;
}

bool nb_net_tflite_knows(int32_t code)
{
    return find_rule(code) != NULL;
}

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to import a TFLite net");
}

/* 0: no counterpart. */
static int32_t onnx_type(int32_t type)
{
    static const uint8_t types[NB_TFLITE_N_TYPES] = {
        [NB_TFLITE_FLOAT32] = NB_ONNX_FLOAT32, [NB_TFLITE_FLOAT16] = NB_ONNX_FLOAT16,
        [NB_TFLITE_INT32] = NB_ONNX_INT32,     [NB_TFLITE_UINT8] = NB_ONNX_UINT8,
        [NB_TFLITE_INT64] = NB_ONNX_INT64,     [NB_TFLITE_BOOL] = NB_ONNX_BOOL,
        [NB_TFLITE_INT8] = NB_ONNX_INT8,       [NB_TFLITE_FLOAT64] = NB_ONNX_FLOAT64,
        [NB_TFLITE_UINT32] = NB_ONNX_UINT32,   [NB_TFLITE_BFLOAT16] = NB_ONNX_BFLOAT16};
    return type >= 0 && type < NB_TFLITE_N_TYPES ? types[type] : NB_ONNX_UNDEFINED;
}

/* ---- asking ---- */

const struct nb_tflite_tensor *nb_tfl_tensor(const struct nb_tfl *t, size_t i)
{
    return i < t->op->n_inputs && t->op->inputs[i] >= 0 ? &t->g->tensors[t->op->inputs[i]] : NULL;
}

const struct nb_tflite_tensor *nb_tfl_result(const struct nb_tfl *t)
{
    return &t->g->tensors[t->op->outputs[0]];
}

/* rank 0: any. */
enum nb_status nb_tfl_need(const struct nb_tfl *t, size_t n_inputs, uint32_t rank,
                           struct nb_error *err)
{
    for (size_t i = 0; i < n_inputs; i++)
        if (nb_tfl_tensor(t, i) == NULL)
            NB_FAIL(err, NB_ERR_FORMAT, "input %zu is missing", i);
    if (rank > 0 && nb_tfl_tensor(t, 0)->rank != rank)
        NB_FAIL(err, NB_ERR_FORMAT, "input 0 has %zu dimensions, expected %u",
                nb_tfl_tensor(t, 0)->rank, rank);
    return NB_OK;
}

enum nb_status nb_tfl_ints(struct nb_tfl *t, size_t i, const int64_t **out, size_t *n,
                           struct nb_error *err)
{
    const struct nb_tflite_tensor *x = nb_tfl_tensor(t, i);
    const bool wide = x->type == NB_TFLITE_INT64;
    if (x->data == NULL || x->sparse || (!wide && x->type != NB_TFLITE_INT32))
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "input %zu is no constant of integers", i);
    int64_t *v = nb_arena_alloc(t->arena, (size_t)x->n + 1, sizeof *v);
    if (v == NULL)
        return no_memory(err);
    for (size_t k = 0; k < x->n; k++)
        v[k] = wide ? (int64_t)nb_load_u64(x->data + 8 * k) : (int32_t)nb_load_u32(x->data + 4 * k);
    *out = v;
    *n = (size_t)x->n;
    return NB_OK;
}

enum nb_status nb_tfl_option(const struct nb_tfl *t, unsigned field, int32_t otherwise,
                             int32_t *out, struct nb_error *err)
{
    return nb_fb_i32(&t->m->fb, &t->op->options, field, otherwise, out, err);
}

enum nb_status nb_tfl_flag(const struct nb_tfl *t, unsigned field, bool *out, struct nb_error *err)
{
    return nb_fb_bool(&t->m->fb, &t->op->options, field, false, out, err);
}

enum nb_status nb_tfl_small(const struct nb_tfl *t, unsigned field, int *out, struct nb_error *err)
{
    int8_t v;
    NB_TRY(nb_fb_i8(&t->m->fb, &t->op->options, field, 0, &v, err));
    *out = v;
    return NB_OK;
}

/* ---- building ---- */

/* A copy of n items in the arena. */
static const void *keep(struct nb_tfl *t, const void *items, size_t n, size_t size)
{
    void *p = nb_arena_alloc(t->arena, n + 1, size);
    t->failed = t->failed || p == NULL;
    if (p != NULL && n > 0)
        memcpy(p, items, n * size);
    return p;
}

/* A constant's name. */
static const char *temp(struct nb_tfl *t)
{
    const char *name = nb_arena_printf(t->arena, "~%zu", t->n_temps++);
    t->failed = t->failed || name == NULL;
    return name != NULL ? name : "";
}

/* A value's: "tensor~Conv", the operator's result and what makes it; "tensor~Conv.2" is the second such. Nets that are
 * made alike have alike names, float and quantized. */
static const char *inner_name(struct nb_tfl *t, const char *type)
{
    const char *base = t->names[t->op->outputs[0]];
    size_t n = 1;
    for (size_t i = t->first_node; i < t->n_nodes; i++)
        n += strcmp(t->nodes[i].op_type, type) == 0;
    const char *name = n == 1 ? nb_arena_printf(t->arena, "%s~%s", base, type)
                              : nb_arena_printf(t->arena, "%s~%s.%zu", base, type, n);
    t->failed = t->failed || name == NULL;
    return name != NULL ? name : "";
}

const char *nb_tfl_node(struct nb_tfl *t, const char *type, const char *out, size_t n_in,
                        const char *const *in, size_t n_attrs, const struct nb_onnx_attr *attrs)
{
    out = out != NULL ? out : inner_name(t, type);
    if (t->n_nodes == t->cap_nodes) {
        t->failed = true;
        return out;
    }
    struct nb_onnx_attr *a = nb_arena_alloc(t->arena, n_attrs + 1, sizeof *a);
    const char *const *inputs = keep(t, in, n_in, sizeof *in);
    const char *const *outputs = keep(t, &out, 1, sizeof out);
    t->failed = t->failed || a == NULL;
    if (t->failed)
        return out;
    for (size_t i = 0; i < n_attrs; i++) {
        a[i] = attrs[i];
        if (a[i].type == NB_ONNX_ATTR_INTS)
            a[i].ints = keep(t, attrs[i].ints, attrs[i].n, sizeof *attrs[i].ints);
    }
    t->nodes[t->n_nodes++] = (struct nb_onnx_node){.op_type = type,
                                                   .name = out,
                                                   .inputs = inputs,
                                                   .n_inputs = n_in,
                                                   .outputs = outputs,
                                                   .n_outputs = 1,
                                                   .attrs = a,
                                                   .n_attrs = n_attrs};
    return out;
}

const char *nb_tfl_unary(struct nb_tfl *t, const char *type, const char *x)
{
    return nb_tfl_node(t, type, NULL, 1, &x, 0, NULL);
}

const char *nb_tfl_binary(struct nb_tfl *t, const char *type, const char *a, const char *b)
{
    const char *in[] = {a, b};
    return nb_tfl_node(t, type, NULL, 2, in, 0, NULL);
}

const char *nb_tfl_transpose(struct nb_tfl *t, const char *x, const int64_t *perm, size_t rank)
{
    const struct nb_onnx_attr attr = NB_TFL_INTS("perm", perm, rank);
    return nb_tfl_node(t, "Transpose", NULL, 1, &x, 1, &attr);
}

const char *nb_tfl_reshape(struct nb_tfl *t, const char *x, const int64_t *dims, size_t rank)
{
    return nb_tfl_binary(t, "Reshape", x, nb_tfl_const_ints(t, dims, rank));
}

/* A constant of n elements, `size` bytes each, which are copied. Rank 0 or 1. */
static const char *constant(struct nb_tfl *t, int32_t type, const void *data, size_t n, size_t size,
                            size_t rank)
{
    const char *name = temp(t);
    const int64_t len = (int64_t)n;
    const uint8_t *bytes = keep(t, data, n, size);
    const int64_t *dims = keep(t, &len, 1, sizeof len);
    t->failed = t->failed || t->n_tensors == t->cap_tensors;
    if (t->failed)
        return name;
    t->tensors[t->n_tensors++] = (struct nb_onnx_tensor){.name = name,
                                                         .type = type,
                                                         .rank = rank,
                                                         .dims = dims,
                                                         .n = n,
                                                         .data = n > 0 ? bytes : NULL,
                                                         .bytes = n * size};
    return name;
}

const char *nb_tfl_const_ints(struct nb_tfl *t, const int64_t *v, size_t n)
{
    return constant(t, NB_ONNX_INT64, v, n, sizeof *v, 1);
}

const char *nb_tfl_const_float(struct nb_tfl *t, float v)
{
    return constant(t, NB_ONNX_FLOAT32, &v, 1, sizeof v, 0);
}

/* ---- quantized tensors ---- */

static bool quantized(const struct nb_tflite_tensor *x)
{
    return x->quant.n > 0 && x->type != NB_TFLITE_FLOAT32;
}

/* Scales that ONNX takes: all of them numbers above 0, codes' zero points in their range. */
static enum nb_status check_quant(const struct nb_tflite_tensor *x, struct nb_error *err)
{
    const bool wide = x->type == NB_TFLITE_INT32, plus = x->type == NB_TFLITE_UINT8;
    if (x->quant.custom)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "quantized by a scheme of its own");
    if (!quantized(x))
        return NB_OK;
    if (!wide && !plus && x->type != NB_TFLITE_INT8)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "quantized as %s", nb_tflite_type_info(x->type)->name);
    const int64_t low = wide || plus ? 0 : -128, high = wide ? 0 : plus ? 255 : 127;
    for (size_t i = 0; i < x->quant.n; i++) {
        const float s = x->quant.scales[i];
        const int64_t z = x->quant.zero_points[i];
        if (!(s > 0.0f && s < 3e38f) || z < low || z > high)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "scale %g with zero point %lld", (double)s,
                    (long long)z);
    }
    return NB_OK;
}

/* QuantizeLinear or DequantizeLinear by a tensor's scales. */
static const char *quant_node(struct nb_tfl *t, const char *type, const char *out, const char *x,
                              const struct nb_tflite_tensor *by)
{
    const struct nb_tflite_quant *q = &by->quant;
    const struct nb_onnx_attr axis = NB_TFL_INT("axis", q->dim);
    const size_t rank = q->n > 1 ? 1 : 0;
    uint8_t *zeros = nb_arena_alloc(t->arena, q->n + 1, 1);
    t->failed = t->failed || zeros == NULL;
    if (t->failed)
        return "";
    for (size_t i = 0; i < q->n; i++)
        zeros[i] = (uint8_t)q->zero_points[i];
    const char *in[] = {x, constant(t, NB_ONNX_FLOAT32, q->scales, q->n, sizeof *q->scales, rank),
                        ""};
    const bool with_zero = by->type != NB_TFLITE_INT32; /* of int32 it is 0 */
    if (with_zero)
        in[2] = constant(t, onnx_type(by->type), zeros, q->n, 1, rank);
    return nb_tfl_node(t, type, out, with_zero ? 3 : 2, in, rank, &axis);
}

const char *nb_tfl_in(struct nb_tfl *t, size_t i)
{
    const struct nb_tflite_tensor *x = nb_tfl_tensor(t, i);
    if (x == NULL)
        return "";
    const int32_t k = t->op->inputs[i];
    if (t->floats[k] == NULL)
        t->floats[k] =
            quantized(x) ? quant_node(t, "DequantizeLinear", NULL, t->names[k], x) : t->names[k];
    return t->floats[k];
}

static const char *clip(struct nb_tfl *t, const char *x, float low, float high)
{
    const char *in[] = {x, nb_tfl_const_float(t, low), nb_tfl_const_float(t, high)};
    return nb_tfl_node(t, "Clip", NULL, 3, in, 0, NULL);
}

enum nb_status nb_tfl_activate(struct nb_tfl *t, const char **x, int activation,
                               struct nb_error *err)
{
    switch (activation) {
    case 0:
        break;
    case 1:
        *x = nb_tfl_unary(t, "Relu", *x);
        break;
    case 2:
        *x = clip(t, *x, -1.0f, 1.0f);
        break;
    case 3:
        *x = clip(t, *x, 0.0f, 6.0f);
        break;
    case 4:
        *x = nb_tfl_unary(t, "Tanh", *x);
        break;
    default:
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "fused activation %d", activation);
    }
    return NB_OK;
}

enum nb_status nb_tfl_give(struct nb_tfl *t, const char *x, int activation, struct nb_error *err)
{
    const struct nb_tflite_tensor *y = nb_tfl_result(t);
    const char *name = t->names[t->op->outputs[0]];
    NB_TRY(nb_tfl_activate(t, &x, activation, err));
    if (quantized(y))
        (void)quant_node(t, "QuantizeLinear", name, x, y);
    else
        (void)nb_tfl_node(t, "Identity", name, 1, &x, 0, NULL);
    return NB_OK;
}

/* ---- the graph ---- */

/* Names of values: the file's; where there is none, or it is taken, one of ours. */
static enum nb_status name_tensors(struct nb_tfl *t, const struct nb_allocator *a,
                                   struct nb_error *err)
{
    const size_t n = t->g->n_tensors;
    struct nb_map seen;
    t->names = nb_arena_alloc(t->arena, n + 1, sizeof *t->names);
    t->floats = nb_arena_alloc(t->arena, n + 1, sizeof *t->floats);
    if (t->names == NULL || t->floats == NULL)
        return no_memory(err);
    nb_map_init(&seen, a);
    enum nb_status st = NB_OK;
    for (size_t i = 0; i < n && st == NB_OK; i++) {
        const char *name = t->g->tensors[i].name;
        uint64_t other;
        if (name[0] == '\0' || strchr(name, '~') != NULL ||
            nb_map_get(&seen, name, strlen(name), &other))
            name = nb_arena_printf(t->arena, "~tensor %zu", i);
        t->names[i] = name;
        st = name != NULL ? nb_map_put(&seen, name, strlen(name), i) : NB_ERR_NOMEM;
    }
    nb_map_fini(&seen);
    return st == NB_OK ? st : no_memory(err);
}

static enum nb_status check_tensor(const struct nb_tflite_tensor *x, struct nb_error *err)
{
    if (x->variable || x->sparse)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, x->variable ? "a variable" : "a sparse constant");
    if (onnx_type(x->type) == NB_ONNX_UNDEFINED)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "elements of type %s", nb_tflite_type_info(x->type)->name);
    return check_quant(x, err);
}

static enum nb_status add_tensors(struct nb_tfl *t, bool *defined, struct nb_error *err)
{
    for (size_t i = 0; i < t->g->n_tensors; i++) {
        const struct nb_tflite_tensor *x = &t->g->tensors[i];
        const enum nb_status st = check_tensor(x, err);
        if (st != NB_OK)
            return nb_error_prefix(err, st, "tensor %zu '%.*s'", i, NAME_SHOWN, x->name);
        if (x->data == NULL)
            continue;
        defined[i] = true;
        t->tensors[t->n_tensors++] = (struct nb_onnx_tensor){.name = t->names[i],
                                                             .type = onnx_type(x->type),
                                                             .rank = x->rank,
                                                             .dims = x->dims,
                                                             .n = x->n,
                                                             .data = x->data,
                                                             .bytes = x->bytes};
    }
    return NB_OK;
}

/* Are its inputs there, and is its output new? */
static enum nb_status check_op(const struct nb_tfl *t, bool *defined, struct nb_error *err)
{
    const struct nb_tflite_op *op = t->op;
    for (size_t i = 0; i < op->n_inputs; i++)
        if (op->inputs[i] >= 0 && !defined[op->inputs[i]])
            NB_FAIL(err, NB_ERR_FORMAT, "input %zu is not computed yet", i);
    if (op->n_outputs != 1 || op->outputs[0] < 0 || defined[op->outputs[0]])
        NB_FAIL(err, NB_ERR_FORMAT, "%zu outputs, expected one that is new", op->n_outputs);
    defined[op->outputs[0]] = true;
    return NB_OK;
}

static enum nb_status add_op(struct nb_tfl *t, bool *defined, struct nb_error *err)
{
    const struct rule *rule = find_rule(t->op->code);
    if (rule == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "nibble does not have this operator");
    if (rule->options != 0 && t->op->options.at != 0 && t->op->options_type != rule->options)
        NB_FAIL(err, NB_ERR_FORMAT, "options of kind %u, expected %u", t->op->options_type,
                rule->options);
    NB_TRY(check_op(t, defined, err));
    t->arg = rule->arg;
    t->first_node = t->n_nodes;
    NB_TRY(rule->fn(t, err));
    return t->failed ? no_memory(err) : NB_OK;
}

static enum nb_status list_values(const struct nb_tfl *t, const struct nb_onnx_value **out,
                                  const int32_t *tensors, size_t n, struct nb_error *err)
{
    struct nb_onnx_value *list = nb_arena_alloc(t->arena, n + 1, sizeof *list);
    if (list == NULL)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const struct nb_tflite_tensor *x = &t->g->tensors[tensors[i]];
        struct nb_onnx_dim *dims = nb_arena_alloc(t->arena, x->rank + 1, sizeof *dims);
        if (dims == NULL)
            return no_memory(err);
        for (size_t k = 0; k < x->rank; k++)
            dims[k].value = x->dims[k];
        list[i] = (struct nb_onnx_value){.name = t->names[tensors[i]],
                                         .typed = true,
                                         .tensor = true,
                                         .type = onnx_type(x->type),
                                         .rank = (int32_t)x->rank,
                                         .dims = dims};
    }
    *out = list;
    return NB_OK;
}

static enum nb_status add_ops(struct nb_tfl *t, bool *defined, struct nb_error *err)
{
    for (size_t i = 0; i < t->g->n_inputs; i++)
        defined[t->g->inputs[i]] = true;
    for (size_t i = 0; i < t->g->n_ops; i++) {
        t->op = &t->g->ops[i];
        const enum nb_status st = add_op(t, defined, err);
        if (st != NB_OK)
            return nb_error_prefix(err, st, "operator %zu (%.*s)", i, NAME_SHOWN, t->op->name);
    }
    for (size_t i = 0; i < t->g->n_outputs; i++)
        if (!defined[t->g->outputs[i]])
            NB_FAIL(err, NB_ERR_FORMAT, "output %zu is computed by no operator", i);
    return NB_OK;
}

static enum nb_status translate(struct nb_net_tflite *n, struct nb_error *err)
{
    static const struct nb_onnx_opset opset = {"", OPSET};
    const struct nb_tflite_model *m = nb_tflite_model(n->file);
    struct nb_tfl t = {.arena = &n->arena, .m = m, .g = &m->graphs[0]};
    size_t inputs = 0;
    for (size_t i = 0; i < t.g->n_ops; i++)
        inputs += t.g->ops[i].n_inputs;
    t.cap_nodes = NODES_PER_OP * t.g->n_ops + inputs;
    t.cap_tensors = t.g->n_tensors + 2 * t.cap_nodes;
    t.nodes = nb_arena_alloc(t.arena, t.cap_nodes + 1, sizeof *t.nodes);
    t.tensors = nb_arena_alloc(t.arena, t.cap_tensors + 1, sizeof *t.tensors);
    bool *defined = nb_arena_alloc(t.arena, t.g->n_tensors + 1, sizeof *defined);
    if (t.nodes == NULL || t.tensors == NULL || defined == NULL)
        return no_memory(err);
    NB_TRY(name_tensors(&t, n->a, err));
    NB_TRY(add_tensors(&t, defined, err));
    NB_TRY(add_ops(&t, defined, err));
    struct nb_onnx_graph *g = &n->model.graph;
    NB_TRY(list_values(&t, &g->inputs, t.g->inputs, t.g->n_inputs, err));
    NB_TRY(list_values(&t, &g->outputs, t.g->outputs, t.g->n_outputs, err));
    g->n_inputs = t.g->n_inputs;
    g->n_outputs = t.g->n_outputs;
    g->name = t.g->name != NULL ? t.g->name : "main";
    g->nodes = t.nodes;
    g->n_nodes = t.n_nodes;
    g->initializers = t.tensors;
    g->n_initializers = t.n_tensors;
    n->model.ir_version = IR_VERSION;
    n->model.producer = "nibble";
    n->model.opsets = &opset;
    n->model.n_opsets = 1;
    return NB_OK;
}

enum nb_status nb_net_tflite_open(struct nb_net_tflite **out, const char *path,
                                  const struct nb_allocator *a, struct nb_error *err)
{
    *out = NULL;
    struct nb_net_tflite *n = nb_alloc_zero(a, 1, sizeof *n);
    if (n == NULL)
        return no_memory(err);
    n->a = a;
    nb_arena_init(&n->arena, a, ARENA_CHUNK_BYTES);
    enum nb_status st = nb_tflite_open(&n->file, path, a, err);
    if (st == NB_OK) {
        st = translate(n, err);
        if (st != NB_OK)
            st = nb_error_prefix(err, st, "%s", path);
    }
    if (st != NB_OK) {
        nb_net_tflite_close(n);
        return st;
    }
    *out = n;
    return NB_OK;
}

const struct nb_onnx_model *nb_net_tflite_model(const struct nb_net_tflite *n)
{
    return &n->model;
}

void nb_net_tflite_close(struct nb_net_tflite *n)
{
    if (n == NULL)
        return;
    nb_tflite_close(n->file);
    nb_arena_fini(&n->arena);
    nb_free(n->a, n);
}
