/* net/tflite_internal.h: what translates one operator of TFLite into nodes of ONNX.
 *
 * A value keeps its tensor's name and type. Arithmetic is in floats: a quantized tensor is dequantized where it is
 * read and quantized where it is made, so each rule sees floats (nb_tfl_in, nb_tfl_begin).
 */
#ifndef NB_NET_TFLITE_INTERNAL_H
#define NB_NET_TFLITE_INTERNAL_H

#include "net/tflite.h"

#define NB_TFL_DIMS 8 /* of a slice */

struct nb_tfl {
    struct nb_arena *arena;
    const struct nb_tflite_model *m;
    const struct nb_tflite_graph *g;
    const struct nb_tflite_op *op; /* the one at hand */
    const char **names;            /* (n_tensors) */
    const char **floats;           /* (n_tensors) dequantized; NULL: not yet */
    struct nb_onnx_node *nodes;
    struct nb_onnx_tensor *tensors;
    size_t n_nodes, n_tensors, cap_nodes, cap_tensors, n_temps;
    size_t first_node; /* of the operator at hand */
    int64_t arg;       /* of the rule */
    bool failed;       /* out of memory, or of room */
};
typedef enum nb_status nb_tfl_rule(struct nb_tfl *t, struct nb_error *err);

/* ---- asking. Input i of the operator. ---- */
const struct nb_tflite_tensor *nb_tfl_tensor(const struct nb_tfl *t, size_t i); /* NULL: absent */
/* Its value as floats (or as what it is, if it is no quantized tensor); "" if absent. */
const char *nb_tfl_in(struct nb_tfl *t, size_t i);
const struct nb_tflite_tensor *nb_tfl_result(const struct nb_tfl *t); /* output 0 */
NB_CHECKED enum nb_status nb_tfl_need(const struct nb_tfl *t, size_t n_inputs, uint32_t rank,
                                      struct nb_error *err);
/* Integers of a constant input. */
NB_CHECKED enum nb_status nb_tfl_ints(struct nb_tfl *t, size_t i, const int64_t **out, size_t *n,
                                      struct nb_error *err);
NB_CHECKED enum nb_status nb_tfl_option(const struct nb_tfl *t, unsigned field, int32_t otherwise,
                                        int32_t *out, struct nb_error *err);
NB_CHECKED enum nb_status nb_tfl_flag(const struct nb_tfl *t, unsigned field, bool *out,
                                      struct nb_error *err);
NB_CHECKED enum nb_status nb_tfl_small(const struct nb_tfl *t, unsigned field, int *out,
                                       struct nb_error *err); /* an enumeration of one byte */

/* ---- building. Names of values; NULL-free: a failure is kept in t->failed. ---- */
/* type(in...) -> out, or -> a new value if out is NULL; attributes are copied. Returns the output. */
const char *nb_tfl_node(struct nb_tfl *t, const char *type, const char *out, size_t n_in,
                        const char *const *in, size_t n_attrs, const struct nb_onnx_attr *attrs);
const char *nb_tfl_unary(struct nb_tfl *t, const char *type, const char *x);
const char *nb_tfl_binary(struct nb_tfl *t, const char *type, const char *a, const char *b);
const char *nb_tfl_transpose(struct nb_tfl *t, const char *x, const int64_t *perm, size_t rank);
const char *nb_tfl_reshape(struct nb_tfl *t, const char *x, const int64_t *dims, size_t rank);
const char *nb_tfl_const_ints(struct nb_tfl *t, const int64_t *v, size_t n);
const char *nb_tfl_const_float(struct nb_tfl *t, float v); /* a scalar */
/* x behind a fused activation (number of TFLite's). */
NB_CHECKED enum nb_status nb_tfl_activate(struct nb_tfl *t, const char **x, int activation,
                                          struct nb_error *err);
/* x is output 0: after a fused activation (number of TFLite's), quantized if the tensor is. */
NB_CHECKED enum nb_status nb_tfl_give(struct nb_tfl *t, const char *x, int activation,
                                      struct nb_error *err);

#define NB_TFL_INT(n, v)                                                                           \
    {                                                                                              \
        .name = (n), .type = NB_ONNX_ATTR_INT, .i = (v)                                            \
    }
#define NB_TFL_TEXT(k, v)                                                                          \
    {                                                                                              \
        .name = (k), .type = NB_ONNX_ATTR_STRING, .s = {(v), sizeof(v) - 1 }                       \
    }
#define NB_TFL_INTS(k, v, len)                                                                     \
    {                                                                                              \
        .name = (k), .type = NB_ONNX_ATTR_INTS, .ints = (v), .n = (len)                            \
    }

/* ---- the rules ---- */
#define NB_TFL_OP(code, rule, options, arg) nb_tfl_rule nb_tfl_rule_##rule;
#include "net/tflite_rules.inc"
#undef NB_TFL_OP

#endif
