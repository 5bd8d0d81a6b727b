/* ptq/ptq_internal.h: what the steps of static quantization share. */
#ifndef NB_PTQ_PTQ_INTERNAL_H
#define NB_PTQ_PTQ_INTERNAL_H

#include "calib/hessian.h"
#include "numfmt/grid.h"
#include "ptq/edit.h"
#include "ptq/ptq.h"

/* Owns: arena, edits, and through them the models' lists. */
struct nb_ptq {
    const struct nb_allocator *a;
    struct nb_arena arena; /* of what is rounded                                       */
    struct nb_edit base;   /* the float model made simple; not where weights alone are rounded */
    struct nb_edit edit;   /* what is made of it                                       */
    bool has_base;
    struct nb_onnx_model simple, model;
    struct nb_onnx_model stripped; /* of format float */
    bool is_stripped;
    struct nb_str encodings;
    struct nb_ptq_report report;
};

/* ---- ptq.c: what every way to quantize begins and ends with ---- */
/* A result whose edit holds m; after a failure NULL. */
NB_CHECKED enum nb_status nb_ptq_begin(struct nb_ptq **out, const struct nb_onnx_model *m,
                                       const struct nb_allocator *a, struct nb_error *err);
/* st, without a result if that is a failure. */
NB_CHECKED enum nb_status nb_ptq_end(struct nb_ptq **out, enum nb_status st);

/* ---- fate.c: nodes as the report lists them; float, or kept, until marked ---- */
/* Of the edit's arena, (n_nodes of it as it is now). NULL: no memory. */
struct nb_ptq_node *nb_ptq_list_nodes(struct nb_edit *e, const char *const *keep, size_t n_keep,
                                      struct nb_ptq_report *report);

/* simplify.c */
NB_CHECKED enum nb_status nb_ptq_simplify(struct nb_edit *e, struct nb_error *err);

/* ---- largest.c ---- */
/* A value of the net and its channels: dimension 1, or the last. */
struct nb_channels {
    const char *name;
    size_t n;
    bool last;
    float *largest; /* (n) magnitudes over the samples, 0 before */
    uint32_t value; /* of the net that was run; 0: it has none   */
};
NB_CHECKED enum nb_status nb_ptq_find_largest(struct nb_edit *e, struct nb_channels *list, size_t n,
                                              const struct nb_net_options *options,
                                              const struct nb_ptq_data *data, struct nb_pool *pool,
                                              struct nb_error *err);

/* ---- smooth.c: outliers of activations into the weights ---- */
NB_CHECKED enum nb_status nb_ptq_smooth(struct nb_edit *e, double alpha,
                                        const struct nb_net_options *options,
                                        const struct nb_ptq_data *data, struct nb_pool *pool,
                                        struct nb_ptq_smoothed *report, struct nb_error *err);
/* smooth_search.c: of o->smooth */
NB_CHECKED enum nb_status nb_ptq_find_alpha(double *alpha, const struct nb_onnx_model *m,
                                            const struct nb_net_options *net,
                                            const struct nb_ptq_options *o,
                                            const struct nb_ptq_data *data, struct nb_pool *pool,
                                            const struct nb_allocator *a, struct nb_error *err);
/* smooth_fold.c: can `name`, whose last dimension is k, be divided by a number for each column by what makes it? s (k):
 * it is; NULL: the question alone. */
NB_CHECKED enum nb_status nb_smooth_fold(struct nb_edit *e, const char *name, size_t k,
                                         const double *s, bool *can, struct nb_error *err);
/* A copy of input i of a node, an initializer, times or by s of its column (or, by_rows, its row): the node reads that. */
NB_CHECKED enum nb_status nb_smooth_scale(struct nb_edit *e, size_t node, size_t i, const double *s,
                                          size_t k, bool times, bool by_rows, struct nb_error *err);
/* Is it made by operators that compute in floats alone, so that a product with constants costs no grid? */
bool nb_smooth_is_float(const struct nb_edit *e, const char *name);

