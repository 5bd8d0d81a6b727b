/* container/tflite.h: a TFLite (LiteRT) file as data: model, subgraphs, tensors, operators. Nothing is executed.
 *
 * Like ONNX a graph, not a table of tensors, hence none of the containers of container.h. Tensors are numbers of a
 * list, not names; names may be missing or occur twice.
 */
#ifndef NB_CONTAINER_TFLITE_H
#define NB_CONTAINER_TFLITE_H

#include "container/flatbuf.h"

/* ---- element types: TFLite's numbers ---- */
enum nb_tflite_type {
    NB_TFLITE_FLOAT32 = 0,
    NB_TFLITE_FLOAT16 = 1,
    NB_TFLITE_INT32 = 2,
    NB_TFLITE_UINT8 = 3,
    NB_TFLITE_INT64 = 4,
    NB_TFLITE_STRING = 5,
    NB_TFLITE_BOOL = 6,
    NB_TFLITE_INT16 = 7,
    NB_TFLITE_COMPLEX64 = 8,
    NB_TFLITE_INT8 = 9,
    NB_TFLITE_FLOAT64 = 10,
    NB_TFLITE_COMPLEX128 = 11,
    NB_TFLITE_UINT64 = 12,
    NB_TFLITE_RESOURCE = 13,
    NB_TFLITE_VARIANT = 14,
    NB_TFLITE_UINT32 = 15,
    NB_TFLITE_UINT16 = 16,
    NB_TFLITE_INT4 = 17,
    NB_TFLITE_BFLOAT16 = 18,
    NB_TFLITE_INT2 = 19,
    NB_TFLITE_UINT4 = 20,
    NB_TFLITE_FLOAT8E4M3FN = 21,
    NB_TFLITE_FLOAT8E5M2 = 22,
    NB_TFLITE_N_TYPES
};
struct nb_tflite_type_info {
    const char *name; /* "float32", as in ONNX */
    uint32_t bits;    /* of an element; 0: it has no fixed size */
};
const struct nb_tflite_type_info *nb_tflite_type_info(int32_t type); /* NULL: not a type */
/* Elements of a shape and the bytes they take packed: several to a byte below 8 bits, the first in the low bits.
 * false: a dimension is open (negative), or an overflow (2^63). Types of no fixed size: bytes = 0. */
NB_CHECKED bool nb_tflite_count(uint64_t *n, uint64_t *bytes, int32_t type, const int64_t *dims,
                                size_t rank);

/* ---- operators: TFLite's numbers of those that nibble asks for; the names of all are known ---- */
enum nb_tflite_code {
#define NB_TFLITE_OP(name, number) NB_TFLITE_##name = number,
#include "container/tflite_ops.inc"
#undef NB_TFLITE_OP
    NB_TFLITE_N_CODES
};
const char *nb_tflite_code_name(int32_t code); /* "CONV_2D"; NULL: newer than this table */

/* ---- the model. Borrows: everything, from the file's arena and mapping. Texts are terminated. ---- */

/* Element = scale * (code - zero point), for each index of one dimension or the same for all. */
struct nb_tflite_quant {
    size_t n;                   /* 0: not quantized; 1; or the tensor's dims[dim] */
    const float *scales;        /* (n) as the file has them: also 0, negative or no numbers */
    const int64_t *zero_points; /* (n) */
    int32_t dim;
    bool custom; /* another scheme, which nibble does not know, counts instead */
};

struct nb_tflite_tensor {
    const char *name; /* "" if it has none */
    int32_t type;     /* enum nb_tflite_type */
    bool ranked;      /* the file says that the rank is known; older ones never do */
    bool variable;    /* keeps its value from run to run */
    bool sparse;      /* data are in a sparse layout: bytes are unchecked */
    size_t rank;
    const int64_t *dims;      /* (rank); -1: open */
    const int64_t *signature; /* (rank) the same, with -1 where the size may be changed */
    uint64_t n;               /* elements; 0 if a dimension is open */
    const uint8_t *data;      /* of a constant, at any alignment; NULL: computed, or an input */
    uint64_t bytes;
    struct nb_tflite_quant quant;
};

struct nb_tflite_op {
    int32_t code, version; /* enum nb_tflite_code, or newer */
    const char *name;      /* "CONV_2D"; of NB_TFLITE_CUSTOM the custom code; "OPERATOR_999" */
    const int32_t *inputs; /* (n_inputs) tensors of the subgraph; -1: left out */
    const int32_t *outputs;
    size_t n_inputs, n_outputs;
    uint8_t options_type, options2_type; /* members of the unions; 0: none */
    struct nb_fb_table options, options2;
    const uint8_t *custom; /* (custom_bytes) options of a custom operator */
    uint64_t custom_bytes;
};

struct nb_tflite_graph {
    const char *name;
    const struct nb_tflite_tensor *tensors;
    const int32_t *inputs, *outputs; /* tensors */
    const struct nb_tflite_op *ops;  /* in the order of execution */
    size_t n_tensors, n_inputs, n_outputs, n_ops;
};

struct nb_tflite_meta {
    const char *name;
    const uint8_t *data;
    uint64_t bytes;
};
struct nb_tflite_alias {
    const char *name;
    uint32_t tensor;
};
struct nb_tflite_signature {
    const char *key;
    uint32_t graph;
    const struct nb_tflite_alias *inputs, *outputs;
    size_t n_inputs, n_outputs;
};

struct nb_tflite_model {
    uint32_t version;
    const char *description;
    const struct nb_tflite_graph *graphs; /* the first is run */
    const struct nb_tflite_meta *meta;
    const struct nb_tflite_signature *signatures;
    size_t n_graphs, n_meta, n_signatures;
    struct nb_fb fb; /* the bytes behind `options` */
};

/* ---- reading ---- */
struct nb_tflite; /* Owns: the arena, the mapping */

bool nb_tflite_probe(const uint8_t *head, size_t n);
/* Checked: every offset, size and index; the size of a constant against type and dimensions; scales against the
 * dimension they are for. Not checked: whether nibble knows operators and their versions, the order of operators, what
 * their options say. Thread-safe: models share nothing. */
NB_CHECKED enum nb_status nb_tflite_open(struct nb_tflite **out, const char *path,
                                         const struct nb_allocator *a, struct nb_error *err);
/* The same over bytes in memory: borrowed, must outlive the model. */
NB_CHECKED enum nb_status nb_tflite_open_bytes(struct nb_tflite **out, const void *data, size_t n,
                                               const struct nb_allocator *a, struct nb_error *err);
const struct nb_tflite_model *nb_tflite_model(const struct nb_tflite *t);
void nb_tflite_close(struct nb_tflite *t);

#endif
