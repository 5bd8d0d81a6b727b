/* net/rules_move.c: elements moved to other places: padding, picking and placing by indices, blocks of space and depth. */
#include <string.h>

#include "net/net_internal.h"

/* ---- padding ---- */

struct pads {
    int64_t begin[NB_VALUE_DIMS], end[NB_VALUE_DIMS];
};

static enum nb_status pad(struct nb_net_node *n, uint32_t value, enum nb_pad mode,
                          const struct pads *p, struct nb_error *err)
{
    const uint32_t rank = nb_net_in(n, 0)->rank;
    const struct nb_attr attrs[] = {NB_ATTR_INT("mode", mode),
                                    NB_ATTR_LIST("begin", p->begin, rank),
                                    NB_ATTR_LIST("end", p->end, rank)};
    return nb_net_give(n,
                       &(struct nb_node_args){
                           .op = &nb_op_pad, .in = {n->in[0], value}, .attrs = attrs, .n_attrs = 3},
                       err);
}

static enum nb_status pad_mode(const struct nb_net_node *n, enum nb_pad *mode, struct nb_error *err)
{
    static const char *const names[NB_N_PAD] = {[NB_PAD_CONSTANT] = "constant",
                                                [NB_PAD_REFLECT] = "reflect",
                                                [NB_PAD_EDGE] = "edge",
                                                [NB_PAD_WRAP] = "wrap"};
    for (int i = 0; i < NB_N_PAD; i++)
        if (nb_net_is(n, "mode", names[i], "constant")) {
            *mode = (enum nb_pad)i;
            return NB_OK;
        }
    NB_FAIL(err, NB_ERR_UNSUPPORTED, "this mode of padding");
}

/* Opset < 11 has attributes, later ones inputs. */
enum nb_status nb_net_rule_pad(struct nb_net_node *n, struct nb_error *err)
{
    struct pads p = {{0}, {0}};
    enum nb_pad mode = NB_PAD_CONSTANT;
    size_t len, n_axes = 0;
    const int64_t *pads = nb_net_ints(n, "pads", &len), *axes = NULL;
    uint32_t value = n->n_in > 2 ? n->in[2] : 0;
    NB_TRY(nb_net_need(n, 1, err));
    NB_TRY(pad_mode(n, &mode, err));
    if (pads == NULL)
        pads = nb_net_ints(n, "paddings", &len); /* opset 1 */
    if (pads == NULL) {
        NB_TRY(nb_net_need(n, 2, err));
        NB_TRY(nb_net_known(n, 1, &pads, &len, err));
        NB_TRY(nb_net_known(n, 3, &axes, &n_axes, err));
    } else {
        value = nb_net_scalar(n, nb_net_in(n, 0)->type, nb_net_real(n, "value", 0.0));
    }
    const uint32_t rank = nb_net_in(n, 0)->rank;
    if (axes == NULL)
        n_axes = rank;
    if (len != 2 * n_axes)
        NB_FAIL(err, NB_ERR_FORMAT, "%zu pads for %zu dimensions", len, n_axes);
    for (size_t i = 0; i < n_axes; i++) {
        uint32_t axis;
        NB_TRY(nb_net_axis(axes != NULL ? axes[i] : (int64_t)i, rank, &axis, err));
        p.begin[axis] = pads[i];
        p.end[axis] = pads[n_axes + i];
    }
    return pad(n, value, mode, &p, err);
}

/* What is too much goes, what is missing comes, half on either side; the odd one at the end. */
enum nb_status nb_net_rule_center_crop_pad(struct nb_net_node *n, struct nb_error *err)
{
    struct pads p = {{0}, {0}};
    const int64_t *want;
    size_t len, n_axes;
    const int64_t *axes = nb_net_ints(n, "axes", &n_axes);
    NB_TRY(nb_net_need(n, 2, err));
    NB_TRY(nb_net_known(n, 1, &want, &len, err));
    const struct nb_value *x = nb_net_in(n, 0);
    if (len != (axes != NULL ? n_axes : x->rank))
        NB_FAIL(err, NB_ERR_FORMAT, "%zu sizes for %zu dimensions", len,
                axes != NULL ? n_axes : (size_t)x->rank);
    for (size_t i = 0; i < len; i++) {
        uint32_t axis;
        NB_TRY(nb_net_axis(axes != NULL ? axes[i] : (int64_t)i, x->rank, &axis, err));
        const int64_t size = (int64_t)x->dim[axis].n;
        if (want[i] < 0 || want[i] > INT64_C(1) << 40)
            NB_FAIL(err, NB_ERR_FORMAT, "size %lld", (long long)want[i]);
        p.begin[axis] = (want[i] - size) / 2; /* toward zero */
        p.end[axis] = want[i] - size - p.begin[axis];
    }
    return pad(n, 0, NB_PAD_CONSTANT, &p, err);
}

/* ---- blocks: a dimension taken apart, its parts put elsewhere ---- */

