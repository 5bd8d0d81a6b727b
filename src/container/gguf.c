/* container/gguf.c: reading GGUF versions 2 and 3, little endian.
 *
 * Follows the ggml project's docs/gguf.md and enforces what its loader enforces: unique keys and
 * names, at most 4 dimensions and 63 bytes of name, whole blocks per row, offsets that are exactly
 * the running sum of padded sizes. Padding after the last tensor may be missing. Numbers in arrays
 * stay in the mapping; strings get a table. Dimensions are turned round: GGUF writes the row first.
 * Left out: version 1, big-endian files, arrays of arrays, types without a number format.
 */
#include "container/gguf_internal.h"

#include <string.h>

#define QUOTE_BYTES      96
#define MIN_KV_BYTES     14 /* key length, one byte of key, type, one byte of value */
#define MIN_TENSOR_BYTES 25 /* name length, one byte of name, n_dims, type, offset  */

/* A header being read. Borrows: everything. */
struct gguf_in {
    struct nb_file *f;
    struct nb_cursor c;
    uint64_t align;
    uint64_t data_end; /* running sum of padded sizes, from the start of the data */
};

static bool probe(const uint8_t *head, size_t n)
{
    return n >= 4 && memcmp(head, NB_GGUF_MAGIC, 4) == 0;
}

bool nb_gguf_round_up(uint64_t *v, uint64_t align)
{
    uint64_t sum;
    if (!nb_add_u64(&sum, *v, align - 1))
        return false;
    *v = sum & ~(align - 1);
    return true;
}

enum nb_status nb_gguf_align(const struct nb_meta *meta, uint64_t *align, struct nb_error *err)
{
    const struct nb_meta_kv *kv = meta == NULL ? NULL : nb_meta_find(meta, NB_GGUF_ALIGN_KEY);
    *align = NB_GGUF_ALIGN_DEFAULT;
    if (kv == NULL)
        return NB_OK;
    if (kv->type != NB_META_U32)
        NB_FAIL(err, NB_ERR_FORMAT, "key '%s': value type %d, expected %d (u32)", NB_GGUF_ALIGN_KEY,
                (int)kv->type, (int)NB_META_U32);
    if (kv->v.u == 0 || (kv->v.u & (kv->v.u - 1)) != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "key '%s': %llu is no power of two", NB_GGUF_ALIGN_KEY,
                (unsigned long long)kv->v.u);
    *align = kv->v.u;
    return NB_OK;
}

/* ---- scalars and strings ---- */

static enum nb_status read_text(struct nb_cursor *c, struct nb_text *t, const char *what,
                                struct nb_error *err)
{
    const uint64_t at = c->at;
    uint64_t n;
    const uint8_t *p;
    NB_TRY(nb_cursor_u64(c, &n, what, err));
    if (n > NB_GGUF_MAX_STRING) {
        c->at = at;
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at, "%s of %llu bytes at byte %llu: at most 2^30",
                           what, (unsigned long long)n, (unsigned long long)at);
    }
    NB_TRY(nb_cursor_take(c, &p, n, what, err));
    *t = (struct nb_text){.s = (const char *)p, .n = (size_t)n};
    return NB_OK;
}

/* A key or a tensor name: non-empty, without a zero byte, for names are C strings from here on. */
static enum nb_status read_name(struct nb_cursor *c, struct nb_text *t, const char *what,
                                struct nb_error *err)
{
    const uint64_t at = c->at;
    NB_TRY(read_text(c, t, what, err));
    if (t->n == 0)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at, "%s at byte %llu is empty", what,
                           (unsigned long long)at);
    if (memchr(t->s, 0, t->n) != NULL)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at, "%s at byte %llu holds a zero byte", what,
                           (unsigned long long)at);
    return NB_OK;
}

