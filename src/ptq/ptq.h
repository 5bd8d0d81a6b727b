/* ptq/ptq.h: static post-training quantization of nets: ranges of activations from data, then a model with
 * QuantizeLinear and DequantizeLinear nodes (QDQ) as engines want it (docs/design/012-static-int8.md).
 */
#ifndef NB_PTQ_PTQ_H
#define NB_PTQ_PTQ_H

#include "container/onnx.h"
#include "eval/net_score.h"
#include "net/net.h"
#include "numfmt/numfmt.h"

/* Whose rules the Q and DQ nodes follow. */
enum nb_ptq_profile {
    NB_PTQ_ORT_CPU, /* uint8 activations with a zero point, every convolution's output quantized     */
    NB_PTQ_OPENVINO, /* the same                                                                      */
    NB_PTQ_TENSORRT, /* int8, symmetric, at the inputs of weighted layers alone; biases float         */
    NB_PTQ_QNN, /* as ort-cpu, and whatever can be quantized is                                  */
    NB_N_PTQ_PROFILES
};
const char *nb_ptq_profile_name(enum nb_ptq_profile p); /* "ort-cpu" */

/* How the range of an activation is found from what was seen. */
enum nb_ptq_range {
    NB_PTQ_MINMAX, /* least and greatest                                                          */
    NB_PTQ_MOVING, /* moving average (0.01) of the least and greatest of each sample              */
    NB_PTQ_PERCENTILE, /* what `percentile` percent lie within                                        */
    NB_PTQ_MSE, /* least squared error of the grid                                             */
    NB_PTQ_ENTROPY, /* least Kullback-Leibler divergence (Migacz 2017)                             */
    NB_N_PTQ_RANGES
};
const char *nb_ptq_range_name(enum nb_ptq_range r); /* "minmax" */

/* How weights are rounded: src/quant's algorithms, on the matrix that a layer is. */
enum nb_ptq_weights {
    NB_PTQ_RTN,         /* to nearest, the largest weight on the largest integer                 */
    NB_PTQ_WEIGHTS_MSE, /* likewise, scales searched: least squared error, inputs as its weights */
    NB_PTQ_GPTQ,        /* errors fed back, scales searched (kgptq)                              */
    NB_PTQ_ADAROUND,    /* which neighbour is learned                                            */
    NB_N_PTQ_WEIGHTS
};
const char *nb_ptq_weights_name(enum nb_ptq_weights w); /* "rtn" */

/* The integers of activations. */
enum nb_ptq_activations {
    NB_PTQ_INT8,   /* 8 bits, as the profile has them: uint8, or int8 symmetric           */
    NB_PTQ_UINT16, /* 16 bits with a zero point                                           */
    NB_PTQ_INT16,  /* 16 bits, symmetric, as TFLite's 16x8                                */
    NB_N_PTQ_ACTIVATIONS
};
const char *nb_ptq_activations_name(enum nb_ptq_activations a); /* "int8" */

/* What stands for an integer operator. */
enum nb_ptq_format {
    NB_PTQ_QDQ, /* the float operator between DequantizeLinear and QuantizeLinear            */
    NB_PTQ_QOPERATOR, /* QLinearConv and its kin, where there are such                             */
    NB_PTQ_FLOAT, /* no nodes at all: constants on their grids, for tools that take encodings      */
    NB_N_PTQ_FORMATS
};
const char *nb_ptq_format_name(enum nb_ptq_format f); /* "qdq" */

