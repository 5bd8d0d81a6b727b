/* op/qmatmul.c: products of matrices of 8-bit integers (ONNX MatMulInteger, and the first step of QLinearMatMul).
 *
 * a (U8 or I8; ..., M, K), a_zero (a's type, one or M; absent: 0), b (U8 or I8; ..., K, N), b_zero (b's type, one or N;
 * absent: 0) -> y (I32; ..., M, N): sums of (a - a_zero) * (b - b_zero), modulo 2^32. What stands before the
 * matrices is broadcast.
 *
 * The kernel of convolutions multiplies uint8 by int8, so a is counted from -128 if it is signed, b from 128 if it is
 * not, and zero points come afterwards:
 *
 *     sum (a - za) (b - zb) = sum a b - za sum b - zb sum a + k za zb
 *
 * b is packed into panels, with the sums of its columns, once per session if it is constant.
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

#define ROWS 32 /* of a, together */

struct plan {
    size_t m, n, k, k4, matrices; /* of b; k4: k in fours, rounded up                          */
    size_t panels, matrix;        /* bytes of the panels of one, and of all that is kept of it */
};

struct work {
    const struct nb_op_call *c;
    struct plan p;
    bool copy; /* rows of a are brought into the form that the kernel wants */
    bool sums; /* rows of a are summed: b has zero points                   */
    uint8_t *packed;
};

static bool plan_of(const struct nb_op_call *c, struct plan *p)
{
    const struct nb_value *a = c->in[0]->value, *b = c->in[2]->value;
    size_t sums = 0;
    *p = (struct plan){.m = (size_t)a->dim[a->rank - 2].n,
                       .n = (size_t)b->dim[b->rank - 1].n,
                       .k = (size_t)a->dim[a->rank - 1].n,
                       .matrices = 1};
    p->k4 = (p->k + 3) / 4;
    for (uint32_t i = 0; i + 2 < b->rank; i++)
        p->matrices *= (size_t)b->dim[i].n;
    if (!op_add_bytes(&p->panels, (p->n + NB_CONV_PANEL - 1) / NB_CONV_PANEL,
                      p->k4 * 4 * NB_CONV_PANEL) ||
        !op_add_bytes(&sums, p->n, sizeof(int32_t)))
        return false;
    return nb_add_size(&p->matrix, p->panels, sums);
}

static bool scratch_bytes(const struct nb_op_call *c, size_t *bytes)
{
    struct plan p;
    *bytes = 0;
    return plan_of(c, &p) && op_add_bytes(bytes, ROWS, p.k4 * 4) &&
           op_add_bytes(bytes, ROWS, sizeof(void *)) && op_add_bytes(bytes, 1, NB_CONV_U8_SCRATCH);
}

static bool packed_bytes(const struct nb_op_call *c, size_t *bytes)
{
    struct plan p;
    *bytes = 0;
    return plan_of(c, &p) && op_add_bytes(bytes, p.matrices, p.matrix);
}

static bool shared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    *bytes = 0;
    return c->prepared || packed_bytes(c, bytes);
}

static bool prepared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    return c->in[2]->value->kind == NB_VALUE_CONST && packed_bytes(c, bytes);
}

static int32_t byte_at(const struct nb_slot *s, size_t i)
{
    return s->value->type == NB_VALUE_U8 ? ((const uint8_t *)s->data)[i]
                                         : ((const int8_t *)s->data)[i];
}

static int32_t zero_at(const struct nb_slot *s, size_t i)
{
    return !s ? 0 : byte_at(s, nb_value_count(s->value) > 1 ? i : 0);
}

/* What is added to b's elements for the kernel, and to a's. */
static int32_t shift_b(const struct nb_op_call *c)
{
    return c->in[2]->value->type == NB_VALUE_U8 ? -128 : 0;
}

static int32_t shift_a(const struct nb_op_call *c)
{
    return c->in[0]->value->type == NB_VALUE_I8 ? 128 : 0;
}

static void pack(const struct nb_op_call *c, const struct plan *p, size_t matrix, uint8_t *to)
{
    const int32_t shift = shift_b(c);
    int32_t *sums = (void *)(to + p->panels);
    memset(to, 0, p->matrix);
    for (size_t k = 0; k < p->k; k++)
        for (size_t j = 0; j < p->n; j++) {
            const int32_t v = byte_at(c->in[2], (matrix * p->k + k) * p->n + j) + shift;
            const size_t panel = j / NB_CONV_PANEL * p->k4 + k / 4;
            to[(panel * NB_CONV_PANEL + j % NB_CONV_PANEL) * 4 + k % 4] = (uint8_t)v;
            sums[j] = (int32_t)((uint32_t)sums[j] + (uint32_t)v);
        }
}

