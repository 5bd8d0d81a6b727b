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

struct nb_dialect;

/* An opened model. Owns: files (mmap), tables, tokenizer, metadata. Loads no weights. */
struct nb_model {
    const struct nb_allocator *a;
    const struct nb_log *log;
    const struct nb_dialect *dialect;
    char *path;
    struct nb_arena arena;
    struct nb_file **files; /* shards */
    size_t n_files;
    struct nb_weights w; /* every tensor of the file consumed exactly once, or named in an error */
    struct nb_map names;
    struct nb_meta meta;            /* canonical (GGUF) metadata without the tokenizer's arrays */
    struct nb_tokenizer *tokenizer; /* NULL: the folder has none */
    char *chat_template;            /* NULL: none */
    uint64_t file_bytes;            /* of all weight files */
};

/* path: a .gguf file, or a folder with config.json and safetensors. */
NB_CHECKED enum nb_status nb_model_open(struct nb_model **out, const char *path,
                                        const struct nb_allocator *a, const struct nb_log *log,
                                        struct nb_error *err);
void nb_model_close(struct nb_model *m);
const char *nb_model_dialect_name(const struct nb_model *m); /* "gguf", "hf" */

/* Rows [row, row + n_rows) of weight i in canonical (GGUF) row order, as f32, (n_rows, cols). */
void nb_model_read_rows(const struct nb_model *m, size_t i, uint64_t row, uint64_t n_rows,
                        float *dst);
/* The stored bytes of one canonical row (any pairing resolved). */
const uint8_t *nb_model_row(const struct nb_model *m, size_t i, uint64_t row);
/* Hash of names, types, shapes and bytes of all tensors in canonical order (reads everything). */
struct nb_hash nb_model_hash(const struct nb_model *m);

/* ---- writing ---- */
struct nb_export_spec {
    const struct nb_model *model;
    const struct nb_numfmt *const *types; /* (model->w.n): stored type of each weight         */
    const struct nb_meta *extra; /* added to the metadata ("nibble.recipe" ...), may be NULL */
    uint32_t gguf_ftype;         /* general.file_type                                  */
    uint64_t shard_bytes;        /* safetensors: start a new shard above this; 0: one file */
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
/* The order in which nb_export_append wants the weights: order[k] = index into model->w.items. */
const size_t *nb_export_order(const struct nb_export *e);
/* Encoded bytes of weight order[k], canonical row order, whole rows, in sequence; the exporter
 * permutes rows where its convention asks for it. */
NB_CHECKED enum nb_status nb_export_append(struct nb_export *e, const void *data, size_t n,
                                           struct nb_error *err);
NB_CHECKED enum nb_status nb_export_commit(struct nb_export *e, struct nb_error *err);
void nb_export_destroy(struct nb_export *e); /* aborts what was not committed: nothing is left */

#endif
