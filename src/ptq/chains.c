/* ptq/chains.c: sums and products of numbers that are better left in floats, though they have an integer form.
 *
 * A grid in the middle of a function costs a rounding and gains nothing, for what stands around it is computed in
 * floats anyway; and engines know such functions, and whole norms, by their float nodes. So these stay float:
 *
 *   - what computes a function of one value with an operator that has no integer form: x Erf(x / sqrt 2) ... of a GELU;
 *   - what scales and shifts the result of such an operator by constants: the end of a norm written out;
 *   - what neither reads nor feeds anything in integers: the squares of a norm;
 *   - what stands between a product and a Softmax that is multiplied, that is attention's scores: their scale, and the
 *     mask, whose -1e38 or -10000 would take the whole grid. That Softmax reads floats then;
 *   - the sums between norms: a residual stream would gather the noise of a grid in each block.
 *
 * Left out: functions of several values (gates).
 */
#include "ptq/ptq_internal.h"

#define NONE SIZE_MAX

/* Nodes of an edit. Borrows: all. */
struct chains {
    struct nb_ptq_plan *p;
    const struct nb_edit *e;
    const char **source; /* (nodes) the value that it is a function of; NULL: of several */
};

static bool is_one_of(const char *op, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (nb_str_eq(op, list[i]))
            return true;
    return false;
}

bool nb_ptq_is_curve(const struct nb_onnx_node *n)
{
    static const char *const ops[] = {
        "Abs", "Div", "Elu",  "Erf",  "Exp",      "Gelu",     "HardSigmoid", "Log", "Mish",
        "Neg", "Pow", "Selu", "Sqrt", "Softplus", "Softsign", "Reciprocal",  "Sub", "Tanh"};
    return is_one_of(n->op_type, ops, NB_COUNTOF(ops));
}

bool nb_ptq_is_norm(const struct nb_onnx_node *n)
{
    static const char *const ops[] = {"LayerNormalization", "RMSNormalization",
                                      "SimplifiedLayerNormalization"};
    return is_one_of(n->op_type, ops, NB_COUNTOF(ops));
}

static bool is_curve(const struct nb_ptq_plan *p, const struct nb_edit *e, size_t i)
{
    return p->kinds[i] == NB_PTQ_OTHER && nb_ptq_is_curve(&e->nodes[i]);
}

static bool is_arithmetic(const struct nb_onnx_node *n)
{
    return nb_str_eq(n->op_type, "Add") || nb_str_eq(n->op_type, "Mul");
}

static bool is_bound(const struct nb_onnx_node *n)
{
    return nb_str_eq(n->op_type, "Relu") || nb_str_eq(n->op_type, "Clip");
}

/* The one value that node i is a function of. */
static const char *source_of(const struct chains *c, size_t i)
{
    const struct nb_onnx_node *n = &c->e->nodes[i];
    const char *source = NULL;
    if (!is_curve(c->p, c->e, i) && !is_arithmetic(n) && !is_bound(n) &&
        !nb_str_eq(n->op_type, "Sigmoid"))
        return NULL;
    for (size_t k = 0; k < n->n_inputs; k++) {
        const struct nb_onnx_tensor *t =
            n->inputs[k][0] != '\0' ? nb_edit_tensor(c->e, n->inputs[k]) : NULL;
        if (n->inputs[k][0] == '\0' || (t != NULL && t->n == 1))
            continue;
        if (t != NULL)
            return NULL;
        const size_t maker = nb_edit_producer(c->e, n->inputs[k]);
        const char *s = maker != NONE && c->source[maker] != NULL ? c->source[maker] : n->inputs[k];
        if (source != NULL && !nb_str_eq(source, s))
            return NULL;
        source = s;
    }
    return source;
}

static void leave(struct chains *c, size_t i)
{
    c->p->kinds[i] = NB_PTQ_OTHER;
}

/* All of one function, but the Relu of a layer before it. */
static void leave_function(struct chains *c, const char *source)
{
    for (size_t i = 0; i < c->e->n_nodes; i++)
        if (c->p->kinds[i] == NB_PTQ_POINT && nb_str_eq(c->source[i], source) &&
            !(is_bound(&c->e->nodes[i]) && nb_str_eq(c->e->nodes[i].inputs[0], source)))
            leave(c, i);
}

/* ---- what feeds what ---- */

/* Is what an arithmetic node reads constant, or made by a curve, a norm, or what stays float? */
static bool ends_curve(const struct chains *c, const bool *was, size_t i)
{
    const struct nb_onnx_node *n = &c->e->nodes[i];
    size_t n_constant = 0;
    for (size_t k = 0; k < n->n_inputs; k++) {
        const size_t maker = nb_edit_producer(c->e, n->inputs[k]);
        if (nb_edit_tensor(c->e, n->inputs[k]) != NULL)
            n_constant++;
        else if (maker == NONE ||
                 !(is_curve(c->p, c->e, maker) || nb_ptq_is_norm(&c->e->nodes[maker]) ||
                   (was[maker] && c->p->kinds[maker] == NB_PTQ_OTHER)))
            return false;
    }
    return n_constant == 1;
}

static bool reads(const struct nb_onnx_node *n, const char *name)
{
    for (size_t k = 0; k < n->n_inputs; k++)
        if (nb_str_eq(n->inputs[k], name))
            return true;
    return false;
}

