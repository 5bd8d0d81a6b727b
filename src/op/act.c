/* op/act.c: an activation function, element by element.
 *
 * x (T, n) -> (T, n). attr act: enum nb_act (SiLU and GELU: Hendrycks and Gimpel 2016; squared ReLU: So
 * et al. 2021).
 */
#include "op/op_internal.h"

enum { ACT };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    if (!op_is_f32_matrix(x))
        return nb_graph_refuse(g, n, "input 0 must be a float matrix");
    if (!op_is_act(n->attr[ACT].i))
        return nb_graph_refuse(g, n, "no activation %lld", (long long)n->attr[ACT].i);
    op_like(out, x, NB_VALUE_F32, x->dim[1].n);
    return true;
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const float *x = c->in[0]->data;
    float *y = c->out[0]->data;
    (void)worker;
    c->kernels->act_f32(y + begin, x + begin, end - begin, (enum nb_act)c->node->attr[ACT].i);
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->out[0]->rows * c->out[0]->cols, OP_CHUNK_ELEMENTS / 8, part, &call);
}

#define PIECE 256U

static void grad_part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_grad *g = ctx;
    const float *x = g->call->in[0]->data;
    float slope[PIECE];
    (void)worker;
    for (size_t i = begin; i < end; i += PIECE) {
        const size_t n = NB_MIN(PIECE, end - i);
        g->call->kernels->act_grad_f32(slope, x + i, n, (enum nb_act)g->call->node->attr[ACT].i);
        for (size_t j = 0; j < n; j++)
            g->in[0][i + j] += g->out[0][i + j] * slope[j];
    }
}

static void grad(const struct nb_op_grad *g)
{
    struct nb_op_grad work = *g;
    const struct nb_slot *y = g->call->out[0];
    if (g->in[0])
        nb_pool_for(g->call->pool, y->rows * y->cols, OP_CHUNK_ELEMENTS / 8, grad_part, &work);
}

const struct nb_op nb_op_act = {
    .name = "act",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {[ACT] = "act"},
    .quantizable = -1,
    .shape = shape,
    .run = run,
    .grad_to = 1U << 0,
    .grad_reads = 1U << 0,
    .grad = grad,
};
