/* op/pad.c: elements added at the ends of dimensions, or taken away there (ONNX Pad, CenterCropPad).
 *
 * x (any), value (x's type, one element; absent: 0) -> y. attrs mode: enum nb_pad; begin, end: lists of x's rank.
 * Where they are negative, elements are left out first; what is added follows from those that are left. Reflection
 * does not repeat the element at the end, and goes back and forth if it has to.
 */
#include "op/op.h"
#include "op/op_internal.h"

enum { MODE, BEGIN, END };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    const struct nb_value *value = n->in[1] ? op_value(g, n->in[1]) : NULL;
    const int64_t mode = n->attr[MODE].i;
    if (!op_is_plain(x) || mode < 0 || mode >= NB_N_PAD)
        return nb_graph_refuse(g, n, "mode %lld, or no plain elements", (long long)mode);
    if (value && (value->type != x->type || nb_value_count(value) != 1))
        return nb_graph_refuse(g, n, "the value must be one element of the input's type");
    if (n->attr[BEGIN].i != (int64_t)x->rank || n->attr[END].i != (int64_t)x->rank)
        return nb_graph_refuse(g, n, "%lld and %lld pads for %u dimensions",
                               (long long)n->attr[BEGIN].i, (long long)n->attr[END].i, x->rank);
    out->type = x->type;
    out->rank = x->rank;
    for (uint32_t i = 0; i < x->rank; i++) {
        const int64_t most = INT64_C(1) << 40, b = n->attr[BEGIN].list[i], e = n->attr[END].list[i];
        const int64_t size = (int64_t)x->dim[i].n;
        const int64_t left = size + NB_MIN(b, (int64_t)0) + NB_MIN(e, (int64_t)0);
        if (b > most || e > most || b < -size || e < -size || left < 0)
            return nb_graph_refuse(g, n, "dimension %u of %lld cannot be padded by %lld and %lld",
                                   i, (long long)size, (long long)b, (long long)e);
        out->dim[i] = nb_dim_const((uint64_t)(size + b + e));
        if (left == 0 && out->dim[i].n > 0 && mode != NB_PAD_CONSTANT)
            return nb_graph_refuse(g, n, "nothing to repeat in dimension %u", i);
    }
    return true;
}

/* The element of n that stands `at` places from the first; -1: the value. */
static int64_t source(enum nb_pad mode, int64_t at, int64_t n)
{
    const int64_t period = NB_MAX(2 * (n - 1), (int64_t)1);
    if (at >= 0 && at < n)
        return at;
    switch (mode) {
    case NB_PAD_EDGE:
        return at < 0 ? 0 : n - 1;
    case NB_PAD_REFLECT:
        at = (at % period + period) % period;
        return NB_MIN(at, period - at) % n;
    case NB_PAD_WRAP:
        return (at % n + n) % n;
    case NB_PAD_CONSTANT:
    case NB_N_PAD:
    default:
        return -1;
    }
}

static bool shared_bytes(const struct nb_op_call *c, size_t *bytes)
{
    const struct nb_value *y = c->out[0]->value;
    *bytes = 0;
    for (uint32_t i = 0; i < y->rank; i++)
        if (!op_add_bytes(bytes, y->dim[i].n, sizeof(int64_t)))
            return false;
    return true;
}

struct work {
    const struct nb_value *x, *y;
    const int64_t *from[NB_VALUE_DIMS]; /* (y's dimension) index in x, -1: the value */
    uint32_t last;                      /* the last dimension that is padded */
    uint64_t inside, run; /* in it: elements of y from `inside` on follow each other */
    size_t item, block;   /* bytes of an element, and of all the dimensions after `last` */
    const uint8_t *src, *value;
    uint8_t *dst;
};

static void fill(const struct work *w, uint8_t *to, size_t bytes)
{
    static const uint8_t zero[8] = {0};
    if (memcmp(w->value, zero, w->item) == 0) {
        memset(to, 0, bytes);
        return;
    }
    for (size_t i = 0; i < bytes; i += w->item)
        memcpy(to + i, w->value, w->item);
}

/* Where the row's elements are in x, counted in blocks; -1: nowhere. */
static int64_t row_source(const struct work *w, size_t row)
{
    int64_t at = 0, step = (int64_t)w->x->dim[w->last].n;
    for (uint32_t i = w->last; i-- > 0;) {
        const size_t n = (size_t)w->y->dim[i].n;
        const int64_t from = w->from[i][row % n];
        if (from < 0)
            return -1;
        at += from * step;
        step *= (int64_t)w->x->dim[i].n;
        row /= n;
    }
    return at;
}

static void rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const size_t n = (size_t)w->y->dim[w->last].n;
    const int64_t *from = w->from[w->last];
    (void)worker;
    for (size_t row = begin; row < end; row++) {
        const int64_t base = row_source(w, row);
        uint8_t *to = w->dst + row * n * w->block;
        if (base < 0) {
            fill(w, to, n * w->block);
            continue;
        }
        const uint8_t *src = w->src + (size_t)base * w->block;
        for (size_t i = 0; i < n;) {
            const size_t many = i == w->inside && w->run > 0 ? (size_t)w->run : 1;
            if (from[i] < 0)
                fill(w, to + i * w->block, w->block);
            else
                memcpy(to + i * w->block, src + (size_t)from[i] * w->block, many * w->block);
            i += many;
        }
    }
}

static void run(const struct nb_op_call *c)
{
    static const uint8_t zero[8] = {0};
    const struct nb_node *n = c->node;
    struct work w = {.x = c->in[0]->value,
                     .y = c->out[0]->value,
                     .src = c->in[0]->data,
                     .value = c->in[1] ? c->in[1]->data : zero,
                     .dst = c->out[0]->data};
    uint8_t *at = c->shared;
    size_t n_rows = 1;
    w.item = w.block = nb_value_item_bytes(w.x->type);
    if (nb_value_count(w.y) == 0)
        return;
    if (w.y->rank == 0) {
        memcpy(w.dst, w.src, w.item);
        return;
    }
    for (uint32_t i = 0; i < w.y->rank; i++) {
        const size_t dim = (size_t)w.y->dim[i].n;
        const int64_t b = n->attr[BEGIN].list[i], e = n->attr[END].list[i];
        const int64_t cut = NB_MAX(-b, (int64_t)0);
        const int64_t left = (int64_t)w.x->dim[i].n - cut - NB_MAX(-e, (int64_t)0);
        int64_t *from = op_take(&at, dim, sizeof *from);
        for (size_t k = 0; k < dim; k++) {
            const int64_t is =
                source((enum nb_pad)n->attr[MODE].i, (int64_t)k - NB_MAX(b, (int64_t)0), left);
            from[k] = is < 0 ? -1 : is + cut;
        }
        w.from[i] = from;
        if (b != 0 || e != 0 || i == 0) {
            w.last = i;
            w.inside = (uint64_t)NB_MAX(b, (int64_t)0);
            w.run = (uint64_t)left;
        }
    }
    for (uint32_t i = 0; i < w.y->rank; i++) {
        if (i < w.last)
            n_rows *= (size_t)w.y->dim[i].n;
        else if (i > w.last)
            w.block *= (size_t)w.y->dim[i].n;
    }
    nb_pool_for(c->pool, n_rows, op_grain(w.y->dim[w.last].n * w.block / w.item), rows, &w);
}

const struct nb_op nb_op_pad = {
    .name = "pad",
    .n_in_min = 1,
    .n_in = 2,
    .attrs = {[MODE] = "mode", [BEGIN] = "begin", [END] = "end"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .shared_bytes = shared_bytes,
    .run = run,
};
