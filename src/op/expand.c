/* op/expand.c: an array read again along dimensions of 1 (ONNX Expand; numpy's broadcasting).
 *
 * x (any) -> y (dims), attr dims: x's dimensions, aligned on the right, or other numbers where x has 1.
 */
#include "op/op_internal.h"
#include "op/walk.h"

enum { DIMS };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    if (!op_is_plain(x))
        return nb_graph_refuse(g, n, "input 0 has no plain elements");
    out->type = x->type;
    if (!op_list_dims(g, n, &n->attr[DIMS], out))
        return false;
    for (uint32_t i = 0; i < x->rank; i++) {
        const uint64_t from = x->dim[i].n;
        if (out->rank < x->rank || (from != 1 && from != out->dim[out->rank - x->rank + i].n))
            return nb_graph_refuse(g, n, "dimension %u of %llu does not become that", i,
                                   (unsigned long long)from);
    }
    return true;
}

static void run(const struct nb_op_call *c)
{
    struct nb_walk w;
    nb_walk_init(&w, c->out[0]->value);
    if (nb_walk_count(&w) == 0)
        return;
    nb_walk_add(&w, c->in[0]->value);
    nb_walk_merge(&w);
    nb_walk_copy(&w, c->out[0]->data, c->in[0]->data, nb_value_item_bytes(c->in[0]->value->type),
                 c->pool);
}

const struct nb_op nb_op_expand = {
    .name = "expand",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {[DIMS] = "dims"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
