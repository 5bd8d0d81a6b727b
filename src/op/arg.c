/* op/arg.c: where the largest or smallest along a dimension is (ONNX ArgMax, ArgMin).
 *
 * x -> y (I64), the dimension becomes 1. attrs axis; smallest: 0 or 1; ties_last: of equal ones the last, else the first.
 * NaN counts as the largest.
 */
#include "op/op_internal.h"
#include "op/order.h"

enum { AXIS, SMALLEST, LAST };

#define BLOCK 64U

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    const int64_t axis = n->attr[AXIS].i;
    if (!op_is_plain(x) || axis < 0 || axis >= (int64_t)x->rank)
        return nb_graph_refuse(g, n, "axis %lld of %u dimensions", (long long)axis, x->rank);
    if (x->dim[axis].n == 0)
        return nb_graph_refuse(g, n, "nothing to choose from");
    op_copy_dims(out, x, NB_VALUE_I64);
    out->dim[axis] = nb_dim_const(1);
    return true;
}

struct work {
    const struct nb_op_call *c;
    enum nb_value_type type;
    size_t n, inner, blocks; /* of the dimension; side by side, in so many blocks */
    bool smallest, last;
};

/* Is `a`, which comes later, better than `b`? */
static bool better(const struct work *w, int64_t a, int64_t b)
{
    return (w->smallest ? a < b : a > b) || (w->last && a == b);
}

static void one(const struct work *w, size_t row)
{
    int64_t key[BLOCK], best = 0, best_at = 0;
    for (size_t at = 0; at < w->n; at += BLOCK) {
        const size_t m = NB_MIN(w->n - at, (size_t)BLOCK);
        order_of(key, w->c->in[0]->data, w->type, row * w->n + at, 1, m);
        for (size_t i = 0; i < m; i++)
            if (at + i == 0 || better(w, key[i], best)) {
                best = key[i];
                best_at = (int64_t)(at + i);
            }
    }
    ((int64_t *)w->c->out[0]->data)[row] = best_at;
}

/* m places that lie side by side */
static void some(const struct work *w, size_t outer, size_t first, size_t m)
{
    int64_t key[BLOCK], best[BLOCK];
    int64_t *y = (int64_t *)w->c->out[0]->data + outer * w->inner + first;
    for (size_t i = 0; i < w->n; i++) {
        order_of(key, w->c->in[0]->data, w->type, (outer * w->n + i) * w->inner + first, 1, m);
        for (size_t k = 0; k < m; k++)
            if (i == 0 || better(w, key[k], best[k])) {
                best[k] = key[k];
                y[k] = (int64_t)i;
            }
    }
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    (void)worker;
    for (size_t item = begin; item < end; item++) {
        const size_t first = item % w->blocks * BLOCK;
        if (w->inner == 1)
            one(w, item);
        else
            some(w, item / w->blocks, first, NB_MIN(w->inner - first, (size_t)BLOCK));
    }
}

static void run(const struct nb_op_call *c)
{
    const struct nb_value *x = c->in[0]->value;
    const uint32_t axis = (uint32_t)c->node->attr[AXIS].i;
    struct work w = {.c = c,
                     .type = x->type,
                     .n = (size_t)x->dim[axis].n,
                     .inner = 1,
                     .smallest = c->node->attr[SMALLEST].i != 0,
                     .last = c->node->attr[LAST].i != 0};
    size_t outer = 1;
    for (uint32_t i = 0; i < axis; i++)
        outer *= (size_t)x->dim[i].n;
    for (uint32_t i = axis + 1; i < x->rank; i++)
        w.inner *= (size_t)x->dim[i].n;
    w.blocks = (w.inner + BLOCK - 1) / BLOCK;
    nb_pool_for(c->pool, outer * w.blocks,
                op_grain((uint64_t)w.n * NB_MIN((uint64_t)w.inner, (uint64_t)BLOCK)), part, &w);
}

const struct nb_op nb_op_arg = {
    .name = "arg",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {[AXIS] = "axis", [SMALLEST] = "smallest", [LAST] = "ties_last"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
