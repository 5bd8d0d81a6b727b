/* op/conv.c: convolution over one to three spatial dimensions (ONNX Conv), and what follows it.
 *
 * x (N, C, spatial), w (M, C / groups, kernel), bias (M) if any, add (of y's dimensions) if any -> y (N, M, spatial);
 * last: x, add and y have their channels last. attrs kernel, stride, dilation, pads (those before, then those
 * behind), groups, last, act: enum nb_conv_act, low, high: bounds of NB_CONV_CLIP.
 *
 *     y = act(s + add),  s = bias (or 0), then s = fma(x, w, s) for each position of the kernel in row-major
 *     order, for each channel of the group in order; what lies outside x is 0 and takes part.
 *
 * Inside, channels are last. Windows read runs of memory (op/runs.h), so nothing is gathered; weights are panels of
 * sixteen outputs, (kernel, channels, 16) each, which are prepared once where the weights are constant. The work is
 * cut into tiles of output pixels, groups and, where there are few of these, panels; where the image with pads would
 * not stay in the second cache, into strips of output rows, which make their part of it for themselves. Channels that do not meet (one a
 * group, as many out as in) go through a kernel of their own. Sum, add and clip are one pass.
 */
#include <math.h>

#include "op/op.h"
#include "op/runs.h"

enum { GROUPS = NB_WINDOW_ATTRS, LAST, ACT, LOW, HIGH };
enum { X, W, BIAS, ADD };

#define PANEL       NB_CONV_PANEL
#define TILE_PIXELS 96      /* at most: they stay in the second cache */
#define TILE_STEP   24      /* full tiles of the kernels: of 6 and of 8 */
#define LEAST_ITEMS 16      /* else panels are handed out apart */
#define STRIP_IMAGE 1048576 /* bytes of a padded image from which on there are strips */
#define STRIP_BYTES 196608  /* of it in a strip, about                                */

struct plan {
    struct nb_window w;
    struct nb_runs r;
    int64_t m, groups, c_group, m_group, k; /* k: of the sums               */
    int64_t panels, part;                   /* of a group; of an item       */
    int64_t tile;                           /* output pixels                */
    int64_t n_tiles, n_parts;               /* items: tiles, groups, parts; */
    int64_t strip, strip_rows;              /* or strips: output rows, rows of the image; 0: none */
    int64_t n_strips;                       /* of an image                                        */
    bool depthwise, swap_y;                 /* swap_y: channels have to move */
};

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[X]), *w = op_value(g, n->in[W]);
    const int64_t act = n->attr[ACT].i;
    struct nb_window win;
    if (!nb_window_read(g, n, x, n->attr[LAST].i != 0, &win) || !nb_window_slide(g, n, false, &win))
        return false;
    if (x->type != NB_VALUE_F32 || w->type != NB_VALUE_F32)
        return nb_graph_refuse(g, n, "x and w must be float arrays");
    if (!nb_window_weights(g, n, &win, w, n->attr[GROUPS].i, false))
        return false;
    if (act < 0 || act >= NB_N_CONV_ACT)
        return nb_graph_refuse(g, n, "no activation %lld", (long long)act);
    out->type = NB_VALUE_F32;
    out->rank = x->rank;
    nb_window_dims(&win, (int64_t)w->dim[0].n, out);
    if (n->in[BIAS] && (op_value(g, n->in[BIAS])->type != NB_VALUE_F32 ||
                        nb_value_count(op_value(g, n->in[BIAS])) != w->dim[0].n))
        return nb_graph_refuse(g, n, "the bias has not a float for each channel");
    if (n->in[ADD] && (op_value(g, n->in[ADD])->type != NB_VALUE_F32 ||
                       !nb_value_same_dims(op_value(g, n->in[ADD]), out)))
        return nb_graph_refuse(g, n, "what is added has other dimensions than the output");
    return true;
}

static void plan_items(struct plan *p)
{
    const int64_t total = p->w.n * p->w.pixels_out;
    p->n_tiles = (total + TILE_PIXELS - 1) / TILE_PIXELS;
    p->tile = NB_MAX((total + p->n_tiles - 1) / NB_MAX(p->n_tiles, (int64_t)1), (int64_t)1);
    p->tile = (p->tile + TILE_STEP - 1) / TILE_STEP * TILE_STEP;
    p->n_tiles = (total + p->tile - 1) / p->tile;
    p->part = NB_MAX(p->panels, (int64_t)1);
    while (p->part > 1 && p->n_tiles * p->groups * (p->panels / p->part) < LEAST_ITEMS)
        p->part /= 2;
    p->n_parts = (p->panels + p->part - 1) / p->part;
}

