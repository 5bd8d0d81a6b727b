/* op/resize.c: an array sampled again at other places (ONNX Resize, Upsample).
 *
 * x (any; N, C, ...), scales (F64, x's rank, known: output places to an input place), roi (F64, twice x's rank, known: starts,
 * then ends, of NB_PLACE_CROP) -> y (dims). attrs: mode: enum nb_resize; place: enum nb_resize_place; round: enum
 * nb_resize_round (nearest); dims: of y; exclude: neighbours outside x have no weight (else the nearest inside stands
 * for them); antialias: filters as wide as the output's places are apart; cubic_a; beyond: what y is outside x with
 * NB_PLACE_CROP; last: 1 if x and y hold channels last, while scales, roi and dims speak of channels first.
 *
 * Interpolation is of F32, and so is NB_PLACE_CROP; nearest neighbours are of any type. A dimension that keeps its size and
 * place is left alone. The neighbours and weights of each place are worked out for a dimension before the elements
 * are touched: in doubles, but for nearest neighbours, where a place on the border between two should fall to the
 * side that other runtimes choose, which compute in single precision. Interpolation goes dimension by dimension,
 * the last one first; each element is a sum in the order of its neighbours.
 */
#include <math.h>

#include "op/op.h"
#include "op/op_internal.h"

enum { MODE, PLACE, ROUND, DIMS, EXCLUDE, ANTIALIAS, CUBIC_A, BEYOND, LAST };

#define MOST_TAPS 4096

/* A dimension of x and what becomes of it. */
struct axis {
    uint64_t n_in, n_out;
    double scale, roi_start, roi_end;
    bool moves;
    uint32_t taps;  /* neighbours that an element has */
    int64_t *index; /* (n_out, taps) */
    float *weight;  /* (n_out, taps) */
    uint8_t *out;   /* (n_out) beyond x */
};

/* ---- what a node says ---- */

/* Which of ONNX's dimensions is dimension i of x. */
static uint32_t first_dim(const struct nb_node *n, uint32_t i, uint32_t rank)
{
    if (n->attr[LAST].i == 0 || i == 0 || rank < 3)
        return i;
    return i + 1 == rank ? 1 : i + 1;
}

static bool is_antialias(const struct nb_node *n, double scale)
{
    return n->attr[ANTIALIAS].i != 0 && n->attr[MODE].i != NB_RESIZE_NEAREST && scale < 1.0;
}

/* Places before and after the one left of an element that weigh in: from 1 - reach to reach. */
static uint32_t reach_of(const struct nb_node *n, double scale)
{
    const double radius = n->attr[MODE].i == NB_RESIZE_CUBIC ? 2.0 : 1.0;
    return (uint32_t)ceil(is_antialias(n, scale) ? radius / scale : radius);
}

static uint32_t taps_of(const struct nb_node *n, double scale)
{
    return n->attr[MODE].i == NB_RESIZE_NEAREST ? 1 : 2 * reach_of(n, scale);
}

/* Dimension i of x. scales, roi: the data of inputs 1 and 2 (NULL: absent). */
static struct axis axis_of(const struct nb_node *n, const struct nb_value *x, uint32_t i,
                           const double *scales, const double *roi)
{
    const uint32_t k = first_dim(n, i, x->rank);
    struct axis a = {.n_in = x->dim[i].n,
                     .n_out = (uint64_t)n->attr[DIMS].list[k],
                     .scale = scales[k],
                     .roi_end = 1.0};
    if (roi && n->attr[PLACE].i == NB_PLACE_CROP) {
        a.roi_start = roi[k];
        a.roi_end = roi[x->rank + k];
    }
    a.moves =
        a.n_in != a.n_out || fabs(a.scale - 1.0) > 1e-6 || a.roi_start != 0.0 || a.roi_end != 1.0;
    a.taps = taps_of(n, a.scale);
    return a;
}

static bool is_known(const struct nb_value *v, uint64_t n)
{
    return v->kind == NB_VALUE_CONST && v->type == NB_VALUE_F64 && nb_value_count(v) == n;
}

