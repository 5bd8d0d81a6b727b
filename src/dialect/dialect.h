/* dialect/dialect.h: how an ecosystem writes a model: import into canonical form, export from it.
 *
 * One file per convention, src/dialect/<id>.c, one line NB_DIALECT(<id>) in registry.inc.
 */
#ifndef NB_DIALECT_DIALECT_H
#define NB_DIALECT_DIALECT_H

#include "base/base.h"
#include "container/container.h"
#include "model/model.h"
#include "text/text.h"

/* An opened model. Owns: files (mmap), tables, tokenizer, metadata. Loads no weights. Read-only once
 * opened: any number of threads may use one. */
struct nb_model {
    const struct nb_allocator *a;
    const struct nb_log *log;
    const struct nb_dialect *dialect;
    char *path;
    bool any_arch; /* an architecture that nibble does not know is taken as tensors (any.c) */
    bool unknown;  /* and this is one: it cannot be run, nor change its convention */
    struct nb_arena arena;
    struct nb_file **files; /* shards */
    size_t n_files, cap_files;
    struct nb_weights w; /* every tensor of the file consumed exactly once, or named in an error */
    struct nb_map names;
    struct nb_weight *items;   /* w.items */
    struct nb_file **file_of;  /* (w.n) NULL: synthesized, in the arena */
    const uint8_t **canonical; /* (w.n) bytes of a permuted vector in canonical order, else NULL */
    struct nb_ternary *
        *ternary;        /* (w.n) a matrix of a BitNet checkpoint as it is stored, else NULL */
    struct nb_meta meta; /* canonical (GGUF) metadata without the tokenizer's keys */
    struct nb_meta
        tokenizer_meta; /* the tokenizer's keys as a GGUF file had them; empty: none had */
    struct nb_tokenizer *tokenizer;                 /* NULL: none, or none that nibble can use: */
    char tokenizer_problem[NB_ERROR_MESSAGE_BYTES]; /* why there is none */
    char *chat_template;                            /* NULL: none */
    uint64_t file_bytes;                            /* of all weight files */
};

/* path: a .gguf file, or a folder with config.json and safetensors. */
NB_CHECKED enum nb_status nb_model_open(struct nb_model **out, const char *path,
                                        const struct nb_allocator *a, const struct nb_log *log,
                                        struct nb_error *err);
/* The same, but a model of an architecture that nibble does not know opens too: every tensor under the
 * name its file has, w.hp but for the architecture's name empty, unknown set. */
NB_CHECKED enum nb_status nb_model_open_any(struct nb_model **out, const char *path,
                                            const struct nb_allocator *a, const struct nb_log *log,
                                            struct nb_error *err);
void nb_model_close(struct nb_model *m);

/* Rows [row, row + n_rows) of weight i in canonical (GGUF) row order, as f32, (n_rows, cols). */
void nb_model_read_rows(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows,
                        float *dst);
/* The stored bytes of one canonical row (any pairing resolved). */
const uint8_t *nb_model_row(const struct nb_model *m, size_t i, uint64_t row);
/* The stored bytes of rows [row, row + n_rows) in canonical order, back to back: where they lie, or
 * gathered in scratch, which has room for them. */
const uint8_t *nb_model_rows(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows,
                             uint8_t *scratch);
/* Gives matrices that their file holds in a form no session can take a copy of their own, in memory:
 * before nb_session_create. Once; not while other threads use the model. */
NB_CHECKED enum nb_status nb_model_settle(struct nb_model *m, struct nb_error *err);
/* The pages of these rows are not needed any more (they may be again: then they are read again). */
void nb_model_drop_rows(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows);

/* ---- hashes ----
 * Rows in canonical order are cut into segments of nb_segment_rows. A tensor's hash covers its name,
 * type, shape and its segments' hashes; a model's hash those of its tensors in canonical order. So a
 * stream that sees each segment once, in any order, knows the hash of the file. */
uint64_t nb_segment_rows(const struct nb_shape *shape); /* at least 1; about 64 Ki elements */
struct nb_hash nb_tensor_hash(const char *name, const struct nb_numfmt *type,
                              const struct nb_shape *shape, const struct nb_hash *segments,
                              size_t n);