/* Rows of an image of one plane that r rows of outputs see. */
static int64_t rows_seen(const struct plan *p, int64_t r)
{
    return (r - 1) * p->w.stride[1] + (p->w.kernel[1] - 1) * p->w.dilation[1] + 1;
}

static void plan_strips(struct plan *p)
{
    const int64_t row = p->r.row[1] * (int64_t)sizeof(float), over = rows_seen(p, 1);
    if (!p->r.copy || p->r.dims[0] != 1 || p->r.image == INT64_MAX ||
        p->r.image < STRIP_IMAGE / (int64_t)sizeof(float))
        return;
    const int64_t fit = (STRIP_BYTES / row - over) / p->w.stride[1] + 1;
    const int64_t most = (p->w.out[1] + LEAST_ITEMS - 1) / LEAST_ITEMS;
    p->strip = NB_MIN(fit, most);
    if (p->strip * p->w.stride[1] < over) { /* rows would be copied twice and more */
        p->strip = 0;
        return;
    }
    p->strip_rows = rows_seen(p, p->strip);
    p->n_strips = (p->w.out[1] + p->strip - 1) / p->strip;
}

static void plan_of(const struct nb_op_call *c, struct plan *p)
{
    const struct nb_node *n = c->node;
    *p = (struct plan){.groups = n->attr[GROUPS].i, .m = (int64_t)c->in[W]->value->dim[0].n};
    nb_window_of(c, n->attr[LAST].i != 0, &p->w);
    p->c_group = p->w.c / p->groups;
    p->m_group = p->m / p->groups;
    p->k = p->c_group * p->w.taps;
    p->panels = (p->m_group + PANEL - 1) / PANEL;
    p->depthwise = p->c_group == 1 && p->m_group == 1 && p->groups > 1;
    if (p->depthwise) { /* the channels are one group, as if one panel */
        p->m_group = p->m;
        p->groups = 1;
    }
    nb_runs_of(&p->w, p->depthwise ? NB_RUNS_EACH_CHANNEL : p->groups, sizeof(float), &p->r);
    plan_items(p);
    plan_strips(p);
    p->swap_y = !p->w.last && p->m > 1 && p->w.pixels_out > 1;
}

/* ---- memory ---- */

static uint64_t packed_floats(const struct plan *p)
{
    return p->depthwise ? (uint64_t)(p->w.taps * p->m)
                        : (uint64_t)(p->groups * p->panels * p->k * PANEL);
}

static bool scratch_bytes(const struct nb_op_call *c, size_t *bytes)
{
    struct plan p;
    plan_of(c, &p);
    *bytes = 0;
    return op_add_bytes(bytes, (uint64_t)p.tile, sizeof(void *)) &&
           op_add_bytes(bytes, (uint64_t)(p.strip_rows * p.r.row[1]), sizeof(float));
}

static bool shared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    struct plan p;
    plan_of(c, &p);
    const uint64_t n_y = p.swap_y ? (uint64_t)(p.w.n * p.w.pixels_out * p.m) : 0;
    *bytes = 0;
    return op_add_bytes(bytes, (uint64_t)p.m, sizeof(float)) &&
           op_add_bytes(bytes, (uint64_t)p.r.n, sizeof(size_t)) &&
           op_add_bytes(bytes, p.strip ? 0 : nb_runs_image_bytes(&p.w, &p.r), 1) &&
           op_add_bytes(bytes, n_y, sizeof(float)) &&
           op_add_bytes(bytes, c->in[ADD] ? n_y : 0, sizeof(float)) &&
           op_add_bytes(bytes, c->prepared ? 0 : packed_floats(&p), sizeof(float));
}

static bool prepared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    struct plan p;
    plan_of(c, &p);
    *bytes = 0;
    return c->in[W]->value->kind == NB_VALUE_CONST &&
           op_add_bytes(bytes, packed_floats(&p), sizeof(float));
}

