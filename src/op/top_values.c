/* op/top_values.c: the k largest or smallest along a dimension, and where they are (ONNX TopK).
 *
 * x -> values (x's type), places (I64); the dimension becomes k. attrs axis, k; smallest: 0 or 1. They come in order, of
 * equal ones the first first. NaN counts as the largest. A heap of all n, from which k are taken: O(n + k log n).
 */
#include "op/op_internal.h"
#include "op/order.h"

enum { AXIS, K, SMALLEST };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    const int64_t axis = n->attr[AXIS].i, k = n->attr[K].i;
    if (!op_is_plain(x) || axis < 0 || axis >= (int64_t)x->rank)
        return nb_graph_refuse(g, n, "axis %lld of %u dimensions", (long long)axis, x->rank);
    if (k < 0 || (uint64_t)k > x->dim[axis].n)
        return nb_graph_refuse(g, n, "%lld of %llu elements", (long long)k,
                               (unsigned long long)x->dim[axis].n);
    op_copy_dims(&out[0], x, x->type);
    op_copy_dims(&out[1], x, NB_VALUE_I64);
    out[0].dim[axis] = out[1].dim[axis] = nb_dim_const((uint64_t)k);
    return true;
}

struct work {
    const struct nb_op_call *c;
    size_t n, k, inner, item;
    bool smallest;
};

/* The heap holds places; key: what they are ordered by, the best at the top. */
static bool before(const int64_t *key, int64_t a, int64_t b)
{
    return key[a] > key[b] || (key[a] == key[b] && a < b);
}

static void sink(const int64_t *key, int64_t *heap, size_t n, size_t at)
{
    const int64_t moved = heap[at];
    for (size_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && before(key, heap[child + 1], heap[child]))
            child++;
        if (!before(key, heap[child], moved))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static void row(const struct work *w, size_t r, int64_t *key)
{
    int64_t *heap = key + w->n, *places = w->c->out[1]->data;
    const size_t outer = r / w->inner, column = r % w->inner;
    const size_t from = outer * w->n * w->inner + column;
    const size_t to = outer * w->k * w->inner + column;
    const uint8_t *x = w->c->in[0]->data;
    uint8_t *y = w->c->out[0]->data;
    size_t left = w->n;
    order_of(key, x, w->c->in[0]->value->type, from, w->inner, w->n);
    for (size_t i = 0; i < w->n; i++) {
        heap[i] = (int64_t)i;
        if (w->smallest)
            key[i] = ~key[i];
    }
    for (size_t i = w->n / 2; i-- > 0;)
        sink(key, heap, w->n, i);
    for (size_t i = 0; i < w->k; i++) {
        const size_t at = to + i * w->inner;
        places[at] = heap[0];
        memcpy(y + at * w->item, x + (from + (size_t)heap[0] * w->inner) * w->item, w->item);
        heap[0] = heap[--left];
        if (left > 0)
            sink(key, heap, left, 0);
    }
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    for (size_t r = begin; r < end; r++)
        row(w, r, op_scratch(w->c, worker));
}

static bool scratch_bytes(const struct nb_op_call *c, size_t *bytes)
{
    *bytes = 0;
    return op_add_bytes(bytes, c->in[0]->value->dim[c->node->attr[AXIS].i].n, 2 * sizeof(int64_t));
}

static void run(const struct nb_op_call *c)
{
    const struct nb_value *x = c->in[0]->value;
    const uint32_t axis = (uint32_t)c->node->attr[AXIS].i;
    struct work w = {.c = c,
                     .n = (size_t)x->dim[axis].n,
                     .k = (size_t)c->node->attr[K].i,
                     .inner = 1,
                     .item = nb_value_item_bytes(x->type),
                     .smallest = c->node->attr[SMALLEST].i != 0};
    size_t outer = 1;
    for (uint32_t i = 0; i < axis; i++)
        outer *= (size_t)x->dim[i].n;
    for (uint32_t i = axis + 1; i < x->rank; i++)
        w.inner *= (size_t)x->dim[i].n;
    if (w.k > 0)
        nb_pool_for(c->pool, outer * w.inner, op_grain(8 * (uint64_t)w.n), part, &w);
}

const struct nb_op nb_op_top_values = {
    .name = "top_values",
    .n_in_min = 1,
    .n_in = 1,
    .n_out = 2,
    .attrs = {[AXIS] = "axis", [K] = "k", [SMALLEST] = "smallest"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
