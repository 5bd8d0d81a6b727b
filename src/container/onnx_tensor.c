/* container/onnx_tensor.c: element types, and a tensor's bytes wherever the file has them.
 *
 * ONNX IR.md and ExternalData.md. A tensor's elements are raw_data (little-endian, a view of the mapped
 * file), or numbers in the field of their kind (float_data ..., decoded here to the same packed bytes), or
 * lie in a file beside the model (a view of that file, which is mapped once).
 * External data stay below the model's folder: a path that is absolute, has "..", or passes a symbolic link
 * is refused. Left out: checksums of external data, tensors in segments.
 */
#include "container/onnx_internal.h"

#include <string.h>

#define FIELD_SEGMENT 3
#define LOCATION_FILE 1

/* In which field numbers of a type come when they are not raw. */
enum field { NONE, FLOATS, INTS, LONGS, DOUBLES, ULONGS, STRINGS };

static const struct {
    struct nb_onnx_type_info info;
    enum field field;
    uint32_t parts; /* numbers of the field for an element */
} types[] = {
    [NB_ONNX_FLOAT32] = {{"float32", 32}, FLOATS, 1},
    [NB_ONNX_UINT8] = {{"uint8", 8}, INTS, 1},
    [NB_ONNX_INT8] = {{"int8", 8}, INTS, 1},
    [NB_ONNX_UINT16] = {{"uint16", 16}, INTS, 1},
    [NB_ONNX_INT16] = {{"int16", 16}, INTS, 1},
    [NB_ONNX_INT32] = {{"int32", 32}, INTS, 1},
    [NB_ONNX_INT64] = {{"int64", 64}, LONGS, 1},
    [NB_ONNX_STRING] = {{"string", 0}, STRINGS, 1},
    [NB_ONNX_BOOL] = {{"bool", 8}, INTS, 1},
    [NB_ONNX_FLOAT16] = {{"float16", 16}, INTS, 1},
    [NB_ONNX_FLOAT64] = {{"float64", 64}, DOUBLES, 1},
    [NB_ONNX_UINT32] = {{"uint32", 32}, ULONGS, 1},
    [NB_ONNX_UINT64] = {{"uint64", 64}, ULONGS, 1},
    [NB_ONNX_COMPLEX64] = {{"complex64", 64}, FLOATS, 2},
    [NB_ONNX_COMPLEX128] = {{"complex128", 128}, DOUBLES, 2},
    [NB_ONNX_BFLOAT16] = {{"bfloat16", 16}, INTS, 1},
    [NB_ONNX_FLOAT8E4M3FN] = {{"float8e4m3fn", 8}, INTS, 1},
    [NB_ONNX_FLOAT8E4M3FNUZ] = {{"float8e4m3fnuz", 8}, INTS, 1},
    [NB_ONNX_FLOAT8E5M2] = {{"float8e5m2", 8}, INTS, 1},
    [NB_ONNX_FLOAT8E5M2FNUZ] = {{"float8e5m2fnuz", 8}, INTS, 1},
    [NB_ONNX_UINT4] = {{"uint4", 4}, INTS, 1},
    [NB_ONNX_INT4] = {{"int4", 4}, INTS, 1},
    [NB_ONNX_FLOAT4E2M1] = {{"float4e2m1", 4}, INTS, 1},
    [NB_ONNX_FLOAT8E8M0] = {{"float8e8m0", 8}, INTS, 1},
    [NB_ONNX_UINT2] = {{"uint2", 2}, INTS, 1},
    [NB_ONNX_INT2] = {{"int2", 2}, INTS, 1},
};

const struct nb_onnx_type_info *nb_onnx_type_info(int32_t type)
{
    if (type < 0 || (size_t)type >= NB_COUNTOF(types) || types[type].info.name == NULL)
        return NULL;
    return &types[type].info;
}

