/* op/order.h: elements of any type as 64-bit integers of the same order. */
#ifndef NB_OP_ORDER_H
#define NB_OP_ORDER_H

#include <string.h>

#include "graph/graph.h"

/* 0 and -0 are one; NaN is the largest. */
static inline int64_t order_of_float(float x)
{
    const float v = x + 0.0F; /* -0 becomes 0 */
    int32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (v != v)
        return INT64_MAX;
    return bits < 0 ? bits ^ INT32_MAX : bits;
}

static inline int64_t order_of_double(double x)
{
    const double v = x + 0.0;
    int64_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (v != v)
        return INT64_MAX;
    return bits < 0 ? bits ^ INT64_MAX : bits;
}

#define ORDER_EACH(T, expr)                                                                        \
    do {                                                                                           \
        const T *from = (const T *)x + at;                                                         \
        for (size_t i = 0; i < n; i++) {                                                           \
            const T v = from[i * step];                                                            \
            to[i] = (expr);                                                                        \
        }                                                                                          \
        return;                                                                                    \
    } while (0)

/* to (n): of the elements of x from `at` on, step apart */
static inline void order_of(int64_t *to, const void *x, enum nb_value_type type, size_t at,
                            size_t step, size_t n)
{
    switch (type) {
    case NB_VALUE_F32:
        ORDER_EACH(float, order_of_float(v));
    case NB_VALUE_F64:
        ORDER_EACH(double, order_of_double(v));
    case NB_VALUE_I64:
        ORDER_EACH(int64_t, v);
    case NB_VALUE_I32:
        ORDER_EACH(int32_t, v);
    case NB_VALUE_U32:
        ORDER_EACH(uint32_t, v);
    case NB_VALUE_I16:
        ORDER_EACH(int16_t, v);
    case NB_VALUE_U16:
        ORDER_EACH(uint16_t, v);
    case NB_VALUE_I8:
        ORDER_EACH(int8_t, v);
    default:
        ORDER_EACH(uint8_t, v);
    }
}

#endif
