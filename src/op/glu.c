/* op/glu.c: a gated activation, act(gate) * up, element by element (Shazeer 2020).
 *
 * gate, up (T, n) -> (T, n). attr act: enum nb_act; SwiGLU with NB_ACT_SILU, GeGLU with the GELUs.
 */
#include "op/op_internal.h"

enum { ACT };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *a = op_value(g, n->in[0]), *b = op_value(g, n->in[1]);
    if (!op_is_f32_matrix(a) || !op_is_f32_matrix(b) || !nb_dim_eq(a->dim[0], b->dim[0]) ||
        !nb_dim_eq(a->dim[1], b->dim[1]))
        return nb_graph_refuse(g, n, "inputs must be float matrices of one shape");
    if (!op_is_act(n->attr[ACT].i))
        return nb_graph_refuse(g, n, "no activation %lld", (long long)n->attr[ACT].i);
    op_like(out, a, NB_VALUE_F32, a->dim[1].n);
    return true;
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const float *gate = c->in[0]->data, *up = c->in[1]->data;
    float *y = c->out[0]->data;
    (void)worker;
    c->kernels->glu_f32(y + begin, gate + begin, up + begin, end - begin,
                        (enum nb_act)c->node->attr[ACT].i);
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->out[0]->rows * c->out[0]->cols, OP_CHUNK_ELEMENTS / 8, part, &call);
}

const struct nb_op nb_op_glu = {
    .name = "glu",
    .n_in_min = 2,
    .n_in = 2,
    .attrs = {[ACT] = "act"},
    .quantizable = -1,
    .shape = shape,
    .run = run,
};