bool nb_onnx_count(uint64_t *n, uint64_t *bytes, int32_t type, const int64_t *dims, size_t rank)
{
    const struct nb_onnx_type_info *info = nb_onnx_type_info(type);
    uint64_t count = 1, walked = 1, bits;
    if (info == NULL)
        return false;
    for (size_t i = 0; i < rank;
         i++) { /* zeros as ones: no product overflows behind an empty one */
        if (dims[i] < 0 || !nb_mul_u64(&walked, walked, NB_MAX((uint64_t)dims[i], 1)) ||
            walked > INT64_MAX || !nb_mul_u64(&count, count, (uint64_t)dims[i]))
            return false;
    }
    if (!nb_mul_u64(&bits, count, info->bits) || bits > UINT64_MAX - 7)
        return false;
    *n = count;
    *bytes = (bits + 7) / 8;
    return true;
}

/* ---- numbers in their fields ---- */

struct source {
    const char *name;
    enum field field;
    size_t n;
};

/* The one field that has something; NONE if none has. false: more than one. */
static bool find_source(const Nb__Onnx__Tensor *pb, struct source *s)
{
    const struct source all[] = {
        {"float_data", FLOATS, pb->n_float_data},   {"int32_data", INTS, pb->n_int32_data},
        {"int64_data", LONGS, pb->n_int64_data},    {"double_data", DOUBLES, pb->n_double_data},
        {"uint64_data", ULONGS, pb->n_uint64_data}, {"string_data", STRINGS, pb->n_string_data},
    };
    *s = (struct source){"no data", NONE, 0};
    for (size_t i = 0; i < NB_COUNTOF(all); i++) {
        if (all[i].n == 0)
            continue;
        if (s->field != NONE)
            return false;
        *s = all[i];
    }
    return true;
}

/* Number i of the field, as bits. */
static uint64_t number(const Nb__Onnx__Tensor *pb, enum field field, size_t i)
{
    uint32_t bits32 = 0;
    uint64_t bits = 0;
    switch (field) {
    case FLOATS:
        memcpy(&bits32, &pb->float_data[i], sizeof bits32);
        return bits32;
    case INTS:
        return (uint64_t)(int64_t)pb->int32_data[i];
    case LONGS:
        return (uint64_t)pb->int64_data[i];
    case DOUBLES:
        memcpy(&bits, &pb->double_data[i], sizeof bits);
        return bits;
    case ULONGS:
        return pb->uint64_data[i];
    default:
        return 0;
    }
}

/* Does a number fit so many bits, with a sign or without one? */
static bool in_range(uint64_t v, unsigned width)
{
    if (width == 8)
        return true;
    const int64_t s = (int64_t)v;
    const int64_t half = INT64_C(1) << (8 * width - 1);
    return s >= -half && s < 2 * half;
}

static enum nb_status decode(struct nb_onnx *o, struct nb_onnx_tensor *t,
                             const Nb__Onnx__Tensor *pb, const struct source *s,
                             struct nb_error *err)
{
    const bool packed = types[t->type].info.bits < 8; /* a packed byte a number */
    const uint64_t want = packed ? t->bytes : t->n * types[t->type].parts;
    if (s->n != want)
        NB_FAIL(err, NB_ERR_FORMAT, "%zu numbers in %s, its dimensions want %llu", s->n, s->name,
                (unsigned long long)want);
    const unsigned width = (unsigned)(t->bytes / want); /* want > 0: the field is not empty */
    uint8_t *data = nb_arena_alloc(&o->arena, (size_t)t->bytes, 1);
    if (data == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < s->n; i++) {
        const uint64_t v = number(pb, s->field, i);
        if (s->field != FLOATS && !in_range(v, width))
            NB_FAIL(err, NB_ERR_FORMAT, "number %zu in %s is %lld, which is no %s", i, s->name,
                    (long long)v, types[t->type].info.name);
        for (unsigned k = 0; k < width; k++)
            data[i * width + k] = (uint8_t)(v >> (8 * k));
    }
    t->data = data;
    return NB_OK;
}

