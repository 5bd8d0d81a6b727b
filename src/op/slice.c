/* op/slice.c: a part of every dimension, in steps (ONNX Slice, Split).
 *
 * x (any) -> y (dims): index i of dimension d of y is start[d] + i step[d] of x. attr start, step, dims: lists of
 * x's rank, all in bounds; steps are not 0.
 */
#include "op/op_internal.h"
#include "op/walk.h"

enum { START, STEP, DIMS };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    const struct nb_attr *a = n->attr;
    out->type = x->type;
    if (!op_is_plain(x))
        return nb_graph_refuse(g, n, "input 0 has no plain elements");
    if (!op_list_dims(g, n, &a[DIMS], out))
        return false;
    if (a[START].i != (int64_t)x->rank || a[STEP].i != (int64_t)x->rank || out->rank != x->rank)
        return nb_graph_refuse(g, n, "start, step and dims must have %u entries", x->rank);
    for (uint32_t i = 0; i < x->rank; i++) {
        const int64_t from = x->dim[i].n > INT64_MAX ? 0 : (int64_t)x->dim[i].n;
        const int64_t n_out = a[DIMS].list[i], first = a[START].list[i], step = a[STEP].list[i];
        if (n_out == 0)
            continue;
        if (first < 0 || first >= from || step == 0 || step < -from || step > from ||
            n_out > from || first + (n_out - 1) * step < 0 || first + (n_out - 1) * step >= from)
            return nb_graph_refuse(
                g, n, "%lld elements from %lld on in steps of %lld: there are %lld",
                (long long)n_out, (long long)first, (long long)step, (long long)from);
    }
    return true;
}

static void run(const struct nb_op_call *c)
{
    const struct nb_value *x = c->in[0]->value;
    const struct nb_attr *a = c->node->attr;
    int64_t stride[NB_VALUE_DIMS], step = 1, start = 0;
    struct nb_walk w;
    for (uint32_t i = x->rank; i-- > 0;) {
        stride[i] = step * a[STEP].list[i];
        start += step * a[START].list[i];
        step *= (int64_t)x->dim[i].n;
    }
    nb_walk_init(&w, c->out[0]->value);
    if (nb_walk_count(&w) == 0)
        return;
    nb_walk_add_strides(&w, stride, start);
    nb_walk_merge(&w);
    nb_walk_copy(&w, c->out[0]->data, c->in[0]->data, nb_value_item_bytes(x->type), c->pool);
}

const struct nb_op nb_op_slice = {
    .name = "slice",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {[START] = "start", [STEP] = "step", [DIMS] = "dims"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
