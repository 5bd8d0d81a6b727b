/* container/safetensors.c: reading safetensors.
 *
 * Layout and rules: the safetensors README and its tensor.rs: a header of at most 100,000,000 bytes
 * of JSON, then one buffer that the tensors cover without holes, overlap or a rest. Duplicate keys
 * are refused here although the reference lets them pass. Tensors come out in the order of their
 * data.
 * Left out: dtypes without a number format; more than NB_MAX_DIMS dimensions.
 */
#include "container/safetensors_internal.h"

#include <string.h>

#define QUOTE_BYTES 96

/* In ascending order of alignment, as the reference declares them: its writer sorts by this. */
static const char *const dtypes[] = {
    "BOOL",    "F4",          "F6_E2M3",     "F6_E3M2", "U8",  "I8",  "F8_E5M2", "F8_E4M3",
    "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I16",     "U16", "F16", "BF16",    "I32",
    "U32",     "F32",         "C64",         "F64",     "I64", "U64",
};

int nb_safetensors_dtype_rank(const char *dtype)
{
    for (size_t i = 0; i < NB_COUNTOF(dtypes); i++)
        if (strcmp(dtypes[i], dtype) == 0)
            return (int)i;
    return -1;
}

static bool probe(const uint8_t *head, size_t n)
{
    if (n < 9)
        return false;
    if (nb_load_u64(head) <= NB_SAFETENSORS_MAX_HEADER)
        return true;
    /* A wrong length deserves its own message, but a text file does not look like one. */
    return head[8] == '{' && memchr(head, 0, 8) != NULL;
}

/* ---- one entry ---- */

/* A JSON integer, not negative; fractions, exponents and numbers past 2^63 are no integers. */
static bool get_u64(const nb_json *v, uint64_t *out)
{
    int64_t i;
    if (nb_json_type(v) != NB_JSON_INT || !nb_json_int(v, &i) || i < 0)
        return false;
    *out = (uint64_t)i;
    return true;
}

static enum nb_status read_dtype(const nb_json *entry, struct nb_tensor *t, struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    size_t n;
    const char *dtype = nb_json_string(nb_json_get(entry, "dtype"), &n);
    if (dtype == NULL)
        NB_FAIL(err, NB_ERR_FORMAT, "no 'dtype' string");
    nb_printable(quote, sizeof quote, dtype, n);
    if (memchr(dtype, 0, n) != NULL || nb_safetensors_dtype_rank(dtype) < 0)
        NB_FAIL(err, NB_ERR_FORMAT, "unknown dtype '%s'", quote);
    t->type = nb_numfmt_by_st(dtype);
    if (t->type == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "dtype %s is not one that nibble reads", quote);
    return NB_OK;
}

static enum nb_status read_shape(const nb_json *entry, struct nb_tensor *t, struct nb_error *err)
{
    const nb_json *shape = nb_json_get(entry, "shape");
    if (nb_json_type(shape) != NB_JSON_ARRAY)
        NB_FAIL(err, NB_ERR_FORMAT, "no 'shape' array");
    const size_t n = nb_json_size(shape);
    if (n > NB_MAX_DIMS)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%zu dimensions, at most %d", n, NB_MAX_DIMS);
    t->shape.n = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        if (!get_u64(nb_json_at(shape, i), &t->shape.dim[i]))
            NB_FAIL(err, NB_ERR_FORMAT, "dimension %zu is no integer in 0 to 2^63-1", i);
    if (!nb_container_shape_ok(&t->shape))
        NB_FAIL(err, NB_ERR_FORMAT, "the product of dimensions passes 2^63");
    return NB_OK;
}

/* data_offsets -> offset (from the start of the buffer, for now) and bytes. */
static enum nb_status read_offsets(const nb_json *entry, struct nb_tensor *t, uint64_t buffer_bytes,
                                   struct nb_error *err)
{
    const nb_json *at = nb_json_get(entry, "data_offsets");
    uint64_t begin, end, expected;
    if (nb_json_type(at) != NB_JSON_ARRAY || nb_json_size(at) != 2 ||
        !get_u64(nb_json_at(at, 0), &begin) || !get_u64(nb_json_at(at, 1), &end))
        NB_FAIL(err, NB_ERR_FORMAT, "'data_offsets' is not a pair of integers in 0 to 2^63-1");
    if (begin > end)
        NB_FAIL(err, NB_ERR_FORMAT, "data begins at %llu after its end at %llu",
                (unsigned long long)begin, (unsigned long long)end);
    if (end > buffer_bytes)
        NB_FAIL(err, NB_ERR_FORMAT, "data ends at %llu, the buffer has %llu bytes",
                (unsigned long long)end, (unsigned long long)buffer_bytes);
    NB_TRY(nb_numfmt_bytes(t->type, &t->shape, &expected, err));
    if (end - begin != expected)
        NB_FAIL(err, NB_ERR_FORMAT, "data of %llu bytes, expected %llu for its shape and dtype",
                (unsigned long long)(end - begin), (unsigned long long)expected);
    t->offset = begin;
    t->bytes = end - begin;
    return NB_OK;
}

