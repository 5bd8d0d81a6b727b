/* op/quantize_q8.c: activations to 8 bits with a scale per 32, once for all products that share them.
 *
 * x (T, k) f32 -> (T, k) q8, k a multiple of 32. Put in by the session, not by architectures.
 */
#include "op/op_internal.h"

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    if (!op_is_f32_matrix(x) || x->dim[1].n % NB_Q8_BLOCK != 0)
        return nb_graph_refuse(g, n, "input 0 must be a float matrix, its columns a multiple of %d",
                               NB_Q8_BLOCK);
    op_like(out, x, NB_VALUE_Q8, x->dim[1].n);
    return true;
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_op_call *c = ctx;
    const struct nb_slot *out = c->out[0];
    const size_t k = out->cols, n = out->rows * k;
    int8_t *q = out->data;
    void *scales = q + n, *sums = q + n + n / NB_Q8_BLOCK * sizeof(float);
    float *d = scales;
    int16_t *sum16 = sums;
    (void)worker;
    for (size_t t = begin; t < end; t++)
        c->kernels->quant_q8_f32(q + t * k, d + t * (k / NB_Q8_BLOCK), sum16 + t * (k / 16),
                                 op_row(c->in[0], t), k);
}

static void run(const struct nb_op_call *c)
{
    struct nb_op_call call = *c;
    nb_pool_for(c->pool, c->out[0]->rows, op_grain(c->out[0]->cols), rows, &call);
}

const struct nb_op nb_op_quantize_q8 = {
    .name = "quantize_q8",
    .n_in_min = 1,
    .n_in = 1,
    .quantizable = -1,
    .shape = shape,
    .run = run,
};
