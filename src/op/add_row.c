/* op/add_row.c: adds one vector to every row: the embedding of a token type (Devlin et al. 2019).
 *
 * x (T, n), w (n) or (rows, n), whose first row counts -> (T, n).
 */
#include "op/op_internal.h"

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]), *w = op_value(g, n->in[1]);
    if (!op_is_f32_matrix(x))
        return nb_graph_refuse(g, n, "input 0 must be a float matrix");
    if (w->kind != NB_VALUE_WEIGHT || w->rank < 1 || w->rank > 2 ||
        !nb_dim_eq(op_cols(w), x->dim[1]))
        return nb_graph_refuse(g, n, "input 1 must be weights of %llu columns",
                               (unsigned long long)x->dim[1].n);
    op_like(out, x, NB_VALUE_F32, x->dim[1].n);
    return true;
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    (void)worker;
    for (size_t t = begin; t < end; t++)
        c->kernels->add_f32(op_row(c->out[0], t), op_row(c->in[0], t), c->in[1]->data,
                            c->out[0]->cols);
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->out[0]->rows, op_grain(c->out[0]->cols), rows, &call);
}

static void grad(const struct nb_op_grad *g)
{
    nb_op_grad_pass(g, 0);
    nb_op_grad_rows(g, 1);
}

const struct nb_op nb_op_add_row = {
    .name = "add_row",
    .n_in_min = 2,
    .n_in = 2,
    .quantizable = -1,
    .f32_weights = 1U << 1,
    .shape = shape,
    .run = run,
    .grad_to = 1U << 0 | 1U << 1,
    .grad = grad,
};
