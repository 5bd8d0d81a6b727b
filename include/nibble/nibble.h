/* nibble/nibble.h: the library: read a float model, make it small, say what that cost, run it.
 *
 * Every call is one of the command's verbs, or generation token by token. Conventions:
 *  - a call returns enum nb_status and, on failure, fills *err (which may be NULL);
 *  - options structs are set up by their nb_*_options_init, which also stores their size: a program
 *    built against an older nibble keeps working, a newer one gets NB_ERR_VERSION from an older
 *    library unless the unknown fields are zero;
 *  - results are structs filled by the call and released by the nb_*_free beside it; strings in them
 *    live as long as the result;
 *  - bytes and logits do not depend on the number of threads or the CPU's instruction set;
 *  - calls on different contexts may run at the same time; one context serves one call at a time.
 *
 * Example (compiled by the tests):
 *
 *     nb_context *ctx;
 *     struct nb_error err;
 *     struct nb_quant_options q;
 *     struct nb_quant_result r;
 *     nb_quant_options_init(&q);
 *     q.type = "q4_k_m";
 *     if (nb_context_create(&ctx, NULL, &err) != NB_OK) ...
 *     if (nb_quantize(ctx, "model-dir", "model.gguf", &q, &r, &err) != NB_OK)
 *         puts(err.message);
 *     nb_quant_result_free(&r);
 *     nb_context_destroy(ctx);
 */
#ifndef NIBBLE_NIBBLE_H
#define NIBBLE_NIBBLE_H

#include <nibble/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- context: threads, memory, messages ---- */
typedef struct nb_context nb_context;

struct nb_context_options {
    uint32_t size;
    uint32_t threads;              /* 0: one per core                                 */
    struct nb_allocator allocator; /* alloc == NULL: malloc                           */
    struct nb_log log;             /* fn == NULL: silence                             */
    struct nb_progress progress;   /* fn == NULL: none                                */
};
NB_API void nb_context_options_init(struct nb_context_options *o);
NB_API NB_CHECKED enum nb_status
nb_context_create(nb_context **ctx, const struct nb_context_options *o, struct nb_error *err);
NB_API void nb_context_destroy(nb_context *ctx);
NB_API uint32_t nb_context_threads(const nb_context *ctx);

/* ---- what there is ---- */
struct nb_list_item {
    const char *name, *summary;
    double bits_per_weight; /* formats and mixes; 0 elsewhere                          */
    uint32_t block;         /* formats: elements per block                             */
    int32_t usable;         /* kernels: 1 if this CPU (and NIBBLE_ISA) allows it; else 1 */
    const char *layout;     /* formats and grids: fields of a block or parts of a tensor, or NULL */
    const char *loads;      /* formats and grids: who reads them besides nibble; NULL: nobody */
};
/* kind: "formats", "grids" (general grids), "types" (what --type takes), "architectures", "containers", "kernels", "methods",
 * "transforms".
 * i counts from 0; NB_ERR_NOT_FOUND after the last. Static strings. */
NB_API NB_CHECKED enum nb_status nb_list(const char *kind, size_t i, struct nb_list_item *item);

/* ---- inspect ---- */
struct nb_tensor_info {
    const char *name, *type;
    uint32_t n_dims;
    uint64_t dims[8]; /* row-major */
    uint64_t bytes;
    const char *group; /* "embedding", "attention", "feed-forward", "norm", "head", "other" */
};
struct nb_meta_info {
    const char *key, *value; /* value as text, long arrays cut */
};
/* What a model can do here. */
enum nb_runs {
    NB_RUNS_NOT,   /* an architecture that nibble does not know */
    NB_RUNS_TEXT,  /* it generates text                         */
    NB_RUNS_EMBEDS /* an encoder: it gives embeddings           */
};
struct nb_model_info {
    const char *path, *dialect, *architecture, *name;
    const char *tokenizer; /* "gpt-2 byte-level BPE, 8192 tokens"; NULL: none */
    const char *recipe;    /* of a file nibble made, JSON; NULL               */
    const char *chat;      /* family of the chat template, "unknown family"; NULL: none */
    const char *hash;      /* of all tensor bytes, 32 hex digits; NULL unless asked for */
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx;
    uint64_t parameters, tensor_bytes, file_bytes;
    double bits_per_weight, bits_per_weight_layers;
    size_t n_tensors, n_meta;
    const struct nb_tensor_info *tensors;
    const struct nb_meta_info *meta;
    void *owner;
    int32_t runs;                       /* enum nb_runs; NB_RUNS_NOT: the numbers above are 0 */
    uint32_t n_experts, n_experts_used; /* of a mixture, and for each token; 0: none */
};
enum nb_inspect_flags { NB_INSPECT_HASH = 1 }; /* reads every byte */
NB_API NB_CHECKED enum nb_status nb_inspect(nb_context *ctx, const char *path, unsigned flags,
                                            struct nb_model_info *info, struct nb_error *err);
