/* op/conv_u8.c: convolution of quantized arrays, all of it in integers up to one multiplication for each result.
 *
 * x (U8; N, C, spatial), w (I8; M, C / groups, kernel; zero point 0), bias (I32; M, in units of x's scale times w's),
 * scale (F32; M) -> y (U8; N, M, spatial); last: x and y have their channels last. attrs kernel, stride, dilation, pads
 * (those before, then those behind), groups, last, zero_x, zero_y: zero points, low, high: bounds of y, which an
 * activation may narrow.
 *
 *     y = zero_y + round to even(clip((sum of (x - zero_x) * w + bias) * scale)),  scale[m] = sx * sw[m] / sy
 *
 * That is QLinearConv of ONNX; the last step is the kernel requant_u8_s32, for all operators of this kind. What lies
 * outside of x is zero_x. The sum of zero_x * w is in the bias before anything runs, so kernels see plain bytes.
 * Arrays of signed numbers are held plus 128 (net/pass_integer.c).
 */
#include "op/op.h"
#include "op/runs.h"

enum { GROUPS = NB_WINDOW_ATTRS, LAST, ZERO_X, ZERO_Y, LOW, HIGH };
enum { X, W, BIAS, SCALE };

#define BLOCK  64   /* channels whose sums are held together: a multiple of NB_CONV_PANEL */
#define PIXELS 48   /* outputs, at most                                                   */
#define SUMS   4096 /* held, about: they stay in the first cache                          */

struct plan {
    struct nb_window w;
    struct nb_runs r;
    int64_t m, groups, m_group, blocks; /* blocks: of a group                */
    int64_t pixels;                     /* outputs of a piece                */
    size_t panel;                       /* bytes of a panel of weights       */
    bool each, swap_y;                  /* channels alone; y's have to move */
};

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[X]), *w = op_value(g, n->in[W]);
    const struct nb_value *bias = op_value(g, n->in[BIAS]), *scale = op_value(g, n->in[SCALE]);
    struct nb_window win;
    if (!nb_window_read(g, n, x, n->attr[LAST].i != 0, &win) || !nb_window_slide(g, n, false, &win))
        return false;
    if (x->type != NB_VALUE_U8 || w->type != NB_VALUE_I8)
        return nb_graph_refuse(g, n, "uint8 and int8 arrays expected");
    if (!nb_window_weights(g, n, &win, w, n->attr[GROUPS].i, false))
        return false;
    if (bias->type != NB_VALUE_I32 || nb_value_count(bias) != w->dim[0].n ||
        scale->type != NB_VALUE_F32 || nb_value_count(scale) != w->dim[0].n)
        return nb_graph_refuse(g, n, "an int32 bias and a scale for each channel expected");
    if (!op_bytes(g, n, &n->attr[ZERO_X], HIGH - ZERO_X + 1))
        return false;
    out->type = NB_VALUE_U8;
    out->rank = x->rank;
    nb_window_dims(&win, (int64_t)w->dim[0].n, out);
    return true;
}

static void plan_of(const struct nb_op_call *c, struct plan *p)
{
    const struct nb_node *n = c->node;
    *p = (struct plan){.groups = n->attr[GROUPS].i, .m = (int64_t)c->in[W]->value->dim[0].n};
    nb_window_of(c, n->attr[LAST].i != 0, &p->w);
    p->m_group = p->m / p->groups;
    p->each = p->w.c == p->groups && p->m_group == 1 && p->groups > 1;
    nb_runs_of(&p->w, p->each ? NB_RUNS_EACH_CHANNEL : p->groups, 1, &p->r);
    p->blocks = (p->m_group + BLOCK - 1) / BLOCK;
    p->pixels = p->each ? NB_MAX(NB_MIN(SUMS / p->m, (int64_t)PIXELS), (int64_t)1) : PIXELS;
    p->panel = (size_t)(p->r.n * ((p->r.len + 3) / 4)) * NB_CONV_PANEL * 4;
    p->swap_y = !p->w.last && p->m > 1 && p->w.pixels_out > 1;
}

/* ---- memory: the bias with zero_x in it, then the weights as the kernels want them ---- */

static uint64_t panels(const struct plan *p)
{
    return (uint64_t)(p->groups * ((p->m_group + NB_CONV_PANEL - 1) / NB_CONV_PANEL));
}

static bool add_packed(const struct plan *p, size_t *bytes)
{
    return op_add_bytes(bytes, (uint64_t)p->m, sizeof(int32_t)) &&
           op_add_bytes(bytes, p->each ? (uint64_t)p->w.taps : panels(p),
                        p->each ? (size_t)p->m : p->panel);
}

static bool prepared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    struct plan p;
    plan_of(c, &p);
    *bytes = 0;
    return c->in[W]->value->kind == NB_VALUE_CONST && c->in[BIAS]->value->kind == NB_VALUE_CONST &&
           add_packed(&p, bytes);
}

