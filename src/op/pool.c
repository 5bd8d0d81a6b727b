/* op/pool.c: the largest, the mean or the norm of what a window sees (ONNX MaxPool, AveragePool, LpPool and, with a
 * window as large as the image, their global kin).
 *
 * x (N, C, spatial) -> y; last: both have their channels last. attrs kernel, stride, dilation, pads (those before,
 * then those behind), kind: enum nb_pool_kind, ceil: a last window may stick out, count_pad: a mean counts padding
 * (not what lies behind it), p: of the norm, last. Padding is never the largest; a window that sees nothing else
 * gives the least number of its type, or 0 as mean and norm. NaN is the largest. Means and norms are sums of doubles
 * in the order of the window, rounded once. Channels first are images of one channel each.
 */
#include <math.h>

#include "op/op.h"
#include "op/window.h"

enum { KIND = NB_WINDOW_ATTRS, CEIL, COUNT_PAD, P, LAST };

#define PIECE 64 /* channels summed together */

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    const int64_t kind = n->attr[KIND].i;
    struct nb_window w;
    if (!nb_window_read(g, n, x, n->attr[LAST].i != 0, &w) ||
        !nb_window_slide(g, n, n->attr[CEIL].i != 0, &w))
        return false;
    if (kind < 0 || kind >= NB_N_POOL || (kind == NB_POOL_NORM && n->attr[P].i < 1))
        return nb_graph_refuse(g, n, "no pool of kind %lld, norm %lld", (long long)kind,
                               (long long)n->attr[P].i);
    if (x->type != NB_VALUE_F32 &&
        (kind != NB_POOL_MAX ||
         (x->type != NB_VALUE_F64 && x->type != NB_VALUE_I8 && x->type != NB_VALUE_U8)))
        return nb_graph_refuse(g, n, "elements of a type that pools do not take");
    out->type = x->type;
    out->rank = x->rank;
    nb_window_dims(&w, w.c, out);
    return true;
}

struct work {
    struct nb_window w;
    const struct nb_op_call *call;
    enum nb_pool_kind kind;
    int64_t p;
    bool count_pad;
};

/* The taps of a window that lie in x, in order. */
struct taps {
    int64_t from[NB_WINDOW_DIMS], to[NB_WINDOW_DIMS]; /* of the kernel */
    int64_t count;                                    /* a mean's      */
    int64_t first;                                    /* pixel of the image that tap 0 would be */
};

static void taps_of(const struct work *k, const struct nb_window_at *a, struct taps *t)
{
    const struct nb_window *w = &k->w;
    t->count = 1;
    t->first = 0;
    for (size_t i = 0; i < NB_WINDOW_DIMS; i++) {
        const int64_t d = w->dilation[i], at = a->at[i];
        const int64_t end = w->in[i] + w->end[i];
        t->from[i] = at < 0 ? NB_MIN((-at + d - 1) / d, w->kernel[i]) : 0;
        t->to[i] = at < w->in[i] ? NB_MIN((w->in[i] - at + d - 1) / d, w->kernel[i]) : 0;
        t->to[i] = NB_MAX(t->to[i], t->from[i]);
        t->count *=
            k->count_pad ? NB_MIN((end - at + d - 1) / d, w->kernel[i]) : t->to[i] - t->from[i];
        t->first = t->first * w->in[i] + at;
    }
}

/* x: of the image; BODY with `at`, the first channel of each pixel. */
#define EACH_TAP(...)                                                                              \
    for (int64_t z = t->from[0]; z < t->to[0]; z++)                                                \
        for (int64_t y = t->from[1]; y < t->to[1]; y++)                                            \
            for (int64_t i = t->from[2]; i < t->to[2]; i++) {                                      \
                const int64_t at =                                                                 \
                    (t->first + (z * w->dilation[0] * w->in[1] + y * w->dilation[1]) * w->in[2] +  \
                     i * w->dilation[2]) *                                                         \
                    w->c;                                                                          \
                __VA_ARGS__                                                                        \
            }

