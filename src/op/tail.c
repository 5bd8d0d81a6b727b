/* op/tail.c: the last R of T rows, so that the head works on nothing that is not wanted.
 *
 * x (T, n) -> (R, n).
 */
#include "op/op_internal.h"

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    if (!op_is_f32_matrix(x) || x->dim[0].sym != NB_SYM_TOKENS || x->dim[0].n != 1)
        return nb_graph_refuse(g, n, "input 0 must be a float matrix with a row per token");
    op_like(out, x, NB_VALUE_F32, x->dim[1].n);
    out->dim[0] = (struct nb_dim){.n = 1, .sym = NB_SYM_ROWS};
    return true;
}

static void run(const struct nb_op_call *c)
{
    const struct nb_slot *x = c->in[0], *y = c->out[0];
    if (y->rows > 0) /* else there may be no memory for them */
        memcpy(y->data, op_row(x, x->rows - y->rows), y->rows * y->cols * sizeof(float));
}

static void grad(const struct nb_op_grad *g)
{
    const struct nb_slot *x = g->call->in[0], *y = g->call->out[0];
    if (!g->in[0])
        return;
    float *dx = g->in[0] + (x->rows - y->rows) * x->cols;
    g->call->kernels->add_f32(dx, dx, g->out[0], y->rows * y->cols);
}

const struct nb_op nb_op_tail = {
    .name = "tail",
    .n_in_min = 1,
    .n_in = 1,
    .quantizable = -1,
    .shape = shape,
    .run = run,
    .grad_to = 1U << 0,
    .grad = grad,
};
