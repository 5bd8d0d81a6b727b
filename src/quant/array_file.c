/* quant/array_file.c: arrays from .npy files, and quantized arrays to files.
 *
 * The suffix of the target says what is written: .npy holds the values after rounding, in f32;
 * another container's suffix (.gguf, .safetensors) holds the blocks themselves, as a tensor named
 * "array".
 */
#include "container/container.h"
#include "quant/quant_internal.h"

#include <string.h>

#define PIECE                (1u << 18) /* values of an .npy at a time */
#define QUANTIZATION_VERSION 2          /* of ggml's block layouts */

enum nb_status nb_array_open(struct nb_file **out, const char *path, const struct nb_allocator *a,
                             struct nb_error *err)
{
    NB_TRY(nb_file_open(out, path, a, err));
    if ((*out)->n_tensors == 1)
        return NB_OK;
    const size_t n = (*out)->n_tensors;
    nb_file_close(*out);
    *out = NULL;
    NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s: %zu tensors; expected a file of one array (.npy)", path,
            n);
}

enum nb_status nb_array_load(const struct nb_file *f, float **x, const struct nb_allocator *a,
                             struct nb_error *err)
{
    const struct nb_tensor *t = &f->tensors[0];
    uint64_t n;
    *x = NULL;
    if (!nb_shape_count(&t->shape, &n) || n > SIZE_MAX / sizeof(float) - 1)
        NB_FAIL(err, NB_ERR_LIMIT, "%s: more numbers than memory can hold", f->path);
    *x = nb_alloc(a, (size_t)n + 1, sizeof **x);
    if (*x == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "%s: out of memory for %llu numbers", f->path,
                (unsigned long long)n);
    nb_numfmt_decode(t->type, t->data, *x, (size_t)n);
    return NB_OK;
}

static const struct nb_container *container_of(const char *path)
{
    size_t n;
    const struct nb_container *const *all = nb_container_all(&n);
    for (size_t i = 0; i < n; i++)
        if (nb_str_ends(path, all[i]->suffix))
            return all[i];
    return NULL;
}

static enum nb_status describe(const struct nb_container *c, struct nb_meta *meta,
                               struct nb_error *err)
{
    enum nb_status st = nb_meta_set_text(meta, NB_KEY_VERSION, nb_version(), strlen(nb_version()));
    if (st == NB_OK && c == &nb_container_gguf)
        st = nb_meta_set_u32(meta, "general.quantization_version", QUANTIZATION_VERSION);
    return st == NB_OK ? NB_OK : NB_ERROR(err, st, "out of memory");
}

/* The values after rounding, about a megabyte at a time. */
static enum nb_status append_values(struct nb_writer *w, const struct nb_qarray *q,
                                    struct nb_error *err)
{
    const uint64_t rows = nb_shape_rows(&q->shape), cols = nb_shape_cols(&q->shape);
    const uint64_t step = NB_MAX(PIECE / NB_MAX(cols, 1), 1);
    if (q->part[0].bytes == 0)
        return NB_OK;
    float *y = nb_alloc(q->a, (size_t)step, (size_t)cols * sizeof *y);
    if (y == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    enum nb_status st = NB_OK;
    for (uint64_t row = 0; row < rows && st == NB_OK; row += step) {
        const uint64_t n = NB_MIN(step, rows - row);
        nb_qarray_decode_rows(q, row, n, y);
        st = nb_writer_append(w, y, (size_t)(n * cols) * sizeof *y, err);
    }
    nb_free(q->a, y);
    return st;
}

/* "array" of blocks; "array.codes", "array.scales" ... of a grid. */
static enum nb_status add_parts(struct nb_writer *w, const struct nb_qarray *q,
                                struct nb_error *err)
{
    char name[64] = NB_NPY_NAME ".";
    const size_t stem = sizeof NB_NPY_NAME;
    if (q->type->kind != NB_NUMFMT_GRID)
        return nb_writer_add(w, NB_NPY_NAME, q->type, &q->shape, err);
    if (w->container == &nb_container_gguf)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "GGUF has no type for %s; expected a name ending in .safetensors or .npy",
                q->type->name);
    for (size_t p = 0; p < q->n_parts; p++) {
        memcpy(name + stem, q->part[p].name, strlen(q->part[p].name) + 1);
        NB_TRY(nb_writer_add(w, name, q->part[p].type, &q->part[p].shape, err));
    }
    return NB_OK;
}

static enum nb_status write_array(struct nb_writer *w, const struct nb_qarray *q, const char *path,
                                  bool overwrite, const struct nb_meta *meta, struct nb_error *err)
{
    const bool values = w->container == &nb_container_npy;
    if (values)
        NB_TRY(nb_writer_add(w, NB_NPY_NAME, &nb_numfmt_f32, &q->shape, err));
    else
        NB_TRY(add_parts(w, q, err));
    NB_TRY(nb_writer_begin(w, path, overwrite ? NB_OUT_OVERWRITE : 0, meta, err));
    if (values)
        NB_TRY(append_values(w, q, err));
    for (size_t p = 0; p < q->n_parts && !values; p++)
        NB_TRY(nb_writer_append(w, q->part[p].data, (size_t)q->part[p].bytes, err));
    return nb_writer_commit(w, err);
}

enum nb_status nb_array_check_target(const char *path, struct nb_error *err)
{
    if (container_of(path) == NULL)
        NB_FAIL(err, NB_ERR_ARG,
                "%s: expected a name ending in .npy (values after rounding), .gguf or .safetensors",
                path);
    return NB_OK;
}

enum nb_status nb_qarray_save(const struct nb_qarray *q, const char *path, bool overwrite,
                              struct nb_error *err)
{
    struct nb_writer *w = NULL;
    struct nb_meta meta;
    NB_TRY(nb_array_check_target(path, err));
    const struct nb_container *c = container_of(path);
    nb_meta_init(&meta, q->a);
    enum nb_status st = describe(c, &meta, err);
    if (st == NB_OK)
        st = nb_writer_create(&w, c, q->a, err);
    if (st == NB_OK) {
        st = write_array(w, q, path, overwrite, &meta, err);
        if (st != NB_OK)
            st = nb_error_prefix(err, st, "%s", path);
    }
    nb_writer_destroy(w);
    nb_meta_fini(&meta);
    return st;
}