NB_API void nb_model_info_free(struct nb_model_info *info);

/* ---- inspect: nets ---- */
/* What an ONNX or TFLite file holds. Weights are not read; files of external data need not be there. */
struct nb_net_value {
    const char *name, *type;      /* "float32"; NULL: not a tensor, or not given           */
    int32_t rank;                 /* -1: not known                                         */
    const int64_t *dims;          /* (rank); -1: not fixed                                 */
    const char *const *dim_names; /* (rank) of inputs and outputs; NULL where it has none  */
    uint64_t bytes;               /* of a tensor */
    const char *file;             /* of a tensor that is external data; NULL */
    /* TFLite: element = scale * (code - zero point); one for all, or one for each index of a dimension */
    const float *scales; /* (n_scales) */
    const int64_t *zero_points;
    uint32_t n_scales; /* 0: not quantized */
    int32_t scales_dim;
};
struct nb_net_count {
    const char *name; /* "Conv", "com.microsoft.QGemm", "CONV_2D", "custom.Mine" */
    uint64_t n;
    int32_t known; /* nibble has it, for some types and attributes at least */
};
struct nb_net_type {
    const char *name;
    uint64_t tensors, elements, bytes;
};
struct nb_net_opset {
    const char *domain; /* "ai.onnx" */
    int64_t version;
};
struct nb_net_file {
    const char *name; /* as the model names it */
    uint64_t tensors, bytes;
};
struct nb_net_info {
    const char *path, *name, *producer, *producer_version; /* NULL: not said */
    int64_t ir_version;                                    /* of TFLite: of its schema */
    uint64_t n_nodes, n_subgraphs;                         /* nodes of subgraphs count */
    uint64_t parameters, tensor_bytes, file_bytes;
    const struct nb_net_opset *opsets;
    const struct nb_net_value *inputs, *outputs, *tensors; /* tensors: all constants */
    const struct nb_net_count *ops;                        /* the most frequent first */
    const struct nb_net_type *types;
    const struct nb_net_file *files; /* of external data */
    const struct nb_meta_info *meta;
    size_t n_opsets, n_inputs, n_outputs, n_tensors, n_ops, n_types, n_files, n_meta;
    void *owner;
    const char *dialect;                  /* "onnx", "tflite" */
    uint64_t n_quantized, n_by_dimension; /* tensors with scales; with several each */
};
/* 1 if the file begins like an ONNX or a TFLite model, or is called one. */
NB_API int32_t nb_is_net(const char *path);
NB_API NB_CHECKED enum nb_status nb_inspect_net(nb_context *ctx, const char *path,
                                                struct nb_net_info *info, struct nb_error *err);
NB_API void nb_net_info_free(struct nb_net_info *info);

