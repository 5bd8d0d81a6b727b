/* net/import.c: an ONNX model becomes a graph.
 *
 * Nodes come in the order the file has them, which ONNX demands to be one in which they can run.
 */
#include <string.h>

#include "net/net_internal.h"
#include "net/tflite.h"

#define NAME_SHOWN 64 /* bytes of a node's name in a message */

struct entry {
    const char *type;
    nb_net_rule *rule;
    int64_t arg;
};
#define NB_NET_OP(type, rule, arg) {#type, nb_net_rule_##rule, arg},
static const struct entry own_ops[] = {
#include "net/ops.inc"
};
static const struct entry microsoft_ops[] = {
#include "net/ops_microsoft.inc"
};
#undef NB_NET_OP

static const struct entry *find_entry(const struct nb_onnx_node *node)
{
    const char *domain = node->domain != NULL ? node->domain : "";
    const bool own = domain[0] == '\0' || nb_str_eq(domain, "ai.onnx");
    const struct entry *list = own ? own_ops : microsoft_ops;
    const size_t n = own                                  ? NB_COUNTOF(own_ops)
                     : nb_str_eq(domain, "com.microsoft") ? NB_COUNTOF(microsoft_ops)
                                                          : 0;
    for (size_t i = 0; i < n; i++)
        if (nb_str_eq(list[i].type, node->op_type))
            return &list[i];
    return NULL;
}

bool nb_net_knows(const struct nb_onnx_node *node)
{
    return find_entry(node) != NULL;
}

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to import a net");
}

/* ---- names ---- */

uint32_t nb_net_named(const struct nb_importer *im, const char *name)
{
    uint64_t v = 0;
    return nb_map_get(&im->names, name, strlen(name), &v) ? (uint32_t)v : 0;
}

static enum nb_status name_value(struct nb_importer *im, const char *name, uint32_t value,
                                 struct nb_error *err)
{
    const enum nb_status st = nb_map_put(&im->names, name, strlen(name), value);
    if (st == NB_ERR_EXISTS)
        NB_FAIL(err, NB_ERR_FORMAT, "'%s' is defined twice", name);
    return st == NB_OK ? NB_OK : no_memory(err);
}

/* ---- nodes ---- */

/* What the graph says, with the node it says it of. A rule of ours that is broken is the file's fault here. */
static enum nb_status blame(const struct nb_onnx_node *n, enum nb_status st,
                            const struct nb_error *why, struct nb_error *err)
{
    const char *output = n->n_outputs > 0 ? n->outputs[0] : "";
    const char *name = n->name != NULL && n->name[0] != '\0' ? n->name : output;
    const char *cut = strlen(name) > NAME_SHOWN ? "..." : ""; /* room for the reason */
    if (st == NB_ERR_NOMEM || st == NB_ERR_LIMIT)
        NB_FAIL(err, st, "%s", why->message);
    NB_FAIL(err, st == NB_ERR_INTERNAL ? NB_ERR_FORMAT : st, "node '%.*s%s' (%s): %s", NAME_SHOWN,
            name, cut, n->op_type, why->message);
}

static enum nb_status find_inputs(struct nb_net_node *n, struct nb_error *err)
{
    if (n->n->n_inputs > NB_NET_NODE_INPUTS)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%zu inputs; up to %d are possible", n->n->n_inputs,
                NB_NET_NODE_INPUTS);
    n->n_in = n->n->n_inputs;
    for (size_t i = 0; i < n->n_in; i++) {
        const char *name = n->n->inputs[i];
        if (name[0] == '\0')
            continue;
        n->in[i] = nb_net_named(n->im, name);
        if (n->in[i] == 0)
            NB_FAIL(err, NB_ERR_FORMAT, "input '%s' is made by nothing before it", name);
    }
    return NB_OK;
}

