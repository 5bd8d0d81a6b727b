/* quant/array_file.c: arrays from .npy files, and quantized arrays to files.
 *
 * The suffix of the target says what is written: .npy holds the values after rounding, in f32;
 * another container's suffix (.gguf, .safetensors) holds the blocks themselves, as a tensor named
 * "array".
 */
#include "container/container.h"
#include "numfmt/grid.h"
#include "quant/quant_internal.h"

#include <string.h>

#define PIECE                (1u << 18) /* values of an .npy at a time */
#define QUANTIZATION_VERSION 2          /* of ggml's block layouts */
#define KEY_TYPE             "nibble.type." NB_NPY_NAME
#define KEY_SHAPE            "nibble.shape." NB_NPY_NAME
#define NAME_BYTES           64

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

/* Of a grid the metadata says what the parts are parts of: packed codes do not show it. */
static enum nb_status describe(const struct nb_container *c, const struct nb_qarray *q,
                               struct nb_meta *meta, struct nb_error *err)
{
    char shape[NB_SHAPE_TEXT_BYTES];
    nb_shape_text(&q->shape, shape);
    enum nb_status st = nb_meta_set_text(meta, NB_KEY_VERSION, nb_version(), strlen(nb_version()));
    if (st == NB_OK && c == &nb_container_gguf)
        st = nb_meta_set_u32(meta, "general.quantization_version", QUANTIZATION_VERSION);
    if (st == NB_OK && q->type->kind == NB_NUMFMT_GRID)
        st = nb_meta_set_text(meta, KEY_TYPE, q->type->name, strlen(q->type->name));
    if (st == NB_OK && q->type->kind == NB_NUMFMT_GRID)
        st = nb_meta_set_text(meta, KEY_SHAPE, shape, strlen(shape));
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

static void part_name(char name[NAME_BYTES], const char *part)
{
    const size_t stem = sizeof NB_NPY_NAME - 1;
    memcpy(name, NB_NPY_NAME, stem);
    name[stem] = '.';
    memcpy(name + stem + 1, part, strlen(part) + 1);
}

/* "array" of blocks; "array.codes", "array.scales" ... of a grid. */
static enum nb_status add_parts(struct nb_writer *w, const struct nb_qarray *q,
                                struct nb_error *err)
{
    char name[NAME_BYTES];
    if (q->type->kind != NB_NUMFMT_GRID)
        return nb_writer_add(w, NB_NPY_NAME, q->type, &q->shape, err);
    if (w->container == &nb_container_gguf)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "GGUF has no type for %s; expected a name ending in .safetensors or .npy",
                q->type->name);
    for (size_t p = 0; p < q->n_parts; p++) {
        part_name(name, q->part[p].name);
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
    enum nb_status st = describe(c, q, &meta, err);
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

/* ---- reading what was saved ---- */

/* "[3, 5, 512]", as nb_shape_text writes it. */
static bool parse_shape(struct nb_shape *s, struct nb_text text)
{
    size_t at = 1;
    *s = (struct nb_shape){.n = 0};
    if (text.n < 2 || text.s[0] != '[' || text.s[text.n - 1] != ']')
        return false;
    while (at < text.n - 1) {
        uint64_t v = 0;
        const size_t first = at;
        for (; text.s[at] >= '0' && text.s[at] <= '9'; at++)
            if (!nb_mul_u64(&v, v, 10) || !nb_add_u64(&v, v, (uint64_t)(text.s[at] - '0')))
                return false;
        if (at == first || s->n == NB_MAX_DIMS)
            return false;
        s->dim[s->n++] = v;
        if (at + 3 < text.n && text.s[at] == ',' && text.s[at + 1] == ' ')
            at += 2;
        else if (at != text.n - 1)
            return false;
    }
    return true;
}

/* What the file's metadata and tensors say: a grid in parts, or one tensor as it is. */
static enum nb_status find_saved(const struct nb_file *f, const struct nb_numfmt **type,
                                 struct nb_shape *shape, struct nb_error *err)
{
    struct nb_text name, dims;
    char text[NAME_BYTES] = "", quote[NAME_BYTES];
    if (!nb_meta_text(&f->meta, KEY_TYPE, &name)) {
        if (f->n_tensors != 1 || f->tensors[0].type->decode == NULL)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "%zu tensors and no '%s'; expected a saved array",
                    f->n_tensors, KEY_TYPE);
        *type = f->tensors[0].type;
        *shape = f->tensors[0].shape;
        return NB_OK;
    }
    if (name.n < sizeof text)
        memcpy(text, name.s, name.n);
    *type = nb_numfmt_find(text);
    if (*type == NULL || (*type)->kind != NB_NUMFMT_GRID)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "'%s' is no general grid that nibble knows",
                nb_printable(quote, sizeof quote, name.s, name.n));
    if (!nb_meta_text(&f->meta, KEY_SHAPE, &dims) || !parse_shape(shape, dims))
        NB_FAIL(err, NB_ERR_FORMAT, "no '%s' like \"[2, 256]\"", KEY_SHAPE);
    return NB_OK;
}

static enum nb_status copy_parts(struct nb_qarray *q, const struct nb_file *f, struct nb_error *err)
{
    char name[NAME_BYTES], have[NB_SHAPE_TEXT_BYTES], want[NB_SHAPE_TEXT_BYTES];
    const bool grid = q->type->kind == NB_NUMFMT_GRID;
    for (size_t p = 0; p < q->n_parts; p++) {
        const struct nb_qarray_part *part = &q->part[p];
        part_name(name, part->name);
        const struct nb_tensor *t = grid ? nb_file_find(f, name) : &f->tensors[0];
        if (t == NULL)
            NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' is missing", name);
        if (t->type != part->type || !nb_shape_eq(&t->shape, &part->shape))
            NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' is %s of %s, expected %s of %s", name,
                    nb_shape_text(&t->shape, have), t->type->name,
                    nb_shape_text(&part->shape, want), part->type->name);
        memcpy(part->data, t->data, (size_t)t->bytes);
    }
    if (!grid)
        return NB_OK;
    const struct nb_tensor t = {
        .name = NB_NPY_NAME, .type = q->type, .shape = q->shape, .parts = &q->parts};
    return nb_grid_check(&t, err);
}

enum nb_status nb_qarray_read(struct nb_qarray **out, const char *path,
                              const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_file *f;
    struct nb_qarray *q = NULL;
    struct nb_shape shape;
    const struct nb_numfmt *type = NULL;
    uint64_t bytes = 0;
    *out = NULL;
    NB_TRY(nb_file_open(&f, path, a, err));
    enum nb_status st = find_saved(f, &type, &shape, err);
    if (st == NB_OK)
        st = nb_numfmt_bytes(type, &shape, &bytes, err);
    if (st == NB_OK && bytes > f->map.size) /* before memory is asked for */
        st = NB_ERROR(err, NB_ERR_FORMAT, "the array takes %llu bytes, the file has %llu",
                      (unsigned long long)bytes, (unsigned long long)f->map.size);
    if (st == NB_OK)
        st = nb_qarray_allocate(&q, type, &shape, a, err);
    if (st == NB_OK)
        st = copy_parts(q, f, err);
    nb_file_close(f);
    if (st != NB_OK) {
        nb_qarray_destroy(q);
        return nb_error_prefix(err, st, "%s", path);
    }
    *out = q;
    return NB_OK;
}
