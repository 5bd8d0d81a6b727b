/* op/binary.c: two arrays, element by element, broadcast as numpy does (ONNX Add, Sub, Mul, Div, Pow, Min, Max,
 * Mod, PRelu, BitShift, Bitwise..., comparisons, logic).
 *
 * a, b (of one type, dimensions that broadcast) -> y. attr op: enum nb_binary. Integers wrap around, their quotient
 * rounds toward zero, and what is divided by 0 gives 0. Pow is computed in doubles.
 */
#include <math.h>

#include "op/op.h"
#include "op/op_internal.h"
#include "op/walk.h"

enum { OP };

static bool gives_bool(int64_t op)
{
    return op >= NB_BINARY_EQ && op <= NB_BINARY_XOR;
}

bool nb_binary_dims(const struct nb_value *a, const struct nb_value *b, struct nb_value *out)
{
    out->rank = NB_MAX(a->rank, b->rank);
    for (uint32_t i = 0; i < out->rank; i++) { /* from the right */
        const uint64_t x = i < a->rank ? a->dim[a->rank - 1 - i].n : 1;
        const uint64_t y = i < b->rank ? b->dim[b->rank - 1 - i].n : 1;
        if (x != y && x != 1 && y != 1)
            return false;
        out->dim[out->rank - 1 - i] = nb_dim_const(x == 1 ? y : x);
    }
    return true;
}

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *a = op_value(g, n->in[0]), *b = op_value(g, n->in[1]);
    const int64_t op = n->attr[OP].i;
    const bool logic = op >= NB_BINARY_AND && op <= NB_BINARY_XOR;
    const bool bits = op >= NB_BINARY_BIT_AND && op <= NB_BINARY_SHIFT_RIGHT;
    const bool real = a->type == NB_VALUE_F32 || a->type == NB_VALUE_F64;
    if (op < 0 || op >= NB_N_BINARY)
        return nb_graph_refuse(g, n, "no operation %lld", (long long)op);
    if (a->type != b->type || !op_is_plain(a) || (bits && real) ||
        (logic && a->type != NB_VALUE_BOOL) ||
        (!logic && op != NB_BINARY_EQ && a->type == NB_VALUE_BOOL))
        return nb_graph_refuse(g, n, "inputs of types that do not go together");
    if (!nb_binary_dims(a, b, out))
        return nb_graph_refuse(g, n, "dimensions of the inputs do not broadcast");
    out->type = gives_bool(op) ? NB_VALUE_BOOL : a->type;
    return true;
}

/* ---- one run, of each type ---- */

struct work {
    const struct nb_walk *w;
    const struct nb_kernels *kernels;
    const void *a, *b;
    uint8_t *y; /* of one part: where the next run goes */
    enum nb_binary op;
    enum nb_value_type type;
    size_t item_out;
};

/* The common strides apart, so that a compiler sees them. */
#define EACH(T, R, expr)                                                                           \
    do {                                                                                           \
        R *y = (void *)w->y;                                                                       \
        const T *pa = (const T *)w->a + at[0], *pb = (const T *)w->b + at[1];                      \
        if (sa == 1 && sb == 1)                                                                    \
            for (size_t i = 0; i < n; i++) {                                                       \
                const T a = pa[i], b = pb[i];                                                      \
                y[i] = (R)(expr);                                                                  \
            }                                                                                      \
        else if (sa == 1 && sb == 0)                                                               \
            for (size_t i = 0; i < n; i++) {                                                       \
                const T a = pa[i], b = *pb;                                                        \
                y[i] = (R)(expr);                                                                  \
            }                                                                                      \
        else if (sa == 0 && sb == 1)                                                               \
            for (size_t i = 0; i < n; i++) {                                                       \
                const T a = *pa, b = pb[i];                                                        \
                y[i] = (R)(expr);                                                                  \
            }                                                                                      \
        else                                                                                       \
            for (size_t i = 0; i < n; i++) {                                                       \
                const T a = pa[(int64_t)i * sa], b = pb[(int64_t)i * sb];                          \
                y[i] = (R)(expr);                                                                  \
            }                                                                                      \
        return;                                                                                    \
    } while (0)

#define COMPARISONS(T)                                                                             \
    case NB_BINARY_EQ:                                                                             \
        EACH(T, uint8_t, a == b);                                                                  \
    case NB_BINARY_LT:                                                                             \
        EACH(T, uint8_t, a < b);                                                                   \
    case NB_BINARY_LE:                                                                             \
        EACH(T, uint8_t, a <= b);                                                                  \
    case NB_BINARY_GT:                                                                             \
        EACH(T, uint8_t, a > b);                                                                   \
    case NB_BINARY_GE:                                                                             \
        EACH(T, uint8_t, a >= b)

