/* op/conv_transpose.c: the transpose of a convolution (ONNX ConvTranspose).
 *
 * x (N, C, spatial), w (C, M / groups, kernel), bias (M) if any -> y (N, M, size); last: x and y have their channels
 * last. attrs kernel, stride, dilation, pads, groups, last, size: of y, which says where y ends (the pads behind are
 * not looked at). Input i and position t of the kernel meet in output i * stride - pad + t * dilation:
 *
 *     y = bias (or 0), then y = fma(x, w, y) for each position that meets an input, in row-major order, for each
 *     channel of the group in order.
 *
 * The inputs of a row meet outputs a stride apart, so a position is one product of a row of x with its weights,
 * (channels, 16) for each panel of sixteen columns, prepared once where the weights are constant.
 *
 * Where kernel and stride are the same, positions do not overlap: each row of outputs is a convolution of a row of x
 * by one row of the kernel, whose positions are more outputs, and goes through the kernel of convolutions. All rows of
 * a kernel of so few outputs that they are less than a vector go together, and are dealt out then.
 */
#include <math.h>

#include "op/op.h"
#include "op/window.h"

enum { GROUPS = NB_WINDOW_ATTRS, LAST, SIZE };
enum { X, W, BIAS };

#define PANEL       NB_CONV_PANEL
#define TILE_PIXELS 96
#define FEW         8 /* outputs of a kernel */

struct plan {
    struct nb_window w;
    int64_t m, groups, c_group, m_group, panels;
    bool swap_x, swap_y;
    bool apart;          /* positions do not overlap                                   */
    bool together;       /* apart, and the rows of the kernel are as if one            */
    int64_t n, n_panels; /* apart: outputs of a row of the kernel, panels of them      */
};

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[X]), *w = op_value(g, n->in[W]);
    const struct nb_attr *size = &n->attr[SIZE];
    const int64_t groups = n->attr[GROUPS].i;
    struct nb_window win;
    if (!nb_window_read(g, n, x, n->attr[LAST].i != 0, &win))
        return false;
    if (x->type != NB_VALUE_F32 || w->type != NB_VALUE_F32)
        return nb_graph_refuse(g, n, "x and w must be float arrays");
    if (!nb_window_weights(g, n, &win, w, groups, true))
        return false;
    if (size->i != (int64_t)x->rank - 2)
        return nb_graph_refuse(g, n, "a size of %lld dimensions", (long long)size->i);
    for (uint32_t i = 0; i < x->rank - 2; i++) {
        if (size->list[i] < 1 || size->list[i] > INT32_MAX)
            return nb_graph_refuse(g, n, "dimension %u would be %lld", i, (long long)size->list[i]);
        win.out[NB_WINDOW_DIMS + 2 - x->rank + i] = size->list[i];
    }
    const uint64_t m = w->dim[1].n * (uint64_t)groups;
    out->type = NB_VALUE_F32;
    out->rank = x->rank;
    nb_window_dims(&win, (int64_t)m, out);
    if (n->in[BIAS] && (op_value(g, n->in[BIAS])->type != NB_VALUE_F32 ||
                        nb_value_count(op_value(g, n->in[BIAS])) != m))
        return nb_graph_refuse(g, n, "the bias has not a float for each channel");
    return true;
}

static void plan_of(const struct nb_op_call *c, struct plan *p)
{
    const struct nb_node *n = c->node;
    *p = (struct plan){.groups = n->attr[GROUPS].i, .m_group = (int64_t)c->in[W]->value->dim[1].n};
    nb_window_of(c, n->attr[LAST].i != 0, &p->w);
    p->m = p->m_group * p->groups;
    p->c_group = p->w.c / p->groups;
    p->panels = (p->m_group + PANEL - 1) / PANEL;
    p->apart = p->groups == 1;
    for (size_t i = 0; i < NB_WINDOW_DIMS; i++)
        p->apart = p->apart && p->w.kernel[i] == p->w.stride[i] && p->w.dilation[i] == 1 &&
                   p->w.begin[i] == 0 && p->w.out[i] == p->w.in[i] * p->w.stride[i];
    p->together = p->apart && p->w.kernel[0] == 1 && p->w.taps * p->m <= FEW;
    p->n = (p->together ? p->w.taps : p->w.kernel[2]) * p->m;
    p->n_panels = (p->n + PANEL - 1) / PANEL;
    p->swap_x = !p->w.last && p->w.c > 1 && p->w.pixels_in > 1;
    p->swap_y = !p->w.last && p->m > 1 && p->w.pixels_out > 1;
}