static enum nb_status read_number(struct nb_cursor *c, struct nb_meta_kv *kv, struct nb_error *err)
{
    const uint64_t at = c->at;
    const uint8_t *p;
    NB_TRY(nb_cursor_take(c, &p, nb_meta_type_bytes(kv->type), "value", err));
    if (kv->type == NB_META_BOOL && p[0] > 1)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at, "bool at byte %llu is %u, expected 0 or 1",
                           (unsigned long long)at, p[0]);
    /* Read as an array of one, then kept by value. */
    const struct nb_meta_kv one = {.type = NB_META_ARRAY, .item = kv->type, .n = 1, .v.items = p};
    int64_t i;
    double f;
    kv->n = 1;
    if (kv->type == NB_META_U64)
        kv->v.u = nb_load_u64(p);
    else if (nb_meta_item_i64(&one, 0, &i))
        kv->v.i = i;
    else if (nb_meta_item_f64(&one, 0, &f))
        kv->v.f = f;
    return NB_OK;
}

/* ---- arrays ---- */

static enum nb_status read_texts(struct gguf_in *in, struct nb_meta_kv *kv, struct nb_error *err)
{
    struct nb_text *items = nb_arena_alloc(&in->f->meta.arena, NB_MAX(kv->n, 1), sizeof *items);
    if (items == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %llu strings", (unsigned long long)kv->n);
    for (uint64_t i = 0; i < kv->n; i++)
        NB_TRY(read_text(&in->c, &items[i], "string of an array", err));
    kv->v.items = items;
    return NB_OK;
}

static enum nb_status check_bools(const uint8_t *p, uint64_t n, struct nb_error *err)
{
    for (uint64_t i = 0; i < n; i++)
        if (p[i] > 1)
            NB_FAIL(err, NB_ERR_FORMAT, "item %llu is %u, expected a bool of 0 or 1",
                    (unsigned long long)i, p[i]);
    return NB_OK;
}

static enum nb_status read_array(struct gguf_in *in, struct nb_meta_kv *kv, struct nb_error *err)
{
    struct nb_cursor *c = &in->c;
    const uint64_t at = c->at;
    uint32_t item;
    NB_TRY(nb_cursor_u32(c, &item, "item type of an array", err));
    NB_TRY(nb_cursor_u64(c, &kv->n, "length of an array", err));
    if (item == NB_META_ARRAY)
        return NB_ERROR_AT(err, NB_ERR_UNSUPPORTED, at, "an array of arrays at byte %llu",
                           (unsigned long long)at);
    const size_t size = item == NB_META_STRING ? 8 : nb_meta_type_bytes((enum nb_meta_type)item);
    if (item > NB_META_F64 || size == 0)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at,
                           "unknown item type %u at byte %llu, expected 0 to 12", item,
                           (unsigned long long)at);
    /* Before anything is allocated: even empty strings take 8 bytes each. */
    if (kv->n > NB_GGUF_MAX_ITEMS || kv->n > (c->size - c->at) / size)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at,
                           "an array of %llu items at byte %llu, where %llu bytes are left",
                           (unsigned long long)kv->n, (unsigned long long)at,
                           (unsigned long long)(c->size - c->at));
    kv->item = (enum nb_meta_type)item;
    if (item == NB_META_STRING)
        return read_texts(in, kv, err);
    const uint8_t *p;
    NB_TRY(nb_cursor_take(c, &p, kv->n * size, "array", err));
    kv->v.items = p;
    return item == NB_META_BOOL ? check_bools(p, kv->n, err) : NB_OK;
}

/* ---- key-values ---- */

static enum nb_status read_value(struct gguf_in *in, struct nb_meta_kv *kv, struct nb_error *err)
{
    const uint64_t at = in->c.at;
    uint32_t type;
    NB_TRY(nb_cursor_u32(&in->c, &type, "value type", err));
    if (type > NB_META_F64)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at,
                           "unknown value type %u at byte %llu, expected 0 to 12", type,
                           (unsigned long long)at);
    kv->type = (enum nb_meta_type)type;
    if (kv->type == NB_META_ARRAY)
        return read_array(in, kv, err);
    if (kv->type != NB_META_STRING)
        return read_number(&in->c, kv, err);
    kv->n = 1;
    return read_text(&in->c, &kv->v.text, "string", err);
}

