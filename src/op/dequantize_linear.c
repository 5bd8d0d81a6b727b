/* op/dequantize_linear.c: integers become numbers (ONNX DequantizeLinear).
 *
 * x (U8, I8, U16, I16, I32), scale (F32), zero (x's type; absent: 0; as many as scales) -> y (F32): (x - zero) * scale,
 * the difference exact and then rounded to single precision. attrs axis, block: op/scales.h.
 */
#include "op/scales.h"

enum { AXIS, BLOCK };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]), *scale = op_value(g, n->in[1]);
    const struct nb_value *zero = n->in[2] ? op_value(g, n->in[2]) : NULL;
    const bool integer = x->type == NB_VALUE_U8 || x->type == NB_VALUE_I8 ||
                         x->type == NB_VALUE_U16 || x->type == NB_VALUE_I16 ||
                         x->type == NB_VALUE_I32;
    struct op_scales s;
    if (!integer || scale->type != NB_VALUE_F32 || (zero && zero->type != x->type))
        return nb_graph_refuse(g, n, "integers, with scales of float32, expected");
    if (!op_scales_of(&s, x, scale, n->attr[AXIS].i, n->attr[BLOCK].i) ||
        (zero && nb_value_count(zero) != nb_value_count(scale)))
        return nb_graph_refuse(g, n, "scales of other dimensions");
    op_copy_dims(out, x, NB_VALUE_F32);
    return true;
}

struct work {
    struct op_scales s;
    const struct nb_kernels *kernels; /* NULL: not of this kind */
    const struct nb_slot *x, *zero;
    const float *scale;
    float *y;
};

static int64_t integer_at(const struct nb_slot *s, size_t i)
{
    switch (s->value->type) {
    case NB_VALUE_U8:
        return ((const uint8_t *)s->data)[i];
    case NB_VALUE_I8:
        return ((const int8_t *)s->data)[i];
    case NB_VALUE_U16:
        return ((const uint16_t *)s->data)[i];
    case NB_VALUE_I16:
        return ((const int16_t *)s->data)[i];
    default:
        return ((const int32_t *)s->data)[i];
    }
}

static void dequantize(const struct work *w, size_t i, size_t scale)
{
    const int64_t zero = w->zero ? integer_at(w->zero, scale) : 0;
    w->y[i] = (float)(integer_at(w->x, i) - zero) * w->scale[scale];
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    (void)worker;
    if (w->kernels) {
        w->kernels->dequant_f32_u8(w->y + begin, (const uint8_t *)w->x->data + begin, end - begin,
                                   w->scale[0], w->zero ? (int32_t)integer_at(w->zero, 0) : 0);
        return;
    }
    if (w->s.single) {
        for (size_t i = begin; i < end; i++)
            dequantize(w, i, 0);
        return;
    }
    for (size_t row = begin; row < end; row++) {
        size_t step;
        const size_t at = op_scale_at(&w->s, row, &step);
        for (size_t k = 0; k < w->s.inner; k++)
            dequantize(w, row * w->s.inner + k, at + k * step);
    }
}

static void run(const struct nb_op_call *c)
{
    const struct nb_attr *attr = c->node->attr;
    struct work w = {
        .x = c->in[0], .zero = c->in[2], .scale = c->in[1]->data, .y = c->out[0]->data};
    if (!op_scales_of(&w.s, w.x->value, c->in[1]->value, attr[AXIS].i, attr[BLOCK].i))
        return;
    w.kernels = w.s.single && w.x->value->type == NB_VALUE_U8 ? c->kernels : NULL;
    op_scales_for(&w.s, c->pool, rows, &w);
}

const struct nb_op nb_op_dequantize_linear = {
    .name = "dequantize_linear",
    .n_in_min = 2,
    .n_in = 3,
    .attrs = {[AXIS] = "axis", [BLOCK] = "block"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
