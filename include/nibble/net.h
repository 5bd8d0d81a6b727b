/* nibble/net.h: running nets that bring their own graph (ONNX), and arrays in .npy files.
 *
 * What a net holds is told by nb_inspect_net (nibble.h) without reading weights; here it is opened, planned
 * and run. Dimensions are fixed when a net is opened: another size is another executor. Conventions are those
 * of nibble.h. Results are the same bits for any number of threads and any instruction set of the CPU.
 *
 * Example (compiled by the tests):
 *
 *     nb_executor *e;
 *     struct nb_executor_options o;
 *     struct nb_executor_port in, out;
 *     const struct nb_executor_dim dims[] = {{"N", 1}};
 *     nb_executor_options_init(&o);
 *     o.dims = dims;
 *     o.n_dims = 1;
 *     if (nb_executor_create(&e, ctx, "net.onnx", &o, &err) == NB_OK) {
 *         if (nb_executor_input(e, 0, &in) == NB_OK && nb_executor_output(e, 0, &out) == NB_OK) {
 *             const void *x = ...;        in.bytes of type in.type
 *             void *y = malloc(out.bytes);
 *             if (nb_executor_run(e, &x, &y, &err) != NB_OK) ...
 *         }
 *         nb_executor_destroy(e);
 *     }
 */
#ifndef NIBBLE_NET_H
#define NIBBLE_NET_H

#include <nibble/nibble.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NB_NET_MAX_DIMS 8

/* ---- opening ---- */

/* A dimension that the file leaves open, by the name it has there. */
struct nb_executor_dim {
    const char *name;
    int64_t n; /* >= 0 */
};
/* All dimensions of an input; those that the file fixes must agree. */
struct nb_executor_shape {
    const char *input;
    const int64_t *dims; /* (rank) */
    uint32_t rank;
};
/* An input that always has this value. It is an input no more, and what follows from it is worked out once, when the
 * net is opened: inputs that say shapes or axes must be fixed. */
struct nb_executor_fixed {
    const char *input;
    double value; /* of all its elements, or ...                                              */
    const void *
        data; /* ... if not NULL: (dims) elements of the input's type, which has 8 bits or more and is not
                         float16 or bfloat16; borrowed until the executor is destroyed */
};

enum nb_executor_flags {
    NB_EXECUTOR_AS_FILE =
        1 /* nodes stay as the file has them: slower, and every value has its name there */
};

/* Borrowed for the call that takes it, but for data. */
struct nb_executor_options {
    uint32_t size;
    uint32_t flags;   /* enum nb_executor_flags */
    uint32_t threads; /* 0: the context's; else so many of its own */
    const struct nb_executor_dim *dims;
    size_t n_dims;
    const struct nb_executor_shape *shapes;
    size_t n_shapes;
    const struct nb_executor_fixed *fixed;
    size_t n_fixed;
};
NB_API void nb_executor_options_init(struct nb_executor_options *o);

/* A net, planned and ready to run: it owns its memory and holds the file open; nothing of the options. It must not
 * outlive its context, and a call on it counts as one on the context, unless it has threads of its own: then
 * executors run at the same time, each in one call at a time. */
typedef struct nb_executor nb_executor;

/* NB_ERR_UNSUPPORTED names the operator or type that nibble does not have, and the node; NB_ERR_ARG names a
 * dimension that is still open, or an option that fits nothing; NB_ERR_FORMAT says where the file contradicts
 * itself, NB_ERR_LIMIT what is too large. */
NB_API NB_CHECKED enum nb_status nb_executor_create(nb_executor **e, nb_context *ctx,
                                                    const char *path,
                                                    const struct nb_executor_options *o,
                                                    struct nb_error *err);
NB_API void nb_executor_destroy(nb_executor *e); /* NULL: nothing */

/* ---- inputs and outputs ---- */

/* Borrows: name, from the executor; type is static. */
struct nb_executor_port {
    const char *name;
    const char *type; /* the file's: "float32", "float16", "int64", "bool"... */
    uint32_t rank;
    int64_t dims[NB_NET_MAX_DIMS]; /* (rank), row-major */
    uint64_t elements;
    uint64_t
        bytes; /* as the caller holds it: elements one after the other, those of 4 and 2 bits packed, the
                       first in the low bits */
};
/* i counts from 0; NB_ERR_NOT_FOUND after the last. Inputs that are fixed, or are weights, do not count. */
NB_API NB_CHECKED enum nb_status nb_executor_input(const nb_executor *e, size_t i,
                                                   struct nb_executor_port *port);
