/* op/linear.h: the ways to compute a linear layer. All give the same bits for a token whatever the
 * number of tokens, see kernels/kernels.h for the two orders (floats, integer blocks). */
#ifndef NB_OP_LINEAR_H
#define NB_OP_LINEAR_H

#include "op/op_internal.h"

enum { LINEAR_X, LINEAR_W, LINEAR_BIAS, LINEAR_XQ };

/* Weights as floats: stored so, or decoded because float activations are wanted. */
bool nb_linear_float_scratch(const struct nb_op_call *c, size_t *bytes);
void nb_linear_float(const struct nb_op_call *c);

/* Weights as integer blocks times quantized activations (input LINEAR_XQ). */
bool nb_linear_block_scratch(const struct nb_op_call *c, size_t *bytes);
void nb_linear_block(const struct nb_op_call *c);

static inline const uint8_t *linear_w_row(const struct nb_op_call *c, size_t row)
{
    const struct nb_tensor *w = c->in[LINEAR_W]->tensor;
    return w->data + row * (w->bytes / w->shape.dim[0]);
}

/* y[t, begin..end) += bias, for all tokens: called by the chunk that made them. */
static inline void linear_add_bias(const struct nb_op_call *c, size_t begin, size_t end)
{
    if (!c->in[LINEAR_BIAS])
        return;
    const float *bias = (const float *)c->in[LINEAR_BIAS]->data + begin;
    for (size_t t = 0; t < c->out[0]->rows; t++) {
        float *y = op_row(c->out[0], t) + begin;
        c->kernels->add_f32(y, y, bias, end - begin);
    }
}

#endif
