/* op/reshape.c: the same elements under other dimensions (ONNX Reshape, Flatten, Squeeze, Unsqueeze, Identity).
 *
 * x (any) -> y (dims). attr dims: a list without -1 or 0 of other meaning; its product is x's.
 */
#include "op/op_internal.h"

enum { DIMS };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    const struct nb_attr *dims = &n->attr[DIMS];
    if (!op_is_plain(x))
        return nb_graph_refuse(g, n, "input 0 has no plain elements");
    out->type = x->type;
    if (!op_list_dims(g, n, dims, out))
        return false;
    if (nb_value_count(out) != nb_value_count(x))
        return nb_graph_refuse(g, n, "%llu elements do not make %llu",
                               (unsigned long long)nb_value_count(x),
                               (unsigned long long)nb_value_count(out));
    return true;
}

static void run(const struct nb_op_call *c)
{
    const size_t n = (size_t)(c->in[0]->rows * c->in[0]->cols);
    memcpy(c->out[0]->data, c->in[0]->data, n * nb_value_item_bytes(c->in[0]->value->type));
}

const struct nb_op nb_op_reshape = {
    .name = "reshape",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {[DIMS] = "dims"},
    .quantizable = -1,
    .folds = true,
    .view = true,
    .shape = shape,
    .run = run,
};
