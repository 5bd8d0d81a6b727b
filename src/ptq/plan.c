/* ptq/plan.c: which values get a grid, and which of them one grid together.
 *
 * A layer and the Relu or Clip behind it are one: what lies between gets no grid. So are a product and the constant that
 * is added to each of its columns, unless integer operators are wanted, which have no such product. What only moves elements, and the
 * parts of a Concat, share the grid of what they move. (ONNX Runtime's and TFLite's rules; handling of Softmax
 * and Sigmoid, whose range is known, as in TFLite's quantization specification.)
 */
#include <string.h>

#include "ptq/ptq_internal.h"

static const struct {
    const char *op;
    enum nb_ptq_kind kind;
} table[] = {
    {"Conv", NB_PTQ_WEIGHTED},
    {"Gemm", NB_PTQ_WEIGHTED},
    {"MatMul", NB_PTQ_WEIGHTED},
    {"Add", NB_PTQ_POINT},
    {"Mul", NB_PTQ_POINT},
    {"AveragePool", NB_PTQ_POINT},
    {"GlobalAveragePool", NB_PTQ_POINT},
    {"Relu", NB_PTQ_POINT},
    {"Clip", NB_PTQ_POINT},
    {"LeakyRelu", NB_PTQ_POINT},
    {"Sigmoid", NB_PTQ_POINT},
    {"Softmax", NB_PTQ_POINT},
    {"MaxPool", NB_PTQ_SAME},
    {"Reshape", NB_PTQ_SAME},
    {"Transpose", NB_PTQ_SAME},
    {"Flatten", NB_PTQ_SAME},
    {"Squeeze", NB_PTQ_SAME},
    {"Unsqueeze", NB_PTQ_SAME},
    {"Slice", NB_PTQ_SAME},
    {"Split", NB_PTQ_SAME},
    {"Gather", NB_PTQ_SAME},
    {"Concat", NB_PTQ_SAME},
};

static enum nb_ptq_kind kind_of(const struct nb_onnx_node *n)
{
    const bool own = n->domain == NULL || n->domain[0] == '\0' || nb_str_eq(n->domain, "ai.onnx");
    for (size_t i = 0; i < NB_COUNTOF(table) && own && n->op_type != NULL; i++)
        if (nb_str_eq(table[i].op, n->op_type))
            return table[i].kind;
    return NB_PTQ_OTHER;
}

bool nb_ptq_is_kept(const struct nb_onnx_node *n, const char *const *keep, size_t n_keep)
{
    for (size_t i = 0; i < n_keep; i++)
        if (nb_str_eq(keep[i], n->name) || nb_str_eq(keep[i], n->op_type))
            return true;
    return false;
}

struct nb_ptq_tensor *nb_ptq_find(const struct nb_ptq_plan *p, const char *name)
{
    uint64_t i;
    return name != NULL && nb_map_get(&p->index, name, strlen(name), &i) ? &p->tensors[i] : NULL;
}

const struct nb_ptq_tensor *nb_ptq_root(const struct nb_ptq_plan *p, const struct nb_ptq_tensor *t)
{
    while (&p->tensors[t->group] != t)
        t = &p->tensors[t->group];
    return t;
}

static void join(struct nb_ptq_plan *p, const struct nb_ptq_tensor *a,
                 const struct nb_ptq_tensor *b)
{
    const struct nb_ptq_tensor *ra = nb_ptq_root(p, a), *rb = nb_ptq_root(p, b);
    p->tensors[rb - p->tensors].group = (uint32_t)(ra - p->tensors);
}

/* ---- the values that were seen ---- */

