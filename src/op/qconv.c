/* op/qconv.c: convolution of 8-bit integers (ONNX ConvInteger, and the first step of QLinearConv).
 *
 * x (U8 or I8; N, C, 1 to 3 dimensions), x_zero (x's type, one; absent: 0), w (U8 or I8; M, C / group, as many), w_zero (w's
 * type, one or M; absent: 0) -> y (I32; N, M, ...): sums of (x - x_zero) * (w - w_zero), modulo 2^32. Outside of x
 * there is x_zero. attrs strides, dilations, begin, end: lists; group.
 *
 * The plain way: a row of sums at a time, weight by weight.
 */
#include "op/op_internal.h"

enum { STRIDES, DILATIONS, BEGIN, END, GROUP };

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
    const int64_t group = n->attr[GROUP].i, most = INT64_C(1) << 30;
    if (!is_byte(x) || !is_byte(w) || !zeros_fit(g, n))
        return nb_graph_refuse(g, n, "8-bit integers, and zero points of their types, expected");
    if (x->rank < 3 || x->rank > 5 || w->rank != x->rank)
        return nb_graph_refuse(g, n, "1 to 3 dimensions beside the channels expected");
    if (group < 1 || x->dim[1].n != w->dim[1].n * (uint64_t)group ||
        w->dim[0].n % (uint64_t)group != 0)
        return nb_graph_refuse(g, n, "%llu channels, weights of %llu, %lld groups",
                               (unsigned long long)x->dim[1].n, (unsigned long long)w->dim[1].n,
                               (long long)group);
    out->type = NB_VALUE_I32;
    out->rank = x->rank;
    out->dim[0] = x->dim[0];
    out->dim[1] = w->dim[0];
    for (uint32_t a = STRIDES; a <= END; a++)
        if (n->attr[a].i != (int64_t)x->rank - 2)
            return nb_graph_refuse(g, n, "%lld entries in a list of %u", (long long)n->attr[a].i,
                                   x->rank - 2);
    for (uint32_t i = 0; i + 2 < x->rank; i++) {
        const int64_t stride = n->attr[STRIDES].list[i], step = n->attr[DILATIONS].list[i];
        const int64_t b = n->attr[BEGIN].list[i], e = n->attr[END].list[i];
        const int64_t size = (int64_t)x->dim[i + 2].n, k = (int64_t)w->dim[i + 2].n;
        if (stride < 1 || stride > most || step < 1 || step > most || b < 0 || b > most || e < 0 ||
            e > most || size > most || k < 1 || k > most / step)
            return nb_graph_refuse(g, n, "dimension %u: stride %lld, dilation %lld", i,
                                   (long long)stride, (long long)step);
        const int64_t room = size + b + e - (step * (k - 1) + 1);
        if (room < 0)
            return nb_graph_refuse(g, n, "dimension %u is smaller than the weights", i);
        out->dim[i + 2] = nb_dim_const((uint64_t)(room / stride + 1));
    }
    return true;
}

/* One of three dimensions; missing ones, in front, are 1. */
struct line {
    int64_t in, out, taps, stride, step, begin;
};

struct work {
    const struct nb_slot *x, *w, *w_zero;
    int32_t x_zero;
    int64_t m, c; /* output channels; input channels of a group */
    int64_t group;
    struct line dim[3];
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
    const struct line *d = &w->dim[2];
    const int64_t shift = tap * d->step - d->begin;
    for (int64_t i = 0; i < d->out; i++) {
        const int64_t at = i * d->stride + shift;
        if (at >= 0 && at < d->in) {
            const int32_t v = (byte_at(w->x, x + at) - w->x_zero) * weight;
            y[i] = (int32_t)((uint32_t)y[i] + (uint32_t)v);
        }
    }
}

/* All weights of input channel c of the group; image: where the channel's elements are. */
static void add_channel(const struct work *w, int32_t *y, int64_t image, int64_t weights,
                        const int64_t place[2], int32_t zero)
{
    const struct line *d = w->dim;
    for (int64_t a = 0; a < d[0].taps; a++)
        for (int64_t b = 0; b < d[1].taps; b++) {
            const int64_t at0 = place[0] * d[0].stride + a * d[0].step - d[0].begin;
            const int64_t at1 = place[1] * d[1].stride + b * d[1].step - d[1].begin;
            if (at0 < 0 || at0 >= d[0].in || at1 < 0 || at1 >= d[1].in)
                continue;
            for (int64_t k = 0; k < d[2].taps; k++)
                add_row(w, y, image + (at0 * d[1].in + at1) * d[2].in, k,
                        byte_at(w->w, weights + (a * d[1].taps + b) * d[2].taps + k) - zero);
        }
}

/* Rows of y: (N, M, first, second dimension). */
static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const struct line *d = w->dim;
    const int64_t taps = d[0].taps * d[1].taps * d[2].taps, size = d[0].in * d[1].in * d[2].in;
    (void)worker;
    for (size_t row = begin; row < end; row++) {
        int64_t rest = (int64_t)row;
        const int64_t at1 = rest % d[1].out, at0 = (rest /= d[1].out) % d[0].out;
        const int64_t m = (rest /= d[0].out) % w->m, n = rest / w->m;
        const int64_t first = m / (w->m / w->group) * w->c, place[2] = {at0, at1};
        const bool many = w->w_zero && nb_value_count(w->w_zero->value) > 1;
        const int32_t zero = w->w_zero ? byte_at(w->w_zero, many ? m : 0) : 0;
        int32_t *y = w->y + (int64_t)row * d[2].out;
        memset(y, 0, (size_t)d[2].out * sizeof *y);
        for (int64_t c = 0; c < w->c; c++)
            add_channel(w, y, (n * w->c * w->group + first + c) * size, (m * w->c + c) * taps,
                        place, zero);
    }
}

static void run(const struct nb_op_call *c)
{
    const struct nb_attr *attr = c->node->attr;
    const struct nb_value *x = c->in[0]->value, *w = c->in[2]->value, *y = c->out[0]->value;
    struct work work = {.x = c->in[0],
                        .w = c->in[2],
                        .w_zero = c->in[3],
                        .x_zero = c->in[1] ? byte_at(c->in[1], 0) : 0,
                        .m = (int64_t)w->dim[0].n,
                        .c = (int64_t)w->dim[1].n,
                        .group = attr[GROUP].i,
                        .y = c->out[0]->data};
    const uint32_t n_dims = x->rank - 2;
    for (uint32_t i = 0; i < 3; i++)
        work.dim[i] = (struct line){1, 1, 1, 1, 1, 0};
    for (uint32_t i = 0; i < n_dims; i++)
        work.dim[3 - n_dims + i] = (struct line){(int64_t)x->dim[i + 2].n, (int64_t)y->dim[i + 2].n,
                                                 (int64_t)w->dim[i + 2].n, attr[STRIDES].list[i],
                                                 attr[DILATIONS].list[i],  attr[BEGIN].list[i]};
    const uint64_t n = nb_value_count(y), cols = y->dim[y->rank - 1].n;
    if (n > 0)
        nb_pool_for(c->pool, (size_t)(n / cols), op_grain(cols * w->dim[1].n), rows, &work);
}

const struct nb_op nb_op_qconv = {
    .name = "qconv",
    .n_in_min = 3,
    .n_in = 4,
    .attrs = {[STRIDES] = "strides",
              [DILATIONS] = "dilations",
              [BEGIN] = "begin",
              [END] = "end",
              [GROUP] = "group"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