/* ---- plan, quantize ---- */
struct nb_type_rule {
    const char *regex; /* PCRE2, on the canonical (GGUF) tensor name */
    const char *type;  /* number format                              */
};
struct nb_quant_options {
    uint32_t size;
    const char
        *type; /* mix or number format: "q4_k_m" (default), "q8_0", "f16"; "keep": convert only */
    const struct nb_type_rule *rules; /* the first that matches wins, over the mix           */
    size_t n_rules;
    const char *output_type,
        *embedding_type; /* of output.weight, token_embd.weight; NULL: the mix's */
    int32_t pure;        /* one type everywhere, no mix                                */
    const char *recipe;  /* JSON text of a recipe: replaces the fields above; NULL     */
    int32_t overwrite;
    int32_t allow_requantize; /* the source may hold quantized tensors                      */
    uint64_t max_ram;         /* bytes; 0: no budget. Checked by the plan                   */
    uint64_t shard_bytes;     /* Hugging Face output: bytes per file; 0: 5 GB               */
    const char
        *imatrix; /* path of a file that nb_calibrate or llama-imatrix wrote: columns of weights
                            count as much as what flows into them; NULL: all the same */
    const char *scale_search; /* of general grids: "mse" (default), "exact", "absmax", "minmax",
                                 "percentile:99.9", "entropy", "absmean"; NULL: the recipe's */
    int32_t any_arch; /* of an architecture that nibble does not know too, by the shapes of its
                         tensors: GGUF to GGUF, folder to folder */
    /* How weights are rounded: "rtn" (default: each block by itself), an algorithm of nb_list("methods"),
     * or "auto": whichever does best on held-out text, by kind of tensor. All but rtn run the model over
     * texts: bytes then lie in "<out>.journal" until the output is complete, and a call that was
     * interrupted goes on from there to the same bytes. */
    const char *method;
    const char *const *calib_texts; /* paths of UTF-8 texts; every tenth window is held out */
    size_t n_calib_texts;
    uint64_t calib_tokens; /* at most, spread evenly over the texts; 0: 131072                  */
    uint32_t calib_ctx; /* tokens of a window; 0: 1024, or the model's context if that is shorter */
    int32_t float_prefix; /* calibrate each block on what the float model gives it, not on what
                              the rounded blocks before it give: one run a block instead of two */
    double mismatch; /* 0 .. 1: share of what rounding did to a layer's input that it makes good;
                        NaN (default): the method's, 1, or 0 of those as published            */
    double damp;     /* share of the mean of H added to its diagonal; 0: the method's own  */
    const char
        *transforms; /* exact rewrites before rounding, names with commas between; NULL: none */
};
NB_API void nb_quant_options_init(struct nb_quant_options *o);

struct nb_quant_tensor {
    const char *name, *source_type, *type;
    uint64_t elements, source_bytes, bytes;
    double snr_db;    /* 10 log10(sum x^2 / sum (x - x')^2); infinity if lossless; NaN in a plan */
    const char *note; /* why the type differs from the mix's; NULL                            */
    /* Of a calibrated tensor, else NaN; per token of the input x of second moments H = E[x x^T]. */
    double mean_h; /* mean of H_ii: what an error of 1 in a weight costs at the output          */
    double mean_d; /* of its Schur complements: the same when later weights make errors good    */
    double
        geomean_d;  /* their geometric mean; mean_d over it: what unequal precision could gain   */
    double rtn_db;  /* loss at the output of rounding to nearest: 10 log10(noise / signal)       */
    double loss_db; /* of what was stored                                                        */
    double held_rtn_db,
        held_loss_db; /* both on held-out text; NaN without                        */
    double seconds;
    const char *method; /* NULL: not calibrated */
    const char *remedy; /* what was done about bad statistics; NULL: they were fine */
};
/* A text that was calibrated on. */
struct nb_quant_text {
    const char *path;
    double bits_per_byte; /* the float model's, on a few windows; NaN: not known, or of a plan */
    int32_t foreign; /* it does not look like what the model was made for; a warning says so too */
};
struct nb_quant_result {
    const char *out, *type, *method;
    uint64_t bytes;          /* of the output */
    double bpw, bpw_layers;  /* bits per weight: whole, decoder blocks only */
    double seconds;          /* plan: an estimate                          */
    uint64_t peak_rss_bytes; /* plan: an estimate                          */
    const char *hash;        /* of the output's tensors; NULL in a plan    */
    const char *recipe;      /* JSON */
    size_t n_tensors;
    const struct nb_quant_tensor *tensors;
    double worst_snr_db;
    const char *worst_tensor;
    double snr_db; /* all rounded tensors together; infinity if lossless, NaN in a plan */
    void *owner;
    const char *imatrix_hash;        /* of the file of importance; NULL: there was none */
    size_t n_weighted, n_unweighted; /* tensors rounded with importance, and without */
    int32_t runs;                    /* enum nb_runs */
    size_t n_calibrated, n_resumed; /* tensors; of them, finished by an earlier, interrupted call */
    uint64_t calib_tokens;          /* 0: nothing was run */
    double forward_seconds, statistics_seconds, prepare_seconds, rounding_seconds;
    const char *calibration_hash; /* of the windows of text; NULL */
    double calib_bits_per_byte;   /* of all texts; NaN: not known, or a plan */
    const struct nb_quant_text *calib_texts;
    size_t n_calib_texts;
};
/* What nb_quantize would do. Reads headers only; writes nothing. */
NB_API NB_CHECKED enum nb_status nb_plan(nb_context *ctx, const char *model, const char *out,
                                         const struct nb_quant_options *o,
                                         struct nb_quant_result *result, struct nb_error *err);
