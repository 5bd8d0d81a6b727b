/* net/rewrite.c: walking over the old graph, copying what the pass leaves. */
#include "net/rewrite.h"

#include <string.h>

const struct nb_attr *nb_node_attr(const struct nb_node *n, const char *name)
{
    for (size_t i = 0; i < NB_NODE_ATTRS && n->op->attrs[i]; i++)
        if (strcmp(n->op->attrs[i], name) == 0)
            return &n->attr[i];
    return NULL;
}

size_t nb_node_n_attrs(const struct nb_node *n)
{
    size_t count = 0;
    while (count < NB_NODE_ATTRS && n->op->attrs[count])
        count++;
    return count;
}

bool nb_value_is_const(const struct nb_value *v, enum nb_value_type type)
{
    return v->kind == NB_VALUE_CONST && v->type == type;
}

uint32_t nb_rewrite_value(struct nb_rewrite *r, uint32_t value)
{
    if (value == 0 || r->map[value] != 0)
        return r->map[value];
    const struct nb_value *v = &r->from->values[value];
    uint64_t dims[NB_VALUE_DIMS];
    for (uint32_t i = 0; i < v->rank; i++)
        dims[i] = v->dim[i].n;
    if (v->kind == NB_VALUE_CONST)
        r->map[value] = nb_graph_const(r->to, v->name, v->type, dims, v->rank, v->data);
    else if (v->kind == NB_VALUE_INPUT)
        r->map[value] = nb_graph_value(r->to, v);
    return r->map[value];
}

void nb_rewrite_start(const struct nb_rewrite *r, const struct nb_node *n,
                      struct nb_node_args *args, struct nb_attr *attrs)
{
    *args = (struct nb_node_args){.op = n->op,
                                  .attrs = attrs,
                                  .n_attrs = nb_node_n_attrs(n),
                                  .block = n->block,
                                  .name = nb_rewrite_old(r, n->out[0])->name};
    memcpy(attrs, n->attr, args->n_attrs * sizeof *attrs);
}

void nb_rewrite_args(struct nb_rewrite *r, uint32_t node, struct nb_node_args *args,
                     struct nb_attr *attrs)
{
    const struct nb_node *n = &r->from->nodes[node];
    nb_rewrite_start(r, n, args, attrs);
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++)
        args->in[i] = nb_rewrite_value(r, n->in[i]);
}

static struct nb_attr *find_attr(const struct nb_node_args *args, struct nb_attr *attrs,
                                 const char *name)
{
    for (size_t i = 0; i < args->n_attrs; i++)
        if (strcmp(attrs[i].name, name) == 0)
            return &attrs[i];
    nb_assert(false);
    return &attrs[0];
}

void nb_rewrite_set_int(struct nb_node_args *args, struct nb_attr *attrs, const char *name,
                        int64_t value)
{
    find_attr(args, attrs, name)->i = value;
}

void nb_rewrite_set_real(struct nb_node_args *args, struct nb_attr *attrs, const char *name,
                         double value)
{
    find_attr(args, attrs, name)->f = value;
}

uint32_t nb_rewrite_only_reader(const struct nb_rewrite *r, uint32_t value)
{
    return value != 0 && r->n_readers[value] == 1 && r->reader[value] != 0 ? r->reader[value] - 1
                                                                           : UINT32_MAX;
}

uint32_t nb_rewrite_const(struct nb_rewrite *r, const char *name, enum nb_value_type type,
                          const uint64_t *dims, uint32_t rank, void **data)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < rank; i++)
        n *= dims[i];
    *data =
        nb_arena_alloc(&r->to->arena, (size_t)NB_MAX(n, (uint64_t)1), nb_value_item_bytes(type));
    if (*data == NULL) {
        if (r->to->status == NB_OK)
            r->to->status = NB_ERROR(&r->to->error, NB_ERR_NOMEM, "graph: out of memory");
        return 0;
    }
    return nb_graph_const(r->to, name, type, dims, rank, *data);
}

uint32_t nb_rewrite_add(struct nb_rewrite *r, const struct nb_node_args *args)
{
    struct nb_node_args a = *args;
    a.block = NB_NO_BLOCK;
    return nb_graph_add_folded(r->to, &a);
}

uint32_t nb_rewrite_reshape(struct nb_rewrite *r, uint32_t x, const int64_t *dims, size_t rank)
{
    const struct nb_attr attr = NB_ATTR_LIST("dims", dims, rank);
    return nb_rewrite_add(
        r, &(struct nb_node_args){.op = &nb_op_reshape, .in = {x}, .attrs = &attr, .n_attrs = 1});
}

