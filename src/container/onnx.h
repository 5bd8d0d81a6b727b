/* container/onnx.h: an ONNX file as data: model, graph, nodes, attributes, tensors. Nothing is executed.
 *
 * ONNX describes a net as a graph, not as a table of tensors, so it is not one of the containers of
 * container.h. The structs are independent of protobuf; a pass that builds a model for writing fills them
 * by itself. Whatever a file holds that nibble does not know is kept as `extras` and written back.
 */
#ifndef NB_CONTAINER_ONNX_H
#define NB_CONTAINER_ONNX_H

#include "base/base.h"

/* ---- element types: ONNX's numbers ---- */
enum nb_onnx_type {
    NB_ONNX_UNDEFINED = 0, /* of a value: no tensor, or the type was not given */
    NB_ONNX_FLOAT32 = 1,
    NB_ONNX_UINT8 = 2,
    NB_ONNX_INT8 = 3,
    NB_ONNX_UINT16 = 4,
    NB_ONNX_INT16 = 5,
    NB_ONNX_INT32 = 6,
    NB_ONNX_INT64 = 7,
    NB_ONNX_STRING = 8,
    NB_ONNX_BOOL = 9,
    NB_ONNX_FLOAT16 = 10,
    NB_ONNX_FLOAT64 = 11,
    NB_ONNX_UINT32 = 12,
    NB_ONNX_UINT64 = 13,
    NB_ONNX_COMPLEX64 = 14,
    NB_ONNX_COMPLEX128 = 15,
    NB_ONNX_BFLOAT16 = 16,
    NB_ONNX_FLOAT8E4M3FN = 17,
    NB_ONNX_FLOAT8E4M3FNUZ = 18,
    NB_ONNX_FLOAT8E5M2 = 19,
    NB_ONNX_FLOAT8E5M2FNUZ = 20,
    NB_ONNX_UINT4 = 21,
    NB_ONNX_INT4 = 22,
    NB_ONNX_FLOAT4E2M1 = 23,
    NB_ONNX_FLOAT8E8M0 = 24,
    NB_ONNX_UINT2 = 25,
    NB_ONNX_INT2 = 26
};
struct nb_onnx_type_info {
    const char *name; /* "float32" */
    uint32_t bits;    /* of an element; 0: strings, which have no fixed size */
};
const struct nb_onnx_type_info *nb_onnx_type_info(int32_t type); /* NULL: not a type */
/* Elements of a shape and the bytes they take packed: several to a byte below 8 bits, the first in the low
 * bits. false: a negative dimension, an overflow (2^63), or not a type. Strings: bytes = 0. */
NB_CHECKED bool nb_onnx_count(uint64_t *n, uint64_t *bytes, int32_t type, const int64_t *dims,
                              size_t rank);

/* ---- the model. Borrows: everything; of a file read, from the file's arena and mappings. Texts are
 * terminated; NULL: absent. ---- */

/* A field that nibble does not know: its number, protobuf's wire type, and the bytes behind the tag. */
struct nb_onnx_extra {
    uint32_t field, wire;
    const uint8_t *data;
    size_t n;
};
struct nb_onnx_extras {
    const struct nb_onnx_extra *items;
    size_t n;
};
struct nb_onnx_entry {
    const char *key, *value;
};
struct nb_onnx_meta {
    const struct nb_onnx_entry *items;
    size_t n;
};

struct nb_onnx_tensor {
    const char *name, *doc;
    int32_t type; /* enum nb_onnx_type */
    size_t rank;
    const int64_t *dims; /* (rank), all >= 0 */
    uint64_t n;          /* elements: product of dims */
    const uint8_t
        *data; /* packed little-endian, row-major, any alignment; NULL for strings, if bytes is 0,
                            and for external data that was not asked for */
    uint64_t bytes;
    const struct nb_text *strings; /* (n) of a tensor of strings */
    const char *location;          /* of external data: the file as the model names it; else NULL */
    uint64_t offset;               /* in it */
    struct nb_onnx_meta meta;
    struct nb_onnx_extras extras;
};

struct nb_onnx_dim {
    int64_t value;          /* -1: not known, or known by name only */
    const char *name;       /* NULL: none */
    const char *denotation; /* "DATA_BATCH" ... */
};
struct nb_onnx_value {
    const char *name, *doc;
    bool typed;                     /* a type was given; if it is no tensor, it is in type_extras */
    bool tensor;                    /* it is a tensor */
    int32_t type;                   /* enum nb_onnx_type; NB_ONNX_UNDEFINED */
    int32_t rank;                   /* -1: not known */
    const struct nb_onnx_dim *dims; /* (rank) */
    struct nb_onnx_meta meta;
    struct nb_onnx_extras extras, type_extras;
};

