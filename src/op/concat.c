/* op/concat.c: arrays one behind the other along a dimension (ONNX Concat).
 *
 * x0, x1 ... (up to 16, of one type, alike but for dimension axis) -> y. attr axis: 0 .. rank - 1.
 */
#include "op/op_internal.h"

enum { AXIS };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    const int64_t axis = n->attr[AXIS].i;
    if (!op_is_plain(x))
        return nb_graph_refuse(g, n, "input 0 has no plain elements");
    if (axis < 0 || axis >= (int64_t)x->rank)
        return nb_graph_refuse(g, n, "axis %lld of %u dimensions", (long long)axis, x->rank);
    op_copy_dims(out, x, x->type);
    for (uint32_t k = 1; k < NB_NODE_INPUTS && n->in[k]; k++) {
        const struct nb_value *y = op_value(g, n->in[k]);
        if (y->rank != x->rank || y->type != x->type)
            return nb_graph_refuse(g, n, "input %u is of another rank or type than input 0", k);
        for (uint32_t i = 0; i < x->rank; i++)
            if (i != (uint32_t)axis && y->dim[i].n != x->dim[i].n)
                return nb_graph_refuse(g, n, "dimension %u of input %u is %llu, of input 0 %llu", i,
                                       k, (unsigned long long)y->dim[i].n,
                                       (unsigned long long)x->dim[i].n);
        out->dim[axis].n += y->dim[axis].n;
    }
    return true;
}

/* Bytes from one index of the dimensions before the axis to the next. */
static size_t step_of(const struct nb_value *v, uint32_t axis)
{
    size_t n = nb_value_item_bytes(v->type);
    for (uint32_t i = axis; i < v->rank; i++)
        n *= (size_t)v->dim[i].n;
    return n;
}

static void run(const struct nb_op_call *c)
{
    const struct nb_value *y = c->out[0]->value;
    const uint32_t axis = (uint32_t)c->node->attr[AXIS].i;
    const size_t to_step = step_of(y, axis);
    uint8_t *to = c->out[0]->data;
    size_t n = 1;
    for (uint32_t i = 0; i < axis; i++)
        n *= (size_t)y->dim[i].n;
    for (uint32_t k = 0; k < NB_NODE_INPUTS && c->in[k]; k++) {
        const uint8_t *from = c->in[k]->data;
        const size_t step = step_of(c->in[k]->value, axis);
        for (size_t i = 0; i < n && step > 0; i++)
            memcpy(to + i * to_step, from + i * step, step);
        to += step;
    }
}

const struct nb_op nb_op_concat = {
    .name = "concat",
    .n_in_min = 1,
    .n_in = NB_NODE_INPUTS,
    .attrs = {[AXIS] = "axis"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
