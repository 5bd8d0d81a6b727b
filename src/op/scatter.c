/* op/scatter.c: an array with some elements replaced, or changed (ONNX ScatterElements, Scatter, ScatterND).
 *
 * x (any), indices (I64 or I32), updates (x's type) -> y (x's dimensions). attrs axis, reduction: enum nb_scatter.
 *   axis >= 0: updates and indices have the same dimensions, nowhere larger than x but in dimension axis; the index
 *              stands for the place in dimension axis, the other places are its own.
 *   axis -1:   indices are tuples (..., k); each names a slice of x, to which a slice of updates belongs.
 * Updates are applied in their order, so the last of several for one place counts; sums of floats are in that
 * order. Integers wrap around. Indices: op/indices.h.
 */
#include "op/indices.h"
#include "op/op.h"

enum { AXIS, REDUCTION };

static bool elements_fit(const struct nb_value *x, const struct nb_value *index,
                         const struct nb_value *updates, uint32_t axis)
{
    if (index->rank != x->rank || axis >= x->rank || !nb_value_same_dims(index, updates))
        return false;
    for (uint32_t i = 0; i < x->rank; i++)
        if (i == axis ? x->dim[i].n == 0 && nb_value_count(index) > 0
                      : index->dim[i].n > x->dim[i].n)
            return false;
    return true;
}

static bool tuples_fit(const struct nb_value *x, const struct nb_value *index,
                       const struct nb_value *updates)
{
    const uint64_t k = index->rank > 0 ? index->dim[index->rank - 1].n : 0;
    if (index->rank < 1 || k > x->rank || updates->rank != index->rank - 1 + x->rank - k)
        return false;
    for (uint32_t i = 0; i < updates->rank; i++) {
        const struct nb_dim want =
            i + 1 < index->rank ? index->dim[i] : x->dim[i + 1 - index->rank + (uint32_t)k];
        if (!nb_dim_eq(updates->dim[i], want))
            return false;
    }
    for (uint32_t i = 0; i < k; i++)
        if (x->dim[i].n == 0 && nb_value_count(index) > 0)
            return false;
    return true;
}

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]), *index = op_value(g, n->in[1]);
    const struct nb_value *updates = op_value(g, n->in[2]);
    const int64_t axis = n->attr[AXIS].i, how = n->attr[REDUCTION].i;
    if (!op_is_plain(x) || updates->type != x->type || !op_is_index(index))
        return nb_graph_refuse(g, n, "updates of the input's type and integer indices expected");
    if (how < 0 || how >= NB_N_SCATTER || (how != NB_SCATTER_SET && x->type == NB_VALUE_BOOL))
        return nb_graph_refuse(g, n, "no reduction %lld of this type", (long long)how);
    if (axis < -1 || (axis >= 0 ? !elements_fit(x, index, updates, (uint32_t)axis)
                                : !tuples_fit(x, index, updates)))
        return nb_graph_refuse(g, n, "dimensions of indices and updates do not fit the input's");
    op_copy_dims(out, x, x->type);
    return true;
}

/* ---- n elements ---- */

#define REDUCE(T, S, sum, product)                                                                 \
    do {                                                                                           \
        T *y = to;                                                                                 \
        const T *u = from;                                                                         \
        for (size_t i = 0; i < n; i++) {                                                           \
            const S a = (S)y[i], b = (S)u[i];                                                      \
            const bool less = u[i]<y[i], more = u[i]> y[i];                                        \
            const S v = how == NB_SCATTER_ADD   ? (sum)                                            \
                        : how == NB_SCATTER_MUL ? (product)                                        \
                        : how == NB_SCATTER_MIN ? (less || u[i] != u[i] ? b : a)                   \
                                                : (more || u[i] != u[i] ? b : a);                  \
            y[i] = (T)v;                                                                           \
        }                                                                                          \
    } while (0)

