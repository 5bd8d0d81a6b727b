/* ptq/half_types.c: element types of a model's values, as far as they can be told without shapes: what the file says of
 * them, or by operator.
 *
 * Not told (NB_ONNX_UNDEFINED): outputs of operators that are not listed. Whoever asks leaves those alone.
 */
#include <string.h>

#include "ptq/ptq_internal.h"

/* Where an output has its type from. */
enum { LIKE_FIRST = 0, LIKE_SECOND, LIKE_THIRD, FIXED };

static const struct {
    const char *op;
    uint8_t from;
    int32_t type;    /* FIXED */
    bool takes_half; /* all float inputs and outputs are of one type, which may be float16 */
} table[] = {
    {"Abs", 0, 0, true},
    {"Add", 0, 0, true},
    {"And", FIXED, NB_ONNX_BOOL, false},
    {"ArgMax", FIXED, NB_ONNX_INT64, false},
    {"ArgMin", FIXED, NB_ONNX_INT64, false},
    {"AveragePool", 0, 0, true},
    {"BatchNormalization", 0, 0, true},
    {"Ceil", 0, 0, true},
    {"Clip", 0, 0, true},
    {"Concat", 0, 0, true},
    {"Conv", 0, 0, true},
    {"ConvTranspose", 0, 0, true},
    {"CumSum", 0, 0, false},
    {"DepthToSpace", 0, 0, true},
    {"DequantizeLinear", LIKE_SECOND, 0, false},
    {"Div", 0, 0, true},
    {"Elu", 0, 0, true},
    {"Equal", FIXED, NB_ONNX_BOOL, false},
    {"Erf", 0, 0, true},
    {"Exp", 0, 0, true},
    {"Expand", 0, 0, true},
    {"Flatten", 0, 0, true},
    {"Floor", 0, 0, true},
    {"GRU", 0, 0, true},
    {"Gather", 0, 0, true},
    {"GatherElements", 0, 0, true},
    {"GatherND", 0, 0, true},
    {"Gelu", 0, 0, true},
    {"Gemm", 0, 0, true},
    {"GlobalAveragePool", 0, 0, true},
    {"GlobalMaxPool", 0, 0, true},
    {"Greater", FIXED, NB_ONNX_BOOL, false},
    {"GreaterOrEqual", FIXED, NB_ONNX_BOOL, false},
    {"HardSigmoid", 0, 0, true},
    {"HardSwish", 0, 0, true},
    {"Identity", 0, 0, true},
    {"InstanceNormalization", 0, 0, true},
    {"LRN", 0, 0, true},
    {"LSTM", 0, 0, true},
    {"LayerNormalization", 0, 0, true},
    {"LeakyRelu", 0, 0, true},
    {"Less", FIXED, NB_ONNX_BOOL, false},
    {"LessOrEqual", FIXED, NB_ONNX_BOOL, false},
    {"Log", 0, 0, true},
    {"LogSoftmax", 0, 0, true},
    {"MatMul", 0, 0, true},
    {"Max", 0, 0, false},
    {"MaxPool", 0, 0, true},
    {"Min", 0, 0, false},
    {"Mul", 0, 0, true},
    {"Neg", 0, 0, true},
    {"NonMaxSuppression", FIXED, NB_ONNX_INT64, false},
    {"NonZero", FIXED, NB_ONNX_INT64, false},
    {"Not", FIXED, NB_ONNX_BOOL, false},
    {"OneHot", LIKE_THIRD, 0, false},
    {"Or", FIXED, NB_ONNX_BOOL, false},
    {"PRelu", 0, 0, true},
    {"Pad", 0, 0, true},
    {"Pow", 0, 0, true},
    {"QuantizeLinear", LIKE_THIRD, 0, false},
    {"RNN", 0, 0, true},
    {"Range", 0, 0, false},
    {"Reciprocal", 0, 0, true},
    {"ReduceL2", 0, 0, false}, /* sums of squares pass 65504 soon */
    {"ReduceMax", 0, 0, true},
    {"ReduceMean", 0, 0, true},
    {"ReduceMin", 0, 0, true},
    {"ReduceSum", 0, 0, true},
    {"ReduceSumSquare", 0, 0, false},
    {"Relu", 0, 0, true},
    {"Reshape", 0, 0, true},
    {"Resize", 0, 0, false},
    {"Selu", 0, 0, true},
    {"Shape", FIXED, NB_ONNX_INT64, false},
    {"Sigmoid", 0, 0, true},
    {"Size", FIXED, NB_ONNX_INT64, false},
    {"Slice", 0, 0, true},
    {"Softmax", 0, 0, true},
    {"Softplus", 0, 0, true},
    {"Softsign", 0, 0, true},
    {"SpaceToDepth", 0, 0, true},
    {"Split", 0, 0, true},
    {"Sqrt", 0, 0, true},
    {"Squeeze", 0, 0, true},
    {"Sub", 0, 0, true},
    {"Sum", 0, 0, true},
    {"Tanh", 0, 0, true},
    {"Tile", 0, 0, true},
    {"Transpose", 0, 0, true},
    {"Unsqueeze", 0, 0, true},
    {"Upsample", 0, 0, false},
    {"Where", LIKE_SECOND, 0, true},
    {"Xor", FIXED, NB_ONNX_BOOL, false},
};

