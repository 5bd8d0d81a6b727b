/* net/rules_shape.c: dimensions, and elements moved unchanged. */
#include <string.h>

#include "net/net_internal.h"

static enum nb_status too_many(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_UNSUPPORTED, "more than %d dimensions", NB_VALUE_DIMS);
}

static void dims_of(const struct nb_value *v, int64_t dims[NB_VALUE_DIMS])
{
    for (uint32_t i = 0; i < v->rank; i++)
        dims[i] = (int64_t)v->dim[i].n;
}

/* Axes from the attribute (opset < 13 and others) or input i. *mask: bit d, of `rank` dimensions. */
static enum nb_status axes_of(struct nb_net_node *n, size_t i, uint32_t rank, uint32_t *mask,
                              struct nb_error *err)
{
    size_t len;
    const int64_t *axes = nb_net_ints(n, "axes", &len);
    if (axes == NULL)
        NB_TRY(nb_net_known(n, i, &axes, &len, err));
    *mask = 0;
    for (size_t k = 0; k < len; k++) {
        uint32_t axis;
        NB_TRY(nb_net_axis(axes[k], rank, &axis, err));
        *mask |= 1U << axis;
    }
    return NB_OK;
}

/* ---- the same elements, other dimensions ---- */

enum nb_status nb_net_rule_identity(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 1, err));
    return nb_net_out(n, 0, n->in[0], err);
}

/* As in inference: nothing is dropped. */
enum nb_status nb_net_rule_dropout(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 1, err));
    const struct nb_value *training = nb_net_in(n, 2);
    if (training != NULL && !(training->kind == NB_VALUE_CONST && training->type == NB_VALUE_BOOL &&
                              nb_value_count(training) == 1 && !*(const uint8_t *)training->data))
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "training: nibble runs nets, it does not train them");
    if (n->n->n_outputs > 1 && n->n->outputs[1][0] != '\0') {
        const struct nb_value *x = nb_net_in(n, 0);
        int64_t dims[NB_VALUE_DIMS];
        dims_of(x, dims);
        const struct nb_attr attr = NB_ATTR_LIST("dims", dims, x->rank);
        const uint32_t yes = nb_net_scalar(n, NB_VALUE_BOOL, 1.0);
        const struct nb_node_args mask = {
            .op = &nb_op_expand, .in = {yes}, .attrs = &attr, .n_attrs = 1};
        NB_TRY(nb_net_out(n, 1, nb_net_add(n, &mask), err));
    }
    return nb_net_out(n, 0, n->in[0], err);
}

/* 0: the input's (unless allowzero), -1: what is left. */
enum nb_status nb_net_rule_reshape(struct nb_net_node *n, struct nb_error *err)
{
    const bool zero = nb_net_int(n, "allowzero", 0) != 0;
    size_t len;
    const int64_t *want = nb_net_ints(n, "shape", &len); /* opset < 5 */
    int64_t dims[NB_VALUE_DIMS], open = -1;
    uint64_t rest = 1;
    NB_TRY(nb_net_need(n, 1, err));
    if (want == NULL)
        NB_TRY(nb_net_known(n, 1, &want, &len, err));
    const struct nb_value *x = nb_net_in(n, 0);
    if (len > NB_VALUE_DIMS)
        return too_many(err);
    for (size_t i = 0; i < len; i++) {
        dims[i] = want[i];
        if (want[i] == 0 && !zero) {
            if (i >= x->rank)
                NB_FAIL(err, NB_ERR_FORMAT, "dimension %zu of the input is asked for, it has %u", i,
                        x->rank);
            dims[i] = (int64_t)x->dim[i].n;
        }
        if (want[i] < -1 || (want[i] == -1 && open >= 0))
            NB_FAIL(err, NB_ERR_FORMAT, "dimension %zu of the shape is %lld", i,
                    (long long)want[i]);
        if (want[i] == -1)
            open = (int64_t)i;
        else if (!nb_mul_u64(&rest, rest, (uint64_t)dims[i]))
            NB_FAIL(err, NB_ERR_FORMAT, "the shape is too large");
    }
    if (open >= 0)
        dims[open] = rest > 0 ? (int64_t)(nb_value_count(x) / rest) : 0;
    return nb_net_out(n, 0, nb_net_reshape(n, n->in[0], dims, len), err);
}

