/* op/gather.c: slices of a dimension, picked by indices (ONNX Gather).
 *
 * x (any), indices (I64 or I32, any) -> y: dimension axis of x becomes the dimensions of indices. attr axis. Indices
 * below 0 count from the end. What is still out of range is the nearest that is in it: a run cannot fail.
 */
#include "op/op_internal.h"

enum { AXIS };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]), *index = op_value(g, n->in[1]);
    const int64_t axis = n->attr[AXIS].i;
    if (!op_is_plain(x) || (index->type != NB_VALUE_I64 && index->type != NB_VALUE_I32))
        return nb_graph_refuse(g, n, "indices must be int64 or int32");
    if (axis < 0 || axis >= (int64_t)x->rank || x->rank - 1 + index->rank > NB_VALUE_DIMS)
        return nb_graph_refuse(g, n, "axis %lld of %u dimensions, %u of indices", (long long)axis,
                               x->rank, index->rank);
    if (x->dim[axis].n == 0 && nb_value_count(index) > 0)
        return nb_graph_refuse(g, n, "nothing to pick from");
    out->type = x->type;
    out->rank = x->rank - 1 + index->rank;
    uint32_t to = 0;
    for (uint32_t i = 0; i < x->rank; i++) {
        if (i != (uint32_t)axis)
            out->dim[to++] = x->dim[i];
        else
            for (uint32_t k = 0; k < index->rank; k++)
                out->dim[to++] = index->dim[k];
    }
    return true;
}

static size_t index_at(const struct nb_slot *s, size_t i, size_t n)
{
    const int64_t *wide = s->data;
    const int32_t *narrow = s->data;
    int64_t k = s->value->type == NB_VALUE_I64 ? wide[i] : narrow[i];
    if (k < 0)
        k += (int64_t)n;
    return (size_t)NB_MIN(NB_MAX(k, (int64_t)0), (int64_t)n - 1);
}

static void run(const struct nb_op_call *c)
{
    const struct nb_value *x = c->in[0]->value;
    const uint32_t axis = (uint32_t)c->node->attr[AXIS].i;
    const size_t n_index = (size_t)(c->in[1]->rows * c->in[1]->cols);
    const size_t n = (size_t)x->dim[axis].n;
    const uint8_t *from = c->in[0]->data;
    uint8_t *to = c->out[0]->data;
    size_t before = 1, bytes = nb_value_item_bytes(x->type);
    for (uint32_t i = 0; i < axis; i++)
        before *= (size_t)x->dim[i].n;
    for (uint32_t i = axis + 1; i < x->rank; i++)
        bytes *= (size_t)x->dim[i].n;
    for (size_t b = 0; b < before && bytes > 0; b++)
        for (size_t i = 0; i < n_index; i++, to += bytes)
            memcpy(to, from + (b * n + index_at(c->in[1], i, n)) * bytes, bytes);
}

const struct nb_op nb_op_gather = {
    .name = "gather",
    .n_in_min = 2,
    .n_in = 2,
    .attrs = {[AXIS] = "axis"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
