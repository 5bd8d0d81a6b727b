/* op/swiglu.c: silu(gate) * up, element by element (Shazeer 2020). */
#include "op/op_internal.h"

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *a = op_value(g, n->in[0]), *b = op_value(g, n->in[1]);
    if (!op_is_f32_matrix(a) || !op_is_f32_matrix(b) || !nb_dim_eq(a->dim[0], b->dim[0]) ||
        !nb_dim_eq(a->dim[1], b->dim[1]))
        return nb_graph_refuse(g, n, "inputs must be float matrices of one shape");
    op_like(out, a, NB_VALUE_F32, a->dim[1].n);
    return true;
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const float *gate = c->in[0]->data, *up = c->in[1]->data;
    float *y = c->out[0]->data;
    (void)worker;
    c->kernels->swiglu_f32(y + begin, gate + begin, up + begin, end - begin);
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->out[0]->rows * c->out[0]->cols, OP_CHUNK_ELEMENTS / 8, part, &call);
}

const struct nb_op nb_op_swiglu = {
    .name = "swiglu",
    .n_in_min = 2,
    .n_in = 2,
    .quantizable = -1,
    .shape = shape,
    .run = run,
};