/* NaN if either is. */
#define FLOATS(T, name, fmod_fn)                                                                   \
    static void name(const struct work *w, size_t n, const int64_t *at, int64_t sa, int64_t sb)    \
    {                                                                                              \
        switch (w->op) {                                                                           \
            COMPARISONS(T);                                                                        \
        case NB_BINARY_ADD:                                                                        \
            EACH(T, T, a + b);                                                                     \
        case NB_BINARY_SUB:                                                                        \
            EACH(T, T, a - b);                                                                     \
        case NB_BINARY_MUL:                                                                        \
            EACH(T, T, a *b);                                                                      \
        case NB_BINARY_DIV:                                                                        \
            EACH(T, T, a / b);                                                                     \
        case NB_BINARY_POW:                                                                        \
            EACH(T, T, pow((double)a, (double)b));                                                 \
        case NB_BINARY_MIN:                                                                        \
            EACH(T, T, a < b || a != a ? a : b);                                                   \
        case NB_BINARY_MAX:                                                                        \
            EACH(T, T, a > b || a != a ? a : b);                                                   \
        case NB_BINARY_MOD:                                                                        \
        case NB_BINARY_FMOD:                                                                       \
            EACH(T, T, fmod_fn(a, b));                                                             \
        case NB_BINARY_PRELU:                                                                      \
            EACH(T, T, a < 0 ? a * b : a);                                                         \
        case NB_BINARY_BIT_AND:                                                                    \
        case NB_BINARY_BIT_OR:                                                                     \
        case NB_BINARY_BIT_XOR:                                                                    \
        case NB_BINARY_SHIFT_LEFT:                                                                 \
        case NB_BINARY_SHIFT_RIGHT:                                                                \
        case NB_BINARY_AND:                                                                        \
        case NB_BINARY_OR:                                                                         \
        case NB_BINARY_XOR:                                                                        \
        case NB_N_BINARY:                                                                          \
        default:                                                                                   \
            return;                                                                                \
        }                                                                                          \
    }

FLOATS(float, run_f32, fmodf)
FLOATS(double, run_f64, fmod)

/* Of wide integers, without overflow of what C leaves undefined. */
static int64_t quotient(int64_t a, int64_t b)
{
    return b == 0 ? 0 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
}

static int64_t remainder_c(int64_t a, int64_t b)
{
    return b == 0 || b == -1 ? 0 : a % b;
}

