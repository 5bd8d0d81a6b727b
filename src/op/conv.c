/* op/conv.c: convolution over one to three spatial dimensions (ONNX Conv), and what follows it.
 *
 * x (N, C, spatial), w (M, C / groups, kernel), bias (M) if any, add (of y's dimensions) if any -> y (N, M, spatial);
 * last: x, add and y have their channels last. attrs kernel, stride, dilation, pads (those before, then those
 * behind), groups, last, act: enum nb_conv_act, low, high: bounds of NB_CONV_CLIP.
 *
 *     y = act(s + add),  s = bias (or 0), then s = fma(x, w, s) for each position of the kernel in row-major
 *     order, for each channel of the group in order; what lies outside x is 0 and takes part.
 *
 * Inside, channels are last. A tile of output pixels is gathered as rows of (kernel, channels), unless it lies like
 * that already, and multiplied with panels of sixteen columns of weights, (kernel, channels, 16) each, which
 * are prepared once where the weights are constant. Channels that do not meet (one a group, as many out as in) go
 * through a kernel of their own.
 */
#include "op/op.h"
#include "op/window.h"

enum { GROUPS = NB_WINDOW_ATTRS, LAST, ACT, LOW, HIGH };
enum { X, W, BIAS, ADD };

#define PANEL        16
#define TILE_FLOATS  16384 /* of gathered rows: they stay in the second cache, mostly in the first */
#define MOST_PIXELS  96
#define LEAST_PIXELS 12

struct plan {
    struct nb_window w;
    int64_t m, groups, c_group, m_group, k; /* k: of the sums */
    int64_t panels;                         /* of a group     */
    int64_t tile;                           /* output pixels  */
    bool depthwise, direct;                 /* direct: pixels of x are the rows */
    bool swap_x, swap_y;                    /* channels have to move            */
};

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[X]), *w = op_value(g, n->in[W]);
    const int64_t groups = n->attr[GROUPS].i, act = n->attr[ACT].i;
    struct nb_window win;
    if (!nb_window_read(g, n, x, n->attr[LAST].i != 0, &win) || !nb_window_slide(g, n, false, &win))
        return false;
    if (x->type != NB_VALUE_F32 || w->type != NB_VALUE_F32 || w->rank != x->rank)
        return nb_graph_refuse(g, n, "x and w must be float arrays of the same rank");
    if (groups < 1 || win.c % groups != 0 || (int64_t)w->dim[0].n % groups != 0 ||
        (int64_t)w->dim[1].n != win.c / groups)
        return nb_graph_refuse(g, n, "%lld channels, weights of %llu, %lld groups",
                               (long long)win.c, (unsigned long long)w->dim[1].n,
                               (long long)groups);
    for (uint32_t i = 2; i < w->rank; i++)
        if ((int64_t)w->dim[i].n != n->attr[NB_WINDOW_KERNEL].list[i - 2])
            return nb_graph_refuse(g, n, "dimension %u of the weights is not the kernel's", i);
    if (act < 0 || act >= NB_N_CONV_ACT)
        return nb_graph_refuse(g, n, "no activation %lld", (long long)act);
    out->type = NB_VALUE_F32;
    out->rank = x->rank;
    nb_window_dims(&win, (int64_t)w->dim[0].n, out);
    if (n->in[BIAS] && (op_value(g, n->in[BIAS])->type != NB_VALUE_F32 ||
                        nb_value_count(op_value(g, n->in[BIAS])) != w->dim[0].n))
        return nb_graph_refuse(g, n, "the bias has not a float for each channel");
    if (n->in[ADD] && (op_value(g, n->in[ADD])->type != NB_VALUE_F32 ||
                       !op_same_dims(op_value(g, n->in[ADD]), out)))
        return nb_graph_refuse(g, n, "what is added has other dimensions than the output");
    return true;
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
    p->direct = p->w.taps == 1;
    for (size_t i = 0; i < NB_WINDOW_DIMS; i++)
        p->direct = p->direct && p->w.stride[i] == 1 && p->w.begin[i] == 0 && p->w.end[i] == 0;
    p->tile = p->direct ? MOST_PIXELS : TILE_FLOATS / NB_MAX(p->k, (int64_t)1);
    p->tile = p->depthwise ? MOST_PIXELS : p->tile / LEAST_PIXELS * LEAST_PIXELS;
    p->tile = NB_MAX(NB_MIN(p->tile, (int64_t)MOST_PIXELS), (int64_t)LEAST_PIXELS);
    p->swap_x = !p->w.last && p->w.c > 1 && p->w.pixels_in > 1;
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
    if (p.depthwise)
        return op_add_bytes(bytes, (uint64_t)(p.tile * p.w.taps), sizeof(float *));
    return p.direct || op_add_bytes(bytes, (uint64_t)(p.tile * p.k), sizeof(float));
}