/* Are all that read it, and there are some, in floats? */
static bool read_in_floats(const struct chains *c, const char *name)
{
    bool any = false;
    for (size_t i = 0; i < c->e->n_nodes; i++) {
        if (c->e->nodes[i].op_type == NULL || !reads(&c->e->nodes[i], name))
            continue;
        if (c->p->kinds[i] != NB_PTQ_OTHER)
            return false;
        any = true;
    }
    return any && !nb_edit_is_output(c->e, name);
}

static bool made_in_floats(const struct chains *c, size_t i)
{
    const struct nb_onnx_node *n = &c->e->nodes[i];
    for (size_t k = 0; k < n->n_inputs; k++) {
        const size_t maker = nb_edit_producer(c->e, n->inputs[k]);
        if (nb_edit_tensor(c->e, n->inputs[k]) == NULL &&
            (maker == NONE || c->p->kinds[maker] != NB_PTQ_OTHER))
            return false;
    }
    return true;
}

/* ---- attention ---- */

bool nb_ptq_is_attention(const struct nb_edit *e, size_t i)
{
    const struct nb_onnx_node *n = &e->nodes[i];
    size_t reader;
    return nb_str_eq(n->op_type, "Softmax") && nb_edit_readers(e, n->outputs[0], &reader) == 1 &&
           reader != NONE && nb_str_eq(e->nodes[reader].op_type, "MatMul");
}

/* From a Softmax back to the product. */
static void leave_scores(struct chains *c, size_t i)
{
    for (size_t at = i;;) {
        const struct nb_onnx_node *n = &c->e->nodes[at];
        size_t next = NONE, reader;
        for (size_t k = 0; k < n->n_inputs && (k == 0 || at != i); k++) {
            const size_t maker = nb_edit_producer(c->e, n->inputs[k]);
            if (maker != NONE && c->p->kinds[maker] == NB_PTQ_POINT &&
                is_arithmetic(&c->e->nodes[maker]) &&
                nb_edit_readers(c->e, n->inputs[k], &reader) == 1)
                next = maker;
        }
        if (next == NONE)
            return;
        leave(c, next);
        leave(c, i);
        at = next;
    }
}

/* ---- the residual stream ---- */

/* Is it what a norm begins with, whole or written out? */
static bool begins_norm(const struct nb_onnx_node *n)
{
    return nb_ptq_is_norm(n) || nb_str_eq(n->op_type, "ReduceMean");
}

static bool read_by_norm(const struct chains *c, const char *name)
{
    for (size_t i = 0; i < c->e->n_nodes; i++)
        if (begins_norm(&c->e->nodes[i]) && reads(&c->e->nodes[i], name))
            return true;
    return false;
}

/* Is it a sum that a norm reads, or one more on top of such a sum, and is all that reads it in floats? */
static bool is_stream(const struct chains *c, const bool *stream, size_t i)
{
    const struct nb_onnx_node *n = &c->e->nodes[i];
    bool is = read_by_norm(c, n->outputs[0]);
    if (!nb_str_eq(n->op_type, "Add"))
        return false;
    for (size_t k = 0; k < n->n_inputs; k++) {
        const struct nb_onnx_tensor *t = nb_edit_tensor(c->e, n->inputs[k]);
        if (t != NULL && t->rank < 2) /* a bias, the layer's before it */
            return false;
        is = is || read_by_norm(c, n->inputs[k]);
    }
    for (size_t k = 0; k < c->e->n_nodes; k++) {
        if (c->e->nodes[k].op_type == NULL || !reads(&c->e->nodes[k], n->outputs[0]))
            continue;
        if (c->p->kinds[k] != NB_PTQ_OTHER)
            return false;
        is = is || stream[k];
    }
    return is;
}

static void leave_stream(struct chains *c, bool *stream)
{
    for (size_t i = c->e->n_nodes; i-- > 0;) /* readers first */
        if (c->p->kinds[i] == NB_PTQ_POINT && is_stream(c, stream, i)) {
            stream[i] = true;
            leave(c, i);
        }
}

enum nb_status nb_ptq_leave_chains(struct nb_ptq_plan *p, struct nb_edit *e, struct nb_error *err)
{
    struct chains c = {p, e, nb_arena_alloc(&e->arena, e->n_nodes + 1, sizeof *c.source)};
    bool *was = nb_arena_alloc(&e->arena, e->n_nodes + 1, sizeof *was); /* had an integer form */
    bool *stream = nb_arena_alloc(&e->arena, e->n_nodes + 1, sizeof *stream);
    if (c.source == NULL || was == NULL || stream == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to plan a net");
    for (size_t i = 0; i < e->n_nodes; i++) { /* makers first */
        was[i] = p->kinds[i] == NB_PTQ_POINT && is_arithmetic(&e->nodes[i]);
        c.source[i] = e->nodes[i].op_type != NULL ? source_of(&c, i) : NULL;
    }
    for (size_t i = 0; i < e->n_nodes; i++)
        if (e->nodes[i].op_type != NULL && c.source[i] != NULL && is_curve(p, e, i))
            leave_function(&c, c.source[i]);
    for (size_t i = 0; i < e->n_nodes; i++) {
        if (p->kinds[i] == NB_PTQ_POINT && nb_ptq_is_attention(e, i))
            leave_scores(&c, i);
        if (was[i] && (ends_curve(&c, was, i) ||
                       (made_in_floats(&c, i) && read_in_floats(&c, e->nodes[i].outputs[0]))))
            leave(&c, i);
    }
    leave_stream(&c, stream);
    return NB_OK;
}