NB_API NB_CHECKED enum nb_status nb_quantize(nb_context *ctx, const char *model, const char *out,
                                             const struct nb_quant_options *o,
                                             struct nb_quant_result *result, struct nb_error *err);
NB_API void nb_quant_result_free(struct nb_quant_result *r);

/* ---- calibrate ---- */
struct nb_calibrate_options {
    uint32_t size;
    const char *const *texts; /* paths of UTF-8 texts, one after the other */
    size_t n_texts;
    uint32_t ctx;       /* tokens per window; 0: 512                                       */
    uint32_t chunks;    /* windows at most; 0: all that the text fills                     */
    const char *format; /* "gguf" (default), or "dat": llama.cpp's imatrix, new and old    */
    int32_t overwrite;
    int32_t head; /* the output head too; what llama-imatrix calls --process-output */
    /* Mixtures of experts: every expert sees every token, not only those that would choose it. What the model
     * says stays as it is. Takes as long as a model of that many experts. */
    int32_t all_experts;
    /* What is kept of each layer's input, in a file of statistics that is an imatrix too: names out of "moments", "range",
     * "moving", "histogram", "hessian", separated by commas, or "all"; moments are always. NULL: an imatrix alone.
     * Merging: which of the files' statistics are kept. */
    const char *stats;
    uint64_t tokens;  /* of all windows at most, spread evenly over the texts, each by itself; 0: as
                        chunks says, the texts one after the other */
    int32_t hold_out; /* every tenth window is left out; with "hessian" it is kept apart     */
    uint64_t max_ram; /* bytes of all Hessians at most; 0: seven eighths of what is free     */
};
NB_API void nb_calibrate_options_init(struct nb_calibrate_options *o);

/* How many tokens chose each expert of a layer. */
struct nb_expert_coverage {
    uint32_t layer, experts;
    uint32_t unseen; /* chosen by none                                                          */
    uint32_t few;    /* by fewer than 32, those by none included: quantize --imatrix lends them the
                        mean over the layer's experts */
    double least, median, most;
};

struct nb_calibrate_result {
    uint64_t tokens;      /* of all windows */
    uint32_t ctx, chunks; /* merged: chunks of the first file's windows */
    uint64_t weights;     /* entries of the file */
    uint64_t bytes;       /* of the file         */
    double seconds, tok_per_s;
    char hash[33];                            /* of the file */
    const struct nb_expert_coverage *experts; /* (n_experts) a layer each */
    size_t n_experts;
    void *owner;          /* of experts; NULL: there are none */
    char stats[64];       /* what the file holds: "moments,range"; "": an imatrix alone       */
    uint32_t held_chunks; /* windows left out, not counted by chunks                          */
};
/* Runs the float model over the texts and writes, for every weight of a linear layer, the mean square of
 * each column of its input. The bytes do not depend on threads or CPU. */
NB_API NB_CHECKED enum nb_status nb_calibrate(nb_context *ctx, const char *model, const char *out,
                                              const struct nb_calibrate_options *o,
                                              struct nb_calibrate_result *result,
                                              struct nb_error *err);
/* What a result owns; a failed call leaves nothing to free. */
NB_API void nb_calibrate_result_free(struct nb_calibrate_result *r);
/* Adds up what several such files have seen. Of the options format, overwrite and stats count; without stats,
 * an imatrix alone is written, whatever the files know besides. */
NB_API NB_CHECKED enum nb_status nb_calibrate_merge(nb_context *ctx, const char *const *files,
                                                    size_t n_files, const char *out,
                                                    const struct nb_calibrate_options *o,
                                                    struct nb_calibrate_result *result,
                                                    struct nb_error *err);