struct nb_ptq_options {
    enum nb_ptq_format format;
    const char *encodings; /* version of AIMET's: "1.0.0", "0.6.1"; NULL: not asked for. */
    enum nb_ptq_profile profile;
    enum nb_ptq_range range;
    enum nb_ptq_weights weights;
    enum nb_ptq_activations activations;
    unsigned weight_bits; /* 8, or 4; 0: 8 */
    double percentile;    /* 99.999 if 0 */
    bool per_tensor;      /* one scale for all of a weight, not one for each output channel */
    bool bias_correct;    /* biases make good what rounding adds on average */
    bool equalize;        /* weights of neighbouring layers first           */
    bool smooth;          /* outliers of activations into the weights first, by alpha */
    double alpha;         /* 0 .. 1; below: the best of some                       */
    bool bounded;         /* nodes stay float until the next two are met    */
    bool
        planning; /* no samples: values have some range, biases nothing to make good; weights: rtn */
    double max_drop;    /* points of samples that are right (labels), or as the float net has it */
    double min_sqnr_db; /* of the worst output                           */
    const char *const *keep; /* (n_keep) nodes, by name or operator, that stay float */
    size_t n_keep;
};

/* Samples: of each input of the net one array, (n_samples, as large as the input). An input of integers gets them from
 * floats, which are whole numbers. Borrows: all. */
struct nb_ptq_data {
    const float *const *inputs; /* (n_inputs of the net) */
    size_t n_samples;
    const int64_t
        *labels; /* (n_samples) place of the largest element of the first output, or NULL */
    const struct nb_progress *progress; /* of runs over them, and of layers; may be NULL */
};

/* What a model is worth: points lost, and the worst output's signal-to-noise ratio. */
struct nb_ptq_score {
    double drop, sqnr_db;
};
/* A node that stays float, and the net's ratio if it alone is quantized. */
struct nb_ptq_kept {
    size_t node;
    const char *name; /* the node's, else of what it makes */
    double sqnr_db;
};
/* Inputs of products with constant weights. */
struct nb_ptq_smoothed {
    double alpha;
    size_t n_folded;     /* divided by what makes them                           */
    size_t n_multiplied; /* by a product of their own                            */
    size_t n_even;       /* not: that would cost a product, and no channel is large */
    size_t n_stuck;      /* not: what makes them lets no factor pass              */
};
/* What becomes of a node of the simplified net. */
enum nb_ptq_fate {
    NB_PTQ_IS_FLOAT,     /* has no other form, or nobody who would read it */
    NB_PTQ_IS_KEPT,      /* because it was asked for                       */
    NB_PTQ_IS_MOVED,     /* moves codes, and needs no form of its own      */
    NB_PTQ_IS_QUANTIZED, /* in the type that is asked for                  */
    NB_N_PTQ_FATES
};
const char *nb_ptq_fate_name(enum nb_ptq_fate f); /* "float" */
struct nb_ptq_node {
    const char *name,
        *op; /* name: the node's, else of what it makes; op NULL: there is none here */
    enum nb_ptq_fate fate;
    uint64_t bytes; /* of the constants that it reads */
};
struct nb_ptq_report {
    const struct nb_ptq_node *nodes; /* (n_listed) */
    size_t n_listed;
    size_t n_nodes, n_quantized; /* of operators that have an integer form */
    size_t n_activations;        /* with a Q and DQ */
    uint64_t float_bytes, bytes; /* of the initializers before and after */
    size_t n_pairs;              /* of layers that were equalized         */
    struct nb_ptq_smoothed smoothed;
    /* of a bounded search */
    struct nb_ptq_score score;
    const struct nb_ptq_kept *stay; /* (n_stay) nodes that stay float, the noisiest first */
    size_t n_stay, n_models;        /* models that were measured                       */
    double weight_signal,
        weight_noise;       /* of weight-only: sums of squares of weights, of what rounding did */
    uint64_t n_beyond;      /* of float16: constants that it does not hold ...           */
    size_t n_kept;          /* ... in so many tensors, which stay float32                */
    size_t n_beyond_values; /* values that samples took past 65504                       */
};

/* Owns: a model and what it points to. */
struct nb_ptq;
/* m: must outlive the result. o: of the net's import (dimensions). NB_ERR_ARG: data that do not fit; NB_ERR_NUMERIC: a
 * value that is not finite. */