NB_API NB_CHECKED enum nb_status nb_executor_output(const nb_executor *e, size_t i,
                                                    struct nb_executor_port *port);

/* inputs, outputs: memory for each, in the order of nb_executor_input and nb_executor_output, `bytes` long and
 * aligned for its elements; no two overlap. No memory is allocated. bool: any byte but 0 is true, outputs are 0 or
 * 1. Nothing but NULL can fail (NB_ERR_ARG): nets have no way to say that they do not like their data. */
NB_API NB_CHECKED enum nb_status nb_executor_run(nb_executor *e, const void *const *inputs,
                                                 void *const *outputs, struct nb_error *err);

/* ---- looking inside ---- */

struct nb_executor_memory {
    uint64_t weight_bytes; /* constants, most of them in the file's mapping            */
    uint64_t activation_bytes, scratch_bytes;
    uint64_t staging_bytes;  /* of inputs and outputs whose type the graph does not have */
    uint64_t prepared_bytes; /* copies of weights in the order in which they are used    */
};
NB_API void nb_executor_memory(const nb_executor *e, struct nb_executor_memory *out);
NB_API uint32_t nb_executor_threads(const nb_executor *e);

/* Nodes as they run, after rewriting, in their order. Borrows: name, from the executor; op is static. */
struct nb_executor_node {
    const char
        *name; /* of what it makes first; of nodes that stay as the file has them the file's name */
    const char *op; /* nibble's name of the operator                                          */
    uint64_t runs;  /* since profiling was switched on                                        */
    double seconds; /* of all of them                                                         */
    uint64_t
        macs; /* multiplications and additions of a run, for those that are sums of products; else 0 */
};
/* Times nodes from now on, from 0; off: the figures stay. Timing costs about 0.1 us a node. */
NB_API void nb_executor_profile(nb_executor *e, int32_t on);
/* i counts from 0; NB_ERR_NOT_FOUND after the last. */
NB_API NB_CHECKED enum nb_status nb_executor_node(const nb_executor *e, size_t i,
                                                  struct nb_executor_node *node);

/* Called by nb_executor_run with each value that a node has made, in order, on the calling thread. value, data:
 * for the call alone; the type is the graph's ("float32" for float16). */
typedef void nb_executor_tap_fn(void *ctx, const struct nb_executor_port *value, const void *data);
NB_API void nb_executor_tap(nb_executor *e, nb_executor_tap_fn *fn, void *ctx); /* NULL: off */

/* ---- quantizing ---- */

/* How pictures, or numbers of an array, become those of an input: (x * scale - mean) / std, worked out in float64. */
struct nb_net_prepare {
    uint32_t size;
    uint32_t
        resize; /* pictures: their shorter side becomes this, then the middle is cut out; 0: they are stretched */
    int32_t
        bgr; /* pictures: blue comes first                                                     */
    uint32_t n_mean,
        n_std;    /* 0: none; 1: for all; else one for each channel, in the input's order     */
    double scale; /* 1                                                                         */
    double mean[4], std[4];
    const char
        *layout; /* "nchw", "nhwc"; NULL: by where the input has 1 or 3 channels                  */
};
NB_API void nb_net_prepare_init(struct nb_net_prepare *p);

/* Samples of an input: an .npy file of numbers (S, dims of the input without a leading 1 ...), that is S inputs one
 * behind the other. Numbers that are not float32 are converted as they are: 255 becomes 255.0. Or pictures: a PNG or
 * JPEG file, or a folder of such in the order of their names, which get the input's size and its order of dimensions, 0 to
 * 255 (grey by ITU-R 601 where it has one channel). */
struct nb_net_samples {
    const char *input; /* NULL: the net has but one */
    const char *path;
    const struct nb_net_prepare *prepare; /* NULL: nothing is done to numbers */
};

