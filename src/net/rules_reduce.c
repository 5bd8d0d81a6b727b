/* net/rules_reduce.c: what takes several elements along dimensions: sums, softmax, the largest, running sums. */
#include <string.h>

#include "net/net_internal.h"

/* ---- Reduce... ---- */

/* Axes are an attribute, later (13: ReduceSum, 18: all) an input. None: all, or as the file says none. */
enum nb_status nb_net_rule_reduce(struct nb_net_node *n, struct nb_error *err)
{
    int64_t axes[NB_VALUE_DIMS];
    size_t len, n_axes = 0;
    uint32_t seen = 0;
    NB_TRY(nb_net_need(n, 1, err));
    const int64_t *given = nb_net_ints(n, "axes", &len);
    if (given == NULL)
        NB_TRY(nb_net_known(n, 1, &given, &len, err));
    const uint32_t rank = nb_net_in(n, 0)->rank;
    for (size_t i = 0; i < len; i++) {
        uint32_t axis;
        NB_TRY(nb_net_axis(given[i], rank, &axis, err));
        if (seen >> axis & 1U)
            NB_FAIL(err, NB_ERR_FORMAT, "axis %u is named twice", axis);
        seen |= 1U << axis;
        axes[n_axes++] = axis;
    }
    if (len == 0 && nb_net_int(n, "noop_with_empty_axes", 0) == 0)
        for (; n_axes < rank; n_axes++)
            axes[n_axes] = (int64_t)n_axes;
    const struct nb_attr attrs[] = {NB_ATTR_INT("op", n->arg), NB_ATTR_LIST("axes", axes, n_axes),
                                    NB_ATTR_INT("keepdims", nb_net_int(n, "keepdims", 1))};
    return nb_net_give(
        n,
        &(struct nb_node_args){.op = &nb_op_reduce, .in = {n->in[0]}, .attrs = attrs, .n_attrs = 3},
        err);
}

/* ---- Softmax and relatives ---- */

static uint32_t softmax(struct nb_net_node *n, uint32_t x, uint32_t axis)
{
    const struct nb_attr attrs[] = {NB_ATTR_INT("axis", axis), NB_ATTR_INT("kind", n->arg)};
    return nb_net_add(
        n, &(struct nb_node_args){.op = &nb_op_softmax, .in = {x}, .attrs = attrs, .n_attrs = 2});
}

/* Before opset 13 all dimensions from `axis` on are one. */
enum nb_status nb_net_rule_softmax(struct nb_net_node *n, struct nb_error *err)
{
    const bool old = n->opset < 13;
    int64_t dims[NB_VALUE_DIMS], flat[2] = {1, 1};
    uint32_t axis;
    NB_TRY(nb_net_need(n, 1, err));
    const uint32_t rank = nb_net_in(n, 0)->rank;
    NB_TRY(nb_net_axis(nb_net_int(n, "axis", old ? 1 : -1), rank, &axis, err));
    if (!old || axis + 1 == rank)
        return nb_net_out(n, 0, softmax(n, n->in[0], axis), err);
    for (uint32_t i = 0; i < rank; i++) {
        dims[i] = (int64_t)nb_net_in(n, 0)->dim[i].n;
        flat[i >= axis] *= dims[i];
    }
    const uint32_t y = softmax(n, nb_net_reshape(n, n->in[0], flat, 2), 1);
    return nb_net_out(n, 0, nb_net_reshape(n, y, dims, rank), err);
}
