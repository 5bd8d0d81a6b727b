/* container/npy.c: NumPy's .npy: one array, a file.
 *
 * Layout: the module text of numpy.lib.format, versions 1.0, 2.0 and 3.0: a magic string, a length, a
 * Python dictionary of 'descr', 'fortran_order' and 'shape', then the items. The dictionary is read by
 * a parser of just that grammar. The array comes out as a tensor named "array".
 * Left out, with a message each: big endian, Fortran order, structured types, strings, dates, complex
 * numbers, objects (Python pickles, which run code), more than NB_MAX_DIMS dimensions. Files are
 * written as version 1.0, to the byte as NumPy does; the format has no place for metadata.
 */
#include "container/container_internal.h"

#include <string.h>

#define MAGIC       "\x93NUMPY"
#define MAGIC_BYTES 6
#define MAX_HEADER  65535 /* of any version: what can be read needs 200 bytes */
#define QUOTE_BYTES 64
#define ALIGN       64 /* of the data, in files that NumPy writes */
#define GROWTH      21 /* digits that NumPy leaves room for in the first dimension */

/* Item types: the descriptors' names in safetensors, and NumPy's, without byte order. */
static const struct {
    const char *st_dtype, *descr;
} types[] = {
    {"F16", "f2"}, {"F32", "f4"}, {"F64", "f8"}, {"I8", "i1"},  {"U8", "u1"},  {"I16", "i2"},
    {"U16", "u2"}, {"I32", "i4"}, {"U32", "u4"}, {"I64", "i8"}, {"U64", "u8"}, {"BOOL", "b1"},
};

static bool probe(const uint8_t *head, size_t n)
{
    return n >= MAGIC_BYTES && memcmp(head, MAGIC, MAGIC_BYTES) == 0;
}

/* ---- the dictionary ---- */

/* Borrows: the header's text. */
struct dict {
    const char *s;
    size_t n, at;
    uint64_t file_at; /* of s */
    const char *descr;
    size_t descr_len;
    struct nb_shape shape;
    bool fortran, has_descr, has_order, has_shape;
};

static enum nb_status malformed(const struct dict *d, const char *want, struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    return NB_ERROR_AT(err, NB_ERR_FORMAT, d->file_at + d->at, "header: expected %s, found '%s'",
                       want, nb_printable(quote, sizeof quote, d->s + d->at, d->n - d->at));
}

static void skip_space(struct dict *d)
{
    while (d->at < d->n && (d->s[d->at] == ' ' || d->s[d->at] == '\n'))
        d->at++;
}

/* Takes c and the space before it, or leaves all as it was but the space. */
static bool take(struct dict *d, char c)
{
    skip_space(d);
    if (d->at == d->n || d->s[d->at] != c)
        return false;
    d->at++;
    return true;
}

static bool take_word(struct dict *d, const char *word)
{
    const size_t n = strlen(word);
    skip_space(d);
    if (d->n - d->at < n || memcmp(d->s + d->at, word, n) != 0)
        return false;
    d->at += n;
    return true;
}

/* A string in either kind of quotes; no type or key needs an escape. */
static bool take_string(struct dict *d, const char **s, size_t *n)
{
    const char quote = take(d, '\'') ? '\'' : take(d, '"') ? '"' : '\0';
    if (quote == '\0')
        return false;
    const char *end = memchr(d->s + d->at, quote, d->n - d->at);
    if (end == NULL)
        return false;
    *s = d->s + d->at;
    *n = (size_t)(end - *s);
    d->at += *n + 1;
    return memchr(*s, '\\', *n) == NULL;
}

static bool take_size(struct dict *d, uint64_t *out)
{
    uint64_t v = 0;
    skip_space(d);
    const size_t first = d->at;
    while (d->at < d->n && d->s[d->at] >= '0' && d->s[d->at] <= '9') {
        if (!nb_mul_u64(&v, v, 10) || !nb_add_u64(&v, v, (uint64_t)(d->s[d->at] - '0')))
            return false;
        d->at++;
    }
    const bool ok = d->at > first && (d->at == first + 1 || d->s[first] != '0');
    if (ok && d->at < d->n && d->s[d->at] == 'L') /* as Python 2 wrote long integers */
        d->at++;
    *out = v;
    return ok;
}