/* Borrowed for the call. */
struct nb_quantize_net_options {
    uint32_t size;
    int32_t per_tensor;  /* one scale for a weight, not one for each output channel             */
    int32_t overwrite;   /* of a file that is there                                             */
    uint32_t n_keep;     /* of keep                                                             */
    const char *profile; /* who will run it: "ort-cpu", "openvino", "tensorrt", "qnn"           */
    const char *range;   /* of activations: "minmax", "moving", "percentile", "mse", "entropy" */
    double percentile;   /* of that rule                                                        */
    const char *const
        *keep; /* nodes, by name or operator, that stay float                         */
    const struct nb_net_samples
        *samples; /* one for each input that is not fixed; all have as many samples */
    size_t n_samples;
    const struct nb_executor_dim
        *dims; /* as nb_executor_options has them; an open first dimension is 1, others are
                                           those of the samples */
    size_t n_dims;
    const struct nb_executor_fixed *fixed;
    size_t n_fixed;
    /* "int8": weights and activations, with samples. A grid of int4 or int8 in groups, "int4_g32", "int8_g128_asym": the
     * weights of products alone (docs/nets.md), samples or none. "int8_dynamic": products with constant weights, inputs
     * quantized as they come; "f16": all that computes in float16; samples or none. */
    const char *type;
    const char *
        method; /* of such a grid: how weights are rounded, as `nibble list methods` has it; NULL: kgptq
                           with samples, rtn without */
    const char
        *scale_search; /* likewise: "mse", "exact", "absmax" ...; NULL: the method's, or mse */
    const char *
        weights; /* how they are rounded: "rtn", "mse", "gptq", "adaround"; NULL: rtn, of 4 bits gptq */
    const char *
        format; /* of "int8": "qdq", float operators between DequantizeLinear and QuantizeLinear (NULL); "qoperator",
                           QLinearConv and its kin where there are such. Of a grid in groups "qdq": DequantizeLinear with a
                           scale for each block, of operator set 21; NULL: MatMulNBits */
    const char *
        encodings; /* of "int8": a file of AIMET's encodings is written as well, for QNN's converters; NULL:
                              none. format "float" is their net: batch norms folded, weights on their grids */
    const char *encodings_version; /* "1.0.0", "0.6.1" */
    int32_t
        bias_correct; /* biases make good what rounding adds to a channel on average; -1: with rtn,
                             with mse, and with weights of 4 bits                               */
    int32_t equalize; /* weights of neighbouring convolutions become alike first            */
    double
        max_drop; /* nodes stay float until no more than these points are lost: of samples that are
                        right, with labels; else of those whose largest element stays. NaN: no bound */
    double min_sqnr_db;    /* likewise until the worst output has this ratio. NaN: no bound      */
    const int64_t *labels; /* (n_labels) class of each sample in the first output; NULL          */
    size_t n_labels;
    const char *
        activations; /* of "int8": "int8", 8 bits as the profile has them; "uint16" with a zero point; "int16" without.
                        16 bits are what NPUs take (qnn); ONNX Runtime and nibble run them in floats */
    uint32_t weight_bits; /* of "int8": 8, or 4 */
    double
        smooth; /* of "int8": outliers of the inputs of products go into the weights first, by this alpha, 0 to 1;
                      negative: the best of some. NaN: no */
};
NB_API void nb_quantize_net_options_init(struct nb_quantize_net_options *o);

struct nb_quantize_net_result {
    uint64_t float_bytes, bytes; /* of the weights before and after                              */
    uint64_t n_nodes,
        n_quantized;        /* nodes of the simplified net; of them with an integer form    */
    uint64_t n_activations; /* values that have a grid                                      */
    uint64_t n_samples;
    double
        sqnr_db; /* of the worst output over the samples, against the float net; NaN without samples */
    double same_top; /* share of samples whose largest element is at the same place; of that one */
    double seconds;
    double weight_sqnr_db;     /* of weights that were rounded alone; NaN otherwise        */
    uint64_t n_beyond, n_kept; /* of f16: constants that it does not hold, in so many tensors that
                                  stay float32 */
    uint64_t n_beyond_values;  /* values that samples took past 65504: they stay float32 */
    uint64_t n_pairs;          /* of layers that were equalized                            */
    uint64_t n_stay, n_models; /* of a bound: nodes that stay float for it; models measured */
    double drop;               /* of a bound: points that are lost                         */
    char stay[1024];           /* those nodes, the worst first, ", " between; cut if long  */
    double smooth;             /* alpha; NaN: not asked for                                */
    uint64_t n_folded,
        n_multiplied; /* inputs of products that were smoothed: by what makes them, by a product of
                                        their own */
    uint64_t n_even,
        n_stuck; /* that were not: no channel is large enough for such a product; what makes them
                                 lets no factor pass */
};
/* Static quantization to 8 bits (type "int8"): the net runs over the samples, every activation gets a range, and `out` gets the
 * model with QuantizeLinear and DequantizeLinear nodes (docs/nets.md). Batch norms go into convolutions,
 * names of inputs, outputs and kept values stay. NB_ERR_UNSUPPORTED names what nibble cannot run; NB_ERR_ARG says
 * which samples do not fit; NB_ERR_NUMERIC which value was not finite. Progress is told in "samples" and "layers". */
