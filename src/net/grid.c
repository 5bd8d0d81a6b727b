/* net/grid.c: on which grid of integers a value of a model lies, by the QuantizeLinear that makes it or the
 * DequantizeLinear that reads it; where a value goes on once it was rounded.
 *
 * One scale for the whole value, a constant, is found; scales for each channel are those of weights.
 */
#include "net/net.h"

#include <string.h>

static bool is(const struct nb_onnx_node *n, const char *op)
{
    return n->op_type != NULL && strcmp(n->op_type, op) == 0;
}

static const struct nb_onnx_tensor *constant(const struct nb_onnx_model *m, const char *name)
{
    const struct nb_onnx_graph *g = &m->graph;
    for (size_t i = 0; i < g->n_initializers; i++)
        if (strcmp(g->initializers[i].name, name) == 0)
            return &g->initializers[i];
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct nb_onnx_node *n = &g->nodes[i];
        const struct nb_onnx_attr *a = is(n, "Constant") ? nb_onnx_find_attr(n, "value") : NULL;
        if (a != NULL && a->type == NB_ONNX_ATTR_TENSOR && n->n_outputs == 1 &&
            strcmp(n->outputs[0], name) == 0)
            return a->t;
    }
    return NULL;
}

static bool read_grid(const struct nb_onnx_model *m, const struct nb_onnx_node *n,
                      struct nb_net_grid *out)
{
    const bool with_zero = n->n_inputs > 2 && n->inputs[2][0] != '\0';
    const struct nb_onnx_tensor *scale = n->n_inputs > 1 ? constant(m, n->inputs[1]) : NULL;
    const struct nb_onnx_tensor *zero = with_zero ? constant(m, n->inputs[2]) : NULL;
    if (scale == NULL || scale->n != 1 || scale->data == NULL || scale->type != NB_ONNX_FLOAT32)
        return false;
    memcpy(&out->scale, scale->data, sizeof out->scale);
    out->zero = 0;
    if (!with_zero)
        return true;
    if (zero == NULL || zero->n != 1 || zero->data == NULL)
        return false;
    if (zero->type == NB_ONNX_INT8)
        out->zero = (int8_t)zero->data[0];
    else if (zero->type == NB_ONNX_UINT8)
        out->zero = zero->data[0];
    else
        return false;
    return true;
}

static const struct nb_onnx_node *maker(const struct nb_onnx_model *m, const char *value)
{
    for (size_t i = 0; i < m->graph.n_nodes; i++)
        for (size_t k = 0; k < m->graph.nodes[i].n_outputs; k++)
            if (strcmp(m->graph.nodes[i].outputs[k], value) == 0)
                return &m->graph.nodes[i];
    return NULL;
}

/* The first such node whose first input it is. */
static const struct nb_onnx_node *reader(const struct nb_onnx_model *m, const char *value,
                                         const char *op)
{
    for (size_t i = 0; i < m->graph.n_nodes; i++) {
        const struct nb_onnx_node *n = &m->graph.nodes[i];
        if (is(n, op) && n->n_inputs > 0 && n->n_outputs > 0 && strcmp(n->inputs[0], value) == 0)
            return n;
    }
    return NULL;
}

bool nb_net_grid(const struct nb_onnx_model *m, const char *value, struct nb_net_grid *out)
{
    const struct nb_onnx_node *n = maker(m, value);
    if (n != NULL && is(n, "QuantizeLinear") && read_grid(m, n, out))
        return true;
    n = reader(m, value, "DequantizeLinear");
    return n != NULL && read_grid(m, n, out);
}

float nb_net_step(const struct nb_onnx_model *m, const char *value)
{
    const struct nb_onnx_node *n = maker(m, value);
    struct nb_net_grid g;
    if (nb_net_grid(m, value, &g))
        return g.scale;
    return n != NULL && is(n, "DequantizeLinear") && read_grid(m, n, &g) ? g.scale : 0.0f;
}

const char *nb_net_rounded(const struct nb_onnx_model *m, const char *value)
{
    const struct nb_onnx_node *q = reader(m, value, "QuantizeLinear");
    const struct nb_onnx_node *dq = q != NULL ? reader(m, q->outputs[0], "DequantizeLinear") : NULL;
    return dq != NULL ? dq->outputs[0] : NULL;
}
