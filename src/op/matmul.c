/* op/matmul.c: products of matrices, batches broadcast as numpy's matmul does (ONNX MatMul, Gemm).
 *
 * a (.., m, k), or (.., k, m) with trans_a; b (.., k, n), or (.., n, k) with trans_b; c optional, of dimensions that
 * broadcast to those of y -> y (.., m, n) = alpha a b + beta c. a, b, c of one plain type. attr trans_a, trans_b,
 * alpha, beta; of integers, which wrap around, alpha and beta are 1.
 *
 * Order of sums: f32, the canonical dot of kernels/kernels.h over k, then alpha times it, then plus beta times c, each
 * rounded; f64 and integers, one product after the other, k ascending. So no cut into blocks changes a bit.
 *
 * Floats: both sides are packed into panels and groups (kernels/panel.h) once per call, by all workers, a b that is
 * constant once per session; then blocks of y are computed. Of one to three rows nothing is packed: b is read once per row. matmul_f32.c has both.
 */
#include "op/matmul.h"

#include "op/op.h"
#include "op/walk.h"

enum { TRANS_A, TRANS_B, ALPHA, BETA };

static uint64_t from_right(const struct nb_value *v, uint32_t i)
{
    return i < v->rank ? v->dim[v->rank - 1 - i].n : 1;
}

static bool check_c(struct nb_graph *g, const struct nb_node *n, const struct nb_value *y)
{
    if (!n->in[2])
        return true;
    const struct nb_value *c = op_value(g, n->in[2]);
    if (c->type != y->type || c->rank > y->rank)
        return nb_graph_refuse(g, n, "input 2 does not go with the product");
    for (uint32_t i = 0; i < c->rank; i++)
        if (from_right(c, i) != 1 && from_right(c, i) != from_right(y, i))
            return nb_graph_refuse(g, n, "input 2 does not broadcast to the product");
    return true;
}

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *a = op_value(g, n->in[0]), *b = op_value(g, n->in[1]);
    const bool ta = n->attr[TRANS_A].i != 0, tb = n->attr[TRANS_B].i != 0;
    const bool real = a->type == NB_VALUE_F32 || a->type == NB_VALUE_F64;
    if (a->type != b->type || !op_is_plain(a) || a->type == NB_VALUE_BOOL)
        return nb_graph_refuse(g, n, "inputs of types that have no product");
    if (!real && (n->attr[ALPHA].f != 1.0 || (n->in[2] && n->attr[BETA].f != 1.0)))
        return nb_graph_refuse(g, n, "alpha and beta of integers must be 1");
    if (a->rank < 2 || b->rank < 2)
        return nb_graph_refuse(g, n, "inputs of %u and %u dimensions; 2 are needed", a->rank,
                               b->rank);
    if (from_right(a, ta ? 1 : 0) != from_right(b, tb ? 0 : 1))
        return nb_graph_refuse(g, n, "%llu columns meet %llu rows",
                               (unsigned long long)from_right(a, ta ? 1 : 0),
                               (unsigned long long)from_right(b, tb ? 0 : 1));
    out->type = a->type;
    out->rank = NB_MAX(a->rank, b->rank);
    out->dim[out->rank - 2] = nb_dim_const(from_right(a, ta ? 0 : 1));
    out->dim[out->rank - 1] = nb_dim_const(from_right(b, tb ? 1 : 0));
    for (uint32_t i = 2; i < out->rank; i++) {
        const uint64_t x = from_right(a, i), y = from_right(b, i);
        if (x != y && x != 1 && y != 1)
            return nb_graph_refuse(g, n, "batches of %llu and %llu", (unsigned long long)x,
                                   (unsigned long long)y);
        out->dim[out->rank - 1 - i] = nb_dim_const(x == 1 ? y : x);
    }
    return check_c(g, n, out);
}

/* ---- which matrices meet ---- */

static uint64_t matrices(const struct nb_value *v)
{
    uint64_t n = 1;
    for (uint32_t i = 2; i < v->rank; i++)
        n *= from_right(v, i);
    return n;
}

/* The matrix of v that is read for matrix i of y. */
static uint64_t matrix_of(const struct nb_value *v, const struct nb_value *y, uint64_t i)
{
    uint64_t at = 0, step = 1;
    for (uint32_t d = 2; d < y->rank; d++) {
        const uint64_t n = from_right(y, d), own = from_right(v, d);
        at += own == 1 ? 0 : i % n * step;
        step *= own;
        i /= n;
    }
    return at;
}

