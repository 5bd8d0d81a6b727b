/* op/reduce.c: sums, means, norms, products, the largest and smallest along any dimensions (ONNX Reduce...).
 *
 * x -> y of the same type. attrs op: enum nb_reduce; axes: a list, dimensions that go (none: each element is reduced
 * by itself); keepdims: they stay, as 1. F32, F64, I64, I32, U32; the largest and smallest of all types.
 *
 * Floats are summed in doubles, in an order that the dimensions alone decide: where the last dimension goes, 8 sums
 * (element i of each of its runs to sum i mod 8), then the tree 4-2-1; else one sum for each output, in the order of
 * the elements. Integers wrap around; their means round toward zero, norms and logarithms are computed in doubles.
 * The largest of nothing is -inf, or the least of the type. NaN anywhere gives NaN.
 */
#include <math.h>

#include "op/op.h"
#include "op/op_internal.h"
#include "op/walk.h"

enum { OP, AXES, KEEP };

#define LANES 8U
#define BLOCK 128U /* outputs side by side, summed together */

static bool takes(int64_t op, enum nb_value_type type)
{
    if (op == NB_REDUCE_MAX || op == NB_REDUCE_MIN)
        return nb_value_item_bytes(type) > 0;
    return type == NB_VALUE_F32 || type == NB_VALUE_F64 || type == NB_VALUE_I64 ||
           type == NB_VALUE_I32 || type == NB_VALUE_U32;
}

/* Bit i: dimension i goes. */
static uint32_t mask_of(const struct nb_node *n)
{
    uint32_t mask = 0;
    for (int64_t i = 0; i < n->attr[AXES].i; i++)
        mask |= 1U << n->attr[AXES].list[i];
    return mask;
}

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    const struct nb_attr *axes = &n->attr[AXES];
    if (n->attr[OP].i < 0 || n->attr[OP].i >= NB_N_REDUCE || !takes(n->attr[OP].i, x->type))
        return nb_graph_refuse(g, n, "operation %lld is not one of elements of this type",
                               (long long)n->attr[OP].i);
    for (int64_t i = 0; i < axes->i; i++)
        if (axes->list[i] < 0 || axes->list[i] >= (int64_t)x->rank)
            return nb_graph_refuse(g, n, "axis %lld of %u dimensions", (long long)axes->list[i],
                                   x->rank);
    const uint32_t mask = mask_of(n);
    out->type = x->type;
    out->rank = 0;
    for (uint32_t i = 0; i < x->rank; i++)
        if (!(mask >> i & 1U))
            out->dim[out->rank++] = x->dim[i];
        else if (n->attr[KEEP].i != 0)
            out->dim[out->rank++] = nb_dim_const(1);
    return true;
}

/* ---- the plan ---- */

/* Outputs are walked over by `kept`, without the innermost `width` of them that lie side by side; the elements of one
 * by `gone`, without the innermost run: `run` elements, `step` apart (1 where the last dimension goes). */
struct plan {
    struct nb_walk kept, gone;
    size_t width, run, step;
    size_t n_kept, n_gone, blocks; /* of both walks; of one width */
    bool inner, real;              /* the last dimension goes; sums are doubles */
    double count;                  /* elements of one output */
    const void *x;
    void *y;
    enum nb_reduce op;
    enum nb_value_type type;
};

/* A walk over the dimensions that mask names, with the strides they have in x. */
static void walk_some(struct nb_walk *w, const struct nb_value *x, uint32_t mask)
{
    struct nb_value some = {.rank = 0};
    int64_t strides[NB_VALUE_DIMS], all[NB_VALUE_DIMS], step = 1;
    for (uint32_t i = x->rank; i-- > 0;) {
        all[i] = step;
        step *= (int64_t)x->dim[i].n;
    }
    for (uint32_t i = 0; i < x->rank; i++)
        if (mask >> i & 1U) {
            strides[some.rank] = all[i];
            some.dim[some.rank++] = x->dim[i];
        }
    nb_walk_init(w, &some);
    nb_walk_add_strides(w, strides, 0);
    nb_walk_merge(w);
}

/* Takes the innermost dimension off a merged walk. */
static size_t take_last(struct nb_walk *w, size_t *step)
{
    const uint32_t last = --w->rank;
    const size_t n = (size_t)w->dim[last];
    *step = (size_t)w->stride[0][last];
    if (w->rank == 0) {
        w->rank = 1;
        w->dim[0] = 1;
        w->stride[0][0] = 0;
    }
    return n;
}

