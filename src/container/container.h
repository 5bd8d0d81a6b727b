/* container/container.h: bytes on disk: tables of named tensors and typed metadata.
 *
 * A file format is one file src/container/<id>.c with `const struct nb_container nb_container_<id>`
 * and one line NB_CONTAINER(<id>) in registry.inc. Opening reads the header only; tensors are views
 * of an mmap-ed file. Everything that comes from the file is checked before it is used.
 */
#ifndef NB_CONTAINER_CONTAINER_H
#define NB_CONTAINER_CONTAINER_H

#include "base/base.h"
#include "numfmt/numfmt.h"
#include "tensor/tensor.h"

/* ---- metadata: an ordered list of typed key-values (the types are GGUF's) ---- */
enum nb_meta_type {
    NB_META_U8 = 0,
    NB_META_I8 = 1,
    NB_META_U16 = 2,
    NB_META_I16 = 3,
    NB_META_U32 = 4,
    NB_META_I32 = 5,
    NB_META_F32 = 6,
    NB_META_BOOL = 7,
    NB_META_STRING = 8,
    NB_META_ARRAY = 9,
    NB_META_U64 = 10,
    NB_META_I64 = 11,
    NB_META_F64 = 12
};

struct nb_meta_kv {
    const char *key; /* terminated */
    enum nb_meta_type type;
    enum nb_meta_type item; /* of an array */
    uint64_t n;             /* items of an array; 1 otherwise */
    union {
        uint64_t u; /* unsigned integers, bool */
        int64_t i;
        double f;
        struct nb_text text;
        const void *items; /* array: of struct nb_text for strings, else packed little-endian items,
                              possibly unaligned: read with nb_meta_item_* */
    } v;
};

/* Owns: the table, keys and whatever a setter copied, through its arena. Borrows: in a file's own
 * metadata, texts and packed items lie in the mapping and die with the file. */
struct nb_meta {
    struct nb_arena arena;
    const struct nb_allocator *a;
    struct nb_meta_kv *kv;
    size_t n, cap;
};

void nb_meta_init(struct nb_meta *m, const struct nb_allocator *a);
void nb_meta_fini(struct nb_meta *m);
const struct nb_meta_kv *nb_meta_find(const struct nb_meta *m, const char *key); /* NULL: absent */
/* Setters copy; an existing key is replaced in place. */
NB_CHECKED enum nb_status nb_meta_set_u32(struct nb_meta *m, const char *key, uint32_t v);
NB_CHECKED enum nb_status nb_meta_set_f32(struct nb_meta *m, const char *key, float v);
NB_CHECKED enum nb_status nb_meta_set_bool(struct nb_meta *m, const char *key, bool v);
NB_CHECKED enum nb_status nb_meta_set_text(struct nb_meta *m, const char *key, const char *s,
                                           size_t n);
NB_CHECKED enum nb_status nb_meta_set_texts(struct nb_meta *m, const char *key,
                                            const struct nb_text *items, size_t n);
NB_CHECKED enum nb_status nb_meta_set_array(struct nb_meta *m, const char *key,
                                            enum nb_meta_type item, const void *items,
                                            size_t n); /* numbers, native order */
NB_CHECKED enum nb_status nb_meta_set_kv(struct nb_meta *m,
                                         const struct nb_meta_kv *kv); /* any type */
void nb_meta_remove(struct nb_meta *m, const char *key);
/* Getters: false when absent or of another kind (integers: any integer type whose value fits;
 * floats: f32 or f64). Items: false out of range; a plain number counts as an array of one. */
bool nb_meta_u32(const struct nb_meta *m, const char *key, uint32_t *v);
bool nb_meta_f32(const struct nb_meta *m, const char *key, float *v);
bool nb_meta_bool(const struct nb_meta *m, const char *key, bool *v);
bool nb_meta_text(const struct nb_meta *m, const char *key, struct nb_text *v);
bool nb_meta_item_i64(const struct nb_meta_kv *kv, uint64_t i, int64_t *v);
bool nb_meta_item_f64(const struct nb_meta_kv *kv, uint64_t i, double *v);
size_t nb_meta_type_bytes(enum nb_meta_type t); /* of a number or bool; 0 for string and array */

