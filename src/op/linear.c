/* op/linear.c: y = x W^T + bias, for weights of every number format.
 *
 * x (T, k), W (n, k) as stored, bias (n) optional, xq (T, k) q8 optional -> (T, n). With xq, formats
 * that expand to integers multiply integers; otherwise the weights count as floats.
 */
#include "op/linear.h"

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[LINEAR_X]), *w = op_value(g, n->in[LINEAR_W]);
    if (!op_is_f32_matrix(x))
        return nb_graph_refuse(g, n, "input 0 must be a float matrix");
    if (w->kind != NB_VALUE_WEIGHT || w->rank != 2 || !nb_dim_eq(w->dim[1], x->dim[1]))
        return nb_graph_refuse(g, n, "weight %s does not have %llu columns", w->name,
                               (unsigned long long)x->dim[1].n);
    if (n->in[LINEAR_BIAS]) {
        const struct nb_value *b = op_value(g, n->in[LINEAR_BIAS]);
        if (b->rank != 1 || !nb_dim_eq(b->dim[0], w->dim[0]))
            return nb_graph_refuse(g, n, "bias %s does not have %llu elements", b->name,
                                   (unsigned long long)w->dim[0].n);
    }
    op_like(out, x, NB_VALUE_F32, w->dim[0].n);
    return true;
}

static bool scratch_bytes(const struct nb_op_call *c, size_t *bytes)
{
    return c->in[LINEAR_XQ] ? nb_linear_block_scratch(c, bytes) : nb_linear_float_scratch(c, bytes);
}

static void run(const struct nb_op_call *c)
{
    if (c->out[0]->rows == 0)
        return;
    if (c->in[LINEAR_XQ])
        nb_linear_block(c);
    else
        nb_linear_float(c);
}

const struct nb_op nb_op_linear = {
    .name = "linear",
    .n_in_min = 2,
    .n_in = 4,
    .quantizable = LINEAR_W,
    .f32_weights = 1U << LINEAR_BIAS,
    .shape = shape,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
