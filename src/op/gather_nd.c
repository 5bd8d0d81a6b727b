/* op/gather_nd.c: slices picked by tuples of indices (ONNX GatherND).
 *
 * x (any), indices (I64 or I32; ..., k) -> y: for each tuple the slice of x that it names. The first `batch`
 * dimensions, which x and indices share, are gone through together; a tuple speaks of the k that follow. attr batch.
 * Indices: op/indices.h.
 */
#include "op/indices.h"

enum { BATCH };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]), *index = op_value(g, n->in[1]);
    const int64_t batch = n->attr[BATCH].i;
    const uint64_t k = index->rank > 0 ? index->dim[index->rank - 1].n : 0;
    if (!op_is_plain(x) || !op_is_index(index) || index->rank < 1)
        return nb_graph_refuse(g, n, "indices must be tuples of int64 or int32");
    if (batch < 0 || batch >= (int64_t)index->rank || k > x->rank ||
        (uint64_t)batch + k > x->rank ||
        index->rank - 1 + x->rank - (uint64_t)batch - k > NB_VALUE_DIMS)
        return nb_graph_refuse(g, n, "tuples of %llu for %u dimensions, %lld of them a batch",
                               (unsigned long long)k, x->rank, (long long)batch);
    out->type = x->type;
    out->rank = 0;
    for (uint32_t i = 0; i + 1 < index->rank; i++) {
        if (i < (uint32_t)batch && index->dim[i].n != x->dim[i].n)
            return nb_graph_refuse(g, n, "dimension %u of the batch differs", i);
        out->dim[out->rank++] = index->dim[i];
    }
    for (uint32_t i = 0; i < k; i++)
        if (x->dim[(uint32_t)batch + i].n == 0 && nb_value_count(index) > 0)
            return nb_graph_refuse(g, n, "nothing to pick from");
    for (uint32_t i = (uint32_t)batch + (uint32_t)k; i < x->rank; i++)
        out->dim[out->rank++] = x->dim[i];
    return true;
}

struct work {
    const struct nb_slot *x, *index;
    uint8_t *dst;
    uint32_t batch, k;
    size_t tuples; /* of one item of the batch */
    size_t bytes;  /* of a slice */
};

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct nb_dim *dim = w->x->value->dim + w->batch;
    const uint8_t *src = w->x->data;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        size_t at = i / w->tuples;
        for (uint32_t d = 0; d < w->k; d++)
            at = at * (size_t)dim[d].n + (size_t)op_index(w->index, i * w->k + d, dim[d].n);
        memcpy(w->dst + i * w->bytes, src + at * w->bytes, w->bytes);
    }
}

static void run(const struct nb_op_call *c)
{
    const struct nb_value *x = c->in[0]->value, *index = c->in[1]->value;
    struct work w = {.x = c->in[0],
                     .index = c->in[1],
                     .dst = c->out[0]->data,
                     .batch = (uint32_t)c->node->attr[BATCH].i,
                     .k = (uint32_t)index->dim[index->rank - 1].n,
                     .tuples = 1,
                     .bytes = nb_value_item_bytes(x->type)};
    size_t n = 1;
    for (uint32_t i = 0; i + 1 < index->rank; i++) {
        n *= (size_t)index->dim[i].n;
        w.tuples *= i < w.batch ? 1 : (size_t)index->dim[i].n;
    }
    for (uint32_t i = w.batch + w.k; i < x->rank; i++)
        w.bytes *= (size_t)x->dim[i].n;
    if (w.bytes > 0)
        nb_pool_for(c->pool, n, op_grain(w.bytes), part, &w);
}

const struct nb_op nb_op_gather_nd = {
    .name = "gather_nd",
    .n_in_min = 2,
    .n_in = 2,
    .attrs = {[BATCH] = "batch"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
