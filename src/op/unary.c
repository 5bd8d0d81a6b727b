/* op/unary.c: a function of each element (ONNX's element-wise operators of one input).
 *
 * x (any dimensions) -> y, of x's type; a bool from IsNaN and IsInf. attr op: enum nb_unary; alpha, beta: what op.h
 * says about it, else 0. Integers have those operations that give integers (op.h), wrapping around.
 *
 * Floats: what nets run hot uses the kernels, or plain loops that a compiler makes vectors of; the rest is computed
 * by libm in doubles and rounded. All of it is the same bits on every ISA. NaN stays NaN.
 */
#include <math.h>

#include "op/op.h"
#include "op/op_internal.h"
#include "op/unary_f32.h"

enum { OP, ALPHA, BETA };

static bool gives_bool(int64_t op)
{
    return op == NB_UNARY_IS_NAN || op == NB_UNARY_IS_INF;
}

static bool of_integers(int64_t op)
{
    return op >= NB_UNARY_ABS && op <= NB_UNARY_CLIP;
}

static bool takes(int64_t op, enum nb_value_type type)
{
    if (op == NB_UNARY_NOT)
        return type == NB_VALUE_BOOL;
    if (type == NB_VALUE_F32 || type == NB_VALUE_F64)
        return op != NB_UNARY_BITWISE_NOT;
    return type != NB_VALUE_BOOL && (of_integers(op) || op == NB_UNARY_BITWISE_NOT);
}

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    const int64_t op = n->attr[OP].i;
    if (op < 0 || op >= NB_N_UNARY)
        return nb_graph_refuse(g, n, "no operation %lld", (long long)op);
    if (!op_is_plain(x) || !takes(op, x->type))
        return nb_graph_refuse(g, n, "operation %lld is not one of elements of this type",
                               (long long)op);
    op_copy_dims(out, x, gives_bool(op) ? NB_VALUE_BOOL : x->type);
    return true;
}

/* ---- of one double ---- */

static double sign(double x)
{
    return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : x;
}

static double clip(double x, double low, double high)
{
    const double t = x < low ? low : x;
    return t > high ? high : t;
}