static enum nb_status add_tensors(struct nb_ptq_plan *p, struct nb_edit *e,
                                  const struct nb_net *net, const struct nb_observed_net *seen,
                                  struct nb_error *err)
{
    p->tensors = nb_arena_alloc(&e->arena, net->g.n_values + 1, sizeof *p->tensors);
    p->kinds = nb_arena_alloc(&e->arena, e->n_nodes + 1, sizeof *p->kinds);
    p->fused = nb_arena_alloc(&e->arena, e->n_nodes + 1, sizeof *p->fused);
    if (p->tensors == NULL || p->kinds == NULL || p->fused == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory to plan a net");
    for (uint32_t v = 1; v < net->g.n_values; v++) {
        const char *of_net = net->g.values[v].name; /* which does not outlive the net */
        if (!seen->seen[v].any || nb_ptq_find(p, of_net) != NULL)
            continue;
        const char *name = nb_arena_strndup(&e->arena, of_net, strlen(of_net));
        if (name == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory to plan a net");
        p->tensors[p->n] =
            (struct nb_ptq_tensor){.name = name, .value = v, .group = (uint32_t)p->n};
        if (nb_map_put(&p->index, name, strlen(name), p->n) != NB_OK)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory to plan a net");
        p->n++;
    }
    return NB_OK;
}

/* ---- which nodes ---- */

static bool is_float_tensor(const struct nb_edit *e, const char *name)
{
    const struct nb_onnx_tensor *t = nb_edit_tensor(e, name);
    return t != NULL && t->type == NB_ONNX_FLOAT32;
}

/* Two inputs, each an activation that was seen or a constant; one activation at least. */
static bool operands_known(const struct nb_ptq_plan *p, const struct nb_edit *e,
                           const struct nb_onnx_node *n)
{
    bool any = false;
    for (size_t i = 0; i < 2; i++) {
        const bool seen = n->n_inputs > i && nb_ptq_find(p, n->inputs[i]) != NULL;
        if (!seen && !(n->n_inputs > i && is_float_tensor(e, n->inputs[i])))
            return false;
        any = any || seen;
    }
    return any;
}

static bool can_be(const struct nb_ptq_plan *p, const struct nb_edit *e,
                   const struct nb_onnx_node *n)
{
    const bool two = nb_str_eq(n->op_type, "Add") || nb_str_eq(n->op_type, "Mul") ||
                     nb_str_eq(n->op_type, "MatMul");
    if (n->n_inputs == 0 || n->n_outputs == 0 || nb_ptq_find(p, n->outputs[0]) == NULL)
        return false;
    if (two)
        return operands_known(p, e, n);
    if (nb_ptq_find(p, n->inputs[0]) == NULL)
        return false;
    if (nb_str_eq(n->op_type, "Conv") || nb_str_eq(n->op_type, "Gemm"))
        return n->n_inputs > 1 && is_float_tensor(e, n->inputs[1]);
    return true;
}

size_t nb_ptq_bias_add(const struct nb_edit *e, const struct nb_onnx_node *n, size_t *side)
{
    const struct nb_onnx_tensor *w = nb_str_eq(n->op_type, "MatMul") && n->n_inputs == 2
                                         ? nb_edit_tensor(e, n->inputs[1])
                                         : NULL;
    size_t reader;
    if (w == NULL || w->rank != 2 || nb_edit_readers(e, n->outputs[0], &reader) != 1 ||
        reader == SIZE_MAX || !nb_str_eq(e->nodes[reader].op_type, "Add"))
        return SIZE_MAX;
    for (*side = 0; *side < 2; ++*side) {
        const char *name = e->nodes[reader].inputs[*side];
        const struct nb_onnx_tensor *b = name[0] != '\0' ? nb_edit_tensor(e, name) : NULL;
        if (b != NULL && b->type == NB_ONNX_FLOAT32 && b->rank == 1 && b->dims[0] == w->dims[1] &&
            b->data != NULL)
            return reader;
    }
    return SIZE_MAX;
}

/* The reader of a layer's output that belongs to it; SIZE_MAX: none. */
static size_t fused_reader(const struct nb_ptq_plan *p, const struct nb_edit *e,
                           const struct nb_onnx_node *n)
{
    size_t reader, side;
    if (nb_str_eq(n->op_type, "MatMul"))
        return p->joins_bias ? nb_ptq_bias_add(e, n, &side) : SIZE_MAX;
    if (!nb_str_eq(n->op_type, "Conv") && !nb_str_eq(n->op_type, "Gemm") &&
        !nb_str_eq(n->op_type, "Add"))
        return SIZE_MAX;
    if (nb_edit_readers(e, n->outputs[0], &reader) != 1 || reader == SIZE_MAX)
        return SIZE_MAX;
    const char *op = e->nodes[reader].op_type;
    return nb_str_eq(op, "Relu") || nb_str_eq(op, "Clip") ? reader : SIZE_MAX;
}

static void quantize_name(struct nb_ptq_plan *p, const char *name)
{
    struct nb_ptq_tensor *t = nb_ptq_find(p, name);
    if (t != NULL)
        t->quantized = true;
}

/* The node whose Relu, Clip or bias this is; SIZE_MAX: nobody's. */
static size_t layer_before(const struct nb_ptq_plan *p, const struct nb_edit *e, size_t i)
{
    const struct nb_onnx_node *n = &e->nodes[i];
    if (n->op_type == NULL)
        return SIZE_MAX;
    for (size_t k = 0; k < NB_MIN(n->n_inputs, (size_t)2); k++) {
        const size_t maker = nb_edit_producer(e, n->inputs[k]);
        if (maker != SIZE_MAX && fused_reader(p, e, &e->nodes[maker]) == i)
            return maker;
    }
    return SIZE_MAX;
}

static bool is_fused(const struct nb_ptq_plan *p, const struct nb_edit *e, size_t i)
{
    const size_t maker = layer_before(p, e, i);
    return maker != SIZE_MAX && p->kinds[maker] != NB_PTQ_OTHER;
}

bool nb_ptq_is_unit(const struct nb_ptq_plan *p, size_t i)
{
    return (p->kinds[i] == NB_PTQ_WEIGHTED || p->kinds[i] == NB_PTQ_POINT) && !p->fused[i];
}

static void mark_node(struct nb_ptq_plan *p, const struct nb_edit *e, size_t i, bool outputs)
{
    const struct nb_onnx_node *n = &e->nodes[i];
    const size_t n_in =
        nb_str_eq(n->op_type, "Concat") ? n->n_inputs : NB_MIN(n->n_inputs, (size_t)2);
    for (size_t k = 0; k < n_in && !p->fused[i]; k++)
        quantize_name(p, n->inputs[k]);
    const size_t reader = outputs ? fused_reader(p, e, n) : SIZE_MAX;
    if (outputs && (reader == SIZE_MAX || !p->fused[reader]))
        for (size_t k = 0; k < n->n_outputs; k++)
            quantize_name(p, n->outputs[k]);
}

/* What moves elements of a value that has a grid. */
static void mark_moves(struct nb_ptq_plan *p, const struct nb_edit *e, size_t i)
{
    const struct nb_onnx_node *n = &e->nodes[i];
    const bool all = nb_str_eq(n->op_type, "Concat");
    const struct nb_ptq_tensor *first = nb_ptq_find(p, n->inputs[0]);
    bool any = false;
    for (size_t k = 0; k < (all ? n->n_inputs : 1); k++) {
        const struct nb_ptq_tensor *t = nb_ptq_find(p, n->inputs[k]);
        if (t == NULL) { /* a constant among them */
            p->kinds[i] = NB_PTQ_OTHER;
            return;
        }
        any = any || t->quantized;
    }
    if (!any) {
        p->kinds[i] = NB_PTQ_OTHER;
        return;
    }
    for (size_t k = 0; k < (all ? n->n_inputs : 1); k++) {
        quantize_name(p, n->inputs[k]);
        join(p, first, nb_ptq_find(p, n->inputs[k]));
    }
    for (size_t k = 0; k < n->n_outputs; k++) {
        const struct nb_ptq_tensor *t = nb_ptq_find(p, n->outputs[k]);
        if (t == NULL)
            continue;
        quantize_name(p, n->outputs[k]);
        join(p, first, t);
    }
}

/* Does it stay float? A layer's Relu does as the layer does. */
static bool stays(const struct nb_ptq_plan *p, const struct nb_edit *e, size_t i,
                  const struct nb_ptq_options *o, const bool *stay)
{
    const size_t layer = layer_before(p, e, i);
    if (nb_ptq_is_kept(&e->nodes[i], o->keep, o->n_keep))
        return true;
    if (layer != SIZE_MAX && kind_of(&e->nodes[layer]) != NB_PTQ_OTHER)
        return stays(p, e, layer, o, stay);
    return stay != NULL && stay[i];
}

static enum nb_status mark_all(struct nb_ptq_plan *p, struct nb_edit *e,
                               const struct nb_ptq_options *o, const bool *stay,
                               struct nb_error *err)
{
    const bool inputs_only = o->profile == NB_PTQ_TENSORRT;
    p->joins_bias = o->format != NB_PTQ_QOPERATOR;
    for (size_t i = 0; i < e->n_nodes; i++) {
        const struct nb_onnx_node *n = &e->nodes[i];
        p->kinds[i] = n->op_type == NULL || stays(p, e, i, o, stay) ? NB_PTQ_OTHER : kind_of(n);
        if (p->kinds[i] != NB_PTQ_OTHER && !can_be(p, e, n))
            p->kinds[i] = NB_PTQ_OTHER;
        if (inputs_only && p->kinds[i] != NB_PTQ_WEIGHTED)
            p->kinds[i] = NB_PTQ_OTHER;
    }
    NB_TRY(nb_ptq_leave_chains(p, e, err));
    for (size_t i = 0; i < e->n_nodes; i++)
        p->fused[i] = p->kinds[i] != NB_PTQ_OTHER && is_fused(p, e, i);
    for (size_t i = 0; i < e->n_nodes; i++)
        if (p->kinds[i] == NB_PTQ_WEIGHTED || p->kinds[i] == NB_PTQ_POINT)
            mark_node(p, e, i, !inputs_only);
    for (size_t i = 0; i < e->n_nodes; i++) /* in the file's order: makers first */
        if (p->kinds[i] == NB_PTQ_SAME)
            mark_moves(p, e, i);
    return NB_OK;
}

/* ---- grids ---- */

/* Not attention's: of 1,500 weights that sum to 1 most round to nothing on such a grid. */
static bool unit_range(const struct nb_edit *e, const char *name)
{
    const size_t maker = nb_edit_producer(e, name);
    return maker != SIZE_MAX &&
           (nb_str_eq(e->nodes[maker].op_type, "Softmax") ||
            nb_str_eq(e->nodes[maker].op_type, "Sigmoid")) &&
           !nb_ptq_is_attention(e, maker);
}

static void find_bounds(struct nb_ptq_plan *p, const struct nb_edit *e,
                        const struct nb_observed_net *seen, const struct nb_ptq_options *o)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct nb_ptq_tensor *t = &p->tensors[i];
        if (!t->quantized)
            continue;
        struct nb_ptq_bounds b =
            nb_ptq_bounds(&seen->seen[t->value], o, nb_ptq_activation_codes(o));
        if (unit_range(e, t->name))
            b = (struct nb_ptq_bounds){0.0, 1.0};
        struct nb_ptq_bounds *root = &p->tensors[nb_ptq_root(p, t) - p->tensors].bounds;
        root->low = NB_MIN(root->low, b.low);
        root->high = NB_MAX(root->high, b.high);
    }
}

struct nb_ptq_grid nb_ptq_grid_of(const struct nb_ptq_plan *p, const struct nb_ptq_tensor *t,
                                  const struct nb_ptq_options *o)
{
    return nb_ptq_fit(nb_ptq_root(p, t)->bounds, nb_ptq_activation_codes(o));
}

enum nb_status nb_ptq_plan(struct nb_ptq_plan *p, struct nb_edit *e, const struct nb_net *net,
                           const struct nb_observed_net *seen, const struct nb_ptq_options *o,
                           const bool *stay, struct nb_error *err)
{
    memset(p, 0, sizeof *p);
    nb_map_init(&p->index, e->a);
    enum nb_status st = add_tensors(p, e, net, seen, err);
    if (st == NB_OK)
        st = mark_all(p, e, o, stay, err);
    if (st != NB_OK) {
        nb_ptq_plan_fini(p);
        return st;
    }
    find_bounds(p, e, seen, o);
    return NB_OK;
}

void nb_ptq_plan_fini(struct nb_ptq_plan *p)
{
    nb_map_fini(&p->index);
}