enum nb_status nb_net_rule_flatten(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 1, err));
    const struct nb_value *x = nb_net_in(n, 0);
    int64_t axis = nb_net_int(n, "axis", 1), dims[2] = {1, 1};
    axis += axis < 0 ? (int64_t)x->rank : 0;
    if (axis < 0 || axis > (int64_t)x->rank)
        NB_FAIL(err, NB_ERR_FORMAT, "axis %lld of %u dimensions", (long long)axis, x->rank);
    for (uint32_t i = 0; i < x->rank; i++)
        dims[i >= (uint32_t)axis] *= (int64_t)x->dim[i].n;
    return nb_net_out(n, 0, nb_net_reshape(n, n->in[0], dims, 2), err);
}

enum nb_status nb_net_rule_squeeze(struct nb_net_node *n, struct nb_error *err)
{
    int64_t dims[NB_VALUE_DIMS];
    uint32_t mask, rank = 0;
    NB_TRY(nb_net_need(n, 1, err));
    const struct nb_value *x = nb_net_in(n, 0);
    NB_TRY(axes_of(n, 1, x->rank, &mask, err));
    for (uint32_t i = 0; i < x->rank; i++) {
        const bool goes = mask != 0 ? (mask >> i & 1U) != 0 : x->dim[i].n == 1;
        if (!goes)
            dims[rank++] = (int64_t)x->dim[i].n;
        else if (x->dim[i].n != 1)
            NB_FAIL(err, NB_ERR_FORMAT, "dimension %u is %llu, expected 1", i,
                    (unsigned long long)x->dim[i].n);
    }
    return nb_net_out(n, 0, nb_net_reshape(n, n->in[0], dims, rank), err);
}

enum nb_status nb_net_rule_unsqueeze(struct nb_net_node *n, struct nb_error *err)
{
    int64_t dims[NB_VALUE_DIMS];
    size_t len;
    const int64_t *axes = nb_net_ints(n, "axes", &len);
    uint32_t mask = 0, from = 0;
    NB_TRY(nb_net_need(n, 1, err));
    const struct nb_value *x = nb_net_in(n, 0);
    if (axes == NULL)
        NB_TRY(nb_net_known(n, 1, &axes, &len, err));
    const uint32_t rank = x->rank + (uint32_t)NB_MIN(len, (size_t)NB_VALUE_DIMS + 1);
    if (rank > NB_VALUE_DIMS)
        return too_many(err);
    for (size_t k = 0; k < len; k++) {
        uint32_t axis;
        NB_TRY(nb_net_axis(axes[k], rank, &axis, err));
        if (mask >> axis & 1U)
            NB_FAIL(err, NB_ERR_FORMAT, "axis %u is named twice", axis);
        mask |= 1U << axis;
    }
    for (uint32_t i = 0; i < rank; i++)
        dims[i] = mask >> i & 1U ? 1 : (int64_t)x->dim[from++].n;
    return nb_net_out(n, 0, nb_net_reshape(n, n->in[0], dims, rank), err);
}

/* ---- facts about dimensions ---- */

enum nb_status nb_net_rule_shape(struct nb_net_node *n, struct nb_error *err)
{
    int64_t dims[NB_VALUE_DIMS];
    NB_TRY(nb_net_need(n, 1, err));
    const struct nb_value *x = nb_net_in(n, 0);
    const int64_t rank = (int64_t)x->rank;
    int64_t start = nb_net_int(n, "start", 0), end = nb_net_int(n, "end", rank);
    start = NB_MIN(NB_MAX(start < 0 ? start + rank : start, (int64_t)0), rank);
    end = NB_MIN(NB_MAX(end < 0 ? end + rank : end, start), rank);
    dims_of(x, dims);
    return nb_net_out(n, 0, nb_net_const_ints(n, dims + start, (size_t)(end - start)), err);
}

