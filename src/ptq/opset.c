/* ptq/opset.c: a model of operator set 7 to 12 as one of 13, where DequantizeLinear has a scale for each channel; one of up
 * to 20 as one of 21, where it has one for each block.
 *
 * Operators that did not change their meaning stay; Clip's bounds, the lists of Slice and the axes of Squeeze and
 * Unsqueeze become inputs; a Softmax over the last dimension is what it was. Others that changed are refused by name.
 */
#include <string.h>

#include "ptq/ptq_internal.h"

#define WANTED 13
#define BLOCKS 21

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to raise an operator set");
}

static const char *const unchanged[] = {"Conv",
                                        "Relu",
                                        "Add",
                                        "Mul",
                                        "Sub",
                                        "Div",
                                        "Gemm",
                                        "MatMul",
                                        "Reshape",
                                        "Flatten",
                                        "Transpose",
                                        "Concat",
                                        "AveragePool",
                                        "MaxPool",
                                        "Sigmoid",
                                        "Tanh",
                                        "Sqrt",
                                        "Exp",
                                        "Shape",
                                        "Gather",
                                        "Cast",
                                        "LeakyRelu",
                                        "PRelu",
                                        "Pow",
                                        "Constant",
                                        "Identity",
                                        "GlobalAveragePool",
                                        "GlobalMaxPool",
                                        "ConvTranspose",
                                        "HardSigmoid",
                                        "ReduceMean",
                                        "BatchNormalization",
                                        "Elu",
                                        "Erf",
                                        "Log",
                                        "Neg",
                                        "Abs",
                                        "ConstantOfShape",
                                        "Where",
                                        "Equal",
                                        "Expand"};

static bool is_unchanged(const char *op)
{
    for (size_t i = 0; i < NB_COUNTOF(unchanged); i++)
        if (nb_str_eq(unchanged[i], op))
            return true;
    return false;
}

/* An attribute that became input `at`: an initializer. */
static enum nb_status add_input(struct nb_edit *e, size_t node, size_t at, const char *name,
                                struct nb_error *err)
{
    struct nb_onnx_node *n = &e->nodes[node];
    const size_t count = NB_MAX(n->n_inputs, at + 1);
    const char **inputs = nb_arena_alloc(&e->arena, count, sizeof *inputs);
    if (inputs == NULL || name == NULL)
        return no_memory(err);
    for (size_t i = 0; i < count; i++)
        inputs[i] = i < n->n_inputs ? n->inputs[i] : "";
    inputs[at] = name;
    n->inputs = inputs;
    n->n_inputs = count;
    return NB_OK;
}

static enum nb_status raise_clip(struct nb_edit *e, size_t i, struct nb_error *err)
{
    static const char *const bounds[] = {"min", "max"};
    const struct nb_onnx_node n = e->nodes[i];
    for (size_t k = 0; k < 2; k++) {
        const struct nb_onnx_attr *a = nb_onnx_find_attr(&n, bounds[k]);
        if (a == NULL)
            continue;
        NB_TRY(add_input(e, i, k + 1,
                         nb_ptq_scalar(e, nb_edit_name(e, n.outputs[0], k == 0 ? "_min" : "_max"),
                                       NB_ONNX_FLOAT32, (double)a->f, err),
                         err));
    }
    e->nodes[i].n_attrs = 0;
    return NB_OK;
}

/* A list of integers that became input `at`, if the node has one. */
static enum nb_status raise_list(struct nb_edit *e, size_t i, const char *attr, size_t at,
                                 struct nb_error *err)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(&e->nodes[i], attr);
    if (a == NULL)
        return NB_OK;
    int64_t *dims = nb_arena_alloc(&e->arena, 1, sizeof *dims);
    const char *suffix = nb_arena_printf(&e->arena, "_%s", attr);
    const char *name = suffix != NULL ? nb_edit_name(e, e->nodes[i].outputs[0], suffix) : NULL;
    if (dims == NULL || name == NULL)
        return no_memory(err);
    dims[0] = (int64_t)a->n;
    NB_TRY(nb_edit_put(e, name, NB_ONNX_INT64, dims, 1, a->ints, err));
    return add_input(e, i, at, name, err);
}

static enum nb_status raise_axes(struct nb_edit *e, size_t i, struct nb_error *err)
{
    NB_TRY(raise_list(e, i, "axes", 1, err));
    if (nb_onnx_find_attr(&e->nodes[i], "axes") != NULL)
        e->nodes[i].n_attrs = 0;
    return NB_OK;
}