/* (), (3,), (3, 4), (3, 4,) */
static enum nb_status read_shape(struct dict *d, struct nb_error *err)
{
    bool comma = true;
    if (!take(d, '('))
        return malformed(d, "a tuple of sizes", err);
    while (!take(d, ')')) {
        uint64_t v;
        if (!comma || !take_size(d, &v))
            return malformed(d, "a size below 2^64", err);
        if (d->shape.n == NB_MAX_DIMS)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "more than %d dimensions", NB_MAX_DIMS);
        d->shape.dim[d->shape.n++] = v;
        comma = take(d, ',');
    }
    if (d->shape.n == 1 && !comma)
        return malformed(d, "a comma in a tuple of one size", err);
    return NB_OK;
}

static enum nb_status read_descr(struct dict *d, struct nb_error *err)
{
    skip_space(d);
    if (d->at < d->n && (d->s[d->at] == '[' || d->s[d->at] == '('))
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "a structured array; nibble reads plain numbers");
    if (!take_string(d, &d->descr, &d->descr_len))
        return malformed(d, "the type's name in quotes", err);
    return NB_OK;
}

static enum nb_status read_member(struct dict *d, struct nb_error *err)
{
    const char *key;
    size_t n;
    if (!take_string(d, &key, &n) || !take(d, ':'))
        return malformed(d, "a key and a colon", err);
    if (n == 5 && memcmp(key, "descr", n) == 0 && !d->has_descr) {
        d->has_descr = true;
        return read_descr(d, err);
    }
    if (n == 5 && memcmp(key, "shape", n) == 0 && !d->has_shape) {
        d->has_shape = true;
        return read_shape(d, err);
    }
    if (n == 13 && memcmp(key, "fortran_order", n) == 0 && !d->has_order) {
        d->has_order = true;
        d->fortran = take_word(d, "True");
        return d->fortran || take_word(d, "False") ? NB_OK : malformed(d, "True or False", err);
    }
    char quote[QUOTE_BYTES];
    NB_FAIL(err, NB_ERR_FORMAT,
            "header: key '%s'; expected descr, fortran_order and shape, once each",
            nb_printable(quote, sizeof quote, key, n));
}

static enum nb_status read_dict(struct dict *d, struct nb_error *err)
{
    if (!take(d, '{'))
        return malformed(d, "'{'", err);
    for (bool comma = true; !take(d, '}'); comma = take(d, ',')) {
        if (!comma)
            return malformed(d, "a comma", err);
        NB_TRY(read_member(d, err));
    }
    skip_space(d);
    if (d->at != d->n)
        return malformed(d, "nothing behind the dictionary", err);
    if (!d->has_descr || !d->has_order || !d->has_shape)
        NB_FAIL(err, NB_ERR_FORMAT, "header: no '%s'",
                !d->has_descr   ? "descr"
                : !d->has_order ? "fortran_order"
                                : "shape");
    return NB_OK;
}

/* ---- reading ---- */

/* "<f4", "|u1"; '=' was never written by NumPy, but means this machine. */
static enum nb_status find_type(const struct nb_numfmt **type, const struct dict *d,
                                struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    nb_printable(quote, sizeof quote, d->descr, d->descr_len);
    if (d->descr_len >= 2 && d->descr[1] == 'O')
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "an array of Python objects: a pickle can run any code; nibble never reads one");
    for (size_t i = 0; d->descr_len == 3 && i < NB_COUNTOF(types); i++) {
        if (memcmp(types[i].descr, d->descr + 1, 2) != 0)
            continue;
        *type = nb_numfmt_by_st(types[i].st_dtype);
        if (*type == NULL)
            break;
        if (d->descr[0] == '<' || d->descr[0] == '=' ||
            ((*type)->block_bytes == 1 && (d->descr[0] == '|' || d->descr[0] == '>')))
            return NB_OK;
        if (d->descr[0] == '>')
            NB_FAIL(err, NB_ERR_UNSUPPORTED,
                    "big-endian numbers ('%s'); save x.astype('<%s') instead", quote,
                    types[i].descr);
    }
    NB_FAIL(err, NB_ERR_UNSUPPORTED,
            "numbers of type '%s'; nibble reads f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 and b1", quote);
}

