/* net/pass_layout.c: values with channels get them as their last dimension, where kernels want them.
 *
 * Convolutions, pools and the like run with channels last. What they make is known in that layout, its twin; what
 * follows is computed on twins as long as it can be, and a transpose back stands only where somebody needs the
 * file's own layout. A net that goes in and out as the file says has its transposes at the edges, where the
 * file's own (from tools that worked with channels last) cancel them.
 */
#include <string.h>

#include "net/passes.h"

struct layout {
    uint32_t *twin; /* (from->n_values) in the new graph, with channels last; 0: none */
};

static uint32_t *twins(const struct nb_rewrite *r)
{
    return ((const struct layout *)r->pass)->twin;
}

/* perm[i]: the dimension of channels first that is dimension i of channels last. */
static void to_last(int64_t *perm, uint32_t rank)
{
    perm[0] = 0;
    for (uint32_t i = 1; i + 1 < rank; i++)
        perm[i] = (int64_t)i + 1;
    perm[rank - 1] = 1;
}

static void to_first(int64_t *perm, uint32_t rank)
{
    perm[0] = 0;
    perm[1] = (int64_t)rank - 1;
    for (uint32_t i = 2; i < rank; i++)
        perm[i] = (int64_t)i - 1;
}

/* Where a dimension of channels first is in the twin. */
static uint32_t moved(uint32_t dim, uint32_t rank)
{
    return dim == 0 ? 0 : dim == 1 ? rank - 1 : dim - 1;
}

/* The value as the file has it. */
static uint32_t first_of(struct nb_rewrite *r, uint32_t v)
{
    int64_t perm[NB_VALUE_DIMS];
    const uint32_t rank = nb_rewrite_old(r, v)->rank;
    if (r->map[v] == 0 && twins(r)[v] != 0) {
        to_first(perm, rank);
        r->map[v] = nb_rewrite_transpose(r, twins(r)[v], perm, rank, nb_rewrite_old(r, v)->name);
    }
    return nb_rewrite_value(r, v);
}

/* The twin, made if there is none. */
static uint32_t last_of(struct nb_rewrite *r, uint32_t v)
{
    int64_t perm[NB_VALUE_DIMS];
    const uint32_t rank = nb_rewrite_old(r, v)->rank;
    if (twins(r)[v] == 0) {
        to_last(perm, rank);
        twins(r)[v] = nb_rewrite_transpose(r, nb_rewrite_value(r, v), perm, rank, NULL);
    }
    return twins(r)[v];
}

static bool has_twin(const struct nb_rewrite *r, uint32_t v)
{
    return v != 0 && twins(r)[v] != 0;
}

/* Adds the node on other inputs; its first output is the twin of the old one's. */
static void add_twin(struct nb_rewrite *r, uint32_t node, const struct nb_node_args *args)
{
    twins(r)[r->from->nodes[node].out[0]] = nb_graph_add_folded(r->to, args);
}

/* ---- kinds of nodes; each says whether it dealt with it ---- */

/* Operators that have a choice say so by an attribute `last` (conv, pool, resize ...): x, and a residual (input 3) if there is one, with channels last. */
static bool spatial(struct nb_rewrite *r, uint32_t node)
{
    const struct nb_node *n = &r->from->nodes[node];
    const struct nb_attr *last = nb_node_attr(n, "last");
    struct nb_node_args args;
    struct nb_attr attrs[NB_NODE_ATTRS];
    if (!last || last->i != 0 || nb_rewrite_old(r, n->in[0])->rank < 3 || n->out[1])
        return false;
    nb_rewrite_start(r, n, &args, attrs);
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++) {
        const bool image = n->in[i] && (i == 0 || (i == 3 && strcmp(n->op->name, "conv") == 0));
        args.in[i] = image ? last_of(r, n->in[i]) : n->in[i] ? first_of(r, n->in[i]) : 0;
    }
    nb_rewrite_set_int(&args, attrs, "last", 1);
    add_twin(r, node, &args);
    return true;
}

