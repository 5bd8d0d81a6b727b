/* quant/quant.h: making a model small: a recipe, the plan it becomes for one model, and the work.
 *
 *     recipe (what to do)  +  model  ->  plan (every tensor, its bytes)  ->  run (streams, writes)
 *
 * Rounding to nearest so far: each block by itself, with its format's own scale search.
 */
#ifndef NB_QUANT_QUANT_H
#define NB_QUANT_QUANT_H

#include "base/base.h"
#include "calib/calib.h"
#include "dialect/dialect.h"
#include "numfmt/numfmt.h"
#include "numfmt/scale_search.h"

struct nb_algo;

/* ---- mixes: which tensor gets which format, as llama-quantize does it (docs/formats/ggml-blocks.md) ---- */
enum nb_mix_when {
    NB_MIX_ALWAYS = 0,
    NB_MIX_FIRST_2,    /* i < 2                                              */
    NB_MIX_FIRST_4,    /* i < 4                                              */
    NB_MIX_FIRST_8TH,  /* i < n / 8                                          */
    NB_MIX_FIRST_16TH, /* i < n / 16                                         */
    NB_MIX_MIDDLE,     /* neither in the first nor in the last eighth        */
    NB_MIX_MORE        /* the first and the last eighth, and every third between */
};

/* What else a rule may ask for. Bits of a set. */
enum nb_mix_if {
    NB_MIX_IF_GQA4 = 1,       /* 4 or more query heads share a key and value head */
    NB_MIX_IF_IMATRIX = 2,    /* importance is known                               */
    NB_MIX_IF_NO_IMATRIX = 4, /* it is not                                         */
    NB_MIX_IF_80_LAYERS = 8,  /* 80 layers and shared key and value heads: "70B"   */
    NB_MIX_IF_4_EXPERTS = 16, /* 4 or more experts                                 */
    NB_MIX_IF_8_EXPERTS = 32  /* exactly 8: Mixtral, whose attention is small      */
};

/* Tensor i of the n with this role gets `type` instead of the mix's base. The first rule that holds
 * counts. type NULL ends the rules. */
struct nb_mix_rule {
    const char *type;
    enum nb_role role;
    enum nb_mix_when when;
    unsigned conditions; /* enum nb_mix_if, all of them */
};

#define NB_MIX_RULES 12
struct nb_mix {
    const char *name, *summary;
    const char *base;    /* format of everything that is quantized and not named otherwise  */
    const char *head;    /* of output.weight, or of token_embd.weight when it is the head   */
    const char *embd;    /* of token_embd.weight beside a head of its own                   */
    uint32_t gguf_ftype; /* general.file_type                                              */
    struct nb_mix_rule rules[NB_MIX_RULES];
};

/* All that the table knows; offered: every format they name is there. */
const struct nb_mix *nb_mix_all(size_t *n);
bool nb_mix_offered(const struct nb_mix *m);
const struct nb_mix *nb_mix_find(const char *name); /* of those offered; NULL: none */
/* The set of enum nb_mix_if that a model and a quantization fulfil. */
unsigned nb_mix_facts(const struct nb_hparams *hp, bool imatrix);
/* Name of the format of tensor i of the n with this role. */
const char *nb_mix_type(const struct nb_mix *m, enum nb_role role, size_t i, size_t n,
                        unsigned facts);
bool nb_mix_applies(enum nb_mix_when when, size_t i, size_t n);

/* ---- recipe ---- */
struct nb_recipe_rule {
    const char *regex; /* PCRE2, anywhere in the canonical tensor name */
    const char *type;  /* a number format */
};

#define NB_METHOD_RTN "rtn" /* without calibration: nothing is run */
#define NB_METHOD_AUTO                                                                             \
    "auto" /* the algorithm that does best on held-out tokens, by role of the tensor */

/* Owns: rules, and the texts that from_json and add_rule copied. Borrows: texts assigned to fields. */
struct nb_recipe {
    struct nb_arena arena;
    const char *type; /* a mix, a number format, or "keep"; "q4_k_m" after init */
    const char *output_type, *embedding_type; /* NULL: as the mix says */
    bool pure;                                /* the mix's base everywhere */
    const char *scale_search; /* of general grids (numfmt/scale_search.h); NULL: "mse"          */
    const char *imatrix;      /* hash of the importance it was made with; NULL: without */
    const char *method;       /* NB_METHOD_*, or an algorithm (quant/algo.h)            */
    const char *calibration;  /* hash of the windows of text it was made with; NULL: without */
    const char *transforms;   /* names with commas between; NULL: none */
    bool float_prefix; /* each block is calibrated on what the float model gives it, not on what the
                          quantized blocks before it give */
    double damp;       /* of H; 0: the algorithm's own */
    double mismatch;   /* 0 .. 1: share of what rounding has done to a layer's input that the layer
                          makes good; NaN, as after init: the method's own */
    struct nb_recipe_rule *rules; /* the first that matches wins, over all else */
    size_t n_rules, cap_rules;
};