/* ---- equalize.c: weights of neighbours become alike; the net computes what it did ---- */
NB_CHECKED enum nb_status nb_ptq_equalize(struct nb_edit *e, const struct nb_net_options *options,
                                          const struct nb_ptq_data *data, struct nb_pool *pool,
                                          size_t *n_pairs, struct nb_error *err);

/* ---- samples.c ---- */

/* A value of the net that was made, or is given: n elements. What it returns ends the run. */
typedef enum nb_status nb_ptq_see_fn(void *ctx, uint32_t value, const void *data, size_t n,
                                     struct nb_error *err);
/* Inputs of a net from samples (samples.c). Owns: nothing; the arena does. */
struct nb_ptq_feed {
    const void **inputs; /* (n_inputs), of the sample asked for                    */
    void **room;         /* (n_inputs) for numbers of other types; NULL: its floats */
};
NB_CHECKED enum nb_status nb_ptq_feed_init(struct nb_ptq_feed *f, const struct nb_net *net,
                                           struct nb_arena *arena, struct nb_error *err);
void nb_ptq_feed_sample(struct nb_ptq_feed *f, const struct nb_net *net,
                        const struct nb_ptq_data *data, size_t sample);

/* Runs the net, as imported, over all samples; every input and every value that a node makes is shown. */
NB_CHECKED enum nb_status nb_ptq_run_samples(const struct nb_net *net,
                                             const struct nb_ptq_data *data, nb_ptq_see_fn *see,
                                             void *ctx, struct nb_pool *pool,
                                             const struct nb_allocator *a, struct nb_error *err);
/* Are there samples, and are all inputs floats? */
NB_CHECKED enum nb_status nb_ptq_check_data(const struct nb_net *net,
                                            const struct nb_ptq_data *data, struct nb_error *err);
/* NB_ERR_CANCELLED if the caller of the library wants an end. */
NB_CHECKED enum nb_status nb_ptq_progress(const struct nb_progress *p, const char *what,
                                          const char *unit, size_t done, size_t total,
                                          struct nb_error *err);

/* What a net is run on. */
struct nb_ptq_ground {
    const struct nb_net *net;
    const struct nb_ptq_data *data;
    struct nb_pool *pool;
    const struct nb_allocator *a;
};

/* ---- observe.c: what the values of a net were, by the observers of calib/ ---- */

/* Bins of equal width from 0 on; count NULL: not asked for, or nothing seen. */
struct nb_ptq_histogram {
    double width;
    const double *count; /* (n) */
    size_t n;
};
struct nb_seen {
    bool any;
    double least, greatest;               /* of all samples */
    double low, high;                     /* moving averages of the samples' */
    struct nb_ptq_histogram above, below; /* x >= 0; -x of x < 0 */
};
/* Owns: arena. */
struct nb_observed_net {
    struct nb_arena arena;
    struct nb_seen *seen; /* (values of the graph) */
};
NB_CHECKED enum nb_status nb_ptq_observe(struct nb_observed_net *out, const struct nb_net *net,
                                         const struct nb_ptq_data *data, bool histograms,
                                         struct nb_pool *pool, const struct nb_allocator *a,
                                         struct nb_error *err);
/* Without samples: every float value had some numbers. Ranges that follow from it mean nothing. */
NB_CHECKED enum nb_status nb_ptq_suppose(struct nb_observed_net *out, const struct nb_net *net,
                                         const struct nb_allocator *a, struct nb_error *err);
void nb_observed_net_fini(struct nb_observed_net *o);

/* ---- range.c ---- */
struct nb_ptq_bounds {
    double low, high; /* low <= 0 <= high */
};
/* Integers low .. high of a file's type. symmetric: their zero point is 0, and -high .. high is what is used. */
struct nb_ptq_codes {
    int32_t type, low, high;
    bool symmetric;
};
struct nb_ptq_bounds nb_ptq_bounds(const struct nb_seen *s, const struct nb_ptq_options *o,
                                   struct nb_ptq_codes c);

