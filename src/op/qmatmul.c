/* op/qmatmul.c: products of matrices of 8-bit integers (ONNX MatMulInteger, and the first step of QLinearMatMul).
 *
 * a (U8 or I8; ..., M, K), a_zero (a's type, one or M; absent: 0), b (U8 or I8; ..., K, N), b_zero (b's type, one or N;
 * absent: 0) -> y (I32; ..., M, N): sums of (a - a_zero) * (b - b_zero), modulo 2^32. What stands before the
 * matrices is broadcast. The plain way: a row of sums at a time.
 */
#include "op/op.h"
#include "op/op_internal.h"

static bool is_byte(const struct nb_value *v)
{
    return v->type == NB_VALUE_U8 || v->type == NB_VALUE_I8;
}

static bool zero_fits(const struct nb_graph *g, uint32_t zero, const struct nb_value *of,
                      uint64_t n)
{
    const struct nb_value *z = zero ? op_value(g, zero) : NULL;
    return !z || (z->type == of->type && (nb_value_count(z) == 1 || nb_value_count(z) == n));
}

/* v without its last two dimensions. */
static struct nb_value batch_of(const struct nb_value *v)
{
    struct nb_value b = *v;
    b.rank -= 2;
    return b;
}

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *a = op_value(g, n->in[0]), *b = op_value(g, n->in[2]);
    if (!is_byte(a) || !is_byte(b) || a->rank < 2 || b->rank < 2)
        return nb_graph_refuse(g, n, "matrices of 8-bit integers expected");
    const struct nb_dim m = a->dim[a->rank - 2], cols = b->dim[b->rank - 1];
    if (!nb_dim_eq(a->dim[a->rank - 1], b->dim[b->rank - 2]))
        return nb_graph_refuse(g, n, "rows of %llu and columns of %llu",
                               (unsigned long long)a->dim[a->rank - 1].n,
                               (unsigned long long)b->dim[b->rank - 2].n);
    if (!zero_fits(g, n->in[1], a, m.n) || !zero_fits(g, n->in[3], b, cols.n))
        return nb_graph_refuse(g, n,
                               "a zero point for all, each row of the first or each column "
                               "of the second expected");
    const struct nb_value before_a = batch_of(a), before_b = batch_of(b);
    if (!nb_binary_dims(&before_a, &before_b, out))
        return nb_graph_refuse(g, n, "dimensions before the matrices do not broadcast");
    out->type = NB_VALUE_I32;
    out->dim[out->rank++] = m;
    out->dim[out->rank++] = cols;
    return true;
}

struct work {
    const struct nb_op_call *c;
    size_t m, n, k;
    int32_t *y;
};

static int32_t byte_at(const struct nb_slot *s, size_t i)
{
    return s->value->type == NB_VALUE_U8 ? ((const uint8_t *)s->data)[i]
                                         : ((const int8_t *)s->data)[i];
}

static int32_t zero_at(const struct nb_slot *s, size_t i)
{
    return !s ? 0 : byte_at(s, nb_value_count(s->value) > 1 ? i : 0);
}

/* Which of v's matrices belongs to y's number i. */
static size_t matrix_of(const struct nb_value *v, const struct nb_value *y, size_t i)
{
    size_t at = 0, step = 1;
    for (uint32_t k = 2; k < v->rank; k++) { /* from the right */
        const size_t n = (size_t)v->dim[v->rank - 1 - k].n;
        const size_t of = (size_t)y->dim[y->rank - 1 - k].n;
        at += n > 1 ? i % of * step : 0;
        i /= of;
        step *= n;
    }
    return at;
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct nb_slot *a = w->c->in[0], *b = w->c->in[2];
    const struct nb_value *y = w->c->out[0]->value;
    (void)worker;
    for (size_t row = begin; row < end; row++) {
        const size_t i = row % w->m;
        const size_t from = (matrix_of(a->value, y, row / w->m) * w->m + i) * w->k;
        const size_t other = matrix_of(b->value, y, row / w->m) * w->k * w->n;
        const int32_t zero = zero_at(w->c->in[1], i);
        int32_t *to = w->y + row * w->n;
        memset(to, 0, w->n * sizeof *to);
        for (size_t k = 0; k < w->k; k++) {
            const int32_t v = byte_at(a, from + k) - zero;
            for (size_t j = 0; j < w->n; j++) {
                const int32_t u = byte_at(b, other + k * w->n + j) - zero_at(w->c->in[3], j);
                to[j] = (int32_t)((uint32_t)to[j] + (uint32_t)(u * v));
            }
        }
    }
}

static void run(const struct nb_op_call *c)
{
    const struct nb_value *a = c->in[0]->value, *y = c->out[0]->value;
    struct work w = {.c = c,
                     .m = (size_t)y->dim[y->rank - 2].n,
                     .n = (size_t)y->dim[y->rank - 1].n,
                     .k = (size_t)a->dim[a->rank - 1].n,
                     .y = c->out[0]->data};
    if (nb_value_count(y) > 0)
        nb_pool_for(c->pool, (size_t)nb_value_count(y) / w.n, op_grain((uint64_t)w.n * w.k), rows,
                    &w);
}

const struct nb_op nb_op_qmatmul = {
    .name = "qmatmul",
    .n_in_min = 3,
    .n_in = 4,
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