enum nb_status nb_net_rule_size(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 1, err));
    const int64_t count = (int64_t)nb_value_count(nb_net_in(n, 0));
    const uint32_t v = nb_net_const_ints(n, &count, 1);
    return nb_net_out(n, 0, nb_net_reshape(n, v, NULL, 0), err);
}

/* ---- constants ---- */

static enum nb_status constant_value(struct nb_net_node *n, uint32_t *v, struct nb_error *err)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(n->n, "value");
    size_t len;
    if (a != NULL && a->type == NB_ONNX_ATTR_TENSOR)
        return nb_net_tensor(n->im, a->t, v, err);
    if (nb_onnx_find_attr(n->n, "value_float") != NULL) {
        *v = nb_net_scalar(n, NB_VALUE_F32, nb_net_real(n, "value_float", 0.0));
        return NB_OK;
    }
    if (nb_onnx_find_attr(n->n, "value_int") != NULL) {
        const int64_t i = nb_net_int(n, "value_int", 0);
        *v = nb_net_reshape(n, nb_net_const_ints(n, &i, 1), NULL, 0);
        return NB_OK;
    }
    const int64_t *ints = nb_net_ints(n, "value_ints", &len);
    if (ints != NULL) {
        *v = nb_net_const_ints(n, ints, len);
        return NB_OK;
    }
    const float *floats = nb_net_floats(n, "value_floats", &len);
    const uint64_t dim = len;
    if (floats == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "a constant of text, or a sparse one");
    *v = nb_graph_const(n->g, NULL, NB_VALUE_F32, &dim, 1, floats); /* the model's */
    return NB_OK;
}

enum nb_status nb_net_rule_constant(struct nb_net_node *n, struct nb_error *err)
{
    uint32_t v;
    NB_TRY(constant_value(n, &v, err));
    return nb_net_out(n, 0, v, err);
}

static enum nb_status expand(struct nb_net_node *n, uint32_t x, const int64_t *dims, size_t rank,
                             struct nb_error *err)
{
    const struct nb_attr attr = NB_ATTR_LIST("dims", dims, rank);
    return nb_net_give(
        n, &(struct nb_node_args){.op = &nb_op_expand, .in = {x}, .attrs = &attr, .n_attrs = 1},
        err);
}

enum nb_status nb_net_rule_constant_of_shape(struct nb_net_node *n, struct nb_error *err)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(n->n, "value");
    const int64_t *dims;
    size_t len;
    uint32_t v;
    NB_TRY(nb_net_need(n, 1, err));
    NB_TRY(nb_net_known(n, 0, &dims, &len, err));
    if (a != NULL && a->type == NB_ONNX_ATTR_TENSOR)
        NB_TRY(nb_net_tensor(n->im, a->t, &v, err));
    else
        v = nb_net_scalar(n, NB_VALUE_F32, 0.0);
    return expand(n, nb_net_reshape(n, v, NULL, 0), dims, len, err);
}

/* start, start + delta ... before limit: known numbers. */
enum nb_status nb_net_rule_range(struct nb_net_node *n, struct nb_error *err)
{
    double from[3];
    NB_TRY(nb_net_need(n, 3, err));
    const enum nb_value_type type = nb_net_in(n, 0)->type;
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t wide = nb_net_cast(n, n->in[i], NB_VALUE_F64);
        const struct nb_value *v = &n->g->values[wide];
        if (v->kind != NB_VALUE_CONST || nb_value_count(v) != 1)
            NB_FAIL(err, NB_ERR_UNSUPPORTED,
                    "input %u ('%s') depends on data; it must be known when the net is opened", i,
                    nb_net_in(n, i)->name);
        from[i] = *(const double *)v->data;
    }
    const double count = from[2] != 0.0 ? (from[1] - from[0]) / from[2] : 0.0;
    if (!(count < 1e9))
        NB_FAIL(err, NB_ERR_FORMAT, "a range of %g numbers", count);
    const uint64_t len = count > 0.0 ? (uint64_t)count + (count > (double)(uint64_t)count) : 0;
    double *data = nb_arena_alloc(&n->g->arena, (size_t)len + 1, sizeof *data);
    if (data == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a range");
    for (uint64_t i = 0; i < len; i++)
        data[i] = from[0] + (double)i * from[2];
    const uint32_t v = nb_graph_const(n->g, NULL, NB_VALUE_F64, &len, 1, data);
    return nb_net_out(n, 0, nb_net_cast(n, v, type), err);
}

