/* op/rms_norm.c: y = x / sqrt(mean(x^2) + eps) * w, row by row (Zhang and Sennrich 2019).
 *
 * x (T, n), w (m), m a divisor of n -> (T, n). attr eps. With m < n each run of m columns is normalized
 * on its own, all by the same weights: the heads of queries and keys (Henry et al. 2020).
 */
#include "op/op_internal.h"

enum { EPS };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]), *w = op_value(g, n->in[1]);
    if (!op_is_f32_matrix(x))
        return nb_graph_refuse(g, n, "input 0 must be a float matrix");
    if (w->rank != 1 || w->dim[0].n == 0 || x->dim[1].n % w->dim[0].n != 0)
        return nb_graph_refuse(g, n,
                               "input 1 must have a weight per column, or per column of a run");
    op_like(out, x, NB_VALUE_F32, x->dim[1].n);
    return true;
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const float eps = (float)c->node->attr[EPS].f;
    const size_t n = c->in[0]->cols, run = c->in[1]->cols;
    (void)worker;
    for (size_t t = begin; t < end; t++)
        for (size_t i = 0; i < n; i += run)
            c->kernels->rmsnorm_f32(op_row(c->out[0], t) + i, op_row(c->in[0], t) + i,
                                    c->in[1]->data, run, eps);
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->in[0]->rows, op_grain(c->in[0]->cols), rows, &call);
}

const struct nb_op nb_op_rms_norm = {
    .name = "rms_norm",
    .n_in_min = 2,
    .n_in = 2,
    .attrs = {[EPS] = "eps"},
    .quantizable = -1,
    .f32_weights = 1U << 1,
    .shape = shape,
    .run = run,
};
