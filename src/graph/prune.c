/* graph/prune.c: nodes that no output needs go. */
#include "graph/graph.h"

#include <string.h>

/* Marks what the marked nodes read, last node first: nodes come after those whose values they read only if
 * the graph was built so; other orders take more rounds. */
static bool mark(const struct nb_graph *g, uint8_t *needed)
{
    bool more = false;
    for (size_t i = g->n_nodes; i-- > 0;) {
        if (!needed[i])
            continue;
        for (uint32_t k = 0; k < NB_NODE_INPUTS; k++) {
            const uint32_t v = g->nodes[i].in[k], from = v ? g->values[v].producer : 0;
            if (from && !needed[from - 1]) {
                needed[from - 1] = 1;
                more = more || from - 1 > i;
            }
        }
    }
    return more;
}

enum nb_status nb_graph_prune(struct nb_graph *g, struct nb_error *err)
{
    const struct nb_allocator *a = g->arena.a;
    size_t n = 0;
    NB_TRY(nb_graph_check(g, err));
    uint8_t *needed = nb_alloc_zero(a, NB_MAX(g->n_nodes, (size_t)1), 1);
    if (!needed)
        NB_FAIL(err, NB_ERR_NOMEM, "graph: no memory to look at %zu nodes", g->n_nodes);
    for (uint32_t v = 1; v < g->n_values; v++)
        if (g->values[v].kind == NB_VALUE_OUTPUT && g->values[v].producer)
            needed[g->values[v].producer - 1] = 1;
    while (mark(g, needed))
        continue;
    for (size_t i = 0; i < g->n_nodes; i++) {
        for (uint32_t k = 0; k < NB_NODE_OUTPUTS; k++)
            if (g->nodes[i].out[k])
                g->values[g->nodes[i].out[k]].producer = needed[i] ? (uint32_t)n + 1 : 0;
        if (needed[i])
            g->nodes[n++] = g->nodes[i];
    }
    g->n_nodes = n;
    nb_free(a, g->order);
    g->order = NULL;
    nb_free(a, needed);
    return NB_OK;
}
