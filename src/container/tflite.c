/* container/tflite.c: reading a TFLite file into the structs of tflite.h.
 *
 * TensorFlow's schema.fbs, version 3 with its additions up to 3c. The file is mapped; lists of numbers and of tables
 * are unpacked into an arena, texts and data are views. A list may be shared by many tables, so the work is bounded
 * by the size of the file.
 * Left out: sparse layouts, custom schemes of quantization, minima and maxima, intermediate tensors of LSTMs: said
 * to be there or skipped, never unpacked.
 */
#include "container/tflite.h"

#include <string.h>

#define ARENA_CHUNK_BYTES 65536
#define SCHEMA_VERSION    3
#define QUOTE_BYTES       80
/* Items unpacked for each byte of the file: one, if nothing is shared. */
#define ITEMS_PER_BYTE 4
#define ITEMS_ALWAYS   65536

/* Fields of the tables, by number. */
enum { MODEL_VERSION, MODEL_CODES, MODEL_GRAPHS, MODEL_DESCRIPTION, MODEL_BUFFERS };
enum { MODEL_METADATA = 6, MODEL_SIGNATURES };
enum { CODE_OLD, CODE_CUSTOM, CODE_VERSION, CODE_BUILTIN };
enum { GRAPH_TENSORS, GRAPH_INPUTS, GRAPH_OUTPUTS, GRAPH_OPERATORS, GRAPH_NAME };
enum { TENSOR_SHAPE, TENSOR_TYPE, TENSOR_BUFFER, TENSOR_NAME, TENSOR_QUANT, TENSOR_VARIABLE };
enum { TENSOR_SPARSITY = 6, TENSOR_SIGNATURE, TENSOR_RANKED };
enum { QUANT_SCALE = 2, QUANT_ZERO, QUANT_DETAILS_TYPE, QUANT_DETAILS, QUANT_DIM };
enum { OP_CODE, OP_INPUTS, OP_OUTPUTS, OP_OPTIONS_TYPE, OP_OPTIONS, OP_CUSTOM };
enum { OP_LARGE_OFFSET = 9, OP_LARGE_SIZE, OP_OPTIONS2_TYPE, OP_OPTIONS2 };
enum { BUFFER_DATA, BUFFER_OFFSET, BUFFER_SIZE };
enum { META_NAME, META_BUFFER };
enum { ALIAS_NAME, ALIAS_TENSOR };
enum { SIGNATURE_INPUTS, SIGNATURE_OUTPUTS, SIGNATURE_KEY, SIGNATURE_GRAPH = 4 };

struct view {
    const uint8_t *data; /* NULL: empty */
    uint64_t bytes;
};
struct code {
    int32_t code, version;
    const char *name;
};

/* Owns: everything but the bytes of a model in memory. */
struct nb_tflite {
    const struct nb_allocator *a;
    struct nb_arena arena;
    struct nb_tflite_model model;
    struct nb_mapping map;
    bool in_memory; /* map is borrowed */
    uint64_t left;  /* items that may still be unpacked */
    struct view *buffers;
    struct code *codes;
    uint32_t n_buffers, n_codes;
};

/* ---- tables of facts ---- */

const struct nb_tflite_type_info *nb_tflite_type_info(int32_t type)
{
    static const struct nb_tflite_type_info infos[NB_TFLITE_N_TYPES] = {
        [NB_TFLITE_FLOAT32] = {"float32", 32},
        [NB_TFLITE_FLOAT16] = {"float16", 16},
        [NB_TFLITE_INT32] = {"int32", 32},
        [NB_TFLITE_UINT8] = {"uint8", 8},
        [NB_TFLITE_INT64] = {"int64", 64},
        [NB_TFLITE_STRING] = {"string", 0},
        [NB_TFLITE_BOOL] = {"bool", 8},
        [NB_TFLITE_INT16] = {"int16", 16},
        [NB_TFLITE_COMPLEX64] = {"complex64", 64},
        [NB_TFLITE_INT8] = {"int8", 8},
        [NB_TFLITE_FLOAT64] = {"float64", 64},
        [NB_TFLITE_COMPLEX128] = {"complex128", 128},
        [NB_TFLITE_UINT64] = {"uint64", 64},
        [NB_TFLITE_RESOURCE] = {"resource", 0},
        [NB_TFLITE_VARIANT] = {"variant", 0},
        [NB_TFLITE_UINT32] = {"uint32", 32},
        [NB_TFLITE_UINT16] = {"uint16", 16},
        [NB_TFLITE_INT4] = {"int4", 4},
        [NB_TFLITE_BFLOAT16] = {"bfloat16", 16},
        [NB_TFLITE_INT2] = {"int2", 2},
        [NB_TFLITE_UINT4] = {"uint4", 4},
        [NB_TFLITE_FLOAT8E4M3FN] = {"float8e4m3fn", 8},
        [NB_TFLITE_FLOAT8E5M2] = {"float8e5m2", 8},
    };
    return type >= 0 && type < NB_TFLITE_N_TYPES ? &infos[type] : NULL;
}