/* ---- codes.c: integers, and the nodes that make and read them ---- */
struct nb_ptq_codes nb_ptq_activation_codes(const struct nb_ptq_options *o);
struct nb_ptq_codes nb_ptq_weight_codes(const struct nb_ptq_options *o);
/* q = clamp(round_half_even(x / scale) + zero, low, high) */
struct nb_ptq_grid {
    float scale;
    int32_t zero, low, high;
};
struct nb_ptq_grid nb_ptq_fit(struct nb_ptq_bounds b, struct nb_ptq_codes c);
/* n integers as a file's type stores them, of the edit's arena; NULL: no memory. */
void *nb_ptq_store(struct nb_edit *e, int32_t type, const int32_t *q, size_t n);
/* Element i of an initializer of such a type, of int32 or float32. */
double nb_ptq_number(const struct nb_onnx_tensor *t, uint64_t i);
/* QuantizeLinear or DequantizeLinear of the domain that has it for the type of `zero`, which is there. axis -1: none. */
NB_CHECKED enum nb_status nb_ptq_node(struct nb_edit *e, bool dequantize, const char *x,
                                      const char *scale, const char *zero, const char *y,
                                      int64_t axis, struct nb_error *err);

/* ---- plan.c: what is quantized ---- */

enum nb_ptq_kind {
    NB_PTQ_OTHER,    /* stays float                                                           */
    NB_PTQ_WEIGHTED, /* Conv, Gemm, MatMul                                                    */
    NB_PTQ_POINT,    /* has an integer form of its own: Add, AveragePool, Sigmoid ...         */
    NB_PTQ_SAME      /* moves elements: input and output have one grid                        */
};
/* A float value of the file that gets a grid, or may. */
struct nb_ptq_tensor {
    const char *name;
    uint32_t value; /* of the net */
    uint32_t group; /* index of a tensor with the same grid: the root points to itself */
    bool quantized;
    struct nb_ptq_bounds bounds; /* of a root: of its group */
};
/* Owns: map. Borrows: the edit's arena. */
struct nb_ptq_plan {
    struct nb_ptq_tensor *tensors; /* (n) */
    size_t n;
    struct nb_map index;     /* name -> tensor */
    enum nb_ptq_kind *kinds; /* (nodes of the edit) */
    bool *fused;             /* (nodes) a Relu, Clip or bias that is its layer's   */
    bool joins_bias;
};
/* stay: (nodes) those that stay float besides those of the options; NULL: none. */
NB_CHECKED enum nb_status nb_ptq_plan(struct nb_ptq_plan *p, struct nb_edit *e,
                                      const struct nb_net *net, const struct nb_observed_net *seen,
                                      const struct nb_ptq_options *o, const bool *stay,
                                      struct nb_error *err);
void nb_ptq_plan_fini(struct nb_ptq_plan *p);
/* Is node i a layer or an operator with an integer form, and not the Relu of one? */
bool nb_ptq_is_unit(const struct nb_ptq_plan *p, size_t i);
/* The Add that alone reads a product with constant weights, and adds input *side, constant, to each row; SIZE_MAX: none. */
size_t nb_ptq_bias_add(const struct nb_edit *e, const struct nb_onnx_node *n, size_t *side);
/* Is it one of these, by name or operator? */
bool nb_ptq_is_kept(const struct nb_onnx_node *n, const char *const *keep, size_t n_keep);
struct nb_ptq_tensor *nb_ptq_find(const struct nb_ptq_plan *p, const char *name); /* NULL */
const struct nb_ptq_tensor *nb_ptq_root(const struct nb_ptq_plan *p, const struct nb_ptq_tensor *t);
struct nb_ptq_grid nb_ptq_grid_of(const struct nb_ptq_plan *p, const struct nb_ptq_tensor *t,
                                  const struct nb_ptq_options *o);

/* ---- chains.c: sums and products that are better left in floats ---- */
NB_CHECKED enum nb_status nb_ptq_leave_chains(struct nb_ptq_plan *p, struct nb_edit *e,
                                              struct nb_error *err);
