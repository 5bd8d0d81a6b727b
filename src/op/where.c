/* op/where.c: elements of one array or another (ONNX Where).
 *
 * c (bool), x, y (of one type; all broadcast) -> x where c, else y.
 */
#include "op/op.h"
#include "op/op_internal.h"
#include "op/walk.h"

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *c = op_value(g, n->in[0]), *x = op_value(g, n->in[1]);
    const struct nb_value *y = op_value(g, n->in[2]);
    struct nb_value both = {.type = x->type};
    if (c->type != NB_VALUE_BOOL || x->type != y->type || !op_is_plain(x))
        return nb_graph_refuse(g, n, "a condition of bools and two inputs of one type expected");
    if (!nb_binary_dims(x, y, &both) || !nb_binary_dims(c, &both, out))
        return nb_graph_refuse(g, n, "dimensions of the inputs do not broadcast");
    out->type = x->type;
    return true;
}

struct work {
    const struct nb_walk *w;
    const uint8_t *c, *x, *y;
    uint8_t *to; /* of one part: where the next run goes */
    size_t item;
};

/* One of two values, and one of two arrays, apart, so that a compiler makes vectors of them. */
#define PICK(type)                                                                                 \
    do {                                                                                           \
        type *to = (void *)w->to;                                                                  \
        const uint8_t *c = w->c + at[0];                                                           \
        const type *x = (const type *)(const void *)w->x + at[1];                                  \
        const type *y = (const type *)(const void *)w->y + at[2];                                  \
        const type one = *x, other = *y;                                                           \
        if (s[0] == 1 && s[1] == 0 && s[2] == 0)                                                   \
            for (size_t i = 0; i < n; i++)                                                         \
                to[i] = c[i] ? one : other;                                                        \
        else if (s[0] == 1 && s[1] == 1 && s[2] == 1)                                              \
            for (size_t i = 0; i < n; i++) {                                                       \
                const type a = x[i], b = y[i];                                                     \
                to[i] = c[i] ? a : b;                                                              \
            }                                                                                      \
        else                                                                                       \
            for (size_t i = 0; i < n; i++)                                                         \
                to[i] = c[(int64_t)i * s[0]] ? x[(int64_t)i * s[1]] : y[(int64_t)i * s[2]];        \
    } while (0)

static void run_one(void *ctx, size_t n, const int64_t at[NB_WALK_ARRAYS])
{
    struct work *w = ctx;
    const uint32_t last = w->w->rank - 1;
    const int64_t s[3] = {w->w->stride[0][last], w->w->stride[1][last], w->w->stride[2][last]};
    if (w->item == 1)
        PICK(uint8_t);
    else if (w->item == 2)
        PICK(uint16_t);
    else if (w->item == 4)
        PICK(uint32_t);
    else
        PICK(uint64_t);
    w->to += n * w->item;
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    struct work w = *(const struct work *)ctx;
    (void)worker;
    w.to += begin * w.item;
    nb_walk_runs(w.w, begin, end, run_one, &w);
}

static void run(const struct nb_op_call *c)
{
    struct nb_walk walk;
    struct work w = {.w = &walk,
                     .c = c->in[0]->data,
                     .x = c->in[1]->data,
                     .y = c->in[2]->data,
                     .to = c->out[0]->data,
                     .item = nb_value_item_bytes(c->out[0]->value->type)};
    nb_walk_init(&walk, c->out[0]->value);
    for (uint32_t i = 0; i < 3; i++)
        nb_walk_add(&walk, c->in[i]->value);
    nb_walk_merge(&walk);
    nb_pool_for(c->pool, (size_t)nb_walk_count(&walk), OP_CHUNK_ELEMENTS, part, &w);
}

const struct nb_op nb_op_where = {
    .name = "where",
    .n_in_min = 3,
    .n_in = 3,
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