NB_API NB_CHECKED enum nb_status nb_quantize_net(nb_context *ctx, const char *path, const char *out,
                                                 const struct nb_quantize_net_options *o,
                                                 struct nb_quantize_net_result *result,
                                                 struct nb_error *err);

/* A node of the simplified net, in its order. */
struct nb_plan_net_node {
    const char *name, *op; /* name: the node's, else that of what it makes; op: ONNX's */
    const char
        *fate; /* "quantized"; "moved": moves codes; "float"; "kept": float, as `keep` asks */
    uint64_t float_bytes; /* of the constants that it reads now */
};
struct nb_plan_net_result {
    uint64_t float_bytes, bytes; /* of the weights before and after */
    uint64_t n_quantized, n_activations;
    uint64_t n_samples; /* 0: none were given */
    const struct nb_plan_net_node *nodes;
    size_t n_nodes;
    void *owner;
};
/* What nb_quantize_net would do with these options, without running the net and without a file: which nodes, how large.
 * Samples are needed for nothing but open dimensions (the first is 1 without), and are looked at if they are given.
 * What only they can tell is left out: ranges, nodes that a bound or a value past 65504 keeps float. */
NB_API NB_CHECKED enum nb_status nb_plan_net(nb_context *ctx, const char *path,
                                             const struct nb_quantize_net_options *o,
                                             struct nb_plan_net_result *result,
                                             struct nb_error *err);
NB_API void nb_plan_net_result_free(struct nb_plan_net_result *r);

/* ---- converting ---- */

/* Writes a net as ONNX. Of TFLite each operator becomes ONNX's, with transposes around those of channels last; tensors
 * keep their names, types and weights. NB_ERR_EXISTS unless overwrite. */
NB_API NB_CHECKED enum nb_status nb_convert_net(nb_context *ctx, const char *path, const char *out,
                                                int32_t overwrite, struct nb_error *err);

/* ---- measuring ---- */

/* Borrowed for the call. labels or expected, or both. */
struct nb_eval_net_options {
    uint32_t size;
    uint32_t top;          /* 5: a sample is right, too, if its class is among so many            */
    const char *output;    /* which is measured; NULL: the only one                               */
    const int64_t *labels; /* (n_labels) class of each sample, from 0; NULL                       */
    size_t n_labels;
    const char
        *expected; /* .npy: what the output should be, one sample behind the other; NULL    */
    const struct nb_net_samples *
        samples; /* one for each input that is not fixed. Integers for an input of the same type are
                     taken as they are, other numbers for an input of floats converted */
    size_t n_samples;
    const struct nb_executor_dim *dims; /* as nb_quantize_net_options has them */
    size_t n_dims;
    const struct nb_executor_fixed *fixed;
    size_t n_fixed;
};
NB_API void nb_eval_net_options_init(struct nb_eval_net_options *o);

struct nb_eval_net_result {
    char output[128]; /* its name, cut if longer  */
    uint64_t n;       /* samples                  */
    uint32_t batch;   /* of them in a run         */
    uint32_t threads;
    int32_t has_classes, has_expected; /* the fields of labels, of `expected` are filled */
    uint64_t n_classes, n_right, n_right_top;
    double loss;                        /* mean cross entropy; NaN: the output is no distribution */
    double sqnr_db, cosine, rmse, most; /* most: the largest difference                          */
    double seconds, run_median, run_min; /* of all runs; of one                                   */
};
/* Runs the net over samples. Scores that are codes of a quantized net are compared as they are, and what they stand for
 * makes the loss. NB_ERR_ARG says which samples, labels or output do not fit. */
NB_API NB_CHECKED enum nb_status nb_evaluate_net(nb_context *ctx, const char *path,
                                                 const struct nb_eval_net_options *o,
                                                 struct nb_eval_net_result *result,
                                                 struct nb_error *err);