static enum nb_status run_rule(struct nb_importer *im, const struct nb_onnx_node *onnx,
                               struct nb_error *err)
{
    struct nb_net_node n = {.im = im, .g = im->g, .n = onnx, .opset = im->opset};
    const bool own =
        onnx->domain == NULL || onnx->domain[0] == '\0' || nb_str_eq(onnx->domain, "ai.onnx");
    const struct entry *e = find_entry(onnx);
    if (e == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "nibble has no such operator%s%s",
                own ? "" : " of domain ", own ? "" : onnx->domain);
    n.arg = e->arg;
    NB_TRY(find_inputs(&n, err));
    NB_TRY(e->rule(&n, err));
    NB_TRY(nb_graph_check(im->g, err));
    for (size_t i = 0; i < onnx->n_outputs; i++)
        if (onnx->outputs[i][0] != '\0' && nb_net_named(im, onnx->outputs[i]) == 0)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "output %zu ('%s') is not made by nibble", i,
                    onnx->outputs[i]);
    return NB_OK;
}

enum nb_status nb_net_run_as(struct nb_net_node *n, const char *op_type, const uint32_t *in,
                             size_t n_in, uint32_t *value, struct nb_error *err)
{
    struct nb_onnx_node like = *n->n;
    struct nb_net_node inner = *n;
    const char *name = nb_arena_printf(&n->g->arena, "%s before its grid", n->n->outputs[0]);
    like.op_type = op_type;
    like.domain = "";
    like.outputs = &name;
    like.n_outputs = 1;
    const struct entry *e = find_entry(&like);
    if (name == NULL)
        return no_memory(err);
    if (e == NULL)
        NB_FAIL(err, NB_ERR_INTERNAL, "no operator '%s'", op_type);
    inner.n = &like;
    inner.arg = e->arg;
    inner.n_in = n_in;
    memset(inner.in, 0, sizeof inner.in);
    memcpy(inner.in, in, n_in * sizeof *in);
    NB_TRY(e->rule(&inner, err));
    *value = nb_net_named(n->im, name);
    return NB_OK;
}

static enum nb_status import_nodes(struct nb_importer *im, const struct nb_onnx_graph *sub,
                                   struct nb_error *err)
{
    for (size_t i = 0; i < sub->n_nodes; i++) {
        struct nb_error why;
        const enum nb_status st = run_rule(im, &sub->nodes[i], &why);
        if (st != NB_OK)
            return blame(&sub->nodes[i], st, &why, err);
    }
    return NB_OK;
}

static enum nb_status import_tensors(struct nb_importer *im, const struct nb_onnx_graph *sub,
                                     struct nb_error *err)
{
    for (size_t i = 0; i < sub->n_initializers; i++) {
        uint32_t v;
        NB_TRY(nb_net_tensor(im, &sub->initializers[i], &v, err));
        if (v != 0)
            NB_TRY(name_value(im, sub->initializers[i].name, v, err));
    }
    return NB_OK;
}

enum nb_status nb_net_subgraph(struct nb_importer *im, const struct nb_onnx_graph *sub,
                               struct nb_error *err)
{
    NB_TRY(import_tensors(im, sub, err));
    return import_nodes(im, sub, err);
}

enum nb_status nb_net_out(struct nb_net_node *n, size_t i, uint32_t value, struct nb_error *err)
{
    if (value == 0 || i >= n->n->n_outputs || n->n->outputs[i][0] == '\0')
        return NB_OK;
    const char *name = n->n->outputs[i];
    struct nb_value *v = &n->g->values[value];
    if (v->kind == NB_VALUE_ACTIVATION && v->name != NULL && v->name[0] == 'v' &&
        nb_net_named(n->im, v->name) == 0) { /* ours: vN */
        char *copy = nb_arena_strndup(&n->g->arena, name, strlen(name));
        if (copy == NULL)
            return no_memory(err);
        v->name = copy;
    }
    return name_value(n->im, name, value, err);
}

/* ---- inputs and outputs ---- */

static const struct nb_net_shape *given_shape(const struct nb_importer *im, const char *input)
{
    for (size_t i = 0; i < im->o->n_shapes; i++)
        if (nb_str_eq(im->o->shapes[i].input, input))
            return &im->o->shapes[i];
    return NULL;
}

