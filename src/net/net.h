/* net/net.h: nets that bring their own graph: an ONNX or TFLite file becomes a graph with fixed dimensions
 * (docs/design/011-nets.md).
 *
 * Importing folds: a node that reads constants alone is run at once, so what a file computes about shapes is
 * gone. Operators: ops.inc, a line for each of ONNX's, a rule for each family (rules_*.c).
 */
#ifndef NB_NET_NET_H
#define NB_NET_NET_H

#include "container/onnx.h"
#include "graph/graph.h"

/* A dimension that the file leaves open, by the name it has there. */
struct nb_net_dim {
    const char *name;
    int64_t n;
};
/* All dimensions of an input. */
struct nb_net_shape {
    const char *input;
    const int64_t *dims; /* (rank) */
    size_t rank;
};
/* An input that always has this value: it is folded away. */
struct nb_net_fixed {
    const char *input;
    double value; /* of all its elements, or ... */
    const void *
        data; /* ... if not NULL: all of them, of the graph's type and the input's dimensions; borrowed
                         by the net */
};
/* Borrows: all. */
struct nb_net_options {
    const struct nb_net_dim *dims;
    const struct nb_net_shape *shapes;
    const struct nb_net_fixed *fixed;
    size_t n_dims, n_shapes, n_fixed;
};

/* An input or output. float16, bfloat16: the graph's value is F32; int4, uint4: I8, U8; uint64: I64. */
struct nb_net_port {
    const char *name;
    uint32_t value;
    int32_t type; /* the file's: enum nb_onnx_type */
};

/* A file of either format, as a model in ONNX. Owns: both. */
struct nb_net_source {
    struct nb_onnx *onnx;
    struct nb_net_tflite *tflite; /* instead */
};
NB_CHECKED enum nb_status nb_net_source_open(struct nb_net_source *s, const char *path,
                                             const struct nb_allocator *a, struct nb_error *err);
const struct nb_onnx_model *nb_net_source_model(const struct nb_net_source *s); /* NULL: none */
void nb_net_source_close(struct nb_net_source *s);

/* Owns: the graph, the file if it opened it. Values have the file's names where the file has one for them. */
struct nb_net {
    const struct nb_allocator *a;
    struct nb_graph g;
    struct nb_net_source source;
    struct nb_net_port *inputs, *outputs;
    uint32_t *input_values, *output_values; /* (n_inputs), (n_outputs): the ports' */
    size_t n_inputs, n_outputs;             /* without inputs that are fixed */
    struct nb_net *under; /* owned: a step on the way here, whose constants are used */
};

/* NB_ERR_UNSUPPORTED names an operator, or a type, that nibble does not know, and the node; NB_ERR_FORMAT says
 * where a file contradicts itself; NB_ERR_ARG names a dimension that is open, or an option that fits nothing. */
NB_CHECKED enum nb_status nb_net_open(struct nb_net **out, const char *path,
                                      const struct nb_net_options *o, const struct nb_allocator *a,
                                      struct nb_error *err);
/* Of a model in memory, which must outlive the net: constants are views of its tensors. */
NB_CHECKED enum nb_status nb_net_import(struct nb_net **out, const struct nb_onnx_model *m,
                                        const struct nb_net_options *o,
                                        const struct nb_allocator *a, struct nb_error *err);
void nb_net_close(struct nb_net *net);

/* ---- grids: element = scale * (code - zero) ---- */

struct nb_net_grid {
    float scale;
    int32_t zero;
};
/* Of a value of integers that a QuantizeLinear makes or a DequantizeLinear reads, with one constant scale. */
bool nb_net_grid(const struct nb_onnx_model *m, const char *value, struct nb_net_grid *out);
/* Distance of codes, or of the floats that a DequantizeLinear makes of them; 0: there is none. */
float nb_net_step(const struct nb_onnx_model *m, const char *value);
/* What a value of floats goes on as behind its QuantizeLinear and DequantizeLinear; NULL: it has none. */
const char *nb_net_rounded(const struct nb_onnx_model *m, const char *value);

/* ---- passes ---- */

enum nb_net_pass {
    NB_NET_AFFINE = 1 << 0,  /* batch norms go into the layers before them                 */
    NB_NET_FUSE = 1 << 1,    /* activations and sums go into the layers before them        */
    NB_NET_LAYOUT = 1 << 2,  /* channels last inside                                       */
    NB_NET_INTEGER = 1 << 3, /* quantized layers in integers                               */
    NB_NET_ALL = (1 << 4) - 1
};
/* A net after these passes, of the same inputs and outputs (design 011). It borrows from `from`, which stays as it
 * is, and from its file. What several readers share, or leaves the net, is kept. */
NB_CHECKED enum nb_status nb_net_derive(struct nb_net **out, const struct nb_net *from,
                                        unsigned passes, struct nb_error *err);

/* ---- element types ---- */

/* How the graph holds elements of a file's type. false: it does not (strings, complex numbers, 8-bit floats). */
bool nb_net_type(int32_t onnx_type, enum nb_value_type *type);
/* n elements of a tensor as the graph holds them. dst: n * nb_value_item_bytes. */
void nb_net_decode(void *dst, const struct nb_onnx_tensor *t);

/* Is the operator of this node imported? */
bool nb_net_knows(const struct nb_onnx_node *node);

#endif
