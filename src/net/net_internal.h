/* net/net_internal.h: what the rules of import work with.
 *
 * A rule gets one node of the file, adds nodes to the graph (nb_net_add), and names the values that stand for the
 * node's outputs (nb_net_out). What goes wrong in the graph is reported by import.c with the node's name.
 */
#ifndef NB_NET_NET_INTERNAL_H
#define NB_NET_NET_INTERNAL_H

#include "net/net.h"
#include "op/op.h"

#define NB_NET_NODE_INPUTS 64 /* of a node of the file; more are refused */

/* The state of an import. Borrows: the model. */
struct nb_importer {
    struct nb_net *net;
    struct nb_graph *g;
    const struct nb_onnx_model *m;
    const struct nb_net_options *o;
    struct nb_map names; /* of the file's values -> index in the graph */
    int64_t opset;
};

/* A node of the file. */
struct nb_net_node {
    struct nb_importer *im;
    struct nb_graph *g;
    const struct nb_onnx_node *n;
    int64_t opset;
    int64_t arg;                     /* of its line in ops.inc */
    uint32_t in[NB_NET_NODE_INPUTS]; /* values; 0: absent */
    size_t n_in;
};
typedef enum nb_status nb_net_rule(struct nb_net_node *n, struct nb_error *err);

/* ---- asking ---- */
const struct nb_value *nb_net_in(const struct nb_net_node *n, size_t i); /* NULL: absent */
int64_t nb_net_int(const struct nb_net_node *n, const char *attr, int64_t otherwise);
double nb_net_real(const struct nb_net_node *n, const char *attr, double otherwise);
/* NULL, *len 0: no such attribute. */
const int64_t *nb_net_ints(const struct nb_net_node *n, const char *attr, size_t *len);
const float *nb_net_floats(const struct nb_net_node *n, const char *attr, size_t *len);
/* Is the text of an attribute (or `otherwise`, if there is none) this one? */
bool nb_net_is(const struct nb_net_node *n, const char *attr, const char *text,
               const char *otherwise);
/* Input i, which must be there; NB_ERR_FORMAT. */
NB_CHECKED enum nb_status nb_net_need(const struct nb_net_node *n, size_t n_inputs,
                                      struct nb_error *err);
/* Integers of input i, which must be known by now: (len), of the graph's arena. NB_ERR_UNSUPPORTED: it depends on
 * data. Absent: NULL, *len 0. */
NB_CHECKED enum nb_status nb_net_known(struct nb_net_node *n, size_t i, const int64_t **list,
                                       size_t *len, struct nb_error *err);
/* Likewise of floats (F32). */
NB_CHECKED enum nb_status nb_net_known_floats(struct nb_net_node *n, size_t i, const float **list,
                                              size_t *len, struct nb_error *err);
/* 0 .. rank - 1 of an axis that may count from the end. */
NB_CHECKED enum nb_status nb_net_axis(int64_t axis, uint32_t rank, uint32_t *out,
                                      struct nb_error *err);

/* ---- building ---- */
/* Adds a node, or what it folds to. 0: failed, which import.c reports after the rule. */
uint32_t nb_net_add(struct nb_net_node *n, const struct nb_node_args *args);
/* The value of output i; 0 is ignored, and so is an output that the file has no name for. */
enum nb_status nb_net_out(struct nb_net_node *n, size_t i, uint32_t value, struct nb_error *err);
/* nb_net_add, then nb_net_out of output 0. */
enum nb_status nb_net_give(struct nb_net_node *n, const struct nb_node_args *args,
                           struct nb_error *err);
uint32_t nb_net_reshape(struct nb_net_node *n, uint32_t x, const int64_t *dims, size_t rank);
uint32_t nb_net_transpose(struct nb_net_node *n, uint32_t x, const int64_t *perm, size_t rank);
uint32_t nb_net_binary(struct nb_net_node *n, enum nb_binary op, uint32_t a, uint32_t b);
uint32_t nb_net_matmul(struct nb_net_node *n, uint32_t a, uint32_t b); /* of rank 2 or more */
uint32_t nb_net_cast(struct nb_net_node *n, uint32_t x, enum nb_value_type type); /* x if it is */
/* Codes of a type: those that are used of it. */
struct nb_net_range {
    enum nb_value_type type;
    int64_t low, high;
};
/* QuantizeLinear. in: x, scale, zero (0: none). block, multiply: attributes of nb_op_quantize_linear. */
uint32_t nb_net_quantize(struct nb_net_node *n, const uint32_t in[3], const struct nb_net_range *r,
                         int64_t axis, int64_t block, bool multiply);
/* x, scale, zero (0: none). Constants stay codes (rules_quant.c). */
uint32_t nb_net_dequantize(struct nb_net_node *n, const uint32_t in[3], int64_t axis,
                           int64_t block);
/* Constants of the arena. dims (rank); rank 0: one number. */
uint32_t nb_net_scalar(struct nb_net_node *n, enum nb_value_type type, double value);
uint32_t nb_net_const_ints(struct nb_net_node *n, const int64_t *values, size_t len);
/* A tensor of the file as a constant; 0: failed (err). */
NB_CHECKED enum nb_status nb_net_tensor(struct nb_importer *im, const struct nb_onnx_tensor *t,
                                        uint32_t *value, struct nb_error *err);
/* The nodes of a graph inside a node (If), whose names are also those of the graph around it. */
NB_CHECKED enum nb_status nb_net_subgraph(struct nb_importer *im, const struct nb_onnx_graph *sub,
                                          struct nb_error *err);
/* What another operator of ONNX's own makes of these inputs, with the node's attributes. */
NB_CHECKED enum nb_status nb_net_run_as(struct nb_net_node *n, const char *op_type,
                                        const uint32_t *in, size_t n_in, uint32_t *value,
                                        struct nb_error *err);
uint32_t nb_net_named(const struct nb_importer *im, const char *name); /* 0: none */

/* ---- windows (rules_conv.c) ---- */
#define NB_NET_WINDOW_DIMS 3

/* Attributes of a window as the operators want them. */
struct nb_net_window {
    uint32_t dims;
    const struct nb_value *x; /* not across nodes that are added */
    int64_t kernel[NB_NET_WINDOW_DIMS], stride[NB_NET_WINDOW_DIMS], dilation[NB_NET_WINDOW_DIMS];
    int64_t pads[2 * NB_NET_WINDOW_DIMS];
};
#define NB_NET_WINDOW_ATTRS(w)                                                                     \
    NB_ATTR_LIST("kernel", (w).kernel, (w).dims), NB_ATTR_LIST("stride", (w).stride, (w).dims),    \
        NB_ATTR_LIST("dilation", (w).dilation, (w).dims),                                          \
        NB_ATTR_LIST("pads", (w).pads, 2 * (size_t)(w).dims)
/* Over input 0 of a node; w: weights, whose dimensions the kernel has (NULL: the file says it). auto_pad becomes
 * numbers. */
NB_CHECKED enum nb_status nb_net_window_of(const struct nb_net_node *n, const struct nb_value *w,
                                           struct nb_net_window *out, struct nb_error *err);

/* ---- the rules: a function for each name in ops.inc, ops_microsoft.inc ---- */
#define NB_NET_OP(type, rule, arg) nb_net_rule nb_net_rule_##rule;
#include "net/ops.inc"
#include "net/ops_microsoft.inc"
#undef NB_NET_OP

#endif