static bool attrs_fit(const struct nb_node *n)
{
    const int64_t mode = n->attr[MODE].i, place = n->attr[PLACE].i, round = n->attr[ROUND].i;
    return mode >= 0 && mode < NB_N_RESIZE && place >= 0 && place < NB_N_PLACE && round >= 0 &&
           round < NB_N_ROUND;
}

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]), *scales = op_value(g, n->in[1]);
    const struct nb_value *roi = n->in[2] ? op_value(g, n->in[2]) : NULL;
    const bool only_f32 = n->attr[MODE].i != NB_RESIZE_NEAREST || n->attr[PLACE].i == NB_PLACE_CROP;
    if (!attrs_fit(n) || !op_is_plain(x) || (only_f32 && x->type != NB_VALUE_F32))
        return nb_graph_refuse(g, n, "mode %lld is of float32", (long long)n->attr[MODE].i);
    if (!is_known(scales, x->rank) || (roi && !is_known(roi, 2 * (uint64_t)x->rank)) ||
        n->attr[DIMS].i != (int64_t)x->rank)
        return nb_graph_refuse(g, n, "a known scale and size for each of %u dimensions expected",
                               x->rank);
    if (!op_list_dims(g, n, &n->attr[DIMS], out))
        return false;
    out->type = x->type;
    for (uint32_t i = 0; i < x->rank; i++) {
        const uint32_t k = first_dim(n, i, x->rank);
        const double scale = ((const double *)scales->data)[k];
        if (!(scale > 0.0 && scale < 1e9) || (is_antialias(n, scale) && scale < 4.0 / MOST_TAPS))
            return nb_graph_refuse(g, n, "scale %g of dimension %u", scale, k);
        if (x->dim[i].n == 0 && n->attr[DIMS].list[k] != 0)
            return nb_graph_refuse(g, n, "nothing to sample in dimension %u", k);
        out->dim[i] = nb_dim_const((uint64_t)n->attr[DIMS].list[k]);
    }
    return true;
}

static void axes_of(const struct nb_op_call *c, struct axis *axes)
{
    const struct nb_value *x = c->in[0]->value;
    for (uint32_t i = 0; i < x->rank; i++)
        axes[i] = axis_of(c->node, x, i, c->in[1]->data, c->in[2] ? c->in[2]->data : NULL);
}

/* ---- memory: the tables, then two arrays between the dimensions' passes ---- */

/* Elements after the passes of dimensions i and on. */
static bool passed(const struct nb_value *x, const struct axis *axes, uint32_t i, uint64_t *n)
{
    *n = 1;
    for (uint32_t k = 0; k < x->rank; k++)
        if (!nb_mul_u64(n, *n, k < i ? axes[k].n_in : axes[k].n_out))
            return false;
    return true;
}

/* The largest array between two passes. */
static bool between(const struct nb_op_call *c, const struct axis *axes, uint64_t *most)
{
    const struct nb_value *x = c->in[0]->value;
    bool first = false; /* is there a pass before this one? */
    *most = 0;
    if (c->node->attr[MODE].i == NB_RESIZE_NEAREST)
        return true;
    for (uint32_t i = 0; i < x->rank; i++) { /* the array that enters the pass of dimension i */
        uint64_t n;
        first = false;
        for (uint32_t k = i + 1; k < x->rank; k++)
            first = first || axes[k].moves;
        if (!axes[i].moves || !first)
            continue;
        if (!passed(x, axes, i + 1, &n))
            return false;
        *most = NB_MAX(*most, n);
    }
    return true;
}

static bool shared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    const struct nb_value *x = c->in[0]->value;
    struct axis axes[NB_VALUE_DIMS];
    uint64_t most;
    *bytes = 0;
    axes_of(c, axes);
    for (uint32_t i = 0; i < x->rank; i++) {
        uint64_t n;
        if (!nb_mul_u64(&n, axes[i].n_out, axes[i].taps) ||
            !op_add_bytes(bytes, n, sizeof(int64_t)) || !op_add_bytes(bytes, n, sizeof(float)) ||
            !op_add_bytes(bytes, axes[i].n_out, 1))
            return false;
    }
    return between(c, axes, &most) && op_add_bytes(bytes, most, sizeof(float)) &&
           op_add_bytes(bytes, most, sizeof(float));
}

/* ---- places ---- */

/* ONNX Resize, coordinate_transformation_mode: i of n_out, in x. */
static double place_in(enum nb_resize_place place, const struct axis *a, double i)
{
    const double n = (double)a->n_in, s = a->scale, wide = s * n; /* not rounded to n_out */
    const double middle = n / 2.0 * (1.0 - (double)a->n_out / wide);
    switch (place) {
    case NB_PLACE_HALF_PIXEL_SYMMETRIC:
        return middle + (i + 0.5) / s - 0.5;
    case NB_PLACE_PYTORCH_HALF_PIXEL:
        return a->n_out > 1 ? (i + 0.5) / s - 0.5 : 0.0;
    case NB_PLACE_TF_HALF_PIXEL_FOR_NN:
        return (i + 0.5) / s;
    case NB_PLACE_ALIGN_CORNERS:
        return a->n_out > 1 ? i * (n - 1.0) / (wide - 1.0) : 0.0;
    case NB_PLACE_ASYMMETRIC:
        return i / s;
    case NB_PLACE_CROP:
        return a->n_out > 1
                   ? (a->roi_start + i * (a->roi_end - a->roi_start) / (wide - 1.0)) * (n - 1.0)
                   : 0.5 * (a->roi_start + a->roi_end) * (n - 1.0);
    case NB_PLACE_HALF_PIXEL:
    case NB_N_PLACE:
    default:
        return (i + 0.5) / s - 0.5;
    }
}