static void make_plan(struct plan *p, const struct nb_op_call *c)
{
    const struct nb_value *x = c->in[0]->value;
    const uint32_t mask = mask_of(c->node);
    const enum nb_reduce op = (enum nb_reduce)c->node->attr[OP].i;
    size_t step;
    *p = (struct plan){
        .x = c->in[0]->data, .y = c->out[0]->data, .op = op, .type = x->type, .width = 1};
    p->real = x->type == NB_VALUE_F32 || x->type == NB_VALUE_F64 || op == NB_REDUCE_L2 ||
              op == NB_REDUCE_LOG_SUM || op == NB_REDUCE_LOG_SUM_EXP;
    walk_some(&p->kept, x, ~mask);
    walk_some(&p->gone, x, mask);
    p->count = (double)nb_walk_count(&p->gone);
    p->run = take_last(&p->gone, &p->step);
    p->inner = p->step == 1;
    if (!p->inner)
        p->width = take_last(&p->kept, &step);
    p->n_kept = (size_t)nb_walk_count(&p->kept);
    p->n_gone = (size_t)nb_walk_count(&p->gone);
    p->blocks = (p->width + BLOCK - 1) / BLOCK;
}

/* ---- elements and accumulators ---- */

/* Of one output (eight lanes) or of m outputs. Element i of what is fed goes to accumulator i mod m. */
struct sums {
    const struct plan *p;
    size_t m, at; /* first element of the first output */
    bool exps;    /* second walk of LOG_SUM_EXP: shift is known */
    double real[BLOCK], shift[BLOCK];
    int64_t whole[BLOCK];
};

#define LOAD(T, to)                                                                                \
    do {                                                                                           \
        const T *x = (const T *)p->x + at;                                                         \
        for (size_t i = 0; i < n; i++)                                                             \
            (to)[i] = x[i];                                                                        \
        return;                                                                                    \
    } while (0)

static void load_whole(const struct plan *p, int64_t *to, size_t at, size_t n)
{
    switch (p->type) {
    case NB_VALUE_I64:
        LOAD(int64_t, to);
    case NB_VALUE_I32:
        LOAD(int32_t, to);
    case NB_VALUE_U32:
        LOAD(uint32_t, to);
    case NB_VALUE_I16:
        LOAD(int16_t, to);
    case NB_VALUE_U16:
        LOAD(uint16_t, to);
    case NB_VALUE_I8:
        LOAD(int8_t, to);
    default:
        LOAD(uint8_t, to);
    }
}

static void load_real(const struct plan *p, double *to, size_t at, size_t n)
{
    int64_t whole[BLOCK];
    if (p->type == NB_VALUE_F32) {
        const float *x = (const float *)p->x + at;
        for (size_t i = 0; i < n; i++)
            to[i] = (double)x[i];
    } else if (p->type == NB_VALUE_F64) {
        memcpy(to, (const double *)p->x + at, n * sizeof *to);
    } else {
        load_whole(p, whole, at, n);
        for (size_t i = 0; i < n; i++)
            to[i] = (double)whole[i];
    }
}

/* sum: an accumulator, v: the element that goes to it */
#define FEED(A, acc, expr)                                                                         \
    do {                                                                                           \
        size_t g = 0;                                                                              \
        if (s->m == LANES) {                                                                       \
            A lane[LANES];                                                                         \
            memcpy(lane, (acc), sizeof lane);                                                      \
            for (; g + LANES <= n; g += LANES)                                                     \
                for (size_t i = 0; i < LANES; i++) {                                               \
                    const A sum = lane[i], v = x[g + i];                                           \
                    lane[i] = (expr);                                                              \
                }                                                                                  \
            memcpy((acc), lane, sizeof lane);                                                      \
        }                                                                                          \
        for (size_t i = 0; g + i < n; i++) {                                                       \
            const A sum = (acc)[i], v = x[g + i];                                                  \
            (acc)[i] = (expr);                                                                     \
        }                                                                                          \
        return;                                                                                    \
    } while (0)

static void feed_real(struct sums *s, const double *x, size_t n)
{
    switch (s->p->op) {
    case NB_REDUCE_SUM:
    case NB_REDUCE_MEAN:
    case NB_REDUCE_LOG_SUM:
        FEED(double, s->real, sum + v);
    case NB_REDUCE_L1:
        FEED(double, s->real, sum + fabs(v));
    case NB_REDUCE_L2:
    case NB_REDUCE_SUM_SQUARE:
        FEED(double, s->real, sum + v * v);
    case NB_REDUCE_PROD:
        FEED(double, s->real, sum *v);
    case NB_REDUCE_MIN:
        FEED(double, s->real, v < sum || v != v ? v : sum);
    case NB_REDUCE_LOG_SUM_EXP:
        if (s->exps)
            FEED(double, s->real, sum + exp(v - s->shift[i]));
        FEED(double, s->real, v > sum || v != v ? v : sum);
    case NB_REDUCE_MAX:
    default:
        FEED(double, s->real, v > sum || v != v ? v : sum);
    }
}

