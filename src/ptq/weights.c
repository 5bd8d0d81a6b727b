/* ptq/weights.c: initializers become integers and a DequantizeLinear.
 *
 * Weights: int8, symmetric, -127 .. 127, a scale for each output channel: max|w| / 127. Biases: int32 on the grid of
 * the product, scale of the input times scale of the weight, so that an integer kernel adds them as they are.
 */
#include <math.h>
#include <string.h>

#include "ptq/ptq_internal.h"

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to quantize a net");
}

static enum nb_status put_list(struct nb_edit *e, const char *name, int32_t type, size_t n,
                               bool scalar, const void *data, struct nb_error *err)
{
    int64_t *dims = nb_arena_alloc(&e->arena, 1, sizeof *dims);
    if (dims == NULL)
        return no_memory(err);
    dims[0] = (int64_t)n;
    return nb_edit_put(e, name, type, dims, scalar ? 0 : 1, data, err);
}

const char *nb_ptq_scalar(struct nb_edit *e, const char *name, int32_t type, double value,
                          struct nb_error *err)
{
    union {
        float f;
        uint8_t u8;
        int8_t i8;
        int32_t i32;
    } *data = nb_arena_alloc(&e->arena, 1, sizeof *data);
    if (data == NULL || name == NULL) {
        (void)no_memory(err);
        return NULL;
    }
    if (type == NB_ONNX_FLOAT32)
        data->f = (float)value;
    else if (type == NB_ONNX_UINT8)
        data->u8 = (uint8_t)value;
    else if (type == NB_ONNX_INT8)
        data->i8 = (int8_t)value;
    else
        data->i32 = (int32_t)value;
    return put_list(e, name, type, 1, true, data, err) == NB_OK ? name : NULL;
}

enum nb_status nb_ptq_node(struct nb_edit *e, bool dequantize, const char *x, const char *scale,
                           const char *zero, const char *y, int64_t axis, struct nb_error *err)
{
    const char **inputs = nb_arena_alloc(&e->arena, 3, sizeof *inputs);
    const char **outputs = nb_arena_alloc(&e->arena, 1, sizeof *outputs);
    struct nb_onnx_attr *attr = nb_arena_alloc(&e->arena, 1, sizeof *attr);
    const char *name = nb_edit_name(e, y, dequantize ? "_dequantize" : "_quantize");
    if (!inputs || !outputs || !attr || !name || !x || !scale || !zero || !y)
        return no_memory(err);
    inputs[0] = x;
    inputs[1] = scale;
    inputs[2] = zero;
    outputs[0] = y;
    *attr = (struct nb_onnx_attr){.name = "axis", .type = NB_ONNX_ATTR_INT, .i = axis};
    return nb_edit_add_node(
        e,
        &(struct nb_onnx_node){.name = name,
                               .op_type = dequantize ? "DequantizeLinear" : "QuantizeLinear",
                               .domain = "",
                               .inputs = inputs,
                               .outputs = outputs,
                               .n_inputs = 3,
                               .n_outputs = 1,
                               .attrs = attr,
                               .n_attrs = axis >= 0},
        err);
}

/* ---- weights ---- */

/* How an initializer is cut: element [b][c][k] of (before, channels, after). */
struct cut {
    uint64_t before, channels, after;
};

static struct cut cut_of(const struct nb_onnx_tensor *t, int64_t axis)
{
    struct cut c = {1, 1, 1};
    for (size_t i = 0; i < t->rank; i++) {
        const uint64_t n = (uint64_t)t->dims[i];
        if ((int64_t)i < axis)
            c.before *= n;
        else if ((int64_t)i == axis)
            c.channels = n;
        else
            c.after *= n;
    }
    if (axis < 0)
        c.after = t->n;
    return c;
}

/* t's bytes may lie anywhere. */
static float element(const struct nb_onnx_tensor *t, uint64_t i)
{
    float x;
    memcpy(&x, t->data + i * sizeof x, sizeof x);
    return x;
}

static void find_scales(float *scales, const struct nb_onnx_tensor *t, const struct cut *c)
{
    for (uint64_t j = 0; j < c->channels; j++)
        scales[j] = 0.0F;
    for (uint64_t b = 0, i = 0; b < c->before; b++)
        for (uint64_t j = 0; j < c->channels; j++)
            for (uint64_t k = 0; k < c->after; k++, i++)
                scales[j] = fmaxf(scales[j], fabsf(element(t, i)));
    for (uint64_t j = 0; j < c->channels; j++) {
        const double step = (double)scales[j] / 127.0;
        scales[j] = step > 1e-30 ? (float)step : 1.0F; /* all zeros */
    }
}

static void round_all(int8_t *q, const struct nb_onnx_tensor *t, const struct cut *c,
                      const float *scales)
{
    for (uint64_t b = 0, i = 0; b < c->before; b++)
        for (uint64_t j = 0; j < c->channels; j++)
            for (uint64_t k = 0; k < c->after; k++, i++) {
                const double x = nearbyint((double)element(t, i) / (double)scales[j]);
                q[i] = (int8_t)NB_MIN(NB_MAX(x, -127.0), 127.0);
            }
}

/* Float weights with both nodes behind them (TensorRT), or integers with one. */
static enum nb_status add_weight_nodes(struct nb_edit *e, const struct nb_onnx_tensor *t,
                                       const char *scale, const char *zero, const char *out,
                                       int64_t axis, const int8_t *q, struct nb_error *err)
{
    const char *stored = nb_edit_name(e, t->name, "_q");
    if (stored == NULL)
        return no_memory(err);
    if (q == NULL)
        NB_TRY(nb_ptq_node(e, false, t->name, scale, zero, stored, axis, err));
    else
        NB_TRY(nb_edit_put(e, stored, NB_ONNX_INT8, t->dims, t->rank, q, err));
    return nb_ptq_node(e, true, stored, scale, zero, out, axis, err);
}