/* The modes that exporters use for nearest neighbours, in single precision. */
static double nearest_place(enum nb_resize_place place, const struct axis *a, double i)
{
    const float s = (float)a->scale, at = (float)i;
    switch (place) {
    case NB_PLACE_HALF_PIXEL:
        return (double)((at + 0.5F) / s - 0.5F);
    case NB_PLACE_PYTORCH_HALF_PIXEL:
        return a->n_out > 1 ? (double)((at + 0.5F) / s - 0.5F) : 0.0;
    case NB_PLACE_TF_HALF_PIXEL_FOR_NN:
        return (double)((at + 0.5F) / s);
    case NB_PLACE_ASYMMETRIC:
        return (double)(at / s);
    case NB_PLACE_HALF_PIXEL_SYMMETRIC:
    case NB_PLACE_ALIGN_CORNERS:
    case NB_PLACE_CROP:
    case NB_N_PLACE:
    default:
        return (double)(float)place_in(place, a, i);
    }
}

static double round_place(enum nb_resize_round how, double at, double scale)
{
    switch (how) {
    case NB_ROUND_PREFER_CEIL:
        return floor(at + 0.5);
    case NB_ROUND_FLOOR:
        return floor(at);
    case NB_ROUND_CEIL:
        return ceil(at);
    case NB_ROUND_OUTWARD:
        return scale < 1.0 ? ceil(at) : floor(at);
    case NB_ROUND_PREFER_FLOOR:
    case NB_N_ROUND:
    default:
        return ceil(at - 0.5);
    }
}

static int64_t inside(double at, uint64_t n)
{
    return (int64_t)NB_MIN(NB_MAX(at, 0.0), (double)(n - 1));
}

/* Weight of a neighbour at distance d; cubic: Keys 1981 with a. */
static double filter(enum nb_resize mode, double d, double a)
{
    d = fabs(d);
    if (mode == NB_RESIZE_LINEAR)
        return NB_MAX(1.0 - d, 0.0);
    if (d <= 1.0)
        return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
    return d < 2.0 ? ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a : 0.0;
}

static void weigh(const struct nb_node *n, const struct axis *a, uint64_t i, double at)
{
    const bool wide = is_antialias(n, a->scale), exclude = n->attr[EXCLUDE].i != 0;
    const double left = floor(at), first = left + 1.0 - (double)(a->taps / 2);
    const double narrow = wide ? a->scale : 1.0;
    const size_t row = (size_t)i * a->taps;
    double sum = 0.0;
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t k = 0; k < a->taps; k++) {
            const double where = first + (double)k;
            const bool outside = where < 0.0 || where > (double)(a->n_in - 1);
            const double w = exclude && outside ? 0.0
                                                : filter((enum nb_resize)n->attr[MODE].i,
                                                         (where - at) * narrow, n->attr[CUBIC_A].f);
            if (pass == 0) {
                sum += w;
                continue;
            }
            a->index[row + k] = inside(where, a->n_in);
            a->weight[row + k] = (float)((wide || exclude) && sum != 0.0 ? w / sum : w);
        }
}

static void fill_axis(const struct nb_node *n, struct axis *a, uint8_t **memory)
{
    const enum nb_resize_place place = (enum nb_resize_place)n->attr[PLACE].i;
    const size_t rows = (size_t)a->n_out;
    a->index = op_take(memory, rows * a->taps, sizeof *a->index);
    a->weight = op_take(memory, rows * a->taps, sizeof *a->weight);
    a->out = op_take(memory, rows, 1);
    for (uint64_t i = 0; i < a->n_out; i++) {
        const bool near = n->attr[MODE].i == NB_RESIZE_NEAREST;
        const double at = near ? nearest_place(place, a, (double)i) : place_in(place, a, (double)i);
        a->out[i] = place == NB_PLACE_CROP && !(at >= 0.0 && at <= (double)a->n_in - 1.0);
        if (!near)
            weigh(n, a, i, at);
        else
            a->index[i] =
                a->moves ? inside(round_place((enum nb_resize_round)n->attr[ROUND].i, at, a->scale),
                                  a->n_in)
                         : (int64_t)i;
    }
}

