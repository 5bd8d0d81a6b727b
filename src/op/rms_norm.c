/* op/rms_norm.c: y = x / sqrt(mean(x^2) + eps) * w, row by row (Zhang and Sennrich 2019).
 *
 * x (T, n), w (m), m a divisor of n -> (T, n). attr eps. With m < n each run of m columns is normalized
 * on its own, all by the same weights: the heads of queries and keys (Henry et al. 2020).
 */
#include "op/op_internal.h"

#include <math.h>

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

/* ---- gradient: with r = 1 / sqrt(mean(x^2) + eps) and g = w dy,
 * dx += r g - x r^3 mean(g x),  dw += sum over rows of dy x r ---- */

/* One run of columns. Returns r. */
static float grad_run(const struct nb_op_call *c, float *dx, const float *dy, const float *x,
                      float *g)
{
    const size_t n = c->in[1]->cols;
    const float *w = c->in[1]->data, eps = (float)c->node->attr[EPS].f;
    const float r = 1.0F / sqrtf(c->kernels->dot_f32_f32(x, x, n) / (float)n + eps);
    if (!dx)
        return r;
    for (size_t i = 0; i < n; i++)
        g[i] = w[i] * dy[i];
    const float mean = c->kernels->dot_f32_f32(g, x, n) / (float)n;
    c->kernels->axpy_f32_f32(dx, r, g, n);
    c->kernels->axpy_f32_f32(dx, -(mean * r * r * r), x, n);
    return r;
}

static void grad_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_grad *g = ctx;
    const struct nb_op_call *c = g->call;
    const size_t n = c->in[0]->cols, run = c->in[1]->cols;
    float *r = c->shared;
    for (size_t i = begin * (n / run); i < end * (n / run); i++)
        r[i] = grad_run(c, g->in[0] ? g->in[0] + i * run : NULL, g->out[0] + i * run,
                        (const float *)c->in[0]->data + i * run, op_scratch(c, worker));
}

static void grad_weights(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_grad *g = ctx;
    const struct nb_op_call *c = g->call;
    const size_t run = c->in[1]->cols, n = c->in[0]->rows * (c->in[0]->cols / run);
    const float *r = c->shared, *x = c->in[0]->data, *dy = g->out[0];
    (void)worker;
    for (size_t i = 0; i < n; i++, x += run, dy += run)
        for (size_t j = begin; j < end; j++)
            g->in[1][j] += dy[j] * (x[j] * r[i]);
}

static bool grad_scratch_bytes(const struct nb_op_call *c, size_t *bytes)
{
    *bytes = 0;
    return op_add_bytes(bytes, c->in[1]->cols, sizeof(float));
}

static bool grad_shared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    *bytes = 0;
    return op_add_bytes(bytes, c->in[0]->rows * (c->in[0]->cols / c->in[1]->cols), sizeof(float));
}

static void grad(const struct nb_op_grad *g)
{
    struct nb_op_grad work = *g;
    const struct nb_slot *x = g->call->in[0];
    nb_pool_for(g->call->pool, x->rows, op_grain(x->cols), grad_rows, &work);
    if (g->in[1])
        nb_pool_for(g->call->pool, g->call->in[1]->cols, op_grain(x->rows), grad_weights, &work);
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
    .grad_to = 1U << 0 | 1U << 1,
    .grad_reads = 1U << 0,
    .grad_scratch_bytes = grad_scratch_bytes,
    .grad_shared_bytes = grad_shared_bytes,
    .grad = grad,
};