static enum nb_status read_kv(struct gguf_in *in, struct nb_map *keys, struct nb_error *err)
{
    struct nb_meta *m = &in->f->meta;
    struct nb_meta_kv kv = {0};
    struct nb_text key = {NULL, 0};
    char quote[QUOTE_BYTES];
    const uint64_t at = in->c.at;
    NB_TRY(read_name(&in->c, &key, "key", err));
    nb_printable(quote, sizeof quote, key.s, key.n);
    enum nb_status st = read_value(in, &kv, err);
    if (st != NB_OK)
        return nb_error_prefix(err, st, "key '%s'", quote);
    kv.key = nb_arena_strndup(&m->arena, key.s, key.n);
    if (kv.key == NULL || !nb_grow(m->a, &m->kv, &m->cap, m->n, sizeof *m->kv))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    st = nb_map_put(keys, kv.key, key.n, m->n);
    if (st == NB_ERR_EXISTS)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at, "key '%s' at byte %llu appears twice", quote,
                           (unsigned long long)at);
    if (st != NB_OK)
        NB_FAIL(err, st, "out of memory");
    m->kv[m->n++] = kv;
    return NB_OK;
}

static enum nb_status read_metadata(struct gguf_in *in, uint64_t n, struct nb_error *err)
{
    struct nb_map keys; /* nb_meta_find is linear: a hostile file has a million keys */
    enum nb_status st = NB_OK;
    nb_map_init(&keys, in->f->a);
    for (uint64_t i = 0; i < n && st == NB_OK; i++)
        st = read_kv(in, &keys, err);
    nb_map_fini(&keys);
    return st;
}

/* ---- tensors ---- */

static enum nb_status read_shape(struct nb_cursor *c, struct nb_shape *s, struct nb_error *err)
{
    const uint64_t at = c->at;
    NB_TRY(nb_cursor_u32(c, &s->n, "number of dimensions", err));
    if (s->n > NB_GGUF_MAX_DIMS)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at, "%u dimensions at byte %llu, at most %d", s->n,
                           (unsigned long long)at, NB_GGUF_MAX_DIMS);
    for (uint32_t i = s->n; i-- > 0;) /* row length comes first in the file, last in nb_shape */
        NB_TRY(nb_cursor_u64(c, &s->dim[i], "dimensions", err));
    if (!nb_container_shape_ok(s))
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at,
                           "the product of dimensions at byte %llu passes 2^63",
                           (unsigned long long)at);
    return NB_OK;
}

static enum nb_status read_layout(struct gguf_in *in, struct nb_tensor *t, struct nb_error *err)
{
    uint32_t type;
    NB_TRY(read_shape(&in->c, &t->shape, err));
    NB_TRY(nb_cursor_u32(&in->c, &type, "type", err));
    const uint64_t at = in->c.at;
    NB_TRY(nb_cursor_u64(&in->c, &t->offset, "offset", err));
    t->type = type <= INT32_MAX ? nb_numfmt_by_gguf((int32_t)type) : NULL;
    if (t->type == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "ggml type %d is not one that nibble reads",
                (int32_t)type);
    NB_TRY(nb_numfmt_bytes(t->type, &t->shape, &t->bytes, err));
    if (t->offset != in->data_end)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at,
                           "offset %llu, expected %llu (tensors lie back to back, padded to %llu)",
                           (unsigned long long)t->offset, (unsigned long long)in->data_end,
                           (unsigned long long)in->align);
    if (!nb_add_u64(&in->data_end, in->data_end, t->bytes) ||
        !nb_gguf_round_up(&in->data_end, in->align))
        NB_FAIL(err, NB_ERR_FORMAT, "offset and size pass 2^64");
    return NB_OK;
}

static enum nb_status read_tensor(struct gguf_in *in, struct nb_error *err)
{
    struct nb_file *f = in->f;
    struct nb_tensor t = {0};
    struct nb_text name = {NULL, 0};
    char quote[QUOTE_BYTES];
    const uint64_t at = in->c.at;
    NB_TRY(read_name(&in->c, &name, "tensor name", err));
    nb_printable(quote, sizeof quote, name.s, name.n);
    if (name.n > NB_GGUF_MAX_NAME)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at, "tensor '%s': a name of %zu bytes, at most %d",
                           quote, name.n, NB_GGUF_MAX_NAME);
    enum nb_status st = read_layout(in, &t, err);
    if (st != NB_OK)
        return nb_error_prefix(err, st, "tensor '%s'", quote);
    t.name = nb_arena_strndup(&f->arena, name.s, name.n);
    if (t.name == NULL ||
        !nb_grow(f->a, &f->tensors, &f->tensors_cap, f->n_tensors, sizeof *f->tensors))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    st = nb_map_put(&f->names, t.name, name.n, f->n_tensors);
    if (st == NB_ERR_EXISTS)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, at, "tensor '%s' appears twice", quote);
    if (st != NB_OK)
        NB_FAIL(err, st, "out of memory");
    f->tensors[f->n_tensors++] = t;
    return NB_OK;
}

