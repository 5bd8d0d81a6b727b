/* net/rules_tflite_math.c: arithmetic and shapes of TFLite, as nodes of ONNX. */
#include <string.h>

#include "net/tflite_internal.h"

/* arg: 0 add, 1 sub, 2 mul. */
enum nb_status nb_tfl_rule_binary(struct nb_tfl *t, struct nb_error *err)
{
    static const char *const types[] = {"Add", "Sub", "Mul"};
    int activation;
    NB_TRY(nb_tfl_need(t, 2, 0, err));
    NB_TRY(nb_tfl_small(t, 0, &activation, err));
    return nb_tfl_give(t, nb_tfl_binary(t, types[t->arg], nb_tfl_in(t, 0), nb_tfl_in(t, 1)),
                       activation, err);
}

enum nb_status nb_tfl_rule_unary(struct nb_tfl *t, struct nb_error *err)
{
    NB_TRY(nb_tfl_need(t, 1, 0, err));
    return nb_tfl_give(t, nb_tfl_unary(t, "Sigmoid", nb_tfl_in(t, 0)), 0, err);
}

/* arg: the number that it has when it is fused. */
enum nb_status nb_tfl_rule_activation(struct nb_tfl *t, struct nb_error *err)
{
    NB_TRY(nb_tfl_need(t, 1, 0, err));
    return nb_tfl_give(t, nb_tfl_in(t, 0), (int)t->arg, err);
}

/* QUANTIZE, DEQUANTIZE: what the types of the tensors say already. */
enum nb_status nb_tfl_rule_same(struct nb_tfl *t, struct nb_error *err)
{
    NB_TRY(nb_tfl_need(t, 1, 0, err));
    const int32_t type = nb_tfl_tensor(t, 0)->type;
    const char *x = nb_tfl_in(t, 0);
    if (type == NB_TFLITE_FLOAT16 || type == NB_TFLITE_BFLOAT16) {
        const struct nb_onnx_attr attr = NB_TFL_INT("to", NB_ONNX_FLOAT32);
        x = nb_tfl_node(t, "Cast", NULL, 1, &x, 1, &attr);
    }
    return nb_tfl_give(t, x, 0, err);
}

/* RESHAPE, SQUEEZE, EXPAND_DIMS: to the dimensions of the result in the file. */
enum nb_status nb_tfl_rule_reshape(struct nb_tfl *t, struct nb_error *err)
{
    NB_TRY(nb_tfl_need(t, 1, 0, err));
    const struct nb_tflite_tensor *y = nb_tfl_result(t);
    return nb_tfl_give(t, nb_tfl_reshape(t, nb_tfl_in(t, 0), y->dims, y->rank), 0, err);
}

enum nb_status nb_tfl_rule_transpose(struct nb_tfl *t, struct nb_error *err)
{
    const int64_t *perm;
    size_t n;
    NB_TRY(nb_tfl_need(t, 2, 0, err));
    NB_TRY(nb_tfl_ints(t, 1, &perm, &n, err));
    return nb_tfl_give(t, nb_tfl_transpose(t, nb_tfl_in(t, 0), perm, n), 0, err);
}

