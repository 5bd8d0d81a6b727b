/* ptq/qoperator.c: a QDQ model with integer operators in place of DequantizeLinear, float operator, QuantizeLinear
 * (ONNX: QLinearConv, QLinearMatMul; ONNX Runtime's domain com.microsoft for the others, docs/ContribOperators.md).
 *
 * What has no such operator, or lacks a grid on one side, stays as it is between its two nodes. A Relu or Clip that the grid
 * of its output implies is gone; what only moves elements moves integers.
 */
#include <string.h>

#include "ptq/ptq_internal.h"

#define DOMAIN "com.microsoft"

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to write integer operators");
}

/* How an operator's inputs follow one another. */
enum order {
    ORDER_LAYER,  /* x, its grid, w, its grid, the grid of y [, bias]            */
    ORDER_GEMM,   /* the same, the bias before the grid of y                     */
    ORDER_INPUTS, /* each input and its grid, then the grid of y                 */
    ORDER_CONCAT, /* the grid of y, then each input and its grid                 */
    ORDER_MOVE    /* the operator itself, on integers                            */
};
static const struct form {
    const char *op, *integer, *domain;
    enum order order;
    size_t n_grids; /* inputs that have one; 0: all */
} forms[] = {
    {"Conv", "QLinearConv", "", ORDER_LAYER, 2},
    {"MatMul", "QLinearMatMul", "", ORDER_LAYER, 2},
    {"Gemm", "QGemm", DOMAIN, ORDER_GEMM, 2},
    {"Add", "QLinearAdd", DOMAIN, ORDER_INPUTS, 2},
    {"Mul", "QLinearMul", DOMAIN, ORDER_INPUTS, 2},
    {"AveragePool", "QLinearAveragePool", DOMAIN, ORDER_INPUTS, 1},
    {"GlobalAveragePool", "QLinearGlobalAveragePool", DOMAIN, ORDER_INPUTS, 1},
    {"LeakyRelu", "QLinearLeakyRelu", DOMAIN, ORDER_INPUTS, 1},
    {"Sigmoid", "QLinearSigmoid", DOMAIN, ORDER_INPUTS, 1},
    {"Concat", "QLinearConcat", DOMAIN, ORDER_CONCAT, 0},
    {"MaxPool", "MaxPool", "", ORDER_MOVE, 1},
    {"Reshape", "Reshape", "", ORDER_MOVE, 1},
    {"Transpose", "Transpose", "", ORDER_MOVE, 1},
    {"Flatten", "Flatten", "", ORDER_MOVE, 1},
    {"Squeeze", "Squeeze", "", ORDER_MOVE, 1},
    {"Unsqueeze", "Unsqueeze", "", ORDER_MOVE, 1},
    {"Slice", "Slice", "", ORDER_MOVE, 1},
    {"Gather", "Gather", "", ORDER_MOVE, 1},
};

static const struct form *form_of(const struct nb_onnx_node *n)
{
    const bool own = n->op_type != NULL && (n->domain == NULL || n->domain[0] == '\0');
    for (size_t i = 0; i < NB_COUNTOF(forms) && own; i++)
        if (nb_str_eq(forms[i].op, n->op_type))
            return &forms[i];
    return NULL;
}

/* ---- grids around a node ---- */

/* The DequantizeLinear that makes a value; NULL: none. */
static const struct nb_onnx_node *dequantizer(const struct nb_edit *e, const char *name)
{
    const size_t i = name[0] != '\0' ? nb_edit_producer(e, name) : SIZE_MAX;
    return i != SIZE_MAX && nb_str_eq(e->nodes[i].op_type, "DequantizeLinear") &&
                   e->nodes[i].n_inputs == 3
               ? &e->nodes[i]
               : NULL;
}

/* The one node that reads a value; SIZE_MAX: several, or the net gives it away. */
static size_t only_reader(const struct nb_edit *e, const char *name)
{
    size_t reader;
    return nb_edit_readers(e, name, &reader) == 1 ? reader : SIZE_MAX;
}

/* A scalar initializer's number. */
static bool number_of(const struct nb_edit *e, const char *name, double *out)
{
    const struct nb_onnx_tensor *t = name[0] != '\0' ? nb_edit_tensor(e, name) : NULL;
    float f;
    if (t == NULL || t->n != 1 || t->data == NULL)
        return false;
    if (t->type == NB_ONNX_FLOAT32) {
        memcpy(&f, t->data, sizeof f);
        *out = (double)f;
        return true;
    }
    *out = t->type == NB_ONNX_UINT8 ? (double)t->data[0] : (double)(int8_t)t->data[0];
    return t->type == NB_ONNX_UINT8 || t->type == NB_ONNX_INT8;
}

