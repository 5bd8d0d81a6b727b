/* op/softmax.c: softmax along one dimension, its logarithm, or a 1 where the largest is (ONNX Softmax, LogSoftmax,
 * Hardmax of opset 13).
 *
 * x (F32 or F64) -> y. attrs axis, kind: enum nb_softmax. Floats use the kernels (kernels/kernels.h), doubles libm.
 * Where all are -inf, softmax is 0 of floats, NaN otherwise. Hardmax: the first of several; NaN is never the largest.
 */
#include <math.h>

#include "op/op.h"
#include "op/op_internal.h"

enum { AXIS, KIND };

#define GROUP                                                                                      \
    16U /* rows that lie side by side, taken together when the dimension is not the last */

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    const int64_t axis = n->attr[AXIS].i, kind = n->attr[KIND].i;
    if (x->type != NB_VALUE_F32 && x->type != NB_VALUE_F64)
        return nb_graph_refuse(g, n, "input 0 must be of floats");
    if (axis < 0 || axis >= (int64_t)x->rank || kind < 0 || kind >= NB_N_SOFTMAX)
        return nb_graph_refuse(g, n, "axis %lld of %u dimensions, kind %lld", (long long)axis,
                               x->rank, (long long)kind);
    op_copy_dims(out, x, x->type);
    return true;
}

/* ---- one row, in place ---- */

static void row_f32(float *x, size_t n, enum nb_softmax kind, const struct nb_kernels *k)
{
    float max;
    size_t best = 0;
    if (kind == NB_SOFTMAX) {
        k->softmax_f32(x, n, 1.0F);
        return;
    }
    if (kind == NB_SOFTMAX_LOG) {
        const float sum = k->expsum_f32(x, n, &max), log_sum = (float)log((double)sum);
        for (size_t i = 0; i < n; i++)
            x[i] = (x[i] - max) - log_sum;
        return;
    }
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best] || x[best] != x[best])
            best = i;
    for (size_t i = 0; i < n; i++)
        x[i] = i == best ? 1.0F : 0.0F;
}

static void row_f64(double *x, size_t n, enum nb_softmax kind)
{
    double sum = 0.0;
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best] || x[best] != x[best])
            best = i;
    const double max = n > 0 ? x[best] : 0.0;
    for (size_t i = 0; i < n; i++)
        sum += exp(x[i] - max);
    for (size_t i = 0; i < n; i++)
        if (kind == NB_SOFTMAX)
            x[i] = exp(x[i] - max) / sum;
        else if (kind == NB_SOFTMAX_LOG)
            x[i] = (x[i] - max) - log(sum);
        else
            x[i] = i == best ? 1.0 : 0.0;
}

/* ---- all ---- */

struct work {
    const struct nb_op_call *c;
    enum nb_softmax kind;
    bool wide;
    size_t n, inner, groups; /* of a row; rows side by side, in so many groups of up to GROUP */
};

static void measure(const struct nb_op_call *c, struct work *w)
{
    const struct nb_value *x = c->in[0]->value;
    const uint32_t axis = (uint32_t)c->node->attr[AXIS].i;
    *w = (struct work){.c = c,
                       .kind = (enum nb_softmax)c->node->attr[KIND].i,
                       .wide = x->type == NB_VALUE_F64,
                       .n = (size_t)x->dim[axis].n,
                       .inner = 1};
    for (uint32_t i = axis + 1; i < x->rank; i++)
        w->inner *= (size_t)x->dim[i].n;
    w->groups = (w->inner + GROUP - 1) / GROUP;
}

static void row(const struct work *w, void *x)
{
    if (w->wide)
        row_f64(x, w->n, w->kind);
    else
        row_f32(x, w->n, w->kind, w->c->kernels);
}

static void last_part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const size_t bytes = w->n * (w->wide ? sizeof(double) : sizeof(float));
    const uint8_t *x = w->c->in[0]->data;
    uint8_t *y = w->c->out[0]->data;
    (void)worker;
    for (size_t r = begin; r < end && bytes > 0; r++) {
        memcpy(y + r * bytes, x + r * bytes, bytes);
        row(w, y + r * bytes);
    }
}

/* (n, inner) from x on, m of its columns, as rows of scratch; and back. */
#define GROUP_OF(T)                                                                                \
    do {                                                                                           \
        const T *x = (const T *)w->c->in[0]->data + at;                                            \
        T *y = (T *)w->c->out[0]->data + at, *s = op_scratch(w->c, worker);                        \
        for (size_t i = 0; i < w->n; i++)                                                          \
            for (size_t k = 0; k < m; k++)                                                         \
                s[k * w->n + i] = x[i * w->inner + k];                                             \
        for (size_t k = 0; k < m; k++)                                                             \
            row(w, s + k * w->n);                                                                  \
        for (size_t i = 0; i < w->n; i++)                                                          \
            for (size_t k = 0; k < m; k++)                                                         \
                y[i * w->inner + k] = s[k * w->n + i];                                             \
    } while (0)

static void group_part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    for (size_t g = begin; g < end; g++) {
        const size_t first = g % w->groups * GROUP, m = NB_MIN((size_t)GROUP, w->inner - first);
        const size_t at = g / w->groups * w->n * w->inner + first;
        if (w->wide)
            GROUP_OF(double);
        else
            GROUP_OF(float);
    }
}

static bool scratch_bytes(const struct nb_op_call *c, size_t *bytes)
{
    struct work w;
    measure(c, &w);
    *bytes = 0;
    return w.inner == 1 || op_add_bytes(bytes, (uint64_t)w.n * GROUP, sizeof(double));
}

static void run(const struct nb_op_call *c)
{
    struct work w;
    measure(c, &w);
    const size_t all = (size_t)(c->out[0]->rows * c->out[0]->cols);
    if (all == 0)
        return;
    if (w.inner == 1)
        nb_pool_for(c->pool, all / w.n, op_grain(8 * (uint64_t)w.n), last_part, &w);
    else
        nb_pool_for(c->pool, all / (w.n * w.inner) * w.groups, op_grain(8 * GROUP * (uint64_t)w.n),
                    group_part, &w);
}

const struct nb_op nb_op_softmax = {
    .name = "softmax",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {[AXIS] = "axis", [KIND] = "kind"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