static void feed_whole(struct sums *s, const int64_t *x, size_t n)
{
    switch (s->p->op) {
    case NB_REDUCE_SUM:
    case NB_REDUCE_MEAN:
        FEED(int64_t, s->whole, (int64_t)((uint64_t)sum + (uint64_t)v));
    case NB_REDUCE_L1:
        FEED(int64_t, s->whole, (int64_t)((uint64_t)sum + (v < 0 ? 0 - (uint64_t)v : (uint64_t)v)));
    case NB_REDUCE_SUM_SQUARE:
        FEED(int64_t, s->whole, (int64_t)((uint64_t)sum + (uint64_t)v * (uint64_t)v));
    case NB_REDUCE_PROD:
        FEED(int64_t, s->whole, (int64_t)((uint64_t)sum * (uint64_t)v));
    case NB_REDUCE_MIN:
        FEED(int64_t, s->whole, v < sum ? v : sum);
    case NB_REDUCE_MAX:
    default:
        FEED(int64_t, s->whole, v > sum ? v : sum);
    }
}

/* x[at] and the n - 1 after it */
static void feed(struct sums *s, size_t at, size_t n)
{
    double real[BLOCK];
    int64_t whole[BLOCK];
    for (size_t k = 0; k < n; k += BLOCK) {
        const size_t m = NB_MIN(n - k, (size_t)BLOCK);
        if (s->p->real) {
            load_real(s->p, real, at + k, m);
            feed_real(s, real, m);
        } else {
            load_whole(s->p, whole, at + k, m);
            feed_whole(s, whole, m);
        }
    }
}

/* One step of the walk over what goes. */
static void feed_runs(void *ctx, size_t n, const int64_t at[NB_WALK_ARRAYS])
{
    struct sums *s = ctx;
    const struct plan *p = s->p;
    const int64_t apart = p->gone.stride[0][p->gone.rank - 1];
    for (size_t i = 0; i < n; i++) {
        const size_t from = s->at + (size_t)(at[0] + (int64_t)i * apart);
        if (p->inner)
            feed(s, from, p->run);
        else
            for (size_t r = 0; r < p->run; r++)
                feed(s, from + r * p->step, s->m);
    }
}

/* How accumulators come together, and what they start with. */
enum join { ADD, TIMES, LARGER, SMALLER };

static enum join join_of(const struct sums *s)
{
    switch (s->p->op) {
    case NB_REDUCE_PROD:
        return TIMES;
    case NB_REDUCE_MAX:
        return LARGER;
    case NB_REDUCE_MIN:
        return SMALLER;
    case NB_REDUCE_LOG_SUM_EXP:
        return s->exps ? ADD : LARGER;
    default:
        return ADD;
    }
}

static void start(struct sums *s)
{
    static const double real[] = {0.0, 1.0, -INFINITY, INFINITY};
    static const int64_t whole[] = {0, 1, INT64_MIN, INT64_MAX};
    const enum join join = join_of(s);
    for (size_t i = 0; i < s->m; i++) {
        s->real[i] = real[join];
        s->whole[i] = whole[join];
    }
}

static double join_real(enum join join, double a, double b)
{
    if (join == ADD)
        return a + b;
    if (join == TIMES)
        return a * b;
    return b != b || (join == LARGER ? b > a : b < a) ? b : a;
}

static int64_t join_whole(enum join join, int64_t a, int64_t b)
{
    if (join == ADD)
        return (int64_t)((uint64_t)a + (uint64_t)b);
    if (join == TIMES)
        return (int64_t)((uint64_t)a * (uint64_t)b);
    return (join == LARGER ? b > a : b < a) ? b : a;
}

/* Eight lanes become one: lane l takes lane l + 4, then + 2, + 1. */
static void fold_lanes(struct sums *s)
{
    const enum join join = join_of(s);
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            if (s->p->real)
                s->real[i] = join_real(join, s->real[i], s->real[i + half]);
            else
                s->whole[i] = join_whole(join, s->whole[i], s->whole[i + half]);
}

/* ---- results ---- */

/* All elements of the outputs at s->at. */
static void sum_up(struct sums *s)
{
    start(s);
    nb_walk_runs(&s->p->gone, 0, s->p->n_gone, feed_runs, s);
    if (s->p->inner)
        fold_lanes(s);
}

