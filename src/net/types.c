/* net/types.c: elements of a file as the graph holds them. */
#include <string.h>

#include "net/net_internal.h"

bool nb_net_type(int32_t onnx_type, enum nb_value_type *type)
{
    static const struct {
        int32_t onnx;
        enum nb_value_type type;
    } map[] = {
        {NB_ONNX_FLOAT32, NB_VALUE_F32},  {NB_ONNX_FLOAT16, NB_VALUE_F32},
        {NB_ONNX_BFLOAT16, NB_VALUE_F32}, {NB_ONNX_FLOAT64, NB_VALUE_F64},
        {NB_ONNX_INT64, NB_VALUE_I64},    {NB_ONNX_UINT64, NB_VALUE_I64},
        {NB_ONNX_INT32, NB_VALUE_I32},    {NB_ONNX_UINT32, NB_VALUE_U32},
        {NB_ONNX_INT16, NB_VALUE_I16},    {NB_ONNX_UINT16, NB_VALUE_U16},
        {NB_ONNX_INT8, NB_VALUE_I8},      {NB_ONNX_UINT8, NB_VALUE_U8},
        {NB_ONNX_INT4, NB_VALUE_I8},      {NB_ONNX_UINT4, NB_VALUE_U8},
        {NB_ONNX_INT2, NB_VALUE_I8},      {NB_ONNX_UINT2, NB_VALUE_U8},
        {NB_ONNX_BOOL, NB_VALUE_BOOL},
    };
    for (size_t i = 0; i < NB_COUNTOF(map); i++)
        if (map[i].onnx == onnx_type) {
            *type = map[i].type;
            return true;
        }
    return false;
}

/* Number i of codes of `bits` bits, the first in the low bits of a byte. */
static uint8_t code(const uint8_t *data, size_t i, unsigned bits, bool is_signed)
{
    const unsigned per = 8 / bits, mask = (1U << bits) - 1;
    const unsigned v = (unsigned)data[i / per] >> (i % per * bits) & mask;
    return (uint8_t)(is_signed && (v >> (bits - 1)) ? v | ~mask : v);
}

static void widen(float *dst, const struct nb_onnx_tensor *t)
{
    for (size_t i = 0; i < t->n; i++) {
        uint16_t h;
        memcpy(&h, t->data + 2 * i, sizeof h);
        dst[i] = t->type == NB_ONNX_FLOAT16 ? nb_f16_to_f32(h) : nb_bf16_to_f32(h);
    }
}

void nb_net_decode(void *dst, const struct nb_onnx_tensor *t)
{
    const uint32_t bits = nb_onnx_type_info(t->type)->bits;
    const bool is_signed = t->type == NB_ONNX_INT4 || t->type == NB_ONNX_INT2;
    uint8_t *bytes = dst;
    if (t->n == 0)
        return;
    if (t->type == NB_ONNX_FLOAT16 || t->type == NB_ONNX_BFLOAT16)
        widen(dst, t);
    else if (bits < 8)
        for (size_t i = 0; i < t->n; i++)
            bytes[i] = code(t->data, i, bits, is_signed);
    else
        memcpy(dst, t->data, (size_t)t->bytes);
}

/* Can the file's bytes be used where they lie? */
static bool is_view(const struct nb_onnx_tensor *t, size_t item)
{
    return t->type != NB_ONNX_FLOAT16 && t->type != NB_ONNX_BFLOAT16 &&
           nb_onnx_type_info(t->type)->bits >= 8 && (uintptr_t)t->data % item == 0;
}

enum nb_status nb_net_tensor(struct nb_importer *im, const struct nb_onnx_tensor *t,
                             uint32_t *value, struct nb_error *err)
{
    const char *name = t->name != NULL && t->name[0] != '\0' ? t->name : NULL;
    enum nb_value_type type;
    uint64_t dims[NB_VALUE_DIMS];
    *value = 0;
    if (!nb_net_type(t->type, &type))
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tensor '%s' is of type %s", name ? name : "",
                nb_onnx_type_info(t->type)->name);
    if (t->rank > NB_VALUE_DIMS)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tensor '%s' has %zu dimensions; up to %d are possible",
                name ? name : "", t->rank, NB_VALUE_DIMS);
    if (t->data == NULL && t->n > 0)
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' has no data", name ? name : "");
    for (size_t i = 0; i < t->rank; i++)
        dims[i] = (uint64_t)t->dims[i];
    const size_t item = nb_value_item_bytes(type);
    const void *data = t->data;
    if (!is_view(t, item) || t->n == 0) {
        void *copy = nb_arena_alloc(&im->g->arena, (size_t)NB_MAX(t->n, (uint64_t)1), item);
        if (copy == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory for tensor '%s'", name ? name : "");
        nb_net_decode(copy, t);
        data = copy;
    }
    *value = nb_graph_const(im->g, name, type, dims, (uint32_t)t->rank, data);
    return nb_graph_check(im->g, err);
}
