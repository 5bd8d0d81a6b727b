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
                 NB_BINARY_MOD,     /* the sign of the divisor, of integers                */
                 NB_BINARY_FMOD,    /* the sign of the dividend                            */
                 NB_BINARY_PRELU,   /* a where a >= 0, else a b                            */
                 NB_BINARY_BIT_AND, /* of integers, as the next four                     */
                 NB_BINARY_BIT_OR,
                 NB_BINARY_BIT_XOR,
                 NB_BINARY_SHIFT_LEFT,  /* 0 if by all the bits there are, or more       */
                 NB_BINARY_SHIFT_RIGHT, /* I64 stands for unsigned integers */
                 NB_BINARY_EQ,          /* from here on the result is a bool                   */
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
enum nb_recurrent_act { /* op/recurrent.c; a, b: numbers of the function */
                        NB_RECURRENT_TANH,
                        NB_RECURRENT_SIGMOID,
                        NB_RECURRENT_RELU,
                        NB_RECURRENT_AFFINE,           /* a x + b                    */
                        NB_RECURRENT_LEAKY_RELU,       /* a x below 0                */
                        NB_RECURRENT_THRESHOLDED_RELU, /* x from a on, else 0        */
                        NB_RECURRENT_SCALED_TANH,      /* a tanh(b x)                */
                        NB_RECURRENT_HARD_SIGMOID,     /* a x + b within 0 .. 1      */
                        NB_RECURRENT_ELU,              /* a (exp x - 1) below 0      */
                        NB_RECURRENT_SOFTSIGN,         /* x / (1 + |x|)              */
                        NB_RECURRENT_SOFTPLUS,         /* log(1 + exp x)             */
                        NB_N_RECURRENT_ACT
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

enum nb_unary {               /* op/unary.c; attributes alpha, beta in brackets */
                NB_UNARY_ABS, /* to CLIP: of floats and integers                          */
                NB_UNARY_NEG,
                NB_UNARY_SIGN,
                NB_UNARY_RELU,
                NB_UNARY_CLIP, /* (low, high)                                              */
                NB_UNARY_CEIL,
                NB_UNARY_FLOOR,
                NB_UNARY_ROUND, /* half to even                                            */
                NB_UNARY_SQRT,
                NB_UNARY_RECIPROCAL,
                NB_UNARY_EXP,
                NB_UNARY_LOG,
                NB_UNARY_ERF,
                NB_UNARY_SIN,
                NB_UNARY_COS,
                NB_UNARY_TAN,
                NB_UNARY_ASIN,
                NB_UNARY_ACOS,
                NB_UNARY_ATAN,
                NB_UNARY_SINH,
                NB_UNARY_COSH,
                NB_UNARY_TANH,
                NB_UNARY_ASINH,
                NB_UNARY_ACOSH,
                NB_UNARY_ATANH,
                NB_UNARY_SIGMOID,
                NB_UNARY_LEAKY_RELU, /* (slope below 0)                                    */
                NB_UNARY_ELU,  /* (height, factor): factor x, below 0 factor height (exp x - 1) */
                NB_UNARY_CELU, /* (a): x, below 0 a (exp(x / a) - 1)                 */
                NB_UNARY_THRESHOLDED_RELU, /* (a): x above a, else 0                       */
                NB_UNARY_HARD_SIGMOID,     /* (a, b): a x + b, between 0 and 1             */
                NB_UNARY_HARD_SWISH,       /* x times (x / 6 + 0.5, between 0 and 1)       */
                NB_UNARY_SOFTPLUS,         /* log(1 + exp x)                               */
                NB_UNARY_SOFTSIGN,         /* x / (1 + |x|)                                */
                NB_UNARY_MISH,             /* x tanh(softplus x)                           */
                NB_UNARY_GELU,
                NB_UNARY_GELU_TANH,
                NB_UNARY_SWISH,       /* (a): x sigmoid(a x)                               */
                NB_UNARY_SHRINK,      /* (l, b): x + b below -l, x - b above l, else 0     */
                NB_UNARY_IS_NAN,      /* gives bools                                       */
                NB_UNARY_IS_INF,      /* (is -inf one?, is inf?): gives bools              */
                NB_UNARY_NOT,         /* of bools                                          */
                NB_UNARY_BITWISE_NOT, /* of integers                                       */
                NB_N_UNARY
};

enum nb_reduce { /* op/reduce.c */
                 NB_REDUCE_SUM,
                 NB_REDUCE_MEAN,
                 NB_REDUCE_L1,
                 NB_REDUCE_L2,
                 NB_REDUCE_SUM_SQUARE,
                 NB_REDUCE_LOG_SUM,
                 NB_REDUCE_LOG_SUM_EXP,
                 NB_REDUCE_PROD,
                 NB_REDUCE_MAX, /* from here on also of 8-bit integers and bools           */
                 NB_REDUCE_MIN,
                 NB_N_REDUCE
};

enum nb_softmax { NB_SOFTMAX, NB_SOFTMAX_LOG, NB_SOFTMAX_HARD, NB_N_SOFTMAX }; /* op/softmax.c */

enum nb_pad { /* op/pad.c */
              NB_PAD_CONSTANT,
              NB_PAD_REFLECT,
              NB_PAD_EDGE,
              NB_PAD_WRAP,
              NB_N_PAD
};

enum nb_scatter { /* op/scatter.c */
                  NB_SCATTER_SET,
                  NB_SCATTER_ADD,
                  NB_SCATTER_MUL,
                  NB_SCATTER_MIN,
                  NB_SCATTER_MAX,
                  NB_N_SCATTER
};

enum nb_resize { /* op/resize.c */
                 NB_RESIZE_NEAREST,
                 NB_RESIZE_LINEAR,
                 NB_RESIZE_CUBIC,
                 NB_N_RESIZE
};
enum nb_resize_place { /* where an element of the output lies in the input */
                       NB_PLACE_HALF_PIXEL,
                       NB_PLACE_HALF_PIXEL_SYMMETRIC,
                       NB_PLACE_PYTORCH_HALF_PIXEL,
                       NB_PLACE_TF_HALF_PIXEL_FOR_NN,
                       NB_PLACE_ALIGN_CORNERS,
                       NB_PLACE_ASYMMETRIC,
                       NB_PLACE_CROP, /* in the region that the roi names */
                       NB_N_PLACE
};
enum nb_resize_round { /* which neighbour is the nearest */
                       NB_ROUND_PREFER_FLOOR,
                       NB_ROUND_PREFER_CEIL,
                       NB_ROUND_FLOOR,
                       NB_ROUND_CEIL,
                       NB_ROUND_OUTWARD, /* floor when it grows, ceil when it shrinks */
                       NB_N_ROUND
};

enum nb_pool_kind { /* op/pool.c */
                    NB_POOL_MAX,
                    NB_POOL_MEAN,
                    NB_POOL_NORM, /* the p-th root of a sum of p-th powers */
                    NB_N_POOL
};

#endif