/* ---- parts and wholes ---- */

enum nb_status nb_net_rule_transpose(struct nb_net_node *n, struct nb_error *err)
{
    int64_t back[NB_VALUE_DIMS];
    size_t len;
    const int64_t *perm = nb_net_ints(n, "perm", &len);
    NB_TRY(nb_net_need(n, 1, err));
    const uint32_t rank = nb_net_in(n, 0)->rank;
    for (uint32_t i = 0; i < rank; i++)
        back[i] = (int64_t)(rank - 1 - i);
    return nb_net_out(
        n, 0, nb_net_transpose(n, n->in[0], perm != NULL ? perm : back, perm != NULL ? len : rank),
        err);
}

/* More than a node takes: in several. */
enum nb_status nb_net_rule_concat(struct nb_net_node *n, struct nb_error *err)
{
    uint32_t axis, v = 0;
    NB_TRY(nb_net_need(n, NB_MAX(n->n_in, (size_t)1), err));
    NB_TRY(nb_net_axis(nb_net_int(n, "axis", 1), nb_net_in(n, 0)->rank, &axis, err));
    const struct nb_attr attr = NB_ATTR_INT("axis", axis);
    for (size_t at = 0; at < n->n_in;) {
        struct nb_node_args args = {.op = &nb_op_concat, .attrs = &attr, .n_attrs = 1};
        uint32_t k = 0;
        if (v != 0)
            args.in[k++] = v;
        while (k < NB_NODE_INPUTS && at < n->n_in)
            args.in[k++] = n->in[at++];
        v = nb_net_add(n, &args);
        if (v == 0)
            break;
    }
    return nb_net_out(n, 0, v, err);
}

/* Numpy's rule both ways: a 1 in `shape` takes the input's dimension. */
enum nb_status nb_net_rule_expand(struct nb_net_node *n, struct nb_error *err)
{
    int64_t dims[NB_VALUE_DIMS];
    const int64_t *want;
    size_t len;
    NB_TRY(nb_net_need(n, 2, err));
    NB_TRY(nb_net_known(n, 1, &want, &len, err));
    const struct nb_value *x = nb_net_in(n, 0);
    const size_t rank = NB_MAX(len, (size_t)x->rank);
    if (rank > NB_VALUE_DIMS)
        return too_many(err);
    for (size_t i = 0; i < rank; i++) { /* from the right */
        const int64_t a = i < len ? want[len - 1 - i] : 1;
        const int64_t b = i < x->rank ? (int64_t)x->dim[x->rank - 1 - i].n : 1;
        dims[rank - 1 - i] = a == 1 ? b : a;
    }
    return expand(n, n->in[0], dims, rank, err);
}

/* Times along each dimension: (1, d) expanded to (times, d), then joined. */
enum nb_status nb_net_rule_tile(struct nb_net_node *n, struct nb_error *err)
{
    const int64_t *times;
    size_t len;
    NB_TRY(nb_net_need(n, 2, err));
    NB_TRY(nb_net_known(n, 1, &times, &len, err));
    const uint32_t rank = nb_net_in(n, 0)->rank;
    uint32_t v = n->in[0];
    if (len != rank)
        NB_FAIL(err, NB_ERR_FORMAT, "%zu repeats of %u dimensions", len, rank);
    for (uint32_t d = 0; d < rank && v != 0; d++) {
        const struct nb_value is = n->g->values[v];
        int64_t split[NB_VALUE_DIMS + 1], joined[NB_VALUE_DIMS];
        if (times[d] == 1)
            continue;
        if (times[d] < 0)
            NB_FAIL(err, NB_ERR_FORMAT, "dimension %u is repeated %lld times", d,
                    (long long)times[d]);
        /* before d as one, a new dimension, d and what follows as one */
        split[0] = split[2] = 1;
        for (uint32_t i = 0; i < rank; i++) {
            split[i < d ? 0 : 2] *= (int64_t)is.dim[i].n;
            joined[i] = (int64_t)is.dim[i].n * (i == d ? times[d] : 1);
        }
        split[1] = 1;
        v = nb_net_reshape(n, v, split, 3);
        split[1] = times[d];
        const struct nb_attr attr = NB_ATTR_LIST("dims", split, 3);
        v = nb_net_add(n, &(struct nb_node_args){
                              .op = &nb_op_expand, .in = {v}, .attrs = &attr, .n_attrs = 1});
        v = nb_net_reshape(n, v, joined, rank);
    }
    return nb_net_out(n, 0, v, err);
}