static enum nb_status read_entry(const nb_json *entry, struct nb_tensor *t, uint64_t buffer_bytes,
                                 struct nb_error *err)
{
    if (nb_json_type(entry) != NB_JSON_OBJECT)
        NB_FAIL(err, NB_ERR_FORMAT, "the entry is no object");
    if (nb_json_size(entry) != 3)
        NB_FAIL(err, NB_ERR_FORMAT, "the entry has %zu fields, expected dtype, shape, data_offsets",
                nb_json_size(entry));
    NB_TRY(read_dtype(entry, t, err));
    NB_TRY(read_shape(entry, t, err));
    return read_offsets(entry, t, buffer_bytes, err);
}

static enum nb_status read_tensor(struct nb_file *f, const char *name, size_t n,
                                  const nb_json *entry, struct nb_error *err)
{
    struct nb_tensor t = {0};
    char quote[QUOTE_BYTES];
    nb_printable(quote, sizeof quote, name, n);
    if (n == 0 || memchr(name, 0, n) != NULL)
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s': a name must not be empty or hold a zero byte",
                quote);
    const enum nb_status st = read_entry(entry, &t, f->map.size - f->data_offset, err);
    if (st != NB_OK)
        return nb_error_prefix(err, st, "tensor '%s'", quote);
    t.name = nb_arena_strndup(&f->arena, name, n);
    if (t.name == NULL ||
        !nb_grow(f->a, &f->tensors, &f->tensors_cap, f->n_tensors, sizeof *f->tensors))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    f->tensors[f->n_tensors++] = t;
    return NB_OK;
}

/* ---- metadata ---- */

/* Not nb_meta_set_text: that looks for the key first, and JSON has proved the keys unique. */
static enum nb_status push_text(struct nb_meta *m, struct nb_text key, struct nb_text text,
                                struct nb_error *err)
{
    struct nb_meta_kv kv = {.type = NB_META_STRING, .n = 1};
    kv.key = nb_arena_strndup(&m->arena, key.s, key.n);
    kv.v.text.s = nb_arena_strndup(&m->arena, text.s, text.n);
    kv.v.text.n = text.n;
    if (kv.key == NULL || kv.v.text.s == NULL ||
        !nb_grow(m->a, &m->kv, &m->cap, m->n, sizeof *m->kv))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    m->kv[m->n++] = kv;
    return NB_OK;
}

static enum nb_status read_metadata(struct nb_file *f, const nb_json *object, struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    if (nb_json_type(object) != NB_JSON_OBJECT)
        NB_FAIL(err, NB_ERR_FORMAT, "__metadata__ is no object");
    for (void *it = nb_json_iter(object); it != NULL; it = nb_json_next(object, it)) {
        struct nb_text key, text;
        key.s = nb_json_key(it, &key.n);
        text.s = nb_json_string(nb_json_value(it), &text.n);
        nb_printable(quote, sizeof quote, key.s, key.n);
        if (text.s == NULL)
            NB_FAIL(err, NB_ERR_FORMAT, "__metadata__ '%s' is no string", quote);
        if (key.n == 0 || memchr(key.s, 0, key.n) != NULL)
            NB_FAIL(err, NB_ERR_FORMAT,
                    "__metadata__ '%s': a key must not be empty or hold a zero byte", quote);
        NB_TRY(push_text(&f->meta, key, text, err));
    }
    return NB_OK;
}

/* ---- the order of the data ---- */

static bool lies_before(const struct nb_tensor *a, const struct nb_tensor *b)
{
    return a->offset != b->offset ? a->offset < b->offset : a->bytes < b->bytes;
}