/* The sign is b's. */
static int64_t modulo(int64_t a, int64_t b)
{
    const int64_t r = remainder_c(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static bool below_zero(int64_t a)
{
    return a < 0;
}

static int64_t power(int64_t a, int64_t b)
{
    uint64_t y = 1, x = (uint64_t)a;
    if (b < 0)
        return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0;
    for (; b > 0; b >>= 1, x *= x)
        y *= b & 1 ? x : 1;
    return (int64_t)y;
}

/* I64 stands for unsigned integers here, whose bits it holds. */
static int64_t shift_right(int64_t a, uint64_t by, bool wide)
{
    if (wide || a >= 0)
        return by < 64 ? (int64_t)((uint64_t)a >> by) : 0;
    return by < 64 ? (int64_t) ~(~(uint64_t)a >> by) : -1;
}

#define INTEGERS(T, name)                                                                          \
    static void name(const struct work *w, size_t n, const int64_t *at, int64_t sa, int64_t sb)    \
    {                                                                                              \
        switch (w->op) {                                                                           \
            COMPARISONS(T);                                                                        \
        case NB_BINARY_ADD:                                                                        \
            EACH(T, T, (uint64_t)a + (uint64_t)b);                                                 \
        case NB_BINARY_SUB:                                                                        \
            EACH(T, T, (uint64_t)a - (uint64_t)b);                                                 \
        case NB_BINARY_MUL:                                                                        \
            EACH(T, T, (uint64_t)a *(uint64_t)b);                                                  \
        case NB_BINARY_DIV:                                                                        \
            EACH(T, T, quotient(a, b));                                                            \
        case NB_BINARY_POW:                                                                        \
            EACH(T, T, power(a, b));                                                               \
        case NB_BINARY_MIN:                                                                        \
            EACH(T, T, a < b ? a : b);                                                             \
        case NB_BINARY_MAX:                                                                        \
            EACH(T, T, a > b ? a : b);                                                             \
        case NB_BINARY_MOD:                                                                        \
            EACH(T, T, modulo(a, b));                                                              \
        case NB_BINARY_FMOD:                                                                       \
            EACH(T, T, remainder_c(a, b));                                                         \
        case NB_BINARY_PRELU:                                                                      \
            EACH(T, T, below_zero(a) ? (uint64_t)a *(uint64_t)b : (uint64_t)a);                    \
        case NB_BINARY_BIT_AND:                                                                    \
            EACH(T, T, (uint64_t)a &(uint64_t)b);                                                  \
        case NB_BINARY_BIT_OR:                                                                     \
            EACH(T, T, (uint64_t)a | (uint64_t)b);                                                 \
        case NB_BINARY_BIT_XOR:                                                                    \
            EACH(T, T, (uint64_t)a ^ (uint64_t)b);                                                 \
        case NB_BINARY_SHIFT_LEFT:                                                                 \
            EACH(T, T, (uint64_t)b < 64 ? (uint64_t)a << (uint64_t)b : 0);                         \
        case NB_BINARY_SHIFT_RIGHT:                                                                \
            EACH(T, T, shift_right((int64_t)a, (uint64_t)b, sizeof(T) == 8));                      \
        case NB_BINARY_AND:                                                                        \
            EACH(T, T, a &b);                                                                      \
        case NB_BINARY_OR:                                                                         \
            EACH(T, T, a | b);                                                                     \
        case NB_BINARY_XOR:                                                                        \
            EACH(T, T, a ^ b);                                                                     \
        case NB_N_BINARY:                                                                          \
        default:                                                                                   \
            return;                                                                                \
        }                                                                                          \
    }

INTEGERS(int64_t, run_i64)
INTEGERS(int32_t, run_i32)
INTEGERS(uint32_t, run_u32)
INTEGERS(int16_t, run_i16)
INTEGERS(uint16_t, run_u16)
INTEGERS(int8_t, run_i8)
INTEGERS(uint8_t, run_u8)

static void run_any(const struct work *w, size_t n, const int64_t *at, int64_t sa, int64_t sb)
{
    switch (w->type) {
    case NB_VALUE_F32:
        run_f32(w, n, at, sa, sb);
        return;
    case NB_VALUE_F64:
        run_f64(w, n, at, sa, sb);
        return;
    case NB_VALUE_I64:
        run_i64(w, n, at, sa, sb);
        return;
    case NB_VALUE_I32:
        run_i32(w, n, at, sa, sb);
        return;
    case NB_VALUE_U32:
        run_u32(w, n, at, sa, sb);
        return;
    case NB_VALUE_I16:
        run_i16(w, n, at, sa, sb);
        return;
    case NB_VALUE_U16:
        run_u16(w, n, at, sa, sb);
        return;
    case NB_VALUE_I8:
        run_i8(w, n, at, sa, sb);
        return;
    case NB_VALUE_U8:
    case NB_VALUE_BOOL:
        run_u8(w, n, at, sa, sb);
        return;
    case NB_VALUE_Q8:
    case NB_VALUE_STORED:
    default:
        return;
    }
}

static void run_one(void *ctx, size_t n, const int64_t at[NB_WALK_ARRAYS])
{
    struct work *w = ctx;
    const uint32_t last = w->w->rank - 1;
    const int64_t sa = w->w->stride[0][last], sb = w->w->stride[1][last];
    if (w->type == NB_VALUE_F32 && w->op == NB_BINARY_ADD && sa == 1 && sb == 1)
        w->kernels->add_f32((float *)(void *)w->y, (const float *)w->a + at[0],
                            (const float *)w->b + at[1], n);
    else
        run_any(w, n, at, sa, sb);
    w->y += n * w->item_out;
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    struct work w = *(const struct work *)ctx;
    (void)worker;
    w.y += begin * w.item_out;
    nb_walk_runs(w.w, begin, end, run_one, &w);
}

static void run(const struct nb_op_call *c)
{
    struct nb_walk walk;
    struct work w = {.w = &walk,
                     .kernels = c->kernels,
                     .a = c->in[0]->data,
                     .b = c->in[1]->data,
                     .y = c->out[0]->data,
                     .op = (enum nb_binary)c->node->attr[OP].i,
                     .type = c->in[0]->value->type,
                     .item_out = nb_value_item_bytes(c->out[0]->value->type)};
    nb_walk_init(&walk, c->out[0]->value);
    nb_walk_add(&walk, c->in[0]->value);
    nb_walk_add(&walk, c->in[1]->value);
    nb_walk_merge(&walk);
    nb_pool_for(c->pool, (size_t)nb_walk_count(&walk), OP_CHUNK_ELEMENTS, part, &w);
}

const struct nb_op nb_op_binary = {
    .name = "binary",
    .n_in_min = 2,
    .n_in = 2,
    .attrs = {[OP] = "op"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