bool nb_tflite_count(uint64_t *n, uint64_t *bytes, int32_t type, const int64_t *dims, size_t rank)
{
    const struct nb_tflite_type_info *info = nb_tflite_type_info(type);
    uint64_t count = 1, bits;
    bool empty = false;
    if (info == NULL)
        return false;
    for (size_t i = 0; i < rank; i++) {
        if (dims[i] < 0)
            return false;
        empty = empty || dims[i] == 0;
    }
    for (size_t i = 0; i < rank && !empty; i++)
        if (!nb_mul_u64(&count, count, (uint64_t)dims[i]))
            return false;
    count = empty ? 0 : count;
    if (count > INT64_MAX || !nb_mul_u64(&bits, count, NB_MAX(info->bits, 1U)) || bits > INT64_MAX)
        return false;
    *n = count;
    *bytes = info->bits == 0 ? 0 : (bits + 7) / 8;
    return true;
}

const char *nb_tflite_code_name(int32_t code)
{
    static const char *const names[] = {
#define NB_TFLITE_OP(name, number) [number] = #name,
#include "container/tflite_ops.inc"
#undef NB_TFLITE_OP
    };
    return code >= 0 && (size_t)code < NB_COUNTOF(names) ? names[code] : NULL;
}

/* ---- memory and lists ---- */

static enum nb_status spend(struct nb_tflite *t, uint64_t n, struct nb_error *err)
{
    if (n > t->left)
        NB_FAIL(err, NB_ERR_LIMIT, "lists are shared too often: more than %d items for each byte",
                ITEMS_PER_BYTE);
    t->left -= n;
    return NB_OK;
}