static uint64_t packed_floats(const struct plan *p)
{
    if (p->apart)
        return (uint64_t)(p->w.taps * p->m / p->n * p->n_panels * p->w.c * PANEL);
    return (uint64_t)(p->w.taps * p->w.c * p->panels * PANEL);
}

static bool scratch_bytes(const struct nb_op_call *c, size_t *bytes)
{
    struct plan p;
    plan_of(c, &p);
    *bytes = 0;
    return (!p.apart || op_add_bytes(bytes, TILE_PIXELS, sizeof(float *))) &&
           (!p.together || op_add_bytes(bytes, (uint64_t)(TILE_PIXELS * p.n), sizeof(float)));
}

static bool shared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    struct plan p;
    plan_of(c, &p);
    *bytes = 0;
    return op_add_bytes(bytes, (uint64_t)p.n, sizeof(float)) &&
           op_add_bytes(bytes, p.swap_x ? (uint64_t)(p.w.n * p.w.pixels_in * p.w.c) : 0,
                        sizeof(float)) &&
           op_add_bytes(bytes, p.swap_y ? (uint64_t)(p.w.n * p.w.pixels_out * p.m) : 0,
                        sizeof(float)) &&
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

/* apart: (rows of the kernel, panels, channels, 16), a column for each position of the row and output channel */
static void prepare_apart(const struct plan *p, float *to, const float *w)
{
    const int64_t rows = p->w.taps * p->m / p->n;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t at = 0; at < p->n; at += PANEL)
            for (int64_t i = 0; i < p->w.c; i++)
                for (int64_t j = at; j < at + PANEL; j++) {
                    const int64_t tap = r * p->w.kernel[2] + j / p->m;
                    *to++ = j < p->n ? w[(i * p->m + j % p->m) * p->w.taps + tap] : 0.0F;
                }
}

/* Else (taps, groups, panels, channels of the group, 16) */
static void prepare(const struct nb_op_call *c, void *memory)
{
    const float *w = c->in[W]->data;
    float *to = memory;
    struct plan p;
    plan_of(c, &p);
    if (p.apart) {
        prepare_apart(&p, to, w);
        return;
    }
    for (int64_t t = 0; t < p.w.taps; t++)
        for (int64_t g = 0; g < p.groups; g++)
            for (int64_t at = 0; at < p.m_group; at += PANEL)
                for (int64_t i = 0; i < p.c_group; i++)
                    for (int64_t j = at; j < at + PANEL; j++)
                        *to++ = j < p.m_group
                                    ? w[((g * p.c_group + i) * p.m_group + j) * p.w.taps + t]
                                    : 0.0F;
}

struct work {
    struct plan p;
    const struct nb_op_call *call;
    const float *x, *packed, *bias; /* channels last */
    float *y;
};

/* The input that position t and output `at` of dimension i have in common; -1: none. */
static int64_t input_of(const struct nb_window *w, size_t i, int64_t at, int64_t t)
{
    const int64_t v = at + w->begin[i] - t * w->dilation[i];
    return v >= 0 && v % w->stride[i] == 0 && v / w->stride[i] < w->in[i] ? v / w->stride[i] : -1;
}

