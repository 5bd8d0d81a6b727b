/* net/rules_norm.c: norms. All become op/norm.c, whose rows are what comes last, by reshapes and transposes; a batch
 * norm in inference is a product and a sum.
 */
#include "net/net_internal.h"

#include <string.h>

static uint32_t norm(struct nb_net_node *n, enum nb_norm kind, const uint32_t in[3], int64_t axis,
                     double eps)
{
    const struct nb_attr attrs[] = {NB_ATTR_INT("axis", axis), NB_ATTR_REAL("eps", eps),
                                    NB_ATTR_INT("kind", kind)};
    return nb_net_add(n, &(struct nb_node_args){.op = &nb_op_norm,
                                                .in = {in[0], in[1], in[2]},
                                                .attrs = attrs,
                                                .n_attrs = NB_COUNTOF(attrs)});
}

/* ---- batch norm: y = a x + b, a = scale / sqrt(var + eps), b = bias - a mean, worked out in doubles ---- */

static bool trains(const struct nb_net_node *n)
{
    if (n->opset >= 14)
        return nb_net_int(n, "training_mode", 0) != 0;
    if (n->opset < 7)
        return nb_net_int(n, "is_test", 0) == 0;
    size_t named = 0;
    for (size_t i = 0; i < n->n->n_outputs; i++)
        named += n->n->outputs[i][0] != '\0';
    return named > 1;
}

/* Of x's type, one number for each channel of x (n, c, ..). */
static uint32_t for_channels(struct nb_net_node *n, uint32_t v, bool spatial)
{
    const struct nb_value *x = nb_net_in(n, 0);
    int64_t dims[NB_VALUE_DIMS] = {(int64_t)(x->rank > 1 ? x->dim[1].n : 1), 1, 1, 1, 1, 1, 1, 1};
    const enum nb_value_type type = x->type;
    const uint32_t rank = x->rank;
    v = nb_net_cast(n, v, type);
    return spatial && rank > 2 ? nb_net_reshape(n, v, dims, rank - 1) : v;
}

enum nb_status nb_net_rule_batch_norm(struct nb_net_node *n, struct nb_error *err)
{
    const enum nb_value_type wide = NB_VALUE_F64;
    const bool spatial = n->opset >= 9 || nb_net_int(n, "spatial", 1) != 0;
    uint32_t p[5];
    NB_TRY(nb_net_need(n, 5, err));
    if (trains(n))
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "training mode");
    const struct nb_value *x = nb_net_in(n, 0);
    for (size_t i = 1; i < 5; i++)
        if (spatial && nb_value_count(nb_net_in(n, i)) != (x->rank > 1 ? x->dim[1].n : 1))
            NB_FAIL(err, NB_ERR_FORMAT, "input %zu has not one number for each channel", i);
    for (size_t i = 1; i < 5; i++)
        p[i] = nb_net_cast(n, n->in[i], wide);
    const uint32_t eps = nb_net_scalar(n, wide, nb_net_real(n, "epsilon", 1e-5));
    const uint32_t half = nb_net_scalar(n, wide, -0.5);
    const uint32_t inverse =
        nb_net_binary(n, NB_BINARY_POW, nb_net_binary(n, NB_BINARY_ADD, p[4], eps), half);
    const uint32_t a = nb_net_binary(n, NB_BINARY_MUL, p[1], inverse);
    const uint32_t b =
        nb_net_binary(n, NB_BINARY_SUB, p[2], nb_net_binary(n, NB_BINARY_MUL, a, p[3]));
    const uint32_t y = nb_net_binary(n, NB_BINARY_MUL, n->in[0], for_channels(n, a, spatial));
    return nb_net_out(n, 0, nb_net_binary(n, NB_BINARY_ADD, y, for_channels(n, b, spatial)), err);
}

/* ---- instance and group norm ---- */