/* Is node i a Softmax that only a product reads? */
bool nb_ptq_is_attention(const struct nb_edit *e, size_t i);
/* Does it compute in floats, number by number; a norm? */
bool nb_ptq_is_curve(const struct nb_onnx_node *n);
bool nb_ptq_is_norm(const struct nb_onnx_node *n);

/* ---- layers.c: layers with constant weights, as matrices ---- */

/* Where a window lies: of height and width; of matrices only channels and batch count. */
struct nb_ptq_window {
    uint64_t batch;  /* or rows of a matrix' input */
    size_t channels; /* of a group */
    int64_t in[2], out[2], kernel[2], stride[2], pad[2], dilation[2];
};
/* A matrix (channels, cols); row c reads group c / (channels / groups) of the input. */
struct nb_ptq_layer {
    size_t node;
    struct nb_onnx_tensor w;
    int64_t axis;           /* of w, counts channels */
    uint64_t before, after; /* elements of the dimensions before and after it */
    size_t channels, cols, groups;
    bool conv, known;              /* known: window says which inputs the columns meet */
    const struct nb_ptq_tensor *x; /* what it reads; NULL: not seen */
    struct nb_ptq_window window;
};
/* false: no such layer, or it stays float. */
bool nb_ptq_layer_find(struct nb_ptq_layer *l, const struct nb_edit *e, const struct nb_ptq_plan *p,
                       const struct nb_net *net, size_t node);
/* Element of w. */
size_t nb_ptq_layer_at(const struct nb_ptq_layer *l, size_t channel, size_t col);

/* ---- moments.c: the inputs of layers, column by column ---- */
/* Sums over positions of all samples, each (groups, cols). Owns: all. */
struct nb_ptq_moments {
    struct nb_ptq_grid grid; /* of the input: to be filled before */
    double *sum, *square;
    double *rounded_sum;   /* of the input on its grid */
    double positions;      /* summed; 0: the input is not known */
    size_t n_seen;         /* samples */
    struct nb_hessian **h; /* (groups), or NULL */
};
/* all: (n), zeros but for grid; fini each, also after an error. products: h too. */
NB_CHECKED enum nb_status nb_ptq_measure_inputs(struct nb_ptq_moments *all,
                                                const struct nb_ptq_layer *layers, size_t n,
                                                bool products, const struct nb_ptq_ground *ground,
                                                struct nb_error *err);
void nb_ptq_moments_fini(struct nb_ptq_moments *m, const struct nb_ptq_layer *l,
                         const struct nb_allocator *a);
uint64_t nb_ptq_moments_bytes(const struct nb_ptq_layer *l); /* of h */

/* ---- round.c: weights on their grids ---- */
struct nb_ptq_rounded {
    int8_t *q;     /* as the initializer lies; NULL: not rounded */
    float *scales; /* (n_scales): 1, or the channels */
    size_t n_scales, n_channels;
    int64_t axis;  /* of the channels; -1: one scale */
    double *shift; /* (channels) to be added to the bias; NULL: nothing */
};
/* Owns (in arena): all but what was given. */
struct nb_ptq_rounder {
    const struct nb_ptq_options *o;
    const struct nb_ptq_ground *ground;
    struct nb_arena *arena;
    struct nb_ptq_layer *layers; /* (n_layers) */
    size_t n_layers;
    struct nb_ptq_rounded *rounded; /* (nodes of the edit) */
    bool *units;                    /* (nodes) that may stay float */
};
NB_CHECKED enum nb_status nb_ptq_round(struct nb_ptq_rounder *k, const struct nb_edit *e,
                                       const struct nb_ptq_plan *p, struct nb_error *err);

/* ---- weights.c: initializers on their grids ---- */
/* Input i of a node, an initializer, becomes what a DequantizeLinear makes of its integers. */
NB_CHECKED enum nb_status nb_ptq_weight(struct nb_edit *e, size_t node, size_t i,
                                        const struct nb_ptq_rounded *r,
                                        const struct nb_ptq_options *o, struct nb_error *err);
