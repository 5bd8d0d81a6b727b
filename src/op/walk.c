/* op/walk.c: walking over strided arrays. */
#include "op/walk.h"

#include <string.h>

#include "op/op_internal.h"

void nb_walk_init(struct nb_walk *w, const struct nb_value *shape)
{
    memset(w, 0, sizeof *w);
    w->rank = shape->rank;
    for (uint32_t i = 0; i < w->rank; i++)
        w->dim[i] = shape->dim[i].n;
}

void nb_walk_add_strides(struct nb_walk *w, const int64_t *stride, int64_t start)
{
    w->start[w->n_arrays] = start;
    memcpy(w->stride[w->n_arrays++], stride, w->rank * sizeof *stride);
}

void nb_walk_add(struct nb_walk *w, const struct nb_value *v)
{
    int64_t stride[NB_VALUE_DIMS] = {0};
    int64_t step = 1;
    for (uint32_t i = v->rank; i-- > 0;) {
        const uint64_t n = v->dim[i].n;
        stride[w->rank - v->rank + i] = n == 1 ? 0 : step;
        step *= (int64_t)n;
    }
    nb_walk_add_strides(w, stride, 0);
}

/* Can dimension i follow dimension `to` as one? */
static bool joins(const struct nb_walk *w, uint32_t to, uint32_t i)
{
    for (uint32_t k = 0; k < w->n_arrays; k++)
        if (w->stride[k][to] != w->stride[k][i] * (int64_t)w->dim[i])
            return false;
    return true;
}

void nb_walk_merge(struct nb_walk *w)
{
    uint32_t n = 0; /* dimensions kept */
    for (uint32_t i = 0; i < w->rank; i++) {
        if (w->dim[i] == 1)
            continue;
        const bool join = n > 0 && joins(w, n - 1, i);
        const uint32_t to = join ? n - 1 : n++;
        w->dim[to] = join ? w->dim[to] * w->dim[i] : w->dim[i];
        for (uint32_t k = 0; k < w->n_arrays; k++)
            w->stride[k][to] = w->stride[k][i];
    }
    if (n == 0) {
        w->dim[n++] = 1;
        for (uint32_t k = 0; k < w->n_arrays; k++)
            w->stride[k][0] = 0;
    }
    w->rank = n;
}

uint64_t nb_walk_count(const struct nb_walk *w)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < w->rank; i++)
        n *= w->dim[i];
    return n;
}

void nb_walk_runs(const struct nb_walk *w, uint64_t begin, uint64_t end, nb_walk_fn *fn, void *ctx)
{
    const uint32_t last = w->rank - 1;
    uint64_t index[NB_VALUE_DIMS], rest = begin;
    int64_t at[NB_WALK_ARRAYS] = {0};
    if (begin >= end)
        return;
    for (uint32_t i = w->rank; i-- > 0;) {
        index[i] = rest % w->dim[i];
        rest /= w->dim[i];
    }
    for (uint32_t k = 0; k < w->n_arrays; k++) {
        at[k] = w->start[k];
        for (uint32_t i = 0; i < w->rank; i++)
            at[k] += (int64_t)index[i] * w->stride[k][i];
    }
    while (begin < end) {
        const uint64_t n = NB_MIN(w->dim[last] - index[last], end - begin);
        fn(ctx, (size_t)n, at);
        begin += n;
        index[last] += n;
        for (uint32_t k = 0; k < w->n_arrays; k++)
            at[k] += (int64_t)n * w->stride[k][last];
        for (uint32_t i = last; i > 0 && index[i] == w->dim[i]; i--) {
            for (uint32_t k = 0; k < w->n_arrays; k++)
                at[k] += w->stride[k][i - 1] - (int64_t)w->dim[i] * w->stride[k][i];
            index[i] = 0;
            index[i - 1]++;
        }
    }
}

/* ---- copying ---- */

struct copy {
    const struct nb_walk *w;
    uint8_t *out;
    const uint8_t *src;
    size_t item;
    uint8_t *to; /* of one part: where the next run goes */
};

#define GATHER(type)                                                                               \
    do {                                                                                           \
        type *to = (void *)c->to;                                                                  \
        const type *from = (const void *)c->src;                                                   \
        for (size_t i = 0; i < n; i++)                                                             \
            to[i] = from[at[0] + (int64_t)i * step];                                               \
    } while (0)