enum nb_status nb_net_rule_gather(struct nb_net_node *n, struct nb_error *err)
{
    uint32_t axis;
    NB_TRY(nb_net_need(n, 2, err));
    NB_TRY(nb_net_axis(nb_net_int(n, "axis", 0), nb_net_in(n, 0)->rank, &axis, err));
    const struct nb_attr attr = NB_ATTR_INT("axis", axis);
    return nb_net_give(
        n,
        &(struct nb_node_args){
            .op = &nb_op_gather, .in = {n->in[0], n->in[1]}, .attrs = &attr, .n_attrs = 1},
        err);
}

struct cut {
    int64_t start[NB_VALUE_DIMS], step[NB_VALUE_DIMS], dims[NB_VALUE_DIMS];
};

static void cut_all(const struct nb_value *x, struct cut *c)
{
    for (uint32_t i = 0; i < x->rank; i++) {
        c->start[i] = 0;
        c->step[i] = 1;
        c->dims[i] = (int64_t)x->dim[i].n;
    }
}

static uint32_t slice(struct nb_net_node *n, uint32_t x, const struct cut *c)
{
    const uint32_t rank = n->g->values[x].rank;
    const struct nb_attr attrs[] = {NB_ATTR_LIST("start", c->start, rank),
                                    NB_ATTR_LIST("step", c->step, rank),
                                    NB_ATTR_LIST("dims", c->dims, rank)};
    return nb_net_add(
        n, &(struct nb_node_args){.op = &nb_op_slice, .in = {x}, .attrs = attrs, .n_attrs = 3});
}

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return NB_MIN(NB_MAX(v, low), high);
}

/* Numpy's start:end:step on a dimension of n. */
static void cut_one(struct cut *c, uint32_t axis, int64_t start, int64_t end, int64_t step)
{
    const int64_t n = c->dims[axis], low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    start = clamp(start < 0 ? start + n : start, low, high);
    end = clamp(end < 0 ? NB_MAX(end, -n - 1) + n : end, low, high);
    const int64_t length = step > 0 ? end - start : start - end;
    const int64_t by = step == INT64_MIN ? INT64_MAX : step > 0 ? step : -step;
    c->dims[axis] = length > 0 ? 1 + (length - 1) / by : 0;
    c->start[axis] = start;
    c->step[axis] = clamp(step, -NB_MAX(n, (int64_t)1), NB_MAX(n, (int64_t)1));
}

/* Opset < 10 has attributes, later ones inputs. */
enum nb_status nb_net_rule_slice(struct nb_net_node *n, struct nb_error *err)
{
    const int64_t *starts, *ends, *axes, *steps;
    size_t n_starts, n_ends, n_axes, n_steps = 0;
    struct cut c;
    uint32_t seen = 0;
    NB_TRY(nb_net_need(n, n->opset < 10 ? 1 : 3, err));
    starts = nb_net_ints(n, "starts", &n_starts);
    ends = nb_net_ints(n, "ends", &n_ends);
    axes = nb_net_ints(n, "axes", &n_axes);
    steps = NULL;
    if (starts == NULL) {
        NB_TRY(nb_net_known(n, 1, &starts, &n_starts, err));
        NB_TRY(nb_net_known(n, 2, &ends, &n_ends, err));
        NB_TRY(nb_net_known(n, 3, &axes, &n_axes, err));
        NB_TRY(nb_net_known(n, 4, &steps, &n_steps, err));
    }
    const struct nb_value *x = nb_net_in(n, 0);
    if (n_ends != n_starts || (axes != NULL && n_axes != n_starts) ||
        (steps != NULL && n_steps != n_starts))
        NB_FAIL(err, NB_ERR_FORMAT, "%zu starts, %zu ends, %zu axes, %zu steps", n_starts, n_ends,
                n_axes, n_steps);
    cut_all(x, &c);
    for (size_t i = 0; i < n_starts; i++) {
        const int64_t step = steps != NULL ? steps[i] : 1;
        uint32_t axis;
        NB_TRY(nb_net_axis(axes != NULL ? axes[i] : (int64_t)i, x->rank, &axis, err));
        if (step == 0 || (seen >> axis & 1U))
            NB_FAIL(err, NB_ERR_FORMAT, "axis %u: a step of 0, or the axis is named twice", axis);
        seen |= 1U << axis;
        cut_one(&c, axis, starts[i], ends[i], step);
    }
    return nb_net_out(n, 0, slice(n, n->in[0], &c), err);
}