/* Columns from `first` on of a group's panel. */
static float *pack_panel(float *to, const struct plan *p, const float *w, int64_t first)
{
    const int64_t cols = NB_MIN(p->m_group - first, (int64_t)PANEL);
    for (int64_t t = 0; t < p->w.taps; t++)
        for (int64_t i = 0; i < p->c_group; i++, to += PANEL)
            for (int64_t j = 0; j < PANEL; j++)
                to[j] = j < cols ? w[((first + j) * p->c_group + i) * p->w.taps + t] : 0.0F;
    return to;
}

static void prepare(const struct nb_op_call *c, void *memory)
{
    const float *w = c->in[W]->data;
    float *to = memory;
    struct plan p;
    plan_of(c, &p);
    if (p.depthwise) {
        for (int64_t t = 0; t < p.w.taps; t++)
            for (int64_t i = 0; i < p.m; i++)
                *to++ = w[i * p.w.taps + t];
        return;
    }
    for (int64_t g = 0; g < p.groups; g++)
        for (int64_t at = 0; at < p.m_group; at += PANEL)
            to = pack_panel(to, &p, w + g * p.m_group * p.k, at);
}

static uint64_t macs(const struct nb_graph *g, const struct nb_node *n)
{
    const struct nb_value *w = op_value(g, n->in[W]);
    const uint64_t m = w->dim[0].n;
    return m ? nb_value_count(op_value(g, n->out[0])) * (nb_value_count(w) / m) : 0;
}

/* ---- items ---- */

struct work {
    struct plan p;
    const struct nb_op_call *call;
    const float *x, *add, *packed, *bias; /* channels last; x: what windows read */
    const size_t *offset;
    float *y;
    struct nb_conv_f32 conv; /* what all items share */
};

/* What the kernel's last step does not do: n outputs of a pixel. */
static void activate(const struct work *w, float *y, size_t n)
{
    const struct nb_kernels *k = w->call->kernels;
    switch ((enum nb_conv_act)w->call->node->attr[ACT].i) {
    case NB_CONV_SILU:
        k->act_f32(y, y, n, NB_ACT_SILU);
        break;
    case NB_CONV_GELU:
        k->act_f32(y, y, n, NB_ACT_GELU);
        break;
    case NB_CONV_GELU_TANH:
        k->act_f32(y, y, n, NB_ACT_GELU_TANH);
        break;
    case NB_CONV_NONE:
    case NB_CONV_CLIP:
    case NB_CONV_HARDSWISH:
    case NB_N_CONV_ACT:
    default:
        break;
    }
}

/* Of a pixel, in an item. */
static int64_t outputs(const struct plan *p, int64_t part)
{
    return p->depthwise ? p->m : NB_MIN(p->m_group - part * p->part * PANEL, p->part * PANEL);
}

/* n outputs from `from` on; the windows of x are those from `at_x` on. */
static void tile(const struct work *w, const float *x, int64_t at_x, int64_t from, int64_t n,
                 int64_t group, int64_t part, const void **at)
{
    const struct plan *p = &w->p;
    const int64_t panel = part * p->part, first = group * p->m_group + panel * PANEL;
    struct nb_conv_f32 c = w->conv;
    nb_runs_point(&p->w, &p->r, x, at_x, n, group, at);
    c.x = (const float *const *)at;
    c.y = w->y + from * p->m + first;
    c.add = w->add ? w->add + from * p->m + first : NULL;
    c.bias = w->bias + first;
    c.n_rows = (size_t)n;
    c.n = (size_t)outputs(p, part);
    c.w = w->packed + (group * p->panels + panel) * p->k * PANEL;
    if (p->depthwise)
        w->call->kernels->dwconv_f32_f32_f32(&c);
    else
        w->call->kernels->conv_f32_f32_f32(&c);
    for (size_t i = 0; i < c.n_rows && w->call->node->attr[ACT].i >= NB_CONV_SILU; i++)
        activate(w, c.y + i * c.y_stride, c.n);
}

static void items(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct plan *p = &w->p;
    for (int64_t i = (int64_t)begin; i < (int64_t)end; i++) {
        const int64_t from = i / p->n_parts / p->groups * p->tile;
        tile(w, w->x, from, from, NB_MIN(p->w.n * p->w.pixels_out - from, p->tile),
             i / p->n_parts % p->groups, i % p->n_parts, op_scratch(w->call, worker));
    }
}

