/* op/unary_f32.c: functions of floats, fast, the same bits on every ISA.
 *
 * Piecewise linear ones are plain loops. Tanh, GELU, SiLU, erf, sigmoid are kernels (kernels/act.h says how near they
 * come). What grows from exp is computed in doubles from
 *   exp x = 2^n exp r,  n = round(x / ln 2),  exp r = sum of r^k / k!, k <= 9
 * (relative error 1e-11), without libm, so that a compiler makes vectors of the loop.
 */
#include "op/unary_f32.h"

#include <math.h>
#include <string.h>

#include "op/op_internal.h"

/* ---- exp in doubles ---- */

#define MAGIC   6755399441055744.0 /* 1.5 * 2^52: adding it rounds to an integer, in the low bits */
#define LOG2_E  1.4426950408889634074
#define LN2_HI  0x1.62e42fee00000p-1 /* 33 bits: n LN2_HI is exact */
#define LN2_LO  0x1.a39ef35793c76p-33
#define EXP_TOP 700.0 /* beyond, a float has long been 0 or infinity */

/* (exp r - 1) / r */
static inline double growth(double r)
{
    double p = 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    return p * r + 1.0;
}

static inline double exp_wide(double x)
{
    const double low = x < -EXP_TOP ? -EXP_TOP : x, v = low > EXP_TOP ? EXP_TOP : low;
    const double shifted = v * LOG2_E + MAGIC, n = shifted - MAGIC;
    const double r = (v - n * LN2_HI) - n * LN2_LO;
    uint64_t bits;
    double power;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    memcpy(&power, &bits, sizeof power);
    return (r * growth(r) + 1.0) * power;
}

/* exp x - 1 for x <= 0 */
static inline double exp_less_one(double x)
{
    const double far = exp_wide(x) - 1.0, near = x * growth(x);
    return x > -0.3 ? near : far;
}

#define EACH(expr)                                                                                 \
    do {                                                                                           \
        for (size_t i = 0; i < n; i++) {                                                           \
            const float v = x[i];                                                                  \
            y[i] = (expr);                                                                         \
        }                                                                                          \
        return true;                                                                               \
    } while (0)

/* ---- from kernels ---- */

static bool from_kernels(float *y, const float *x, size_t n, enum nb_unary op, float alpha,
                         const struct nb_kernels *k)
{
    switch (op) {
    case NB_UNARY_RELU:
        k->act_f32(y, x, n, NB_ACT_RELU);
        return true;
    case NB_UNARY_TANH:
        k->softcap_f32(y, x, n, 1.0F, 1.0F);
        return true;
    case NB_UNARY_GELU:
        k->act_f32(y, x, n, NB_ACT_GELU);
        return true;
    case NB_UNARY_GELU_TANH:
        k->act_f32(y, x, n, NB_ACT_GELU_TANH);
        return true;
    case NB_UNARY_SIGMOID:
        k->sigmoid_f32(y, x, n);
        return true;
    case NB_UNARY_SWISH:
        if (alpha != 1.0F)
            return false;
        k->act_f32(y, x, n, NB_ACT_SILU);
        return true;
    case NB_UNARY_ERF:
        k->erf_f32(y, x, n);
        return true;
    default:
        return false;
    }
}

/* ---- from exp ---- */

/* x tanh(log(1 + e)) = x (e e + 2 e) / (e e + 2 e + 2) */
static inline float mish(float x)
{
    const double e = exp_wide((double)(x > 40.0F ? 40.0F : x)), s = e * (e + 2.0);
    return (float)((double)x * (s / (s + 2.0)));
}

static inline float elu(float x, double height)
{
    const double below = height * exp_less_one((double)(x > 0.0F ? 0.0F : x));
    return x > 0.0F ? x : (float)below;
}

static inline float celu(float x, double a)
{
    const double below = a * exp_less_one((double)(x > 0.0F ? 0.0F : x) / a);
    return x > 0.0F ? x : (float)below;
}

static inline float selu(float x, double height, double factor)
{
    const double below = height * exp_less_one((double)(x > 0.0F ? 0.0F : x));
    return (float)(factor * (x > 0.0F ? (double)x : below));
}

static bool from_exp(float *y, const float *x, size_t n, enum nb_unary op, float alpha, float beta)
{
    const double a = (double)alpha, b = (double)beta;
    switch (op) {
    case NB_UNARY_EXP:
        EACH((float)exp_wide((double)v));
    case NB_UNARY_ELU:
        if (beta == 1.0F)
            EACH(elu(v, a));
        EACH(selu(v, a, b));
    case NB_UNARY_CELU:
        if (!(alpha > 0.0F))
            return false;
        EACH(celu(v, a));
    case NB_UNARY_MISH:
        EACH(mish(v));
    case NB_UNARY_SWISH:
        EACH((float)((double)v / (1.0 + exp_wide(-a * (double)v))));
    default:
        return false;
    }
}

/* ---- piecewise ---- */

static inline float between(float x, float low, float high)
{
    const float t = x < low ? low : x;
    return t > high ? high : t;
}

/* NaN gives NaN */
static inline float sign(float x)
{
    const float below = x < 0.0F ? -1.0F : x;
    return x > 0.0F ? 1.0F : below;
}

static inline float shrink(float x, float lambda, float bias)
{
    const float up = x + bias, down = x - bias, nothing = x - x; /* 0, or NaN */
    const float y = x < -lambda ? up : nothing;
    return x > lambda ? down : y;
}

bool nb_unary_f32(float *y, const float *x, size_t n, enum nb_unary op, float alpha, float beta,
                  const struct nb_kernels *k)
{
    switch (op) {
    case NB_UNARY_ABS:
        EACH(fabsf(v));
    case NB_UNARY_NEG:
        EACH(-v);
    case NB_UNARY_SIGN:
        EACH(sign(v));
    case NB_UNARY_SQRT:
        EACH(sqrtf(v));
    case NB_UNARY_RECIPROCAL:
        EACH(1.0F / v);
    case NB_UNARY_CLIP:
        EACH(between(v, alpha, beta));
    case NB_UNARY_LEAKY_RELU:
        EACH((v < 0.0F ? alpha : 1.0F) * v);
    case NB_UNARY_THRESHOLDED_RELU:
        EACH(v <= alpha ? 0.0F : v);
    case NB_UNARY_HARD_SIGMOID:
        EACH(between(alpha * v + beta, 0.0F, 1.0F));
    case NB_UNARY_HARD_SWISH:
        EACH(v * between(v * (1.0F / 6.0F) + 0.5F, 0.0F, 1.0F));
    case NB_UNARY_SOFTSIGN:
        EACH(v / (1.0F + fabsf(v)));
    case NB_UNARY_SHRINK:
        EACH(shrink(v, alpha, beta));
    default:
        return from_kernels(y, x, n, op, alpha, k) || from_exp(y, x, n, op, alpha, beta);
    }
}
