/* net/rules_quant.c: quantized numbers, and sums of products of them.
 *
 * A quantized layer is its integer sums, then a step of its own that brings them to the output's scale: round(sum * (sx * sw / sy))
 * + zero; with weights that are known it is the layer over floats between its grids, which a pass turns into sums of bytes
 * (net/pass_integer.c). Types of 8 bits in floating point are not held by graphs. Codes of 4 and 2 bits are held in bytes: their
 * range comes from the file's type of the zero point.
 */
#include <string.h>

#include "net/net_internal.h"

/* ---- types ---- */

/* The file's type of input i, of a tensor or an input of the graph; NB_ONNX_UNDEFINED: a node makes it. */
static int32_t file_type(const struct nb_net_node *n, size_t i)
{
    const struct nb_onnx_graph *g = &n->im->m->graph;
    const char *name = i < n->n_in ? n->n->inputs[i] : "";
    for (size_t k = 0; k < g->n_initializers; k++)
        if (name[0] != '\0' && nb_str_eq(g->initializers[k].name, name))
            return g->initializers[k].type;
    for (size_t k = 0; k < g->n_inputs; k++)
        if (name[0] != '\0' && nb_str_eq(g->inputs[k].name, name))
            return g->inputs[k].type;
    return NB_ONNX_UNDEFINED;
}

static bool range_of(enum nb_value_type type, int32_t file, struct nb_net_range *r)
{
    const bool narrow = file == NB_ONNX_INT4 || file == NB_ONNX_UINT4 || file == NB_ONNX_INT2 ||
                        file == NB_ONNX_UINT2;
    const bool is_signed = type == NB_VALUE_I8 || type == NB_VALUE_I16;
    unsigned bits = type == NB_VALUE_I16 || type == NB_VALUE_U16 ? 16 : 8;
    if (narrow)
        bits = nb_onnx_type_info(file)->bits;
    *r = (struct nb_net_range){.type = type,
                               .low = is_signed ? -(INT64_C(1) << (bits - 1)) : 0,
                               .high = (INT64_C(1) << (is_signed ? bits - 1 : bits)) - 1};
    return is_signed || type == NB_VALUE_U8 || type == NB_VALUE_U16;
}

/* What the zero point, input i, is of; without one what output_dtype says, or uint8. */
static enum nb_status find_range(const struct nb_net_node *n, size_t i, struct nb_net_range *r,
                                 struct nb_error *err)
{
    const struct nb_value *zero = nb_net_in(n, i);
    const int64_t wanted = nb_net_int(n, "output_dtype", 0);
    const int32_t said = wanted != 0 ? (int32_t)wanted : NB_ONNX_UINT8;
    enum nb_value_type type;
    if (zero != NULL)
        type = zero->type;
    else if (!nb_net_type(said, &type))
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "output_dtype %lld", (long long)wanted);
    if (!range_of(type, zero != NULL ? file_type(n, i) : said, r))
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "no integers of 16 bits or fewer");
    return NB_OK;
}

/* ---- there and back ---- */

uint32_t nb_net_quantize(struct nb_net_node *n, const uint32_t in[3], const struct nb_net_range *r,
                         int64_t axis, int64_t block, bool multiply)
{
    const struct nb_attr attrs[] = {
        NB_ATTR_INT("type", r->type), NB_ATTR_INT("low", r->low),
        NB_ATTR_INT("high", r->high), NB_ATTR_INT("axis", axis),
        NB_ATTR_INT("block", block),  NB_ATTR_INT("multiply", multiply),
    };
    return nb_net_add(n, &(struct nb_node_args){.op = &nb_op_quantize_linear,
                                                .in = {in[0], in[1], in[2]},
                                                .attrs = attrs,
                                                .n_attrs = NB_COUNTOF(attrs)});
}

/* The dimension of the scales; 0 where there is but one. */
static enum nb_status find_axis(const struct nb_net_node *n, int64_t *axis, struct nb_error *err)
{
    uint32_t at = 0;
    const struct nb_value *scale = nb_net_in(n, 1);
    if (scale->rank > 1 || nb_value_count(scale) != 1 || nb_net_int(n, "block_size", 0) != 0)
        NB_TRY(nb_net_axis(nb_net_int(n, "axis", 1), nb_net_in(n, 0)->rank, &at, err));
    *axis = at;
    return NB_OK;
}

static uint32_t optional(const struct nb_net_node *n, size_t i)
{
    return i < n->n_in ? n->in[i] : 0;
}

enum nb_status nb_net_rule_quantize_linear(struct nb_net_node *n, struct nb_error *err)
{
    struct nb_net_range r;
    int64_t axis;
    NB_TRY(nb_net_need(n, 2, err));
    NB_TRY(find_range(n, 2, &r, err));
    NB_TRY(find_axis(n, &axis, err));
    const uint32_t scale = nb_net_cast(n, n->in[1], NB_VALUE_F32);
    const uint32_t in[3] = {n->in[0], scale, optional(n, 2)};
    return nb_net_out(n, 0, nb_net_quantize(n, in, &r, axis, nb_net_int(n, "block_size", 0), false),
                      err);
}