#define REDUCE_REAL(T)    REDUCE(T, T, a + b, a * b)
#define REDUCE_INTEGER(T) REDUCE(T, uint64_t, a + b, a * b)

static void reduce(enum nb_scatter how, enum nb_value_type type, void *to, const void *from,
                   size_t n)
{
    if (how == NB_SCATTER_SET)
        memcpy(to, from, n * nb_value_item_bytes(type));
    else if (type == NB_VALUE_F32)
        REDUCE_REAL(float);
    else if (type == NB_VALUE_F64)
        REDUCE_REAL(double);
    else if (type == NB_VALUE_I64)
        REDUCE_INTEGER(int64_t);
    else if (type == NB_VALUE_I32)
        REDUCE_INTEGER(int32_t);
    else if (type == NB_VALUE_U32)
        REDUCE_INTEGER(uint32_t);
    else if (type == NB_VALUE_I16)
        REDUCE_INTEGER(int16_t);
    else if (type == NB_VALUE_U16)
        REDUCE_INTEGER(uint16_t);
    else if (type == NB_VALUE_I8)
        REDUCE_INTEGER(int8_t);
    else
        REDUCE_INTEGER(uint8_t);
}

/* ---- all ---- */

static void scatter_elements(const struct nb_op_call *c, uint32_t axis, enum nb_scatter how)
{
    const struct nb_value *x = c->in[0]->value, *index = c->in[1]->value;
    const size_t item = nb_value_item_bytes(x->type), n = (size_t)nb_value_count(index);
    const uint8_t *updates = c->in[2]->data;
    uint8_t *y = c->out[0]->data;
    for (size_t i = 0; i < n; i++) {
        size_t rest = i, at = 0, step = 1;
        for (uint32_t d = x->rank; d-- > 0;) {
            const size_t own = rest % (size_t)index->dim[d].n;
            at += step * (d == axis ? (size_t)op_index(c->in[1], i, x->dim[d].n) : own);
            rest /= (size_t)index->dim[d].n;
            step *= (size_t)x->dim[d].n;
        }
        reduce(how, x->type, y + at * item, updates + i * item, 1);
    }
}

static void scatter_tuples(const struct nb_op_call *c, enum nb_scatter how)
{
    const struct nb_value *x = c->in[0]->value, *index = c->in[1]->value;
    const uint32_t k = (uint32_t)index->dim[index->rank - 1].n;
    const size_t item = nb_value_item_bytes(x->type);
    const uint8_t *updates = c->in[2]->data;
    uint8_t *y = c->out[0]->data;
    size_t n = 1, slice = 1;
    for (uint32_t i = 0; i + 1 < index->rank; i++)
        n *= (size_t)index->dim[i].n;
    for (uint32_t i = k; i < x->rank; i++)
        slice *= (size_t)x->dim[i].n;
    for (size_t i = 0; i < n && slice > 0; i++) {
        size_t at = 0;
        for (uint32_t d = 0; d < k; d++)
            at = at * (size_t)x->dim[d].n + (size_t)op_index(c->in[1], i * k + d, x->dim[d].n);
        reduce(how, x->type, y + at * slice * item, updates + i * slice * item, slice);
    }
}

static void run(const struct nb_op_call *c)
{
    const struct nb_value *x = c->in[0]->value;
    const int64_t axis = c->node->attr[AXIS].i;
    const enum nb_scatter how = (enum nb_scatter)c->node->attr[REDUCTION].i;
    memcpy(c->out[0]->data, c->in[0]->data,
           (size_t)nb_value_count(x) * nb_value_item_bytes(x->type));
    if (axis >= 0)
        scatter_elements(c, (uint32_t)axis, how);
    else
        scatter_tuples(c, how);
}

const struct nb_op nb_op_scatter = {
    .name = "scatter",
    .n_in_min = 3,
    .n_in = 3,
    .attrs = {[AXIS] = "axis", [REDUCTION] = "reduction"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