static void strips(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct plan *p = &w->p;
    uint8_t *scratch = op_scratch(w->call, worker);
    const void **at = op_take(&scratch, (size_t)p->tile, sizeof *at);
    float *image = op_take(&scratch, (size_t)(p->strip_rows * p->r.row[1]), sizeof *image);
    for (int64_t i = (int64_t)begin; i < (int64_t)end; i++) {
        const int64_t n = i / p->n_strips, row = i % p->n_strips * p->strip;
        const int64_t rows = NB_MIN(p->strip, p->w.out[1] - row);
        const int64_t base = n * p->w.pixels_out + row * p->w.out[2], pixels = rows * p->w.out[2];
        nb_runs_copy_rows(&p->w, &p->r, image, w->x, 0, n * p->r.dims[1] + row * p->w.stride[1],
                          rows_seen(p, rows));
        for (int64_t from = 0; from < pixels; from += p->tile)
            for (int64_t k = 0; k < p->groups * p->n_parts; k++)
                tile(w, image, from, base + from, NB_MIN(pixels - from, p->tile), k / p->n_parts,
                     k % p->n_parts, at);
    }
}

static void follow(struct work *w)
{
    const struct nb_attr *attr = w->call->node->attr;
    const bool clip = attr[ACT].i == NB_CONV_CLIP;
    w->conv = (struct nb_conv_f32){.offset = w->offset,
                                   .y_stride = (size_t)w->p.m,
                                   .n_runs = (size_t)w->p.r.n,
                                   .len = (size_t)w->p.r.len,
                                   .low = clip ? (float)attr[LOW].f : -INFINITY,
                                   .high = clip ? (float)attr[HIGH].f : INFINITY,
                                   .hardswish = attr[ACT].i == NB_CONV_HARDSWISH};
}

/* x, y and add as the items want them. */
static void arrange(struct work *w, uint8_t **at)
{
    const struct nb_op_call *c = w->call;
    const struct nb_window *win = &w->p.w;
    const size_t m = (size_t)w->p.m, n_y = (size_t)(win->n * win->pixels_out) * m;
    const uint64_t image_bytes = w->p.strip ? 0 : nb_runs_image_bytes(win, &w->p.r);
    float *bias = op_take(at, m, sizeof *bias);
    size_t *offset = op_take(at, (size_t)w->p.r.n, sizeof *offset);
    void *image = op_take(at, (size_t)image_bytes, 1);
    memset(bias, 0, m * sizeof *bias);
    if (c->in[BIAS])
        memcpy(bias, c->in[BIAS]->data, m * sizeof *bias);
    nb_runs_offsets(win, &w->p.r, offset);
    if (w->p.r.copy && !w->p.strip) {
        nb_runs_copy(win, &w->p.r, image, w->x, 0, c->pool);
        w->x = image;
    }
    w->bias = bias;
    w->offset = offset;
    w->add = c->in[ADD] ? c->in[ADD]->data : NULL;
    if (w->p.swap_y)
        w->y = op_take(at, n_y, sizeof *w->y);
    if (w->p.swap_y && w->add) {
        float *add = op_take(at, n_y, sizeof *add);
        nb_window_to_last(add, w->add, win->n, w->p.m, win->pixels_out, c->pool);
        w->add = add;
    }
}

static void run(const struct nb_op_call *c)
{
    struct work w = {.call = c, .x = c->in[X]->data, .y = c->out[0]->data, .packed = c->prepared};
    uint8_t *at = c->shared;
    plan_of(c, &w.p);
    const struct plan *p = &w.p;
    arrange(&w, &at);
    follow(&w);
    if (!w.packed) {
        prepare(c, at);
        w.packed = (const void *)at;
    }
    if (p->strip)
        nb_pool_for(c->pool, (size_t)(p->w.n * p->n_strips), 1, strips, &w);
    else
        nb_pool_for(c->pool, (size_t)(p->n_tiles * p->groups * p->n_parts),
                    op_grain((uint64_t)(p->tile * p->w.taps * p->c_group * outputs(p, 0)) / 8),
                    items, &w);
    if (p->swap_y)
        nb_window_to_first(c->out[0]->data, w.y, p->w.n, p->m, p->w.pixels_out, c->pool);
}

const struct nb_op nb_op_conv = {
    .name = "conv",
    .n_in_min = 2,
    .n_in = 4,
    .attrs = {"kernel", "stride", "dilation", "pads", "groups", "last", "act", "low", "high"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .scratch_bytes = scratch_bytes,
    .shared_bytes = shared_bytes,
    .run = run,
    .macs = macs,
    .prepared_bytes = prepared_bytes,
    .prepare = prepare,
};