/* A row of outputs gets what a row of inputs gives it through position t of the kernel's row. */
static void add_row(const struct work *w, float *y, const float *x, const float *v, int64_t t)
{
    const struct plan *p = &w->p;
    const int64_t s = p->w.stride[2], shift = t * p->w.dilation[2] - p->w.begin[2];
    const int64_t from = shift < 0 ? (-shift + s - 1) / s : 0;
    const int64_t room = p->w.out[2] - 1 - shift;
    const int64_t to = room < 0 ? 0 : NB_MIN(p->w.in[2], room / s + 1);
    if (from >= to)
        return;
    for (int64_t g = 0; g < p->groups; g++)
        for (int64_t at = 0; at < p->m_group; at += PANEL, v += p->c_group * PANEL) {
            const struct nb_wsum sum = {.y = y + (from * s + shift) * p->m + g * p->m_group + at,
                                        .p = x + from * p->w.c + g * p->c_group,
                                        .v = v,
                                        .y_stride = (size_t)(s * p->m),
                                        .p_stride = (size_t)p->w.c,
                                        .p_step = 1,
                                        .v_stride = PANEL,
                                        .n_rows = (size_t)(to - from),
                                        .n = (size_t)p->c_group,
                                        .d = (size_t)NB_MIN(p->m_group - at, (int64_t)PANEL)};
            w->call->kernels->wsum_f32_f32_f32(&sum);
        }
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct nb_window *win = &w->p.w;
    const int64_t m = w->p.m, tap_floats = win->c * w->p.panels * PANEL;
    (void)worker;
    for (int64_t i = (int64_t)begin; i < (int64_t)end; i++) {
        const int64_t oy = i % win->out[1], oz = i / win->out[1] % win->out[0];
        const int64_t n = i / win->out[1] / win->out[0];
        float *y = w->y + i * win->out[2] * m;
        const float *v = w->packed;
        for (int64_t k = 0; k < win->out[2]; k++)
            memcpy(y + k * m, w->bias, (size_t)m * sizeof *y);
        for (int64_t z = 0; z < win->kernel[0]; z++)
            for (int64_t h = 0; h < win->kernel[1]; h++) {
                const int64_t iz = input_of(win, 0, oz, z), iy = input_of(win, 1, oy, h);
                for (int64_t t = 0; t < win->kernel[2]; t++, v += tap_floats)
                    if (iz >= 0 && iy >= 0)
                        add_row(w, y,
                                w->x +
                                    ((n * win->in[0] + iz) * win->in[1] + iy) * win->in[2] * win->c,
                                v, t);
            }
    }
}

/* Of a row of inputs x, n pixels from `from` on. at: scratch. */
static void tile(const struct work *w, struct nb_conv_f32 *c, const float *x, int64_t from,
                 int64_t n, const float **at)
{
    for (int64_t k = 0; k < n; k++)
        at[k] = x + (from + k) * w->p.w.c;
    c->x = at;
    c->n_rows = (size_t)n;
    w->call->kernels->conv_f32_f32_f32(c);
}

static struct nb_conv_f32 conv_of(const struct work *w, const size_t *offset)
{
    return (struct nb_conv_f32){.offset = offset,
                                .w = w->packed,
                                .bias = w->bias,
                                .y_stride = (size_t)w->p.n,
                                .n_runs = 1,
                                .len = (size_t)w->p.w.c,
                                .n = (size_t)w->p.n,
                                .low = -INFINITY,
                                .high = INFINITY};
}

static void rows_apart(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct plan *p = &w->p;
    const struct nb_window *win = &p->w;
    const size_t offset = 0;
    struct nb_conv_f32 c = conv_of(w, &offset);
    for (int64_t i = (int64_t)begin; i < (int64_t)end; i++) {
        const int64_t oy = i % win->out[1], oz = i / win->out[1] % win->out[0];
        const int64_t n = i / win->out[1] / win->out[0];
        const int64_t row = oz % win->kernel[0] * win->kernel[1] + oy % win->kernel[1];
        const float *x =
            w->x + ((n * win->in[0] + oz / win->kernel[0]) * win->in[1] + oy / win->kernel[1]) *
                       win->in[2] * win->c;
        c.w = w->packed + row * p->n_panels * win->c * PANEL;
        for (int64_t from = 0; from < win->in[2]; from += TILE_PIXELS) {
            c.y = w->y + (i * win->in[2] + from) * p->n;
            tile(w, &c, x, from, NB_MIN(win->in[2] - from, (int64_t)TILE_PIXELS),
                 op_scratch(w->call, worker));
        }
    }
}