/* Stable merge sort, from runs of 1 upwards; tmp has room for n. */
static void sort_tensors(struct nb_tensor *t, struct nb_tensor *tmp, size_t n)
{
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * run) {
            const size_t mid = NB_MIN(lo + run, n), hi = NB_MIN(mid + run, n);
            size_t i = lo, j = mid;
            for (size_t k = lo; k < hi; k++)
                tmp[k] = j < hi && (i == mid || lies_before(&t[j], &t[i])) ? t[j++] : t[i++];
        }
        memcpy(t, tmp, n * sizeof *t);
    }
}

static bool is_sorted(const struct nb_tensor *t, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (lies_before(&t[i], &t[i - 1]))
            return false;
    return true;
}

static enum nb_status check_cover(const struct nb_file *f, struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    const uint64_t buffer_bytes = f->map.size - f->data_offset;
    uint64_t end = 0;
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct nb_tensor *t = &f->tensors[i];
        if (t->offset != end)
            return NB_ERROR_AT(err, NB_ERR_FORMAT, f->data_offset + end,
                               "tensor '%s': data begins at %llu, expected %llu (%s)",
                               nb_printable(quote, sizeof quote, t->name, strlen(t->name)),
                               (unsigned long long)t->offset, (unsigned long long)end,
                               t->offset > end ? "a hole" : "an overlap");
        end += t->bytes; /* within the buffer: read_offsets */
    }
    if (end != buffer_bytes)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, f->data_offset + end,
                           "tensors end at %llu, the buffer has %llu bytes",
                           (unsigned long long)end, (unsigned long long)buffer_bytes);
    return NB_OK;
}

static enum nb_status place_tensors(struct nb_file *f, struct nb_error *err)
{
    if (!is_sorted(f->tensors, f->n_tensors)) {
        struct nb_tensor *tmp = nb_alloc(f->a, f->n_tensors, sizeof *tmp);
        if (tmp == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
        sort_tensors(f->tensors, tmp, f->n_tensors);
        nb_free(f->a, tmp);
    }
    NB_TRY(check_cover(f, err));
    for (size_t i = 0; i < f->n_tensors; i++) {
        struct nb_tensor *t = &f->tensors[i];
        t->offset += f->data_offset;
        t->data = f->map.data + t->offset;
        /* JSON has proved the names unique, so only memory can fail. */
        if (nb_map_put(&f->names, t->name, strlen(t->name), i) != NB_OK)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    }
    return NB_OK;
}

/* ---- the file ---- */

static enum nb_status read_header(struct nb_file *f, const nb_json *root, struct nb_error *err)
{
    if (nb_json_type(root) != NB_JSON_OBJECT)
        NB_FAIL(err, NB_ERR_FORMAT, "the header is no JSON object");
    for (void *it = nb_json_iter(root); it != NULL; it = nb_json_next(root, it)) {
        size_t n;
        const char *key = nb_json_key(it, &n);
        if (strcmp(key, NB_SAFETENSORS_METADATA) == 0)
            NB_TRY(read_metadata(f, nb_json_value(it), err));
        else
            NB_TRY(read_tensor(f, key, n, nb_json_value(it), err));
    }
    return NB_OK;
}

static enum nb_status open_safetensors(struct nb_file *f, struct nb_error *err)
{
    struct nb_cursor c = {.data = f->map.data, .size = f->map.size};
    uint64_t n;
    const uint8_t *text;
    NB_TRY(nb_cursor_u64(&c, &n, "header length", err));
    if (n > NB_SAFETENSORS_MAX_HEADER)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, 0, "a header of %llu bytes, at most %d",
                           (unsigned long long)n, NB_SAFETENSORS_MAX_HEADER);
    NB_TRY(nb_cursor_take(&c, &text, n, "header", err));
    if (n == 0 || text[0] != '{')
        return NB_ERROR_AT(err, NB_ERR_FORMAT, 8, "the header does not begin with '{'");
    f->data_offset = c.at;
    nb_json *root = NULL;
    NB_TRY(nb_json_parse(&root, (const char *)text, (size_t)n, "header", err));
    enum nb_status st = read_header(f, root, err);
    nb_json_free(root);
    if (st == NB_OK)
        st = place_tensors(f, err);
    return st;
}

const struct nb_container nb_container_safetensors = {
    .name = "safetensors",
    .suffix = ".safetensors",
    .probe = probe,
    .open = open_safetensors,
    .layout = nb_safetensors_layout,
    .before = nb_safetensors_before,
};
