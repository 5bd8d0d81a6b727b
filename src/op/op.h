/* op/op.h: the operators, one file each; graph/graph.h says what an operator is. */
#ifndef NB_OP_OP_H
#define NB_OP_OP_H

#include "graph/graph.h"

const struct nb_op *const *nb_op_all(size_t *n);
const struct nb_op *nb_op_find(const char *name); /* NULL: none */

/* ---- attributes of the operators of graphs from files ---- */

enum nb_binary { /* op/binary.c */
                 NB_BINARY_ADD,
                 NB_BINARY_SUB,
                 NB_BINARY_MUL,
                 NB_BINARY_DIV,
                 NB_BINARY_POW,
                 NB_BINARY_MIN,
                 NB_BINARY_MAX,
                 NB_BINARY_MOD,   /* the sign of the divisor, of integers                */
                 NB_BINARY_FMOD,  /* the sign of the dividend                            */
                 NB_BINARY_PRELU, /* a where a >= 0, else a b                            */
                 NB_BINARY_EQ,    /* from here on the result is a bool                   */
                 NB_BINARY_LT,
                 NB_BINARY_LE,
                 NB_BINARY_GT,
                 NB_BINARY_GE,
                 NB_BINARY_AND, /* of bools                                              */
                 NB_BINARY_OR,
                 NB_BINARY_XOR,
                 NB_N_BINARY
};
enum nb_norm { /* op/norm.c */
               NB_NORM_STANDARD,
               NB_NORM_RMS,
               NB_NORM_L1,
               NB_NORM_L2,
               NB_N_NORM
};
/* The dimensions two arrays broadcast to (out's rank and dim). false: they do not. */
bool nb_binary_dims(const struct nb_value *a, const struct nb_value *b, struct nb_value *out);

enum nb_conv_act { /* op/conv.c, what follows the sum */
                   NB_CONV_NONE,
                   NB_CONV_CLIP,      /* to low .. high; ReLU is 0 .. infinity             */
                   NB_CONV_HARDSWISH, /* x times x / 6 + 1 / 2, clipped to 0 .. 1          */
                   NB_CONV_SILU,
                   NB_CONV_GELU,
                   NB_CONV_GELU_TANH,
                   NB_N_CONV_ACT
};

#endif