static bool shared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    struct plan p;
    plan_of(c, &p);
    const uint64_t n_y = p.swap_y ? (uint64_t)(p.w.n * p.w.pixels_out * p.m) : 0;
    *bytes = 0;
    return op_add_bytes(bytes, (uint64_t)p.m, sizeof(float)) &&
           op_add_bytes(bytes, (uint64_t)p.w.c, sizeof(float)) &&
           op_add_bytes(bytes, p.swap_x ? (uint64_t)(p.w.n * p.w.pixels_in * p.w.c) : 0,
                        sizeof(float)) &&
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

/* ---- a tile ---- */

struct work {
    struct plan p;
    const struct nb_op_call *call;
    const float *x, *add, *packed, *bias, *zeros; /* channels last */
    float *y;
};

static bool inside(const struct nb_window *w, size_t dim, int64_t at)
{
    return at >= 0 && at < w->in[dim];
}

/* One row of the kernel: its taps, from pixel x on, to dst. pixels: of the row of x, NULL outside. */
static void gather_row(const struct plan *p, float *dst, const float *pixels, int64_t x,
                       int64_t group)
{
    const int64_t c = p->w.c, cg = p->c_group, step = p->w.dilation[2];
    for (int64_t t = 0; t < p->w.kernel[2]; t++, x += step, dst += cg) {
        if (!pixels || x < 0 || x >= p->w.in[2])
            memset(dst, 0, (size_t)cg * sizeof *dst);
        else if (p->groups == 1 && step == 1 && x + p->w.kernel[2] - t <= p->w.in[2]) {
            memcpy(dst, pixels + x * c, (size_t)((p->w.kernel[2] - t) * c) * sizeof *dst);
            return; /* the others follow */
        } else
            memcpy(dst, pixels + x * c + group * cg, (size_t)cg * sizeof *dst);
    }
}

static const float *pixel_row(const struct work *w, const struct nb_window_at *a, int64_t z,
                              int64_t y)
{
    const struct nb_window *win = &w->p.w;
    if (!inside(win, 0, z) || !inside(win, 1, y))
        return NULL;
    return w->x + ((a->n * win->in[0] + z) * win->in[1] + y) * win->in[2] * win->c;
}

static void gather(const struct work *w, float *dst, int64_t from, int64_t n, int64_t group)
{
    const struct nb_window *win = &w->p.w;
    for (int64_t p = from; p < from + n; p++) {
        const struct nb_window_at a = nb_window_at(win, p);
        for (int64_t z = 0; z < win->kernel[0]; z++)
            for (int64_t y = 0; y < win->kernel[1]; y++, dst += win->kernel[2] * w->p.c_group)
                gather_row(&w->p, dst,
                           pixel_row(w, &a, a.at[0] + z * win->dilation[0],
                                     a.at[1] + y * win->dilation[1]),
                           a.at[2], group);
    }
}

/* The places in x of each tap of n outputs. */
static void point(const struct work *w, const float **at, int64_t from, int64_t n)
{
    const struct nb_window *win = &w->p.w;
    for (int64_t p = from; p < from + n; p++) {
        const struct nb_window_at a = nb_window_at(win, p);
        for (int64_t z = 0; z < win->kernel[0]; z++)
            for (int64_t y = 0; y < win->kernel[1]; y++) {
                const float *row = pixel_row(w, &a, a.at[0] + z * win->dilation[0],
                                             a.at[1] + y * win->dilation[1]);
                for (int64_t t = 0; t < win->kernel[2]; t++) {
                    const int64_t i = a.at[2] + t * win->dilation[2];
                    *at++ = row && inside(win, 2, i) ? row + i * win->c : w->zeros;
                }
            }
    }
}

