/* dialect/dialect_internal.h: what the files of this room share. */
#ifndef NB_DIALECT_DIALECT_INTERNAL_H
#define NB_DIALECT_DIALECT_INTERNAL_H

#include "dialect/dialect.h"

#include <stdatomic.h>

/* ---- import ---- */

/* Opens one more weight file of the model. */
NB_CHECKED enum nb_status nb_model_add_file(struct nb_model *m, const char *path,
                                            struct nb_error *err);

/* Which file and which tensor of it a name means. Owns: the map. */
struct nb_tensor_index {
    struct nb_map names; /* -> file << 32 | tensor */
};
/* All tensors of all files of the model; a name in two files is an error. */
NB_CHECKED enum nb_status nb_tensor_index_init(struct nb_tensor_index *x, const struct nb_model *m,
                                               struct nb_error *err);
void nb_tensor_index_fini(struct nb_tensor_index *x);
bool nb_tensor_index_has(void *index, const char *name); /* nb_has_fn */

/* Fills m->w from m->w.hp: every tensor of the architecture is found, checked and used once; what is
 * left over must be harmless. */
/* What quantization_config of BitNet means (ternary.c). Borrows: names, from the model's arena. */
enum nb_ternary_mode { NB_TERNARY_NONE, NB_TERNARY_ONLINE, NB_TERNARY_PACKED };
struct nb_ternary_rule {
    enum nb_ternary_mode mode;
    bool divides;              /* packed: by weight_scale; otherwise it is a factor */
    const char *const *floats; /* (n_floats) modules that stay as they are           */
    size_t n_floats;
};

struct nb_assembly {
    bool hf_names;          /* look for spec.hf, rows paired as halves        */
    const char *extra_name; /* one more harmless tensor; NULL: none           */
    struct nb_ternary_rule ternary;
};
NB_CHECKED enum nb_status nb_model_assemble(struct nb_model *m, const struct nb_tensor_index *x,
                                            const struct nb_assembly *how, struct nb_error *err);

/* ---- forms (rows.c) ---- */
/* The row of a Hugging Face file that is canonical row `row`; NB_HF_PAIRS and NB_HF_QKV. */
uint64_t nb_form_row(const struct nb_tensor_spec *spec, uint64_t row);
/* The shape a file has it in. hf: a Hugging Face file. */
struct nb_shape nb_form_shape(const struct nb_tensor_spec *spec, bool hf);
/* The name of an expert's tensor in a Hugging Face file, or that of all of them in one, which our own
 * folders have where they are on a grid. Other forms have one name, whatever the expert. */
#define NB_HF_NAME_BYTES (NB_NAME_BYTES + 16)
#define NB_ALL_EXPERTS   UINT64_MAX
const char *nb_form_name(const struct nb_tensor_spec *spec, uint64_t expert,
                         char dst[NB_HF_NAME_BYTES]);
/* Tensors of a Hugging Face file that hold the weight as this type: one for each expert, or one. */
uint64_t nb_form_tensors(const struct nb_tensor_spec *spec, const struct nb_numfmt *type);
/* Weight i was just taken from its file: a vector is turned into canonical form. */
NB_CHECKED enum nb_status nb_form_vector(struct nb_model *m, size_t i, struct nb_error *err);

/* An architecture that nibble does not know, when the caller allows it (any.c): the name; then every tensor
 * of the files by its shape. */
NB_CHECKED enum nb_status nb_any_arch(struct nb_model *m, const char *name, size_t n,
                                      struct nb_error *err);
NB_CHECKED enum nb_status nb_any_assemble(struct nb_model *m, struct nb_error *err);
#define NB_ANY_HINT "--any-arch quantizes it by the shapes of its tensors"

/* ---- BitNet checkpoints (ternary.c) ---- */
/* A matrix as its file holds it. Borrows: t's data. */
struct nb_ternary {
    struct nb_tensor t;   /* floats, or u8 (rows / 4, cols)                        */
    _Atomic float factor; /* of codes -1, 0, 1; 0: not known before a first reading */
    bool packed;
};
NB_CHECKED enum nb_status nb_ternary_from_config(struct nb_model *m,
                                                 const nb_json *quantization_config,
                                                 struct nb_ternary_rule *rule,
                                                 struct nb_error *err);
