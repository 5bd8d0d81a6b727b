/* ptq/edit.c: changing a model; who makes and who reads a name is looked for, nets are small. */
#include "ptq/edit.h"

#include <string.h>

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to change a net");
}

static enum nb_status take_name(struct nb_edit *e, const char *name, struct nb_error *err)
{
    if (name == NULL || name[0] == '\0')
        return NB_OK;
    const enum nb_status st = nb_map_put(&e->names, name, strlen(name), 1);
    return st == NB_OK || st == NB_ERR_EXISTS ? NB_OK : no_memory(err);
}

static enum nb_status take_names(struct nb_edit *e, struct nb_error *err)
{
    const struct nb_onnx_graph *g = &e->model.graph;
    for (size_t i = 0; i < g->n_inputs; i++)
        NB_TRY(take_name(e, g->inputs[i].name, err));
    for (size_t i = 0; i < g->n_nodes; i++) {
        NB_TRY(take_name(e, g->nodes[i].name, err));
        for (size_t k = 0; k < g->nodes[i].n_outputs; k++)
            NB_TRY(take_name(e, g->nodes[i].outputs[k], err));
    }
    return NB_OK;
}

enum nb_status nb_edit_init(struct nb_edit *e, const struct nb_onnx_model *m,
                            const struct nb_allocator *a, struct nb_error *err)
{
    memset(e, 0, sizeof *e);
    e->a = a;
    e->model = *m;
    nb_arena_init(&e->arena, a, 0);
    nb_map_init(&e->tensor_of, a);
    nb_map_init(&e->names, a);
    NB_TRY(take_names(e, err));
    for (size_t i = 0; i < m->graph.n_initializers; i++)
        NB_TRY(nb_edit_add_tensor(e, &m->graph.initializers[i], err));
    for (size_t i = 0; i < m->graph.n_nodes; i++)
        NB_TRY(nb_edit_add_node(e, &m->graph.nodes[i], err));
    return NB_OK;
}

void nb_edit_fini(struct nb_edit *e)
{
    nb_free(e->a, e->nodes);
    nb_free(e->a, e->tensors);
    nb_map_fini(&e->tensor_of);
    nb_map_fini(&e->names);
    nb_arena_fini(&e->arena);
}

const char *nb_edit_name(struct nb_edit *e, const char *base, const char *suffix)
{
    const char *name = nb_arena_printf(&e->arena, "%s%s", base, suffix);
    uint64_t v;
    for (unsigned i = 2; name != NULL && nb_map_get(&e->names, name, strlen(name), &v); i++)
        name = nb_arena_printf(&e->arena, "%s%s_%u", base, suffix, i);
    return name != NULL && nb_map_put(&e->names, name, strlen(name), 1) == NB_OK ? name : NULL;
}

const struct nb_onnx_tensor *nb_edit_tensor(const struct nb_edit *e, const char *name)
{
    uint64_t i;
    return nb_map_get(&e->tensor_of, name, strlen(name), &i) ? &e->tensors[i] : NULL;
}

enum nb_status nb_edit_add_tensor(struct nb_edit *e, const struct nb_onnx_tensor *t,
                                  struct nb_error *err)
{
    if (!nb_grow(e->a, &e->tensors, &e->cap_tensors, e->n_tensors, sizeof *e->tensors))
        return no_memory(err);
    e->tensors[e->n_tensors] = *t;
    const enum nb_status st = nb_map_put(&e->tensor_of, t->name, strlen(t->name), e->n_tensors);
    if (st == NB_ERR_EXISTS)
        NB_FAIL(err, NB_ERR_FORMAT, "two initializers are called '%s'", t->name);
    if (st != NB_OK)
        return no_memory(err);
    e->n_tensors++;
    return take_name(e, t->name, err);
}

