/* net/rules_math.c: arithmetic, comparisons, casts. */
#include "net/net_internal.h"

/* Before opset 7 the dimensions of b are those of a from `axis` on: ones follow. */
static enum nb_status align_old(struct nb_net_node *n, uint32_t *b, struct nb_error *err)
{
    const struct nb_value *x = nb_net_in(n, 0), *y = nb_net_in(n, 1);
    int64_t dims[NB_VALUE_DIMS] = {1, 1, 1, 1, 1, 1, 1, 1};
    uint32_t axis;
    NB_TRY(nb_net_axis(nb_net_int(n, "axis", 0), x->rank, &axis, err));
    if (y->rank > x->rank - axis)
        NB_FAIL(err, NB_ERR_FORMAT, "%u dimensions from axis %u of %u on", y->rank, axis, x->rank);
    for (uint32_t i = 0; i < y->rank; i++)
        dims[i] = (int64_t)y->dim[i].n;
    *b = nb_net_reshape(n, n->in[1], dims, x->rank - axis);
    return NB_OK;
}

enum nb_status nb_net_rule_binary(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 2, err));
    if (n->opset < 7 && nb_onnx_find_attr(n->n, "axis") != NULL)
        NB_TRY(align_old(n, &n->in[1], err));
    return nb_net_out(n, 0, nb_net_binary(n, (enum nb_binary)n->arg, n->in[0], n->in[1]), err);
}

/* Of one input and more: one after the other. */
enum nb_status nb_net_rule_fold_binary(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, NB_MAX(n->n_in, (size_t)1), err));
    uint32_t v = n->in[0];
    for (size_t i = 1; i < n->n_in; i++)
        v = nb_net_binary(n, (enum nb_binary)n->arg, v, n->in[i]);
    return nb_net_out(n, 0, v, err);
}

enum nb_status nb_net_rule_mean(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, NB_MAX(n->n_in, (size_t)1), err));
    uint32_t v = n->in[0];
    for (size_t i = 1; i < n->n_in; i++)
        v = nb_net_binary(n, NB_BINARY_ADD, v, n->in[i]);
    const uint32_t count = nb_net_scalar(n, n->g->values[n->in[0]].type, (double)n->n_in);
    return nb_net_out(n, 0, nb_net_binary(n, NB_BINARY_DIV, v, count), err);
}

enum nb_status nb_net_rule_mod(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 2, err));
    const enum nb_binary op = nb_net_int(n, "fmod", 0) != 0 ? NB_BINARY_FMOD : NB_BINARY_MOD;
    return nb_net_out(n, 0, nb_net_binary(n, op, n->in[0], n->in[1]), err);
}

/* Before opset 7 one slope for each channel; later the slope's dimensions broadcast to those of x. */
enum nb_status nb_net_rule_prelu(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 2, err));
    const struct nb_value *x = nb_net_in(n, 0), *slope = nb_net_in(n, 1);
    uint32_t s = n->in[1];
    if (n->opset < 7 && slope->rank == 1 && x->rank >= 2) {
        int64_t dims[NB_VALUE_DIMS] = {(int64_t)slope->dim[0].n, 1, 1, 1, 1, 1, 1, 1};
        s = nb_net_reshape(n, s, dims, x->rank - 1);
    }
    return nb_net_out(n, 0, nb_net_binary(n, NB_BINARY_PRELU, n->in[0], s), err);
}

/* One number, the same for all of input 1, and known: true. */
static bool one_number(const struct nb_net_node *n, double *out)
{
    const struct nb_value *v = nb_net_in(n, 1);
    if (v->kind != NB_VALUE_CONST || v->type != NB_VALUE_F32 || nb_value_count(v) != 1)
        return false;
    *out = (double)*(const float *)v->data;
    return true;
}

/* The exponent may be of another type. Squares are products. */
enum nb_status nb_net_rule_pow(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 2, err));
    const uint32_t x = n->in[0];
    const enum nb_value_type type = n->g->values[x].type;
    const enum nb_value_type other = n->g->values[n->in[1]].type;
    const bool real = other == NB_VALUE_F32 || other == NB_VALUE_F64;
    double p;
    if (type == NB_VALUE_F32 && one_number(n, &p) && p == 2.0 &&
        nb_net_in(n, 1)->rank <= nb_net_in(n, 0)->rank)
        return nb_net_out(n, 0, nb_net_binary(n, NB_BINARY_MUL, x, x), err);
    /* an integer to a real power: in doubles, and back */
    const bool wide = real && type != NB_VALUE_F32 && type != NB_VALUE_F64;
    const enum nb_value_type in = wide ? NB_VALUE_F64 : type;
    const uint32_t y =
        nb_net_binary(n, NB_BINARY_POW, nb_net_cast(n, x, in), nb_net_cast(n, n->in[1], in));
    return nb_net_out(n, 0, nb_net_cast(n, y, type), err);
}

enum nb_status nb_net_rule_cast(struct nb_net_node *n, struct nb_error *err)
{
    const int32_t to = (int32_t)nb_net_int(n, "to", 0);
    enum nb_value_type type;
    NB_TRY(nb_net_need(n, 1, err));
    if (!nb_net_type(to, &type))
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "to type %s",
                nb_onnx_type_info(to) != NULL ? nb_onnx_type_info(to)->name : "unknown");
    return nb_net_out(n, 0, nb_net_cast(n, n->in[0], type), err);
}

enum nb_status nb_net_rule_cast_like(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 2, err));
    return nb_net_out(n, 0, nb_net_cast(n, n->in[0], n->g->values[n->in[1]].type), err);
}

enum nb_status nb_net_rule_where(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 3, err));
    return nb_net_give(
        n, &(struct nb_node_args){.op = &nb_op_where, .in = {n->in[0], n->in[1], n->in[2]}}, err);
}
