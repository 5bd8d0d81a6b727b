/* op/glu.c: a gated activation, act(gate) * up, element by element (Shazeer 2020).
 *
 * gate, up (T, n) -> (T, n). attr act: enum nb_act; SwiGLU with NB_ACT_SILU, GeGLU with the GELUs.
 */
#include "op/op_internal.h"

enum { ACT };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *a = op_value(g, n->in[0]), *b = op_value(g, n->in[1]);
    if (!op_is_f32_matrix(a) || !op_is_f32_matrix(b) || !nb_dim_eq(a->dim[0], b->dim[0]) ||
        !nb_dim_eq(a->dim[1], b->dim[1]))
        return nb_graph_refuse(g, n, "inputs must be float matrices of one shape");
    if (!op_is_act(n->attr[ACT].i))
        return nb_graph_refuse(g, n, "no activation %lld", (long long)n->attr[ACT].i);
    op_like(out, a, NB_VALUE_F32, a->dim[1].n);
    return true;
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const float *gate = c->in[0]->data, *up = c->in[1]->data;
    float *y = c->out[0]->data;
    (void)worker;
    c->kernels->glu_f32(y + begin, gate + begin, up + begin, end - begin,
                        (enum nb_act)c->node->attr[ACT].i);
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->out[0]->rows * c->out[0]->cols, OP_CHUNK_ELEMENTS / 8, part, &call);
}

#define PIECE 256U

/* dgate += (dy up) act'(gate), dup += dy act(gate) */
static void grad_piece(const struct nb_op_grad *g, size_t i, size_t n)
{
    const enum nb_act act = (enum nb_act)g->call->node->attr[ACT].i;
    const float *gate = g->call->in[0]->data, *up = g->call->in[1]->data, *dy = g->out[0];
    float f[PIECE];
    if (g->in[0]) {
        g->call->kernels->act_grad_f32(f, gate + i, n, act);
        for (size_t j = 0; j < n; j++)
            g->in[0][i + j] += dy[i + j] * up[i + j] * f[j];
    }
    if (g->in[1]) {
        g->call->kernels->act_f32(f, gate + i, n, act);
        for (size_t j = 0; j < n; j++)
            g->in[1][i + j] += dy[i + j] * f[j];
    }
}

static void grad_part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    for (size_t i = begin; i < end; i += PIECE)
        grad_piece(ctx, i, NB_MIN(PIECE, end - i));
}

static void grad(const struct nb_op_grad *g)
{
    struct nb_op_grad work = *g;
    const struct nb_slot *y = g->call->out[0];
    nb_pool_for(g->call->pool, y->rows * y->cols, OP_CHUNK_ELEMENTS / 8, grad_part, &work);
}

const struct nb_op nb_op_glu = {
    .name = "glu",
    .n_in_min = 2,
    .n_in = 2,
    .attrs = {[ACT] = "act"},
    .quantizable = -1,
    .shape = shape,
    .run = run,
    .grad_to = 1U << 0 | 1U << 1,
    .grad_reads = 1U << 0 | 1U << 1,
    .grad = grad,
};