/* What a file of statistics, or an imatrix in GGUF, knows of one value of the graph. NaN: not observed. */
struct nb_stats_edge_info {
    const char *weight;          /* the first that reads it */
    uint64_t n_weights, experts; /* weights that read it; matrices, 1 unless they are experts    */
    uint64_t columns;
    double tokens, held; /* seen, and in windows held out; of experts: the mean of them     */
    double least, most;  /* tokens of the expert with the fewest, and with the most         */
    double lo, hi, rms;  /* over all columns                                                */
    double outlier;      /* largest magnitude over the rms                                  */
    double top;          /* largest mean square of a column over the mean of all            */
    double
        gain_db; /* mean of H's diagonal over the geometric mean of its pivots: what feedback of errors
                               can gain at most; infinite where fewer tokens than columns were seen */
};
struct nb_stats_info {
    const char *path, *stats, *model_hash; /* NULL: not said */
    const char *const *texts;              /* (n_texts) names  */
    size_t n_texts;
    uint64_t chunks, held_chunks, file_bytes;
    uint32_t ctx;
    int32_t all_experts;
    const struct nb_stats_edge_info *edges; /* (n_edges) */
    size_t n_edges;
    void *owner;
};
/* NB_ERR_UNSUPPORTED: the file is neither, or there is none. */
NB_API NB_CHECKED enum nb_status nb_inspect_stats(nb_context *ctx, const char *path,
                                                  struct nb_stats_info *info, struct nb_error *err);
NB_API void nb_stats_info_free(struct nb_stats_info *info);

/* ---- arrays ---- */
/* Numbers in memory into any number format and back, without a model. Example (compiled by the tests):
 *
 *     float x[2][256];
 *     struct nb_array_view view = {.x = &x[0][0], .n_dims = 2, .dims = {2, 256}};
 *     struct nb_array_options o;
 *     struct nb_array_stats stats;
 *     nb_array *q;
 *     nb_array_options_init(&o);
 *     o.type = "q4_k";
 *     if (nb_array_quantize(&q, ctx, &view, &o, &stats, &err) == NB_OK) {
 *         printf("%.2f bits, %.1f dB\n", stats.bpw, stats.sqnr_db);
 *         nb_array_dequantize(q, &x[0][0]);
 *         nb_array_destroy(q);
 *     }
 */
#define NB_ARRAY_MAX_DIMS 8

/* Row-major: dims[n_dims - 1] is the fastest, and blocks lie along it; rows are all the others.
 * n_dims == 0 is a single number. Borrows: x. */
struct nb_array_view {
    const float *x; /* (dims), finite */
    uint32_t n_dims;
    uint64_t dims[NB_ARRAY_MAX_DIMS];
};

struct nb_array_options {
    uint32_t size;
    const char *type; /* number format, see nb_list("formats"); no default */
    const float
        *importance;       /* (n_importance) weights of the squared error, not negative; borrowed */
    uint64_t n_importance; /* 0: none; the last dimension: one per column; or all numbers */
};
NB_API void nb_array_options_init(struct nb_array_options *o);

struct nb_array_stats {
    const char *type;         /* static */
    uint64_t elements, bytes; /* bytes: of all parts */
    double bpw;               /* bits per number; 0 for an empty array                       */
    double sqnr_db;           /* 10 log10(sum x^2 / sum (x - x')^2); infinity if lossless    */
    double mse, max_error;    /* mean of (x - x')^2, largest |x - x'|                        */
};

/* A quantized array: owns its bytes, nothing of the caller's. It may outlive options and view, not its
 * context; a call on it counts as one on the context. */
typedef struct nb_array nb_array;

/* Bytes that the array will take. NB_ERR_ARG: no such format; NB_ERR_FORMAT: the last dimension is no
 * multiple of the format's block (the message says which). */
NB_API NB_CHECKED enum nb_status nb_array_bytes(const char *type, const uint64_t *dims,
                                                uint32_t n_dims, uint64_t *bytes,
                                                struct nb_error *err);
/* The same failures; NB_ERR_NUMERIC names the row and column of a NaN or infinity. stats may be NULL.
 * *q is the caller's: nb_array_destroy. */
NB_API NB_CHECKED enum nb_status nb_array_quantize(nb_array **q, nb_context *ctx,
                                                   const struct nb_array_view *view,
                                                   const struct nb_array_options *o,
                                                   struct nb_array_stats *stats,
                                                   struct nb_error *err);
