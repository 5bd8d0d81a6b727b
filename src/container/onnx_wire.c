/* container/onnx_wire.c: the wire format of an ONNX file, checked before protobuf-c sees it.
 *
 * Follows the protobuf encoding (protobuf.dev, "Encoding"). protobuf-c unpacks by recursion and copies every
 * bytes field; so one walk, led by the generated descriptors, bounds the depth, checks each length against
 * the message around it, and copies the message without the weights: the bytes of raw_data are replaced by
 * their offset and length in the file. Weights are then never copied, whatever the size of the file.
 * Refused: groups (wire types 3 and 4), which ONNX does not use, and zero bytes inside texts.
 */
#include "container/onnx_internal.h"

#include <string.h>

#define LENGTH_BYTES    5 /* of an inner message in the copy: a varint padded to a fixed width */
#define MAX_TAG         UINT32_MAX
#define VARINT_MAX      10
#define MAX_INNER_BYTES INT32_MAX

struct walk {
    const uint8_t *data;
    struct nb_str *out;
    struct nb_error *err;
};

/* At *at, below end. false: cut short, or more than 64 bits. */
static bool varint(const uint8_t *data, uint64_t *at, uint64_t end, uint64_t *v)
{
    *v = 0;
    for (unsigned k = 0; k < VARINT_MAX && *at < end; k++) {
        const uint8_t b = data[(*at)++];
        if (k == VARINT_MAX - 1 && b > 1)
            return false;
        *v |= (uint64_t)(b & 127) << (7 * k);
        if (b < 128)
            return true;
    }
    return false;
}

static void put_varint(struct nb_str *out, uint64_t v)
{
    uint8_t b[VARINT_MAX];
    size_t n = 0;
    do {
        b[n++] = (uint8_t)((v & 127) | (v > 127 ? 128 : 0));
        v >>= 7;
    } while (v > 0);
    nb_str_append(out, b, n);
}

/* The wire type in which values of that type come alone. */
static unsigned wire_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return PROTOBUF_C_WIRE_TYPE_32BIT;
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return PROTOBUF_C_WIRE_TYPE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    default:
        return PROTOBUF_C_WIRE_TYPE_VARINT;
    }
}

/* One field as it lies in the file: its value is at [at, at + n), the length of a text included in neither. */
struct field {
    uint32_t id;
    unsigned wire;
    uint64_t begin, at, n;
    const ProtobufCFieldDescriptor *of; /* NULL: not one that nibble knows */
};

static enum nb_status malformed(const struct walk *w, const ProtobufCMessageDescriptor *d,
                                uint64_t at, const char *what)
{
    return NB_ERROR_AT(w->err, NB_ERR_FORMAT, at, "%s at byte %llu: %s", d->short_name,
                       (unsigned long long)at, what);
}

static enum nb_status next(const struct walk *w, const ProtobufCMessageDescriptor *d, uint64_t *at,
                           uint64_t end, struct field *f)
{
    uint64_t tag, n;
    f->begin = *at;
    if (!varint(w->data, at, end, &tag) || tag > MAX_TAG || tag >> 3 == 0)
        return malformed(w, d, f->begin, "expected a field's tag");
    f->id = (uint32_t)(tag >> 3);
    f->wire = tag & 7;
    f->at = *at;
    if (f->wire == PROTOBUF_C_WIRE_TYPE_VARINT) {
        if (!varint(w->data, at, end, &n))
            return malformed(w, d, f->begin, "a number is cut short or has more than 64 bits");
        f->n = *at - f->at;
    } else if (f->wire == PROTOBUF_C_WIRE_TYPE_32BIT || f->wire == PROTOBUF_C_WIRE_TYPE_64BIT) {
        f->n = f->wire == PROTOBUF_C_WIRE_TYPE_32BIT ? 4 : 8;
    } else if (f->wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED) {
        if (!varint(w->data, at, end, &f->n))
            return malformed(w, d, f->begin, "a length is cut short");
        f->at = *at;
    } else {
        return malformed(w, d, f->begin, "a wire type that ONNX does not use");
    }
    if (f->n > end - f->at)
        NB_FAIL(w->err, NB_ERR_FORMAT,
                "%s at byte %llu: field %u has %llu bytes, the message around it has %llu left",
                d->short_name, (unsigned long long)f->begin, f->id, (unsigned long long)f->n,
                (unsigned long long)(end - f->at));
    *at = f->at + f->n;
    f->of = protobuf_c_message_descriptor_get_field(d, f->id);
    return NB_OK;
}

