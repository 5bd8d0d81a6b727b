/* op/quantize_linear.c: numbers become integers of 8, 16 or fewer bits (ONNX QuantizeLinear, and the last step of
 * QLinearConv and QLinearMatMul).
 *
 * x (F32 or I32), scale (F32), zero (type; absent: 0; as many as scales) -> y: round(x / scale) + zero, cut to low ... high;
 * halves round to even; NaN becomes low. attrs type: U8, I8, U16 or I16; low, high: within it; axis, block:
 * op/scales.h; multiply: 1: x * scale instead of x / scale. In single precision throughout.
 */
#include <math.h>

#include "op/scales.h"

enum { TYPE, LOW, HIGH, AXIS, BLOCK, MULTIPLY };

static bool range_fits(enum nb_value_type type, int64_t low, int64_t high)
{
    switch (type) {
    case NB_VALUE_U8:
        return low >= 0 && low <= high && high <= 255;
    case NB_VALUE_I8:
        return low >= -128 && low <= high && high <= 127;
    case NB_VALUE_U16:
        return low >= 0 && low <= high && high <= 65535;
    case NB_VALUE_I16:
        return low >= -32768 && low <= high && high <= 32767;
    default:
        return false;
    }
}

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]), *scale = op_value(g, n->in[1]);
    const struct nb_value *zero = n->in[2] ? op_value(g, n->in[2]) : NULL;
    const enum nb_value_type type = (enum nb_value_type)n->attr[TYPE].i;
    struct op_scales s;
    if ((x->type != NB_VALUE_F32 && x->type != NB_VALUE_I32) || scale->type != NB_VALUE_F32)
        return nb_graph_refuse(g, n, "float32 or int32, with scales of float32, expected");
    if (!range_fits(type, n->attr[LOW].i, n->attr[HIGH].i) || (zero && zero->type != type))
        return nb_graph_refuse(g, n, "type %d, from %lld to %lld, or a zero point of another",
                               (int)type, (long long)n->attr[LOW].i, (long long)n->attr[HIGH].i);
    if (!op_scales_of(&s, x, scale, n->attr[AXIS].i, n->attr[BLOCK].i) ||
        (zero && nb_value_count(zero) != nb_value_count(scale)))
        return nb_graph_refuse(g, n, "scales of other dimensions");
    op_copy_dims(out, x, type);
    return true;
}

struct work {
    struct op_scales s;
    const struct nb_kernels *kernels; /* NULL: not of this kind */
    const struct nb_slot *x, *zero, *y;
    const float *scale;
    float low, high;
    bool multiply;
};

static float zero_at(const struct nb_slot *zero, size_t i)
{
    if (!zero)
        return 0.0F;
    switch (zero->value->type) {
    case NB_VALUE_U8:
        return ((const uint8_t *)zero->data)[i];
    case NB_VALUE_I8:
        return ((const int8_t *)zero->data)[i];
    case NB_VALUE_U16:
        return ((const uint16_t *)zero->data)[i];
    default:
        return ((const int16_t *)zero->data)[i];
    }
}

static void put(const struct nb_slot *y, size_t i, int32_t v)
{
    switch (y->value->type) {
    case NB_VALUE_U8:
        ((uint8_t *)y->data)[i] = (uint8_t)v;
        return;
    case NB_VALUE_I8:
        ((int8_t *)y->data)[i] = (int8_t)v;
        return;
    case NB_VALUE_U16:
        ((uint16_t *)y->data)[i] = (uint16_t)v;
        return;
    default:
        ((int16_t *)y->data)[i] = (int16_t)v;
        return;
    }
}

/* Bounds and zero points are integers: cut first, then round. */
static void quantize(const struct work *w, size_t i, size_t scale)
{
    const float x = w->x->value->type == NB_VALUE_F32 ? ((const float *)w->x->data)[i]
                                                      : (float)((const int32_t *)w->x->data)[i];
    const float s = w->scale[scale], zero = zero_at(w->zero, scale);
    const float v = w->multiply ? x * s : x / s;
    const float cut = NB_MIN(NB_MAX(v, w->low - zero), w->high - zero);
    put(w->y, i, (int32_t)rintf(cut) + (int32_t)zero);
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    (void)worker;
    if (w->kernels) {
        w->kernels->quant_u8_f32((uint8_t *)w->y->data + begin, (const float *)w->x->data + begin,
                                 end - begin, w->scale[0], (int32_t)zero_at(w->zero, 0),
                                 (int32_t)w->low, (int32_t)w->high);
        return;
    }
    if (w->s.single) {
        for (size_t i = begin; i < end; i++)
            quantize(w, i, 0);
        return;
    }
    for (size_t row = begin; row < end; row++) {
        size_t step;
        const size_t at = op_scale_at(&w->s, row, &step);
        for (size_t k = 0; k < w->s.inner; k++)
            quantize(w, row * w->s.inner + k, at + k * step);
    }
}

static void run(const struct nb_op_call *c)
{
    const struct nb_attr *attr = c->node->attr;
    struct work w = {.x = c->in[0],
                     .zero = c->in[2],
                     .y = c->out[0],
                     .scale = c->in[1]->data,
                     .low = (float)attr[LOW].i,
                     .high = (float)attr[HIGH].i,
                     .multiply = attr[MULTIPLY].i != 0};
    const enum nb_value_type type = w.y->value->type;
    if (!op_scales_of(&w.s, w.x->value, c->in[1]->value, attr[AXIS].i, attr[BLOCK].i))
        return;
    if (w.s.single && !w.multiply && w.x->value->type == NB_VALUE_F32 &&
        (type == NB_VALUE_U8 || type == NB_VALUE_I8))
        w.kernels = c->kernels;
    op_scales_for(&w.s, c->pool, rows, &w);
}

const struct nb_op nb_op_quantize_linear = {
    .name = "quantize_linear",
    .n_in_min = 2,
    .n_in = 3,
    .attrs = {[TYPE] = "type",
              [LOW] = "low",
              [HIGH] = "high",
              [AXIS] = "axis",
              [BLOCK] = "block",
              [MULTIPLY] = "multiply"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