/* Does the grid of a QuantizeLinear hold nothing that this Relu or Clip would change? */
static bool implied(const struct nb_edit *e, const struct nb_onnx_node *n,
                    const struct nb_onnx_node *q)
{
    double scale, zero, low = 0.0, high = 3.4e38;
    if (q->n_inputs != 3 || !number_of(e, q->inputs[1], &scale) ||
        !number_of(e, q->inputs[2], &zero))
        return false;
    if (nb_str_eq(n->op_type, "Clip") &&
        ((n->n_inputs > 1 && n->inputs[1][0] != '\0' && !number_of(e, n->inputs[1], &low)) ||
         (n->n_inputs > 2 && n->inputs[2][0] != '\0' && !number_of(e, n->inputs[2], &high))))
        return false;
    if (nb_str_eq(n->op_type, "Clip") && (n->n_inputs < 2 || n->inputs[1][0] == '\0'))
        low = -3.4e38;
    const bool whole = nb_edit_tensor(e, q->inputs[2])->type == NB_ONNX_UINT8;
    const double least = ((whole ? 0.0 : -128.0) - zero) * scale;
    const double most = ((whole ? 255.0 : 127.0) - zero) * scale;
    return least >= low - 1e-6 * scale && most <= high + 1e-3 * scale;
}

/* The QuantizeLinear that reads what node i makes, through a Relu or Clip that says nothing (*skipped, SIZE_MAX:
 * none); SIZE_MAX: there is none. */
static size_t quantizer(const struct nb_edit *e, size_t i, size_t *skipped)
{
    size_t r = only_reader(e, e->nodes[i].outputs[0]);
    *skipped = SIZE_MAX;
    if (r == SIZE_MAX)
        return SIZE_MAX;
    if (nb_str_eq(e->nodes[r].op_type, "Relu") || nb_str_eq(e->nodes[r].op_type, "Clip")) {
        const size_t q = only_reader(e, e->nodes[r].outputs[0]);
        if (q == SIZE_MAX || !nb_str_eq(e->nodes[q].op_type, "QuantizeLinear") ||
            !implied(e, &e->nodes[r], &e->nodes[q]))
            return SIZE_MAX;
        *skipped = r;
        return q;
    }
    return nb_str_eq(e->nodes[r].op_type, "QuantizeLinear") && e->nodes[r].n_inputs == 3 ? r
                                                                                         : SIZE_MAX;
}

static bool same_number(const struct nb_edit *e, const char *a, const char *b)
{
    double x, y;
    return number_of(e, a, &x) && number_of(e, b, &y) && x == y;
}

/* ---- replacing ---- */

struct change {
    struct nb_edit *e;
    size_t node, quantize, skipped;
    const struct form *form;
    const char **inputs; /* of the new node */
    size_t n;
};

static void add_grid(struct change *c, const struct nb_onnx_node *q)
{
    c->inputs[c->n++] = q->inputs[1];
    c->inputs[c->n++] = q->inputs[2];
}

static void add_input(struct change *c, const struct nb_onnx_node *dq)
{
    c->inputs[c->n++] = dq->inputs[0];
    add_grid(c, dq);
}

/* A bias that is added to integer sums as it is, or none. */
static bool bias_fits(const struct nb_edit *e, const struct nb_onnx_node *n, const char **bias)
{
    *bias = NULL;
    if (n->n_inputs < 3 || n->inputs[2][0] == '\0')
        return true;
    const struct nb_onnx_node *dq = dequantizer(e, n->inputs[2]);
    const struct nb_onnx_tensor *t = dq != NULL ? nb_edit_tensor(e, dq->inputs[0]) : NULL;
    *bias = t != NULL && t->type == NB_ONNX_INT32 ? dq->inputs[0] : NULL;
    return *bias != NULL;
}

static bool list_layer(struct change *c)
{
    const struct nb_onnx_node *n = &c->e->nodes[c->node], *q = &c->e->nodes[c->quantize];
    const char *bias;
    if (!bias_fits(c->e, n, &bias))
        return false;
    for (size_t k = 0; k < 2; k++)
        add_input(c, dequantizer(c->e, n->inputs[k]));
    if (c->form->order == ORDER_GEMM)
        c->inputs[c->n++] = bias != NULL ? bias : "";
    add_grid(c, q);
    if (c->form->order == ORDER_LAYER && bias != NULL)
        c->inputs[c->n++] = bias;
    return true;
}

static bool list_move(struct change *c)
{
    const struct nb_onnx_node *n = &c->e->nodes[c->node], *q = &c->e->nodes[c->quantize];
    const struct nb_onnx_node *dq = dequantizer(c->e, n->inputs[0]);
    if (n->n_outputs != 1 || c->skipped != SIZE_MAX ||
        !same_number(c->e, dq->inputs[1], q->inputs[1]) ||
        !same_number(c->e, dq->inputs[2], q->inputs[2]))
        return false;
    c->inputs[c->n++] = dq->inputs[0];
    for (size_t k = 1; k < n->n_inputs; k++)
        c->inputs[c->n++] = n->inputs[k];
    return true;
}