/* ---- nearest neighbours: all dimensions at once ---- */

struct pick {
    const struct axis *axes;
    uint32_t last;      /* the last dimension that moves */
    size_t item, block; /* bytes of an element, and of all that follows `last` */
    const uint8_t *src;
    uint8_t *dst;
};

#define PICK(T)                                                                                    \
    do {                                                                                           \
        const T *s = (const void *)from;                                                           \
        T *t = (void *)to;                                                                         \
        for (size_t i = 0; i < n; i++)                                                             \
            t[i] = s[a->index[i]];                                                                 \
    } while (0)

static void pick_row(const struct pick *p, uint8_t *to, const uint8_t *from)
{
    const struct axis *a = &p->axes[p->last];
    const size_t n = (size_t)a->n_out;
    if (p->block == 1)
        PICK(uint8_t);
    else if (p->block == 2 && p->item == 2)
        PICK(uint16_t);
    else if (p->block == 4 && p->item == 4)
        PICK(uint32_t);
    else if (p->block == 8 && p->item == 8)
        PICK(uint64_t);
    else
        for (size_t i = 0; i < n; i++)
            memcpy(to + i * p->block, from + (size_t)a->index[i] * p->block, p->block);
}

static void pick_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct pick *p = ctx;
    const struct axis *a = &p->axes[p->last];
    (void)worker;
    for (size_t row = begin; row < end; row++) {
        size_t rest = row, at = 0, step = 1;
        for (uint32_t i = p->last; i-- > 0;) {
            at += step * (size_t)p->axes[i].index[rest % (size_t)p->axes[i].n_out];
            rest /= (size_t)p->axes[i].n_out;
            step *= (size_t)p->axes[i].n_in;
        }
        pick_row(p, p->dst + row * (size_t)a->n_out * p->block,
                 p->src + at * (size_t)a->n_in * p->block);
    }
}

static void pick_all(const struct nb_op_call *c, const struct axis *axes, uint32_t rank,
                     uint32_t last)
{
    struct pick p = {.axes = axes, .last = last, .src = c->in[0]->data, .dst = c->out[0]->data};
    size_t rows = 1;
    p.item = p.block = nb_value_item_bytes(c->in[0]->value->type);
    for (uint32_t i = 0; i < last; i++)
        rows *= (size_t)axes[i].n_out;
    for (uint32_t i = last + 1; i < rank; i++)
        p.block *= (size_t)axes[i].n_out;
    nb_pool_for(c->pool, rows, op_grain(axes[last].n_out * p.block / p.item), pick_rows, &p);
}

/* ---- interpolation: one dimension of (outer, n, inner) ---- */

struct blend {
    const struct axis *a;
    const float *src; /* (outer, n_in, inner)  */
    float *dst;       /* (outer, n_out, inner) */
    size_t inner;
};

/* Neighbouring elements have the same weights. */
static void blend_row(float *to, const float *src, const int64_t *index, const float *w,
                      uint32_t taps, size_t inner)
{
    const float *a = src + (size_t)index[0] * inner, *b = src + (size_t)index[1] * inner;
    if (taps == 4) {
        const float *c = src + (size_t)index[2] * inner, *d = src + (size_t)index[3] * inner;
        for (size_t i = 0; i < inner; i++)
            to[i] = w[0] * a[i] + w[1] * b[i] + w[2] * c[i] + w[3] * d[i];
        return;
    }
    for (size_t i = 0; i < inner; i++)
        to[i] = w[0] * a[i] + w[1] * b[i];
    for (uint32_t k = 2; k < taps; k++) {
        const float *more = src + (size_t)index[k] * inner;
        for (size_t i = 0; i < inner; i++)
            to[i] += w[k] * more[i];
    }
}

static void blend_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct blend *b = ctx;
    const struct axis *a = b->a;
    const size_t n_out = (size_t)a->n_out, n_in = (size_t)a->n_in;
    size_t outer = begin / n_out, i = begin % n_out;
    (void)worker;
    for (size_t row = begin; row < end; row++) {
        blend_row(b->dst + row * b->inner, b->src + outer * n_in * b->inner, a->index + i * a->taps,
                  a->weight + i * a->taps, a->taps, b->inner);
        i++;
        if (i == n_out) {
            i = 0;
            outer++;
        }
    }
}

