/* ptq/qdq.c: QuantizeLinear and DequantizeLinear where the plan wants them.
 *
 * x -> Q -> DQ -> its readers; a value that leaves the net is what the DQ makes, under its own name. For TensorRT
 * only weighted layers read the DQ, everybody else x itself.
 */
#include <string.h>

#include "ptq/ptq_internal.h"

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to quantize a net");
}

/* Weighted layers alone read `to` instead of `from`. */
static enum nb_status reroute_weighted(struct nb_edit *e, const struct nb_ptq_plan *p,
                                       size_t n_nodes, const char *from, const char *to,
                                       struct nb_error *err)
{
    for (size_t i = 0; i < n_nodes; i++)
        for (size_t k = 0; p->kinds[i] == NB_PTQ_WEIGHTED && k < e->nodes[i].n_inputs; k++)
            if (nb_str_eq(e->nodes[i].inputs[k], from))
                NB_TRY(nb_edit_set_input(e, i, k, to, err));
    return NB_OK;
}

static enum nb_status insert_pair(struct nb_edit *e, const struct nb_ptq_plan *p,
                                  const struct nb_ptq_tensor *t, const struct nb_ptq_options *o,
                                  size_t n_nodes, struct nb_error *err)
{
    const struct nb_ptq_grid g = nb_ptq_grid_of(p, t, o);
    const bool tensorrt = o->profile == NB_PTQ_TENSORRT, leaves = nb_edit_is_output(e, t->name);
    const size_t maker = nb_edit_producer(e, t->name);
    const char *scale =
        nb_ptq_scalar(e, nb_edit_name(e, t->name, "_scale"), NB_ONNX_FLOAT32, (double)g.scale, err);
    const char *zero = nb_ptq_scalar(e, nb_edit_name(e, t->name, "_zero"),
                                     nb_ptq_activation_codes(o).type, g.zero, err);
    const char *q = nb_edit_name(e, t->name, "_q");
    const char *x = t->name, *y = NULL;
    if (scale == NULL || zero == NULL || q == NULL)
        return no_memory(err);
    if (leaves && !tensorrt && maker != SIZE_MAX) {
        x = nb_edit_name(e, t->name, "_float");
        y = t->name;
        for (size_t k = 0; x != NULL && k < e->nodes[maker].n_outputs; k++)
            if (nb_str_eq(e->nodes[maker].outputs[k], t->name))
                NB_TRY(nb_edit_set_output(e, maker, k, x, err));
    } else {
        y = nb_edit_name(e, t->name, "_dq");
        if (y == NULL)
            return no_memory(err);
        if (tensorrt)
            NB_TRY(reroute_weighted(e, p, n_nodes, t->name, y, err));
        else
            NB_TRY(nb_edit_rename_reads(e, t->name, y, err));
    }
    if (x == NULL)
        return no_memory(err);
    NB_TRY(nb_ptq_node(e, false, x, scale, zero, q, -1, err));
    return nb_ptq_node(e, true, q, scale, zero, y, -1, err);
}

/* ---- weights and constants ---- */

static double attr_real(const struct nb_onnx_node *n, const char *name, double otherwise)
{
    const struct nb_onnx_attr *a = nb_onnx_find_attr(n, name);
    return a != NULL && a->type == NB_ONNX_ATTR_FLOAT ? (double)a->f : otherwise;
}

static bool is_weight(const struct nb_edit *e, const char *name)
{
    const struct nb_onnx_tensor *t = name[0] != '\0' ? nb_edit_tensor(e, name) : NULL;
    return t != NULL && t->type == NB_ONNX_FLOAT32 && t->n > 0 && t->data != NULL;
}

/* Are biases plainly added: one for each channel, or none yet? */
static bool takes_bias(const struct nb_edit *e, const struct nb_onnx_node *n, size_t channels)
{
    const bool has = n->n_inputs > 2 && n->inputs[2][0] != '\0';
    if (nb_str_eq(n->op_type, "MatMul") || attr_real(n, "alpha", 1.0) != 1.0 ||
        attr_real(n, "beta", 1.0) != 1.0)
        return false;
    if (!has)
        return true;
    if (!is_weight(e, n->inputs[2]))
        return false;
    const struct nb_onnx_tensor *b = nb_edit_tensor(e, n->inputs[2]);
    return b->rank == 1 && b->n == channels;
}

static enum nb_status quantize_layer(struct nb_edit *e, const struct nb_ptq_plan *p, size_t i,
                                     const struct nb_ptq_rounded *r, const struct nb_ptq_options *o,
                                     struct nb_error *err)
{
    const struct nb_onnx_node n = e->nodes[i];
    const struct nb_ptq_tensor *x = nb_ptq_find(p, n.inputs[0]);
    if (r->q == NULL) /* MatMul of two activations, or a constant on the left */
        return is_weight(e, n.inputs[0]) ? nb_ptq_operand(e, i, 0, o, err) : NB_OK;
    size_t side;
    const size_t add = nb_ptq_bias_add(e, &n, &side);
    if (add != SIZE_MAX && r->shift != NULL)
        NB_TRY(nb_ptq_add_bias(e, add, side, r->shift, r->n_channels, err));
    const bool biased = takes_bias(e, &n, r->n_channels);
    if (biased && x != NULL && o->profile != NB_PTQ_TENSORRT)
        nb_ptq_fit_bias(e, i, nb_ptq_grid_of(p, x, o).scale, r);
    NB_TRY(nb_ptq_weight(e, i, 1, r, o, err));
    if (biased && r->shift != NULL)
        NB_TRY(nb_ptq_add_bias(e, i, 2, r->shift, r->n_channels, err));
    if (o->profile == NB_PTQ_TENSORRT || x == NULL || !biased || e->nodes[i].n_inputs < 3 ||
        e->nodes[i].inputs[2][0] == '\0')
        return NB_OK;
    return nb_ptq_bias(e, i, 2, nb_ptq_grid_of(p, x, o).scale, r, err);
}

static enum nb_status quantize_constants(struct nb_edit *e, size_t i,
                                         const struct nb_ptq_options *o, struct nb_error *err)
{
    const struct nb_onnx_node n = e->nodes[i];
    if (!nb_str_eq(n.op_type, "Add") && !nb_str_eq(n.op_type, "Mul"))
        return NB_OK;
    for (size_t k = 0; k < 2; k++)
        if (is_weight(e, n.inputs[k]))
            NB_TRY(nb_ptq_operand(e, i, k, o, err));
    return NB_OK;
}

enum nb_status nb_ptq_insert(struct nb_edit *e, struct nb_ptq_plan *p,
                             const struct nb_ptq_rounded *rounded, const struct nb_ptq_options *o,
                             struct nb_ptq_report *report, struct nb_error *err)
{
    const size_t n_nodes = e->n_nodes;
    report->float_bytes = nb_edit_bytes(e);
    for (size_t i = 0; i < n_nodes; i++) {
        if (p->kinds[i] == NB_PTQ_WEIGHTED)
            NB_TRY(quantize_layer(e, p, i, &rounded[i], o, err));
        else if (nb_ptq_is_unit(p, i))
            NB_TRY(quantize_constants(e, i, o, err));
        report->n_quantized += p->kinds[i] == NB_PTQ_WEIGHTED || p->kinds[i] == NB_PTQ_POINT;
    }
    for (size_t i = 0; i < p->n; i++) {
        if (!p->tensors[i].quantized)
            continue;
        NB_TRY(insert_pair(e, p, &p->tensors[i], o, n_nodes, err));
        report->n_activations++;
    }
    report->bytes = nb_edit_bytes(e);
    return NB_OK;
}