static bool list_inputs(struct change *c)
{
    const struct nb_onnx_node *n = &c->e->nodes[c->node], *q = &c->e->nodes[c->quantize];
    if (c->form->order == ORDER_MOVE)
        return list_move(c);
    if (c->form->order == ORDER_LAYER || c->form->order == ORDER_GEMM)
        return list_layer(c);
    if (c->form->order == ORDER_CONCAT)
        add_grid(c, q);
    for (size_t k = 0; k < n->n_inputs; k++)
        add_input(c, dequantizer(c->e, n->inputs[k]));
    if (c->form->order == ORDER_INPUTS)
        add_grid(c, q);
    return true;
}

static bool has_grids(const struct nb_edit *e, const struct nb_onnx_node *n, const struct form *f)
{
    const size_t want = f->n_grids != 0 ? f->n_grids : n->n_inputs;
    if (n->n_inputs < want || n->n_outputs < 1)
        return false;
    for (size_t k = 0; k < want; k++)
        if (dequantizer(e, n->inputs[k]) == NULL)
            return false;
    return true;
}

/* QGemm's bias is one number for each column, its beta 1. */
static bool attributes_fit(const struct nb_onnx_node *n)
{
    const struct nb_onnx_attr *beta = nb_onnx_find_attr(n, "beta");
    return !nb_str_eq(n->op_type, "Gemm") || beta == NULL || beta->f == 1.0F;
}

/* Attributes that the integer operator has: Gemm's beta is not one of them. */
static enum nb_status keep_attributes(struct nb_edit *e, struct nb_onnx_node *n,
                                      struct nb_error *err)
{
    struct nb_onnx_attr *attrs = nb_arena_alloc(&e->arena, n->n_attrs + 1, sizeof *attrs);
    size_t count = 0;
    if (attrs == NULL)
        return no_memory(err);
    for (size_t i = 0; i < n->n_attrs; i++)
        if (!nb_str_eq(n->attrs[i].name, "beta"))
            attrs[count++] = n->attrs[i];
    n->attrs = attrs;
    n->n_attrs = count;
    return NB_OK;
}

static enum nb_status change_node(struct nb_edit *e, size_t i, const struct nb_ptq_options *o,
                                  bool *domain, struct nb_error *err)
{
    struct change c = {.e = e, .node = i, .form = form_of(&e->nodes[i])};
    if (c.form == NULL || !has_grids(e, &e->nodes[i], c.form) || !attributes_fit(&e->nodes[i]) ||
        nb_ptq_is_kept(&e->nodes[i], o->keep, o->n_keep))
        return NB_OK;
    c.quantize = quantizer(e, i, &c.skipped);
    if (c.quantize == SIZE_MAX)
        return NB_OK;
    c.inputs = nb_arena_alloc(&e->arena, 3 * e->nodes[i].n_inputs + 4, sizeof *c.inputs);
    if (c.inputs == NULL)
        return no_memory(err);
    if (!list_inputs(&c))
        return NB_OK;
    struct nb_onnx_node *n = &e->nodes[i];
    n->op_type = c.form->integer;
    n->domain = c.form->domain;
    n->inputs = c.inputs;
    n->n_inputs = c.n;
    *domain = *domain || c.form->domain[0] != '\0';
    NB_TRY(keep_attributes(e, n, err));
    NB_TRY(nb_edit_set_output(e, i, 0, e->nodes[c.quantize].outputs[0], err));
    nb_edit_drop(e, c.quantize);
    if (c.skipped != SIZE_MAX)
        nb_edit_drop(e, c.skipped);
    return NB_OK;
}

/* Was it left in float to meet a bound? */
static bool stays(const struct nb_ptq_report *r, size_t node)
{
    for (size_t i = 0; i < r->n_stay; i++)
        if (r->stay[i].node == node)
            return true;
    return false;
}

enum nb_status nb_ptq_qoperator(struct nb_edit *e, const struct nb_ptq_options *o,
                                const struct nb_ptq_report *report, struct nb_error *err)
{
    bool domain = false;
    for (size_t i = 0; i < e->n_nodes; i++)
        if (!stays(report, i))
            NB_TRY(change_node(e, i, o, &domain, err));
    for (size_t i = 0; i < e->n_nodes; i++) {
        size_t reader;
        if (e->nodes[i].op_type != NULL && nb_str_eq(e->nodes[i].op_type, "DequantizeLinear") &&
            nb_edit_readers(e, e->nodes[i].outputs[0], &reader) == 0)
            nb_edit_drop(e, i);
    }
    return domain ? nb_edit_import_domain(e, DOMAIN, 1, err) : NB_OK;
}
