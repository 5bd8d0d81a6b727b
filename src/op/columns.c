/* op/columns.c: a range of columns: the parts of a fused matrix product (q, k and v; gate and up).
 *
 * x (T, n) -> (T, count). attrs first, count: columns first to first + count - 1 of x.
 */
#include "op/op_internal.h"

enum { FIRST, COUNT };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    const int64_t first = n->attr[FIRST].i, count = n->attr[COUNT].i;
    if (!op_is_f32_matrix(x))
        return nb_graph_refuse(g, n, "input 0 must be a float matrix");
    if (first < 0 || count < 1 || (uint64_t)count > x->dim[1].n ||
        (uint64_t)first > x->dim[1].n - (uint64_t)count)
        return nb_graph_refuse(g, n, "%lld columns from %lld on, the input has %llu",
                               (long long)count, (long long)first, (unsigned long long)x->dim[1].n);
    op_like(out, x, NB_VALUE_F32, (uint64_t)count);
    return true;
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const size_t first = (size_t)c->node->attr[FIRST].i, count = c->out[0]->cols;
    (void)worker;
    for (size_t t = begin; t < end; t++)
        memcpy(op_row(c->out[0], t), op_row(c->in[0], t) + first, count * sizeof(float));
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->out[0]->rows, op_grain(c->out[0]->cols), rows, &call);
}

static void grad_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_grad *g = ctx;
    const size_t first = (size_t)g->call->node->attr[FIRST].i, count = g->call->out[0]->cols;
    (void)worker;
    for (size_t t = begin; t < end; t++) {
        float *dx = g->in[0] + t * g->call->in[0]->cols + first;
        g->call->kernels->add_f32(dx, dx, g->out[0] + t * count, count);
    }
}

static void grad(const struct nb_op_grad *g)
{
    struct nb_op_grad work = *g;
    const struct nb_slot *y = g->call->out[0];
    if (g->in[0])
        nb_pool_for(g->call->pool, y->rows, op_grain(y->cols), grad_rows, &work);
}

const struct nb_op nb_op_columns = {
    .name = "columns",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {[FIRST] = "first", [COUNT] = "count"},
    .quantizable = -1,
    .shape = shape,
    .run = run,
    .grad_to = 1U << 0,
    .grad = grad,
};
