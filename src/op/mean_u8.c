/* op/mean_u8.c: means of windows over a quantized array (QLinearAveragePool and its global kin).
 *
 * x (U8; N, C, spatial) -> y (U8; N, C, spatial); last: both have their channels last. attrs kernel, stride, dilation,
 * pads (all 0), last, zero_x, zero_y, scale: x's by y's, low, high: bounds of y.
 *
 *     y = zero_y + round to even(clip((sum of (x - zero_x)) * (scale / number of places)))
 */
#include "op/op.h"
#include "op/runs.h"

enum { LAST = NB_WINDOW_ATTRS, ZERO_X, ZERO_Y, LOW, HIGH, SCALE };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    struct nb_window w;
    if (!nb_window_read(g, n, x, n->attr[LAST].i != 0, &w) || !nb_window_slide(g, n, false, &w))
        return false;
    for (size_t i = 0; i < NB_WINDOW_DIMS; i++)
        if (w.begin[i] != 0 || w.end[i] != 0)
            return nb_graph_refuse(g, n, "a mean of bytes with padding");
    if (x->type != NB_VALUE_U8 || w.taps > INT32_MAX / 255)
        return nb_graph_refuse(g, n, "uint8, and windows of fewer elements, expected");
    if (!op_bytes(g, n, &n->attr[ZERO_X], HIGH - ZERO_X + 1))
        return false;
    out->type = NB_VALUE_U8;
    out->rank = x->rank;
    nb_window_dims(&w, w.c, out);
    return true;
}

static void plan_of(const struct nb_op_call *c, struct nb_window *w, struct nb_runs *r)
{
    nb_window_of(c, c->node->attr[LAST].i != 0, w);
    nb_runs_of(w, NB_RUNS_EACH_CHANNEL, 1, r);
}

static bool scratch_bytes(const struct nb_op_call *c, size_t *bytes)
{
    struct nb_window w;
    struct nb_runs r;
    plan_of(c, &w, &r);
    *bytes = 0;
    return op_add_bytes(bytes, (uint64_t)w.c, sizeof(int32_t)) &&
           op_add_bytes(bytes, (uint64_t)w.c, 1);
}

static bool shared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    struct nb_window w;
    struct nb_runs r;
    plan_of(c, &w, &r);
    *bytes = 0;
    return op_add_bytes(bytes, (uint64_t)r.n, sizeof(size_t)) &&
           op_add_bytes(bytes, nb_runs_image_bytes(&w, &r), 1) &&
           op_add_bytes(bytes, (uint64_t)w.c, sizeof(int32_t)) &&
           op_add_bytes(bytes, (uint64_t)w.c, sizeof(float));
}

struct work {
    const struct nb_op_call *call;
    struct nb_window w;
    struct nb_runs r;
    const void *image;
    const size_t *offset;
    const int32_t *bias;
    const float *scale;
};

static void outputs(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *k = ctx;
    const struct nb_attr *attr = k->call->node->attr;
    const size_t c = (size_t)k->w.c, pixels = (size_t)k->w.pixels_out;
    uint8_t *scratch = op_scratch(k->call, worker), *y = k->call->out[0]->data;
    int32_t *sum = op_take(&scratch, c, sizeof *sum);
    for (size_t p = begin; p < end; p++) {
        const void *at;
        nb_runs_point(&k->w, &k->r, k->image, (int64_t)p, 1, 0, &at);
        memset(sum, 0, c * sizeof *sum);
        for (int64_t t = 0; t < k->r.n; t++) {
            const uint8_t *x = (const uint8_t *)at + k->offset[t];
            for (size_t i = 0; i < c; i++)
                sum[i] += x[i];
        }
        const struct nb_requant q = {.y = k->w.last ? y + p * c : scratch,
                                     .acc = sum,
                                     .bias = k->bias,
                                     .scale = k->scale,
                                     .n_rows = 1,
                                     .n = c,
                                     .zero = (int32_t)attr[ZERO_Y].i,
                                     .low = (int32_t)attr[LOW].i,
                                     .high = (int32_t)attr[HIGH].i};
        k->call->kernels->requant_u8_s32(&q);
        for (size_t i = 0; i < c && !k->w.last; i++)
            y[(p / pixels * c + i) * pixels + p % pixels] = scratch[i];
    }
}

static void run(const struct nb_op_call *c)
{
    const struct nb_attr *attr = c->node->attr;
    struct work k = {.call = c, .image = c->in[0]->data};
    uint8_t *at = c->shared;
    plan_of(c, &k.w, &k.r);
    size_t *offset = op_take(&at, (size_t)k.r.n, sizeof *offset);
    uint8_t *image = op_take(&at, (size_t)nb_runs_image_bytes(&k.w, &k.r), 1);
    int32_t *bias = op_take(&at, (size_t)k.w.c, sizeof *bias);
    float *scale = op_take(&at, (size_t)k.w.c, sizeof *scale);
    nb_runs_offsets(&k.w, &k.r, offset);
    if (k.r.copy) {
        nb_runs_copy(&k.w, &k.r, image, c->in[0]->data, 0, c->pool);
        k.image = image;
    }
    for (int64_t i = 0; i < k.w.c; i++) {
        bias[i] = -(int32_t)(k.w.taps * attr[ZERO_X].i);
        scale[i] = (float)attr[SCALE].f / (float)k.w.taps;
    }
    k.offset = offset;
    k.bias = bias;
    k.scale = scale;
    nb_pool_for(c->pool, (size_t)(k.w.n * k.w.pixels_out), op_grain((uint64_t)(k.w.c * k.w.taps)),
                outputs, &k);
}

const struct nb_op nb_op_mean_u8 = {
    .name = "mean_u8",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {"kernel", "stride", "dilation", "pads", "last", "zero_x", "zero_y", "low", "high",
              "scale"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .scratch_bytes = scratch_bytes,
    .shared_bytes = shared_bytes,
    .run = run,
};