static int64_t given_dim(const struct nb_importer *im, const char *name)
{
    for (size_t i = 0; i < im->o->n_dims && name != NULL; i++)
        if (nb_str_eq(im->o->dims[i].name, name))
            return im->o->dims[i].n;
    return -1;
}

static enum nb_status find_dims(const struct nb_importer *im, const struct nb_onnx_value *in,
                                uint64_t *dims, uint32_t *rank, struct nb_error *err)
{
    const struct nb_net_shape *given = given_shape(im, in->name);
    const int64_t n = given != NULL ? (int64_t)given->rank : in->rank;
    if (n < 0)
        NB_FAIL(err, NB_ERR_ARG, "input '%s' has no shape in the file: give one", in->name);
    if (n > NB_VALUE_DIMS)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "input '%s' has %lld dimensions; up to %d are possible",
                in->name, (long long)n, NB_VALUE_DIMS);
    if (given != NULL && in->rank >= 0 && n != in->rank)
        NB_FAIL(err, NB_ERR_ARG, "input '%s' has %d dimensions, %lld were given", in->name,
                in->rank, (long long)n);
    *rank = (uint32_t)n;
    for (int64_t i = 0; i < n; i++) {
        const struct nb_onnx_dim *d = in->rank >= 0 ? &in->dims[i] : NULL;
        int64_t v = given != NULL ? given->dims[i] : d->value;
        if (given != NULL && d != NULL && d->value >= 0 && d->value != v)
            NB_FAIL(err, NB_ERR_ARG, "dimension %lld of input '%s' is %lld, %lld was given",
                    (long long)i, in->name, (long long)d->value, (long long)v);
        if (v < 0 && given == NULL)
            v = given_dim(im, d->name);
        if (v < 0)
            NB_FAIL(err, NB_ERR_ARG, "dimension %lld of input '%s' is open%s%s: give it a number",
                    (long long)i, in->name, d != NULL && d->name != NULL ? ", it is called " : "",
                    d != NULL && d->name != NULL ? d->name : "");
        dims[i] = (uint64_t)v;
    }
    return NB_OK;
}

static void fill(void *dst, enum nb_value_type type, size_t n, double value)
{
    for (size_t i = 0; i < n; i++) {
        if (type == NB_VALUE_F32)
            ((float *)dst)[i] = (float)value;
        else if (type == NB_VALUE_F64)
            ((double *)dst)[i] = value;
        else if (type == NB_VALUE_I64)
            ((int64_t *)dst)[i] = (int64_t)value;
        else if (type == NB_VALUE_I32 || type == NB_VALUE_U32)
            ((int32_t *)dst)[i] = (int32_t)value;
        else if (type == NB_VALUE_I16 || type == NB_VALUE_U16)
            ((int16_t *)dst)[i] = (int16_t)value;
        else
            ((uint8_t *)dst)[i] =
                type == NB_VALUE_BOOL ? value != 0.0 : (uint8_t)(int8_t)(int64_t)value;
    }
}

static enum nb_status fix_input(struct nb_importer *im, const struct nb_net_fixed *f,
                                enum nb_value_type type, const uint64_t *dims, uint32_t rank,
                                struct nb_error *err)
{
    const char *name = f->input;
    const void *data = f->data;
    uint64_t n = 1;
    for (uint32_t i = 0; i < rank; i++)
        if (!nb_mul_u64(&n, n, dims[i]) || n > (uint64_t)1 << 31)
            NB_FAIL(err, NB_ERR_LIMIT, "input '%s' is too large to be fixed", name);
    if (data == NULL) {
        void *all = nb_arena_alloc(&im->g->arena, (size_t)NB_MAX(n, (uint64_t)1),
                                   nb_value_item_bytes(type));
        if (all == NULL)
            return no_memory(err);
        fill(all, type, (size_t)n, f->value);
        data = all;
    }
    const uint32_t v = nb_graph_const(im->g, name, type, dims, rank, data);
    NB_TRY(nb_graph_check(im->g, err));
    return name_value(im, name, v, err);
}

