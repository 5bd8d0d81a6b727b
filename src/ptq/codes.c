/* ptq/codes.c: the integers that stand for numbers: their types, the grid of a range, and how they are stored.
 *
 * ONNX, QuantizeLinear: uint8 and int8 from operator set 10 on, 16 and 4 bits from 21 on. Below 21 the nodes of these are
 * those of ONNX Runtime's domain com.microsoft (docs/ContribOperators.md), which takes them beside any operator set.
 * Two codes of 4 bits share a byte, the first in its low half. Not here: 2 bits, floating point in 8 bits.
 */
#include <math.h>
#include <string.h>

#include "ptq/ptq_internal.h"

#define OPSET_OF_ALL 21
#define IR_OF_4_BITS 10

struct nb_ptq_codes nb_ptq_activation_codes(const struct nb_ptq_options *o)
{
    if (o->activations == NB_PTQ_UINT16)
        return (struct nb_ptq_codes){NB_ONNX_UINT16, 0, 65535, false};
    if (o->activations == NB_PTQ_INT16)
        return (struct nb_ptq_codes){NB_ONNX_INT16, -32768, 32767, true};
    if (o->profile == NB_PTQ_TENSORRT)
        return (struct nb_ptq_codes){NB_ONNX_INT8, -128, 127, true};
    return (struct nb_ptq_codes){NB_ONNX_UINT8, 0, 255, false};
}

struct nb_ptq_codes nb_ptq_weight_codes(const struct nb_ptq_options *o)
{
    return o->weight_bits == 4 ? (struct nb_ptq_codes){NB_ONNX_INT4, -8, 7, true}
                               : (struct nb_ptq_codes){NB_ONNX_INT8, -128, 127, true};
}

/* A range of nothing, or of less than floats can step by, is 1 wide. */
struct nb_ptq_grid nb_ptq_fit(struct nb_ptq_bounds b, struct nb_ptq_codes c)
{
    const double width = c.symmetric ? NB_MAX(-b.low, b.high) : b.high - b.low;
    const double steps = c.symmetric ? (double)c.high : (double)(c.high - c.low);
    const float scale = (float)(width > 1e-30 ? width / steps : 1.0);
    const double zero = c.symmetric ? 0.0 : nearbyint(-b.low / (double)scale);
    return (struct nb_ptq_grid){scale, (int32_t)NB_MIN(NB_MAX(zero, (double)c.low), (double)c.high),
                                c.low, c.high};
}

const char *nb_ptq_activations_name(enum nb_ptq_activations a)
{
    static const char *const names[NB_N_PTQ_ACTIVATIONS] = {"int8", "uint16", "int16"};
    return names[a];
}

/* ---- as they are stored ---- */

void *nb_ptq_store(struct nb_edit *e, int32_t type, const int32_t *q, size_t n)
{
    const uint32_t bits = nb_onnx_type_info(type)->bits;
    uint8_t *to = nb_arena_alloc(&e->arena, n + 1, 4); /* zeros */
    for (size_t i = 0; i < n && to != NULL; i++)
        if (bits == 4)
            to[i / 2] |= (uint8_t)(((unsigned)q[i] & 15U) << (i % 2 * 4));
        else
            memcpy(to + i * (bits / 8), &q[i], bits / 8); /* low bytes first, as files have them */
    return to;
}

double nb_ptq_number(const struct nb_onnx_tensor *t, uint64_t i)
{
    int32_t whole;
    int16_t two;
    float f;
    switch (t->type) {
    case NB_ONNX_INT4:
        whole = (t->data[i / 2] >> (i % 2 * 4)) & 15;
        return (double)(whole < 8 ? whole : whole - 16);
    case NB_ONNX_UINT8:
        return (double)t->data[i];
    case NB_ONNX_INT8:
        return (double)(int8_t)t->data[i];
    case NB_ONNX_INT16:
    case NB_ONNX_UINT16:
        memcpy(&two, t->data + 2 * i, sizeof two);
        return t->type == NB_ONNX_INT16 ? (double)two : (double)(uint16_t)two;
    case NB_ONNX_FLOAT32:
        memcpy(&f, t->data + 4 * i, sizeof f);
        return (double)f;
    default:
        memcpy(&whole, t->data + 4 * i, sizeof whole);
        return (double)whole;
    }
}

/* ---- nodes ---- */

/* The domain whose QuantizeLinear has codes of this type. */
static enum nb_status domain_of(struct nb_edit *e, int32_t type, const char **domain,
                                struct nb_error *err)
{
    const bool young = type == NB_ONNX_INT4 || type == NB_ONNX_INT16 || type == NB_ONNX_UINT16;
    if (type == NB_ONNX_INT4)
        e->model.ir_version = NB_MAX(e->model.ir_version, (int64_t)IR_OF_4_BITS);
    *domain = "";
    if (!young || nb_onnx_opset_version(&e->model, "") >= OPSET_OF_ALL)
        return NB_OK;
    *domain = "com.microsoft";
    return nb_edit_import_domain(e, *domain, 1, err);
}

enum nb_status nb_ptq_node(struct nb_edit *e, bool dequantize, const char *x, const char *scale,
                           const char *zero, const char *y, int64_t axis, struct nb_error *err)
{
    const struct nb_onnx_tensor *codes = zero != NULL ? nb_edit_tensor(e, zero) : NULL;
    const struct nb_onnx_attr attr = {.name = "axis", .type = NB_ONNX_ATTR_INT, .i = axis};
    struct nb_onnx_node n = {.op_type = dequantize ? "DequantizeLinear" : "QuantizeLinear",
                             .inputs = (const char *[]){x, scale, zero},
                             .n_inputs = 3,
                             .outputs = &y,
                             .n_outputs = 1,
                             .attrs = &attr,
                             .n_attrs = axis >= 0};
    NB_TRY(domain_of(e, codes != NULL ? codes->type : NB_ONNX_UINT8, &n.domain, err));
    return nb_edit_put_node(e, &n, dequantize ? "_dequantize" : "_quantize", err);
}