static double real_result(const struct plan *p, double sum, double shift)
{
    switch (p->op) {
    case NB_REDUCE_MEAN:
        return sum / p->count;
    case NB_REDUCE_L2:
        return sqrt(sum);
    case NB_REDUCE_LOG_SUM:
        return log(sum);
    case NB_REDUCE_LOG_SUM_EXP:
        return log(sum) + shift;
    default:
        return sum;
    }
}

static int64_t to_whole(double v)
{
    return !(v > -0x1p63) ? INT64_MIN : v >= 0x1p63 ? INT64_MAX : (int64_t)v;
}

/* Least and greatest of a type of integers. */
static void range_of(enum nb_value_type type, int64_t *low, int64_t *high)
{
    static const int64_t ranges[][2] = {
        [NB_VALUE_I64] = {INT64_MIN, INT64_MAX}, [NB_VALUE_U32] = {0, UINT32_MAX},
        [NB_VALUE_I32] = {INT32_MIN, INT32_MAX}, [NB_VALUE_I16] = {INT16_MIN, INT16_MAX},
        [NB_VALUE_U16] = {0, UINT16_MAX},        [NB_VALUE_I8] = {INT8_MIN, INT8_MAX},
        [NB_VALUE_U8] = {0, UINT8_MAX},          [NB_VALUE_BOOL] = {0, 1}};
    *low = ranges[type][0];
    *high = ranges[type][1];
}

static void store_whole(const struct plan *p, size_t to, int64_t v)
{
    int64_t low, high;
    range_of(p->type, &low, &high);
    if (p->real || p->op == NB_REDUCE_MAX || p->op == NB_REDUCE_MIN) /* of nothing: the end */
        v = NB_MIN(NB_MAX(v, low), high);
    switch (nb_value_item_bytes(p->type)) {
    case 8:
        ((int64_t *)p->y)[to] = v;
        return;
    case 4:
        ((uint32_t *)p->y)[to] = (uint32_t)(uint64_t)v;
        return;
    case 2:
        ((uint16_t *)p->y)[to] = (uint16_t)(uint64_t)v;
        return;
    default:
        ((uint8_t *)p->y)[to] = (uint8_t)(uint64_t)v;
    }
}

static void store(const struct sums *s, size_t to, size_t m)
{
    const struct plan *p = s->p;
    const int64_t count = (int64_t)p->count;
    for (size_t i = 0; i < m; i++) {
        const double r = p->real ? real_result(p, s->real[i], s->shift[i]) : 0.0;
        if (p->type == NB_VALUE_F32)
            ((float *)p->y)[to + i] = (float)r;
        else if (p->type == NB_VALUE_F64)
            ((double *)p->y)[to + i] = r;
        else if (p->real)
            store_whole(p, to + i, to_whole(r));
        else if (p->op == NB_REDUCE_MEAN)
            store_whole(p, to + i, count > 0 ? s->whole[i] / count : 0);
        else
            store_whole(p, to + i, s->whole[i]);
    }
}

/* ---- all ---- */

static size_t offset_of(const struct nb_walk *w, size_t index)
{
    size_t at = 0;
    for (uint32_t i = w->rank; i-- > 0; index /= (size_t)w->dim[i])
        at += index % (size_t)w->dim[i] * (size_t)w->stride[0][i];
    return at;
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct plan *p = ctx;
    (void)worker;
    for (size_t item = begin; item < end; item++) {
        const size_t first = item % p->blocks * BLOCK, m = NB_MIN(p->width - first, (size_t)BLOCK);
        struct sums s = {.p = p, .m = p->inner ? LANES : m};
        s.at = offset_of(&p->kept, item / p->blocks) + first;
        sum_up(&s);
        if (p->op == NB_REDUCE_LOG_SUM_EXP) { /* less the largest, unless that is infinite */
            for (size_t i = 0; i < s.m; i++) {
                const double max = s.real[p->inner ? 0 : i];
                s.shift[i] = fabs(max) <= 0x1p1023 ? max : 0.0;
            }
            s.exps = true;
            sum_up(&s);
        }
        store(&s, item / p->blocks * p->width + first, m);
    }
}

static void run(const struct nb_op_call *c)
{
    struct plan p;
    make_plan(&p, c);
    const uint64_t each = (uint64_t)p.count * NB_MIN((uint64_t)p.width, (uint64_t)BLOCK);
    nb_pool_for(c->pool, p.n_kept * p.blocks, op_grain(each + 16), part, &p);
}

const struct nb_op nb_op_reduce = {
    .name = "reduce",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {[OP] = "op", [AXES] = "axes", [KEEP] = "keepdims"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