uint64_t nb_matmul_a(const struct nb_matmul *p, uint64_t batch)
{
    return p->n_a == 1 ? 0 : matrix_of(p->va, p->vy, batch);
}

uint64_t nb_matmul_b(const struct nb_matmul *p, uint64_t batch)
{
    return p->n_b == 1 ? 0 : matrix_of(p->vb, p->vy, batch);
}

/* One row of c, or one number, for all rows of all products? */
static bool c_is_row(const struct nb_value *c)
{
    return c == NULL || nb_value_count(c) == from_right(c, 0);
}

void nb_matmul_of(const struct nb_op_call *call, struct nb_matmul *p)
{
    const struct nb_attr *attr = call->node->attr;
    const bool ta = attr[TRANS_A].i != 0, tb = attr[TRANS_B].i != 0;
    *p = (struct nb_matmul){.call = call,
                            .va = call->in[0]->value,
                            .vb = call->in[1]->value,
                            .vc = call->in[2] ? call->in[2]->value : NULL,
                            .vy = call->out[0]->value,
                            .alpha = attr[ALPHA].f,
                            .beta = attr[BETA].f};
    p->m = (size_t)from_right(p->vy, 1);
    p->n = (size_t)from_right(p->vy, 0);
    p->k = (size_t)from_right(p->va, ta ? 1 : 0);
    p->n_a = (size_t)matrices(p->va);
    p->n_b = (size_t)matrices(p->vb);
    p->n_y = (size_t)matrices(p->vy);
    if (p->n_b == 1 && !ta && c_is_row(p->vc)) { /* all rows of a meet the same b */
        p->m *= p->n_y;
        p->n_a = p->n_y = 1;
    }
    p->a_row = ta && p->m > 1 ? 1 : p->k;
    p->a_k = ta && p->m > 1 ? p->m : 1;
    p->b_col = tb || p->n == 1 ? p->k : 1;
    p->b_k = tb || p->n == 1 ? 1 : p->n;
    if (p->vc != NULL) {
        p->c_cols = (size_t)from_right(p->vc, 0);
        p->c_rows = (size_t)from_right(p->vc, 1);
    }
}

/* Where row m of c's matrix for this batch starts. */
static size_t c_at(const struct nb_matmul *p, size_t batch, size_t m)
{
    const size_t matrix =
        (size_t)(p->n_y == 1 ? 0 : matrix_of(p->vc, p->vy, batch)) * p->c_rows * p->c_cols;
    return matrix + (p->c_rows == 1 ? 0 : m * p->c_cols);
}

#define FINISH(T)                                                                                  \
    do {                                                                                           \
        T *to = (T *)p->call->out[0]->data + ((size_t)batch * p->m + m) * p->n;                    \
        const T alpha = (T)p->alpha, beta = (T)p->beta;                                            \
        if (p->alpha != 1.0)                                                                       \
            for (size_t i = n; i < end; i++)                                                       \
                to[i] = (T)(alpha * to[i]);                                                        \
        if (p->vc == NULL)                                                                         \
            return;                                                                                \
        const T *c = (const T *)p->call->in[2]->data + c_at(p, batch, m);                          \
        const size_t step = p->c_cols == 1 ? 0 : 1;                                                \
        for (size_t i = n; i < end; i++)                                                           \
            to[i] = (T)(to[i] + (T)(beta * c[i * step]));                                          \
    } while (0)

void nb_matmul_finish(const struct nb_matmul *p, size_t batch, size_t m, size_t n, size_t end)
{
    FINISH(float);
}

static void finish_f64(const struct nb_matmul *p, size_t batch, size_t m, size_t n, size_t end)
{
    FINISH(double);
}

/* ---- types beside f32 ---- */

/* Row m of product `batch`: every element adds its products in the order of k. WIDE: wraps without overflow. */
#define ROW(T, WIDE, name)                                                                         \
    static void name(const struct nb_matmul *p, size_t batch, size_t m)                            \
    {                                                                                              \
        T *y = (T *)p->call->out[0]->data + (batch * p->m + m) * p->n;                             \
        const T *a = (const T *)p->call->in[0]->data + nb_matmul_a(p, batch) * p->m * p->k;        \
        const T *b = (const T *)p->call->in[1]->data + nb_matmul_b(p, batch) * p->k * p->n;        \
        for (size_t i = 0; i < p->n; i++)                                                          \
            y[i] = 0;                                                                              \
        for (size_t k = 0; k < p->k; k++) {                                                        \
            const WIDE x = (WIDE)a[m * p->a_row + k * p->a_k];                                     \
            for (size_t i = 0; i < p->n; i++)                                                      \
                y[i] = (T)((WIDE)y[i] + x * (WIDE)b[k * p->b_k + i * p->b_col]);                   \
        }                                                                                          \
    }