static size_t row_of(const struct nb_onnx_node *n)
{
    size_t i = 0;
    const bool own = n->domain == NULL || n->domain[0] == '\0' || nb_str_eq(n->domain, "ai.onnx");
    while (i < NB_COUNTOF(table) && !(own && nb_str_eq(table[i].op, n->op_type)))
        i++;
    return i;
}

bool nb_half_takes(const struct nb_onnx_node *n)
{
    const size_t i = row_of(n);
    return i < NB_COUNTOF(table) && table[i].takes_half;
}

int32_t nb_half_type(const struct nb_map *types, const char *name)
{
    uint64_t v;
    return nb_map_get(types, name, strlen(name), &v) ? (int32_t)v : NB_ONNX_UNDEFINED;
}

static enum nb_status say(struct nb_map *types, const char *name, int32_t type,
                          struct nb_error *err)
{
    if (name == NULL || name[0] == '\0' || type == NB_ONNX_UNDEFINED)
        return NB_OK;
    const enum nb_status st = nb_map_put(types, name, strlen(name), (uint64_t)type);
    if (st != NB_OK && st != NB_ERR_EXISTS)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the types of a net");
    return NB_OK;
}

/* Outputs beside the first: a mask, indices, states. */
static int32_t later_output(const struct nb_onnx_node *n, int32_t first)
{
    if (nb_str_eq(n->op_type, "MaxPool"))
        return NB_ONNX_INT64;
    if (nb_str_eq(n->op_type, "Dropout"))
        return NB_ONNX_BOOL;
    return first;
}

static int32_t attr_type(const struct nb_onnx_node *n)
{
    const struct nb_onnx_attr *to = nb_onnx_find_attr(n, "to"), *v = nb_onnx_find_attr(n, "value");
    if (nb_str_eq(n->op_type, "Cast"))
        return to != NULL && to->type == NB_ONNX_ATTR_INT ? (int32_t)to->i : NB_ONNX_UNDEFINED;
    if (nb_str_eq(n->op_type, "ConstantOfShape"))
        return v == NULL                        ? NB_ONNX_FLOAT32
               : v->type == NB_ONNX_ATTR_TENSOR ? v->t->type
                                                : NB_ONNX_UNDEFINED;
    return NB_ONNX_UNDEFINED;
}

static int32_t type_of(const struct nb_map *types, const struct nb_onnx_node *n)
{
    const size_t i = row_of(n);
    if (i == NB_COUNTOF(table))
        return attr_type(n);
    if (table[i].from == FIXED)
        return table[i].type;
    const bool given = n->n_inputs > table[i].from && n->inputs[table[i].from][0] != '\0';
    if (!given)
        return nb_str_eq(n->op_type, "QuantizeLinear") ? NB_ONNX_UINT8 : NB_ONNX_UNDEFINED;
    return nb_half_type(types, n->inputs[table[i].from]);
}

static enum nb_status say_all(struct nb_map *types, const struct nb_onnx_value *v, size_t n,
                              struct nb_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (v[i].tensor)
            NB_TRY(say(types, v[i].name, v[i].type, err));
    return NB_OK;
}

enum nb_status nb_half_types(struct nb_map *types, const struct nb_edit *e, struct nb_error *err)
{
    const struct nb_onnx_graph *g = &e->model.graph;
    for (size_t i = 0; i < e->n_tensors; i++)
        NB_TRY(say(types, e->tensors[i].name, e->tensors[i].type, err));
    NB_TRY(say_all(types, g->inputs, g->n_inputs, err));
    NB_TRY(say_all(types, g->outputs, g->n_outputs, err));
    NB_TRY(say_all(types, g->values, g->n_values, err));
    for (size_t i = 0; i < e->n_nodes; i++) {
        const struct nb_onnx_node *n = &e->nodes[i];
        if (n->op_type == NULL)
            continue;
        const int32_t type = type_of(types, n);
        for (size_t k = 0; k < n->n_outputs; k++)
            NB_TRY(say(types, n->outputs[k], k == 0 ? type : later_output(n, type), err));
    }
    return NB_OK;
}