static enum nb_status channels(const struct nb_net_node *n, uint64_t want, struct nb_error *err)
{
    for (size_t i = 1; i < 3; i++)
        if (nb_value_count(nb_net_in(n, i)) != want)
            NB_FAIL(err, NB_ERR_FORMAT, "input %zu has %llu numbers, expected %llu", i,
                    (unsigned long long)nb_value_count(nb_net_in(n, i)), (unsigned long long)want);
    return NB_OK;
}

enum nb_status nb_net_rule_instance_norm(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 3, err));
    const struct nb_value *x = nb_net_in(n, 0);
    if (x->rank < 2)
        NB_FAIL(err, NB_ERR_FORMAT, "input 0 has no channels");
    const uint32_t rank = x->rank;
    const int64_t dims[NB_VALUE_DIMS] = {(int64_t)x->dim[1].n, 1, 1, 1, 1, 1, 1, 1};
    uint32_t in[3] = {n->in[0]};
    NB_TRY(channels(n, x->dim[1].n, err));
    for (size_t i = 1; i < 3; i++)
        in[i] = nb_net_reshape(n, n->in[i], dims, rank - 1);
    return nb_net_out(n, 0, norm(n, NB_NORM_STANDARD, in, 2, nb_net_real(n, "epsilon", 1e-5)), err);
}

/* x as (n, groups, channels of a group, the rest). Before opset 21 scale and bias are those of groups. */
enum nb_status nb_net_rule_group_norm(struct nb_net_node *n, struct nb_error *err)
{
    const int64_t groups = nb_net_int(n, "num_groups", 0);
    int64_t dims[NB_VALUE_DIMS], rest = 1;
    uint32_t in[3];
    NB_TRY(nb_net_need(n, 3, err));
    const struct nb_value *x = nb_net_in(n, 0);
    const uint32_t rank = x->rank;
    if (rank < 2 || groups < 1 || (int64_t)x->dim[1].n % groups != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "%lld groups do not divide the channels", (long long)groups);
    for (uint32_t i = 0; i < rank; i++) {
        dims[i] = (int64_t)x->dim[i].n;
        rest *= i < 2 ? 1 : dims[i];
    }
    const int64_t each = dims[1] / groups, of = n->opset >= 21 ? each : 1;
    NB_TRY(channels(n, (uint64_t)(groups * of), err));
    in[0] = nb_net_reshape(n, n->in[0], (int64_t[]){dims[0], groups, each, rest}, 4);
    for (size_t i = 1; i < 3; i++)
        in[i] = nb_net_reshape(n, n->in[i], (int64_t[]){groups, of, 1}, 3);
    const uint32_t y = norm(n, NB_NORM_STANDARD, in, 2, nb_net_real(n, "epsilon", 1e-5));
    return nb_net_out(n, 0, nb_net_reshape(n, y, dims, rank), err);
}

/* ---- from an axis on ---- */

static bool wants(const struct nb_net_node *n, size_t output)
{
    return output < n->n->n_outputs && n->n->outputs[output][0] != '\0';
}

enum nb_status nb_net_rule_layer_norm(struct nb_net_node *n, struct nb_error *err)
{
    const double eps = nb_net_real(n, "epsilon", 1e-5);
    uint32_t axis;
    NB_TRY(nb_net_need(n, 2, err));
    NB_TRY(nb_net_axis(nb_net_int(n, "axis", -1), nb_net_in(n, 0)->rank, &axis, err));
    NB_TRY(nb_net_out(n, 0, norm(n, (enum nb_norm)n->arg, n->in, axis, eps), err));
    if (n->arg != NB_NORM_STANDARD || (!wants(n, 1) && !wants(n, 2)))
        return NB_OK;
    const struct nb_attr attrs[] = {NB_ATTR_INT("axis", axis), NB_ATTR_REAL("eps", eps)};
    const uint32_t mean = nb_net_add(n, &(struct nb_node_args){.op = &nb_op_moments,
                                                               .in = {n->in[0]},
                                                               .attrs = attrs,
                                                               .n_attrs = NB_COUNTOF(attrs)});
    NB_TRY(nb_net_out(n, 1, mean, err));
    return nb_net_out(n, 2, mean ? mean + 1 : 0, err);
}