NB_API void nb_array_dequantize(const nb_array *q, float *y /* (dims) */);
/* What q consists of. A block format has one part, "blocks", row after row as GGUF stores them; a
 * general grid has "codes" and as many of "scales", "zeros", "levels", "scale2" as it needs. Borrows:
 * all, from q. */
struct nb_array_part {
    const char *name, *type; /* type: number format of data */
    uint32_t n_dims;
    uint64_t dims[NB_ARRAY_MAX_DIMS];
    const void *data;
    uint64_t bytes;
};
/* i counts from 0; NB_ERR_NOT_FOUND after the last. */
NB_API NB_CHECKED enum nb_status nb_array_part(const nb_array *q, size_t i,
                                               struct nb_array_part *part);
/* path ending in .npy: the values after rounding in f32; .gguf: the blocks, as a tensor named "array";
 * .safetensors: what the format is made of. The file appears under its name only when complete. */
NB_API NB_CHECKED enum nb_status nb_array_save(const nb_array *q, const char *path,
                                               int32_t overwrite, struct nb_error *err);
/* A file that nb_array_save wrote, or any file of one tensor. */
NB_API NB_CHECKED enum nb_status nb_array_read(nb_array **q, nb_context *ctx, const char *path,
                                               struct nb_error *err);
/* Type and shape of the whole array: data is NULL, bytes are those of all parts. */
NB_API void nb_array_info(const nb_array *q, struct nb_array_part *whole);
NB_API void nb_array_destroy(nb_array *q);

/* An .npy file into another file, in one call. */
struct nb_array_files {
    const char *in, *out;
    const char *importance; /* .npy, one number per column or as many as `in` has; NULL: o's own */
    int32_t overwrite;
};
NB_API NB_CHECKED enum nb_status nb_array_quantize_file(nb_context *ctx,
                                                        const struct nb_array_files *files,
                                                        const struct nb_array_options *o,
                                                        struct nb_array_stats *stats,
                                                        struct nb_error *err);

/* ---- eval ---- */
struct nb_eval_options {
    uint32_t size;
    const char *text;    /* path of a UTF-8 text                                             */
    const char *against; /* reference model to run side by side, or NULL                     */
    uint32_t ctx;        /* tokens per window; 0: min(1024, the model's context)             */
    uint32_t chunks;     /* windows at most; 0: all                                          */
    const char *kv_type; /* "f16" (default) or "f32"                                         */
    int32_t float_activations; /* see run: isolates the weights' error                       */
};
NB_API void nb_eval_options_init(struct nb_eval_options *o);

/* Windows of ctx tokens, the second half of each scored, as llama.cpp does. */
struct nb_eval_result {
    uint64_t tokens; /* scored */
    uint32_t ctx, chunks;
    double ppl, ppl_error;           /* standard error */
    double bits_per_byte, tok_per_s; /* tok_per_s of the model alone                         */
    int32_t has_ref;                 /* the fields below are filled                          */
    double ppl_ref, ppl_ref_error;
    double kld_mean, kld_error, kld_p50, kld_p90, kld_p99, kld_max, kld_min;
    double top1, top1_error; /* share of positions with the same most likely token, 0..1     */
    char logits_hash[33];    /* of the model's scored logits                                 */
    double ln_ratio_error;   /* standard error of ln(ppl / ppl_ref), positions paired  */
};
NB_API NB_CHECKED enum nb_status nb_evaluate(nb_context *ctx, const char *model,
                                             const struct nb_eval_options *o,
                                             struct nb_eval_result *result, struct nb_error *err);

/* ---- bench, doctor ---- */
struct nb_doctor_result {
    char cpu[64];
    const char *isa, *isa_available; /* used; offered by the CPU */
    uint32_t cores, threads;
    uint64_t ram_bytes, ram_available_bytes;
    double read_bandwidth;     /* bytes per second, all threads                     */
    double float_ops, int_ops; /* per second, all threads: f32 FMA = 2, s8 multiply-add = 2 */
};
NB_API NB_CHECKED enum nb_status nb_doctor(nb_context *ctx, struct nb_doctor_result *result,
                                           struct nb_error *err);