/* By sizes (attribute or input), or into equal parts, the last of which may be smaller. */
enum nb_status nb_net_rule_split(struct nb_net_node *n, struct nb_error *err)
{
    const size_t parts = n->n->n_outputs;
    const int64_t *sizes;
    size_t len;
    struct cut c;
    uint32_t axis;
    int64_t at = 0;
    NB_TRY(nb_net_need(n, 1, err));
    NB_TRY(nb_net_axis(nb_net_int(n, "axis", 0), nb_net_in(n, 0)->rank, &axis, err));
    sizes = nb_net_ints(n, "split", &len);
    if (sizes == NULL)
        NB_TRY(nb_net_known(n, 1, &sizes, &len, err));
    const int64_t whole = (int64_t)nb_net_in(n, 0)->dim[axis].n;
    if (parts == 0 || (sizes != NULL && len != parts))
        NB_FAIL(err, NB_ERR_FORMAT, "%zu sizes for %zu outputs", len, parts);
    const int64_t even = (whole + (int64_t)parts - 1) / (int64_t)parts;
    for (size_t i = 0; i < parts; i++) {
        const int64_t size = sizes != NULL ? sizes[i] : NB_MIN(even, whole - at);
        if (size < 0 || size > whole - at)
            NB_FAIL(err, NB_ERR_FORMAT, "part %zu has %lld of the %lld that are left", i,
                    (long long)size, (long long)(whole - at));
        cut_all(nb_net_in(n, 0), &c);
        c.start[axis] = at;
        c.dims[axis] = size;
        NB_TRY(nb_net_out(n, i, slice(n, n->in[0], &c), err));
        at += size;
    }
    if (at != whole)
        NB_FAIL(err, NB_ERR_FORMAT, "the parts have %lld of %lld", (long long)at, (long long)whole);
    return NB_OK;
}

/* ---- a branch ---- */

/* Only one that is decided already. */
enum nb_status nb_net_rule_if(struct nb_net_node *n, struct nb_error *err)
{
    NB_TRY(nb_net_need(n, 1, err));
    const struct nb_value *cond = nb_net_in(n, 0);
    if (cond->kind != NB_VALUE_CONST || cond->type != NB_VALUE_BOOL || nb_value_count(cond) != 1)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "the condition '%s' depends on data; fix the input that it comes from", cond->name);
    const bool yes = *(const uint8_t *)cond->data != 0;
    const struct nb_onnx_attr *a = nb_onnx_find_attr(n->n, yes ? "then_branch" : "else_branch");
    if (a == NULL || a->type != NB_ONNX_ATTR_GRAPH || a->g->n_outputs != n->n->n_outputs)
        NB_FAIL(err, NB_ERR_FORMAT, "no branch with %zu outputs", n->n->n_outputs);
    NB_TRY(nb_net_subgraph(n->im, a->g, err));
    for (size_t i = 0; i < a->g->n_outputs; i++) {
        const uint32_t v = nb_net_named(n->im, a->g->outputs[i].name);
        if (v == 0)
            NB_FAIL(err, NB_ERR_FORMAT, "output '%s' of the branch is made by no node",
                    a->g->outputs[i].name);
        NB_TRY(nb_net_out(n, i, v, err));
    }
    return NB_OK;
}
