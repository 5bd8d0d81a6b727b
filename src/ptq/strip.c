/* ptq/strip.c: the float net of a QDQ model: no nodes between values, and constants that are exactly on their grids. Together
 * with its encodings (encodings.c) it says what the QDQ model says, for tools that insert the nodes themselves.
 */
#include <string.h>

#include "ptq/ptq_internal.h"

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a float net");
}

/* Elements that share a scale lie behind each other in runs of this length. */
static uint64_t run_of(const struct nb_onnx_tensor *t, const struct nb_onnx_node *dq)
{
    const struct nb_onnx_attr *axis = nb_onnx_find_attr(dq, "axis");
    uint64_t n = 1;
    for (size_t i = axis != NULL ? (size_t)axis->i + 1 : 0; i < t->rank; i++)
        n *= (uint64_t)t->dims[i];
    return NB_MAX(n, (uint64_t)1);
}

static enum nb_status floats_of(struct nb_edit *e, const struct nb_onnx_node *dq,
                                const struct nb_onnx_tensor *q, float **out, struct nb_error *err)
{
    const struct nb_onnx_tensor *scale = nb_edit_tensor(e, dq->inputs[1]);
    const struct nb_onnx_tensor *zero = nb_edit_tensor(e, dq->inputs[2]);
    const uint64_t run = run_of(q, dq);
    float *x = nb_arena_alloc(&e->arena, (size_t)q->n + 1, sizeof *x);
    if (x == NULL)
        return no_memory(err);
    for (uint64_t i = 0; i < q->n; i++) {
        const uint64_t c = scale->n > 1 ? i / run % scale->n : 0;
        x[i] = (float)((nb_ptq_number(q, i) - nb_ptq_number(zero, c)) * nb_ptq_number(scale, c));
    }
    *out = x;
    return NB_OK;
}

/* Input k of node i, which a DequantizeLinear makes, as it was; name NULL: it is new. */
static enum nb_status restore_input(struct nb_edit *e, size_t i, size_t k, const char *name,
                                    const struct nb_onnx_node *dq, struct nb_error *err)
{
    const struct nb_onnx_tensor *found = nb_edit_tensor(e, dq->inputs[0]);
    uint64_t at;
    float *x = NULL;
    if (found == NULL) /* an activation, or a float weight with a pair of nodes behind it */
        return name != NULL ? nb_edit_set_input(e, i, k, name, err) : NB_OK;
    const struct nb_onnx_tensor q = *found;
    NB_TRY(floats_of(e, dq, &q, &x, err));
    if (name == NULL) {
        name = nb_edit_name(e, q.name, "_float");
        NB_TRY(nb_edit_put(e, name, NB_ONNX_FLOAT32, q.dims, q.rank, x, err));
    } else if (nb_map_get(&e->tensor_of, name, strlen(name), &at)) {
        const void *bytes = x;
        e->tensors[at].data = bytes;
    }
    return nb_edit_set_input(e, i, k, name, err);
}

static bool is_pair(const char *op)
{
    return nb_str_eq(op, "QuantizeLinear") || nb_str_eq(op, "DequantizeLinear");
}

enum nb_status nb_ptq_strip(struct nb_edit *e, const struct nb_onnx_model *simple,
                            struct nb_error *err)
{
    const struct nb_onnx_graph *g = &simple->graph;
    for (size_t i = 0; i < g->n_nodes; i++) {
        for (size_t k = 0; k < e->nodes[i].n_inputs; k++) {
            const char *have = e->nodes[i].inputs[k];
            const size_t by = have[0] != '\0' ? nb_edit_producer(e, have) : SIZE_MAX;
            if (by == SIZE_MAX || by < g->n_nodes || !is_pair(e->nodes[by].op_type))
                continue;
            const struct nb_onnx_node dq = e->nodes[by];
            NB_TRY(restore_input(e, i, k, k < g->nodes[i].n_inputs ? g->nodes[i].inputs[k] : NULL,
                                 &dq, err));
        }
        for (size_t k = 0; k < e->nodes[i].n_outputs; k++)
            if (!nb_str_eq(e->nodes[i].outputs[k], g->nodes[i].outputs[k]))
                NB_TRY(nb_edit_set_output(e, i, k, g->nodes[i].outputs[k], err));
    }
    for (size_t i = g->n_nodes; i < e->n_nodes; i++)
        if (e->nodes[i].op_type != NULL && is_pair(e->nodes[i].op_type))
            nb_edit_drop(e, i);
    return NB_OK;
}