static void prepare(const struct nb_op_call *c, void *memory)
{
    struct plan p;
    if (plan_of(c, &p))
        for (size_t i = 0; i < p.matrices; i++)
            pack(c, &p, i, (uint8_t *)memory + i * p.matrix);
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

/* Rows of a, to be read in fours, and their sums if they are wanted. */
static void take_rows(const struct work *w, size_t from, size_t n, const uint8_t **at,
                      uint8_t *copy, int32_t *sums)
{
    const struct nb_slot *a = w->c->in[0];
    const uint8_t flip = shift_a(w->c) != 0 ? 128 : 0;
    for (size_t r = 0; r < n; r++) {
        const uint8_t *x = (const uint8_t *)a->data + (from + r) * w->p.k;
        at[r] = x;
        if (w->copy) {
            uint8_t *to = copy + r * w->p.k4 * 4;
            for (size_t k = 0; k < w->p.k; k++)
                to[k] = x[k] ^ flip;
            at[r] = to;
        }
        uint32_t sum = 0;
        for (size_t k = 0; w->sums && k < w->p.k; k++)
            sum += at[r][k];
        sums[r] = (int32_t)sum;
    }
}

/* Zero points, of row i of a with this sum. */
static void correct(const struct work *w, const int32_t *columns, size_t i, int32_t sum, int32_t *y)
{
    const struct nb_slot *zb = w->c->in[3];
    const uint32_t za = (uint32_t)(zero_at(w->c->in[1], i) + shift_a(w->c));
    const uint32_t rest = (uint32_t)w->p.k * za - (uint32_t)sum;
    for (size_t j = 0; j < w->p.n; j++)
        y[j] = (int32_t)((uint32_t)y[j] - za * (uint32_t)columns[j]);
    for (size_t j = 0; w->sums && j < w->p.n; j++)
        y[j] = (int32_t)((uint32_t)y[j] + (uint32_t)(zero_at(zb, j) + shift_b(w->c)) * rest);
}

/* ROWS rows of a matrix of y each. */
static void pieces(void *ctx, size_t begin, size_t end, unsigned worker)
{
    static const size_t none = 0;
    const struct work *w = ctx;
    const struct plan *p = &w->p;
    const struct nb_value *y = w->c->out[0]->value;
    const size_t each = (p->m + ROWS - 1) / ROWS;
    uint8_t *scratch = op_scratch(w->c, worker);
    uint8_t *copy = op_take(&scratch, ROWS, p->k4 * 4);
    const uint8_t **at = op_take(&scratch, ROWS, sizeof *at);
    void *work = op_take(&scratch, NB_CONV_U8_SCRATCH, 1);
    int32_t sums[ROWS];
    for (size_t i = begin; i < end; i++) {
        const size_t matrix = i / each, first = i % each * ROWS, n = NB_MIN(p->m - first, ROWS);
        const uint8_t *b = w->packed + matrix_of(w->c->in[2]->value, y, matrix) * p->matrix;
        int32_t *to = (int32_t *)w->c->out[0]->data + (matrix * p->m + first) * p->n;
        take_rows(w, matrix_of(w->c->in[0]->value, y, matrix) * p->m + first, n, at, copy, sums);
        const struct nb_conv_u8 conv = {.y = to,
                                        .x = at,
                                        .offset = &none,
                                        .w = (const void *)b,
                                        .scratch = work,
                                        .y_stride = p->n,
                                        .n_rows = n,
                                        .n_runs = 1,
                                        .len = p->k,
                                        .n = p->n};
        w->c->kernels->conv_s32_u8_s8(&conv);
        for (size_t r = 0; r < n; r++)
            correct(w, (const void *)(b + p->panels), first + r, sums[r], to + r * p->n);
    }
}

static bool has_zeros(const struct nb_op_call *c, size_t n)
{
    bool any = false;
    for (size_t j = 0; j < n && !any; j++)
        any = zero_at(c->in[3], j) + shift_b(c) != 0;
    return any;
}

static void run(const struct nb_op_call *c)
{
    struct work w = {.c = c};
    const uint64_t n = nb_value_count(c->out[0]->value);
    if (n == 0 || !plan_of(c, &w.p))
        return;
    w.copy = shift_a(c) != 0 || w.p.k % 4 != 0;
    w.sums = has_zeros(c, w.p.n);
    w.packed = (uint8_t *)(uintptr_t)c->prepared;
    if (!w.packed) {
        prepare(c, c->shared);
        w.packed = c->shared;
    }
    nb_pool_for(c->pool, (size_t)n / w.p.n / w.p.m * ((w.p.m + ROWS - 1) / ROWS), 1, pieces, &w);
}

static uint64_t macs(const struct nb_graph *g, const struct nb_node *n)
{
    const struct nb_value *a = op_value(g, n->in[0]);
    return nb_value_count(op_value(g, n->out[0])) * a->dim[a->rank - 1].n;
}

const struct nb_op nb_op_qmatmul = {
    .name = "qmatmul",
    .n_in_min = 3,
    .n_in = 4,
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .scratch_bytes = scratch_bytes,
    .shared_bytes = shared_bytes,
    .run = run,
    .macs = macs,
    .prepared_bytes = prepared_bytes,
    .prepare = prepare,
};
