/* graph/graph.h: a network as values and nodes, and what an operator is.
 *
 * Values have symbolic dimensions, so that one graph serves calls of any length. An architecture (model/) or
 * a file that brings a graph of its own (net/) builds the graph, an operator gives shapes and computes (op/, one
 * file each, one line in ops.inc), a session binds memory to the values and runs the nodes in order (run/).
 * Nothing here knows an architecture, a file or a number format.
 *
 * The graphs of files (docs/design/011) have constant dimensions, element types beside floats, and values known
 * before any call: a node that reads nothing else is run while the graph is built (fold.c).
 */
#ifndef NB_GRAPH_GRAPH_H
#define NB_GRAPH_GRAPH_H

#include "base/base.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

#define NB_VALUE_DIMS   8
#define NB_NODE_INPUTS  16
#define NB_NODE_OUTPUTS 4
#define NB_NODE_ATTRS   16
#define NB_NO_BLOCK     (-1) /* outside the decoder blocks */

/* What a dimension may depend on. */
enum nb_sym {
    NB_SYM_ONE,    /* a constant                                     */
    NB_SYM_TOKENS, /* T: tokens of this call                         */
    NB_SYM_CACHE,  /* C: positions the cache can hold                */
    NB_SYM_ROWS,   /* R: last tokens of this call whose output is wanted, R <= T */
    NB_SYM_WINDOW, /* W: positions the cache of a windowed layer holds, W <= C: position p at p mod W */
    NB_N_SYMS
};

struct nb_dim {
    uint64_t n; /* times the symbol's value */
    enum nb_sym sym;
};

enum nb_value_kind {
    NB_VALUE_INPUT,      /* bound by the session for each call: tokens, rotary frequencies     */
    NB_VALUE_WEIGHT,     /* bound once, by canonical tensor name                               */
    NB_VALUE_ACTIVATION, /* lives from its node to its last reader                             */
    NB_VALUE_STATE,      /* outlives the call: the KV cache                                    */
    NB_VALUE_OUTPUT,     /* caller's memory: logits                                            */
    NB_VALUE_CONST       /* known: its bytes are in `data`                                     */
};

enum nb_value_type {
    NB_VALUE_F32,
    NB_VALUE_F64,
    NB_VALUE_U32,
    NB_VALUE_I64,
    NB_VALUE_I32,
    NB_VALUE_I16,
    NB_VALUE_U16,
    NB_VALUE_I8,
    NB_VALUE_U8,
    NB_VALUE_BOOL,  /* a byte, 0 or 1                                                           */
    NB_VALUE_Q8,    /* quantized activations, struct nb_q8: q, then d, then sum16              */
    NB_VALUE_STORED /* weights and states: the number format is known when memory is bound     */
};

/* Borrows: name (the graph's arena), data. */
struct nb_value {
    const char *name;
    enum nb_value_kind kind;
    enum nb_value_type type;
    uint32_t rank;
    struct nb_dim dim[NB_VALUE_DIMS];
    int32_t block;     /* decoder block, NB_NO_BLOCK outside */
    uint32_t producer; /* node + 1; 0: no node makes it      */
    const void
        *data; /* of NB_VALUE_CONST: (rows, cols) elements, aligned for their type; else NULL */
};

/* How scores of experts become weights (op/top_k). */
enum nb_gate {
    NB_GATE_SOFTMAX, /* over all experts                            */
    NB_GATE_SIGMOID  /* each for itself                             */
};

struct nb_op;

/* An attribute, given by name when a node is added; which member counts is the operator's affair.
 * Activation functions are enum nb_act of kernels/kernels.h. */
struct nb_attr {
    const char *name;
    int64_t i; /* of a list: its length */
    double f;
    const int64_t *list; /* (i), copied when the node is added; NULL: no list, or an empty one */
};
#define NB_ATTR_INT(name, value)                                                                   \
    {                                                                                              \
        (name), (int64_t)(value), 0.0, NULL                                                        \
    }
#define NB_ATTR_REAL(name, value)                                                                  \
    {                                                                                              \
        (name), 0, (double)(value), NULL                                                           \
    }
#define NB_ATTR_LIST(name, items, n)                                                               \
    {                                                                                              \
        (name), (int64_t)(n), 0.0, (items)                                                         \
    }

struct nb_node {
    const struct nb_op *op;
    uint32_t in[NB_NODE_INPUTS];        /* values; 0: an optional input that is absent */
    uint32_t out[NB_NODE_OUTPUTS];      /* values; 0: none                             */
    struct nb_attr attr[NB_NODE_ATTRS]; /* in the order of op->attrs              */
    int32_t block;
};

/* Values are named by their index; 0 is "none". Owns: everything. A failure while building (no memory, a
 * shape rule broken) is kept in `status`, later calls do nothing, and nb_graph_check reports it. */
