/* op/transpose.c: dimensions in another order (ONNX Transpose).
 *
 * x (any) -> y: dimension i of y is dimension perm[i] of x. attr perm: a list of x's rank.
 */
#include "op/op_internal.h"
#include "op/walk.h"

enum { PERM };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    const struct nb_attr *perm = &n->attr[PERM];
    uint32_t seen = 0;
    if (perm->i != (int64_t)x->rank)
        return nb_graph_refuse(g, n, "perm has %lld entries for %u dimensions", (long long)perm->i,
                               x->rank);
    out->type = x->type;
    out->rank = x->rank;
    for (uint32_t i = 0; i < x->rank; i++) {
        const int64_t from = perm->list[i];
        if (from < 0 || from >= (int64_t)x->rank || (seen & 1U << from))
            return nb_graph_refuse(g, n, "perm names dimension %lld", (long long)from);
        seen |= 1U << from;
        out->dim[i] = x->dim[from];
    }
    return op_is_plain(x) || nb_graph_refuse(g, n, "input 0 has no plain elements");
}

static void run(const struct nb_op_call *c)
{
    const struct nb_value *x = c->in[0]->value;
    int64_t in[NB_VALUE_DIMS], stride[NB_VALUE_DIMS], step = 1;
    struct nb_walk w;
    for (uint32_t i = x->rank; i-- > 0;) {
        in[i] = step;
        step *= (int64_t)x->dim[i].n;
    }
    for (uint32_t i = 0; i < x->rank; i++)
        stride[i] = in[c->node->attr[PERM].list[i]];
    nb_walk_init(&w, c->out[0]->value);
    nb_walk_add_strides(&w, stride, 0);
    nb_walk_merge(&w);
    nb_walk_copy(&w, c->out[0]->data, c->in[0]->data, nb_value_item_bytes(x->type), c->pool);
}

const struct nb_op nb_op_transpose = {
    .name = "transpose",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {[PERM] = "perm"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
