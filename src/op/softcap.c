/* op/softcap.c: y = cap * tanh(x / cap): values stay between -cap and cap (Gemma Team 2024).
 *
 * x (T, n) -> (T, n). attr cap: above 0.
 */
#include "op/op_internal.h"

enum { CAP };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    if (!op_is_f32_matrix(x))
        return nb_graph_refuse(g, n, "input 0 must be a float matrix");
    if (!(n->attr[CAP].f > 0.0))
        return nb_graph_refuse(g, n, "a cap of %g; expected one above 0", n->attr[CAP].f);
    op_like(out, x, NB_VALUE_F32, x->dim[1].n);
    return true;
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const double cap = c->node->attr[CAP].f;
    const float *x = c->in[0]->data;
    float *y = c->out[0]->data;
    (void)worker;
    c->kernels->softcap_f32(y + begin, x + begin, end - begin, (float)(1.0 / cap), (float)cap);
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->out[0]->rows * c->out[0]->cols, OP_CHUNK_ELEMENTS / 8, part, &call);
}

#define PIECE 256U

/* dy (1 - (y / cap)^2), y made again. */
static void grad_part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_grad *g = ctx;
    const double cap = g->call->node->attr[CAP].f;
    const float *x = g->call->in[0]->data, inverse = (float)(1.0 / cap);
    float t[PIECE];
    (void)worker;
    for (size_t i = begin; i < end; i += PIECE) {
        const size_t n = NB_MIN(PIECE, end - i);
        g->call->kernels->softcap_f32(t, x + i, n, inverse, 1.0F);
        for (size_t j = 0; j < n; j++)
            g->in[0][i + j] += g->out[0][i + j] * (1.0F - t[j] * t[j]);
    }
}

static void grad(const struct nb_op_grad *g)
{
    struct nb_op_grad work = *g;
    const struct nb_slot *y = g->call->out[0];
    if (g->in[0])
        nb_pool_for(g->call->pool, y->rows * y->cols, OP_CHUNK_ELEMENTS / 8, grad_part, &work);
}

const struct nb_op nb_op_softcap = {
    .name = "softcap",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {[CAP] = "cap"},
    .quantizable = -1,
    .shape = shape,
    .run = run,
    .grad_to = 1U << 0,
    .grad_reads = 1U << 0,
    .grad = grad,
};
