/* api/npy.c: arrays in .npy files, for what goes into nets and comes out. */
#include "api/net.h"

#include <string.h>

#include "base/bytes.h"
#include "container/container.h"

/* Names of types: the safetensors dtype by which a number format is found, and ONNX's number. */
static const struct {
    const char *st_dtype;
    int32_t type;
} types[] = {
    {"F16", NB_ONNX_FLOAT16}, {"F32", NB_ONNX_FLOAT32}, {"F64", NB_ONNX_FLOAT64},
    {"I8", NB_ONNX_INT8},     {"U8", NB_ONNX_UINT8},    {"I16", NB_ONNX_INT16},
    {"U16", NB_ONNX_UINT16},  {"I32", NB_ONNX_INT32},   {"U32", NB_ONNX_UINT32},
    {"I64", NB_ONNX_INT64},   {"U64", NB_ONNX_UINT64},  {"BOOL", NB_ONNX_BOOL},
};

/* Owns: file, copy. */
struct npy_owner {
    struct nb_allocator a;
    struct nb_file *file;
    void *copy;
};

void nb_npy_free(struct nb_npy *npy)
{
    struct npy_owner *o = npy->owner;
    if (o != NULL) {
        const struct nb_allocator a = o->a;
        nb_file_close(o->file);
        nb_free(&a, o->copy);
        nb_free(&a, o);
    }
    *npy = (struct nb_npy){.type = NULL};
}

/* What lies in the file askew is copied; of nothing there is a byte. */
static enum nb_status find_data(struct npy_owner *o, struct nb_npy *out, const struct nb_tensor *t,
                                struct nb_error *err)
{
    out->data = t->data;
    if (t->bytes > 0 && (uintptr_t)t->data % 16 == 0)
        return NB_OK;
    o->copy = t->bytes < SIZE_MAX ? nb_alloc_zero(&o->a, (size_t)t->bytes + 1, 1) : NULL;
    if (o->copy == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for an array of %llu bytes",
                (unsigned long long)t->bytes);
    if (t->bytes > 0)
        memcpy(o->copy, t->data, (size_t)t->bytes);
    out->data = o->copy;
    return NB_OK;
}

static enum nb_status read_npy(struct npy_owner *o, const char *path, struct nb_npy *out,
                               struct nb_error *err)
{
    NB_TRY(nb_file_open(&o->file, path, &o->a, err));
    if (o->file->container != &nb_container_npy)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s: not an .npy file, but %s", path,
                o->file->container->name);
    const struct nb_tensor *t = &o->file->tensors[0];
    for (size_t i = 0; i < NB_COUNTOF(types) && out->type == NULL; i++)
        if (t->type == nb_numfmt_by_st(types[i].st_dtype))
            out->type = nb_onnx_type_info(types[i].type)->name;
    if (out->type == NULL || t->shape.n > NB_NET_MAX_DIMS)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s: numbers of type %s in %u dimensions", path,
                t->type->name, t->shape.n);
    out->rank = t->shape.n;
    for (uint32_t i = 0; i < t->shape.n; i++) {
        if (t->shape.dim[i] > INT64_MAX)
            NB_FAIL(err, NB_ERR_LIMIT, "%s: dimension %u is too large", path, i);
        out->dims[i] = (int64_t)t->shape.dim[i];
    }
    if (!nb_shape_count(&t->shape, &out->elements))
        NB_FAIL(err, NB_ERR_LIMIT, "%s: too many elements", path);
    out->bytes = t->bytes;
    return find_data(o, out, t, err);
}

