/* op/rope.c: rotates pairs of each head by the position's angles (Su et al. 2021).
 *
 * x (T, heads * head_dim), table (T, rope_dim) -> the same shape as x. The pairs are (2i, 2i + 1), or
 * (i, i + rope_dim / 2) when `halves`; the output has them at (2i, 2i + 1) either way, so that
 * attention sees the same bits from both pairings. Columns beyond rope_dim are copied. Without a table
 * nothing rotates: pairs of whole heads are put in their places and that is all.
 */
#include "op/op_internal.h"

enum { HEADS, HALVES };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]), *table = op_value(g, n->in[1]);
    const uint64_t heads = (uint64_t)n->attr[HEADS].i;
    const bool rotates = n->in[1] != 0;
    if (!op_is_f32_matrix(x) ||
        (rotates && (!op_is_f32_matrix(table) || !nb_dim_eq(x->dim[0], table->dim[0]))))
        return nb_graph_refuse(g, n, "inputs must be float matrices of equal rows");
    if (n->attr[HEADS].i < 1 || x->dim[1].n % heads != 0)
        return nb_graph_refuse(g, n, "columns are no multiple of %lld heads",
                               (long long)n->attr[HEADS].i);
    const uint64_t head_dim = x->dim[1].n / heads, turned = rotates ? table->dim[1].n : head_dim;
    if (turned % 2 != 0 || turned > head_dim)
        return nb_graph_refuse(g, n, "%llu rotated dimensions do not fit into a head",
                               (unsigned long long)turned);
    op_like(out, x, NB_VALUE_F32, x->dim[1].n);
    return true;
}

static void place(float *y, const float *x, size_t head_dim, bool halves)
{
    if (!halves) {
        memcpy(y, x, head_dim * sizeof *y);
        return;
    }
    for (size_t i = 0; i < head_dim / 2; i++) {
        y[2 * i] = x[i];
        y[2 * i + 1] = x[head_dim / 2 + i];
    }
}

static void place_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const size_t heads = (size_t)c->node->attr[HEADS].i, head_dim = c->in[0]->cols / heads;
    (void)worker;
    for (size_t t = begin; t < end; t++)
        for (size_t h = 0; h < heads; h++)
            place(op_row(c->out[0], t) + h * head_dim, op_row(c->in[0], t) + h * head_dim, head_dim,
                  c->node->attr[HALVES].i != 0);
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const size_t heads = (size_t)c->node->attr[HEADS].i, head_dim = c->in[0]->cols / heads;
    const size_t rope_dim = c->in[1]->cols;
    (void)worker;
    for (size_t t = begin; t < end; t++) {
        const float *cosine = op_row(c->in[1], t), *sine = cosine + rope_dim / 2;
        for (size_t h = 0; h < heads; h++) {
            const float *x = op_row(c->in[0], t) + h * head_dim;
            float *y = op_row(c->out[0], t) + h * head_dim;
            c->kernels->rope_f32(y, x, cosine, sine, rope_dim / 2, c->node->attr[HALVES].i != 0);
            memcpy(y + rope_dim, x + rope_dim, (head_dim - rope_dim) * sizeof *y);
        }
    }
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->in[0]->rows, op_grain(c->in[0]->cols),
                c->node->in[1] != 0 ? rows : place_rows, &call);
}

/* The pairs of dy, turned back, to where x has them; table: cosines, then sines, or NULL. */
static void turn_back(float *dx, const float *dy, const float *table, size_t n_pairs, bool halves)
{
    for (size_t i = 0; i < n_pairs; i++) {
        const float c = table ? table[i] : 1.0F, s = table ? table[n_pairs + i] : 0.0F;
        dx[halves ? i : 2 * i] += dy[2 * i] * c + dy[2 * i + 1] * s;
        dx[halves ? n_pairs + i : 2 * i + 1] += dy[2 * i + 1] * c - dy[2 * i] * s;
    }
}

static void grad_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_grad *g = ctx;
    const struct nb_op_call *c = g->call;
    const size_t heads = (size_t)c->node->attr[HEADS].i, cols = c->in[0]->cols;
    const size_t head_dim = cols / heads;
    const size_t turned = c->node->in[1] != 0 ? c->in[1]->cols : head_dim / 2 * 2;
    (void)worker;
    for (size_t t = begin; t < end; t++)
        for (size_t h = 0; h < heads; h++) {
            float *dx = g->in[0] + t * cols + h * head_dim;
            const float *dy = g->out[0] + t * cols + h * head_dim;
            turn_back(dx, dy, c->node->in[1] != 0 ? op_row(c->in[1], t) : NULL, turned / 2,
                      c->node->attr[HALVES].i != 0);
            c->kernels->add_f32(dx + turned, dx + turned, dy + turned, head_dim - turned);
        }
}

static void grad(const struct nb_op_grad *g)
{
    struct nb_op_grad work = *g;
    const struct nb_slot *x = g->call->in[0];
    if (g->in[0])
        nb_pool_for(g->call->pool, x->rows, op_grain(x->cols), grad_rows, &work);
}

const struct nb_op nb_op_rope = {
    .name = "rope",
    .n_in_min = 1,
    .n_in = 2,
    .attrs = {[HEADS] = "heads", [HALVES] = "halves"},
    .quantizable = -1,
    .shape = shape,
    .run = run,
    .grad_to = 1U << 0,
    .grad_reads = 1U << 1,
    .grad = grad,
};