enum nb_status nb_edit_put(struct nb_edit *e, const char *name, int32_t type, const int64_t *dims,
                           size_t rank, const void *data, struct nb_error *err)
{
    struct nb_onnx_tensor t = {
        .name = name, .type = type, .rank = rank, .dims = dims, .data = data};
    if (name == NULL)
        return no_memory(err);
    if (!nb_onnx_count(&t.n, &t.bytes, type, dims, rank))
        NB_FAIL(err, NB_ERR_INTERNAL, "'%s' has no size", name);
    return nb_edit_add_tensor(e, &t, err);
}

enum nb_status nb_edit_add_node(struct nb_edit *e, const struct nb_onnx_node *n,
                                struct nb_error *err)
{
    if (!nb_grow(e->a, &e->nodes, &e->cap_nodes, e->n_nodes, sizeof *e->nodes))
        return no_memory(err);
    e->nodes[e->n_nodes++] = *n;
    return NB_OK;
}

/* A list of names in the arena; NULL: no memory, or one of them is missing for want of it. */
static const char *const *keep_names(struct nb_edit *e, const char *const *names, size_t n)
{
    const char **copy = nb_arena_alloc(&e->arena, n + 1, sizeof *copy);
    for (size_t i = 0; i < n && copy != NULL; i++) {
        if (names[i] == NULL)
            return NULL;
        copy[i] = names[i];
    }
    return copy;
}

enum nb_status nb_edit_put_node(struct nb_edit *e, const struct nb_onnx_node *n, const char *suffix,
                                struct nb_error *err)
{
    struct nb_onnx_node copy = *n;
    struct nb_onnx_attr *attrs = nb_arena_alloc(&e->arena, n->n_attrs + 1, sizeof *attrs);
    copy.inputs = keep_names(e, n->inputs, n->n_inputs);
    copy.outputs = keep_names(e, n->outputs, n->n_outputs);
    copy.name = copy.outputs != NULL ? nb_edit_name(e, copy.outputs[0], suffix) : NULL;
    if (attrs == NULL || copy.inputs == NULL || copy.name == NULL)
        return no_memory(err);
    for (size_t i = 0; i < n->n_attrs; i++)
        attrs[i] = n->attrs[i];
    copy.attrs = attrs;
    if (copy.domain == NULL)
        copy.domain = "";
    return nb_edit_add_node(e, &copy, err);
}

static enum nb_status set_name(struct nb_edit *e, const char *const **list, size_t n, size_t i,
                               const char *name, struct nb_error *err)
{
    const char **copy = nb_arena_alloc(&e->arena, n, sizeof *copy);
    if (copy == NULL)
        return no_memory(err);
    memcpy(copy, *list, n * sizeof *copy);
    copy[i] = name;
    *list = copy;
    return NB_OK;
}

enum nb_status nb_edit_set_input(struct nb_edit *e, size_t node, size_t i, const char *name,
                                 struct nb_error *err)
{
    struct nb_onnx_node *n = &e->nodes[node];
    return set_name(e, &n->inputs, n->n_inputs, i, name, err);
}

enum nb_status nb_edit_set_output(struct nb_edit *e, size_t node, size_t i, const char *name,
                                  struct nb_error *err)
{
    struct nb_onnx_node *n = &e->nodes[node];
    return set_name(e, &n->outputs, n->n_outputs, i, name, err);
}

enum nb_status nb_edit_rename_reads(struct nb_edit *e, const char *from, const char *to,
                                    struct nb_error *err)
{
    for (size_t i = 0; i < e->n_nodes; i++)
        for (size_t k = 0; e->nodes[i].op_type != NULL && k < e->nodes[i].n_inputs; k++)
            if (nb_str_eq(e->nodes[i].inputs[k], from))
                NB_TRY(nb_edit_set_input(e, i, k, to, err));
    return NB_OK;
}

