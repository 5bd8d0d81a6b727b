/* net/rules_qlinear.c: operators on integers with grids, of domain com.microsoft (ONNX Runtime, docs/ContribOperators.md;
 * ptq/qoperator.c writes them): QLinearAdd, QLinearConcat, QGemm and their kin.
 *
 * Each is what it stands for: DequantizeLinear of the inputs, ONNX's own operator, QuantizeLinear of the output.
 */
#include "net/net_internal.h"

static enum nb_status quantize(struct nb_net_node *n, uint32_t x, uint32_t scale, uint32_t zero,
                               uint32_t *out, struct nb_error *err)
{
    const struct nb_value *z = &n->g->values[zero];
    if (z->type != NB_VALUE_U8 && z->type != NB_VALUE_I8)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "zero point '%s' is neither uint8 nor int8", z->name);
    const bool whole = z->type == NB_VALUE_U8;
    const struct nb_net_range r = {z->type, whole ? 0 : -128, whole ? 255 : 127};
    *out = nb_net_quantize(n, (const uint32_t[]){x, scale, zero}, &r, 0, 0, false);
    return NB_OK;
}

/* Inputs at, at + 1, at + 2: a value on its grid, a scale for each place in dimension `axis` or one for all. */
static enum nb_status input_at(struct nb_net_node *n, size_t at, int64_t axis, uint32_t *out,
                               struct nb_error *err)
{
    for (size_t i = at; i < at + 3; i++)
        if (nb_net_in(n, i) == NULL)
            NB_FAIL(err, NB_ERR_FORMAT, "input %zu is missing", i);
    *out = nb_net_dequantize(n, &n->in[at], axis, 0);
    return NB_OK;
}

/* ONNX's own operator over floats, its output quantized by inputs y and y + 1. */
static enum nb_status run_as(struct nb_net_node *n, const char *op, const uint32_t *in, size_t n_in,
                             size_t y, struct nb_error *err)
{
    uint32_t value = 0, out = 0;
    if (nb_net_in(n, y) == NULL || nb_net_in(n, y + 1) == NULL)
        NB_FAIL(err, NB_ERR_FORMAT, "inputs %zu and %zu, the output's grid, are missing", y, y + 1);
    NB_TRY(nb_net_run_as(n, op, in, n_in, &value, err));
    NB_TRY(nb_graph_check(n->g, err));
    NB_TRY(quantize(n, value, n->in[y], n->in[y + 1], &out, err));
    return nb_net_out(n, 0, out, err);
}

/* arg: inputs on grids, one after the other. */
enum nb_status nb_net_rule_qlinear_inputs(struct nb_net_node *n, struct nb_error *err)
{
    const size_t count = (size_t)n->arg;
    const char *op = n->n->op_type + sizeof "QLinear" - 1;
    uint32_t in[2] = {0, 0};
    if (nb_net_int(n, "channels_last", 0) != 0)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "channels last");
    for (size_t i = 0; i < count; i++)
        NB_TRY(input_at(n, 3 * i, 0, &in[i], err));
    return run_as(n, op, in, count, 3 * count, err);
}

enum nb_status nb_net_rule_qlinear_concat(struct nb_net_node *n, struct nb_error *err)
{
    uint32_t in[NB_NET_NODE_INPUTS];
    const size_t count = n->n_in / 3; /* and two numbers before them */
    if (n->n_in < 5 || n->n_in % 3 != 2)
        NB_FAIL(err, NB_ERR_FORMAT, "%zu inputs; expected two, and three for each part", n->n_in);
    for (size_t i = 0; i < count; i++)
        NB_TRY(input_at(n, 2 + 3 * i, 0, &in[i], err));
    return run_as(n, "Concat", in, count, 0, err);
}

/* The bias has the grid of the integer sums. */
enum nb_status nb_net_rule_qgemm(struct nb_net_node *n, struct nb_error *err)
{
    const bool turned = nb_net_int(n, "transB", 0) != 0;
    uint32_t in[3] = {0, 0, 0};
    NB_TRY(input_at(n, 0, 0, &in[0], err));
    NB_TRY(input_at(n, 3, turned ? 0 : 1, &in[1], err));
    const struct nb_value *b = nb_net_in(n, 4);
    if (b->rank > 1 || nb_value_count(nb_net_in(n, 1)) != 1)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "several scales of the input, or more than one dimension "
                "of the weight's");
    if (nb_net_in(n, 6) != NULL) {
        const uint32_t scale = nb_net_binary(n, NB_BINARY_MUL, n->in[1], n->in[4]);
        in[2] = nb_net_binary(n, NB_BINARY_MUL, nb_net_cast(n, n->in[6], NB_VALUE_F32), scale);
    }
    return run_as(n, "Gemm", in, in[2] != 0 ? 3 : 2, 7, err);
}