/* Adds numbers to the bias, input i of a node, (n); a node without gets one. */
NB_CHECKED enum nb_status nb_ptq_add_bias(struct nb_edit *e, size_t node, size_t i,
                                          const double *shift, size_t n, struct nb_error *err);
/* Before nb_ptq_weight: scales of a layer's weights (input 1) that its bias (input 2, and the shift) fits to. */
void nb_ptq_fit_bias(const struct nb_edit *e, size_t node, float x_scale,
                     const struct nb_ptq_rounded *r);
NB_CHECKED enum nb_status nb_ptq_bias(struct nb_edit *e, size_t node, size_t i, float x_scale,
                                      const struct nb_ptq_rounded *r, struct nb_error *err);
/* A constant beside an activation (Add, Mul): codes as activations have them, one scale. */
NB_CHECKED enum nb_status nb_ptq_operand(struct nb_edit *e, size_t node, size_t i,
                                         const struct nb_ptq_options *o, struct nb_error *err);
/* An initializer of one number, or of n. NULL: no memory. */
const char *nb_ptq_scalar(struct nb_edit *e, const char *name, int32_t type, double value,
                          struct nb_error *err);
/* ---- keep.c: what stays float ---- */
/* Models that are tried. Borrows: all. */
struct nb_ptq_trial {
    /* The model in which these (nodes) stay float, until the next call. */
    enum nb_status (*make)(void *ctx, const bool *stay, const struct nb_onnx_model **m,
                           struct nb_error *err);
    void *ctx;
    const struct nb_onnx_model *reference;
    const struct nb_net_options *net;
    const struct nb_ptq_data *data;
    struct nb_pool *pool;
    const struct nb_allocator *a;
    struct nb_arena *arena; /* of the choice */
    double max_drop, min_sqnr_db;
};
struct nb_ptq_choice {
    struct nb_ptq_score score;
    size_t n_kept, n_models;  /* models that were measured */
    struct nb_ptq_kept *kept; /* (n_kept) the noisiest first */
    bool *stay;               /* (nodes) */
};
NB_CHECKED enum nb_status nb_ptq_choose(struct nb_ptq_choice *out, const struct nb_ptq_trial *t,
                                        const bool *units, size_t n_nodes, struct nb_error *err);

/* ---- qdq.c ---- */
/* rounded: (nodes of the edit) */
NB_CHECKED enum nb_status nb_ptq_insert(struct nb_edit *e, struct nb_ptq_plan *p,
                                        const struct nb_ptq_rounded *rounded,
                                        const struct nb_ptq_options *o,
                                        struct nb_ptq_report *report, struct nb_error *err);

/* ---- qoperator.c: a QDQ model with integer operators ---- */
NB_CHECKED enum nb_status nb_ptq_qoperator(struct nb_edit *e, const struct nb_ptq_options *o,
                                           const struct nb_ptq_report *report,
                                           struct nb_error *err);

/* ---- encodings.c, strip.c: of a QDQ edit; simple: the model that it was made from ---- */
NB_CHECKED enum nb_status nb_ptq_write_encodings(struct nb_str *out, struct nb_edit *e,
                                                 const struct nb_onnx_model *simple,
                                                 const struct nb_ptq_options *o,
                                                 struct nb_error *err);
NB_CHECKED enum nb_status nb_ptq_strip(struct nb_edit *e, const struct nb_onnx_model *simple,
                                       struct nb_error *err);

/* ---- nbits_moments.c ---- */

struct nb_nbits_input {
    const char *input;    /* the value's name                                     */
    size_t cols, wide;    /* its last dimension, and with zeros behind it: of h   */
    struct nb_hessian *h; /* out, the caller's; NULL: the net has no such value   */
};
struct nb_nbits_seen {
    struct nb_nbits_input *of; /* (n) */
    size_t n;
};
/* Whatever it returns, h has to be destroyed. */
NB_CHECKED enum nb_status nb_nbits_moments(const struct nb_nbits_seen *job,
                                           const struct nb_net *net, const struct nb_ptq_data *data,
                                           struct nb_pool *pool, const struct nb_allocator *a,
                                           struct nb_error *err);