enum nb_status nb_edit_import_domain(struct nb_edit *e, const char *domain, int64_t version,
                                     struct nb_error *err)
{
    const size_t n = e->model.n_opsets;
    if (nb_onnx_opset_version(&e->model, domain) != 0)
        return NB_OK;
    struct nb_onnx_opset *all = nb_arena_alloc(&e->arena, n + 1, sizeof *all);
    if (all == NULL)
        return no_memory(err);
    memcpy(all, e->model.opsets, n * sizeof *all);
    all[n] = (struct nb_onnx_opset){.domain = domain, .version = version};
    e->model.opsets = all;
    e->model.n_opsets = n + 1;
    return NB_OK;
}

void nb_edit_drop(struct nb_edit *e, size_t node)
{
    e->nodes[node].op_type = NULL;
}

/* ---- asking ---- */

size_t nb_edit_producer(const struct nb_edit *e, const char *name)
{
    for (size_t i = 0; i < e->n_nodes; i++)
        for (size_t k = 0; e->nodes[i].op_type != NULL && k < e->nodes[i].n_outputs; k++)
            if (nb_str_eq(e->nodes[i].outputs[k], name))
                return i;
    return SIZE_MAX;
}

bool nb_edit_is_output(const struct nb_edit *e, const char *name)
{
    const struct nb_onnx_graph *g = &e->model.graph;
    for (size_t i = 0; i < g->n_outputs; i++)
        if (nb_str_eq(g->outputs[i].name, name))
            return true;
    return false;
}

/* Does a graph inside a node (If, Loop) read the name? */
static bool read_inside(const struct nb_onnx_node *n, const char *name);

static bool read_in(const struct nb_onnx_graph *g, const char *name)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        for (size_t k = 0; k < g->nodes[i].n_inputs; k++)
            if (nb_str_eq(g->nodes[i].inputs[k], name))
                return true;
        if (read_inside(&g->nodes[i], name))
            return true;
    }
    return false;
}

/* Nested as deep as the reader allows: NB_ONNX_MAX_NESTING. */
static bool read_inside(const struct nb_onnx_node *n, const char *name)
{
    for (size_t i = 0; i < n->n_attrs; i++) {
        const struct nb_onnx_attr *a = &n->attrs[i];
        if (a->type == NB_ONNX_ATTR_GRAPH && read_in(a->g, name))
            return true;
        for (size_t k = 0; a->type == NB_ONNX_ATTR_GRAPHS && k < a->n; k++)
            if (read_in(&a->g[k], name))
                return true;
    }
    return false;
}

size_t nb_edit_readers(const struct nb_edit *e, const char *name, size_t *reader)
{
    size_t n = nb_edit_is_output(e, name);
    *reader = SIZE_MAX;
    for (size_t i = 0; i < e->n_nodes; i++) {
        bool reads = e->nodes[i].op_type != NULL && read_inside(&e->nodes[i], name);
        for (size_t k = 0; e->nodes[i].op_type != NULL && k < e->nodes[i].n_inputs; k++)
            reads = reads || nb_str_eq(e->nodes[i].inputs[k], name);
        if (reads) {
            n++;
            *reader = i;
        }
    }
    return n;
}

bool nb_edit_read_inside(const struct nb_edit *e, const char *name)
{
    for (size_t i = 0; i < e->n_nodes; i++)
        if (e->nodes[i].op_type != NULL && read_inside(&e->nodes[i], name))
            return true;
    return false;
}

uint64_t nb_edit_bytes(const struct nb_edit *e)
{
    uint64_t sum = 0;
    size_t reader;
    for (size_t i = 0; i < e->n_tensors; i++)
        if (nb_edit_readers(e, e->tensors[i].name, &reader) > 0)
            sum += e->tensors[i].bytes;
    return sum;
}

/* ---- the result ---- */

/* Has everything that a node reads been defined? names: defined so far. */
static bool ready(const struct nb_map *defined, const struct nb_edit *e,
                  const struct nb_onnx_node *n)
{
    uint64_t v;
    for (size_t k = 0; k < n->n_inputs; k++) {
        const char *name = n->inputs[k];
        if (name[0] != '\0' && !nb_map_get(defined, name, strlen(name), &v) &&
            nb_edit_producer(e, name) != SIZE_MAX)
            return false;
    }
    return true;
}

