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

/* ---- the largest ---- */

enum nb_status nb_net_rule_arg(struct nb_net_node *n, struct nb_error *err)
{
    int64_t dims[NB_VALUE_DIMS];
    uint32_t axis, kept = 0;
    NB_TRY(nb_net_need(n, 1, err));
    const uint32_t rank = nb_net_in(n, 0)->rank;
    NB_TRY(nb_net_axis(nb_net_int(n, "axis", 0), rank, &axis, err));
    for (uint32_t i = 0; i < rank; i++)
        if (i != axis)
            dims[kept++] = (int64_t)nb_net_in(n, 0)->dim[i].n;
    const struct nb_attr attrs[] = {
        NB_ATTR_INT("axis", axis), NB_ATTR_INT("smallest", n->arg),
        NB_ATTR_INT("ties_last", nb_net_int(n, "select_last_index", 0))};
    uint32_t y = nb_net_add(
        n,
        &(struct nb_node_args){.op = &nb_op_arg, .in = {n->in[0]}, .attrs = attrs, .n_attrs = 3});
    if (y != 0 && nb_net_int(n, "keepdims", 1) == 0)
        y = nb_net_reshape(n, y, dims, kept);
    return nb_net_out(n, 0, y, err);
}

/* One known integer, of whatever type the file has it. */
static enum nb_status known_int(struct nb_net_node *n, size_t i, int64_t *out, struct nb_error *err)
{
    const uint32_t whole = nb_net_cast(n, n->in[i], NB_VALUE_I64);
    const struct nb_value *v = &n->g->values[whole];
    if (whole == 0)
        NB_FAIL(err, NB_ERR_FORMAT, "input %zu is no number", i);
    if (v->kind != NB_VALUE_CONST)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "input %zu ('%s') depends on data; it must be known when the net is opened", i,
                nb_net_in(n, i)->name);
    if (nb_value_count(v) != 1)
        NB_FAIL(err, NB_ERR_FORMAT, "input %zu has %llu elements, expected one", i,
                (unsigned long long)nb_value_count(v));
    *out = *(const int64_t *)v->data;
    return NB_OK;
}

/* k is an attribute before opset 10. */
enum nb_status nb_net_rule_top_k(struct nb_net_node *n, struct nb_error *err)
{
    int64_t k = nb_net_int(n, "k", -1);
    uint32_t axis;
    NB_TRY(nb_net_need(n, n->opset < 10 ? 1 : 2, err));
    if (n->opset >= 10)
        NB_TRY(known_int(n, 1, &k, err));
    NB_TRY(nb_net_axis(nb_net_int(n, "axis", -1), nb_net_in(n, 0)->rank, &axis, err));
    const struct nb_attr attrs[] = {NB_ATTR_INT("axis", axis), NB_ATTR_INT("k", k),
                                    NB_ATTR_INT("smallest", nb_net_int(n, "largest", 1) == 0)};
    const uint32_t v =
        nb_net_add(n, &(struct nb_node_args){
                          .op = &nb_op_top_values, .in = {n->in[0]}, .attrs = attrs, .n_attrs = 3});
    NB_TRY(nb_net_out(n, 0, v, err));
    return nb_net_out(n, 1, v != 0 ? v + 1 : 0, err); /* outputs are neighbours */
}

/* ---- running sums ---- */

enum nb_status nb_net_rule_cum_sum(struct nb_net_node *n, struct nb_error *err)
{
    int64_t along;
    uint32_t axis;
    NB_TRY(nb_net_need(n, 2, err));
    NB_TRY(known_int(n, 1, &along, err));
    NB_TRY(nb_net_axis(along, nb_net_in(n, 0)->rank, &axis, err));
    const struct nb_attr attrs[] = {NB_ATTR_INT("axis", axis),
                                    NB_ATTR_INT("exclusive", nb_net_int(n, "exclusive", 0)),
                                    NB_ATTR_INT("reverse", nb_net_int(n, "reverse", 0))};
    return nb_net_give(n,
                       &(struct nb_node_args){
                           .op = &nb_op_cum_sum, .in = {n->in[0]}, .attrs = attrs, .n_attrs = 3},
                       err);
}

/* ---- masks ---- */

static uint32_t where(struct nb_net_node *n, uint32_t c, uint32_t x, uint32_t y)
{
    return nb_net_add(n, &(struct nb_node_args){.op = &nb_op_where, .in = {c, x, y}});
}

static uint32_t pick(struct nb_net_node *n, uint32_t x, int64_t i)
{
    const struct nb_attr attr = NB_ATTR_INT("axis", 0);
    const uint32_t at = nb_net_const_ints(n, &i, 1);
    return nb_net_add(n, &(struct nb_node_args){
                             .op = &nb_op_gather, .in = {x, at}, .attrs = &attr, .n_attrs = 1});
}

/* 0, 1 ... count - 1, as dimension `axis` of `rank`. */
static uint32_t count_up(struct nb_net_node *n, int64_t count, uint32_t axis, uint32_t rank)
{
    int64_t dims[NB_VALUE_DIMS];
    int64_t *data = nb_arena_alloc(&n->g->arena, (size_t)count + 1, sizeof *data);
    const uint64_t len = (uint64_t)count;
    if (data == NULL)
        return 0;
    for (uint32_t i = 0; i < rank; i++)
        dims[i] = i == axis ? count : 1;
    for (int64_t i = 0; i < count; i++)
        data[i] = i;
    return nb_net_reshape(n, nb_graph_const(n->g, NULL, NB_VALUE_I64, &len, 1, data), dims, rank);
}