struct nb_hash nb_tensors_hash(const struct nb_hash *tensors, size_t n);
/* Reads everything. pool may be NULL. NB_ERR_NOMEM only. */
NB_CHECKED enum nb_status nb_model_hash(const struct nb_model *m, struct nb_pool *pool,
                                        struct nb_hash *hash, struct nb_error *err);

/* ---- writing ---- */
struct nb_export_spec {
    const struct nb_model *model;
    const struct nb_numfmt *const *types; /* (model->w.n): stored type of each weight         */
    const struct nb_meta
        *extra;           /* texts added to the metadata ("nibble.recipe" ...), may be NULL */
    uint32_t gguf_ftype;  /* general.file_type                                  */
    uint64_t shard_bytes; /* safetensors: start a new shard above this; 0: one file */
};

struct nb_export; /* Owns: what is being written. */
/* Chooses by path: ".gguf" is a GGUF file, else a Hugging Face folder (float types only). */
NB_CHECKED enum nb_status nb_export_begin(struct nb_export **out, const char *path,
                                          unsigned out_flags, const struct nb_export_spec *spec,
                                          const struct nb_allocator *a, struct nb_error *err);
/* Bytes the finished output will have; writes nothing. */
NB_CHECKED enum nb_status nb_export_bytes(const char *path, const struct nb_export_spec *spec,
                                          uint64_t *bytes, const struct nb_allocator *a,
                                          struct nb_error *err);
/* The type that the convention of `path` stores weight i in when `wanted` is asked for: GGUF keeps
 * vectors in f32. NULL: it does not store this weight at all. */
const struct nb_numfmt *nb_export_type(const char *path, const struct nb_model *m, size_t i,
                                       const struct nb_numfmt *wanted);
/* The convention that a path to be written asks for. */
const struct nb_dialect *nb_export_dialect(const char *path);
/* The order in which nb_export_append wants the weights: order[k] = index into model->w.items, k < *n. */
const size_t *nb_export_order(const struct nb_export *e, size_t *n);
/* Encoded bytes of weight order[k], canonical row order, whole rows, in sequence; the exporter
 * permutes rows where its convention asks for it. Of a general grid: records, then what rows share. */
NB_CHECKED enum nb_status nb_export_append(struct nb_export *e, const void *data, size_t n,
                                           struct nb_error *err);
/* Replaces a text of spec.extra by one of the same length, before commit: for hashes known at the end. */
NB_CHECKED enum nb_status nb_export_patch(struct nb_export *e, const char *key, const char *text,
                                          size_t n, struct nb_error *err);
NB_CHECKED enum nb_status nb_export_commit(struct nb_export *e, struct nb_error *err);
void nb_export_destroy(struct nb_export *e); /* aborts what was not committed: nothing is left */

/* ---- the registry ---- */
struct nb_dialect {
    const char *name;    /* "gguf" */
    const char *summary; /* one line */
    bool (*reads)(const char *path);
    enum nb_status (*open)(struct nb_model *m, struct nb_error *err); /* m->path is set */
    bool (*writes)(const char *path);
    const struct nb_numfmt *(*stored_type)(const struct nb_model *m, size_t i,
                                           const struct nb_numfmt *wanted);
    enum nb_status (*bytes)(struct nb_export *e, uint64_t *bytes, struct nb_error *err);
    enum nb_status (*begin)(struct nb_export *e, const char *path, unsigned out_flags,
                            struct nb_error *err);
    enum nb_status (*append)(struct nb_export *e, const uint8_t *data, size_t n,
                             struct nb_error *err);
    enum nb_status (*patch)(struct nb_export *e, const char *key, const char *text, size_t n,
                            struct nb_error *err);
    enum nb_status (*commit)(struct nb_export *e, struct nb_error *err);
    void (*abort)(struct nb_export *e);
};
#define NB_DIALECT(id) extern const struct nb_dialect nb_dialect_##id;
#include "dialect/registry.inc"
#undef NB_DIALECT
const struct nb_dialect *const *nb_dialect_all(size_t *n);

#endif
