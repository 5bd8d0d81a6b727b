/* op/scale.c: y = factor * x: multipliers of embeddings, residuals and logits (Gemma, Granite).
 *
 * x (T, n) -> (T, n). attr factor, rounded to f32.
 */
#include "op/op_internal.h"

enum { FACTOR };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    if (!op_is_f32_matrix(x))
        return nb_graph_refuse(g, n, "input 0 must be a float matrix");
    op_like(out, x, NB_VALUE_F32, x->dim[1].n);
    return true;
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const float factor = (float)c->node->attr[FACTOR].f, *x = c->in[0]->data;
    float *y = c->out[0]->data;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        y[i] = factor * x[i];
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->out[0]->rows * c->out[0]->cols, OP_CHUNK_ELEMENTS, part, &call);
}

static void grad_part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_grad *g = ctx;
    (void)worker;
    g->call->kernels->axpy_f32_f32(g->in[0] + begin, (float)g->call->node->attr[FACTOR].f,
                                   g->out[0] + begin, end - begin);
}

static void grad(const struct nb_op_grad *g)
{
    struct nb_op_grad work = *g;
    const struct nb_slot *y = g->call->out[0];
    if (g->in[0])
        nb_pool_for(g->call->pool, y->rows * y->cols, OP_CHUNK_ELEMENTS, grad_part, &work);
}

const struct nb_op nb_op_scale = {
    .name = "scale",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {[FACTOR] = "factor"},
    .quantizable = -1,
    .shape = shape,
    .run = run,
    .grad_to = 1U << 0,
    .grad = grad,
};