#define LARGEST(T, name, least)                                                                    \
    static void name(const struct nb_window *w, const struct taps *t, const void *from, void *to)  \
    {                                                                                              \
        const T *x = from;                                                                         \
        T *out = to;                                                                               \
        for (int64_t c = 0; c < w->c; c++)                                                         \
            out[c] = (T)(least);                                                                   \
        EACH_TAP(for (int64_t c = 0; c < w->c; c++) {                                              \
            const T a = x[at + c], b = out[c];                                                     \
            out[c] = b >= a || b != b ? b : a;                                                     \
        })                                                                                         \
    }
LARGEST(float, max_f32, -INFINITY)
LARGEST(double, max_f64, -INFINITY)
LARGEST(int8_t, max_s8, INT8_MIN)
LARGEST(uint8_t, max_u8, 0)

static void mean(const struct nb_window *w, const struct taps *t, const float *x, float *out)
{
    double s[PIECE];
    for (int64_t c0 = 0; c0 < w->c; c0 += PIECE) {
        const int64_t n = NB_MIN(w->c - c0, (int64_t)PIECE);
        memset(s, 0, sizeof s);
        EACH_TAP(for (int64_t c = 0; c < n; c++) s[c] += (double)x[at + c0 + c];)
        for (int64_t c = 0; c < n; c++)
            out[c0 + c] = t->count > 0 ? (float)(s[c] / (double)t->count) : 0.0F;
    }
}

static void norm(const struct nb_window *w, const struct taps *t, int64_t p, const float *x,
                 float *out)
{
    for (int64_t c = 0; c < w->c; c++) {
        double s = 0.0;
        EACH_TAP(const double a = fabs((double)x[at + c]); s += p == 1   ? a
                                                                : p == 2 ? a * a
                                                                         : pow(a, (double)p);)
        out[c] = (float)(p == 1 ? s : p == 2 ? sqrt(s) : pow(s, 1.0 / (double)p));
    }
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *k = ctx;
    const struct nb_window *w = &k->w;
    const enum nb_value_type type = k->call->in[0]->value->type;
    const size_t item = nb_value_item_bytes(type);
    (void)worker;
    for (size_t p = begin; p < end; p++) {
        const struct nb_window_at a = nb_window_at(w, (int64_t)p);
        const void *x =
            (const uint8_t *)k->call->in[0]->data + (size_t)(a.n * w->pixels_in * w->c) * item;
        void *y = (uint8_t *)k->call->out[0]->data + p * (size_t)w->c * item;
        struct taps t;
        taps_of(k, &a, &t);
        if (k->kind == NB_POOL_MEAN)
            mean(w, &t, x, y);
        else if (k->kind == NB_POOL_NORM)
            norm(w, &t, k->p, x, y);
        else if (type == NB_VALUE_F32)
            max_f32(w, &t, x, y);
        else if (type == NB_VALUE_F64)
            max_f64(w, &t, x, y);
        else if (type == NB_VALUE_I8)
            max_s8(w, &t, x, y);
        else
            max_u8(w, &t, x, y);
    }
}

static void run(const struct nb_op_call *c)
{
    const struct nb_attr *a = c->node->attr;
    struct work k = {.call = c,
                     .kind = (enum nb_pool_kind)a[KIND].i,
                     .p = a[P].i,
                     .count_pad = a[COUNT_PAD].i != 0};
    nb_window_of(c, a[LAST].i != 0, &k.w);
    if (!k.w.last) {
        k.w.n *= k.w.c;
        k.w.c = 1;
    }
    nb_pool_for(c->pool, (size_t)(k.w.n * k.w.pixels_out), op_grain((uint64_t)(k.w.taps * k.w.c)),
                part, &k);
}

const struct nb_op nb_op_pool = {
    .name = "pool",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {"kernel", "stride", "dilation", "pads", "kind", "ceil", "count_pad", "p", "last"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