struct nb_bench_options {
    uint32_t size;
    uint32_t prompt, generate, repeat; /* 512 tokens, 64 tokens, median of 3 */
    uint32_t depth;                    /* context already filled before decoding: 0 */
    const char *kv_type;
};
NB_API void nb_bench_options_init(struct nb_bench_options *o);
struct nb_bench_result {
    double prefill_tok_s, decode_tok_s;
    double decode_bytes_per_token;
    double read_bandwidth, decode_bandwidth_share;
    double prefill_ops_share; /* of the measured integer peak (float peak for float weights) */
    double load_seconds;
    uint32_t threads;
    const char *isa;
    uint64_t file_bytes, peak_rss_bytes;
};
NB_API NB_CHECKED enum nb_status nb_bench(nb_context *ctx, const char *model,
                                          const struct nb_bench_options *o,
                                          struct nb_bench_result *result, struct nb_error *err);

/* ---- compare ---- */
struct nb_tensor_error {
    const char *name, *type;
    int32_t block; /* decoder block, -1 */
    double snr_db;
};
struct nb_compare_model {
    const char *path, *type; /* type: the file's mix or its most common format */
    uint64_t bytes;
    double bpw;
    struct nb_eval_result eval;
    double decode_tok_s, prefill_tok_s; /* 0 unless speed was asked for */
    size_t n_tensors;
    const struct nb_tensor_error *tensors;
};
struct nb_compare_options {
    uint32_t size;
    struct nb_eval_options eval; /* against is ignored */
    int32_t speed;               /* measure speed too; default 1 */
};
NB_API void nb_compare_options_init(struct nb_compare_options *o);
struct nb_compare_result {
    struct nb_compare_model ref;
    size_t n_models;
    const struct nb_compare_model *models;
    void *owner;
};
NB_API NB_CHECKED enum nb_status nb_compare(nb_context *ctx, const char *ref,
                                            const char *const *models, size_t n_models,
                                            const struct nb_compare_options *o,
                                            struct nb_compare_result *result, struct nb_error *err);
/* One HTML file, inline SVG, no script, no network: size against KL, error per tensor, speed. */
NB_API NB_CHECKED enum nb_status nb_compare_html(nb_context *ctx, const struct nb_compare_result *r,
                                                 const char *path, int32_t overwrite,
                                                 struct nb_error *err);
NB_API void nb_compare_result_free(struct nb_compare_result *r);

/* ---- generation ---- */
typedef struct nb_generator nb_generator;

struct nb_generate_options {
    uint32_t size;
    uint32_t ctx;         /* 0: the model's, at most 4096 */
    const char *kv_type;  /* "f16" */
    float temperature;    /* 0.8; 0: greedy */
    uint32_t top_k;       /* 40 */
    float top_p, min_p;   /* 0.95, 0.05 */
    float repeat_penalty; /* 1.0 */
    uint32_t repeat_last; /* 64 */
    uint64_t seed;        /* 42 */
};
NB_API void nb_generate_options_init(struct nb_generate_options *o);
NB_API NB_CHECKED enum nb_status nb_generator_create(nb_generator **g, nb_context *ctx,
                                                     const char *model,
                                                     const struct nb_generate_options *o,
                                                     struct nb_error *err);
NB_API void nb_generator_destroy(nb_generator *g);
/* Appends text to the context. special: tokens like <|endoftext|> in the text are recognized.
 * begin: the model's begin-of-text token is put first if it wants one. NB_ERR_LIMIT: context full. */
NB_API NB_CHECKED enum nb_status nb_generator_feed(nb_generator *g, const char *text, size_t n,
                                                   int32_t special, int32_t begin,
                                                   struct nb_error *err);
/* The next token: its id and bytes (whole UTF-8 characters; may be empty while one is incomplete;
 * valid until the next call). *end is set, and no text returned, at an end-of-generation token. */
NB_API NB_CHECKED enum nb_status nb_generator_next(nb_generator *g, uint32_t *token,
                                                   const char **text, size_t *n, int32_t *end,
                                                   struct nb_error *err);
NB_API void nb_generator_reset(nb_generator *g);
NB_API uint32_t nb_generator_position(const nb_generator *g); /* tokens in the context  */
NB_API uint32_t nb_generator_context(const nb_generator *g);

/* ---- chat ----
 * The model's chat template applied: the same text that Hugging Face's apply_chat_template gives. Only
 * the template's own bytes become special tokens; nothing written in a message can end a turn or begin
 * one. No begin-of-text token is added: templates write it. */