/* Row r of n outputs of the kernel for each of so many pixels: from all of them. */
static void deal(float *y, const float *all, int64_t pixels, int64_t n, int64_t n_all)
{
    for (int64_t k = 0; k < pixels; k++)
        for (int64_t j = 0; j < n; j++)
            y[k * n + j] = all[k * n_all + j];
}

/* Of rows of inputs. */
static void rows_together(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct nb_window *win = &w->p.w;
    const int64_t n_all = w->p.n, n = win->kernel[2] * w->p.m, row = win->in[2] * n;
    const size_t offset = 0;
    uint8_t *scratch = op_scratch(w->call, worker);
    const float **at = op_take(&scratch, TILE_PIXELS, sizeof *at);
    struct nb_conv_f32 c = conv_of(w, &offset);
    c.y = op_take(&scratch, (size_t)(TILE_PIXELS * n_all), sizeof *c.y);
    for (int64_t i = (int64_t)begin; i < (int64_t)end; i++)
        for (int64_t from = 0; from < win->in[2]; from += TILE_PIXELS) {
            const int64_t pixels = NB_MIN(win->in[2] - from, (int64_t)TILE_PIXELS);
            tile(w, &c, w->x + i * win->in[2] * win->c, from, pixels, at);
            for (int64_t h = 0; h < win->kernel[1]; h++)
                deal(w->y + (i * win->kernel[1] + h) * row + from * n, c.y + h * n, pixels, n,
                     n_all);
        }
}

static void run(const struct nb_op_call *c)
{
    struct work w = {.call = c, .x = c->in[X]->data, .y = c->out[0]->data, .packed = c->prepared};
    uint8_t *at = c->shared;
    plan_of(c, &w.p);
    const struct nb_window *win = &w.p.w;
    const size_t m = (size_t)w.p.m;
    float *bias = op_take(&at, (size_t)w.p.n, sizeof *bias);
    memset(bias, 0, (size_t)w.p.n * sizeof *bias);
    for (int64_t t = 0; c->in[BIAS] && t < w.p.n / w.p.m; t++)
        memcpy(bias + (size_t)t * m, c->in[BIAS]->data, m * sizeof *bias);
    w.bias = bias;
    if (w.p.swap_x) {
        float *x = op_take(&at, (size_t)(win->n * win->pixels_in * win->c), sizeof *x);
        nb_window_to_last(x, w.x, win->n, win->c, win->pixels_in, c->pool);
        w.x = x;
    }
    if (w.p.swap_y)
        w.y = op_take(&at, (size_t)(win->n * win->pixels_out) * m, sizeof *w.y);
    if (!w.packed) {
        prepare(c, at);
        w.packed = (const void *)at;
    }
    nb_pool_for(c->pool, (size_t)(win->n * win->out[0] * (w.p.together ? win->in[1] : win->out[1])),
                1,
                w.p.together ? rows_together
                : w.p.apart  ? rows_apart
                             : rows,
                &w);
    if (w.p.swap_y)
        nb_window_to_first(c->out[0]->data, w.y, win->n, w.p.m, win->pixels_out, c->pool);
}

const struct nb_op nb_op_conv_transpose = {
    .name = "conv_transpose",
    .n_in_min = 2,
    .n_in = 3,
    .attrs = {"kernel", "stride", "dilation", "pads", "groups", "last", "size"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .scratch_bytes = scratch_bytes,
    .shared_bytes = shared_bytes,
    .run = run,
    .prepared_bytes = prepared_bytes,
    .prepare = prepare,
};