enum nb_status nb_ptq_weight(struct nb_edit *e, size_t node, size_t i, int64_t axis,
                             const struct nb_ptq_options *o, const float **scales, size_t *n,
                             struct nb_error *err)
{
    const struct nb_onnx_tensor t = *nb_edit_tensor(e, e->nodes[node].inputs[i]);
    const struct cut c = cut_of(&t, axis);
    const bool pair = o->profile == NB_PTQ_TENSORRT;
    float *s = nb_arena_alloc(&e->arena, (size_t)c.channels, sizeof *s);
    int8_t *q = pair ? NULL : nb_arena_alloc(&e->arena, (size_t)t.n + 1, 1);
    int8_t *zeros = nb_arena_alloc(&e->arena, (size_t)c.channels, 1);
    const char *scale = nb_edit_name(e, t.name, "_scale");
    const char *zero = nb_edit_name(e, t.name, "_zero");
    const char *out = nb_edit_name(e, t.name, "_dq");
    if (s == NULL || (q == NULL && !pair) || zeros == NULL || out == NULL)
        return no_memory(err);
    find_scales(s, &t, &c);
    if (!pair)
        round_all(q, &t, &c, s);
    NB_TRY(put_list(e, scale, NB_ONNX_FLOAT32, (size_t)c.channels, axis < 0, s, err));
    NB_TRY(put_list(e, zero, NB_ONNX_INT8, (size_t)c.channels, axis < 0, zeros, err));
    NB_TRY(add_weight_nodes(e, &t, scale, zero, out, axis, q, err));
    *scales = s;
    *n = (size_t)c.channels;
    return nb_edit_set_input(e, node, i, out, err);
}

enum nb_status nb_ptq_bias(struct nb_edit *e, size_t node, size_t i, float x_scale,
                           const float *scales, size_t n, struct nb_error *err)
{
    const struct nb_onnx_tensor t = *nb_edit_tensor(e, e->nodes[node].inputs[i]);
    const size_t count = (size_t)t.n;
    int32_t *q = nb_arena_alloc(&e->arena, count + 1, sizeof *q);
    float *s = nb_arena_alloc(&e->arena, n, sizeof *s);
    int32_t *zeros = nb_arena_alloc(&e->arena, n, sizeof *zeros);
    const char *stored = nb_edit_name(e, t.name, "_q"), *scale = nb_edit_name(e, t.name, "_scale");
    const char *zero = nb_edit_name(e, t.name, "_zero"), *out = nb_edit_name(e, t.name, "_dq");
    if (q == NULL || s == NULL || zeros == NULL || out == NULL)
        return no_memory(err);
    for (size_t k = 0; k < n; k++)
        s[k] = x_scale * scales[k];
    for (size_t k = 0; k < count; k++) {
        const double x = nearbyint((double)element(&t, k) / (double)s[n == 1 ? 0 : k]);
        q[k] = (int32_t)NB_MIN(NB_MAX(x, -2147483648.0), 2147483647.0);
    }
    NB_TRY(nb_edit_put(e, stored, NB_ONNX_INT32, t.dims, t.rank, q, err));
    NB_TRY(put_list(e, scale, NB_ONNX_FLOAT32, n, n == 1, s, err));
    NB_TRY(put_list(e, zero, NB_ONNX_INT32, n, n == 1, zeros, err));
    NB_TRY(nb_ptq_node(e, true, stored, scale, zero, out, n == 1 ? -1 : 0, err));
    return nb_edit_set_input(e, node, i, out, err);
}

enum nb_status nb_ptq_operand(struct nb_edit *e, size_t node, size_t i, struct nb_error *err)
{
    const struct nb_onnx_tensor t = *nb_edit_tensor(e, e->nodes[node].inputs[i]);
    struct nb_ptq_bounds b = {0.0, 0.0};
    uint8_t *q = nb_arena_alloc(&e->arena, (size_t)t.n + 1, 1);
    const char *stored = nb_edit_name(e, t.name, "_q"), *out = nb_edit_name(e, t.name, "_dq");
    if (q == NULL || stored == NULL || out == NULL)
        return no_memory(err);
    for (uint64_t k = 0; k < t.n; k++) {
        b.low = NB_MIN(b.low, (double)element(&t, k));
        b.high = NB_MAX(b.high, (double)element(&t, k));
    }
    const struct nb_ptq_grid g = nb_ptq_unsigned(b);
    for (uint64_t k = 0; k < t.n; k++) {
        const double x = nearbyint((double)element(&t, k) / (double)g.scale) + g.zero;
        q[k] = (uint8_t)NB_MIN(NB_MAX(x, 0.0), 255.0);
    }
    NB_TRY(nb_edit_put(e, stored, NB_ONNX_UINT8, t.dims, t.rank, q, err));
    const char *scale =
        nb_ptq_scalar(e, nb_edit_name(e, t.name, "_scale"), NB_ONNX_FLOAT32, (double)g.scale, err);
    const char *zero =
        nb_ptq_scalar(e, nb_edit_name(e, t.name, "_zero"), NB_ONNX_UINT8, g.zero, err);
    if (scale == NULL || zero == NULL)
        return no_memory(err);
    NB_TRY(nb_ptq_node(e, true, stored, scale, zero, out, -1, err));
    return nb_edit_set_input(e, node, i, out, err);
}
