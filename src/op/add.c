/* op/add.c: the sum of two matrices of one shape. */
#include "op/op_internal.h"

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *a = op_value(g, n->in[0]), *b = op_value(g, n->in[1]);
    if (!op_is_f32_matrix(a) || !op_is_f32_matrix(b) || !nb_dim_eq(a->dim[0], b->dim[0]) ||
        !nb_dim_eq(a->dim[1], b->dim[1]))
        return nb_graph_refuse(g, n, "inputs must be float matrices of one shape");
    op_like(out, a, NB_VALUE_F32, a->dim[1].n);
    return true;
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const float *a = c->in[0]->data, *b = c->in[1]->data;
    float *y = c->out[0]->data;
    (void)worker;
    c->kernels->add_f32(y + begin, a + begin, b + begin, end - begin);
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->out[0]->rows * c->out[0]->cols, OP_CHUNK_ELEMENTS, part, &call);
}

static void grad(const struct nb_op_grad *g)
{
    nb_op_grad_pass(g, 0);
    nb_op_grad_pass(g, 1);
}

const struct nb_op nb_op_add = {
    .name = "add",
    .n_in_min = 2,
    .n_in = 2,
    .quantizable = -1,
    .shape = shape,
    .run = run,
    .grad_to = 1U << 0 | 1U << 1,
    .grad = grad,
};