static enum nb_status define(struct nb_map *defined, const struct nb_onnx_node *n,
                             struct nb_error *err)
{
    for (size_t k = 0; k < n->n_outputs; k++)
        if (n->outputs[k][0] != '\0' &&
            nb_map_put(defined, n->outputs[k], strlen(n->outputs[k]), 1) != NB_OK)
            return no_memory(err);
    return NB_OK;
}

/* Nodes in an order in which they can run: as they are, but those that wait come when they can. */
static enum nb_status sort_nodes(struct nb_edit *e, struct nb_onnx_node *out, size_t *n_out,
                                 struct nb_map *defined, struct nb_error *err)
{
    uint8_t *placed = nb_arena_alloc(&e->arena, e->n_nodes + 1, 1);
    size_t left = 0;
    bool moved = true;
    if (placed == NULL)
        return no_memory(err);
    for (size_t i = 0; i < e->n_nodes; i++)
        left += e->nodes[i].op_type != NULL;
    for (*n_out = 0; left > 0 && moved;) {
        moved = false;
        for (size_t i = 0; i < e->n_nodes; i++) {
            if (placed[i] || e->nodes[i].op_type == NULL || !ready(defined, e, &e->nodes[i]))
                continue;
            NB_TRY(define(defined, &e->nodes[i], err));
            out[(*n_out)++] = e->nodes[i];
            placed[i] = 1;
            left--;
            moved = true;
        }
    }
    if (left > 0)
        NB_FAIL(err, NB_ERR_INTERNAL, "nodes of the changed net depend on each other");
    return NB_OK;
}

/* Initializers that nothing reads any more go. */
static size_t keep_read(const struct nb_edit *e, struct nb_onnx_tensor *out)
{
    size_t n = 0, reader;
    for (size_t i = 0; i < e->n_tensors; i++)
        if (nb_edit_readers(e, e->tensors[i].name, &reader) > 0)
            out[n++] = e->tensors[i];
    return n;
}

/* Old files list weights as inputs too, for callers to replace: they are constants now. (IR version 4: they may be.) */
static enum nb_status drop_weight_inputs(struct nb_edit *e, struct nb_onnx_model *out,
                                         struct nb_error *err)
{
    const struct nb_onnx_graph *g = &e->model.graph;
    struct nb_onnx_value *inputs = nb_arena_alloc(&e->arena, g->n_inputs + 1, sizeof *inputs);
    size_t n = 0;
    if (inputs == NULL)
        return no_memory(err);
    for (size_t i = 0; i < g->n_inputs; i++)
        if (nb_edit_tensor(e, g->inputs[i].name) == NULL)
            inputs[n++] = g->inputs[i];
    if (n < g->n_inputs)
        out->ir_version = NB_MAX(out->ir_version, (int64_t)4);
    out->graph.inputs = inputs;
    out->graph.n_inputs = n;
    return NB_OK;
}

enum nb_status nb_edit_model(struct nb_edit *e, struct nb_onnx_model *out, struct nb_error *err)
{
    struct nb_onnx_node *nodes = nb_arena_alloc(&e->arena, e->n_nodes + 1, sizeof *nodes);
    struct nb_onnx_tensor *tensors = nb_arena_alloc(&e->arena, e->n_tensors + 1, sizeof *tensors);
    struct nb_map defined;
    if (nodes == NULL || tensors == NULL)
        return no_memory(err);
    *out = e->model;
    nb_map_init(&defined, e->a);
    const enum nb_status st = sort_nodes(e, nodes, &out->graph.n_nodes, &defined, err);
    nb_map_fini(&defined);
    out->graph.nodes = nodes;
    out->graph.initializers = tensors;
    out->graph.n_initializers = keep_read(e, tensors);
    out->graph.values = NULL; /* of values that may be gone */
    out->graph.n_values = 0;
    return st == NB_OK ? drop_weight_inputs(e, out, err) : st;
}
