/* op/dynamic_quantize.c: the scale and zero point that the elements of an array ask for (ONNX DynamicQuantizeLinear,
 * whose last step is op/quantize_linear).
 *
 * x (F32) -> scale (F32, one), zero (U8, one): the range from the least to the greatest element, and 0, in 255 steps; a
 * scale of 1 if all are 0. NaN counts as 0.
 */
#include <math.h>

#include "op/op_internal.h"

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    if (op_value(g, n->in[0])->type != NB_VALUE_F32)
        return nb_graph_refuse(g, n, "float32 expected");
    out[0].type = NB_VALUE_F32;
    out[1].type = NB_VALUE_U8;
    out[0].rank = out[1].rank = 0;
    return true;
}

static size_t chunks(const struct nb_op_call *c)
{
    return (size_t)(nb_value_count(c->in[0]->value) / OP_CHUNK_ELEMENTS) + 1;
}

static bool shared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    *bytes = 0;
    return op_add_bytes(bytes, chunks(c), 2 * sizeof(float));
}

struct work {
    const float *x;
    float *range; /* (chunks, 2) */
};

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    float low = 0.0F, high = 0.0F;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        low = w->x[i] < low ? w->x[i] : low;
        high = w->x[i] > high ? w->x[i] : high;
    }
    w->range[2 * (begin / OP_CHUNK_ELEMENTS)] = low;
    w->range[2 * (begin / OP_CHUNK_ELEMENTS) + 1] = high;
}

static void run(const struct nb_op_call *c)
{
    const size_t n = (size_t)nb_value_count(c->in[0]->value);
    struct work w = {c->in[0]->data, c->shared};
    float low = 0.0F, high = 0.0F;
    nb_pool_for(c->pool, n, OP_CHUNK_ELEMENTS, part, &w);
    for (size_t i = 0; i * OP_CHUNK_ELEMENTS < n; i++) {
        low = NB_MIN(low, w.range[2 * i]);
        high = NB_MAX(high, w.range[2 * i + 1]);
    }
    const float scale = high > low ? (high - low) / 255.0F : 1.0F;
    const float zero = rintf(NB_MIN(NB_MAX(0.0F - low / scale, 0.0F), 255.0F));
    *(float *)c->out[0]->data = scale;
    *(uint8_t *)c->out[1]->data = (uint8_t)zero;
}

const struct nb_op nb_op_dynamic_quantize = {
    .name = "dynamic_quantize",
    .n_in_min = 1,
    .n_in = 1,
    .n_out = 2,
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .shared_bytes = shared_bytes,
    .run = run,
};