/* Its lists are inputs since 10. */
static enum nb_status raise_slice(struct nb_edit *e, size_t i, struct nb_error *err)
{
    static const char *const lists[] = {"starts", "ends", "axes"};
    for (size_t k = 0; k < NB_COUNTOF(lists); k++)
        NB_TRY(raise_list(e, i, lists[k], k + 1, err));
    e->nodes[i].n_attrs = 0;
    return NB_OK;
}

/* The axis was the start of what is normalized together: of the last dimension the same, which is seen when the net's
 * dimensions are known (nb_ptq_check_opset). The default is now -1. */
static enum nb_status raise_softmax(struct nb_edit *e, size_t i, struct nb_error *err)
{
    struct nb_onnx_attr *first = nb_arena_alloc(&e->arena, 1, sizeof *first);
    if (first == NULL)
        return no_memory(err);
    if (nb_onnx_find_attr(&e->nodes[i], "axis") != NULL)
        return NB_OK;
    *first = (struct nb_onnx_attr){.name = "axis", .type = NB_ONNX_ATTR_INT, .i = 1};
    e->nodes[i].attrs = first;
    e->nodes[i].n_attrs = 1;
    return NB_OK;
}

static const struct nb_value *value_of(const struct nb_net *net, const char *name)
{
    for (uint32_t v = 1; v < net->g.n_values; v++)
        if (net->g.values[v].name != NULL && nb_str_eq(net->g.values[v].name, name))
            return &net->g.values[v];
    return NULL;
}

enum nb_status nb_ptq_check_opset(const struct nb_edit *e, const struct nb_net *net, int64_t from,
                                  struct nb_error *err)
{
    for (size_t i = 0; i < e->n_nodes && from < WANTED; i++) {
        const struct nb_onnx_node *n = &e->nodes[i];
        if (n->op_type == NULL || !nb_str_eq(n->op_type, "Softmax"))
            continue;
        const struct nb_onnx_attr *a = nb_onnx_find_attr(n, "axis");
        const struct nb_value *v = value_of(net, n->outputs[0]);
        const int64_t axis = a == NULL ? 1 : (v != NULL && a->i < 0 ? a->i + v->rank : a->i);
        bool last = v != NULL || axis == -1;
        for (size_t d = 0; v != NULL && d < v->rank; d++)
            last = last && ((int64_t)d <= axis || v->dim[d].n == 1);
        if (!last)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "a Softmax of axis %lld in an operator set below 13",
                    (long long)axis);
    }
    return NB_OK;
}

static enum nb_status raise_node(struct nb_edit *e, size_t i, int64_t from, struct nb_error *err)
{
    const char *op = e->nodes[i].op_type;
    if (is_unchanged(op))
        return NB_OK;
    if (nb_str_eq(op, "Clip"))
        return from < 11 ? raise_clip(e, i, err) : NB_OK;
    if (nb_str_eq(op, "Slice"))
        return from < 10 ? raise_slice(e, i, err) : NB_OK;
    if (nb_str_eq(op, "Squeeze") || nb_str_eq(op, "Unsqueeze"))
        return raise_axes(e, i, err);
    if (nb_str_eq(op, "Softmax"))
        return raise_softmax(e, i, err);
    NB_FAIL(
        err, NB_ERR_UNSUPPORTED,
        "operator '%s' of operator set %lld cannot be raised to %d, which a scale for each channel "
        "needs",
        op, (long long)from, WANTED);
}

/* The model's own operator set is now another. */
static enum nb_status set_opset(struct nb_edit *e, int64_t version, int64_t ir,
                                struct nb_error *err)
{
    struct nb_onnx_opset *opsets = nb_arena_alloc(&e->arena, e->model.n_opsets + 1, sizeof *opsets);
    if (opsets == NULL)
        return no_memory(err);
    for (size_t i = 0; i < e->model.n_opsets; i++) {
        opsets[i] = e->model.opsets[i];
        if (opsets[i].domain[0] == '\0' || nb_str_eq(opsets[i].domain, "ai.onnx"))
            opsets[i].version = version;
    }
    e->model.opsets = opsets;
    e->model.ir_version = NB_MAX(e->model.ir_version, ir);
    return NB_OK;
}

enum nb_status nb_ptq_raise_opset(struct nb_edit *e, struct nb_error *err)
{
    const int64_t from = nb_onnx_opset_version(&e->model, "");
    if (from >= WANTED)
        return NB_OK;
    if (from < 7)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "operator set %lld; 7 and later can be quantized",
                (long long)from);
    for (size_t i = 0; i < e->n_nodes; i++)
        if (e->nodes[i].op_type != NULL)
            NB_TRY(raise_node(e, i, from, err));
    return set_opset(e, WANTED, 7, err);
}

/* ---- to 21 ---- */