static bool scratch_bytes(const struct nb_op_call *c, size_t *bytes)
{
    struct plan p;
    plan_of(c, &p);
    *bytes = 0;
    return op_add_bytes(bytes, (uint64_t)p.pixels, sizeof(void *)) &&
           op_add_bytes(bytes, (uint64_t)p.pixels,
                        (p.each ? (size_t)p.m : BLOCK) * sizeof(int32_t)) &&
           op_add_bytes(bytes, p.each ? 0 : 1, NB_CONV_U8_SCRATCH);
}

static bool shared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    struct plan p;
    plan_of(c, &p);
    *bytes = 0;
    return op_add_bytes(bytes, (uint64_t)p.r.n, sizeof(size_t)) &&
           op_add_bytes(bytes, nb_runs_image_bytes(&p.w, &p.r), 1) &&
           op_add_bytes(bytes, p.swap_y ? (uint64_t)(p.w.n * p.w.pixels_out * p.m) : 0, 1) &&
           (c->prepared || add_packed(&p, bytes));
}

/* A panel of weights, from output `first` of all on. */
static void pack_panel(int8_t *to, const struct plan *p, const int8_t *w, int64_t first,
                       int64_t cols)
{
    const int64_t c = p->w.c / p->groups, taps = p->w.taps / p->r.n; /* of a run */
    const int64_t quads = (p->r.len + 3) / 4;
    for (int64_t run = 0; run < p->r.n; run++)
        for (int64_t i = 0; i < p->r.len; i++)
            for (int64_t j = 0; j < cols; j++)
                to[((run * quads + i / 4) * NB_CONV_PANEL + j) * 4 + i % 4] =
                    w[((first + j) * c + i % c) * p->w.taps + run * taps + i / c];
}

static void prepare(const struct nb_op_call *c, void *memory)
{
    const int8_t *w = c->in[W]->data;
    const int32_t *bias = c->in[BIAS]->data;
    uint8_t *at = memory;
    struct plan p;
    plan_of(c, &p);
    const int64_t k = p.w.c / p.groups * p.w.taps;
    const uint32_t zero = (uint32_t)c->node->attr[ZERO_X].i;
    int32_t *corrected = op_take(&at, (size_t)p.m, sizeof *corrected);
    int8_t *to = (int8_t *)at;
    for (int64_t m = 0; m < p.m; m++) {
        int64_t sum = 0;
        for (int64_t i = 0; i < k; i++)
            sum += w[m * k + i];
        corrected[m] = (int32_t)((uint32_t)bias[m] - zero * (uint32_t)sum);
    }
    if (p.each) {
        for (int64_t t = 0; t < p.w.taps; t++)
            for (int64_t m = 0; m < p.m; m++)
                to[t * p.m + m] = w[m * p.w.taps + t];
        return;
    }
    memset(to, 0, (size_t)panels(&p) * p.panel);
    for (int64_t g = 0; g < p.groups; g++)
        for (int64_t m = 0; m < p.m_group; m += NB_CONV_PANEL, to += p.panel)
            pack_panel(to, &p, w, g * p.m_group + m, NB_MIN(p.m_group - m, (int64_t)NB_CONV_PANEL));
}

/* ---- a piece: some outputs, some channels of a group ---- */

struct work {
    struct plan p;
    const struct nb_op_call *call;
    const void *image;
    const size_t *offset;
    const int32_t *bias;
    const int8_t *packed;
    uint8_t *y;
};

static void requant(const struct work *w, const int32_t *acc, int64_t from, int64_t rows,
                    int64_t first, int64_t cols)
{
    const struct nb_attr *attr = w->call->node->attr;
    const struct nb_requant q = {.y = w->y + from * w->p.m + first,
                                 .acc = acc,
                                 .bias = w->bias + first,
                                 .scale = (const float *)w->call->in[SCALE]->data + first,
                                 .y_stride = (size_t)w->p.m,
                                 .acc_stride = (size_t)cols,
                                 .n_rows = (size_t)rows,
                                 .n = (size_t)cols,
                                 .zero = (int32_t)attr[ZERO_Y].i,
                                 .low = (int32_t)attr[LOW].i,
                                 .high = (int32_t)attr[HIGH].i};
    w->call->kernels->requant_u8_s32(&q);
}

