/* net/build.c: what rules ask a node of the file, and how they build. */
#include <string.h>

#include "net/net_internal.h"

/* ---- asking ---- */

const struct nb_value *nb_net_in(const struct nb_net_node *n, size_t i)
{
    return i < n->n_in && n->in[i] != 0 ? &n->g->values[n->in[i]] : NULL;
}

int64_t nb_net_int(const struct nb_net_node *n, const char *attr, int64_t otherwise)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(n->n, attr);
    return a != NULL && a->type == NB_ONNX_ATTR_INT ? a->i : otherwise;
}

double nb_net_real(const struct nb_net_node *n, const char *attr, double otherwise)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(n->n, attr);
    return a != NULL && a->type == NB_ONNX_ATTR_FLOAT ? (double)a->f : otherwise;
}

const int64_t *nb_net_ints(const struct nb_net_node *n, const char *attr, size_t *len)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(n->n, attr);
    const bool is = a != NULL && a->type == NB_ONNX_ATTR_INTS;
    *len = is ? a->n : 0;
    return is ? a->ints : NULL;
}

const float *nb_net_floats(const struct nb_net_node *n, const char *attr, size_t *len)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(n->n, attr);
    const bool is = a != NULL && a->type == NB_ONNX_ATTR_FLOATS;
    *len = is ? a->n : 0;
    return is ? a->floats : NULL;
}

bool nb_net_is(const struct nb_net_node *n, const char *attr, const char *text,
               const char *otherwise)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(n->n, attr);
    if (a == NULL || a->type != NB_ONNX_ATTR_STRING)
        return nb_str_eq(text, otherwise);
    return a->s.n == strlen(text) && memcmp(a->s.s, text, a->s.n) == 0;
}

enum nb_status nb_net_need(const struct nb_net_node *n, size_t n_inputs, struct nb_error *err)
{
    for (size_t i = 0; i < n_inputs; i++)
        if (nb_net_in(n, i) == NULL)
            NB_FAIL(err, NB_ERR_FORMAT, "input %zu is missing", i);
    return NB_OK;
}

static enum nb_status known(struct nb_net_node *n, size_t i, const struct nb_value **out,
                            struct nb_error *err)
{
    *out = nb_net_in(n, i);
    if (*out != NULL && (*out)->kind != NB_VALUE_CONST)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "input %zu ('%s') depends on data; it must be known when the net is opened", i,
                (*out)->name);
    return NB_OK;
}

enum nb_status nb_net_known(struct nb_net_node *n, size_t i, const int64_t **list, size_t *len,
                            struct nb_error *err)
{
    const struct nb_value *v;
    *list = NULL;
    *len = 0;
    NB_TRY(known(n, i, &v, err));
    if (v == NULL)
        return NB_OK;
    if (v->type != NB_VALUE_I64 && v->type != NB_VALUE_I32)
        NB_FAIL(err, NB_ERR_FORMAT, "input %zu ('%s') is not int64 or int32", i, v->name);
    const size_t count = (size_t)nb_value_count(v);
    int64_t *copy = nb_arena_alloc(&n->g->arena, count + 1, sizeof *copy);
    if (copy == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    for (size_t k = 0; k < count; k++)
        copy[k] =
            v->type == NB_VALUE_I64 ? ((const int64_t *)v->data)[k] : ((const int32_t *)v->data)[k];
    *list = copy;
    *len = count;
    return NB_OK;
}

enum nb_status nb_net_known_floats(struct nb_net_node *n, size_t i, const float **list, size_t *len,
                                   struct nb_error *err)
{
    const struct nb_value *v;
    *list = NULL;
    *len = 0;
    NB_TRY(known(n, i, &v, err));
    if (v == NULL)
        return NB_OK;
    if (v->type != NB_VALUE_F32)
        NB_FAIL(err, NB_ERR_FORMAT, "input %zu ('%s') is not float32", i, v->name);
    *list = v->data;
    *len = (size_t)nb_value_count(v);
    return NB_OK;
}

enum nb_status nb_net_axis(int64_t axis, uint32_t rank, uint32_t *out, struct nb_error *err)
{
    const int64_t from_start = axis < 0 ? axis + (int64_t)rank : axis;
    if (from_start < 0 || from_start >= (int64_t)rank)
        NB_FAIL(err, NB_ERR_FORMAT, "axis %lld of %u dimensions", (long long)axis, rank);
    *out = (uint32_t)from_start;
    return NB_OK;
}

/* ---- building ---- */

uint32_t nb_net_add(struct nb_net_node *n, const struct nb_node_args *args)
{
    struct nb_node_args a = *args;
    a.block = NB_NO_BLOCK;
    return nb_graph_add_folded(n->g, &a);
}

enum nb_status nb_net_give(struct nb_net_node *n, const struct nb_node_args *args,
                           struct nb_error *err)
{
    return nb_net_out(n, 0, nb_net_add(n, args), err);
}

uint32_t nb_net_reshape(struct nb_net_node *n, uint32_t x, const int64_t *dims, size_t rank)
{
    const struct nb_attr attr = NB_ATTR_LIST("dims", dims, rank);
    return nb_net_add(
        n, &(struct nb_node_args){.op = &nb_op_reshape, .in = {x}, .attrs = &attr, .n_attrs = 1});
}

uint32_t nb_net_transpose(struct nb_net_node *n, uint32_t x, const int64_t *perm, size_t rank)
{
    const struct nb_attr attr = NB_ATTR_LIST("perm", perm, rank);
    return nb_net_add(
        n, &(struct nb_node_args){.op = &nb_op_transpose, .in = {x}, .attrs = &attr, .n_attrs = 1});
}

uint32_t nb_net_binary(struct nb_net_node *n, enum nb_binary op, uint32_t a, uint32_t b)
{
    const struct nb_attr attr = NB_ATTR_INT("op", op);
    return nb_net_add(
        n, &(struct nb_node_args){.op = &nb_op_binary, .in = {a, b}, .attrs = &attr, .n_attrs = 1});
}

uint32_t nb_net_cast(struct nb_net_node *n, uint32_t x, enum nb_value_type type)
{
    const struct nb_attr attr = NB_ATTR_INT("type", type);
    if (x == 0 || n->g->values[x].type == type)
        return x;
    return nb_net_add(
        n, &(struct nb_node_args){.op = &nb_op_cast, .in = {x}, .attrs = &attr, .n_attrs = 1});
}

uint32_t nb_net_scalar(struct nb_net_node *n, enum nb_value_type type, double value)
{
    double *data = nb_arena_alloc(&n->g->arena, 1, sizeof *data);
    if (data == NULL) {
        n->g->status = NB_ERROR(&n->g->error, NB_ERR_NOMEM, "graph: out of memory");
        return 0;
    }
    *data = value;
    const uint32_t v = nb_graph_const(n->g, NULL, NB_VALUE_F64, NULL, 0, data);
    return nb_net_cast(n, v, type);
}

uint32_t nb_net_const_ints(struct nb_net_node *n, const int64_t *values, size_t len)
{
    const uint64_t dims = len;
    int64_t *data = nb_arena_alloc(&n->g->arena, len + 1, sizeof *data);
    if (data == NULL) {
        n->g->status = NB_ERROR(&n->g->error, NB_ERR_NOMEM, "graph: out of memory");
        return 0;
    }
    if (len > 0)
        memcpy(data, values, len * sizeof *data);
    return nb_graph_const(n->g, NULL, NB_VALUE_I64, &dims, 1, data);
}
