/* op/unary_f32.h: the functions of op/unary.c that nets run hot, of floats. */
#ifndef NB_OP_UNARY_F32_H
#define NB_OP_UNARY_F32_H

#include "op/op.h"

/* y (n) := op(x (n)), y != x. false: not one of these; nothing was done. */
bool nb_unary_f32(float *y, const float *x, size_t n, enum nb_unary op, float alpha, float beta,
                  const struct nb_kernels *k);

#endif