uint32_t nb_rewrite_transpose(struct nb_rewrite *r, uint32_t x, const int64_t *perm, size_t rank,
                              const char *name)
{
    const struct nb_attr attr = NB_ATTR_LIST("perm", perm, rank);
    return nb_rewrite_add(
        r, &(struct nb_node_args){
               .op = &nb_op_transpose, .in = {x}, .attrs = &attr, .n_attrs = 1, .name = name});
}

/* ---- the walk ---- */

static void count_readers(struct nb_rewrite *r)
{
    const struct nb_graph *g = r->from;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < NB_NODE_INPUTS; k++) {
            const uint32_t v = g->nodes[i].in[k];
            r->n_readers[v] += v != 0;
            r->reader[v] = i + 1;
        }
    for (uint32_t v = 1; v < g->n_values; v++)
        if (g->values[v].kind == NB_VALUE_OUTPUT) {
            r->n_readers[v]++;
            r->reader[v] = 0;
        }
}

static void copy_node(struct nb_rewrite *r, uint32_t node)
{
    const struct nb_node *n = &r->from->nodes[node];
    struct nb_node_args args;
    struct nb_attr attrs[NB_NODE_ATTRS];
    nb_rewrite_args(r, node, &args, attrs);
    const uint32_t first = nb_graph_add_folded(r->to, &args);
    for (uint32_t i = 0; i < NB_NODE_OUTPUTS && first != 0; i++)
        if (n->out[i])
            r->map[n->out[i]] = first + i;
}

/* What leaves the old graph leaves the new one. A value that leaves is made by a node, and leaves once. */
static void pass_on(struct nb_rewrite *r, uint32_t value)
{
    const struct nb_value *v = &r->from->values[value];
    uint32_t made = r->map[value];
    if (v->kind != NB_VALUE_OUTPUT || made == 0)
        return;
    const struct nb_value *is = &r->to->values[made];
    if (is->kind != NB_VALUE_ACTIVATION || is->rank != v->rank) {
        int64_t dims[NB_VALUE_DIMS];
        for (uint32_t i = 0; i < v->rank; i++)
            dims[i] = (int64_t)v->dim[i].n;
        const struct nb_attr attr = NB_ATTR_LIST("dims", dims, v->rank);
        made = nb_graph_add(r->to, &(struct nb_node_args){.op = &nb_op_reshape,
                                                          .in = {made},
                                                          .attrs = &attr,
                                                          .n_attrs = 1,
                                                          .block = NB_NO_BLOCK});
        r->map[value] = made;
    }
    nb_graph_output(r->to, made, v->name);
}

static enum nb_status walk(struct nb_rewrite *r, nb_rewrite_fn *fn, struct nb_error *err)
{
    const struct nb_graph *g = r->from;
    count_readers(r);
    for (uint32_t v = 1; v < g->n_values; v++) /* inputs keep their order */
        if (g->values[v].kind == NB_VALUE_INPUT)
            (void)nb_rewrite_value(r, v);
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        bool done = r->instead[i] == UINT32_MAX;
        if (!done)
            NB_TRY(fn(r, i, &done, err));
        if (!done)
            copy_node(r, i);
        NB_TRY(nb_graph_check(r->to, err));
        for (uint32_t k = 0; k < NB_NODE_OUTPUTS; k++)
            pass_on(r, g->nodes[i].out[k]);
    }
    NB_TRY(nb_graph_check(r->to, err));
    return nb_graph_prune(r->to, err);
}

enum nb_status nb_rewrite_graph(struct nb_graph *to, const struct nb_graph *from, nb_rewrite_fn *fn,
                                void *pass, struct nb_error *err)
{
    const struct nb_allocator *a = to->arena.a;
    const size_t n = from->n_values + 1;
    struct nb_rewrite r = {.from = from,
                           .to = to,
                           .map = nb_alloc_zero(a, n, sizeof *r.map),
                           .n_readers = nb_alloc_zero(a, n, sizeof *r.n_readers),
                           .reader = nb_alloc_zero(a, n, sizeof *r.reader),
                           .instead = nb_alloc_zero(a, from->n_nodes + 1, sizeof *r.instead),
                           .pass = pass};
    enum nb_status st = NB_OK;
    if (!r.map || !r.n_readers || !r.reader || !r.instead)
        st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory to rewrite a graph of %zu values", n);
    if (st == NB_OK)
        st = walk(&r, fn, err);
    nb_free(a, r.map);
    nb_free(a, r.n_readers);
    nb_free(a, r.reader);
    nb_free(a, r.instead);
    return st;
}