/* Single elements: a line of the last dimension at a time. */
static void blend_lines(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct blend *b = ctx;
    const struct axis *a = b->a;
    (void)worker;
    for (size_t line = begin; line < end; line++) {
        const float *src = b->src + line * (size_t)a->n_in, *w = a->weight;
        float *to = b->dst + line * (size_t)a->n_out;
        const int64_t *at = a->index;
        for (size_t i = 0; i < (size_t)a->n_out; i++, at += a->taps, w += a->taps) {
            float sum = w[0] * src[at[0]] + w[1] * src[at[1]];
            for (uint32_t k = 2; k < a->taps; k++)
                sum += w[k] * src[at[k]];
            to[i] = sum;
        }
    }
}

static void blend_axis(const struct nb_op_call *c, const struct axis *axes, uint32_t rank,
                       uint32_t i, float *dst, const float *src)
{
    struct blend b = {.a = &axes[i], .src = src, .dst = dst, .inner = 1};
    size_t outer = 1;
    for (uint32_t k = 0; k < i; k++)
        outer *= (size_t)axes[k].n_in;
    for (uint32_t k = i + 1; k < rank; k++)
        b.inner *= (size_t)axes[k].n_out;
    if (b.inner == 1)
        nb_pool_for(c->pool, outer, op_grain(axes[i].n_out * axes[i].taps), blend_lines, &b);
    else
        nb_pool_for(c->pool, outer * (size_t)axes[i].n_out, op_grain(b.inner * axes[i].taps),
                    blend_rows, &b);
}

static void blend_all(const struct nb_op_call *c, const struct axis *axes, uint32_t rank,
                      uint32_t first, uint8_t *memory)
{
    const float *src = c->in[0]->data;
    float *rooms[2];
    unsigned next = 0;
    uint64_t most;
    if (!between(c, axes, &most)) /* cannot be: shared_bytes asked it */
        return;
    rooms[0] = op_take(&memory, (size_t)most, sizeof(float));
    rooms[1] = op_take(&memory, (size_t)most, sizeof(float));
    for (uint32_t i = rank; i-- > 0;) {
        if (!axes[i].moves)
            continue;
        float *dst = i == first ? c->out[0]->data : rooms[next];
        next = 1 - next;
        blend_axis(c, axes, rank, i, dst, src);
        src = dst;
    }
}

/* ---- all ---- */

/* Where dimension i of y is beyond x. */
static void fill_beyond(const struct nb_op_call *c, const struct axis *axes, uint32_t rank,
                        uint32_t i)
{
    const float value = (float)c->node->attr[BEYOND].f;
    float *y = c->out[0]->data;
    size_t outer = 1, inner = 1;
    for (uint32_t k = 0; k < i; k++)
        outer *= (size_t)axes[k].n_out;
    for (uint32_t k = i + 1; k < rank; k++)
        inner *= (size_t)axes[k].n_out;
    for (size_t o = 0; o < outer; o++)
        for (size_t at = 0; at < (size_t)axes[i].n_out; at++, y += inner)
            for (size_t k = 0; axes[i].out[at] && k < inner; k++)
                y[k] = value;
}

static void run(const struct nb_op_call *c)
{
    const struct nb_value *x = c->in[0]->value;
    const uint32_t rank = x->rank;
    struct axis axes[NB_VALUE_DIMS];
    uint32_t first = rank, last = rank; /* of the dimensions that move */
    uint8_t *memory = c->shared;
    if (nb_value_count(c->out[0]->value) == 0)
        return;
    axes_of(c, axes);
    for (uint32_t i = 0; i < rank; i++) {
        fill_axis(c->node, &axes[i], &memory);
        if (axes[i].moves) {
            first = NB_MIN(first, i);
            last = i;
        }
    }
    if (first == rank)
        memcpy(c->out[0]->data, c->in[0]->data,
               (size_t)nb_value_count(x) * nb_value_item_bytes(x->type));
    else if (c->node->attr[MODE].i == NB_RESIZE_NEAREST)
        pick_all(c, axes, rank, last);
    else
        blend_all(c, axes, rank, first, memory);
    for (uint32_t i = 0; c->node->attr[PLACE].i == NB_PLACE_CROP && i < rank; i++)
        fill_beyond(c, axes, rank, i);
}

const struct nb_op nb_op_resize = {
    .name = "resize",
    .n_in_min = 2,
    .n_in = 3,
    .attrs = {[MODE] = "mode",
              [PLACE] = "place",
              [ROUND] = "round",
              [DIMS] = "dims",
              [EXCLUDE] = "exclude",
              [ANTIALIAS] = "antialias",
              [CUBIC_A] = "cubic_a",
              [BEYOND] = "beyond",
              [LAST] = "last"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .shared_bytes = shared_bytes,
    .run = run,
};