static enum nb_status import_input(struct nb_importer *im, const struct nb_onnx_value *in,
                                   struct nb_error *err)
{
    struct nb_net *net = im->net;
    struct nb_value v = {.name = in->name, .kind = NB_VALUE_INPUT, .block = NB_NO_BLOCK};
    uint64_t dims[NB_VALUE_DIMS];
    if (nb_net_named(im, in->name) != 0) /* older files name their weights here too */
        return NB_OK;
    if (!nb_net_type(in->type, &v.type))
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "input '%s' is of type %s", in->name,
                nb_onnx_type_info(in->type) != NULL ? nb_onnx_type_info(in->type)->name
                                                    : "unknown");
    NB_TRY(find_dims(im, in, dims, &v.rank, err));
    for (size_t i = 0; i < im->o->n_fixed; i++)
        if (nb_str_eq(im->o->fixed[i].input, in->name))
            return fix_input(im, &im->o->fixed[i], v.type, dims, v.rank, err);
    for (uint32_t i = 0; i < v.rank; i++)
        v.dim[i] = nb_dim_const(dims[i]);
    const uint32_t id = nb_graph_value(im->g, &v);
    NB_TRY(nb_graph_check(im->g, err));
    net->inputs[net->n_inputs] =
        (struct nb_net_port){.name = im->g->values[id].name, .value = id, .type = in->type};
    net->input_values[net->n_inputs++] = id;
    return name_value(im, in->name, id, err);
}

/* What leaves is made by a node, and leaves once: else it is copied. */
static uint32_t own_output(struct nb_importer *im, uint32_t v)
{
    const struct nb_value *is = &im->g->values[v];
    int64_t dims[NB_VALUE_DIMS];
    if (is->kind == NB_VALUE_ACTIVATION)
        return v;
    for (uint32_t i = 0; i < is->rank; i++)
        dims[i] = (int64_t)is->dim[i].n;
    const struct nb_attr attr = NB_ATTR_LIST("dims", dims, is->rank);
    return nb_graph_add(
        im->g,
        &(struct nb_node_args){
            .op = &nb_op_reshape, .in = {v}, .attrs = &attr, .n_attrs = 1, .block = NB_NO_BLOCK});
}

static enum nb_status import_output(struct nb_importer *im, const struct nb_onnx_value *out,
                                    struct nb_error *err)
{
    struct nb_net *net = im->net;
    const uint32_t made = nb_net_named(im, out->name);
    if (made == 0)
        NB_FAIL(err, NB_ERR_FORMAT, "output '%s' is made by no node", out->name);
    const uint32_t v = own_output(im, made);
    nb_graph_output(im->g, v, out->name);
    NB_TRY(nb_graph_check(im->g, err));
    net->outputs[net->n_outputs] =
        (struct nb_net_port){.name = im->g->values[v].name, .value = v, .type = out->type};
    net->output_values[net->n_outputs++] = v;
    return NB_OK;
}

/* ---- the whole ---- */

static enum nb_status check_options(const struct nb_importer *im, struct nb_error *err)
{
    const struct nb_onnx_graph *g = &im->m->graph;
    for (size_t i = 0; i < im->o->n_fixed + im->o->n_shapes; i++) {
        const char *name =
            i < im->o->n_fixed ? im->o->fixed[i].input : im->o->shapes[i - im->o->n_fixed].input;
        bool found = false;
        for (size_t k = 0; k < g->n_inputs; k++)
            found = found || nb_str_eq(g->inputs[k].name, name);
        if (!found)
            NB_FAIL(err, NB_ERR_ARG, "the net has no input '%s'", name);
    }
    for (size_t i = 0; i < im->o->n_dims; i++) {
        bool found = false;
        for (size_t k = 0; k < g->n_inputs; k++)
            for (int32_t d = 0; d < g->inputs[k].rank; d++)
                found = found || nb_str_eq(g->inputs[k].dims[d].name, im->o->dims[i].name);
        if (!found)
            NB_FAIL(err, NB_ERR_ARG, "no input of the net has a dimension '%s'",
                    im->o->dims[i].name);
    }
    return NB_OK;
}