NB_CHECKED enum nb_status nb_ptq_create(struct nb_ptq **out, const struct nb_onnx_model *m,
                                        const struct nb_net_options *net,
                                        const struct nb_ptq_options *o,
                                        const struct nb_ptq_data *data, struct nb_pool *pool,
                                        const struct nb_allocator *a, struct nb_error *err);

/* Weights alone: those of products in groups of 4 or 8 bits, as MatMulNBits (nbits.c). */
struct nb_ptq_weight_options {
    const char *type;         /* a general grid: "int4_g32", "int8_g128_asym" ...  */
    const char *method;       /* NULL: kgptq with data, else rtn                   */
    const char *scale_search; /* NULL: the method's, or mse                        */
    const char *const *keep;  /* (n_keep) as above                                 */
    size_t n_keep;
    bool qdq;      /* DequantizeLinear of ONNX with a scale for each block, not MatMulNBits */
    bool planning; /* sizes alone are wanted: rounded in the fastest way, without data */
};
bool nb_nbits_fits(const struct nb_numfmt *f); /* can it be the type? */
/* data->n_samples 0: none. The failures of nb_ptq_create. */
NB_CHECKED enum nb_status nb_ptq_create_weights(struct nb_ptq **out, const struct nb_onnx_model *m,
                                                const struct nb_net_options *net,
                                                const struct nb_ptq_weight_options *o,
                                                const struct nb_ptq_data *data,
                                                struct nb_pool *pool, const struct nb_allocator *a,
                                                struct nb_error *err);

/* Products with constant weights in 8 bits, their inputs quantized as they come (dynamic.c). NB_ERR_UNSUPPORTED: there are
 * none, or an operator set below 11; NB_ERR_NUMERIC names a weight that is not finite. */
NB_CHECKED enum nb_status nb_ptq_create_dynamic(struct nb_ptq **out, const struct nb_onnx_model *m,
                                                const char *const *keep, size_t n_keep,
                                                const struct nb_allocator *a, struct nb_error *err);

/* All of the net in float16 that takes it; inputs and outputs stay (half.c). */
struct nb_ptq_half_options {
    const char *const *keep; /* (n_keep) as above */
    size_t n_keep;
};
/* data->n_samples 0: none; else values that pass 65504 stay float32. The failures of nb_ptq_create. */
NB_CHECKED enum nb_status nb_ptq_create_half(struct nb_ptq **out, const struct nb_onnx_model *m,
                                             const struct nb_net_options *net,
                                             const struct nb_ptq_half_options *o,
                                             const struct nb_ptq_data *data, struct nb_pool *pool,
                                             const struct nb_allocator *a, struct nb_error *err);

void nb_ptq_destroy(struct nb_ptq *p);
const struct nb_onnx_model *nb_ptq_model(const struct nb_ptq *p);
/* What is to be written: that model, but of format float without its nodes. */
const struct nb_onnx_model *nb_ptq_file(const struct nb_ptq *p);
/* JSON; empty unless asked for. */
const struct nb_str *nb_ptq_encodings(const struct nb_ptq *p);
const struct nb_ptq_report *nb_ptq_report(const struct nb_ptq *p);

/* Over samples, of one output of a net; all 0 of one that is no float. */
struct nb_ptq_error {
    struct nb_agreement of;              /* a row for each sample */
    uint64_t n_right, n_right_reference; /* where the label says; without labels 0 */
};
/* errors (outputs of the models, zeros): filled. Two models of the same inputs and outputs. */
NB_CHECKED enum nb_status nb_ptq_measure(struct nb_ptq_error *errors,
                                         const struct nb_onnx_model *reference,
                                         const struct nb_onnx_model *model,
                                         const struct nb_net_options *o,
                                         const struct nb_ptq_data *data, struct nb_pool *pool,
                                         const struct nb_allocator *a, struct nb_error *err);

#endif
