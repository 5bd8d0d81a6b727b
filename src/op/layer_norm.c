/* op/layer_norm.c: y = (x - mean x) / sqrt(var x + eps) * w + bias, row by row (Ba et al. 2016).
 *
 * x (T, n), w (n), bias (n) optional -> (T, n). attr eps.
 */
#include "op/op_internal.h"

enum { EPS };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    if (!op_is_f32_matrix(x))
        return nb_graph_refuse(g, n, "input 0 must be a float matrix");
    for (uint32_t i = 1; i < 3 && n->in[i]; i++) {
        const struct nb_value *w = op_value(g, n->in[i]);
        if (w->rank != 1 || !nb_dim_eq(w->dim[0], x->dim[1]))
            return nb_graph_refuse(g, n, "input %u must have a weight per column", i);
    }
    op_like(out, x, NB_VALUE_F32, x->dim[1].n);
    return true;
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const float eps = (float)c->node->attr[EPS].f;
    (void)worker;
    for (size_t t = begin; t < end; t++)
        c->kernels->layernorm_f32(op_row(c->out[0], t), op_row(c->in[0], t), c->in[1]->data,
                                  c->in[2] ? c->in[2]->data : NULL, c->in[0]->cols, eps);
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->in[0]->rows, op_grain(c->in[0]->cols), rows, &call);
}

const struct nb_op nb_op_layer_norm = {
    .name = "layer_norm",
    .n_in_min = 2,
    .n_in = 3,
    .attrs = {[EPS] = "eps"},
    .quantizable = -1,
    .f32_weights = 1U << 1 | 1U << 2,
    .shape = shape,
    .run = run,
};
