/* ptq/weights.c: initializers become integers and a DequantizeLinear.
 *
 * Weights: as round.c has rounded them. Biases: int32 on the grid of the product, scale of the input times scale of the
 * weight, so that an integer kernel adds them as they are.
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
    const float real = (float)value;
    int32_t q = type != NB_ONNX_FLOAT32 ? (int32_t)value : 0;
    if (type == NB_ONNX_FLOAT32)
        memcpy(&q, &real, sizeof q);
    const void *data = nb_ptq_store(e, type, &q, 1);
    if (data == NULL || name == NULL) {
        (void)no_memory(err);
        return NULL;
    }
    return put_list(e, name, type, 1, true, data, err) == NB_OK ? name : NULL;
}

/* ---- weights ---- */

/* t's bytes may lie anywhere. */
static float element(const struct nb_onnx_tensor *t, uint64_t i)
{
    float x;
    memcpy(&x, t->data + i * sizeof x, sizeof x);
    return x;
}

/* Float weights with both nodes behind them (TensorRT), or integers with one, q as they are stored. */
static enum nb_status add_weight_nodes(struct nb_edit *e, const struct nb_onnx_tensor *t,
                                       const char *scale, const char *zero, const char *out,
                                       int64_t axis, int32_t type, const void *q,
                                       struct nb_error *err)
{
    const char *stored = nb_edit_name(e, t->name, "_q");
    if (stored == NULL)
        return no_memory(err);
    if (q == NULL)
        NB_TRY(nb_ptq_node(e, false, t->name, scale, zero, stored, axis, err));
    else
        NB_TRY(nb_edit_put(e, stored, type, t->dims, t->rank, q, err));
    return nb_ptq_node(e, true, stored, scale, zero, out, axis, err);
}

/* The float values of integers, which rounding to nearest brings back to them. */
static enum nb_status put_values(struct nb_edit *e, const struct nb_onnx_tensor *t,
                                 const char *name, const struct nb_ptq_rounded *r,
                                 struct nb_error *err)
{
    float *w = nb_arena_alloc(&e->arena, (size_t)t->n, sizeof *w);
    uint64_t after = t->n, channels = 1;
    if (w == NULL)
        return no_memory(err);
    if (r->axis >= 0) {
        channels = (uint64_t)t->dims[r->axis];
        for (size_t i = 0; i <= (size_t)r->axis; i++)
            after /= (uint64_t)t->dims[i];
    }
    for (uint64_t i = 0; i < t->n; i++)
        w[i] = (float)r->q[i] * r->scales[i / after % channels];
    return nb_edit_put(e, name, NB_ONNX_FLOAT32, t->dims, t->rank, w, err);
}

/* Integers of a weight as a type stores them; NULL: no memory. */
static const void *store_weight(struct nb_edit *e, const struct nb_ptq_rounded *r, size_t n,
                                int32_t type)
{
    if (type == NB_ONNX_INT8)
        return r->q;
    int32_t *q = nb_arena_alloc(&e->arena, n + 1, sizeof *q);
    for (size_t i = 0; i < n && q != NULL; i++)
        q[i] = r->q[i];
    return q != NULL ? nb_ptq_store(e, type, q, n) : NULL;
}

enum nb_status nb_ptq_weight(struct nb_edit *e, size_t node, size_t i,
                             const struct nb_ptq_rounded *r, const struct nb_ptq_options *o,
                             struct nb_error *err)
{
    struct nb_onnx_tensor t = *nb_edit_tensor(e, e->nodes[node].inputs[i]);
    const bool pair = o->profile == NB_PTQ_TENSORRT, one = r->axis < 0;
    const int32_t type = nb_ptq_weight_codes(o).type;
    const int8_t *zeros = nb_arena_alloc(&e->arena, r->n_scales, 1); /* of half as many bytes too */
    const void *q = pair ? NULL : store_weight(e, r, (size_t)t.n, type);
    const char *scale = nb_edit_name(e, t.name, "_scale");
    const char *zero = nb_edit_name(e, t.name, "_zero");
    const char *out = nb_edit_name(e, t.name, "_dq");
    if (zeros == NULL || out == NULL || (q == NULL && !pair))
        return no_memory(err);
    if (pair && o->weights != NB_PTQ_RTN) {
        const char *values = nb_edit_name(e, t.name, "_rounded");
        NB_TRY(put_values(e, &t, values, r, err));
        t.name = values;
    }
    NB_TRY(put_list(e, scale, NB_ONNX_FLOAT32, r->n_scales, one, r->scales, err));
    NB_TRY(put_list(e, zero, type, r->n_scales, one, zeros, err));
    NB_TRY(add_weight_nodes(e, &t, scale, zero, out, r->axis, type, q, err));
    return nb_edit_set_input(e, node, i, out, err);
}

/* ---- biases ---- */

static enum nb_status add_input(struct nb_edit *e, size_t node, size_t i, const char *name,
                                struct nb_error *err)
{
    struct nb_onnx_node *n = &e->nodes[node];
    if (i < n->n_inputs)
        return nb_edit_set_input(e, node, i, name, err);
    const char **inputs = nb_arena_alloc(&e->arena, i + 1, sizeof *inputs);
    if (inputs == NULL)
        return no_memory(err);
    for (size_t k = 0; k < i; k++)
        inputs[k] = k < n->n_inputs ? n->inputs[k] : "";
    inputs[i] = name;
    n->inputs = inputs;
    n->n_inputs = i + 1;
    return NB_OK;
}