/* ---- reading ---- */
/* Owns: mapping, tables. One file; shards are put together by the dialect. */
struct nb_file {
    const struct nb_allocator *a;
    const struct nb_container *container;
    char *path;
    struct nb_mapping map;
    struct nb_meta meta;
    struct nb_arena arena;     /* names */
    struct nb_tensor *tensors; /* in the order of their data */
    size_t n_tensors, tensors_cap;
    struct nb_map names; /* -> index */
    uint32_t version;    /* of the file format, 0 if it has none */
    uint64_t data_offset;
    bool in_memory; /* map is borrowed */
};

/* Probes every registered container on the first bytes. NB_ERR_UNSUPPORTED names what was found.
 * Thread-safe: files share nothing; an opened file is read-only. */
NB_CHECKED enum nb_status nb_file_open(struct nb_file **out, const char *path,
                                       const struct nb_allocator *a, struct nb_error *err);
/* The same over bytes in memory (borrowed, must outlive the file): tests and fuzzing. */
NB_CHECKED enum nb_status nb_file_open_bytes(struct nb_file **out, const void *data, size_t n,
                                             const struct nb_allocator *a, struct nb_error *err);
void nb_file_close(struct nb_file *f);
const struct nb_tensor *nb_file_find(const struct nb_file *f, const char *name); /* NULL: none */

/* ---- writing ---- */
/* Owns: everything; the output until it is committed.
 * Declare everything, begin (which writes the header: all offsets are known), then append each
 * tensor's bytes in the order declared, in pieces of any size; commit checks that nothing is
 * missing. */
struct nb_writer {
    const struct nb_allocator *a;
    const struct nb_container *container;
    struct nb_out out;
    struct nb_arena arena; /* names */
    struct nb_map names;
    struct nb_tensor *tensors; /* name, type, shape, bytes, offset */
    size_t n_tensors, cap;
    size_t current;      /* tensor being written */
    uint64_t current_at; /* bytes of it so far */
    uint64_t data_offset;
    uint64_t align; /* of each tensor's start; set by layout */
    enum nb_writer_state {
        NB_WRITER_DECLARING,
        NB_WRITER_OPEN,
        NB_WRITER_DONE,
        NB_WRITER_BROKEN
    } state;
};

NB_CHECKED enum nb_status nb_writer_create(struct nb_writer **out, const struct nb_container *c,
                                           const struct nb_allocator *a, struct nb_error *err);
NB_CHECKED enum nb_status nb_writer_add(struct nb_writer *w, const char *name,
                                        const struct nb_numfmt *type, const struct nb_shape *shape,
                                        struct nb_error *err);
NB_CHECKED enum nb_status nb_writer_begin(struct nb_writer *w, const char *path, unsigned out_flags,
                                          const struct nb_meta *meta, struct nb_error *err);
/* Total size of the file with this metadata, before anything is written (for plans). */
NB_CHECKED enum nb_status nb_writer_bytes(struct nb_writer *w, const struct nb_meta *meta,
                                          uint64_t *bytes, struct nb_error *err);
NB_CHECKED enum nb_status nb_writer_append(struct nb_writer *w, const void *data, size_t n,
                                           struct nb_error *err);
NB_CHECKED enum nb_status nb_writer_commit(struct nb_writer *w, struct nb_error *err);
void nb_writer_destroy(struct nb_writer *w); /* aborts what was not committed */

struct nb_container {
    const char *name;                                                /* "gguf" */
    const char *suffix;                                              /* ".gguf" */
    size_t max_tensors;                                              /* of a file; 0: any number */
    bool (*probe)(const uint8_t *head, size_t n);                    /* n up to 64 first bytes */
    enum nb_status (*open)(struct nb_file *f, struct nb_error *err); /* parse f->map into tables */
    /* Lays out: sets align, data_offset and each tensor's offset (from the start of the file), and
     * appends the header to `header`, padded up to data_offset. meta may be NULL; a format that has
     * no place for it leaves it out. */
    enum nb_status (*layout)(struct nb_writer *w, const struct nb_meta *meta, struct nb_str *header,
                             struct nb_error *err);
    /* The order in which the format's owner lays tensors down: true if a comes before b. NULL: the
     * order does not matter. A caller that cares sorts before nb_writer_add. */
    bool (*before)(const struct nb_tensor *a, const struct nb_tensor *b);
};

#define NB_NPY_NAME "array" /* what the one tensor of an .npy file is called */

#define NB_CONTAINER(id) extern const struct nb_container nb_container_##id;
#include "container/registry.inc"
#undef NB_CONTAINER
const struct nb_container *const *nb_container_all(size_t *n);

#endif