/* Indices, where below 0 from the end, compared with 0 .. depth - 1 along a new dimension. */
enum nb_status nb_net_rule_one_hot(struct nb_net_node *n, struct nb_error *err)
{
    int64_t dims[NB_VALUE_DIMS], depth;
    uint32_t axis;
    NB_TRY(nb_net_need(n, 3, err));
    NB_TRY(known_int(n, 1, &depth, err));
    const uint32_t rank = nb_net_in(n, 0)->rank + 1;
    if (rank > NB_VALUE_DIMS)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "more than %d dimensions", NB_VALUE_DIMS);
    if (depth < 0 || depth > 1 << 30 || nb_value_count(nb_net_in(n, 2)) != 2)
        NB_FAIL(err, NB_ERR_FORMAT, "depth %lld, %llu values", (long long)depth,
                (unsigned long long)nb_value_count(nb_net_in(n, 2)));
    NB_TRY(nb_net_axis(nb_net_int(n, "axis", -1), rank, &axis, err));
    for (uint32_t i = 0, from = 0; i < rank; i++)
        dims[i] = i == axis ? 1 : (int64_t)nb_net_in(n, 0)->dim[from++].n;
    const uint32_t raw = nb_net_cast(n, n->in[0], NB_VALUE_I64);
    const uint32_t below = nb_net_binary(n, NB_BINARY_LT, raw, nb_net_scalar(n, NB_VALUE_I64, 0.0));
    const uint32_t from_end =
        nb_net_binary(n, NB_BINARY_ADD, raw, nb_net_scalar(n, NB_VALUE_I64, (double)depth));
    const uint32_t index = nb_net_reshape(n, where(n, below, from_end, raw), dims, rank);
    const uint32_t on = nb_net_binary(n, NB_BINARY_EQ, index, count_up(n, depth, axis, rank));
    const uint32_t off = pick(n, n->in[2], 0);
    return nb_net_out(n, 0, where(n, on, pick(n, n->in[2], 1), off), err);
}

/* A mask of the last two dimensions: upper keeps columns - row >= k, lower those <= k. */
enum nb_status nb_net_rule_trilu(struct nb_net_node *n, struct nb_error *err)
{
    const bool upper = nb_net_int(n, "upper", 1) != 0;
    int64_t k = 0;
    NB_TRY(nb_net_need(n, 1, err));
    if (nb_net_in(n, 1) != NULL)
        NB_TRY(known_int(n, 1, &k, err));
    const uint32_t rank = nb_net_in(n, 0)->rank;
    if (rank < 2)
        NB_FAIL(err, NB_ERR_FORMAT, "%u dimensions, expected two or more", rank);
    const struct nb_value x = *nb_net_in(n, 0);
    const uint64_t rows = x.dim[rank - 2].n, cols = x.dim[rank - 1].n;
    uint64_t total;
    uint8_t *mask = NULL;
    if (nb_mul_u64(&total, rows, cols) && total < (uint64_t)1 << 31)
        mask = nb_arena_alloc(&n->g->arena, (size_t)total + 1, 1);
    if (mask == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a mask");
    k = NB_MIN(NB_MAX(k, -(int64_t)rows), (int64_t)cols); /* beyond, all or nothing */
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < cols; c++) {
            const int64_t d = (int64_t)c - (int64_t)r;
            mask[r * cols + c] = upper ? d >= k : d <= k;
        }
    const uint32_t m = nb_graph_const(n->g, NULL, NB_VALUE_BOOL, (uint64_t[]){rows, cols}, 2, mask);
    return nb_net_out(n, 0, where(n, m, n->in[0], nb_net_scalar(n, x.type, 0.0)), err);
}

/* Places of what is not 0, of a constant: how many there are must be known. */
enum nb_status nb_net_rule_non_zero(struct nb_net_node *n, struct nb_error *err)
{
    int64_t index[NB_VALUE_DIMS] = {0};
    NB_TRY(nb_net_need(n, 1, err));
    if (nb_net_in(n, 0)->kind != NB_VALUE_CONST)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "input 0 ('%s') depends on data; it must be known when the net is opened",
                nb_net_in(n, 0)->name);
    const uint32_t b = nb_net_cast(n, n->in[0], NB_VALUE_BOOL);
    if (b == 0)
        return NB_OK; /* import.c says why */
    const struct nb_value x = n->g->values[b];
    const uint8_t *is = x.data;
    const size_t all = (size_t)nb_value_count(&x);
    size_t found = 0, at = 0;
    for (size_t i = 0; i < all; i++)
        found += is[i] != 0;
    int64_t *to = nb_arena_alloc(&n->g->arena, found * x.rank + 1, sizeof *to);
    if (to == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu places", found);
    for (size_t i = 0; i < all; i++) {
        for (uint32_t d = 0; d < x.rank && is[i]; d++)
            to[d * found + at] = index[d];
        at += is[i] != 0;
        for (uint32_t d = x.rank; d-- > 0 && ++index[d] == (int64_t)x.dim[d].n;)
            index[d] = 0;
    }
    return nb_net_out(
        n, 0, nb_graph_const(n->g, NULL, NB_VALUE_I64, (uint64_t[]){x.rank, found}, 2, to), err);
}