#define ROW_INT(T, name)                                                                           \
    ROW(T, uint64_t, sum_##name)                                                                   \
    static void name(const struct nb_matmul *p, size_t batch, size_t m)                            \
    {                                                                                              \
        sum_##name(p, batch, m);                                                                   \
        if (p->vc == NULL)                                                                         \
            return;                                                                                \
        T *y = (T *)p->call->out[0]->data + (batch * p->m + m) * p->n;                             \
        const T *c = (const T *)p->call->in[2]->data + c_at(p, batch, m);                          \
        for (size_t i = 0; i < p->n; i++)                                                          \
            y[i] = (T)((uint64_t)y[i] + (uint64_t)c[p->c_cols == 1 ? 0 : i]);                      \
    }

ROW(double, double, row_f64)
ROW_INT(int64_t, row_i64)
ROW_INT(int32_t, row_i32)
ROW_INT(uint32_t, row_u32)
ROW_INT(int16_t, row_i16)
ROW_INT(uint16_t, row_u16)
ROW_INT(int8_t, row_i8)
ROW_INT(uint8_t, row_u8)

static void one_row(const struct nb_matmul *p, size_t batch, size_t m)
{
    switch (p->va->type) {
    case NB_VALUE_F64:
        row_f64(p, batch, m);
        finish_f64(p, batch, m, 0, p->n);
        return;
    case NB_VALUE_I64:
        row_i64(p, batch, m);
        return;
    case NB_VALUE_I32:
        row_i32(p, batch, m);
        return;
    case NB_VALUE_U32:
        row_u32(p, batch, m);
        return;
    case NB_VALUE_I16:
        row_i16(p, batch, m);
        return;
    case NB_VALUE_U16:
        row_u16(p, batch, m);
        return;
    case NB_VALUE_I8:
        row_i8(p, batch, m);
        return;
    case NB_VALUE_U8:
        row_u8(p, batch, m);
        return;
    case NB_VALUE_F32: /* matmul_f32.c */
    case NB_VALUE_BOOL:
    case NB_VALUE_Q8:
    case NB_VALUE_STORED:
    default:
        return;
    }
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_matmul *p = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        one_row(p, i / p->m, i % p->m);
}

static bool scratch_bytes(const struct nb_op_call *call, size_t *bytes)
{
    *bytes = 0;
    return call->in[0]->value->type != NB_VALUE_F32 || nb_matmul_f32_scratch(call, bytes);
}

static bool shared_bytes(const struct nb_op_call *call, size_t *bytes)
{
    *bytes = 0;
    return call->in[0]->value->type != NB_VALUE_F32 || nb_matmul_f32_shared(call, bytes);
}

static void run(const struct nb_op_call *call)
{
    struct nb_matmul p;
    nb_matmul_of(call, &p);
    if (p.n_y * p.m * p.n == 0)
        return;
    if (p.va->type == NB_VALUE_F32)
        nb_matmul_f32(&p);
    else
        nb_pool_for(call->pool, p.n_y * p.m, op_grain((uint64_t)p.n * p.k), part, &p);
}

static uint64_t macs(const struct nb_graph *g, const struct nb_node *n)
{
    const struct nb_value *a = &g->values[n->in[0]];
    return nb_value_count(&g->values[n->out[0]]) * from_right(a, n->attr[TRANS_A].i != 0 ? 1 : 0);
}

const struct nb_op nb_op_matmul = {
    .name = "matmul",
    .n_in_min = 2,
    .n_in = 3,
    .attrs = {[TRANS_A] = "trans_a", [TRANS_B] = "trans_b", [ALPHA] = "alpha", [BETA] = "beta"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .scratch_bytes = scratch_bytes,
    .shared_bytes = shared_bytes,
    .prepared_bytes = nb_matmul_prepared_bytes,
    .prepare = nb_matmul_prepare,
    .run = run,
    .macs = macs,
};