enum nb_onnx_attr_type {
    NB_ONNX_ATTR_FLOAT = 1,
    NB_ONNX_ATTR_INT = 2,
    NB_ONNX_ATTR_STRING = 3,
    NB_ONNX_ATTR_TENSOR = 4,
    NB_ONNX_ATTR_GRAPH = 5,
    NB_ONNX_ATTR_FLOATS = 6,
    NB_ONNX_ATTR_INTS = 7,
    NB_ONNX_ATTR_STRINGS = 8,
    NB_ONNX_ATTR_TENSORS = 9,
    NB_ONNX_ATTR_GRAPHS = 10 /* larger: sparse tensors and types, in extras */
};
struct nb_onnx_graph;
struct nb_onnx_attr {
    const char *name, *doc;
    const char *ref; /* inside functions: the function's attribute that is meant */
    int32_t type;    /* enum nb_onnx_attr_type: says which of these counts */
    float f;
    int64_t i;
    struct nb_text s;
    const struct nb_onnx_tensor *t; /* one, or (n) */
    const struct nb_onnx_graph *g;  /* one, or (n) */
    const float *floats;            /* (n) */
    const int64_t *ints;            /* (n) */
    const struct nb_text *strings;  /* (n) */
    size_t n; /* of a list; 1 of a single tensor or graph, 0 of other single values */
    struct nb_onnx_extras extras;
};

struct nb_onnx_node {
    const char *name, *op_type, *domain, *doc;
    const char *const *inputs;  /* (n_inputs); "" is an optional one left out */
    const char *const *outputs; /* (n_outputs) likewise */
    size_t n_inputs, n_outputs;
    const struct nb_onnx_attr *attrs;
    size_t n_attrs;
    struct nb_onnx_meta meta;
    struct nb_onnx_extras extras;
};

struct nb_onnx_graph {
    const char *name, *doc;
    const struct nb_onnx_node *nodes;
    const struct nb_onnx_tensor *initializers;
    const struct nb_onnx_value *inputs, *outputs, *values; /* values: types of what lies between */
    size_t n_nodes, n_initializers, n_inputs, n_outputs, n_values;
    struct nb_onnx_meta meta;
    struct nb_onnx_extras extras;
};

struct nb_onnx_opset {
    const char *domain; /* never NULL; "" is ONNX's own, which files may also call "ai.onnx" */
    int64_t version;
};
struct nb_onnx_model {
    int64_t ir_version, model_version;
    const char *producer, *producer_version, *domain, *doc;
    const struct nb_onnx_opset *opsets;
    size_t n_opsets;
    struct nb_onnx_graph graph;
    struct nb_onnx_meta meta;
    struct nb_onnx_extras extras;
};

#define NB_ONNX_MAX_NESTING 24 /* graphs inside attributes inside graphs */

/* The version of an operator set that the model imports; 0: none. domain "" or "ai.onnx": ONNX's own. */
int64_t nb_onnx_opset_version(const struct nb_onnx_model *m, const char *domain);
/* NULL: the node has none of that name. */
const struct nb_onnx_attr *nb_onnx_find_attr(const struct nb_onnx_node *n, const char *name);

/* ---- reading ---- */
struct nb_onnx; /* Owns: the arena, the mappings of the file and of its external data */

enum nb_onnx_flags {
    NB_ONNX_NO_DATA =
        1 /* external files are not opened (their tensors' data stay NULL): headers only */
};

/* Could these first bytes (16 or more, or the whole file) be an ONNX model? Cheap, and no proof. */
bool nb_onnx_probe(const uint8_t *head, size_t n);
/* Tensors are views of the mapped file wherever it holds them as raw data; others are decoded. Checked: the
 * wire format, types, sizes against dimensions, values defined once, where external data lie. Not checked:
 * whether nibble knows operators and operator sets, the order of nodes, names that nothing defines.
 * Thread-safe: models share nothing. */
NB_CHECKED enum nb_status nb_onnx_open(struct nb_onnx **out, const char *path, unsigned flags,
                                       const struct nb_allocator *a, struct nb_error *err);
/* The same over bytes in memory (borrowed, must outlive the model); external data are looked for in
 * `folder`, and refused if it is NULL. */
NB_CHECKED enum nb_status nb_onnx_open_bytes(struct nb_onnx **out, const void *data, size_t n,
                                             const char *folder, unsigned flags,
                                             const struct nb_allocator *a, struct nb_error *err);
const struct nb_onnx_model *nb_onnx_model(const struct nb_onnx *o);
void nb_onnx_close(struct nb_onnx *o);

/* ---- writing ---- */
struct nb_onnx_write_options {
    uint64_t
        external_above;    /* initializers of more bytes go to a file beside; UINT64_MAX: none do */
    const char *data_name; /* of that file; NULL: the model's name and ".data" */
    unsigned out_flags;    /* enum nb_out_flags */
};
void nb_onnx_write_options_init(struct nb_onnx_write_options *o); /* all inside, no overwriting */
/* Both files are complete under other names before either gets its own: data first, then the model. Tensors
 * are written as raw data. The same model gives the same bytes. NB_ERR_LIMIT if the message would pass 2 GiB. */
NB_CHECKED enum nb_status nb_onnx_write(const char *path, const struct nb_onnx_model *m,
                                        const struct nb_onnx_write_options *o,
                                        const struct nb_allocator *a, struct nb_error *err);
/* The message alone, all data inside, appended to out. */
NB_CHECKED enum nb_status nb_onnx_pack(struct nb_str *out, const struct nb_onnx_model *m,
                                       const struct nb_allocator *a, struct nb_error *err);

#endif