/* Borrowed for the call. */
struct nb_compare_net_options {
    uint32_t size;
    int32_t layers;        /* 1: values between the nodes are compared too (default)          */
    const char *output;    /* which labels are for; NULL: the only one                        */
    const int64_t *labels; /* (n_labels) class of each sample, from 0; NULL                   */
    size_t n_labels;
    const struct nb_net_samples *samples; /* as the reference wants them */
    size_t n_samples;
    const struct nb_executor_dim *dims;
    size_t n_dims;
    const struct nb_executor_fixed *fixed;
    size_t n_fixed;
};
NB_API void nb_compare_net_options_init(struct nb_compare_net_options *o);

/* How near a value of a net is to that of the reference, over all samples. */
struct nb_net_nearness {
    const char *name,
        *other;     /* in the reference; in the net                                      */
    const char *op; /* what makes it in the reference, as nibble calls it; NULL: outputs */
    double sqnr_db, cosine, most; /* most: the largest difference */
    double before_db; /* of layers: the worst SQNR of what the node reads; +infinity: of inputs */
    uint64_t elements;
    uint64_t n_rows,
        n_same; /* of outputs: rows of the last dimension; with the largest element in one place */
};
struct nb_compare_net_result {
    uint64_t n;     /* samples        */
    uint32_t batch; /* of them in a run */
    uint32_t threads;
    const struct nb_net_nearness *outputs; /* in the reference's order                        */
    const struct nb_net_nearness *layers;  /* values of both nets, in the order of running   */
    size_t n_outputs, n_layers;
    uint64_t n_alone; /* values of the reference that the net does not have, or in another shape */
    int32_t has_classes;
    uint64_t n_classes, n_right[2]; /* of the reference, of the net */
    double run_median[2];           /* seconds                       */
    void *owner;
};
/* Runs a net beside a reference. Inputs and outputs belong together by name, else by place. An input that is codes
 * in one net and real numbers in the other goes through its grid. A layer's value is compared as it goes on: behind its
 * QuantizeLinear and DequantizeLinear, codes as what they stand for. */
NB_API NB_CHECKED enum nb_status nb_compare_nets(nb_context *ctx, const char *reference,
                                                 const char *net,
                                                 const struct nb_compare_net_options *o,
                                                 struct nb_compare_net_result *result,
                                                 struct nb_error *err);
NB_API void nb_compare_net_result_free(struct nb_compare_net_result *r);

/* ---- arrays in .npy files ---- */

/* Owns (through owner): data. */
struct nb_npy {
    const char *type; /* static: "float16", "float32", "float64", "int8" to "uint64", "bool" */
    uint32_t rank;
    int64_t dims[NB_NET_MAX_DIMS]; /* (rank), row-major */
    uint64_t elements, bytes;
    const void *data; /* (dims), aligned for any type; never NULL */
    void *owner;
};
/* NB_ERR_UNSUPPORTED: Fortran order, big-endian numbers, Python objects, types that are no numbers. */
NB_API NB_CHECKED enum nb_status nb_npy_read(nb_context *ctx, const char *path, struct nb_npy *out,
                                             struct nb_error *err);
NB_API void nb_npy_free(struct nb_npy *npy);
/* Samples as an input takes them, prepared, in its type (float32, or integers of 8 bits): (count, dimensions of the input
 * without its batch), or the array as it is where nothing is to be done. in: of nb_inspect_net; dims: of the dimensions
 * that it leaves open. */
NB_API NB_CHECKED enum nb_status nb_net_samples_read(nb_context *ctx, const struct nb_net_value *in,
                                                     const struct nb_net_samples *s,
                                                     const struct nb_executor_dim *dims,
                                                     size_t n_dims, struct nb_npy *out,
                                                     struct nb_error *err);
/* 1 if samples of this path are pictures: a folder, or a file called .png, .jpg or .jpeg. */
NB_API int32_t nb_is_pictures(const char *path);
/* data: (dims) elements of a type of nb_npy or a port. What NumPy has no type for is widened: bfloat16 to float32,
 * int4 and int2 to int8, uint4 and uint2 to uint8. The file appears when it is complete. */
NB_API NB_CHECKED enum nb_status nb_npy_write(nb_context *ctx, const char *path,
                                              const struct nb_executor_port *port, const void *data,
                                              int32_t overwrite, struct nb_error *err);

#ifdef __cplusplus
}
#endif
#endif