/* Offsets become file offsets and pointers, now that the start of the data is known. */
static enum nb_status place_tensors(struct gguf_in *in, struct nb_error *err)
{
    struct nb_file *f = in->f;
    char quote[QUOTE_BYTES];
    f->data_offset = in->c.at;
    if (!nb_gguf_round_up(&f->data_offset, in->align))
        NB_FAIL(err, NB_ERR_FORMAT, "the header's padding passes 2^64");
    for (size_t i = 0; i < f->n_tensors; i++) {
        struct nb_tensor *t = &f->tensors[i];
        uint64_t end;
        if (!nb_add_u64(&t->offset, t->offset, f->data_offset) ||
            !nb_add_u64(&end, t->offset, t->bytes) || end > f->map.size)
            return NB_ERROR_AT(err, NB_ERR_FORMAT, f->map.size,
                               "tensor '%s': %llu bytes at byte %llu, but the file has %llu bytes",
                               nb_printable(quote, sizeof quote, t->name, strlen(t->name)),
                               (unsigned long long)t->bytes, (unsigned long long)t->offset,
                               (unsigned long long)f->map.size);
        t->data = f->map.data + t->offset;
    }
    return NB_OK;
}

/* ---- the file ---- */

static enum nb_status read_version(struct nb_cursor *c, uint32_t *version, struct nb_error *err)
{
    NB_TRY(nb_cursor_u32(c, version, "version", err));
    if (*version != 0 && (*version & 0xFFFFU) == 0)
        return NB_ERROR_AT(
            err, NB_ERR_UNSUPPORTED, 4,
            "a big-endian GGUF file (version reads %u); nibble reads little-endian ones", *version);
    if (*version < 2 || *version > NB_GGUF_VERSION)
        return NB_ERROR_AT(err, NB_ERR_UNSUPPORTED, 4, "GGUF version %u, expected 2 or 3",
                           *version);
    return NB_OK;
}

static enum nb_status check_count(const struct nb_cursor *c, uint64_t n, uint64_t min_bytes,
                                  const char *what, struct nb_error *err)
{
    const uint64_t left = c->size - c->at;
    if (n <= left / min_bytes)
        return NB_OK;
    return NB_ERROR_AT(err, NB_ERR_FORMAT, c->at, "%llu %s cannot fit in %llu bytes",
                       (unsigned long long)n, what, (unsigned long long)left);
}

static enum nb_status open_gguf(struct nb_file *f, struct nb_error *err)
{
    struct gguf_in in = {.f = f, .c = {.data = f->map.data, .size = f->map.size, .at = 4}};
    uint64_t n_tensors, n_kv;
    NB_TRY(read_version(&in.c, &f->version, err));
    NB_TRY(nb_cursor_u64(&in.c, &n_tensors, "tensor count", err));
    NB_TRY(nb_cursor_u64(&in.c, &n_kv, "metadata count", err));
    NB_TRY(check_count(&in.c, n_kv, MIN_KV_BYTES, "key-values", err));
    NB_TRY(check_count(&in.c, n_tensors, MIN_TENSOR_BYTES, "tensors", err));
    NB_TRY(read_metadata(&in, n_kv, err));
    NB_TRY(nb_gguf_align(&f->meta, &in.align, err));
    NB_TRY(check_count(&in.c, n_tensors, MIN_TENSOR_BYTES, "tensors", err));
    for (uint64_t i = 0; i < n_tensors; i++)
        NB_TRY(read_tensor(&in, err));
    return place_tensors(&in, err);
}

const struct nb_container nb_container_gguf = {
    .name = "gguf",
    .suffix = ".gguf",
    .probe = probe,
    .open = open_gguf,
    .layout = nb_gguf_layout,
};