static enum nb_status blocks_of(const struct nb_net_node *n, int64_t *b, int64_t dims[4],
                                struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 1, err));
    const struct nb_value *x = nb_net_in(n, 0);
    *b = nb_net_int(n, "blocksize", 0);
    if (x->rank != 4 || *b < 1 || *b > 1 << 20)
        NB_FAIL(err, NB_ERR_FORMAT, "%u dimensions, blocks of %lld", x->rank, (long long)*b);
    for (uint32_t i = 0; i < 4; i++)
        dims[i] = (int64_t)x->dim[i].n;
    return NB_OK;
}

/* x as (dims of 6), transposed, as (dims of 4). */
static enum nb_status rearrange(struct nb_net_node *n, const int64_t apart[6],
                                const int64_t perm[6], const int64_t joined[4],
                                struct nb_error *err)
{
    uint32_t v = nb_net_reshape(n, n->in[0], apart, 6);
    v = nb_net_transpose(n, v, perm, 6);
    return nb_net_out(n, 0, nb_net_reshape(n, v, joined, 4), err);
}

/* DCR: the block is the outer part of the channels; CRD: the inner one. */
enum nb_status nb_net_rule_depth_to_space(struct nb_net_node *n, struct nb_error *err)
{
    static const int64_t dcr[6] = {0, 3, 4, 1, 5, 2}, crd[6] = {0, 1, 4, 2, 5, 3};
    const bool inner = nb_net_is(n, "mode", "CRD", "DCR");
    int64_t b, d[4];
    NB_TRY(blocks_of(n, &b, d, err));
    if (d[1] % (b * b) != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "%lld channels, blocks of %lld", (long long)d[1], (long long)b);
    const int64_t c = d[1] / (b * b), joined[4] = {d[0], c, d[2] * b, d[3] * b};
    const int64_t apart[6] = {d[0], inner ? c : b, b, inner ? b : c, d[2], d[3]};
    return rearrange(n, apart, inner ? crd : dcr, joined, err);
}

enum nb_status nb_net_rule_space_to_depth(struct nb_net_node *n, struct nb_error *err)
{
    static const int64_t dcr[6] = {0, 3, 5, 1, 2, 4}, crd[6] = {0, 1, 3, 5, 2, 4};
    const bool inner = nb_net_is(n, "mode", "CRD", "DCR");
    int64_t b, d[4];
    NB_TRY(blocks_of(n, &b, d, err));
    if (d[2] % b != 0 || d[3] % b != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "%lld x %lld, blocks of %lld", (long long)d[2], (long long)d[3],
                (long long)b);
    const int64_t apart[6] = {d[0], d[1], d[2] / b, b, d[3] / b, b};
    const int64_t joined[4] = {d[0], d[1] * b * b, d[2] / b, d[3] / b};
    return rearrange(n, apart, inner ? crd : dcr, joined, err);
}

/* ---- by indices ---- */

enum nb_status nb_net_rule_gather_elements(struct nb_net_node *n, struct nb_error *err)
{
    uint32_t axis;
    NB_TRY(nb_net_need(n, 2, err));
    NB_TRY(nb_net_axis(nb_net_int(n, "axis", 0), nb_net_in(n, 0)->rank, &axis, err));
    const struct nb_attr attr = NB_ATTR_INT("axis", axis);
    return nb_net_give(
        n,
        &(struct nb_node_args){
            .op = &nb_op_gather_elements, .in = {n->in[0], n->in[1]}, .attrs = &attr, .n_attrs = 1},
        err);
}

enum nb_status nb_net_rule_gather_nd(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 2, err));
    const struct nb_attr attr = NB_ATTR_INT("batch", nb_net_int(n, "batch_dims", 0));
    return nb_net_give(
        n,
        &(struct nb_node_args){
            .op = &nb_op_gather_nd, .in = {n->in[0], n->in[1]}, .attrs = &attr, .n_attrs = 1},
        err);
}

/* arg: 1 tuples of indices (ScatterND), 0 single ones. */
enum nb_status nb_net_rule_scatter(struct nb_net_node *n, struct nb_error *err)
{
    static const char *const names[NB_N_SCATTER] = {
        [NB_SCATTER_SET] = "none", [NB_SCATTER_ADD] = "add", [NB_SCATTER_MUL] = "mul",
        [NB_SCATTER_MIN] = "min",  [NB_SCATTER_MAX] = "max",
    };
    int64_t how = -1, axis = -1;
    NB_TRY(nb_net_need(n, 3, err));
    for (int64_t i = 0; i < NB_N_SCATTER; i++)
        how = nb_net_is(n, "reduction", names[i], "none") ? i : how;
    if (how < 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "this reduction");
    if (n->arg == 0) {
        uint32_t at;
        NB_TRY(nb_net_axis(nb_net_int(n, "axis", 0), nb_net_in(n, 0)->rank, &at, err));
        axis = at;
    }
    const struct nb_attr attrs[] = {NB_ATTR_INT("axis", axis), NB_ATTR_INT("reduction", how)};
    return nb_net_give(n,
                       &(struct nb_node_args){.op = &nb_op_scatter,
                                              .in = {n->in[0], n->in[1], n->in[2]},
                                              .attrs = attrs,
                                              .n_attrs = 2},
                       err);
}