static enum nb_status add_array(struct nb_file *f, const struct dict *d, struct nb_error *err)
{
    struct nb_tensor t = {.name = NB_NPY_NAME, .shape = d->shape, .offset = f->data_offset};
    char text[NB_SHAPE_TEXT_BYTES];
    NB_TRY(find_type(&t.type, d, err));
    if (d->fortran && d->shape.n > 1)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "the array is in Fortran order; save numpy.ascontiguousarray(x) instead");
    if (!nb_container_shape_ok(&t.shape))
        NB_FAIL(err, NB_ERR_FORMAT, "shape %s has too many elements",
                nb_shape_text(&t.shape, text));
    NB_TRY(nb_numfmt_bytes(t.type, &t.shape, &t.bytes, err));
    const uint64_t have = f->map.size - f->data_offset;
    if (t.bytes != have)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, f->data_offset,
                           "shape %s of %s takes %llu bytes, the file has %llu behind its header",
                           nb_shape_text(&t.shape, text), t.type->name, (unsigned long long)t.bytes,
                           (unsigned long long)have);
    t.data = f->map.data + t.offset;
    if (!nb_grow(f->a, &f->tensors, &f->tensors_cap, f->n_tensors, sizeof *f->tensors) ||
        nb_map_put(&f->names, t.name, strlen(t.name), 0) != NB_OK)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    f->tensors[f->n_tensors++] = t;
    return NB_OK;
}

static enum nb_status open_npy(struct nb_file *f, struct nb_error *err)
{
    struct nb_cursor c = {.data = f->map.data, .size = f->map.size, .at = MAGIC_BYTES};
    uint8_t major, minor;
    uint32_t n;
    const uint8_t *text;
    NB_TRY(nb_cursor_u8(&c, &major, "version", err));
    NB_TRY(nb_cursor_u8(&c, &minor, "version", err));
    if (major < 1 || major > 3 || minor != 0)
        return NB_ERROR_AT(err, NB_ERR_UNSUPPORTED, MAGIC_BYTES,
                           "version %u.%u of the format; nibble reads 1.0, 2.0 and 3.0", major,
                           minor);
    if (major == 1) {
        uint16_t n16;
        NB_TRY(nb_cursor_u16(&c, &n16, "header length", err));
        n = n16;
    } else {
        NB_TRY(nb_cursor_u32(&c, &n, "header length", err));
    }
    if (n > MAX_HEADER)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, MAGIC_BYTES + 2, "a header of %u bytes, at most %d",
                           n, MAX_HEADER);
    struct dict d = {.file_at = c.at, .n = n};
    NB_TRY(nb_cursor_take(&c, &text, n, "header", err));
    d.s = (const char *)text;
    f->version = major;
    f->data_offset = c.at;
    NB_TRY(read_dict(&d, err));
    return add_array(f, &d, err);
}

/* ---- writing ---- */

static const char *descr_of(const struct nb_numfmt *type)
{
    for (size_t i = 0; type->st_dtype != NULL && i < NB_COUNTOF(types); i++)
        if (strcmp(types[i].st_dtype, type->st_dtype) == 0)
            return types[i].descr;
    return NULL;
}

/* The dictionary, and room for the first dimension to grow in place, as NumPy leaves it. */
static void put_dict(struct nb_str *s, const struct nb_tensor *t, const char *descr)
{
    nb_str_printf(s, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                  t->type->block_bytes == 1 ? '|' : '<', descr);
    const size_t first = s->len;
    size_t digits = GROWTH;
    for (uint32_t i = 0; i < t->shape.n; i++) {
        nb_str_printf(s, "%s%llu", i == 0 ? "" : ", ", (unsigned long long)t->shape.dim[i]);
        if (i == 0)
            digits = s->len - first;
    }
    nb_str_printf(s, "%s), }", t->shape.n == 1 ? "," : "");
    for (size_t i = digits; i < GROWTH; i++)
        nb_str_puts(s, " ");
}

static enum nb_status layout(struct nb_writer *w, const struct nb_meta *meta, struct nb_str *header,
                             struct nb_error *err)
{
    uint8_t prefix[MAGIC_BYTES + 4] = MAGIC "\x01";
    (void)meta;
    if (w->n_tensors != 1)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "an .npy file holds one array, not %zu", w->n_tensors);
    struct nb_tensor *t = &w->tensors[0];
    const char *descr = descr_of(t->type);
    if (descr == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tensor '%s': NumPy has no type for %s", t->name,
                t->type->name);
    w->align = 1;
    nb_str_append(header, prefix, sizeof prefix);
    put_dict(header, t, descr);
    /* At least one space, as NumPy pads. */
    do
        nb_str_puts(header, " ");
    while ((header->len + 1) % ALIGN != 0 && !header->failed);
    nb_str_puts(header, "\n");
    NB_TRY(nb_str_check(header, err));
    nb_store_u16(header->data + MAGIC_BYTES + 2, (uint16_t)(header->len - sizeof prefix));
    w->data_offset = header->len;
    t->offset = header->len;
    return NB_OK;
}

const struct nb_container nb_container_npy = {
    .name = "npy",
    .suffix = ".npy",
    .max_tensors = 1,
    .probe = probe,
    .open = open_npy,
    .layout = layout,
};