static double softplus(double x)
{
    return x > 0.0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double shrink(double x, double lambda, double bias)
{
    return x < -lambda ? x + bias : x > lambda ? x - bias : x != x ? x : 0.0;
}

static double gelu_tanh(double x)
{
    const double two_root = 1.5957691216057308; /* 2 sqrt(2 / pi) */
    return x / (1.0 + exp(-two_root * (x + 0.044715 * x * x * x)));
}

static double simple(enum nb_unary op, double x)
{
    switch (op) {
    case NB_UNARY_ABS:
        return fabs(x);
    case NB_UNARY_NEG:
        return -x;
    case NB_UNARY_SIGN:
        return sign(x);
    case NB_UNARY_RELU:
        return x < 0.0 ? 0.0 : x;
    case NB_UNARY_CEIL:
        return ceil(x);
    case NB_UNARY_FLOOR:
        return floor(x);
    case NB_UNARY_ROUND:
        return rint(x);
    case NB_UNARY_SQRT:
        return sqrt(x);
    case NB_UNARY_RECIPROCAL:
        return 1.0 / x;
    case NB_UNARY_EXP:
        return exp(x);
    case NB_UNARY_LOG:
        return log(x);
    case NB_UNARY_ERF:
        return erf(x);
    case NB_UNARY_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    case NB_UNARY_HARD_SWISH:
        return x * clip(x / 6.0 + 0.5, 0.0, 1.0);
    case NB_UNARY_SOFTPLUS:
        return softplus(x);
    case NB_UNARY_SOFTSIGN:
        return x / (1.0 + fabs(x));
    case NB_UNARY_MISH:
        return x * tanh(softplus(x));
    case NB_UNARY_GELU:
        return 0.5 * x * erfc(-0.70710678118654752440 * x);
    case NB_UNARY_GELU_TANH:
        return gelu_tanh(x);
    default:
        return NAN;
    }
}

static double trigonometric(enum nb_unary op, double x)
{
    switch (op) {
    case NB_UNARY_SIN:
        return sin(x);
    case NB_UNARY_COS:
        return cos(x);
    case NB_UNARY_TAN:
        return tan(x);
    case NB_UNARY_ASIN:
        return asin(x);
    case NB_UNARY_ACOS:
        return acos(x);
    case NB_UNARY_ATAN:
        return atan(x);
    case NB_UNARY_SINH:
        return sinh(x);
    case NB_UNARY_COSH:
        return cosh(x);
    case NB_UNARY_TANH:
        return tanh(x);
    case NB_UNARY_ASINH:
        return asinh(x);
    case NB_UNARY_ACOSH:
        return acosh(x);
    case NB_UNARY_ATANH:
        return atanh(x);
    default:
        return NAN;
    }
}

static double one(enum nb_unary op, double x, double a, double b)
{
    switch (op) {
    case NB_UNARY_CLIP:
        return clip(x, a, b);
    case NB_UNARY_LEAKY_RELU:
        return x < 0.0 ? a * x : x;
    case NB_UNARY_ELU:
        return b * (x < 0.0 ? a * expm1(x) : x);
    case NB_UNARY_CELU:
        return x < 0.0 ? a * expm1(x / a) : x;
    case NB_UNARY_THRESHOLDED_RELU:
        return x > a || x != x ? x : 0.0;
    case NB_UNARY_HARD_SIGMOID:
        return clip(a * x + b, 0.0, 1.0);
    case NB_UNARY_SWISH:
        return x / (1.0 + exp(-a * x));
    case NB_UNARY_SHRINK:
        return shrink(x, a, b);
    default:
        return op >= NB_UNARY_SIN && op <= NB_UNARY_ATANH ? trigonometric(op, x) : simple(op, x);
    }
}

/* ---- runs of elements ---- */

struct work {
    const void *x;
    void *y;
    const struct nb_kernels *kernels;
    enum nb_unary op;
    enum nb_value_type type;
    double alpha, beta;
};

#define IS_INF(v, T)                                                                               \
    (((v) == (T)INFINITY && w->beta != 0.0) || ((v) == -(T)INFINITY && w->alpha != 0.0))

#define TESTS(T, name)                                                                             \
    static void name(const struct work *w, size_t begin, size_t end)                               \
    {                                                                                              \
        const T *x = w->x;                                                                         \
        uint8_t *y = w->y;                                                                         \
        if (w->op == NB_UNARY_IS_NAN)                                                              \
            for (size_t i = begin; i < end; i++)                                                   \
                y[i] = x[i] != x[i];                                                               \
        else                                                                                       \
            for (size_t i = begin; i < end; i++)                                                   \
                y[i] = IS_INF(x[i], T);                                                            \
    }

TESTS(float, test_f32)
TESTS(double, test_f64)

static void run_f32(const struct work *w, size_t begin, size_t end)
{
    const float *x = w->x;
    float *y = w->y;
    if (gives_bool(w->op)) {
        test_f32(w, begin, end);
        return;
    }
    if (nb_unary_f32(y + begin, x + begin, end - begin, w->op, (float)w->alpha, (float)w->beta,
                     w->kernels))
        return;
    for (size_t i = begin; i < end; i++)
        y[i] = (float)one(w->op, (double)x[i], w->alpha, w->beta);
}

static void run_f64(const struct work *w, size_t begin, size_t end)
{
    const double *x = w->x;
    double *y = w->y;
    if (gives_bool(w->op)) {
        test_f64(w, begin, end);
        return;
    }
    for (size_t i = begin; i < end; i++)
        y[i] = one(w->op, x[i], w->alpha, w->beta);
}

static bool below_zero(int64_t v)
{
    return v < 0;
}

/* The nearest of low .. high. */
static int64_t bound(double v, int64_t low, int64_t high)
{
    return v <= (double)low ? low : v >= (double)high ? high : (int64_t)v;
}

#define INTEGERS(T, name, low, high)                                                               \
    static void name(const struct work *w, size_t begin, size_t end)                               \
    {                                                                                              \
        const T *x = w->x;                                                                         \
        T *y = w->y;                                                                               \
        const T a = (T)bound(w->alpha, low, high), b = (T)bound(w->beta, low, high);               \
        for (size_t i = begin; i < end; i++) {                                                     \
            const T v = x[i];                                                                      \
            const T minus = (T)(0 - (uint64_t)v);                                                  \
            const bool below = below_zero((int64_t)v);                                             \
            const T t = v < a ? a : v;                                                             \
            switch (w->op) {                                                                       \
            case NB_UNARY_ABS:                                                                     \
                y[i] = below ? minus : v;                                                          \
                break;                                                                             \
            case NB_UNARY_NEG:                                                                     \
                y[i] = minus;                                                                      \
                break;                                                                             \
            case NB_UNARY_SIGN:                                                                    \
                y[i] = (T)(below ? -1 : v != 0);                                                   \
                break;                                                                             \
            case NB_UNARY_RELU:                                                                    \
                y[i] = below ? 0 : v;                                                              \
                break;                                                                             \
            case NB_UNARY_CLIP:                                                                    \
                y[i] = t > b ? b : t;                                                              \
                break;                                                                             \
            case NB_UNARY_NOT:                                                                     \
                y[i] = v == 0;                                                                     \
                break;                                                                             \
            default:                                                                               \
                y[i] = (T) ~(uint64_t)v;                                                           \
            }                                                                                      \
        }                                                                                          \
    }

INTEGERS(int64_t, run_i64, INT64_MIN, INT64_MAX)
INTEGERS(int32_t, run_i32, INT32_MIN, INT32_MAX)
INTEGERS(int16_t, run_i16, INT16_MIN, INT16_MAX)
INTEGERS(int8_t, run_i8, INT8_MIN, INT8_MAX)
INTEGERS(uint32_t, run_u32, 0, UINT32_MAX)
INTEGERS(uint16_t, run_u16, 0, UINT16_MAX)
INTEGERS(uint8_t, run_u8, 0, UINT8_MAX)

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    static void (*const of_type[])(const struct work *, size_t, size_t) = {
        [NB_VALUE_F32] = run_f32, [NB_VALUE_F64] = run_f64, [NB_VALUE_U32] = run_u32,
        [NB_VALUE_I64] = run_i64, [NB_VALUE_I32] = run_i32, [NB_VALUE_I16] = run_i16,
        [NB_VALUE_U16] = run_u16, [NB_VALUE_I8] = run_i8,   [NB_VALUE_U8] = run_u8,
        [NB_VALUE_BOOL] = run_u8};
    const struct work *w = ctx;
    (void)worker;
    of_type[w->type](w, begin, end);
}

static void run(const struct nb_op_call *c)
{
    const enum nb_unary op = (enum nb_unary)c->node->attr[OP].i;
    struct work w = {.x = c->in[0]->data,
                     .y = c->out[0]->data,
                     .kernels = c->kernels,
                     .op = op,
                     .type = c->in[0]->value->type,
                     .alpha = c->node->attr[ALPHA].f,
                     .beta = c->node->attr[BETA].f};
    nb_pool_for(c->pool, (size_t)(c->out[0]->rows * c->out[0]->cols),
                of_integers(op) ? OP_CHUNK_ELEMENTS : OP_CHUNK_ELEMENTS / 8, part, &w);
}

const struct nb_op nb_op_unary = {
    .name = "unary",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {[OP] = "op", [ALPHA] = "alpha", [BETA] = "beta"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