/* Is this a linear layer that the rule is about? */
bool nb_ternary_means(const struct nb_ternary_rule *rule, const struct nb_tensor_spec *spec);
/* The shape its file has it in. */
struct nb_shape nb_ternary_shape(const struct nb_ternary_rule *rule,
                                 const struct nb_tensor_spec *spec);
/* items[i].t was just taken from its file with that shape: from now on it is what the model uses, described,
 * without data. scale: the tensor weight_scale; NULL: there is none. */
NB_CHECKED enum nb_status nb_ternary_take(struct nb_model *m, size_t i,
                                          const struct nb_ternary_rule *rule,
                                          const struct nb_tensor *scale, struct nb_error *err);
/* Rows as nb_model_read_rows and nb_model_rows give them. */
void nb_ternary_read(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows, float *dst);
void nb_ternary_rows(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows,
                     uint8_t *dst);
/* All rows, in the order of the file (spec.form). */
void nb_ternary_stored(const struct nb_model *m, size_t i, uint8_t *dst);
void nb_ternary_drop(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows);

/* The list of supported architectures for messages: "llama, ...". Returns dst. */
#define NB_ARCH_LIST_BYTES 512
const char *nb_arch_list(char *dst, size_t cap);

/* Appends an entry without copying what it points to. */
NB_CHECKED enum nb_status nb_meta_borrow(struct nb_meta *m, const struct nb_meta_kv *kv);

/* ---- tokenizers in GGUF metadata (docs/formats/gguf.md) ---- */
/* From m->tokenizer_meta. A kind that nibble cannot use leaves m->tokenizer NULL and the reason in
 * m->tokenizer_problem; one that is malformed is an error. */
NB_CHECKED enum nb_status nb_tokenizer_from_meta(struct nb_model *m, struct nb_error *err);
/* Keys of ids; ends with key == NULL. */
struct nb_tokenizer_id_key {
    const char *key;
    size_t offset; /* of an int32_t in struct nb_vocab */
};
extern const struct nb_tokenizer_id_key nb_tokenizer_id_keys[];
struct nb_tokenizer_model { /* tokenizer.ggml.model */
    const char *name;
    enum nb_vocab_kind kind;
};
const char *nb_tokenizer_model_name(enum nb_vocab_kind kind);
bool nb_wordpiece_is_special(struct nb_text token); /* "[CLS]": the same in either spelling */
/* Notes and logs why there is no tokenizer, which is not an error. Returns NB_OK. */
enum nb_status nb_model_without_tokenizer(struct nb_model *m, const char *why);
/* Adds the model's tokenizer keys, padded to n_vocab tokens. */
NB_CHECKED enum nb_status nb_tokenizer_to_meta(const struct nb_model *m, struct nb_meta *meta,
                                               struct nb_error *err);
/* More tokens than embedding rows is an error. */
NB_CHECKED enum nb_status nb_tokenizer_fits(const struct nb_model *m, struct nb_error *err);

/* ---- export ---- */
struct nb_shard {
    const char *name;    /* of the file */
    size_t first, count; /* in order[] */
};

/* Owns: arena, order, writer, folder, buffers. Borrows: spec and all behind it. */
struct nb_export {
    const struct nb_allocator *a;
    const struct nb_dialect *dialect;
    struct nb_export_spec spec;
    struct nb_arena arena;
    struct nb_meta extra; /* a copy of spec.extra, for patching */
    size_t *order;        /* (n_order) */
    size_t n_order;
    struct nb_writer *writer;
    /* Hugging Face folders */
    struct nb_outdir dir;
    bool dir_open;
    struct nb_shard *shards;
    size_t n_shards, shard;      /* being written */
    size_t k;                    /* weight being written: order[k] */
    uint64_t k_bytes;            /* of it, so far */
    struct nb_meta shard_meta;   /* the types of grids in the shard at hand */
    struct nb_grid_writer *grid; /* of the weight at hand; NULL: it has no parts */
    uint8_t *head;               /* rows held back: of a head, or of a whole weight */
    size_t head_bytes, head_at;
    uint8_t *gate; /* NB_HF_GATE_HALF, whole, until its other half comes */
};

/* A writer for the weights order[first .. first + count) under their canonical or their HF names. */
NB_CHECKED enum nb_status nb_export_declare(struct nb_export *e, const struct nb_container *c,
                                            size_t first, size_t count, bool hf_names,
                                            struct nb_error *err);