/* *items: (n), zeroed; NULL if n is 0. */
static enum nb_status array(struct nb_tflite *t, void *items /* T ** */, uint64_t n, size_t size,
                            struct nb_error *err)
{
    void *p = NULL;
    NB_TRY(spend(t, n + 1, err));
    if (n > 0) {
        p = nb_arena_alloc(&t->arena, (size_t)n, size);
        if (p == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    }
    memcpy(items, &p, sizeof p);
    return NB_OK;
}

static enum nb_status text(struct nb_tflite *t, const struct nb_fb_table *table, unsigned field,
                           const char **out, struct nb_error *err)
{
    NB_TRY(nb_fb_text(&t->model.fb, table, field, out, err));
    return *out != NULL ? spend(t, strlen(*out), err) : NB_OK;
}

/* A vector of int32: (n). */
static enum nb_status numbers(struct nb_tflite *t, const struct nb_fb_table *table, unsigned field,
                              const int32_t **out, size_t *n, struct nb_error *err)
{
    struct nb_fb_vector v;
    int32_t *items = NULL;
    NB_TRY(nb_fb_list(&t->model.fb, table, field, 4, &v, err));
    NB_TRY(array(t, &items, v.n, sizeof *items, err));
    for (uint32_t i = 0; i < v.n; i++)
        items[i] = (int32_t)nb_load_u32(t->map.data + v.at + 4 * (uint64_t)i);
    *out = items;
    *n = v.n;
    return NB_OK;
}

/* Numbers of tensors. */
static enum nb_status indices(struct nb_tflite *t, const struct nb_fb_table *table, unsigned field,
                              const char *what, size_t n_tensors, bool optional,
                              const int32_t **out, size_t *n, struct nb_error *err)
{
    NB_TRY(numbers(t, table, field, out, n, err));
    for (size_t i = 0; i < *n; i++) {
        const int32_t k = (*out)[i];
        if (k < (optional ? -1 : 0) || (k >= 0 && (size_t)k >= n_tensors))
            NB_FAIL(err, NB_ERR_FORMAT, "%s %zu is tensor %d of %zu", what, i, k, n_tensors);
    }
    return NB_OK;
}

/* ---- buffers and codes ---- */

static enum nb_status outside(const struct nb_tflite *t, struct view *out, uint64_t offset,
                              uint64_t size, struct nb_error *err)
{
    if (offset > t->map.size || size > t->map.size - offset)
        return NB_ERROR_AT(err, NB_ERR_FORMAT, offset, "%llu bytes at byte %llu, the file has %llu",
                           (unsigned long long)size, (unsigned long long)offset,
                           (unsigned long long)t->map.size);
    *out = (struct view){size > 0 ? t->map.data + offset : NULL, size};
    return NB_OK;
}

static enum nb_status read_buffer(struct nb_tflite *t, struct view *out,
                                  const struct nb_fb_table *table, struct nb_error *err)
{
    const struct nb_fb *fb = &t->model.fb;
    struct nb_fb_vector v;
    uint64_t offset, size;
    NB_TRY(nb_fb_list(fb, table, BUFFER_DATA, 1, &v, err));
    NB_TRY(nb_fb_u64(fb, table, BUFFER_OFFSET, 0, &offset, err));
    NB_TRY(nb_fb_u64(fb, table, BUFFER_SIZE, 0, &size, err));
    if (offset <= 1) { /* 0 and 1: data are inside */
        *out = (struct view){v.n > 0 ? t->map.data + v.at : NULL, v.n};
        return NB_OK;
    }
    if (v.n > 0)
        NB_FAIL(err, NB_ERR_FORMAT, "data inside, and also at byte %llu",
                (unsigned long long)offset);
    return outside(t, out, offset, size, err);
}

static enum nb_status read_buffers(struct nb_tflite *t, const struct nb_fb_table *model,
                                   struct nb_error *err)
{
    struct nb_fb_vector v;
    struct nb_fb_table table;
    NB_TRY(nb_fb_list(&t->model.fb, model, MODEL_BUFFERS, 4, &v, err));
    NB_TRY(array(t, &t->buffers, v.n, sizeof *t->buffers, err));
    for (uint32_t i = 0; i < v.n; i++) {
        enum nb_status st = nb_fb_item(&t->model.fb, &v, i, &table, err);
        if (st == NB_OK)
            st = read_buffer(t, &t->buffers[i], &table, err);
        if (st != NB_OK)
            return nb_error_prefix(err, st, "buffer %u", i);
    }
    t->n_buffers = v.n;
    if (v.n > 0 && t->buffers[0].bytes > 0) /* it stands for "no data" */
        NB_FAIL(err, NB_ERR_FORMAT, "buffer 0 has %llu bytes, expected none",
                (unsigned long long)t->buffers[0].bytes);
    return NB_OK;
}

/* The old field has 7 bits: 127 in it says that the number is in the new one. */
static enum nb_status read_code(struct nb_tflite *t, struct code *c,
                                const struct nb_fb_table *table, struct nb_error *err)
{
    const struct nb_fb *fb = &t->model.fb;
    const char *custom;
    int8_t old;
    NB_TRY(nb_fb_i8(fb, table, CODE_OLD, 0, &old, err));
    NB_TRY(nb_fb_i32(fb, table, CODE_BUILTIN, 0, &c->code, err));
    NB_TRY(nb_fb_i32(fb, table, CODE_VERSION, 1, &c->version, err));
    NB_TRY(text(t, table, CODE_CUSTOM, &custom, err));
    c->code = NB_MAX(c->code, (int32_t)old);
    if (c->code < 0)
        NB_FAIL(err, NB_ERR_FORMAT, "operator number %d", c->code);
    c->name = nb_tflite_code_name(c->code);
    if (c->code == NB_TFLITE_CUSTOM)
        c->name = custom != NULL ? custom : "";
    if (c->name == NULL) {
        c->name = nb_arena_printf(&t->arena, "OPERATOR_%d", c->code);
        if (c->name == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    }
    return NB_OK;
}

static enum nb_status read_codes(struct nb_tflite *t, const struct nb_fb_table *model,
                                 struct nb_error *err)
{
    struct nb_fb_vector v;
    struct nb_fb_table table;
    NB_TRY(nb_fb_list(&t->model.fb, model, MODEL_CODES, 4, &v, err));
    NB_TRY(array(t, &t->codes, v.n, sizeof *t->codes, err));
    for (uint32_t i = 0; i < v.n; i++) {
        enum nb_status st = nb_fb_item(&t->model.fb, &v, i, &table, err);
        if (st == NB_OK)
            st = read_code(t, &t->codes[i], &table, err);
        if (st != NB_OK)
            return nb_error_prefix(err, st, "operator code %u", i);
    }
    t->n_codes = v.n;
    return NB_OK;
}

/* ---- tensors ---- */

static enum nb_status read_quant(struct nb_tflite *t, struct nb_tflite_tensor *x,
                                 const struct nb_fb_table *table, struct nb_error *err)
{
    const struct nb_fb *fb = &t->model.fb;
    struct nb_tflite_quant *q = &x->quant;
    struct nb_fb_vector scale, zero;
    uint8_t details;
    float *scales = NULL;
    int64_t *zeros = NULL;
    NB_TRY(nb_fb_list(fb, table, QUANT_SCALE, 4, &scale, err));
    NB_TRY(nb_fb_list(fb, table, QUANT_ZERO, 8, &zero, err));
    NB_TRY(nb_fb_u8(fb, table, QUANT_DETAILS_TYPE, 0, &details, err));
    NB_TRY(nb_fb_i32(fb, table, QUANT_DIM, 0, &q->dim, err));
    q->custom = details != 0;
    if (scale.n == 0)
        return NB_OK;
    if (zero.n > 1 && zero.n != scale.n)
        NB_FAIL(err, NB_ERR_FORMAT, "%u scales and %u zero points", scale.n, zero.n);
    if (q->dim < 0 || (x->rank > 0 && (size_t)q->dim >= x->rank))
        NB_FAIL(err, NB_ERR_FORMAT, "scales are for dimension %d of %zu", q->dim, x->rank);
    if (scale.n > 1 && (x->rank == 0 || x->dims[q->dim] != (int64_t)scale.n))
        NB_FAIL(err, NB_ERR_FORMAT, "%u scales for the %lld indices of dimension %d", scale.n,
                x->rank == 0 ? 0 : (long long)x->dims[q->dim], q->dim);
    NB_TRY(array(t, &scales, scale.n, sizeof *scales, err));
    NB_TRY(array(t, &zeros, scale.n, sizeof *zeros, err));
    for (uint32_t i = 0; i < scale.n; i++) {
        const uint32_t bits = nb_load_u32(t->map.data + scale.at + 4 * (uint64_t)i);
        memcpy(&scales[i], &bits, sizeof bits);
        if (zero.n > 0)
            zeros[i] =
                (int64_t)nb_load_u64(t->map.data + zero.at + (zero.n > 1 ? 8 * (uint64_t)i : 0));
    }
    q->scales = scales;
    q->zero_points = zeros;
    q->n = scale.n;
    return NB_OK;
}

static enum nb_status read_dims(struct nb_tflite *t, const int64_t **out, size_t *rank,
                                const struct nb_fb_table *table, unsigned field,
                                struct nb_error *err)
{
    const int32_t *items;
    int64_t *dims = NULL;
    NB_TRY(numbers(t, table, field, &items, rank, err));
    NB_TRY(array(t, &dims, *rank, sizeof *dims, err));
    for (size_t i = 0; i < *rank; i++) {
        dims[i] = items[i];
        if (dims[i] < -1)
            NB_FAIL(err, NB_ERR_FORMAT, "dimension %zu is %lld", i, (long long)dims[i]);
    }
    *out = dims;
    return NB_OK;
}

static enum nb_status read_shape(struct nb_tflite *t, struct nb_tflite_tensor *x,
                                 const struct nb_fb_table *table, struct nb_error *err)
{
    size_t n;
    NB_TRY(read_dims(t, &x->dims, &x->rank, table, TENSOR_SHAPE, err));
    NB_TRY(read_dims(t, &x->signature, &n, table, TENSOR_SIGNATURE, err));
    if (n == 0)
        x->signature = x->dims;
    else if (n != x->rank)
        NB_FAIL(err, NB_ERR_FORMAT, "a shape of %zu dimensions with a signature of %zu", x->rank,
                n);
    return nb_fb_bool(&t->model.fb, table, TENSOR_RANKED, false, &x->ranked, err);
}

static enum nb_status read_data(const struct nb_tflite *t, struct nb_tflite_tensor *x,
                                uint32_t buffer, struct nb_error *err)
{
    uint64_t bytes = 0;
    bool open = false;
    if (buffer >= t->n_buffers)
        NB_FAIL(err, NB_ERR_FORMAT, "buffer %u of %u", buffer, t->n_buffers);
    for (size_t i = 0; i < x->rank; i++)
        open = open || x->dims[i] < 0;
    if (!open && !nb_tflite_count(&x->n, &bytes, x->type, x->dims, x->rank))
        NB_FAIL(err, NB_ERR_FORMAT, "dimensions beyond 2^63 bits");
    x->data = t->buffers[buffer].data;
    x->bytes = t->buffers[buffer].bytes;
    if (x->data == NULL || x->sparse || nb_tflite_type_info(x->type)->bits == 0)
        return NB_OK;
    if (open || bytes != x->bytes)
        NB_FAIL(err, NB_ERR_FORMAT, "buffer %u has %llu bytes, type and dimensions say %llu",
                buffer, (unsigned long long)x->bytes, (unsigned long long)bytes);
    return NB_OK;
}

static enum nb_status read_fields(struct nb_tflite *t, struct nb_tflite_tensor *x,
                                  const struct nb_fb_table *table, struct nb_error *err)
{
    const struct nb_fb *fb = &t->model.fb;
    struct nb_fb_table sub;
    uint32_t buffer;
    int8_t type;
    NB_TRY(nb_fb_i8(fb, table, TENSOR_TYPE, 0, &type, err));
    x->type = type;
    if (nb_tflite_type_info(x->type) == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "element type %d, which nibble does not know", x->type);
    NB_TRY(read_shape(t, x, table, err));
    NB_TRY(nb_fb_u32(fb, table, TENSOR_BUFFER, 0, &buffer, err));
    NB_TRY(nb_fb_bool(fb, table, TENSOR_VARIABLE, false, &x->variable, err));
    NB_TRY(nb_fb_sub(fb, table, TENSOR_SPARSITY, &sub, err));
    x->sparse = sub.at != 0;
    NB_TRY(read_data(t, x, buffer, err));
    NB_TRY(nb_fb_sub(fb, table, TENSOR_QUANT, &sub, err));
    return sub.at != 0 ? read_quant(t, x, &sub, err) : NB_OK;
}

static enum nb_status read_tensor(struct nb_tflite *t, struct nb_tflite_tensor *x,
                                  const struct nb_fb_table *table, struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    NB_TRY(text(t, table, TENSOR_NAME, &x->name, err));
    if (x->name == NULL)
        x->name = "";
    const enum nb_status st = read_fields(t, x, table, err);
    return st == NB_OK
               ? st
               : nb_error_prefix(err, st, "'%s'",
                                 nb_printable(quote, sizeof quote, x->name, strlen(x->name)));
}

/* ---- operators ---- */

static enum nb_status read_options(struct nb_tflite *t, struct nb_tflite_op *op,
                                   const struct nb_fb_table *table, struct nb_error *err)
{
    const struct nb_fb *fb = &t->model.fb;
    struct nb_fb_vector v;
    struct view large;
    uint64_t offset, size;
    NB_TRY(nb_fb_u8(fb, table, OP_OPTIONS_TYPE, 0, &op->options_type, err));
    NB_TRY(nb_fb_u8(fb, table, OP_OPTIONS2_TYPE, 0, &op->options2_type, err));
    if (op->options_type != 0)
        NB_TRY(nb_fb_sub(fb, table, OP_OPTIONS, &op->options, err));
    if (op->options2_type != 0)
        NB_TRY(nb_fb_sub(fb, table, OP_OPTIONS2, &op->options2, err));
    NB_TRY(nb_fb_list(fb, table, OP_CUSTOM, 1, &v, err));
    NB_TRY(nb_fb_u64(fb, table, OP_LARGE_OFFSET, 0, &offset, err));
    NB_TRY(nb_fb_u64(fb, table, OP_LARGE_SIZE, 0, &size, err));
    large = (struct view){v.n > 0 ? t->map.data + v.at : NULL, v.n};
    if (offset > 1)
        NB_TRY(outside(t, &large, offset, size, err));
    op->custom = large.data;
    op->custom_bytes = large.bytes;
    return NB_OK;
}

static enum nb_status read_op(struct nb_tflite *t, struct nb_tflite_op *op,
                              const struct nb_fb_table *table, size_t n_tensors,
                              struct nb_error *err)
{
    uint32_t code;
    NB_TRY(nb_fb_u32(&t->model.fb, table, OP_CODE, 0, &code, err));
    if (code >= t->n_codes)
        NB_FAIL(err, NB_ERR_FORMAT, "operator code %u of %u", code, t->n_codes);
    op->code = t->codes[code].code;
    op->version = t->codes[code].version;
    op->name = t->codes[code].name;
    enum nb_status st =
        indices(t, table, OP_INPUTS, "input", n_tensors, true, &op->inputs, &op->n_inputs, err);
    if (st == NB_OK)
        st = indices(t, table, OP_OUTPUTS, "output", n_tensors, true, &op->outputs, &op->n_outputs,
                     err);
    if (st == NB_OK)
        st = read_options(t, op, table, err);
    if (st == NB_OK)
        return NB_OK;
    char quote[QUOTE_BYTES];
    return nb_error_prefix(err, st, "%s",
                           nb_printable(quote, sizeof quote, op->name, strlen(op->name)));
}

/* ---- subgraphs ---- */

static enum nb_status read_tensors(struct nb_tflite *t, struct nb_tflite_graph *g,
                                   const struct nb_fb_table *table, struct nb_error *err)
{
    struct nb_tflite_tensor *items = NULL;
    struct nb_fb_vector v;
    struct nb_fb_table item;
    NB_TRY(nb_fb_list(&t->model.fb, table, GRAPH_TENSORS, 4, &v, err));
    NB_TRY(array(t, &items, v.n, sizeof *items, err));
    for (uint32_t i = 0; i < v.n; i++) {
        enum nb_status st = nb_fb_item(&t->model.fb, &v, i, &item, err);
        if (st == NB_OK)
            st = read_tensor(t, &items[i], &item, err);
        if (st != NB_OK)
            return nb_error_prefix(err, st, "tensor %u", i);
    }
    g->tensors = items;
    g->n_tensors = v.n;
    return NB_OK;
}

static enum nb_status read_ops(struct nb_tflite *t, struct nb_tflite_graph *g,
                               const struct nb_fb_table *table, struct nb_error *err)
{
    struct nb_tflite_op *items = NULL;
    struct nb_fb_vector v;
    struct nb_fb_table item;
    NB_TRY(nb_fb_list(&t->model.fb, table, GRAPH_OPERATORS, 4, &v, err));
    NB_TRY(array(t, &items, v.n, sizeof *items, err));
    for (uint32_t i = 0; i < v.n; i++) {
        enum nb_status st = nb_fb_item(&t->model.fb, &v, i, &item, err);
        if (st == NB_OK)
            st = read_op(t, &items[i], &item, g->n_tensors, err);
        if (st != NB_OK)
            return nb_error_prefix(err, st, "operator %u", i);
    }
    g->ops = items;
    g->n_ops = v.n;
    return NB_OK;
}

static enum nb_status read_graph(struct nb_tflite *t, struct nb_tflite_graph *g,
                                 const struct nb_fb_table *table, struct nb_error *err)
{
    NB_TRY(text(t, table, GRAPH_NAME, &g->name, err));
    NB_TRY(read_tensors(t, g, table, err));
    NB_TRY(indices(t, table, GRAPH_INPUTS, "input", g->n_tensors, false, &g->inputs, &g->n_inputs,
                   err));
    NB_TRY(indices(t, table, GRAPH_OUTPUTS, "output", g->n_tensors, false, &g->outputs,
                   &g->n_outputs, err));
    return read_ops(t, g, table, err);
}

static enum nb_status read_graphs(struct nb_tflite *t, const struct nb_fb_table *model,
                                  struct nb_error *err)
{
    struct nb_tflite_graph *items = NULL;
    struct nb_fb_vector v;
    struct nb_fb_table item;
    NB_TRY(nb_fb_list(&t->model.fb, model, MODEL_GRAPHS, 4, &v, err));
    if (v.n == 0)
        NB_FAIL(err, NB_ERR_FORMAT, "the model has no subgraph");
    NB_TRY(array(t, &items, v.n, sizeof *items, err));
    for (uint32_t i = 0; i < v.n; i++) {
        enum nb_status st = nb_fb_item(&t->model.fb, &v, i, &item, err);
        if (st == NB_OK)
            st = read_graph(t, &items[i], &item, err);
        if (st != NB_OK)
            return nb_error_prefix(err, st, "subgraph %u", i);
    }
    t->model.graphs = items;
    t->model.n_graphs = v.n;
    return NB_OK;
}

/* ---- what is said about the model ---- */

static enum nb_status read_meta(struct nb_tflite *t, const struct nb_fb_table *model,
                                struct nb_error *err)
{
    const struct nb_fb *fb = &t->model.fb;
    struct nb_tflite_meta *items = NULL;
    struct nb_fb_vector v;
    struct nb_fb_table item;
    NB_TRY(nb_fb_list(fb, model, MODEL_METADATA, 4, &v, err));
    NB_TRY(array(t, &items, v.n, sizeof *items, err));
    for (uint32_t i = 0; i < v.n; i++) {
        uint32_t buffer = 0;
        enum nb_status st = nb_fb_item(fb, &v, i, &item, err);
        if (st == NB_OK)
            st = text(t, &item, META_NAME, &items[i].name, err);
        if (st == NB_OK)
            st = nb_fb_u32(fb, &item, META_BUFFER, 0, &buffer, err);
        if (st == NB_OK && buffer >= t->n_buffers)
            st = NB_ERROR(err, NB_ERR_FORMAT, "buffer %u of %u", buffer, t->n_buffers);
        if (st != NB_OK)
            return nb_error_prefix(err, st, "metadata %u", i);
        if (items[i].name == NULL)
            items[i].name = "";
        items[i].data = t->buffers[buffer].data;
        items[i].bytes = t->buffers[buffer].bytes;
    }
    t->model.meta = items;
    t->model.n_meta = v.n;
    return NB_OK;
}

static enum nb_status read_aliases(struct nb_tflite *t, const struct nb_fb_table *table,
                                   unsigned field, const struct nb_tflite_graph *g,
                                   const struct nb_tflite_alias **out, size_t *n,
                                   struct nb_error *err)
{
    const struct nb_fb *fb = &t->model.fb;
    struct nb_tflite_alias *items = NULL;
    struct nb_fb_vector v;
    struct nb_fb_table item;
    NB_TRY(nb_fb_list(fb, table, field, 4, &v, err));
    NB_TRY(array(t, &items, v.n, sizeof *items, err));
    for (uint32_t i = 0; i < v.n; i++) {
        NB_TRY(nb_fb_item(fb, &v, i, &item, err));
        NB_TRY(text(t, &item, ALIAS_NAME, &items[i].name, err));
        NB_TRY(nb_fb_u32(fb, &item, ALIAS_TENSOR, 0, &items[i].tensor, err));
        if (items[i].name == NULL)
            items[i].name = "";
        if (items[i].tensor >= g->n_tensors)
            NB_FAIL(err, NB_ERR_FORMAT, "'%s' is tensor %u of %zu", field == 0 ? "input" : "output",
                    items[i].tensor, g->n_tensors);
    }
    *out = items;
    *n = v.n;
    return NB_OK;
}

static enum nb_status read_signature(struct nb_tflite *t, struct nb_tflite_signature *s,
                                     const struct nb_fb_table *table, struct nb_error *err)
{
    NB_TRY(text(t, table, SIGNATURE_KEY, &s->key, err));
    NB_TRY(nb_fb_u32(&t->model.fb, table, SIGNATURE_GRAPH, 0, &s->graph, err));
    if (s->key == NULL)
        s->key = "";
    if (s->graph >= t->model.n_graphs)
        NB_FAIL(err, NB_ERR_FORMAT, "subgraph %u of %zu", s->graph, t->model.n_graphs);
    const struct nb_tflite_graph *g = &t->model.graphs[s->graph];
    NB_TRY(read_aliases(t, table, SIGNATURE_INPUTS, g, &s->inputs, &s->n_inputs, err));
    return read_aliases(t, table, SIGNATURE_OUTPUTS, g, &s->outputs, &s->n_outputs, err);
}

static enum nb_status read_signatures(struct nb_tflite *t, const struct nb_fb_table *model,
                                      struct nb_error *err)
{
    struct nb_tflite_signature *items = NULL;
    struct nb_fb_vector v;
    struct nb_fb_table item;
    NB_TRY(nb_fb_list(&t->model.fb, model, MODEL_SIGNATURES, 4, &v, err));
    NB_TRY(array(t, &items, v.n, sizeof *items, err));
    for (uint32_t i = 0; i < v.n; i++) {
        enum nb_status st = nb_fb_item(&t->model.fb, &v, i, &item, err);
        if (st == NB_OK)
            st = read_signature(t, &items[i], &item, err);
        if (st != NB_OK)
            return nb_error_prefix(err, st, "signature %u", i);
    }
    t->model.signatures = items;
    t->model.n_signatures = v.n;
    return NB_OK;
}

/* ---- the model ---- */

bool nb_tflite_probe(const uint8_t *head, size_t n)
{
    return nb_fb_is(&(struct nb_fb){head, n}, "TFL3");
}

static enum nb_status parse(struct nb_tflite *t, struct nb_error *err)
{
    struct nb_tflite_model *m = &t->model;
    struct nb_fb_table root;
    m->fb = (struct nb_fb){t->map.data, t->map.size};
    if (!nb_fb_is(&m->fb, "TFL3"))
        NB_FAIL(err, NB_ERR_FORMAT, "not a TFLite model: no \"TFL3\" at byte 4");
    t->left = t->map.size <= UINT64_MAX / 2 / ITEMS_PER_BYTE ? t->map.size * ITEMS_PER_BYTE : 0;
    t->left += ITEMS_ALWAYS;
    NB_TRY(nb_fb_root(&m->fb, &root, err));
    NB_TRY(nb_fb_u32(&m->fb, &root, MODEL_VERSION, 0, &m->version, err));
    if (m->version != SCHEMA_VERSION)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "schema version %u, expected %d", m->version,
                SCHEMA_VERSION);
    NB_TRY(text(t, &root, MODEL_DESCRIPTION, &m->description, err));
    NB_TRY(read_buffers(t, &root, err));
    NB_TRY(read_codes(t, &root, err));
    NB_TRY(read_graphs(t, &root, err));
    NB_TRY(read_meta(t, &root, err));
    return read_signatures(t, &root, err);
}

static struct nb_tflite *create(const struct nb_allocator *a)
{
    struct nb_tflite *t = nb_alloc_zero(a, 1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->a = a;
    nb_arena_init(&t->arena, a, ARENA_CHUNK_BYTES);
    return t;
}

void nb_tflite_close(struct nb_tflite *t)
{
    if (t == NULL)
        return;
    if (!t->in_memory)
        nb_mapping_close(&t->map);
    nb_arena_fini(&t->arena);
    nb_free(t->a, t);
}

enum nb_status nb_tflite_open(struct nb_tflite **out, const char *path,
                              const struct nb_allocator *a, struct nb_error *err)
{
    *out = NULL;
    struct nb_tflite *t = create(a);
    if (t == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "%s: out of memory", path);
    enum nb_status st = nb_mapping_open(&t->map, path, err);
    if (st == NB_OK) {
        st = parse(t, err);
        if (st != NB_OK)
            st = nb_error_prefix(err, st, "%s", path);
    }
    if (st != NB_OK) {
        nb_tflite_close(t);
        return st;
    }
    *out = t;
    return NB_OK;
}

enum nb_status nb_tflite_open_bytes(struct nb_tflite **out, const void *data, size_t n,
                                    const struct nb_allocator *a, struct nb_error *err)
{
    *out = NULL;
    struct nb_tflite *t = create(a);
    if (t == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    t->in_memory = true;
    t->map = (struct nb_mapping){.data = data, .size = n};
    const enum nb_status st = parse(t, err);
    if (st != NB_OK) {
        nb_tflite_close(t);
        return st;
    }
    *out = t;
    return NB_OK;
}

const struct nb_tflite_model *nb_tflite_model(const struct nb_tflite *t)
{
    return &t->model;
}