static enum nb_status read_strings(struct nb_onnx *o, struct nb_onnx_tensor *t,
                                   const Nb__Onnx__Tensor *pb, struct nb_error *err)
{
    struct nb_text *items = NULL;
    if (pb->n_string_data != t->n)
        NB_FAIL(err, NB_ERR_FORMAT, "%zu strings, its dimensions want %llu", pb->n_string_data,
                (unsigned long long)t->n);
    NB_TRY(nb_onnx_array(o, &items, pb->n_string_data, sizeof *items, err));
    for (size_t i = 0; i < pb->n_string_data; i++)
        items[i] = (struct nb_text){(const char *)pb->string_data[i].data, pb->string_data[i].len};
    t->strings = items;
    return NB_OK;
}

/* ---- external data ---- */

struct external {
    const char *location;
    uint64_t offset, length;
    bool has_length;
};

static enum nb_status read_keys(struct external *e, const Nb__Onnx__Tensor *pb,
                                struct nb_error *err)
{
    *e = (struct external){.location = NULL};
    for (size_t i = 0; i < pb->n_external_data; i++) {
        const char *key = pb->external_data[i]->key, *value = pb->external_data[i]->value;
        uint64_t *number = nb_str_eq(key, "offset")   ? &e->offset
                           : nb_str_eq(key, "length") ? &e->length
                                                      : NULL;
        if (nb_str_eq(key, "location"))
            e->location = value;
        if (number == NULL)
            continue;
        char quote[NB_ONNX_QUOTE_BYTES];
        if (value == NULL || !nb_parse_u64(value, number))
            NB_FAIL(err, NB_ERR_FORMAT, "external data: %s '%s', expected a number of bytes", key,
                    nb_printable(quote, sizeof quote, value != NULL ? value : "",
                                 value != NULL ? strlen(value) : 0));
        e->has_length = e->has_length || number == &e->length;
    }
    if (e->location == NULL || e->location[0] == '\0')
        NB_FAIL(err, NB_ERR_FORMAT, "external data without a location, expected a file's name");
    return NB_OK;
}

static enum nb_status map_external(struct nb_onnx *o, const struct nb_mapping **m,
                                   const char *location, struct nb_error *err)
{
    uint64_t i;
    if (o->folder == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "external data, but the model is in memory: there is no folder to look in");
    if (!nb_map_get(&o->ext_names, location, strlen(location), &i)) {
        if (!nb_grow(o->a, &o->ext, &o->ext_cap, o->n_ext, sizeof *o->ext))
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
        struct nb_mapping map;
        NB_TRY(nb_mapping_open_below(&map, o->folder, location, err));
        i = o->n_ext;
        o->ext[o->n_ext++] = map;
        if (nb_map_put(&o->ext_names, location, strlen(location), i) != NB_OK)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    }
    *m = &o->ext[i];
    return NB_OK;
}

static enum nb_status read_external(struct nb_onnx *o, struct nb_onnx_tensor *t,
                                    const Nb__Onnx__Tensor *pb, struct nb_error *err)
{
    struct external e;
    const struct nb_mapping *m = NULL;
    uint64_t end;
    char quote[NB_ONNX_QUOTE_BYTES];
    NB_TRY(read_keys(&e, pb, err));
    t->location = e.location;
    t->offset = e.offset;
    if (t->type == NB_ONNX_STRING)
        NB_FAIL(err, NB_ERR_FORMAT, "strings as external data; ONNX keeps them inside");
    if (e.has_length && e.length != t->bytes)
        NB_FAIL(err, NB_ERR_FORMAT,
                "external data of %llu bytes, its type and dimensions want %llu",
                (unsigned long long)e.length, (unsigned long long)t->bytes);
    if (!nb_add_u64(&end, e.offset, t->bytes))
        NB_FAIL(err, NB_ERR_FORMAT, "external data at offset %llu: ends past 2^64",
                (unsigned long long)e.offset);
    if ((o->flags & NB_ONNX_NO_DATA) != 0)
        return NB_OK;
    const enum nb_status st = map_external(o, &m, e.location, err);
    if (st != NB_OK)
        return nb_error_prefix(err, st, "external data");
    if (end > m->size)
        NB_FAIL(err, NB_ERR_FORMAT, "external data end at %llu, file '%s' has %llu bytes",
                (unsigned long long)end,
                nb_printable(quote, sizeof quote, e.location, strlen(e.location)),
                (unsigned long long)m->size);
    t->data = t->bytes > 0 ? m->data + e.offset : NULL;
    return NB_OK;
}