const struct nb_hessian *nb_nbits_moment(const struct nb_nbits_seen *job, const char *input);

/* ---- nbits.c, nbits_round.c: weights in few bits ---- */

/* A product whose right side is constant. Borrows: the edit's. */
struct nb_product {
    size_t node;
    const char *input;
    struct nb_onnx_tensor w;
    uint64_t n, k; /* output channels, inputs */
    bool turned;   /* w is (n, k), not (k, n) */
    double alpha;
    const char *bias; /* NULL: none */
};
/* All but those that are kept float; of the edit's arena. */
NB_CHECKED enum nb_status nb_ptq_products(struct nb_edit *e, const char *const *keep, size_t n_keep,
                                          struct nb_product **list, size_t *n,
                                          struct nb_error *err);
/* How weights are rounded. Borrows: all. */
struct nb_algo;
struct nb_rounding {
    const struct nb_numfmt *type;
    const struct nb_algo *algo;
    struct nb_scale_options how;
    struct nb_pool *pool;
    const struct nb_allocator *a;
};
/* NB_ERR_ARG: a type that MatMulNBits does not have, a method that does not exist or lacks its data. */
NB_CHECKED enum nb_status nb_rounding_init(struct nb_rounding *r,
                                           const struct nb_ptq_weight_options *o, bool data,
                                           struct nb_pool *pool, const struct nb_allocator *a,
                                           struct nb_error *err);
size_t nb_nbits_wide(const struct nb_rounding *r, uint64_t k); /* k in whole blocks */
/* A weight as MatMulNBits has it; of the edit's arena. */
struct nb_nbits {
    uint32_t bits, block;
    uint64_t blocks;         /* of a row */
    const uint8_t *codes;    /* (n, blocks * block * bits / 8) */
    const float *scales;     /* (n, blocks) */
    const uint8_t *zeros;    /* (n, ceil(blocks * bits / 8)), or NULL */
    const float *real_zeros; /* (n, blocks), or NULL */
};
NB_CHECKED enum nb_status nb_nbits_round(struct nb_nbits *q, const struct nb_rounding *r,
                                         const struct nb_product *p, const struct nb_hessian *h,
                                         struct nb_edit *e, struct nb_ptq_report *report,
                                         struct nb_error *err);

/* ---- nbits_qdq.c: the same in ONNX's own nodes ---- */
/* Adds W (K, N) of a product, alpha in it, as what a DequantizeLinear makes: *out. NB_ERR_UNSUPPORTED: zero points in
 * floating point. */
NB_CHECKED enum nb_status nb_nbits_dequantize(struct nb_edit *e, const struct nb_product *p,
                                              const struct nb_nbits *q, const char **out,
                                              struct nb_error *err);

/* ---- half_types.c ---- */
/* The element types of the edit's values; NB_ONNX_UNDEFINED: not known. Does it compute in float16 if its floats are? */
NB_CHECKED enum nb_status nb_half_types(struct nb_map *types, const struct nb_edit *e,
                                        struct nb_error *err);
int32_t nb_half_type(const struct nb_map *types, const char *name);
bool nb_half_takes(const struct nb_onnx_node *n);

/* ---- opset.c: to the operator set that a scale for each channel needs (13), or one for each block (21) ---- */
NB_CHECKED enum nb_status nb_ptq_raise_opset(struct nb_edit *e, struct nb_error *err);
NB_CHECKED enum nb_status nb_ptq_raise_for_blocks(struct nb_edit *e, struct nb_error *err);
/* Of a model that was raised from operator set `from`, once dimensions are known: does it mean the same? */
NB_CHECKED enum nb_status nb_ptq_check_opset(const struct nb_edit *e, const struct nb_net *net,
                                             int64_t from, struct nb_error *err);

#endif