/* ---- over axes anywhere: they go last, and back ---- */

static uint32_t norm_axes(struct nb_net_node *n, enum nb_norm kind, uint32_t mask, double eps)
{
    const uint32_t rank = nb_net_in(n, 0)->rank;
    int64_t perm[NB_VALUE_DIMS], back[NB_VALUE_DIMS];
    uint32_t at = 0, kept;
    for (uint32_t i = 0; i < rank; i++)
        if (!(mask >> i & 1))
            perm[at++] = i;
    kept = at;
    for (uint32_t i = 0; i < rank; i++)
        if (mask >> i & 1)
            perm[at++] = i;
    bool same = true;
    for (uint32_t i = 0; i < rank; i++) {
        back[perm[i]] = i;
        same = same && perm[i] == i;
    }
    const uint32_t x = same ? n->in[0] : nb_net_transpose(n, n->in[0], perm, rank);
    const uint32_t y = norm(n, kind, (uint32_t[3]){x, 0, 0}, kept, eps);
    return same ? y : nb_net_transpose(n, y, back, rank);
}

enum nb_status nb_net_rule_lp_norm(struct nb_net_node *n, struct nb_error *err)
{
    const int64_t p = nb_net_int(n, "p", 2);
    uint32_t axis;
    NB_TRY(nb_net_need(n, 1, err));
    NB_TRY(nb_net_axis(nb_net_int(n, "axis", -1), nb_net_in(n, 0)->rank, &axis, err));
    if (p != 1 && p != 2)
        NB_FAIL(err, NB_ERR_FORMAT, "p is %lld; 1 and 2 are possible", (long long)p);
    const enum nb_norm kind = p == 1 ? NB_NORM_L1 : NB_NORM_L2;
    return nb_net_out(n, 0, norm_axes(n, kind, 1U << axis, 0.0), err);
}

/* ONNX adds 1e-9 to the root, not to what is under it: the difference is below what a float holds unless the
 * deviation itself is as small. */
enum nb_status nb_net_rule_mean_variance(struct nb_net_node *n, struct nb_error *err)
{
    static const int64_t usual[] = {0, 2, 3};
    size_t len;
    uint32_t mask = 0;
    NB_TRY(nb_net_need(n, 1, err));
    const int64_t *axes = nb_net_ints(n, "axes", &len);
    if (axes == NULL) {
        axes = usual;
        len = NB_COUNTOF(usual);
    }
    for (size_t i = 0; i < len; i++) {
        uint32_t axis;
        NB_TRY(nb_net_axis(axes[i], nb_net_in(n, 0)->rank, &axis, err));
        mask |= 1U << axis;
    }
    return nb_net_out(n, 0, norm_axes(n, NB_NORM_STANDARD, mask, 1e-18), err);
}

enum nb_status nb_net_rule_lrn(struct nb_net_node *n, struct nb_error *err)
{
    const struct nb_attr attrs[] = {NB_ATTR_INT("size", nb_net_int(n, "size", 0)),
                                    NB_ATTR_REAL("alpha", nb_net_real(n, "alpha", 1e-4)),
                                    NB_ATTR_REAL("beta", nb_net_real(n, "beta", 0.75)),
                                    NB_ATTR_REAL("bias", nb_net_real(n, "bias", 1.0))};
    NB_TRY(nb_net_need(n, 1, err));
    return nb_net_give(
        n,
        &(struct nb_node_args){
            .op = &nb_op_lrn, .in = {n->in[0]}, .attrs = attrs, .n_attrs = NB_COUNTOF(attrs)},
        err);
}
