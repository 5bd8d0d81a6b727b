/* op/linear.c: y = x W^T + bias, for weights of every number format.
 *
 * x (T, k), W (n, k) as stored, or a vector (k) that counts as one row, bias (n) optional, xq (T, k) q8 optional -> (T, n). With xq, formats
 * that expand to integers multiply integers; otherwise the weights count as floats.
 */
#include "op/linear.h"

enum { LINEAR_X, LINEAR_W, LINEAR_BIAS, LINEAR_XQ };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[LINEAR_X]), *w = op_value(g, n->in[LINEAR_W]);
    if (!op_is_f32_matrix(x))
        return nb_graph_refuse(g, n, "input 0 must be a float matrix");
    if (w->kind != NB_VALUE_WEIGHT || w->rank < 1 || w->rank > 2 ||
        !nb_dim_eq(op_cols(w), x->dim[1]))
        return nb_graph_refuse(g, n, "weight %s does not have %llu columns", w->name,
                               (unsigned long long)x->dim[1].n);
    const uint64_t rows = w->rank == 1 ? 1 : w->dim[0].n;
    if (n->in[LINEAR_BIAS]) {
        const struct nb_value *b = op_value(g, n->in[LINEAR_BIAS]);
        if (b->rank != 1 || b->dim[0].n != rows)
            return nb_graph_refuse(g, n, "bias %s does not have %llu elements", b->name,
                                   (unsigned long long)rows);
    }
    op_like(out, x, NB_VALUE_F32, rows);
    return true;
}

static const struct nb_linear_way *way_of(const struct nb_op_call *c)
{
    return c->in[LINEAR_XQ] ? &nb_linear_integers : &nb_linear_floats;
}

static struct nb_linear layer_of(const struct nb_op_call *c)
{
    struct nb_linear l = {.kernels = c->kernels,
                          .w = c->in[LINEAR_W]->tensor,
                          .n_rows = c->in[LINEAR_W]->rows,
                          .k = c->in[LINEAR_W]->cols,
                          .bias = c->in[LINEAR_BIAS] ? c->in[LINEAR_BIAS]->data : NULL,
                          .x = c->in[LINEAR_X]->data,
                          .y = c->out[0]->data,
                          .y_stride = c->out[0]->cols,
                          .n_tokens = c->out[0]->rows};
    if (c->in[LINEAR_XQ])
        l.xq = nb_slot_q8(c->in[LINEAR_XQ]);
    return l;
}

static bool scratch_bytes(const struct nb_op_call *c, size_t *bytes)
{
    const struct nb_linear l = layer_of(c);
    return way_of(c)->scratch_bytes(&l, false, bytes);
}

static bool shared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    const struct nb_linear l = layer_of(c);
    *bytes = 0;
    return !way_of(c)->prepared_bytes || way_of(c)->prepared_bytes(&l, bytes);
}

struct work {
    const struct nb_op_call *c;
    const struct nb_linear_way *way;
    struct nb_linear layer;
};

static void prepare(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    (void)worker;
    w->way->prepare(&w->layer, begin, end, w->c->shared);
}

static void chunk(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    w->way->rows(&w->layer, begin, end, op_scratch(w->c, worker));
}

static void run(const struct nb_op_call *c)
{
    struct work w = {c, way_of(c), layer_of(c)};
    if (c->out[0]->rows == 0)
        return;
    if (w.way->prepare) {
        nb_pool_for(c->pool, w.layer.n_tokens, LINEAR_PREPARE_TOKENS, prepare, &w);
        w.layer.prepared = c->shared;
    }
    nb_pool_for(c->pool, w.layer.n_rows, w.way->grain(&w.layer), chunk, &w);
}

static bool grad_scratch_bytes(const struct nb_op_call *c, size_t *bytes)
{
    return nb_linear_grad_scratch((size_t)c->in[LINEAR_W]->cols, bytes);
}

static bool grad_shared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    return nb_linear_grad_shared((size_t)c->in[LINEAR_W]->cols, bytes);
}

/* Quantized activations pass the gradient straight through. */
static void grad(const struct nb_op_grad *g)
{
    const struct nb_linear l = layer_of(g->call);
    nb_op_grad_rows(g, LINEAR_BIAS);
    if (g->in[LINEAR_X])
        nb_linear_grad(&l, g->call, g->out[0], g->in[LINEAR_X]);
}

const struct nb_op nb_op_linear = {
    .name = "linear",
    .n_in_min = 2,
    .n_in = 4,
    .quantizable = LINEAR_W,
    .f32_weights = 1U << LINEAR_BIAS,
    .q8_input = LINEAR_XQ,
    .shape = shape,
    .scratch_bytes = scratch_bytes,
    .shared_bytes = shared_bytes,
    .run = run,
    .grad_to = 1U << LINEAR_X | 1U << LINEAR_BIAS,
    .grad_scratch_bytes = grad_scratch_bytes,
    .grad_shared_bytes = grad_shared_bytes,
    .grad = grad,
};
