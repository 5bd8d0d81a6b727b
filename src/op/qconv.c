/* op/qconv.c: convolution of 8-bit integers (ONNX ConvInteger, and the first step of QLinearConv).
 *
 * x (U8 or I8; N, C, 1 to 3 dimensions), x_zero (x's type, one; absent: 0), w (U8 or I8; M, C / groups, as many), w_zero (w's
 * type, one or M; absent: 0) -> y (I32; N, M, ...): sums of (x - x_zero) * (w - w_zero), modulo 2^32. Outside of x
 * there is x_zero. attrs kernel, stride, dilation, pads (those before, then those behind), groups.
 *
 * The plain way: a row of sums at a time, weight by weight. Layers whose weights and scales are known run as conv_u8.
 */
#include "op/op.h"
#include "op/window.h"

enum { GROUPS = NB_WINDOW_ATTRS };

static bool is_byte(const struct nb_value *v)
{
    return v->type == NB_VALUE_U8 || v->type == NB_VALUE_I8;
}

static bool zeros_fit(const struct nb_graph *g, const struct nb_node *n)
{
    const struct nb_value *x = op_value(g, n->in[0]), *w = op_value(g, n->in[2]);
    const struct nb_value *xz = n->in[1] ? op_value(g, n->in[1]) : NULL;
    const struct nb_value *wz = n->in[3] ? op_value(g, n->in[3]) : NULL;
    return (!xz || (xz->type == x->type && nb_value_count(xz) == 1)) &&
           (!wz || (wz->type == w->type &&
                    (nb_value_count(wz) == 1 || nb_value_count(wz) == w->dim[0].n)));
}

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]), *w = op_value(g, n->in[2]);
    struct nb_window win;
    if (!is_byte(x) || !is_byte(w) || !zeros_fit(g, n))
        return nb_graph_refuse(g, n, "8-bit integers, and zero points of their types, expected");
    if (!nb_window_read(g, n, x, false, &win) || !nb_window_slide(g, n, false, &win))
        return false;
    if (!nb_window_weights(g, n, &win, w, n->attr[GROUPS].i, false))
        return false;
    out->type = NB_VALUE_I32;
    out->rank = x->rank;
    nb_window_dims(&win, (int64_t)w->dim[0].n, out);
    return true;
}

struct work {
    const struct nb_slot *x, *w, *w_zero;
    int32_t x_zero;
    int64_t m, c; /* output channels; input channels of a group */
    int64_t group;
    struct nb_window win;
    int32_t *y;
};

static int32_t byte_at(const struct nb_slot *s, int64_t i)
{
    return s->value->type == NB_VALUE_U8 ? ((const uint8_t *)s->data)[i]
                                         : ((const int8_t *)s->data)[i];
}

/* y (out) += (x - x_zero) * weight along the last dimension, where there is an x. */
static void add_row(const struct work *w, int32_t *y, int64_t x, int64_t tap, int32_t weight)
{
    const struct nb_window *d = &w->win;
    const int64_t shift = tap * d->dilation[2] - d->begin[2];
    for (int64_t i = 0; i < d->out[2]; i++) {
        const int64_t at = i * d->stride[2] + shift;
        if (at >= 0 && at < d->in[2]) {
            const int32_t v = (byte_at(w->x, x + at) - w->x_zero) * weight;
            y[i] = (int32_t)((uint32_t)y[i] + (uint32_t)v);
        }
    }
}

/* All weights of input channel c of the group; image: where the channel's elements are. */
static void add_channel(const struct work *w, int32_t *y, int64_t image, int64_t weights,
                        const int64_t place[2], int32_t zero)
{
    const struct nb_window *d = &w->win;
    for (int64_t a = 0; a < d->kernel[0]; a++)
        for (int64_t b = 0; b < d->kernel[1]; b++) {
            const int64_t at0 = place[0] * d->stride[0] + a * d->dilation[0] - d->begin[0];
            const int64_t at1 = place[1] * d->stride[1] + b * d->dilation[1] - d->begin[1];
            if (at0 < 0 || at0 >= d->in[0] || at1 < 0 || at1 >= d->in[1])
                continue;
            for (int64_t k = 0; k < d->kernel[2]; k++)
                add_row(w, y, image + (at0 * d->in[1] + at1) * d->in[2], k,
                        byte_at(w->w, weights + (a * d->kernel[1] + b) * d->kernel[2] + k) - zero);
        }
}

/* Rows of y: (N, M, first, second dimension). */
static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct nb_window *d = &w->win;
    (void)worker;
    for (size_t row = begin; row < end; row++) {
        int64_t rest = (int64_t)row;
        const int64_t at1 = rest % d->out[1], at0 = (rest /= d->out[1]) % d->out[0];
        const int64_t m = (rest /= d->out[0]) % w->m, n = rest / w->m;
        const int64_t first = m / (w->m / w->group) * w->c, place[2] = {at0, at1};
        const bool many = w->w_zero && nb_value_count(w->w_zero->value) > 1;
        const int32_t zero = w->w_zero ? byte_at(w->w_zero, many ? m : 0) : 0;
        int32_t *y = w->y + (int64_t)row * d->out[2];
        memset(y, 0, (size_t)d->out[2] * sizeof *y);
        for (int64_t c = 0; c < w->c; c++)
            add_channel(w, y, (n * w->c * w->group + first + c) * d->pixels_in,
                        (m * w->c + c) * d->taps, place, zero);
    }
}

static void run(const struct nb_op_call *c)
{
    const struct nb_value *w = c->in[2]->value, *y = c->out[0]->value;
    struct work work = {.x = c->in[0],
                        .w = c->in[2],
                        .w_zero = c->in[3],
                        .x_zero = c->in[1] ? byte_at(c->in[1], 0) : 0,
                        .m = (int64_t)w->dim[0].n,
                        .c = (int64_t)w->dim[1].n,
                        .group = c->node->attr[GROUPS].i,
                        .y = c->out[0]->data};
    nb_window_of(c, false, &work.win);
    const uint64_t n = nb_value_count(y), cols = y->dim[y->rank - 1].n;
    if (n > 0)
        nb_pool_for(c->pool, (size_t)(n / cols), op_grain(cols * w->dim[1].n), rows, &work);
}

const struct nb_op nb_op_qconv = {
    .name = "qconv",
    .n_in_min = 3,
    .n_in = 4,
    .attrs = {"kernel", "stride", "dilation", "pads", "groups"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