/* Only where what is kept is known. Without an axis: of all elements in a row. */
enum nb_status nb_net_rule_compress(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 2, err));
    uint32_t x = n->in[0], axis = 0;
    const struct nb_value *keep = nb_net_in(n, 1);
    if (keep->kind != NB_VALUE_CONST || keep->type != NB_VALUE_BOOL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "input 1 ('%s') depends on data; it must be known when the net is opened",
                keep->name);
    const uint8_t *yes = keep->data;
    const uint64_t n_keep = nb_value_count(keep);
    if (nb_onnx_find_attr(n->n, "axis") != NULL) {
        NB_TRY(nb_net_axis(nb_net_int(n, "axis", 0), nb_net_in(n, 0)->rank, &axis, err));
    } else {
        const int64_t count = (int64_t)nb_value_count(nb_net_in(n, 0));
        x = nb_net_reshape(n, x, &count, 1);
    }
    if (x == 0)
        return NB_OK;
    const uint64_t most = NB_MIN(n_keep, n->g->values[x].dim[axis].n);
    int64_t *index = nb_arena_alloc(&n->g->arena, (size_t)most + 1, sizeof *index);
    size_t len = 0;
    if (index == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    for (uint64_t i = 0; i < most; i++)
        if (yes[i])
            index[len++] = (int64_t)i;
    const uint32_t indices = nb_net_const_ints(n, index, len);
    const struct nb_attr attr = NB_ATTR_INT("axis", axis);
    return nb_net_give(n,
                       &(struct nb_node_args){
                           .op = &nb_op_gather, .in = {x, indices}, .attrs = &attr, .n_attrs = 1},
                       err);
}

enum nb_status nb_net_rule_reverse_sequence(struct nb_net_node *n, struct nb_error *err)
{
    uint32_t batch, time;
    NB_TRY(nb_net_need(n, 2, err));
    const uint32_t rank = nb_net_in(n, 0)->rank;
    NB_TRY(nb_net_axis(nb_net_int(n, "batch_axis", 1), rank, &batch, err));
    NB_TRY(nb_net_axis(nb_net_int(n, "time_axis", 0), rank, &time, err));
    const struct nb_attr attrs[] = {NB_ATTR_INT("batch", batch), NB_ATTR_INT("time", time)};
    return nb_net_give(n,
                       &(struct nb_node_args){.op = &nb_op_reverse_sequence,
                                              .in = {n->in[0], n->in[1]},
                                              .attrs = attrs,
                                              .n_attrs = 2},
                       err);
}

/* ---- made of dimensions alone ---- */

enum nb_status nb_net_rule_eye_like(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 1, err));
    const struct nb_value *x = nb_net_in(n, 0);
    const int64_t k = nb_net_int(n, "k", 0);
    const uint64_t count = nb_value_count(x);
    enum nb_value_type type = x->type;
    if (nb_onnx_find_attr(n->n, "dtype") != NULL &&
        !nb_net_type((int32_t)nb_net_int(n, "dtype", 0), &type))
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "type %lld", (long long)nb_net_int(n, "dtype", 0));
    if (x->rank != 2 || count > UINT64_C(1) << 31)
        NB_FAIL(err, NB_ERR_FORMAT, "a matrix expected, not %u dimensions", x->rank);
    const uint64_t dims[2] = {x->dim[0].n, x->dim[1].n};
    uint8_t *ones = nb_arena_alloc(&n->g->arena, (size_t)count + 1, 1);
    if (ones == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    memset(ones, 0, (size_t)count + 1);
    for (uint64_t i = 0; i < dims[0]; i++)
        if (k > -(int64_t)dims[0] && k < (int64_t)dims[1] && (int64_t)i + k >= 0 &&
            (int64_t)i + k < (int64_t)dims[1])
            ones[i * dims[1] + (uint64_t)((int64_t)i + k)] = 1;
    const uint32_t v = nb_graph_const(n->g, NULL, NB_VALUE_U8, dims, 2, ones);
    return nb_net_out(n, 0, nb_net_cast(n, v, type), err);
}

/* ---- bits ---- */

enum nb_status nb_net_rule_bit_shift(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 2, err));
    const bool left = nb_net_is(n, "direction", "LEFT", "");
    if (!left && !nb_net_is(n, "direction", "RIGHT", ""))
        NB_FAIL(err, NB_ERR_FORMAT, "no direction");
    const enum nb_binary op = left ? NB_BINARY_SHIFT_LEFT : NB_BINARY_SHIFT_RIGHT;
    return nb_net_out(n, 0, nb_net_binary(n, op, n->in[0], n->in[1]), err);
}
