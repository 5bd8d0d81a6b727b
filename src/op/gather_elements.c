/* op/gather_elements.c: an element for each index (ONNX GatherElements).
 *
 * x (any), indices (I64 or I32, x's rank, nowhere larger than x but in dimension axis) -> y (indices' dimensions):
 * the element of x in the same place, but for the index in dimension axis. attr axis. Indices: op/indices.h.
 */
#include "op/indices.h"
#include "op/walk.h"

enum { AXIS };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]), *index = op_value(g, n->in[1]);
    const int64_t axis = n->attr[AXIS].i;
    if (!op_is_plain(x) || !op_is_index(index) || index->rank != x->rank)
        return nb_graph_refuse(g, n, "indices of int64 or int32, and of the input's rank expected");
    if (axis < 0 || axis >= (int64_t)x->rank)
        return nb_graph_refuse(g, n, "axis %lld of %u dimensions", (long long)axis, x->rank);
    for (uint32_t i = 0; i < x->rank; i++)
        if (i == (uint32_t)axis ? x->dim[i].n == 0 && nb_value_count(index) > 0
                                : index->dim[i].n > x->dim[i].n)
            return nb_graph_refuse(g, n, "dimension %u of the indices is larger than the input's",
                                   i);
    op_copy_dims(out, index, x->type);
    return true;
}

struct work {
    const struct nb_walk *w;
    const struct nb_slot *index;
    const uint8_t *src;
    uint8_t *dst;
    size_t item, i; /* i: of one part, the next index */
    int64_t step;   /* of dimension axis in x */
    uint64_t n;     /* and its size */
};

static void run_one(void *ctx, size_t n, const int64_t at[NB_WALK_ARRAYS])
{
    struct work *w = ctx;
    const int64_t step = w->w->stride[0][w->w->rank - 1];
    for (size_t k = 0; k < n; k++, w->i++) {
        const int64_t from = at[0] + (int64_t)k * step + op_index(w->index, w->i, w->n) * w->step;
        memcpy(w->dst + w->i * w->item, w->src + (size_t)from * w->item, w->item);
    }
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    struct work w = *(const struct work *)ctx;
    (void)worker;
    w.i = begin;
    nb_walk_runs(w.w, begin, end, run_one, &w);
}

static void run(const struct nb_op_call *c)
{
    const struct nb_value *x = c->in[0]->value;
    const uint32_t axis = (uint32_t)c->node->attr[AXIS].i;
    int64_t stride[NB_VALUE_DIMS] = {0}, step = 1;
    struct nb_walk walk;
    struct work w = {.w = &walk,
                     .index = c->in[1],
                     .src = c->in[0]->data,
                     .dst = c->out[0]->data,
                     .item = nb_value_item_bytes(x->type),
                     .n = x->dim[axis].n};
    for (uint32_t i = x->rank; i-- > 0;) {
        stride[i] = i == axis ? 0 : step;
        w.step = i == axis ? step : w.step;
        step *= (int64_t)x->dim[i].n;
    }
    nb_walk_init(&walk, c->out[0]->value);
    nb_walk_add_strides(&walk, stride, 0);
    nb_walk_merge(&walk);
    nb_pool_for(c->pool, (size_t)nb_walk_count(&walk), OP_CHUNK_ELEMENTS, part, &w);
}

const struct nb_op nb_op_gather_elements = {
    .name = "gather_elements",
    .n_in_min = 2,
    .n_in = 2,
    .attrs = {[AXIS] = "axis"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