uint64_t nb_export_weight_bytes(const struct nb_export *e, size_t i); /* of w.items[i], as stored */

uint64_t nb_export_side_bytes(const struct nb_export *e, size_t i); /* of them, what rows share */

/* ---- general grids in safetensors: a tensor as its parts (grid_parts.c, docs/formats/grids.md) ---- */
#define NB_GRID_META_PREFIX "nibble.type." /* + name: the number format, in __metadata__ */
NB_CHECKED enum nb_status nb_grid_declare(struct nb_writer *w, const char *name,
                                          const struct nb_numfmt *type,
                                          const struct nb_shape *shape, struct nb_error *err);
/* Takes a tensor's records and writes its parts: codes as they come, the others behind them. Owns: what
 * it holds back. */
struct nb_grid_writer;
NB_CHECKED enum nb_status nb_grid_writer_create(struct nb_grid_writer **out, struct nb_writer *w,
                                                const struct nb_numfmt *type,
                                                const struct nb_shape *shape,
                                                const struct nb_allocator *a, struct nb_error *err);
/* Bytes of records, then of the tensor-wide parts, cut anywhere. After the last one all is written. */
NB_CHECKED enum nb_status nb_grid_writer_append(struct nb_grid_writer *g, const uint8_t *data,
                                                size_t n, struct nb_error *err);
void nb_grid_writer_destroy(struct nb_grid_writer *g);
/* The parts of tensor `name` of this shape in the model's files as one tensor; *found false if there are
 * none. part_at: file << 32 | tensor of each part that there is. */
NB_CHECKED enum nb_status nb_grid_find(struct nb_model *m, const struct nb_tensor_index *x,
                                       const char *name, const struct nb_shape *shape,
                                       struct nb_tensor *t, uint64_t part_at[NB_MAX_PARTS],
                                       bool *found, struct nb_error *err);

/* ---- Hugging Face ---- */
#define NB_HF_CONFIG           "config.json"
#define NB_HF_GENERATION       "generation_config.json"
#define NB_HF_TOKENIZER        "tokenizer.json"
#define NB_HF_TOKENIZER_CONFIG "tokenizer_config.json"
#define NB_HF_PIECES           "tokenizer.model"
#define NB_HF_WORDS            "vocab.txt"
#define NB_HF_POOLING          "1_Pooling/config.json" /* of sentence-transformers */
#define NB_HF_WEIGHTS          "model.safetensors"
#define NB_HF_INDEX            "model.safetensors.index.json"
#define NB_HF_QUANT_METHOD     "nibble" /* in config.json: tensors on general grids */
#define NB_HF_MAX_JSON         (UINT64_C(256) << 20)

/* hf_export.c */
bool nb_hf_writes(const char *path);
const struct nb_numfmt *nb_hf_stored_type(const struct nb_model *m, size_t i,
                                          const struct nb_numfmt *wanted);
NB_CHECKED enum nb_status nb_hf_bytes(struct nb_export *e, uint64_t *bytes, struct nb_error *err);
NB_CHECKED enum nb_status nb_hf_begin(struct nb_export *e, const char *path, unsigned out_flags,
                                      struct nb_error *err);
NB_CHECKED enum nb_status nb_hf_append(struct nb_export *e, const uint8_t *data, size_t n,
                                       struct nb_error *err);
NB_CHECKED enum nb_status nb_hf_patch(struct nb_export *e, const char *key, const char *text,
                                      size_t n, struct nb_error *err);
NB_CHECKED enum nb_status nb_hf_commit(struct nb_export *e, struct nb_error *err);
void nb_hf_abort(struct nb_export *e);
/* hf_files.c: the texts of a folder. */
NB_CHECKED enum nb_status nb_hf_write_texts(struct nb_export *e, struct nb_error *err);
NB_CHECKED enum nb_status nb_hf_text_bytes(struct nb_export *e, uint64_t *bytes,
                                           struct nb_error *err);

/* A text of the folder. NB_ERR_NOT_FOUND, without a message: it is not there. Init by this. */
NB_CHECKED enum nb_status nb_hf_read_text(struct nb_str *out, const struct nb_model *m,
                                          const char *name, struct nb_error *err);
/* hf_tokenizer.c */
NB_CHECKED enum nb_status nb_hf_read_tokenizer(struct nb_model *m, struct nb_error *err);

#endif