enum nb_status nb_npy_read(nb_context *ctx, const char *path, struct nb_npy *out,
                           struct nb_error *err)
{
    nb_error_clear(err);
    if (ctx == NULL || path == NULL || out == NULL)
        NB_FAIL(err, NB_ERR_ARG, "reading an array needs a context, a path and a result");
    *out = (struct nb_npy){.type = NULL};
    struct npy_owner *o = nb_alloc_zero(&ctx->allocator, 1, sizeof *o);
    if (o == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for an array");
    o->a = ctx->allocator;
    out->owner = o;
    const enum nb_status st = read_npy(o, path, out, err);
    if (st != NB_OK)
        nb_npy_free(out);
    return st;
}

enum nb_status nb_npy_room(nb_context *ctx, struct nb_npy *out, const char *type,
                           const int64_t *dims, uint32_t rank, void **data, struct nb_error *err)
{
    int32_t t = NB_ONNX_UNDEFINED;
    uint64_t n = 1, bytes = 0;
    *out = (struct nb_npy){.type = NULL};
    for (size_t i = 0; i < NB_COUNTOF(types); i++)
        if (nb_str_eq(nb_onnx_type_info(types[i].type)->name, type))
            t = types[i].type;
    for (uint32_t i = 0; i < rank; i++) {
        out->dims[i] = dims[i];
        if (!nb_mul_u64(&n, n, (uint64_t)dims[i]))
            n = UINT64_MAX;
    }
    struct npy_owner *o = nb_alloc_zero(&ctx->allocator, 1, sizeof *o);
    if (o == NULL || t == NB_ONNX_UNDEFINED || n == UINT64_MAX ||
        !nb_mul_u64(&bytes, n, nb_onnx_type_info(t)->bits / 8) || bytes >= SIZE_MAX) {
        nb_free(&ctx->allocator, o);
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for an array");
    }
    o->a = ctx->allocator;
    out->owner = o;
    o->copy = nb_alloc_zero(&o->a, (size_t)bytes + 1, 1);
    out->type = nb_onnx_type_info(t)->name;
    out->rank = rank;
    out->elements = n;
    out->bytes = bytes;
    out->data = *data = o->copy;
    if (o->copy != NULL)
        return NB_OK;
    nb_npy_free(out);
    NB_FAIL(err, NB_ERR_NOMEM, "no memory for an array of %llu bytes", (unsigned long long)bytes);
}

/* ---- writing ---- */

static bool find_type(int32_t *type, const char *name)
{
    for (int32_t i = NB_ONNX_FLOAT32; i <= NB_ONNX_INT2; i++)
        if (nb_str_eq(nb_onnx_type_info(i)->name, name)) {
            *type = i;
            return true;
        }
    return false;
}

static const struct nb_numfmt *format_of(int32_t type)
{
    for (size_t i = 0; i < NB_COUNTOF(types); i++)
        if (types[i].type == type)
            return nb_numfmt_by_st(types[i].st_dtype);
    return NULL;
}

/* The type NumPy has for one it does not have. */
static int32_t wider(int32_t type)
{
    switch (type) {
    case NB_ONNX_BFLOAT16:
        return NB_ONNX_FLOAT32;
    case NB_ONNX_INT4:
    case NB_ONNX_INT2:
        return NB_ONNX_INT8;
    case NB_ONNX_UINT4:
    case NB_ONNX_UINT2:
        return NB_ONNX_UINT8;
    default:
        return type;
    }
}

static enum nb_status write_npy(const struct nb_allocator *a, const char *path,
                                const struct nb_numfmt *format, const struct nb_shape *shape,
                                const void *data, bool overwrite, struct nb_error *err)
{
    struct nb_writer *w = NULL;
    uint64_t bytes;
    enum nb_status st;
    NB_TRY_TO(out, nb_numfmt_bytes(format, shape, &bytes, err));
    NB_TRY_TO(out, nb_writer_create(&w, &nb_container_npy, a, err));
    NB_TRY_TO(out, nb_writer_add(w, NB_NPY_NAME, format, shape, err));
    NB_TRY_TO(out, nb_writer_begin(w, path, overwrite ? NB_OUT_OVERWRITE : 0, NULL, err));
    NB_TRY_TO(out, nb_writer_append(w, data, (size_t)bytes, err));
    NB_TRY_TO(out, nb_writer_commit(w, err));
out:
    nb_writer_destroy(w);
    return st;
}

enum nb_status nb_npy_write(nb_context *ctx, const char *path, const struct nb_executor_port *port,
                            const void *data, int32_t overwrite, struct nb_error *err)
{
    int32_t type;
    nb_error_clear(err);
    if (ctx == NULL || path == NULL || port == NULL || port->type == NULL || data == NULL)
        NB_FAIL(err, NB_ERR_ARG, "writing an array needs a context, a path, a shape and numbers");
    if (port->rank > NB_NET_MAX_DIMS)
        NB_FAIL(err, NB_ERR_ARG, "%u dimensions, at most %d", port->rank, NB_NET_MAX_DIMS);
    if (!find_type(&type, port->type) || format_of(wider(type)) == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s: NumPy has no numbers of type %s", path, port->type);
    struct nb_shape shape = {.n = port->rank};
    for (uint32_t i = 0; i < port->rank; i++)
        shape.dim[i] = (uint64_t)port->dims[i];
    struct nb_onnx_tensor t = {.type = type, .data = data};
    if (!nb_onnx_count(&t.n, &t.bytes, type, port->dims, port->rank) || t.n > SIZE_MAX / 8)
        NB_FAIL(err, NB_ERR_ARG, "%s: not a shape", path);
    void *wide = NULL;
    if (wider(type) != type) {
        wide = nb_alloc(&ctx->allocator, (size_t)t.n + 1, 4);
        if (wide == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "no memory for %llu numbers", (unsigned long long)t.n);
        nb_net_decode(wide, &t);
    }
    const enum nb_status st = write_npy(&ctx->allocator, path, format_of(wider(type)), &shape,
                                        wide != NULL ? wide : data, overwrite != 0, err);
    nb_free(&ctx->allocator, wide);
    return st;
}
