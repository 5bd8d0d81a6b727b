/* op/reverse_sequence.c: the first elements of each sequence of a batch, backwards (ONNX ReverseSequence).
 *
 * x (any), lengths (I64 or I32; (n)) -> y (x's dimensions). attrs batch, time: two different dimensions of x, batch of
 * size n. Element t < length of a sequence goes to length - 1 - t. Lengths beyond what there is are cut to it.
 */
#include "op/indices.h"

enum { BATCH, TIME };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]), *lengths = op_value(g, n->in[1]);
    const int64_t batch = n->attr[BATCH].i, time = n->attr[TIME].i;
    if (!op_is_plain(x) || !op_is_index(lengths))
        return nb_graph_refuse(g, n, "lengths must be int64 or int32");
    if (batch < 0 || time < 0 || batch == time || batch >= (int64_t)x->rank ||
        time >= (int64_t)x->rank || lengths->rank != 1 || lengths->dim[0].n != x->dim[batch].n)
        return nb_graph_refuse(g, n, "dimensions %lld and %lld of %u, %llu lengths",
                               (long long)batch, (long long)time, x->rank,
                               (unsigned long long)nb_value_count(lengths));
    op_copy_dims(out, x, x->type);
    return true;
}

struct work {
    const struct nb_slot *lengths;
    const uint8_t *src;
    uint8_t *dst;
    size_t n_batch, n_time;       /* sizes of the two dimensions        */
    size_t batch_step, time_step; /* blocks between neighbours in them  */
    size_t bytes;                 /* of a block: what follows both      */
};

static int64_t length_of(const struct nb_slot *s, size_t i)
{
    return s->value->type == NB_VALUE_I64 ? ((const int64_t *)s->data)[i]
                                          : ((const int32_t *)s->data)[i];
}

static void blocks(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        const size_t t = i / w->time_step % w->n_time;
        const int64_t length =
            NB_MIN(length_of(w->lengths, i / w->batch_step % w->n_batch), (int64_t)w->n_time);
        const size_t from = (int64_t)t < length
                                ? i - t * w->time_step + ((size_t)length - 1 - t) * w->time_step
                                : i;
        memcpy(w->dst + i * w->bytes, w->src + from * w->bytes, w->bytes);
    }
}

static void run(const struct nb_op_call *c)
{
    const struct nb_value *x = c->in[0]->value;
    const uint32_t batch = (uint32_t)c->node->attr[BATCH].i;
    const uint32_t time = (uint32_t)c->node->attr[TIME].i, inner = NB_MAX(batch, time);
    struct work w = {.lengths = c->in[1],
                     .src = c->in[0]->data,
                     .dst = c->out[0]->data,
                     .n_batch = (size_t)x->dim[batch].n,
                     .n_time = (size_t)x->dim[time].n,
                     .bytes = nb_value_item_bytes(x->type)};
    size_t n = 1;
    for (uint32_t i = x->rank; i-- > 0;) {
        if (i > inner) {
            w.bytes *= (size_t)x->dim[i].n;
            continue;
        }
        w.batch_step = i == batch ? n : w.batch_step;
        w.time_step = i == time ? n : w.time_step;
        n *= (size_t)x->dim[i].n;
    }
    if (w.bytes > 0)
        nb_pool_for(c->pool, n, op_grain(w.bytes), blocks, &w);
}

const struct nb_op nb_op_reverse_sequence = {
    .name = "reverse_sequence",
    .n_in_min = 2,
    .n_in = 2,
    .attrs = {[BATCH] = "batch", [TIME] = "time"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
