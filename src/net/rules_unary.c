/* net/rules_unary.c: functions of one element. */
#include <math.h>

#include "net/net_internal.h"

static bool is_real(enum nb_value_type type)
{
    return type == NB_VALUE_F32 || type == NB_VALUE_F64;
}

static uint32_t unary(struct nb_net_node *n, uint32_t x, enum nb_unary op, double alpha,
                      double beta)
{
    const struct nb_attr attrs[] = {NB_ATTR_INT("op", op), NB_ATTR_REAL("alpha", alpha),
                                    NB_ATTR_REAL("beta", beta)};
    return nb_net_add(
        n, &(struct nb_node_args){.op = &nb_op_unary, .in = {x}, .attrs = attrs, .n_attrs = 3});
}

static enum nb_status give(struct nb_net_node *n, double alpha, double beta, struct nb_error *err)
{
    return nb_net_out(n, 0, unary(n, n->in[0], (enum nb_unary)n->arg, alpha, beta), err);
}

enum nb_status nb_net_rule_unary(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 1, err));
    return give(n, 0.0, 0.0, err);
}

/* One that has a parameter "alpha", or two; what it is when the file does not say. */
enum nb_status nb_net_rule_unary_alpha(struct nb_net_node *n, struct nb_error *err)
{
    double alpha = 1.0, beta = 0.0;
    NB_TRY(nb_net_need(n, 1, err));
    if (n->arg == NB_UNARY_LEAKY_RELU)
        alpha = (double)0.01F;
    if (n->arg == NB_UNARY_HARD_SIGMOID) {
        alpha = (double)0.2F;
        beta = nb_net_real(n, "beta", 0.5);
    }
    if (n->arg == NB_UNARY_ELU)
        beta = 1.0;
    return give(n, nb_net_real(n, "alpha", alpha), beta, err);
}

/* Before opset 6 with fewer digits. */
enum nb_status nb_net_rule_selu(struct nb_net_node *n, struct nb_error *err)
{
    const bool old = n->opset < 6;
    NB_TRY(nb_net_need(n, 1, err));
    return give(n, nb_net_real(n, "alpha", old ? (double)1.6732F : (double)1.67326319217681884765F),
                nb_net_real(n, "gamma", old ? (double)1.0507F : (double)1.05070102214813232421F),
                err);
}

enum nb_status nb_net_rule_gelu(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 1, err));
    if (nb_net_is(n, "approximate", "tanh", "none"))
        n->arg = NB_UNARY_GELU_TANH;
    else if (!nb_net_is(n, "approximate", "none", "none"))
        NB_FAIL(err, NB_ERR_FORMAT, "an approximation that is neither none nor tanh");
    return give(n, 0.0, 0.0, err);
}

/* Of integers: in doubles, and back. */
enum nb_status nb_net_rule_shrink(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 1, err));
    const enum nb_value_type type = n->g->values[n->in[0]].type;
    const uint32_t x = nb_net_cast(n, n->in[0], is_real(type) ? type : NB_VALUE_F64);
    const uint32_t y =
        unary(n, x, NB_UNARY_SHRINK, nb_net_real(n, "lambd", 0.5), nb_net_real(n, "bias", 0.0));
    return nb_net_out(n, 0, nb_net_cast(n, y, type), err);
}

enum nb_status nb_net_rule_is_inf(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 1, err));
    return give(n, nb_net_int(n, "detect_negative", 1) != 0 ? 1.0 : 0.0,
                nb_net_int(n, "detect_positive", 1) != 0 ? 1.0 : 0.0, err);
}

/* ---- Clip: bounds are attributes before opset 11, then inputs ---- */

/* A bound that is known, or absent, and a double holds exactly. */
static bool known_bound(const struct nb_net_node *n, size_t i, double *bound)
{
    const struct nb_value *v = nb_net_in(n, i);
    if (v == NULL)
        return true;
    if (v->kind != NB_VALUE_CONST || nb_value_count(v) != 1)
        return false;
    switch (v->type) {
    case NB_VALUE_F32:
        *bound = (double)*(const float *)v->data;
        return *bound == *bound;
    case NB_VALUE_F64:
        *bound = *(const double *)v->data;
        return *bound == *bound;
    case NB_VALUE_I64: {
        const int64_t b = *(const int64_t *)v->data;
        *bound = (double)b;
        return b > -(1LL << 53) && b < 1LL << 53;
    }
    case NB_VALUE_I32:
        *bound = (double)*(const int32_t *)v->data;
        return true;
    case NB_VALUE_I8:
        *bound = (double)*(const int8_t *)v->data;
        return true;
    case NB_VALUE_U8:
        *bound = (double)*(const uint8_t *)v->data;
        return true;
    default:
        return false;
    }
}

enum nb_status nb_net_rule_clip(struct nb_net_node *n, struct nb_error *err)
{
    double low = -INFINITY, high = INFINITY;
    NB_TRY(nb_net_need(n, 1, err));
    if (n->opset < 11) {
        low = nb_net_real(n, "min", low);
        high = nb_net_real(n, "max", high);
    } else if (!known_bound(n, 1, &low) || !known_bound(n, 2, &high)) {
        uint32_t v = n->in[0];
        if (nb_net_in(n, 1) != NULL)
            v = nb_net_binary(n, NB_BINARY_MAX, v, n->in[1]);
        if (nb_net_in(n, 2) != NULL)
            v = nb_net_binary(n, NB_BINARY_MIN, v, n->in[2]);
        return nb_net_out(n, 0, v, err);
    }
    return nb_net_out(n, 0, unary(n, n->in[0], NB_UNARY_CLIP, low, high), err);
}