/* Weights and biases: they stay codes until a pass (net/pass_integer.c) has seen them; whatever it leaves folds then. */
static bool stays(const struct nb_value *x)
{
    const bool codes = x->type == NB_VALUE_I8 || x->type == NB_VALUE_U8 || x->type == NB_VALUE_I32;
    return x->kind == NB_VALUE_CONST && codes && x->rank > 0;
}

uint32_t nb_net_dequantize(struct nb_net_node *n, const uint32_t in[3], int64_t axis, int64_t block)
{
    const struct nb_attr attrs[] = {NB_ATTR_INT("axis", axis), NB_ATTR_INT("block", block)};
    const struct nb_node_args args = {.op = &nb_op_dequantize_linear,
                                      .in = {in[0], in[1], in[2]},
                                      .attrs = attrs,
                                      .n_attrs = 2,
                                      .block = NB_NO_BLOCK};
    return stays(&n->g->values[in[0]]) ? nb_graph_add(n->g, &args) : nb_net_add(n, &args);
}

enum nb_status nb_net_rule_dequantize_linear(struct nb_net_node *n, struct nb_error *err)
{
    int64_t axis;
    NB_TRY(nb_net_need(n, 2, err));
    NB_TRY(find_axis(n, &axis, err));
    const uint32_t in[3] = {n->in[0], n->in[1], optional(n, 2)};
    return nb_net_out(n, 0, nb_net_dequantize(n, in, axis, nb_net_int(n, "block_size", 0)), err);
}

enum nb_status nb_net_rule_dynamic_quantize(struct nb_net_node *n, struct nb_error *err)
{
    const struct nb_net_range r = {NB_VALUE_U8, 0, 255};
    NB_TRY(nb_net_need(n, 1, err));
    const uint32_t scale =
        nb_net_add(n, &(struct nb_node_args){.op = &nb_op_dynamic_quantize, .in = {n->in[0]}});
    if (scale == 0)
        return NB_OK;
    const uint32_t in[3] = {n->in[0], scale, scale + 1};
    NB_TRY(nb_net_out(n, 0, nb_net_quantize(n, in, &r, 0, 0, false), err));
    NB_TRY(nb_net_out(n, 1, in[1], err));
    return nb_net_out(n, 2, in[2], err);
}

/* ---- integer sums ---- */

/* in: x, its zero point, weights, theirs. */
static enum nb_status conv(struct nb_net_node *n, const uint32_t in[4], uint32_t *out,
                           struct nb_error *err)
{
    struct nb_net_window w;
    NB_TRY(nb_net_window_of(n, &n->g->values[in[2]], &w, err));
    const struct nb_attr attrs[] = {NB_NET_WINDOW_ATTRS(w),
                                    NB_ATTR_INT("groups", nb_net_int(n, "group", 1))};
    *out = nb_net_add(n, &(struct nb_node_args){.op = &nb_op_qconv,
                                                .in = {in[0], in[1], in[2], in[3]},
                                                .attrs = attrs,
                                                .n_attrs = NB_COUNTOF(attrs)});
    return NB_OK;
}

/* Vectors are matrices of one row, or column, which is gone afterwards. */
static uint32_t matmul(struct nb_net_node *n, const uint32_t in[4])
{
    uint32_t a = in[0], b = in[2];
    const bool row = n->g->values[a].rank == 1, col = n->g->values[b].rank == 1;
    int64_t dims[NB_VALUE_DIMS];
    uint32_t rank = 0;
    if (row)
        a = nb_net_reshape(n, a, (int64_t[]){1, (int64_t)n->g->values[a].dim[0].n}, 2);
    if (col)
        b = nb_net_reshape(n, b, (int64_t[]){(int64_t)n->g->values[b].dim[0].n, 1}, 2);
    const uint32_t y =
        nb_net_add(n, &(struct nb_node_args){.op = &nb_op_qmatmul, .in = {a, in[1], b, in[3]}});
    if (y == 0 || (!row && !col))
        return y;
    const struct nb_value *is = &n->g->values[y];
    for (uint32_t i = 0; i < is->rank; i++)
        if (!(row && i + 2 == is->rank) && !(col && i + 1 == is->rank))
            dims[rank++] = (int64_t)is->dim[i].n;
    return nb_net_reshape(n, y, dims, rank);
}

/* arg: 0 ConvInteger, 1 MatMulInteger. */
enum nb_status nb_net_rule_integer(struct nb_net_node *n, struct nb_error *err)
{
    uint32_t y = 0, zero = optional(n, 2);
    NB_TRY(nb_net_need(n, 2, err));
    if (zero == 0)
        zero = nb_net_scalar(n, nb_net_in(n, 0)->type, 0.0);
    const uint32_t in[4] = {n->in[0], zero, n->in[1], optional(n, 3)};
    if (n->arg == 0)
        NB_TRY(conv(n, in, &y, err));
    else
        y = matmul(n, in);
    return nb_net_out(n, 0, y, err);
}