enum nb_status nb_tfl_rule_concat(struct nb_tfl *t, struct nb_error *err)
{
    const size_t n = t->op->n_inputs;
    int32_t axis;
    int activation;
    NB_TRY(nb_tfl_need(t, NB_MAX(n, (size_t)1), 0, err));
    NB_TRY(nb_tfl_option(t, 0, 0, &axis, err));
    NB_TRY(nb_tfl_small(t, 1, &activation, err));
    const char **in = nb_arena_alloc(t->arena, n, sizeof *in);
    if (in == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        in[i] = nb_tfl_in(t, i);
    const struct nb_onnx_attr attr = NB_TFL_INT("axis", axis);
    return nb_tfl_give(t, nb_tfl_node(t, "Concat", NULL, n, in, 1, &attr), activation, err);
}

enum nb_status nb_tfl_rule_mean(struct nb_tfl *t, struct nb_error *err)
{
    const int64_t *axes;
    size_t n;
    bool keep;
    NB_TRY(nb_tfl_need(t, 2, 0, err));
    NB_TRY(nb_tfl_ints(t, 1, &axes, &n, err));
    NB_TRY(nb_tfl_flag(t, 0, &keep, err));
    const struct nb_onnx_attr attrs[] = {NB_TFL_INTS("axes", axes, n),
                                         NB_TFL_INT("keepdims", keep)};
    const char *x = nb_tfl_in(t, 0);
    return nb_tfl_give(t, nb_tfl_node(t, "ReduceMean", NULL, 1, &x, 2, attrs), 0, err);
}

/* TFLite: before and after, dimension by dimension; ONNX: all before, then all after. */
enum nb_status nb_tfl_rule_pad(struct nb_tfl *t, struct nb_error *err)
{
    const int64_t *pairs;
    size_t n;
    NB_TRY(nb_tfl_need(t, 2, 0, err));
    NB_TRY(nb_tfl_ints(t, 1, &pairs, &n, err));
    const size_t rank = nb_tfl_tensor(t, 0)->rank;
    if (n != 2 * rank)
        NB_FAIL(err, NB_ERR_FORMAT, "%zu paddings for %zu dimensions", n, rank);
    int64_t *pads = nb_arena_alloc(t->arena, n + 1, sizeof *pads);
    if (pads == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        pads[i % 2 * rank + i / 2] = pairs[i];
    const char *in[] = {nb_tfl_in(t, 0), nb_tfl_const_ints(t, pads, n), nb_tfl_in(t, 2)};
    const size_t n_in = nb_tfl_tensor(t, 2) != NULL ? 3 : 2;
    return nb_tfl_give(t, nb_tfl_node(t, "Pad", NULL, n_in, in, 0, NULL), 0, err);
}

/* Dimensions are fixed: a constant. */
enum nb_status nb_tfl_rule_shape(struct nb_tfl *t, struct nb_error *err)
{
    NB_TRY(nb_tfl_need(t, 1, 0, err));
    const struct nb_tflite_tensor *x = nb_tfl_tensor(t, 0);
    const bool wide = nb_tfl_result(t)->type == NB_TFLITE_INT64;
    const struct nb_onnx_attr to = NB_TFL_INT("to", wide ? NB_ONNX_INT64 : NB_ONNX_INT32);
    const char *dims = nb_tfl_const_ints(t, x->dims, x->rank);
    return nb_tfl_give(t, nb_tfl_node(t, "Cast", NULL, 1, &dims, 1, &to), 0, err);
}

/* Several tensors along a new dimension. */
enum nb_status nb_tfl_rule_pack(struct nb_tfl *t, struct nb_error *err)
{
    const size_t n = t->op->n_inputs, rank = nb_tfl_result(t)->rank;
    int32_t axis;
    NB_TRY(nb_tfl_need(t, NB_MAX(n, (size_t)1), 0, err));
    NB_TRY(nb_tfl_option(t, 1, 0, &axis, err));
    axis += axis < 0 ? (int32_t)rank : 0;
    if (axis < 0 || (size_t)axis >= rank)
        NB_FAIL(err, NB_ERR_FORMAT, "axis %d of %zu", axis, rank);
    const char **in = nb_arena_alloc(t->arena, n, sizeof *in);
    int64_t *dims = nb_arena_alloc(t->arena, rank, sizeof *dims);
    if (in == NULL || dims == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    memcpy(dims, nb_tfl_result(t)->dims, rank * sizeof *dims);
    dims[axis] = 1;
    for (size_t i = 0; i < n; i++)
        in[i] = nb_tfl_reshape(t, nb_tfl_in(t, i), dims, rank);
    const struct nb_onnx_attr attr = NB_TFL_INT("axis", axis);
    return nb_tfl_give(t, nb_tfl_node(t, "Concat", NULL, n, in, 1, &attr), 0, err);
}

/* Bounds of constants; a masked one is the end of the dimension, a shrunk dimension one index. */
enum nb_status nb_tfl_rule_strided_slice(struct nb_tfl *t, struct nb_error *err)
{
    enum { BEGIN, END, ELLIPSIS, NEW_AXIS, SHRINK, N_MASKS };
    const int64_t *given[3];
    int64_t start[NB_TFL_DIMS], end[NB_TFL_DIMS], axes[NB_TFL_DIMS];
    int32_t mask[N_MASKS];
    size_t n[3];
    bool offset;
    NB_TRY(nb_tfl_need(t, 4, 0, err));
    for (size_t i = 0; i < 3; i++)
        NB_TRY(nb_tfl_ints(t, i + 1, &given[i], &n[i], err));
    for (unsigned i = 0; i < N_MASKS; i++)
        NB_TRY(nb_tfl_option(t, i, 0, &mask[i], err));
    NB_TRY(nb_tfl_flag(t, 5, &offset, err));
    if (mask[ELLIPSIS] != 0 || mask[NEW_AXIS] != 0 || offset || n[0] > NB_TFL_DIMS)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "ellipses, new axes, offsets or %zu dimensions", n[0]);
    if (n[1] != n[0] || n[2] != n[0] || n[0] > nb_tfl_tensor(t, 0)->rank)
        NB_FAIL(err, NB_ERR_FORMAT, "%zu starts, %zu ends, %zu strides", n[0], n[1], n[2]);
    for (size_t i = 0; i < n[0]; i++) {
        const bool back = given[2][i] < 0;
        axes[i] = (int64_t)i;
        start[i] = mask[BEGIN] >> i & 1 ? (back ? INT64_MAX : 0) : given[0][i];
        end[i] = mask[END] >> i & 1 ? (back ? INT64_MIN : INT64_MAX) : given[1][i];
        if (mask[SHRINK] >> i & 1)
            end[i] = start[i] == -1 ? INT64_MAX : start[i] + 1;
    }
    const char *in[] = {nb_tfl_in(t, 0), nb_tfl_const_ints(t, start, n[0]),
                        nb_tfl_const_ints(t, end, n[0]), nb_tfl_const_ints(t, axes, n[0]),
                        nb_tfl_const_ints(t, given[2], n[0])};
    const char *y = nb_tfl_node(t, "Slice", NULL, 5, in, 0, NULL);
    const struct nb_tflite_tensor *out = nb_tfl_result(t);
    return nb_tfl_give(t, nb_tfl_reshape(t, y, out->dims, out->rank), 0, err);
}
