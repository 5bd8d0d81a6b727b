/* quant/quant.h: making a model small: a recipe, the plan it becomes for one model, and the work.
 *
 *     recipe (what to do)  +  model  ->  plan (every tensor, its bytes)  ->  run (streams, writes)
 *
 * Rounding to nearest so far: each block by itself, with its format's own scale search.
 */
#ifndef NB_QUANT_QUANT_H
#define NB_QUANT_QUANT_H

#include "base/base.h"
#include "dialect/dialect.h"
#include "numfmt/numfmt.h"

/* ---- mixes: which tensor gets which format, as llama-quantize does it (docs/formats/ggml-blocks.md) ---- */
enum nb_mix_when {
    NB_MIX_NEVER = 0, /* ends the rules */
    NB_MIX_FIRST_4,   /* i < 4                                              */
    NB_MIX_FIRST_8TH, /* i < n / 8                                          */
    NB_MIX_MORE       /* the first and the last eighth, and every third between */
};

/* Tensor i of the n with this role gets `type` instead of the mix's base. */
struct nb_mix_rule {
    enum nb_role role;
    enum nb_mix_when when;
    const char *type;
};

#define NB_MIX_RULES 4
struct nb_mix {
    const char *name, *summary;
    const char *base;    /* format of everything that is quantized and not named otherwise  */
    const char *head;    /* of output.weight, or of token_embd.weight when it is the head   */
    uint32_t gguf_ftype; /* general.file_type                                              */
    struct nb_mix_rule rules[NB_MIX_RULES];
};

const struct nb_mix *nb_mix_all(size_t *n);
const struct nb_mix *nb_mix_find(const char *name); /* NULL: none */
bool nb_mix_applies(enum nb_mix_when when, size_t i, size_t n);

/* ---- recipe ---- */
struct nb_recipe_rule {
    const char *regex; /* PCRE2, anywhere in the canonical tensor name */
    const char *type;  /* a number format */
};

/* Owns: rules, and the texts that from_json and add_rule copied. Borrows: texts assigned to fields. */
struct nb_recipe {
    struct nb_arena arena;
    const char *type; /* a mix, a number format, or "keep"; "q4_k_m" after init */
    const char *output_type, *embedding_type; /* NULL: as the mix says */
    bool pure;                                /* the mix's base everywhere */
    struct nb_recipe_rule *rules;             /* the first that matches wins, over all else */
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
struct nb_quant_settings {
    const char *out; /* path: "x.gguf", or a folder for Hugging Face */
    const struct nb_recipe *recipe;
    bool overwrite;
    bool allow_requantize;    /* quantized source tensors may change their type     */
    uint64_t max_ram;         /* bytes the work may take beyond the page cache; 0: no budget */
    uint64_t shard_bytes;     /* Hugging Face output; 0: 5 GB                       */
    struct nb_pool *pool;     /* NULL: one thread                                   */
    const struct nb_log *log; /* may be NULL */
    const struct nb_progress *progress; /* may be NULL */
};

struct nb_plan_tensor {
    const struct nb_weight *weight;
    const struct nb_numfmt *type; /* in the output */
    uint64_t elements, source_bytes, bytes;
    const char *note; /* why the type differs from the mix's; NULL: it does not */
    bool stored;      /* false: the output's convention has no such tensor      */
};

/* Owns: all but what it borrows. Borrows: model, and the settings' recipe and out. */
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
    uint32_t gguf_ftype;
    uint64_t file_bytes; /* of the whole output */
    uint64_t tensor_bytes;
    uint64_t peak_bytes;                  /* memory the work takes, page cache not counted */
    uint64_t chunk_elements, chunk_bytes; /* the unit of work */
    double bpw, bpw_layers;               /* bits per weight: all tensors, decoder blocks */
    double seconds; /* estimate, from a short measurement of each format's encoder */
};

/* Works out the recipe for a model; reads headers only, writes nothing. Everything that can be known to
 * fail fails here: unknown types, patterns, a source that is the target, requantizing, the budget. */
NB_CHECKED enum nb_status nb_quant_plan_create(struct nb_quant_plan **plan,
                                               const struct nb_model *m,
                                               const struct nb_quant_settings *s,
                                               const struct nb_allocator *a, struct nb_error *err);
void nb_quant_plan_destroy(struct nb_quant_plan *p);

/* ---- run ---- */
struct nb_quant_report {
    double *snr_db; /* (plan->n), the caller's, may be NULL: 10 log10(sum x^2 / sum (x - x')^2),
                       infinity if lossless */
    double total_snr_db;
    double worst_snr_db;                  /* of tensors that changed; infinity if none did */
    size_t worst;                         /* its index */
    struct nb_hash source_hash, out_hash; /* as nb_model_hash of source and output */
    uint64_t bytes;
    double seconds;
};

/* Streams every tensor through. The output appears under its name only when complete; after a failure
 * or a cancellation nothing is left. The bytes do not depend on the pool. */
NB_CHECKED enum nb_status nb_quant_run(const struct nb_quant_plan *p,
                                       struct nb_quant_report *report, struct nb_error *err);

#endif