/* ---- quantized layers: x, its scale and zero point, w, its two, y's two, bias ---- */

/* As a list of one element or more. */
static uint32_t flat(struct nb_net_node *n, uint32_t v)
{
    const int64_t count = v != 0 ? (int64_t)nb_value_count(&n->g->values[v]) : 0;
    return v == 0 || (n->g->values[v].rank <= 1 && count > 1) ? v : nb_net_reshape(n, v, &count, 1);
}

/* Sums plus bias, of channel 1. */
static uint32_t add_bias(struct nb_net_node *n, uint32_t sums, uint32_t bias)
{
    int64_t dims[NB_VALUE_DIMS] = {1, 1, 1, 1, 1, 1, 1, 1};
    if (sums == 0 || bias == 0)
        return sums;
    const uint32_t rank = n->g->values[sums].rank;
    dims[1] = (int64_t)nb_value_count(&n->g->values[bias]);
    return nb_net_binary(n, NB_BINARY_ADD, sums, nb_net_reshape(n, bias, dims, rank));
}

/* Weights and all scales are known: what the integer pass makes sums of bytes of. */
static bool is_known(const struct nb_net_node *n)
{
    bool known = true;
    for (size_t i = 1; i < n->n_in; i++)
        known = known && (nb_net_in(n, i) == NULL || nb_net_in(n, i)->kind == NB_VALUE_CONST);
    return known;
}

/* The layer over floats, between grids. */
static enum nb_status as_floats(struct nb_net_node *n, const struct nb_net_range *r,
                                struct nb_error *err)
{
    const int64_t axis = n->arg == 0 ? 0 : (int64_t)nb_net_in(n, 3)->rank - 1;
    const uint32_t x[3] = {n->in[0], n->in[1], n->in[2]},
                   w[3] = {n->in[3], flat(n, n->in[4]), flat(n, n->in[5])};
    uint32_t in[3] = {nb_net_dequantize(n, x, 0, 0),
                      nb_net_dequantize(n, w, NB_MAX(axis, INT64_C(0)), 0)},
             y = 0;
    if (optional(n, 8)) {
        const uint32_t unit = nb_net_binary(n, NB_BINARY_MUL, flat(n, n->in[1]), flat(n, n->in[4]));
        in[2] = nb_net_dequantize(n, (const uint32_t[]){n->in[8], unit, 0}, 0, 0);
    }
    NB_TRY(nb_graph_check(n->g, err));
    NB_TRY(nb_net_run_as(n, n->arg == 0 ? "Conv" : "MatMul", in, in[2] ? 3 : 2, &y, err));
    const uint32_t last[3] = {y, n->in[6], n->in[7]};
    return nb_net_out(n, 0, nb_net_quantize(n, last, r, 0, 0, false), err);
}

/* Only where there is one scale, or one for each place in dimension `axis`. arg as above. */
enum nb_status nb_net_rule_qlinear(struct nb_net_node *n, struct nb_error *err)
{
    struct nb_net_range r;
    uint32_t sums = 0;
    NB_TRY(nb_net_need(n, 8, err));
    NB_TRY(find_range(n, 7, &r, err));
    if (is_known(n) && nb_value_count(nb_net_in(n, 6)) == 1 && nb_value_count(nb_net_in(n, 1)) == 1)
        return as_floats(n, &r, err);
    const uint32_t in[4] = {n->in[0], n->in[2], n->in[3], n->in[5]};
    if (nb_value_count(nb_net_in(n, 6)) != 1 || nb_value_count(nb_net_in(n, 7)) != 1 ||
        nb_value_count(nb_net_in(n, 1)) != 1)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "several scales of the input or the output");
    if (n->arg == 0) {
        NB_TRY(conv(n, in, &sums, err));
        sums = add_bias(n, sums, optional(n, 8));
    } else {
        sums = matmul(n, in);
    }
    uint32_t scale = nb_net_binary(n, NB_BINARY_MUL, flat(n, n->in[1]), flat(n, n->in[4]));
    scale = nb_net_binary(n, NB_BINARY_DIV, scale, flat(n, n->in[6]));
    if (sums == 0 || scale == 0)
        return NB_OK;
    uint32_t zero = flat(n, n->in[7]);
    const int64_t many = (int64_t)nb_value_count(&n->g->values[scale]);
    if (many > 1) { /* as many zero points */
        const struct nb_attr attr = NB_ATTR_LIST("dims", &many, 1);
        zero = nb_net_add(n, &(struct nb_node_args){
                                 .op = &nb_op_expand, .in = {zero}, .attrs = &attr, .n_attrs = 1});
    }
    const uint32_t rank = n->g->values[sums].rank;
    const int64_t axis = n->arg == 0 || rank == 0 ? 1 : (int64_t)rank - 1;
    const uint32_t last[3] = {sums, scale, zero};
    return nb_net_out(n, 0, nb_net_quantize(n, last, &r, axis, 0, true), err);
}
