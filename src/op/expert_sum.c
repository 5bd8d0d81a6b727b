/* op/expert_sum.c: what a token's experts found, weighed and added up.
 *
 * y (T, k * n), weights (T, k) -> (T, n): sum over j of weights[t, j] * y[t, j], slot after slot with fma. A
 * slot of weight 0 is passed over: it may hold anything.
 */
#include "op/op_internal.h"

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *y = op_value(g, n->in[0]), *w = op_value(g, n->in[1]);
    if (!op_is_f32_matrix(y) || !op_is_f32_matrix(w) || !nb_dim_eq(y->dim[0], w->dim[0]) ||
        w->dim[1].n == 0 || y->dim[1].n % w->dim[1].n != 0)
        return nb_graph_refuse(g, n, "inputs must be results and weights of the same slots");
    op_like(out, y, NB_VALUE_F32, y->dim[1].n / w->dim[1].n);
    return true;
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const size_t k = c->in[1]->cols, n = c->out[0]->cols;
    (void)worker;
    for (size_t t = begin; t < end; t++) {
        const float *weights = op_row(c->in[1], t), *y = op_row(c->in[0], t);
        float *out = op_row(c->out[0], t);
        memset(out, 0, n * sizeof *out);
        for (size_t j = 0; j < k; j++)
            if (weights[j] != 0.0F)
                c->kernels->axpy_f32_f32(out, weights[j], y + j * n, n);
    }
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->out[0]->rows, op_grain(c->in[0]->cols), rows, &call);
}

const struct nb_op nb_op_expert_sum = {
    .name = "expert_sum",
    .n_in_min = 2,
    .n_in = 2,
    .quantizable = -1,
    .shape = shape,
    .run = run,
};