static void copy_run(void *ctx, size_t n, const int64_t at[NB_WALK_ARRAYS])
{
    struct copy *c = ctx;
    const int64_t step = c->w->stride[0][c->w->rank - 1];
    if (step == 1)
        memcpy(c->to, c->src + at[0] * (int64_t)c->item, n * c->item);
    else if (c->item == 1)
        GATHER(uint8_t);
    else if (c->item == 2)
        GATHER(uint16_t);
    else if (c->item == 4)
        GATHER(uint32_t);
    else
        GATHER(uint64_t);
    c->to += n * c->item;
}

static void copy_part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    struct copy c = *(const struct copy *)ctx;
    (void)worker;
    c.to = c.out + begin * c.item;
    nb_walk_runs(c.w, begin, end, copy_run, &c);
}

/* ---- a matrix turned: the last dimension but one is contiguous in src ---- */

#define TURN     16   /* rows of the output that share a line of src, ... */
#define FEW_COLS 4    /* but where they are that short, lines of src go along together, ... */
#define FEW_TURN 2048 /* so many rows */

#define WEAVE(n)                                                                                   \
    for (size_t r = 0; r < rows; r++)                                                              \
        for (size_t c = 0; c < (n); c++)                                                           \
    to[r * (n) + c] = from[(int64_t)c * step + (int64_t)r]

#define TURN_ROWS(type, name)                                                                      \
    static void name(void *out, const void *src, size_t rows, size_t cols, int64_t step)           \
    {                                                                                              \
        type *to = out;                                                                            \
        const type *from = src;                                                                    \
        if (cols == 2)                                                                             \
            WEAVE(2);                                                                              \
        else if (cols == 3)                                                                        \
            WEAVE(3);                                                                              \
        else if (cols == 4)                                                                        \
            WEAVE(4);                                                                              \
        else                                                                                       \
            for (size_t c = 0; c < cols; c++)                                                      \
                for (size_t r = 0; r < rows; r++)                                                  \
                    to[r * cols + c] = from[(int64_t)c * step + (int64_t)r];                       \
    }
TURN_ROWS(uint8_t, turn_1)
TURN_ROWS(uint16_t, turn_2)
TURN_ROWS(uint32_t, turn_4)
TURN_ROWS(uint64_t, turn_8)

static size_t turn_rows(size_t cols)
{
    return cols <= FEW_COLS ? FEW_TURN : TURN;
}

/* Units of turn_rows rows; the last of a matrix may have fewer. */
static void turn_part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct copy *c = ctx;
    const struct nb_walk *w = c->w;
    const size_t rows = (size_t)w->dim[w->rank - 2], cols = (size_t)w->dim[w->rank - 1];
    const size_t most = turn_rows(cols), units = (rows + most - 1) / most;
    (void)worker;
    for (size_t u = begin; u < end; u++) {
        const size_t first = u % units * most, n = NB_MIN(rows - first, most);
        const size_t matrix = u / units;
        size_t rest = matrix;
        int64_t at = w->start[0] + (int64_t)first;
        for (uint32_t i = w->rank - 2; i-- > 0; rest /= (size_t)w->dim[i])
            at += (int64_t)(rest % w->dim[i]) * w->stride[0][i];
        void *to = c->out + (matrix * rows + first) * cols * c->item;
        const void *from = c->src + at * (int64_t)c->item;
        (c->item == 1   ? turn_1
         : c->item == 2 ? turn_2
         : c->item == 4 ? turn_4
                        : turn_8)(to, from, n, cols, w->stride[0][w->rank - 1]);
    }
}

static bool is_turned(const struct nb_walk *w)
{
    return w->rank >= 2 && w->stride[0][w->rank - 2] == 1 && w->stride[0][w->rank - 1] > 1 &&
           w->dim[w->rank - 2] >= TURN;
}

void nb_walk_copy(const struct nb_walk *w, void *out, const void *src, size_t item,
                  struct nb_pool *pool)
{
    struct copy c = {.w = w, .out = out, .src = src, .item = item};
    const size_t count = (size_t)nb_walk_count(w);
    if (count > 0 && is_turned(w)) {
        const size_t rows = (size_t)w->dim[w->rank - 2], cols = (size_t)w->dim[w->rank - 1];
        const size_t most = turn_rows(cols);
        nb_pool_for(pool, count / rows / cols * ((rows + most - 1) / most), op_grain(cols * most),
                    turn_part, &c);
        return;
    }
    nb_pool_for(pool, count, OP_CHUNK_ELEMENTS, copy_part, &c);
}