struct nb_graph {
    struct nb_arena arena;
    struct nb_value *values; /* [0] is unused */
    size_t n_values, cap_values;
    struct nb_map names; /* of named values -> index */
    struct nb_node *nodes;
    size_t n_nodes, cap_nodes;
    uint32_t *order; /* (n_nodes), filled by nb_graph_sort */
    size_t cap_order;
    uint32_t n_blocks;
    enum nb_status status;
    struct nb_error error;
};

/* ---- building ---- */
void nb_graph_init(struct nb_graph *g, const struct nb_allocator *a);
void nb_graph_fini(struct nb_graph *g);
NB_CHECKED enum nb_status nb_graph_check(const struct nb_graph *g, struct nb_error *err);

/* A value without a node: input, weight or state. Returns its index, 0 on failure. A weight or state of
 * a name that is there already is the same value. */
uint32_t nb_graph_value(struct nb_graph *g, const struct nb_value *v);
/* Weights: (rows, cols), or (cols) when rows == 0. */
uint32_t nb_graph_weight(struct nb_graph *g, const char *name, uint64_t rows, uint64_t cols,
                         int32_t block);
/* Weights of experts: n_experts matrices of (rows, cols). */
uint32_t nb_graph_experts(struct nb_graph *g, const char *name, uint64_t n_experts, uint64_t rows,
                          uint64_t cols, int32_t block);

struct nb_node_args {
    const struct nb_op *op;
    uint32_t in[NB_NODE_INPUTS];
    uint32_t state[NB_NODE_OUTPUTS]; /* an operator that writes states names them here */
    const struct nb_attr *attrs;     /* (n_attrs), each of op->attrs exactly once */
    size_t n_attrs;
    int32_t block;
    const char *name; /* of the output; NULL: made from op and index */
};
/* Adds a node; its shape rule makes the output. Returns the first output, 0 on failure. The outputs of a node
 * have successive indices. */
uint32_t nb_graph_add(struct nb_graph *g, const struct nb_node_args *args);
/* The same, but a node all of whose inputs are constants, of an operator that folds, is run at once on the
 * graph's memory: its outputs are constants and the node is gone (fold.c). */
uint32_t nb_graph_add_folded(struct nb_graph *g, const struct nb_node_args *args);
/* The second output of the node that makes `first`; 0: it has none. */
uint32_t nb_graph_second(const struct nb_graph *g, uint32_t first);
/* A constant of constant dimensions, borrowed bytes. Returns its index, 0 on failure. */
uint32_t nb_graph_const(struct nb_graph *g, const char *name, enum nb_value_type type,
                        const uint64_t *dims, uint32_t rank, const void *data);
/* The value leaves the graph: its memory is the caller's. */
void nb_graph_output(struct nb_graph *g, uint32_t value, const char *name);
/* Sets the attribute of every node that has one of this name: facts known only with the weights. */
void nb_graph_set_int(struct nb_graph *g, const char *attr, int64_t value);
/* Says why a shape rule refuses; returns false. For shape rules. */
bool nb_graph_refuse(struct nb_graph *g, const struct nb_node *n, const char *fmt, ...)
    NB_PRINTF(3, 4);

/* ---- asking ---- */
uint32_t nb_graph_find(const struct nb_graph *g, const char *name); /* 0: none */
struct nb_dim nb_dim_const(uint64_t n);
bool nb_dim_eq(struct nb_dim a, struct nb_dim b);
bool nb_value_same_dims(const struct nb_value *a, const struct nb_value *b);
/* Rows (all dimensions but the last) and columns of a value for given symbols; false on overflow. */
NB_CHECKED bool nb_value_extent(const struct nb_value *v, const uint64_t sym[NB_N_SYMS],
                                uint64_t *rows, uint64_t *cols);
/* Bytes of an input, activation or output (not of NB_VALUE_STORED); false on overflow. */
NB_CHECKED bool nb_value_bytes(const struct nb_value *v, const uint64_t sym[NB_N_SYMS],
                               uint64_t *bytes);
/* Of an element; 0: NB_VALUE_Q8 and NB_VALUE_STORED, which have no single one. */
size_t nb_value_item_bytes(enum nb_value_type type);
/* Elements of a value of constant dimensions. */
uint64_t nb_value_count(const struct nb_value *v);
/* Fills g->order: every node after those whose values it reads, otherwise as added. NB_ERR_FORMAT for a
 * cycle. */
NB_CHECKED enum nb_status nb_graph_sort(struct nb_graph *g, struct nb_error *err);
/* Drops nodes that no output needs; states count as none. Their values stay, without a producer. */
NB_CHECKED enum nb_status nb_graph_prune(struct nb_graph *g, struct nb_error *err);
/* Positions in g->order: life[v].first makes value v, life[v].last reads it last. Values that are never
 * read die where they are made. (n_values) */
struct nb_life {
    uint32_t first, last;
};
void nb_graph_lives(const struct nb_graph *g, struct nb_life *life);
/* A line per node: "12 blk.0 linear attn_q (T, 256) <- v11 (T, 256), blk.0.attn_q.weight (256, 256)". */
void nb_graph_dump(const struct nb_graph *g, struct nb_str *out);

/* ---- operators ---- */
struct nb_numfmt;

