/* op/cast.c: elements of another type (ONNX Cast).
 *
 * x (any) -> y (type). attr type: enum nb_value_type. As C converts: toward zero; floats beyond an integer's range,
 * and NaN, which C leaves open, become its nearest bound, and 0. Anything but 0 is true.
 */
#include "op/op_internal.h"

enum { TYPE };

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    const struct nb_value *x = op_value(g, n->in[0]);
    const enum nb_value_type type = (enum nb_value_type)n->attr[TYPE].i;
    if (!op_is_plain(x) || nb_value_item_bytes(type) == 0)
        return nb_graph_refuse(g, n, "type %d to %d", (int)x->type, (int)type);
    op_copy_dims(out, x, type);
    return true;
}

struct work {
    const struct nb_slot *x, *y;
};

static double real_at(const struct nb_slot *s, size_t i)
{
    return s->value->type == NB_VALUE_F64 ? ((const double *)s->data)[i]
                                          : (double)((const float *)s->data)[i];
}

static int64_t integer_at(const struct nb_slot *s, size_t i)
{
    switch (s->value->type) {
    case NB_VALUE_I64:
        return ((const int64_t *)s->data)[i];
    case NB_VALUE_I32:
        return ((const int32_t *)s->data)[i];
    case NB_VALUE_U32:
        return ((const uint32_t *)s->data)[i];
    case NB_VALUE_I16:
        return ((const int16_t *)s->data)[i];
    case NB_VALUE_U16:
        return ((const uint16_t *)s->data)[i];
    case NB_VALUE_I8:
        return ((const int8_t *)s->data)[i];
    default:
        return ((const uint8_t *)s->data)[i];
    }
}

static void put_integer(const struct nb_slot *s, size_t i, int64_t v)
{
    switch (s->value->type) {
    case NB_VALUE_I64:
        ((int64_t *)s->data)[i] = v;
        return;
    case NB_VALUE_I32:
        ((int32_t *)s->data)[i] = (int32_t)v;
        return;
    case NB_VALUE_U32:
        ((uint32_t *)s->data)[i] = (uint32_t)v;
        return;
    case NB_VALUE_I16:
        ((int16_t *)s->data)[i] = (int16_t)v;
        return;
    case NB_VALUE_U16:
        ((uint16_t *)s->data)[i] = (uint16_t)v;
        return;
    case NB_VALUE_I8:
        ((int8_t *)s->data)[i] = (int8_t)v;
        return;
    case NB_VALUE_BOOL:
        ((uint8_t *)s->data)[i] = v != 0;
        return;
    default:
        ((uint8_t *)s->data)[i] = (uint8_t)v;
        return;
    }
}

/* Bounds of an integer type, as doubles that convert back. */
static int64_t to_integer(double v, enum nb_value_type type)
{
    double low = -9223372036854775808.0, high = 9223372036854774784.0;
    switch (type) {
    case NB_VALUE_I32:
        low = -2147483648.0, high = 2147483647.0;
        break;
    case NB_VALUE_U32:
        low = 0.0, high = 4294967295.0;
        break;
    case NB_VALUE_I16:
        low = -32768.0, high = 32767.0;
        break;
    case NB_VALUE_U16:
        low = 0.0, high = 65535.0;
        break;
    case NB_VALUE_I8:
        low = -128.0, high = 127.0;
        break;
    case NB_VALUE_U8:
        low = 0.0, high = 255.0;
        break;
    default:
        break;
    }
    return v != v ? 0 : (int64_t)NB_MIN(NB_MAX(v, low), high);
}

static bool is_real(enum nb_value_type type)
{
    return type == NB_VALUE_F32 || type == NB_VALUE_F64;
}

static void part(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    const enum nb_value_type from = w->x->value->type, to = w->y->value->type;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        if (to == NB_VALUE_F32)
            ((float *)w->y->data)[i] =
                is_real(from) ? (float)real_at(w->x, i) : (float)integer_at(w->x, i);
        else if (to == NB_VALUE_F64)
            ((double *)w->y->data)[i] =
                is_real(from) ? real_at(w->x, i) : (double)integer_at(w->x, i);
        else if (is_real(from))
            put_integer(w->y, i,
                        to == NB_VALUE_BOOL ? real_at(w->x, i) != 0.0
                                            : to_integer(real_at(w->x, i), to));
        else
            put_integer(w->y, i, integer_at(w->x, i));
    }
}

static void run(const struct nb_op_call *c)
{
    struct work w = {c->in[0], c->out[0]};
    nb_pool_for(c->pool, (size_t)(c->in[0]->rows * c->in[0]->cols), OP_CHUNK_ELEMENTS, part, &w);
}

const struct nb_op nb_op_cast = {
    .name = "cast",
    .n_in_min = 1,
    .n_in = 1,
    .attrs = {[TYPE] = "type"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .run = run,
};