/* Input 0 element by element, other inputs are numbers or tables. */
static bool is_elementwise(const struct nb_rewrite *r, const struct nb_node *n)
{
    if (n->op == &nb_op_quantize_linear || n->op == &nb_op_dequantize_linear)
        return nb_value_count(nb_rewrite_old(r, n->in[1])) == 1 && nb_node_attr(n, "block")->i == 0;
    return n->op == &nb_op_unary || n->op == &nb_op_cast || n->op == &nb_op_table_u8;
}

static bool elementwise(struct nb_rewrite *r, uint32_t node)
{
    const struct nb_node *n = &r->from->nodes[node];
    struct nb_node_args args;
    struct nb_attr attrs[NB_NODE_ATTRS];
    if (!is_elementwise(r, n) || !has_twin(r, n->in[0]))
        return false;
    nb_rewrite_start(r, n, &args, attrs);
    args.in[0] = last_of(r, n->in[0]);
    for (uint32_t i = 1; i < n->op->n_in; i++)
        args.in[i] = n->in[i] ? first_of(r, n->in[i]) : 0;
    add_twin(r, node, &args);
    return true;
}

/* A constant beside a twin of `rank` dimensions: as many dimensions, channels last. */
static uint32_t const_twin(struct nb_rewrite *r, uint32_t v, uint32_t rank)
{
    const struct nb_value *is = nb_rewrite_old(r, v);
    int64_t dims[NB_VALUE_DIMS], perm[NB_VALUE_DIMS];
    if (nb_value_count(is) == 1)
        return nb_rewrite_value(r, v);
    for (uint32_t i = 0; i < rank; i++)
        dims[i] = i + is->rank < rank ? 1 : (int64_t)is->dim[i + is->rank - rank].n;
    const uint32_t wide = nb_rewrite_reshape(r, nb_rewrite_value(r, v), dims, rank);
    to_last(perm, rank);
    return nb_rewrite_transpose(r, wide, perm, rank, NULL);
}

/* Of two arrays, at least one with a twin: the other has one too, is a constant, or has as many dimensions. */
static bool binary(struct nb_rewrite *r, uint32_t node)
{
    const struct nb_node *n = &r->from->nodes[node];
    struct nb_node_args args;
    struct nb_attr attrs[NB_NODE_ATTRS];
    const uint32_t rank = nb_rewrite_old(r, n->out[0])->rank;
    bool any = false;
    if (n->op != &nb_op_binary && n->op != &nb_op_binary_u8)
        return false;
    for (uint32_t i = 0; i < 2; i++) {
        const struct nb_value *v = nb_rewrite_old(r, n->in[i]);
        const bool twin = has_twin(r, n->in[i]) && v->rank == rank;
        const bool constant = v->kind == NB_VALUE_CONST && v->rank <= rank;
        any = any || twin;
        if (!twin && !constant)
            return false;
    }
    if (!any)
        return false;
    nb_rewrite_start(r, n, &args, attrs);
    for (uint32_t i = 0; i < 2; i++)
        args.in[i] = has_twin(r, n->in[i]) ? last_of(r, n->in[i]) : const_twin(r, n->in[i], rank);
    add_twin(r, node, &args);
    return true;
}

static bool concat(struct nb_rewrite *r, uint32_t node)
{
    const struct nb_node *n = &r->from->nodes[node];
    struct nb_node_args args;
    struct nb_attr attrs[NB_NODE_ATTRS];
    if (n->op != &nb_op_concat)
        return false;
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++)
        if (n->in[i] && !has_twin(r, n->in[i]))
            return false;
    nb_rewrite_start(r, n, &args, attrs);
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++)
        args.in[i] = n->in[i] ? last_of(r, n->in[i]) : 0;
    nb_rewrite_set_int(&args, attrs, "axis",
                       moved((uint32_t)attrs[0].i, nb_rewrite_old(r, n->in[0])->rank));
    add_twin(r, node, &args);
    return true;
}

/* Lists with an entry for each dimension: slice. */
static bool slice(struct nb_rewrite *r, uint32_t node)
{
    const struct nb_node *n = &r->from->nodes[node];
    struct nb_node_args args;
    struct nb_attr attrs[NB_NODE_ATTRS];
    int64_t lists[3][NB_VALUE_DIMS];
    if (n->op != &nb_op_slice || !has_twin(r, n->in[0]))
        return false;
    const uint32_t rank = nb_rewrite_old(r, n->in[0])->rank;
    nb_rewrite_start(r, n, &args, attrs);
    for (size_t k = 0; k < 3; k++) {
        for (uint32_t i = 0; i < rank; i++)
            lists[k][moved(i, rank)] = attrs[k].list[i];
        attrs[k].list = lists[k];
    }
    args.in[0] = last_of(r, n->in[0]);
    add_twin(r, node, &args);
    return true;
}