static enum nb_status import(struct nb_importer *im, struct nb_error *err)
{
    const struct nb_onnx_graph *g = &im->m->graph;
    struct nb_net *net = im->net;
    struct nb_arena *arena = &im->g->arena;
    im->opset = nb_onnx_opset_version(im->m, "");
    if (im->opset == 0)
        NB_FAIL(err, NB_ERR_FORMAT, "the model does not say which operator set it uses");
    NB_TRY(check_options(im, err));
    net->inputs = nb_arena_alloc(arena, g->n_inputs + 1, sizeof *net->inputs);
    net->outputs = nb_arena_alloc(arena, g->n_outputs + 1, sizeof *net->outputs);
    net->input_values = nb_arena_alloc(arena, g->n_inputs + 1, sizeof *net->input_values);
    net->output_values = nb_arena_alloc(arena, g->n_outputs + 1, sizeof *net->output_values);
    if (net->inputs == NULL || net->outputs == NULL || net->input_values == NULL ||
        net->output_values == NULL)
        return no_memory(err);
    NB_TRY(import_tensors(im, g, err));
    for (size_t i = 0; i < g->n_inputs; i++)
        NB_TRY(import_input(im, &g->inputs[i], err));
    NB_TRY(import_nodes(im, g, err));
    for (size_t i = 0; i < g->n_outputs; i++)
        NB_TRY(import_output(im, &g->outputs[i], err));
    return nb_graph_prune(im->g, err);
}

enum nb_status nb_net_import(struct nb_net **out, const struct nb_onnx_model *m,
                             const struct nb_net_options *o, const struct nb_allocator *a,
                             struct nb_error *err)
{
    const struct nb_net_options none = {.n_dims = 0};
    *out = NULL;
    struct nb_net *net = nb_alloc_zero(a, 1, sizeof *net);
    if (net == NULL)
        return no_memory(err);
    net->a = a;
    nb_graph_init(&net->g, a);
    struct nb_importer im = {.net = net, .g = &net->g, .m = m, .o = o != NULL ? o : &none};
    nb_map_init(&im.names, a);
    const enum nb_status st = import(&im, err);
    nb_map_fini(&im.names);
    if (st != NB_OK) {
        nb_net_close(net);
        return st;
    }
    *out = net;
    return NB_OK;
}

static enum nb_status is_tflite(const char *path, bool *is, struct nb_error *err)
{
    struct nb_mapping m;
    NB_TRY(nb_mapping_open(&m, path, err));
    *is = nb_tflite_probe(m.data, (size_t)NB_MIN(m.size, UINT64_C(8)));
    nb_mapping_close(&m);
    return NB_OK;
}

enum nb_status nb_net_source_open(struct nb_net_source *s, const char *path,
                                  const struct nb_allocator *a, struct nb_error *err)
{
    bool tflite;
    *s = (struct nb_net_source){.onnx = NULL};
    NB_TRY(is_tflite(path, &tflite, err));
    return tflite ? nb_net_tflite_open(&s->tflite, path, a, err)
                  : nb_onnx_open(&s->onnx, path, 0, a, err);
}

const struct nb_onnx_model *nb_net_source_model(const struct nb_net_source *s)
{
    return s->tflite != NULL ? nb_net_tflite_model(s->tflite)
           : s->onnx != NULL ? nb_onnx_model(s->onnx)
                             : NULL;
}

void nb_net_source_close(struct nb_net_source *s)
{
    nb_net_tflite_close(s->tflite);
    nb_onnx_close(s->onnx);
}

enum nb_status nb_net_open(struct nb_net **out, const char *path, const struct nb_net_options *o,
                           const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_net_source source;
    *out = NULL;
    NB_TRY(nb_net_source_open(&source, path, a, err));
    const enum nb_status st = nb_net_import(out, nb_net_source_model(&source), o, a, err);
    if (st != NB_OK)
        nb_net_source_close(&source);
    else
        (*out)->source = source;
    return st;
}

void nb_net_close(struct nb_net *net)
{
    if (net == NULL)
        return;
    nb_graph_fini(&net->g);
    nb_net_source_close(&net->source);
    nb_net_close(net->under);
    nb_free(net->a, net);
}