/* A value with memory, for one call. Borrows: everything. */
struct nb_slot {
    void *data;                     /* NULL for weights in their file's format           */
    const struct nb_tensor *tensor; /* weights                                           */
    const struct nb_numfmt *type;   /* states: the format of their elements              */
    uint64_t rows, cols;            /* extent of this call                               */
    const struct nb_value *value;   /* of graphs of constant dimensions; else NULL       */
};

/* One node to be computed. Borrows: everything. */
struct nb_op_call {
    const struct nb_node *node;
    const struct nb_slot *in[NB_NODE_INPUTS]; /* NULL: absent */
    const struct nb_slot *out[NB_NODE_OUTPUTS];
    const struct nb_kernels *kernels;
    struct nb_pool *pool;
    uint8_t *scratch; /* (workers, scratch_stride), each aligned to NB_ALIGN */
    size_t scratch_stride;
    void *shared;         /* one for all workers, aligned to NB_ALIGN                */
    const void *prepared; /* what op->prepare made; NULL: it has not been asked           */
    uint64_t sym[NB_N_SYMS];
    uint64_t position; /* in the cache, of the first token of this call */
};

/* One node to be differentiated, some time after its run: call holds the values of the inputs that
 * op->grad_reads names as they were then, and scratch as grad_scratch_bytes and grad_shared_bytes ask.
 * Gradients are plain f32 with the extents of their values, states' and small weights' too. Borrows:
 * everything. */
struct nb_op_grad {
    const struct nb_op_call *call;
    const float *out[NB_NODE_OUTPUTS]; /* of the outputs, or of the states written; NULL: zero   */
    float *in[NB_NODE_INPUTS];         /* of the inputs: to be added to; NULL: nobody wants it   */
};

struct nb_op {
    const char *name;
    uint32_t n_in_min, n_in; /* inputs needed, inputs possible */
    uint32_t n_state;        /* states written                 */
    uint32_t n_out;          /* outputs made, if more than one */
    const char *attrs[NB_NODE_ATTRS];
    int32_t quantizable;  /* input that is a weight quantization may replace; -1: none     */
    uint32_t f32_weights; /* bit i: input i is a small weight wanted as plain f32          */
    uint32_t
        ids_input; /* input that says which of a weight's matrices a token meets; 0: it has one */
    bool folds;    /* run needs neither position nor state nor weights in a file's format */
    bool view;     /* output 0 has the elements of input 0 in their order: they may share memory */
    uint32_t q8_input; /* input that may be input 0 quantized to 8 bits, for weights that expand to
                             integers; 0: none                                             */
    /* Checks the inputs and describes the outputs, an array of n_out: type, rank and dim (the caller sets
     * the rest). An operator that only writes states leaves out alone. */
    bool (*shape)(struct nb_graph *g, const struct nb_node *n, struct nb_value *out);
    /* Scratch one worker needs, for the largest call. NULL: none. false on overflow. */
    bool (*scratch_bytes)(const struct nb_op_call *largest, size_t *bytes);
    /* Most positions the node can serve. NULL: any number. */
    uint64_t (*positions)(const struct nb_graph *g, const struct nb_node *n);
    /* Scratch that the workers of a call share, likewise. */
    bool (*shared_bytes)(const struct nb_op_call *largest, size_t *bytes);
    void (*run)(const struct nb_op_call *c);
    /* Multiplications with an addition each, of a run, in graphs of constant dimensions: for operators that are sums
     * of products. NULL: none worth counting. */
    uint64_t (*macs)(const struct nb_graph *g, const struct nb_node *n);
    /* ---- inputs brought into another form, once, by a session; NULL: nothing to prepare ----
     * prepared_bytes: memory for it; false: nothing of this node is worth it, or its inputs are not known
     * (they are no constants) or too large. prepare fills the memory, aligned to NB_ALIGN, from the inputs that are
     * constants, and run gets it as c->prepared; scratch_bytes and shared_bytes, too, may look whether it is
     * there. run must do without it as well, slower and with the same bits. */
    bool (*prepared_bytes)(const struct nb_op_call *c, size_t *bytes);
    void (*prepare)(const struct nb_op_call *c, void *memory);

    /* ---- gradients; grad == NULL: none, or nothing to differentiate ---- */
    uint32_t grad_to;    /* bit i: input i can get one; f32 small weights among them */
    uint32_t grad_reads; /* bit i: grad reads the value of input i                   */
    bool (*grad_scratch_bytes)(const struct nb_op_call *largest, size_t *bytes);
    bool (*grad_shared_bytes)(const struct nb_op_call *largest, size_t *bytes);
    /* Calls start at position 0. The same bits for any pool and ISA. */
    void (*grad)(const struct nb_op_grad *g);
};

#define NB_OP(id) extern const struct nb_op nb_op_##id;
#include "graph/ops.inc"
#undef NB_OP

/* The three arrays of a NB_VALUE_Q8 slot with room for `rows` rows. */
struct nb_q8 nb_slot_q8(const struct nb_slot *s);

#endif