/* ---- a tensor ---- */

static enum nb_status read_data(struct nb_onnx *o, struct nb_onnx_tensor *t,
                                const Nb__Onnx__Tensor *pb, struct nb_error *err)
{
    struct source s;
    const bool one = find_source(pb, &s);
    if (!one || (s.field != NONE && pb->has_raw_data))
        NB_FAIL(err, NB_ERR_FORMAT, "data in more than one field, expected one");
    if (pb->data_location == LOCATION_FILE)
        return read_external(o, t, pb, err);
    if (pb->data_location != 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "data location %d, expected 0 (inside) or 1 (external)",
                (int)pb->data_location);
    if (pb->has_raw_data) {
        const uint64_t at = nb_load_u64(pb->raw_data.data), n = nb_load_u64(pb->raw_data.data + 8);
        if (t->type == NB_ONNX_STRING)
            NB_FAIL(err, NB_ERR_FORMAT, "strings as raw data, expected string_data");
        if (n != t->bytes)
            NB_FAIL(err, NB_ERR_FORMAT, "%llu bytes of raw data, its type and dimensions want %llu",
                    (unsigned long long)n, (unsigned long long)t->bytes);
        t->data = n > 0 ? o->map.data + at : NULL;
        return NB_OK;
    }
    if (t->type == NB_ONNX_STRING && (s.field == STRINGS || s.field == NONE))
        return read_strings(o, t, pb, err);
    if (s.field == NONE && t->n == 0)
        return NB_OK;
    if (s.field != types[t->type].field)
        NB_FAIL(err, NB_ERR_FORMAT, "%s of %llu bytes with %s", types[t->type].info.name,
                (unsigned long long)t->bytes, s.field == NONE ? "no data" : s.name);
    return decode(o, t, pb, &s, err);
}

static enum nb_status read_body(struct nb_onnx *o, struct nb_onnx_tensor *t,
                                const Nb__Onnx__Tensor *pb, struct nb_error *err)
{
    if (nb_onnx_type_info(t->type) == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "element type %d, which nibble does not know",
                (int)t->type);
    for (size_t i = 0; i < t->rank; i++)
        if (t->dims[i] < 0)
            NB_FAIL(err, NB_ERR_FORMAT, "dimension %zu is %lld", i, (long long)t->dims[i]);
    if (!nb_onnx_count(&t->n, &t->bytes, t->type, t->dims, t->rank))
        NB_FAIL(err, NB_ERR_FORMAT, "the product of its dimensions overflows");
    NB_TRY(nb_onnx_read_extras(o, &t->extras, &pb->base, err));
    for (size_t i = 0; i < t->extras.n; i++)
        if (t->extras.items[i].field == FIELD_SEGMENT)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "stored in segments, which nibble does not read");
    NB_TRY(nb_onnx_read_meta(o, &t->meta, pb->n_metadata_props, pb->metadata_props, err));
    return read_data(o, t, pb, err);
}

enum nb_status nb_onnx_read_tensor(struct nb_onnx *o, struct nb_onnx_tensor *t,
                                   const Nb__Onnx__Tensor *pb, struct nb_error *err)
{
    char quote[NB_ONNX_QUOTE_BYTES];
    *t = (struct nb_onnx_tensor){
        .name = pb->name,
        .doc = pb->doc_string,
        .type = pb->data_type,
        .rank = pb->n_dims,
        .dims = pb->dims,
    };
    const enum nb_status st = read_body(o, t, pb, err);
    if (st == NB_OK)
        return NB_OK;
    const char *name = pb->name != NULL ? pb->name : "";
    return nb_error_prefix(err, st, "tensor '%s'",
                           nb_printable(quote, sizeof quote, name, strlen(name)));
}
