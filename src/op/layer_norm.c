/* op/layer_norm.c: y = (x - mean x) / sqrt(var x + eps) * w + bias, row by row (Ba et al. 2016).
 *
 * x (T, n), w (n), bias (n) optional -> (T, n). attr eps.
 */
#include "op/op_internal.h"

#include <math.h>

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

/* ---- gradient: with z = (x - mean x) r, r = 1 / sqrt(var x + eps), g = w dy,
 * dx += r (g - mean g - z mean(g z)),  dw += sum over rows of dy z,  dbias += sum over rows of dy.
 * Sums in double, column after column ---- */

struct moments {
    double mean, r;
};

static struct moments moments_of(const float *x, size_t n, double eps)
{
    struct moments m = {0.0, 0.0};
    double spread = 0.0;
    for (size_t i = 0; i < n; i++)
        m.mean += (double)x[i];
    m.mean /= (double)n;
    for (size_t i = 0; i < n; i++)
        spread += ((double)x[i] - m.mean) * ((double)x[i] - m.mean);
    m.r = 1.0 / sqrt(spread / (double)n + eps);
    return m;
}

static void grad_row(float *dx, const float *dy, const float *x, const float *w, size_t n,
                     struct moments m)
{
    double a = 0.0, b = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double g = (double)w[i] * (double)dy[i];
        a += g;
        b += g * (((double)x[i] - m.mean) * m.r);
    }
    a /= (double)n;
    b /= (double)n;
    for (size_t i = 0; i < n; i++) {
        const double g = (double)w[i] * (double)dy[i], z = ((double)x[i] - m.mean) * m.r;
        dx[i] += (float)(m.r * (g - a - z * b));
    }
}

static void grad_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_grad *g = ctx;
    const struct nb_op_call *c = g->call;
    const size_t n = c->in[0]->cols;
    const double eps = (double)(float)c->node->attr[EPS].f;
    struct moments *m = c->shared;
    (void)worker;
    for (size_t t = begin; t < end; t++) {
        m[t] = moments_of(op_row(c->in[0], t), n, eps);
        if (g->in[0])
            grad_row(g->in[0] + t * n, g->out[0] + t * n, op_row(c->in[0], t), c->in[1]->data, n,
                     m[t]);
    }
}

static void grad_weights(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_grad *g = ctx;
    const struct nb_op_call *c = g->call;
    const size_t n = c->in[0]->cols;
    const struct moments *m = c->shared;
    (void)worker;
    for (size_t t = 0; t < c->in[0]->rows; t++) {
        const float *x = op_row(c->in[0], t), *dy = g->out[0] + t * n;
        for (size_t j = begin; j < end; j++)
            g->in[1][j] += dy[j] * (float)(((double)x[j] - m[t].mean) * m[t].r);
    }
}

static bool grad_shared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    *bytes = 0;
    return op_add_bytes(bytes, c->in[0]->rows, sizeof(struct moments));
}

static void grad(const struct nb_op_grad *g)
{
    struct nb_op_grad work = *g;
    const struct nb_slot *x = g->call->in[0];
    nb_pool_for(g->call->pool, x->rows, op_grain(x->cols), grad_rows, &work);
    if (g->in[1])
        nb_pool_for(g->call->pool, x->cols, op_grain(x->rows), grad_weights, &work);
    nb_op_grad_rows(g, 2);
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
    .grad_to = 1U << 0 | 1U << 1 | 1U << 2,
    .grad_reads = 1U << 0,
    .grad_shared_bytes = grad_shared_bytes,
    .grad = grad,
};