static void multiply(const struct work *w, float *rows, int64_t from, int64_t n)
{
    const struct plan *p = &w->p;
    const float *v = w->packed;
    float *y = w->y + from * p->m;
    for (int64_t i = 0; i < n; i++)
        memcpy(y + i * p->m, w->bias, (size_t)p->m * sizeof *y);
    for (int64_t g = 0; g < p->groups; g++) {
        const float *x = w->x + from * p->w.c + g * p->c_group;
        if (!p->direct)
            gather(w, rows, from, n, g);
        for (int64_t at = 0; at < p->m_group; at += PANEL, v += p->k * PANEL) {
            const struct nb_wsum s = {.y = y + g * p->m_group + at,
                                      .p = p->direct ? x : rows,
                                      .v = v,
                                      .y_stride = (size_t)p->m,
                                      .p_stride = (size_t)(p->direct ? p->w.c : p->k),
                                      .p_step = 1,
                                      .v_stride = PANEL,
                                      .n_rows = (size_t)n,
                                      .n = (size_t)p->k,
                                      .d = (size_t)NB_MIN(p->m_group - at, (int64_t)PANEL)};
            w->call->kernels->wsum_f32_f32_f32(&s);
        }
    }
}

static void each_channel(const struct work *w, const float **at, int64_t from, int64_t n)
{
    const struct plan *p = &w->p;
    const struct nb_dwconv d = {.y = w->y + from * p->m,
                                .x = at,
                                .w = w->packed,
                                .bias = w->bias,
                                .y_stride = (size_t)p->m,
                                .n_rows = (size_t)n,
                                .n_taps = (size_t)p->w.taps,
                                .n = (size_t)p->m};
    point(w, at, from, n);
    w->call->kernels->dwconv_f32_f32_f32(&d);
}

static void finish(const struct work *w, float *y, const float *add, size_t n)
{
    const struct nb_kernels *k = w->call->kernels;
    const struct nb_attr *attr = w->call->node->attr;
    if (add)
        k->add_f32(y, y, add, n);
    switch ((enum nb_conv_act)attr[ACT].i) {
    case NB_CONV_CLIP:
        k->clip_f32(y, y, n, (float)attr[LOW].f, (float)attr[HIGH].f);
        break;
    case NB_CONV_HARDSWISH:
        for (size_t i = 0; i < n; i++) {
            const float a = y[i] * (1.0F / 6.0F) + 0.5F;
            y[i] *= a < 0.0F ? 0.0F : a > 1.0F ? 1.0F : a;
        }
        break;
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
    case NB_N_CONV_ACT:
    default:
        break;
    }
}

static void tiles(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const int64_t total = w->p.w.n * w->p.w.pixels_out;
    for (size_t i = begin; i < end; i++) {
        const int64_t from = (int64_t)i * w->p.tile, n = NB_MIN(total - from, w->p.tile);
        if (w->p.depthwise)
            each_channel(w, op_scratch(w->call, worker), from, n);
        else
            multiply(w, op_scratch(w->call, worker), from, n);
        finish(w, w->y + from * w->p.m, w->add ? w->add + from * w->p.m : NULL,
               (size_t)(n * w->p.m));
    }
}

static void run(const struct nb_op_call *c)
{
    struct work w = {.call = c, .x = c->in[X]->data, .y = c->out[0]->data, .packed = c->prepared};
    uint8_t *at = c->shared;
    plan_of(c, &w.p);
    const struct nb_window *win = &w.p.w;
    const size_t m = (size_t)w.p.m, n_y = (size_t)(win->n * win->pixels_out) * m;
    float *bias = op_take(&at, m, sizeof *bias);
    float *zeros = op_take(&at, (size_t)win->c, sizeof *zeros);
    memset(zeros, 0, (size_t)win->c * sizeof *zeros);
    memset(bias, 0, m * sizeof *bias);
    if (c->in[BIAS])
        memcpy(bias, c->in[BIAS]->data, m * sizeof *bias);
    w.bias = bias;
    w.zeros = zeros;
    if (w.p.swap_x) {
        float *x = op_take(&at, (size_t)(win->n * win->pixels_in * win->c), sizeof *x);
        nb_window_to_last(x, w.x, win->n, win->c, win->pixels_in, c->pool);
        w.x = x;
    }
    if (w.p.swap_y)
        w.y = op_take(&at, n_y, sizeof *w.y);
    if (c->in[ADD]) {
        w.add = c->in[ADD]->data;
        if (w.p.swap_y) {
            float *add = op_take(&at, n_y, sizeof *add);
            nb_window_to_last(add, w.add, win->n, w.p.m, win->pixels_out, c->pool);
            w.add = add;
        }
    }
    if (!w.packed) {
        prepare(c, at);
        w.packed = (const void *)at;
    }
    nb_pool_for(c->pool, (size_t)((win->n * win->pixels_out + w.p.tile - 1) / w.p.tile), 1, tiles,
                &w);
    if (w.p.swap_y)
        nb_window_to_first(c->out[0]->data, w.y, win->n, w.p.m, win->pixels_out, c->pool);
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