/* Besides those above, what means the same in 13 and in 21. */
static const char *const lasting[] = {"And",
                                      "ArgMax",
                                      "ArgMin",
                                      "BitShift",
                                      "Ceil",
                                      "Clip",
                                      "CumSum",
                                      "DepthToSpace",
                                      "Dropout",
                                      "Einsum",
                                      "EyeLike",
                                      "Floor",
                                      "GatherElements",
                                      "GatherND",
                                      "Gelu",
                                      "Greater",
                                      "GreaterOrEqual",
                                      "HardSwish",
                                      "InstanceNormalization",
                                      "IsInf",
                                      "IsNaN",
                                      "LayerNormalization",
                                      "Less",
                                      "LessOrEqual",
                                      "LogSoftmax",
                                      "Max",
                                      "Min",
                                      "Mod",
                                      "NonZero",
                                      "Not",
                                      "OneHot",
                                      "Or",
                                      "Pad",
                                      "Range",
                                      "Reciprocal",
                                      "ReduceSum",
                                      "Round",
                                      "ScatterElements",
                                      "ScatterND",
                                      "Sign",
                                      "Sin",
                                      "Size",
                                      "Slice",
                                      "Softmax",
                                      "Softplus",
                                      "Softsign",
                                      "SpaceToDepth",
                                      "Squeeze",
                                      "Sum",
                                      "Tile",
                                      "TopK",
                                      "Trilu",
                                      "Unsqueeze",
                                      "Xor"};
/* Whose list of axes became an input with 18. */
static const char *const reductions[] = {"ReduceMean",   "ReduceMax",       "ReduceMin",
                                         "ReduceProd",   "ReduceL1",        "ReduceL2",
                                         "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"};

static bool is_one_of(const char *op, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (nb_str_eq(list[i], op))
            return true;
    return false;
}

/* Parts of equal size are asked for by their number since 18. */
static enum nb_status raise_split(struct nb_edit *e, size_t i, struct nb_error *err)
{
    struct nb_onnx_node *n = &e->nodes[i];
    struct nb_onnx_attr *attrs = nb_arena_alloc(&e->arena, n->n_attrs + 1, sizeof *attrs);
    if (n->n_inputs > 1 && n->inputs[1][0] != '\0')
        return NB_OK;
    if (attrs == NULL)
        return no_memory(err);
    for (size_t k = 0; k < n->n_attrs; k++)
        attrs[k] = n->attrs[k];
    attrs[n->n_attrs++] = (struct nb_onnx_attr){
        .name = "num_outputs", .type = NB_ONNX_ATTR_INT, .i = (int64_t)n->n_outputs};
    n->attrs = attrs;
    return NB_OK;
}

static enum nb_status raise_reduction(struct nb_edit *e, size_t i, struct nb_error *err)
{
    struct nb_onnx_node *n = &e->nodes[i];
    struct nb_onnx_attr *left = nb_arena_alloc(&e->arena, n->n_attrs + 1, sizeof *left);
    size_t count = 0;
    if (left == NULL)
        return no_memory(err);
    NB_TRY(raise_list(e, i, "axes", 1, err));
    for (size_t k = 0; k < n->n_attrs; k++)
        if (!nb_str_eq(n->attrs[k].name, "axes"))
            left[count++] = n->attrs[k];
    n->attrs = left;
    n->n_attrs = count;
    return NB_OK;
}

enum nb_status nb_ptq_raise_for_blocks(struct nb_edit *e, struct nb_error *err)
{
    NB_TRY(nb_ptq_raise_opset(e, err));
    const int64_t from = nb_onnx_opset_version(&e->model, "");
    for (size_t i = 0; i < e->n_nodes && from < BLOCKS; i++) {
        const char *op = e->nodes[i].op_type, *domain = e->nodes[i].domain;
        if (op == NULL || (domain != NULL && domain[0] != '\0' && !nb_str_eq(domain, "ai.onnx")))
            continue;
        const bool reduces = is_one_of(op, reductions, NB_COUNTOF(reductions));
        const bool splits = nb_str_eq(op, "Split");
        if (from < 18 && (reduces || splits))
            NB_TRY(reduces ? raise_reduction(e, i, err) : raise_split(e, i, err));
        else if (!reduces && !splits && !is_unchanged(op) &&
                 !is_one_of(op, lasting, NB_COUNTOF(lasting)))
            NB_FAIL(err, NB_ERR_UNSUPPORTED,
                    "operator '%s' of operator set %lld cannot be raised to %d, which a scale for "
                    "each block needs; MatMulNBits stands beside any",
                    op, (long long)from, BLOCKS);
    }
    return from < BLOCKS ? set_opset(e, BLOCKS, 10, err) : NB_OK;
}