void nb_recipe_init(struct nb_recipe *r, const struct nb_allocator *a);
void nb_recipe_fini(struct nb_recipe *r);
NB_CHECKED enum nb_status nb_recipe_add_rule(struct nb_recipe *r, const char *regex,
                                             const char *type, struct nb_error *err);
/* Replaces all fields by those of a recipe's JSON text. Unknown keys are refused by name. */
NB_CHECKED enum nb_status nb_recipe_from_json(struct nb_recipe *r, const char *text, size_t n,
                                              struct nb_error *err);
void nb_recipe_write(const struct nb_recipe *r, struct nb_str *out); /* one line of JSON */

/* ---- plan ---- */
/* Windows of a calibration text. Borrows: all. */
struct nb_windows {
    const uint32_t *tokens; /* (n, ctx), each begun as the model wants it */
    const bool *held;       /* (n) kept for measuring what the others lead to */
    size_t n;
    uint32_t ctx;
};
/* Names them: for a recipe. */
struct nb_hash nb_windows_hash(const struct nb_windows *w);

struct nb_quant_settings {
    const char *out; /* path: "x.gguf", or a folder for Hugging Face */
    const struct nb_recipe *recipe;
    bool overwrite;
    bool allow_requantize; /* quantized source tensors may change their type     */
    uint64_t max_ram;      /* bytes the work may take beyond the page cache; 0: no budget */
    uint64_t shard_bytes;  /* Hugging Face output; 0: 5 GB                       */
    const struct nb_windows *windows;   /* of text, to calibrate on; NULL: nothing is run */
    const struct nb_calib *imatrix;     /* importance of the columns; NULL: all the same */
    const char *imatrix_name;           /* of its file, for the output's metadata        */
    struct nb_pool *pool;               /* NULL: one thread                                   */
    const struct nb_log *log;           /* may be NULL */
    const struct nb_progress *progress; /* may be NULL */
};

/* How a calibration keeps to the budget; changes no bit of the result. */
struct nb_calibrated_plan {
    uint64_t
        hidden_bytes; /* hidden states kept in memory, the others go to disk; UINT64_MAX: all */
    bool by_input;    /* a run for each input of a block, with its statistics alone           */
    uint64_t peak_bytes;
};

struct nb_plan_tensor {
    const struct nb_weight *weight;
    const struct nb_numfmt *type; /* in the output */
    uint64_t elements, source_bytes, bytes;
    uint64_t side_bytes; /* of bytes: what a general grid's rows share (numfmt/grid.h) */
    const char *note;    /* why the type differs from the mix's; NULL: it does not */
    bool stored;         /* false: the output's convention has no such tensor      */
    const struct nb_moment *importance; /* NULL: rounded without */
};

/* Owns: all but what it borrows. Borrows: model, and the settings' recipe, out and imatrix. */
struct nb_quant_plan {
    const struct nb_allocator *a;
    struct nb_arena arena;
    const struct nb_model *model;
    struct nb_quant_settings settings;
    struct nb_plan_tensor *tensors; /* (n), in the order of model->w.items */
    const struct nb_numfmt **types; /* (n) */
    size_t n;
    struct nb_meta extra; /* nibble.* keys of the output */
    const char *recipe;   /* JSON */
    struct nb_scale_options scale_search;
    const struct nb_algo *algo; /* NULL: method rtn without calibration, or auto */
    bool float_prefix;          /* these two as the recipe and its method want them */
    double mismatch;
    struct nb_calibrated_plan calibrated;
    uint32_t gguf_ftype;
    uint64_t file_bytes; /* of the whole output */
    uint64_t tensor_bytes;
    uint64_t peak_bytes;                  /* memory the work takes, page cache not counted */
    uint64_t chunk_elements, chunk_bytes; /* the unit of work */
    double bpw, bpw_layers;               /* bits per weight: all tensors, decoder blocks */
    double seconds; /* estimate, from a short measurement of each format's encoder */
    size_t n_weighted, n_unweighted; /* matrices to be rounded with importance, and without */
};

/* Works out the recipe for a model; reads headers only, writes nothing. Everything that can be known to
 * fail fails here: unknown types, patterns, a source that is the target, requantizing, the budget. */
NB_CHECKED enum nb_status nb_quant_plan_create(struct nb_quant_plan **plan,
                                               const struct nb_model *m,
                                               const struct nb_quant_settings *s,
                                               const struct nb_allocator *a, struct nb_error *err);
void nb_quant_plan_destroy(struct nb_quant_plan *p);

/* ---- run ---- */
/* Where the time of a calibration went, seconds. */
struct nb_calibrated_times {
    double forward, statistics, prepare, rounding;
};