/* Does the field's wire type fit what the schema says? Numbers that repeat may also come packed. */
static bool fits(const struct field *f)
{
    const unsigned want = wire_of(f->of->type);
    return f->wire == want || (f->wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED &&
                               f->of->label == PROTOBUF_C_LABEL_REPEATED);
}

static void put_raw(const struct walk *w, const struct field *f)
{
    uint8_t where[NB_ONNX_RAW_BYTES];
    nb_store_u64(where, f->at);
    nb_store_u64(where + 8, f->n);
    put_varint(w->out, (uint64_t)f->id << 3 | f->wire);
    put_varint(w->out, sizeof where);
    nb_str_append(w->out, where, sizeof where);
}

static enum nb_status message(const struct walk *w, const ProtobufCMessageDescriptor *d,
                              uint64_t at, uint64_t end, unsigned depth);

/* The length is known when the inner message is written. */
static enum nb_status inner(const struct walk *w, const struct field *f, unsigned depth)
{
    put_varint(w->out, (uint64_t)f->id << 3 | f->wire);
    const size_t length_at = w->out->len;
    nb_str_append(w->out, "\0\0\0\0\0", LENGTH_BYTES);
    NB_TRY(message(w, f->of->descriptor, f->at, f->at + f->n, depth + 1));
    if (w->out->failed)
        return NB_OK; /* said once, at the end */
    const uint64_t n = w->out->len - length_at - LENGTH_BYTES;
    if (n > MAX_INNER_BYTES)
        NB_FAIL(w->err, NB_ERR_LIMIT,
                "field %u at byte %llu: more than 2 GiB even without its weights", f->id,
                (unsigned long long)f->begin);
    for (unsigned k = 0; k < LENGTH_BYTES; k++)
        w->out->data[length_at + k] =
            (char)(uint8_t)((n >> (7 * k) & 127) | (k + 1 < LENGTH_BYTES ? 128 : 0));
    return NB_OK;
}

static enum nb_status message(const struct walk *w, const ProtobufCMessageDescriptor *d,
                              uint64_t at, uint64_t end, unsigned depth)
{
    struct field f = {.of = NULL};
    if (depth > NB_ONNX_MAX_DEPTH)
        NB_FAIL(w->err, NB_ERR_LIMIT, "%s at byte %llu: graphs are nested more than %d deep",
                d->short_name, (unsigned long long)at, NB_ONNX_MAX_NESTING);
    while (at < end) {
        NB_TRY(next(w, d, &at, end, &f));
        if (f.of != NULL && !fits(&f))
            NB_FAIL(w->err, NB_ERR_FORMAT, "%s at byte %llu: field '%s' has wire type %u",
                    d->short_name, (unsigned long long)f.begin, f.of->name, f.wire);
        if (f.of != NULL && f.of->type == PROTOBUF_C_TYPE_MESSAGE) {
            NB_TRY(inner(w, &f, depth));
        } else if (d == &nb__onnx__tensor__descriptor && f.of != NULL &&
                   nb_str_eq(f.of->name, "raw_data")) {
            put_raw(w, &f);
        } else {
            if (f.of != NULL && f.of->type == PROTOBUF_C_TYPE_STRING &&
                memchr(w->data + f.at, '\0', (size_t)f.n) != NULL)
                return malformed(w, d, f.begin, "a text holds a zero byte");
            if (f.n > MAX_INNER_BYTES)
                return malformed(w, d, f.begin, "a field of more than 2 GiB");
            nb_str_append(w->out, w->data + f.begin, (size_t)(at - f.begin));
        }
    }
    return NB_OK;
}

enum nb_status nb_onnx_strip(struct nb_str *out, const uint8_t *data, uint64_t n,
                             struct nb_error *err)
{
    const struct walk w = {.data = data, .out = out, .err = err};
    nb_str_clear(out);
    NB_TRY(message(&w, &nb__onnx__model__descriptor, 0, n, 0));
    return nb_str_check(out, err);
}