/* A file that brings channels last back itself asks for a twin, or for one in another order. */
static bool transposed(struct nb_rewrite *r, uint32_t node)
{
    const struct nb_node *n = &r->from->nodes[node];
    int64_t perm[NB_VALUE_DIMS];
    bool same = true;
    if (n->op != &nb_op_transpose || !has_twin(r, n->in[0]) || r->map[n->in[0]] != 0)
        return false;
    const uint32_t rank = nb_rewrite_old(r, n->in[0])->rank;
    for (uint32_t i = 0; i < rank; i++) {
        perm[i] = moved((uint32_t)n->attr[0].list[i], rank);
        same = same && perm[i] == (int64_t)i;
    }
    const uint32_t twin = last_of(r, n->in[0]);
    r->map[n->out[0]] =
        same ? twin : nb_rewrite_transpose(r, twin, perm, rank, nb_rewrite_old(r, n->out[0])->name);
    return true;
}

/* From channels last, as the file's own tool had it, to channels first: the input is the twin already. */
static bool brings_first(struct nb_rewrite *r, uint32_t node)
{
    const struct nb_node *n = &r->from->nodes[node];
    int64_t perm[NB_VALUE_DIMS];
    if (n->op != &nb_op_transpose || nb_rewrite_old(r, n->in[0])->rank < 3)
        return false;
    const uint32_t rank = nb_rewrite_old(r, n->in[0])->rank;
    to_first(perm, rank);
    if (memcmp(perm, n->attr[0].list, rank * sizeof *perm) != 0)
        return false;
    twins(r)[n->out[0]] = first_of(r, n->in[0]);
    return true;
}

/* Where all spatial dimensions are 1 the twin's elements lie as the file's do. */
static bool flat_reshape(struct nb_rewrite *r, uint32_t node)
{
    const struct nb_node *n = &r->from->nodes[node];
    struct nb_node_args args;
    struct nb_attr attrs[NB_NODE_ATTRS];
    if (n->op != &nb_op_reshape || !has_twin(r, n->in[0]) || r->map[n->in[0]] != 0)
        return false;
    const struct nb_value *x = nb_rewrite_old(r, n->in[0]);
    for (uint32_t i = 2; i < x->rank; i++)
        if (x->dim[i].n != 1)
            return false;
    nb_rewrite_start(r, n, &args, attrs);
    args.in[0] = last_of(r, n->in[0]);
    r->map[n->out[0]] = nb_graph_add_folded(r->to, &args);
    return true;
}

static enum nb_status lay_out(struct nb_rewrite *r, uint32_t node, bool *done, struct nb_error *err)
{
    const struct nb_node *n = &r->from->nodes[node];
    (void)err;
    *done = spatial(r, node) || elementwise(r, node) || binary(r, node) || concat(r, node) ||
            slice(r, node) || transposed(r, node) || brings_first(r, node) || flat_reshape(r, node);
    if (!*done) /* the copy reads what the file has */
        for (uint32_t i = 0; i < NB_NODE_INPUTS; i++)
            if (n->in[i])
                (void)first_of(r, n->in[i]);
    for (uint32_t i = 0; i < NB_NODE_OUTPUTS; i++)
        if (n->out[i] && nb_rewrite_old(r, n->out[i])->kind == NB_VALUE_OUTPUT && *done)
            (void)first_of(r, n->out[i]);
    return NB_OK;
}

enum nb_status nb_pass_layout(struct nb_graph *to, const struct nb_graph *from,
                              struct nb_error *err)
{
    struct layout l = {.twin = nb_alloc_zero(to->arena.a, from->n_values + 1, sizeof *l.twin)};
    if (l.twin == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to lay out a graph of %zu values",
                from->n_values);
    const enum nb_status st = nb_rewrite_graph(to, from, lay_out, &l, err);
    nb_free(to->arena.a, l.twin);
    return st;
}