struct nb_layer_report;
struct nb_quant_report {
    double *snr_db; /* (plan->n), the caller's, may be NULL: 10 log10(sum x^2 / sum (x - x')^2),
                       infinity if lossless */
    double total_snr_db;
    double worst_snr_db;                  /* of tensors that changed; infinity if none did */
    size_t worst;                         /* its index */
    struct nb_hash source_hash, out_hash; /* as nb_model_hash of source and output */
    uint64_t bytes;
    double seconds;
    struct nb_layer_report
        *layers; /* (plan->n), the caller's, zeroed, or NULL: what calibration knows
                                       of each weight it rounded (quant/layer.h) */
    struct nb_calibrated_times times;
    size_t n_resumed; /* tensors that an earlier, interrupted run had finished */
};

/* Calibrates if the plan has an algorithm (quant/calibrated.h), then streams every tensor through. The
 * output appears under its name only when complete. After a failure or a cancellation nothing is left but
 * the journal of a calibration, "<out>.journal", from which the same plan goes on. The bytes do not depend
 * on the pool, nor on interruptions. */
NB_CHECKED enum nb_status nb_quant_run(const struct nb_quant_plan *p,
                                       struct nb_quant_report *report, struct nb_error *err);

/* ---- arrays ---- */
/* Numbers to quantize. Borrows: all. */
struct nb_array_job {
    const char *type; /* number format */
    const float *x;   /* (shape) */
    struct nb_shape shape;
    const float *importance; /* (n_importance) */
    uint64_t n_importance;   /* 0: none; the columns, or all numbers */
    struct nb_pool *pool;
    const struct nb_allocator *a;
};

/* What a quantized array consists of: blocks, or the codes, scales ... of a general grid, which
 * numfmt/grid.h lists. */
struct nb_qarray_part {
    const char *name;             /* "blocks", "codes" ... */
    const struct nb_numfmt *type; /* of `data`: the blocks', or u8, f16, f32 */
    struct nb_shape shape;
    uint8_t *data;
    uint64_t bytes;
    uint64_t row_bytes; /* of a grid: what each row has of it; 0: all rows share it */
};

/* Owns: data, side, in which the parts lie. */
struct nb_qarray {
    const struct nb_allocator *a;
    const struct nb_numfmt *type;
    struct nb_shape shape;
    uint64_t bytes; /* of all parts */
    struct nb_qarray_part part[NB_MAX_PARTS];
    size_t n_parts;
    struct nb_parts parts; /* the same, as a grid is read */
    uint8_t *data, *side;
    uint64_t side_bytes; /* of the parts that all rows share */
};

struct nb_array_error {
    double sqnr_db;   /* 10 log10(sum x^2 / sum (x - x')^2); infinity if lossless */
    double mse;       /* mean of (x - x')^2 */
    double max_error; /* largest |x - x'| */
};

/* Stored bytes of an array, before there is one. NB_ERR_ARG: no such format; NB_ERR_FORMAT: the last
 * dimension is no multiple of the format's block. */
NB_CHECKED enum nb_status nb_qarray_bytes(const char *type, const struct nb_shape *shape,
                                          uint64_t *bytes, struct nb_error *err);
/* The same failures, and NB_ERR_NUMERIC for a number that is not finite. */
NB_CHECKED enum nb_status nb_qarray_create(struct nb_qarray **out, const struct nb_array_job *job,
                                           struct nb_array_error *e, struct nb_error *err);
void nb_qarray_destroy(struct nb_qarray *q);
void nb_qarray_decode(const struct nb_qarray *q, float *y /* (shape) */, struct nb_pool *pool);
void nb_qarray_decode_rows(const struct nb_qarray *q, uint64_t row, uint64_t n,
                           float *y /* (n, cols) */);

/* array_file.c. A file of one array, whatever its container and type. */
struct nb_file;
NB_CHECKED enum nb_status nb_array_open(struct nb_file **out, const char *path,
                                        const struct nb_allocator *a, struct nb_error *err);
/* Its numbers as f32: *x is the caller's. */
NB_CHECKED enum nb_status nb_array_load(const struct nb_file *f, float **x,
                                        const struct nb_allocator *a, struct nb_error *err);
/* The suffix of path says what is written: .npy the values in f32, .gguf and .safetensors the blocks. */
NB_CHECKED enum nb_status nb_array_check_target(const char *path, struct nb_error *err);
NB_CHECKED enum nb_status nb_qarray_save(const struct nb_qarray *q, const char *path,
                                         bool overwrite, struct nb_error *err);

/* What nb_qarray_save wrote, or a file of one tensor that can be decoded. */
NB_CHECKED enum nb_status nb_qarray_read(struct nb_qarray **out, const char *path,
                                         const struct nb_allocator *a, struct nb_error *err);

#endif