struct nb_chat_message {
    const char *role;    /* "system", "user", "assistant", or what else the template knows */
    const char *content; /* UTF-8 */
};
struct nb_chat_options {
    uint32_t size;
    const char *date; /* "2024-07-26": for templates that ask for today's date; NULL: today   */
    const char *variables; /* a JSON object, {"enable_thinking": false}: further variables that
                              the template looks at; NULL                                         */
    int32_t no_generation_prompt; /* end behind the last message: no beginning of an answer       */
};
NB_API void nb_chat_options_init(struct nb_chat_options *o);
NB_API const char *nb_generator_chat_template(const nb_generator *g); /* NULL: the model has none */
/* "chatml", "llama-3"...: what the template's text looks like; NULL: not a family with a name here.
 * Any template whose language nibble knows is applied, with a name or without. */
NB_API const char *nb_generator_chat_family(const nb_generator *g);
/* Can the template be applied? NB_ERR_NOT_FOUND: there is none; else err says what is unknown in it. */
NB_API NB_CHECKED enum nb_status nb_generator_chat_check(const nb_generator *g,
                                                         struct nb_error *err);
/* Makes the conversation the generator's context, ready for nb_generator_next to write the answer. What
 * the context holds already is kept, so a conversation that grows by a turn costs that turn only.
 * Messages are borrowed for the call. NB_ERR_LIMIT: it does not fit; NB_ERR_ARG: the template refuses
 * it (roles in an order it does not know) and err says why; in both cases nothing has changed. */
NB_API NB_CHECKED enum nb_status nb_generator_chat(nb_generator *g,
                                                   const struct nb_chat_message *messages, size_t n,
                                                   const struct nb_chat_options *o,
                                                   struct nb_error *err);
/* The conversation as text, without feeding it; *text is valid until the generator's next call. */
NB_API NB_CHECKED enum nb_status nb_generator_chat_render(nb_generator *g,
                                                          const struct nb_chat_message *messages,
                                                          size_t n, const struct nb_chat_options *o,
                                                          const char **text, size_t *n_text,
                                                          struct nb_error *err);

/* ---- embeddings ---- */
typedef struct nb_embedder nb_embedder;

struct nb_embed_options {
    uint32_t size;
    uint32_t ctx; /* tokens of a text at most; 0: the model's context, at most 4096        */
    const char
        *pooling; /* "mean", "cls" or "last"; NULL: the model's; where it says none, mean of an
                            encoder, last of a decoder                                            */
    int32_t raw;  /* leave the length as it is; otherwise it is 1                           */
};
NB_API void nb_embed_options_init(struct nb_embed_options *o);
NB_API NB_CHECKED enum nb_status nb_embedder_create(nb_embedder **e, nb_context *ctx,
                                                    const char *model,
                                                    const struct nb_embed_options *o,
                                                    struct nb_error *err);
NB_API void nb_embedder_destroy(nb_embedder *e);
NB_API uint32_t nb_embedder_width(const nb_embedder *e); /* numbers of an embedding */
NB_API const char *nb_embedder_pooling(const nb_embedder *e);
/* The embedding of a UTF-8 text, into out (nb_embedder_width). A text of more tokens than ctx loses its
 * end (not its closing token) and is told to the log; *n_tokens, if not NULL, is what was read. */
NB_API NB_CHECKED enum nb_status nb_embedder_embed(nb_embedder *e, const char *text, size_t n,
                                                   float *out, uint32_t *n_tokens,
                                                   struct nb_error *err);

/* Two models on the same pairs of texts: what quantization did to their similarity. */
struct nb_embed_compare_result {
    uint64_t texts, pairs;
    double cosine_mean, cosine_min; /* of a text's two embeddings                             */
    double error_mean, error_max;   /* |difference| of a pair's cosine similarity             */
    double spearman;                /* rank correlation of the pairs' similarities            */
    double reference_mean;          /* mean similarity of a pair with the reference           */
};
/* pairs: a UTF-8 file, a pair a line, its two texts separated by a tab; a line without a tab forms a pair
 * with the line before it. Empty lines are skipped. */
NB_API NB_CHECKED enum nb_status nb_embed_compare(nb_context *ctx, const char *reference,
                                                  const char *model, const char *pairs,
                                                  const struct nb_embed_options *o,
                                                  struct nb_embed_compare_result *result,
                                                  struct nb_error *err);

#ifdef __cplusplus
}
#endif
#endif