enum nb_status nb_ptq_add_bias(struct nb_edit *e, size_t node, size_t i, const double *shift,
                               size_t n, struct nb_error *err)
{
    const struct nb_onnx_node *at = &e->nodes[node];
    const bool has = at->n_inputs > i && at->inputs[i][0] != '\0';
    const struct nb_onnx_tensor *old = has ? nb_edit_tensor(e, at->inputs[i]) : NULL;
    const char *name =
        nb_edit_name(e, has ? at->inputs[i] : at->inputs[1], has ? "_corrected" : "_bias");
    float *b = nb_arena_alloc(&e->arena, n, sizeof *b);
    if (b == NULL || name == NULL)
        return no_memory(err);
    for (size_t k = 0; k < n; k++)
        b[k] = (float)((old != NULL ? (double)element(old, k) : 0.0) + shift[k]);
    NB_TRY(put_list(e, name, NB_ONNX_FLOAT32, n, false, b, err));
    return add_input(e, node, i, name, err);
}

/* On the grid x_scale * scale a bias must fit into 32 bits, with room for the sum. Where a channel's weights are next to
 * nothing (a norm has switched it off) it would not: they get a coarser scale, which rounds them away. */
void nb_ptq_fit_bias(const struct nb_edit *e, size_t node, float x_scale,
                     const struct nb_ptq_rounded *r)
{
    const struct nb_onnx_node *n = &e->nodes[node];
    const bool has = n->n_inputs > 2 && n->inputs[2][0] != '\0';
    const struct nb_onnx_tensor *w = nb_edit_tensor(e, n->inputs[1]);
    const struct nb_onnx_tensor *b = has ? nb_edit_tensor(e, n->inputs[2]) : NULL;
    uint64_t after = w->n;
    for (size_t i = 0; r->axis >= 0 && i <= (size_t)r->axis; i++)
        after /= (uint64_t)w->dims[i];
    for (size_t k = 0; k < r->n_channels; k++) {
        const size_t s = r->n_scales == 1 ? 0 : k;
        const double bias =
            (b != NULL ? (double)element(b, k) : 0.0) + (r->shift != NULL ? r->shift[k] : 0.0);
        const double least = fabs(bias) / ((double)x_scale * 1073741824.0); /* 2^30 */
        const double old = (double)r->scales[s];
        if (!(least > old))
            continue;
        r->scales[s] = (float)least;
        for (uint64_t i = 0; i < w->n; i++)
            if (r->n_scales == 1 || i / after % r->n_scales == s)
                r->q[i] = (int8_t)nearbyint((double)r->q[i] * old / (double)r->scales[s]);
    }
}

enum nb_status nb_ptq_bias(struct nb_edit *e, size_t node, size_t i, float x_scale,
                           const struct nb_ptq_rounded *r, struct nb_error *err)
{
    const struct nb_onnx_tensor t = *nb_edit_tensor(e, e->nodes[node].inputs[i]);
    const size_t count = (size_t)t.n, n = r->n_scales;
    int32_t *q = nb_arena_alloc(&e->arena, count + 1, sizeof *q);
    float *s = nb_arena_alloc(&e->arena, n, sizeof *s);
    int32_t *zeros = nb_arena_alloc(&e->arena, n, sizeof *zeros);
    const char *stored = nb_edit_name(e, t.name, "_q"), *scale = nb_edit_name(e, t.name, "_scale");
    const char *zero = nb_edit_name(e, t.name, "_zero"), *out = nb_edit_name(e, t.name, "_dq");
    if (q == NULL || s == NULL || zeros == NULL || out == NULL)
        return no_memory(err);
    for (size_t k = 0; k < n; k++)
        s[k] = x_scale * r->scales[k];
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

enum nb_status nb_ptq_operand(struct nb_edit *e, size_t node, size_t i,
                              const struct nb_ptq_options *o, struct nb_error *err)
{
    const struct nb_onnx_tensor t = *nb_edit_tensor(e, e->nodes[node].inputs[i]);
    const struct nb_ptq_codes c = nb_ptq_activation_codes(o);
    struct nb_ptq_bounds b = {0.0, 0.0};
    int32_t *q = nb_arena_alloc(&e->arena, (size_t)t.n + 1, sizeof *q);
    const char *stored = nb_edit_name(e, t.name, "_q"), *out = nb_edit_name(e, t.name, "_dq");
    if (q == NULL || stored == NULL || out == NULL)
        return no_memory(err);
    for (uint64_t k = 0; k < t.n; k++) {
        b.low = NB_MIN(b.low, (double)element(&t, k));
        b.high = NB_MAX(b.high, (double)element(&t, k));
    }
    const struct nb_ptq_grid g = nb_ptq_fit(b, c);
    for (uint64_t k = 0; k < t.n; k++) {
        const double x = nearbyint((double)element(&t, k) / (double)g.scale) + g.zero;
        q[k] = (int32_t)NB_MIN(NB_MAX(x, (double)g.low), (double)g.high);
    }
    const void *data = nb_ptq_store(e, c.type, q, (size_t)t.n);
    if (data == NULL)
        return no_memory(err);
    NB_TRY(nb_edit_put(e, stored, c.type, t.dims, t.rank, data, err));
    const char *scale =
        nb_ptq_scalar(e, nb_edit_name(e, t.name, "_scale"), NB_ONNX_FLOAT32, (double)g.scale, err);
    const char *zero = nb_ptq_scalar(e, nb_edit_name(e, t.name, "_zero"), c.type, g.zero, err);
    if (scale == NULL || zero == NULL)
        return no_memory(err);
    NB_TRY(nb_ptq_node(e, true, stored, scale, zero, out, -1, err));
    return nb_edit_set_input(e, node, i, out, err);
}
