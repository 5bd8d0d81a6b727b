/* op/binary_u8.c: the sum or the product of two quantized arrays, broadcast as numpy does (DequantizeLinear, Add or Mul,
 * QuantizeLinear of ONNX, with their bits).
 *
 * a, b (U8) -> y (U8): round(((a - zero_a) * scale_a op (b - zero_b) * scale_b) / scale_y) + zero_y, cut to low .. high,
 * which an activation may narrow. attrs op: NB_BINARY_ADD or NB_BINARY_MUL; scale_a, scale_b, scale_y, zero_a, zero_b,
 * zero_y, low, high.
 *
 * Arrays of the same dimensions, and one with a number for each channel (the last dimension) beside the other, go through
 * the kernel as they lie; others run by run.
 */
#include "op/op.h"
#include "op/op_internal.h"
#include "op/walk.h"

enum { OP, SCALE_A, SCALE_B, SCALE_Y, ZERO_A, ZERO_B, ZERO_Y, LOW, HIGH };

#define SPREAD 256 /* copies of a number that is read again */

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *a = op_value(g, n->in[0]), *b = op_value(g, n->in[1]);
    if (n->attr[OP].i != NB_BINARY_ADD && n->attr[OP].i != NB_BINARY_MUL)
        return nb_graph_refuse(g, n, "no operation %lld on bytes", (long long)n->attr[OP].i);
    if (a->type != NB_VALUE_U8 || b->type != NB_VALUE_U8 || !nb_binary_dims(a, b, out))
        return nb_graph_refuse(g, n, "uint8 arrays whose dimensions broadcast expected");
    for (uint32_t i = ZERO_A; i <= HIGH; i++)
        if (n->attr[i].i < 0 || n->attr[i].i > 255 || n->attr[LOW].i > n->attr[HIGH].i)
            return nb_graph_refuse(g, n, "a zero point or a bound that is no byte");
    out->type = NB_VALUE_U8;
    return true;
}

struct work {
    const struct nb_op_call *call;
    struct nb_walk w;
    struct nb_binary_u8 s; /* of the whole arrays: operand 0 is a, unless they are swapped */
    uint8_t *y;            /* of one part: where the next run goes                          */
};

static void compute(const struct work *k, const struct nb_binary_u8 *s)
{
    const struct nb_kernels *kernels = k->call->kernels;
    (k->call->node->attr[OP].i == NB_BINARY_MUL ? kernels->mul_u8_u8 : kernels->add_u8_u8)(s);
}

/* Rows of y and a, each with all of b. */
static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *k = ctx;
    struct nb_binary_u8 s = k->s;
    (void)worker;
    s.y += begin * s.n;
    s.a += begin * s.n;
    s.n_rows = end - begin;
    compute(k, &s);
}

static void elements(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *k = ctx;
    struct nb_binary_u8 s = k->s;
    (void)worker;
    s.y += begin;
    s.a += begin;
    s.b += begin;
    s.n = end - begin;
    compute(k, &s);
}

static void one_run(void *ctx, size_t n, const int64_t at[NB_WALK_ARRAYS])
{
    struct work *k = ctx;
    const uint32_t last = k->w.rank - 1;
    const bool again_a = k->w.stride[0][last] == 0, again_b = k->w.stride[1][last] == 0;
    uint8_t a[SPREAD], b[SPREAD];
    const size_t most = again_a || again_b ? SPREAD : n;
    if (again_a)
        memset(a, k->s.a[at[0]], NB_MIN(n, (size_t)SPREAD));
    if (again_b)
        memset(b, k->s.b[at[1]], NB_MIN(n, (size_t)SPREAD));
    for (size_t i = 0; i < n; i += most) {
        struct nb_binary_u8 s = k->s;
        s.y = k->y + i;
        s.a = again_a ? a : k->s.a + at[0] + i;
        s.b = again_b ? b : k->s.b + at[1] + i;
        s.n = NB_MIN(n - i, most);
        compute(k, &s);
    }
    k->y += n;
}

static void runs(void *ctx, size_t begin, size_t end, unsigned worker)
{
    struct work k = *(const struct work *)ctx;
    (void)worker;
    k.y = k.s.y + begin;
    nb_walk_runs(&k.w, begin, end, one_run, &k);
}

/* Sums and products are the same bits the other way round. */
static void swap(struct nb_binary_u8 *s)
{
    const struct nb_binary_u8 t = *s;
    s->a = t.b;
    s->b = t.a;
    s->za = t.zb;
    s->zb = t.za;
    s->sa = t.sb;
    s->sb = t.sa;
}

static void run(const struct nb_op_call *c)
{
    const struct nb_attr *attr = c->node->attr;
    struct work k = {.call = c,
                     .s = {.y = c->out[0]->data,
                           .a = c->in[0]->data,
                           .b = c->in[1]->data,
                           .n_rows = 1,
                           .za = (int32_t)attr[ZERO_A].i,
                           .zb = (int32_t)attr[ZERO_B].i,
                           .zy = (int32_t)attr[ZERO_Y].i,
                           .low = (int32_t)attr[LOW].i,
                           .high = (int32_t)attr[HIGH].i,
                           .sa = (float)attr[SCALE_A].f,
                           .sb = (float)attr[SCALE_B].f,
                           .sy = (float)attr[SCALE_Y].f}};
    nb_walk_init(&k.w, c->out[0]->value);
    nb_walk_add(&k.w, c->in[0]->value);
    nb_walk_add(&k.w, c->in[1]->value);
    nb_walk_merge(&k.w);
    const size_t count = (size_t)nb_walk_count(&k.w), cols = (size_t)k.w.dim[k.w.rank - 1];
    const int64_t *sa = k.w.stride[0], *sb = k.w.stride[1];
    const bool flat = k.w.rank == 1 && sa[0] == 1 && sb[0] == 1;
    const bool row_b = k.w.rank == 2 && sb[0] == 0 && sa[1] == 1 && sb[1] == 1;
    const bool row_a = k.w.rank == 2 && sa[0] == 0 && sa[1] == 1 && sb[1] == 1;
    if (row_a)
        swap(&k.s);
    k.s.n = cols;
    if (flat)
        nb_pool_for(c->pool, count, OP_CHUNK_ELEMENTS, elements, &k);
    else if (row_a || row_b)
        nb_pool_for(c->pool, (size_t)k.w.dim[0], op_grain(cols), rows, &k);
    else
        nb_pool_for(c->pool, count, OP_CHUNK_ELEMENTS, runs, &k);
}

const struct nb_op nb_op_binary_u8 = {
    .name = "binary_u8",
    .n_in_min = 2,
    .n_in = 2,
    .attrs = {"op", "scale_a", "scale_b", "scale_y", "zero_a", "zero_b", "zero_y", "low", "high"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
