/* run/lower.c: which products run on integers.
 *
 * Every node that can multiply integers (op->q8_input), and whose weight expands to them, gets one more
 * input, its activations quantized per block of 32. Nodes that read the same activations (q, k and v; gate and up) share it.
 */
#include "run/session_internal.h"

static bool wants_q8(const struct nb_graph *g, const struct nb_node *n, const struct nb_weights *w)
{
    if (n->op->q8_input == 0)
        return false;
    const struct nb_value *v = &g->values[n->in[n->op->quantizable]];
    const struct nb_weight *item = nb_weights_find(w, v->name);
    return item && nb_numfmt_expands(item->t.type) && v->dim[v->rank - 1].n % NB_Q8_BLOCK == 0;
}

enum nb_status nb_session_lower(struct nb_graph *g, const struct nb_weights *w,
                                struct nb_error *err)
{
    const size_t n_values = g->n_values, n_nodes = g->n_nodes;
    uint32_t *q8 =
        nb_alloc_zero(g->arena.a, n_values, sizeof *q8); /* value -> its quantized twin */
    if (!q8)
        NB_FAIL(err, NB_ERR_NOMEM, "session: no memory for a graph of %zu values", n_values);
    for (size_t i = 0; i < n_nodes && g->status == NB_OK; i++) {
        if (!wants_q8(g, &g->nodes[i], w))
            continue;
        const uint32_t x = g->nodes[i].in[0];
        if (!q8[x])
            q8[x] = nb_graph_add(g, &(struct nb_node_args){.op = &nb_op_quantize_q8,
                                                           .in = {x},
                                                           .block = g->nodes[i].block});
        g->nodes[i].in[g->nodes[i].op->q8_input] = q8[x];
    }
    nb_free(g->arena.a, q8);
    return nb_graph_check(g, err);
}