static void multiply(const struct work *w, const void **at, uint8_t *scratch, int64_t from,
                     int64_t rows, int64_t group, int64_t block)
{
    const struct plan *p = &w->p;
    const int64_t in_group = (p->m_group + NB_CONV_PANEL - 1) / NB_CONV_PANEL;
    const int64_t first = block * BLOCK, cols = NB_MIN(p->m_group - first, (int64_t)BLOCK);
    int32_t *acc = op_take(&scratch, (size_t)p->pixels, BLOCK * sizeof *acc);
    const struct nb_conv_u8 c = {.y = acc,
                                 .x = (const uint8_t *const *)at,
                                 .offset = w->offset,
                                 .w = w->packed +
                                      (size_t)(group * in_group + first / NB_CONV_PANEL) * p->panel,
                                 .scratch = scratch,
                                 .y_stride = (size_t)cols,
                                 .n_rows = (size_t)rows,
                                 .n_runs = (size_t)p->r.n,
                                 .len = (size_t)p->r.len,
                                 .n = (size_t)cols};
    nb_runs_point(&p->w, &p->r, w->image, from, rows, group, at);
    w->call->kernels->conv_s32_u8_s8(&c);
    requant(w, acc, from, rows, group * p->m_group + first, cols);
}

static void each_channel(const struct work *w, const void **at, int32_t *acc, int64_t from,
                         int64_t rows)
{
    const struct plan *p = &w->p;
    const struct nb_dwconv_u8 d = {.y = acc,
                                   .x = (const uint8_t *const *)at,
                                   .offset = w->offset,
                                   .w = w->packed,
                                   .y_stride = (size_t)p->m,
                                   .n_rows = (size_t)rows,
                                   .n_taps = (size_t)p->r.n,
                                   .n = (size_t)p->m};
    nb_runs_point(&p->w, &p->r, w->image, from, rows, 0, at);
    w->call->kernels->dwconv_s32_u8_s8(&d);
    requant(w, acc, from, rows, 0, p->m);
}

static void pieces(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct plan *p = &w->p;
    const int64_t total = p->w.n * p->w.pixels_out, each = p->each ? 1 : p->groups * p->blocks;
    uint8_t *scratch = op_scratch(w->call, worker);
    const void **at = op_take(&scratch, (size_t)p->pixels, sizeof *at);
    for (size_t i = begin; i < end; i++) {
        const int64_t from = (int64_t)i / each * p->pixels, part = (int64_t)i % each;
        const int64_t rows = NB_MIN(total - from, p->pixels);
        if (p->each)
            each_channel(w, at, (void *)scratch, from, rows);
        else
            multiply(w, at, scratch, from, rows, part / p->blocks, part % p->blocks);
    }
}

static void channels_first(uint8_t *to, const uint8_t *y, int64_t n, int64_t m, int64_t pixels)
{
    for (int64_t image = 0; image < n; image++, y += m * pixels)
        for (int64_t c = 0; c < m; c++)
            for (int64_t i = 0; i < pixels; i++)
                *to++ = y[i * m + c];
}

static void run(const struct nb_op_call *c)
{
    struct work w = {.call = c, .image = c->in[X]->data, .y = c->out[0]->data};
    uint8_t *shared = c->shared;
    plan_of(c, &w.p);
    const struct plan *p = &w.p;
    const int64_t total = p->w.n * p->w.pixels_out;
    size_t *offset = op_take(&shared, (size_t)p->r.n, sizeof *offset);
    uint8_t *image = op_take(&shared, (size_t)nb_runs_image_bytes(&p->w, &p->r), 1);
    nb_runs_offsets(&p->w, &p->r, offset);
    w.offset = offset;
    if (p->r.copy) {
        nb_runs_copy(&p->w, &p->r, image, c->in[X]->data, (uint8_t)c->node->attr[ZERO_X].i,
                     c->pool);
        w.image = image;
    }
    if (p->swap_y)
        w.y = op_take(&shared, (size_t)(total * p->m), 1);
    const uint8_t *packed = c->prepared;
    if (!packed) {
        prepare(c, shared);
        packed = shared;
    }
    w.bias = (const void *)packed;
    w.packed = (const int8_t *)packed +
               ((size_t)p->m * sizeof(int32_t) + NB_ALIGN - 1) / NB_ALIGN * NB_ALIGN;
    const int64_t tiles = (total + p->pixels - 1) / p->pixels;
    nb_pool_for(c->pool, (size_t)(tiles * (p->each ? 1 : p->groups * p->blocks)), 1, pieces, &w);
    if (p->swap_y)
        channels_first(c->out[0]->data, w.y, p->w.n, p->m, p->w.pixels_out);
}

static uint64_t macs(const struct nb_graph *g, const struct nb_node *n)
{
    const struct nb_value *w = op_value(g, n->in[W]);
    const uint64_t m = w->dim[0].n;
    return m ? nb_value_count(op_value(g, n->out[0])) * (nb_value_count(w) / m) : 0;
}

const struct nb_op nb_op_conv_u8 = {
    .name = "conv_u8",
    .n_in_min = 4,
    .n_in = 4,
    .attrs = {"kernel", "stride", "dilation", "pads", "groups", "last", "zero_x", "zero_y", "low",
              "high"},
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
