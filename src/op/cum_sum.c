/* op/cum_sum.c: running sums along a dimension (ONNX CumSum).
 *
 * x (F32, F64, I64, I32, U32) -> y. attrs axis; exclusive: an element is not in its own sum; reverse: from the end.
 * Floats are summed in doubles, one after the other; integers wrap around.
 */
#include "op/op_internal.h"

enum { AXIS, EXCLUSIVE, REVERSE };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    const int64_t axis = n->attr[AXIS].i;
    const bool known = x->type == NB_VALUE_F32 || x->type == NB_VALUE_F64 ||
                       x->type == NB_VALUE_I64 || x->type == NB_VALUE_I32 ||
                       x->type == NB_VALUE_U32;
    if (!known || axis < 0 || axis >= (int64_t)x->rank)
        return nb_graph_refuse(g, n, "axis %lld of %u dimensions, or elements that are not summed",
                               (long long)axis, x->rank);
    op_copy_dims(out, x, x->type);
    return true;
}

struct work {
    const struct nb_op_call *c;
    enum nb_value_type type;
    size_t n, inner;
    bool exclusive, reverse;
};

#define SUMS(T, A)                                                                                 \
    do {                                                                                           \
        const T *x = (const T *)w->c->in[0]->data + from;                                          \
        T *y = (T *)w->c->out[0]->data + from;                                                     \
        A sum = 0;                                                                                 \
        for (size_t i = 0; i < w->n; i++) {                                                        \
            const size_t at = (w->reverse ? w->n - 1 - i : i) * w->inner;                          \
            const A next = sum + (A)x[at];                                                         \
            y[at] = (T)(w->exclusive ? sum : next);                                                \
            sum = next;                                                                            \
        }                                                                                          \
    } while (0)

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    (void)worker;
    for (size_t r = begin; r < end; r++) {
        const size_t from = r / w->inner * w->n * w->inner + r % w->inner;
        if (w->type == NB_VALUE_F32)
            SUMS(float, double);
        else if (w->type == NB_VALUE_F64)
            SUMS(double, double);
        else if (w->type == NB_VALUE_I64)
            SUMS(int64_t, uint64_t);
        else
            SUMS(uint32_t, uint32_t);
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
                     .exclusive = c->node->attr[EXCLUSIVE].i != 0,
                     .reverse = c->node->attr[REVERSE].i != 0};
    size_t outer = 1;
    for (uint32_t i = 0; i < axis; i++)
        outer *= (size_t)x->dim[i].n;
    for (uint32_t i = axis + 1; i < x->rank; i++)
        w.inner *= (size_t)x->dim[i].n;
    nb_pool_for(c->pool, outer * w.inner, op_grain(w.n), part, &w);
}

const struct nb_op nb_op_cum_sum = {
    .name = "cum_sum",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {[AXIS] = "axis", [EXCLUSIVE] = "exclusive", [REVERSE] = "reverse"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
