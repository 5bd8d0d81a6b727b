/* graph/order.c: the order nodes run in, and how long values live. */
#include "graph/graph.h"

#include <string.h>

enum { UNSEEN, OPEN, DONE };

/* Depth-first search without recursion: a chain as long as the graph needs no deep stack. */
struct walk {
    const struct nb_graph *g;
    uint32_t *stack, *order; /* (n_nodes) */
    uint8_t *mark;           /* (n_nodes) */
    size_t depth, n;
};

/* The first input of `node` whose producer has not run; UINT32_MAX: none. */
static uint32_t waits_for(const struct walk *w, uint32_t node)
{
    const struct nb_node *n = &w->g->nodes[node];
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++) {
        const uint32_t p = n->in[i] ? w->g->values[n->in[i]].producer : 0;
        if (p && w->mark[p - 1] != DONE)
            return p - 1;
    }
    return UINT32_MAX;
}

/* Everything `root` needs, then root. false: a cycle. */
static bool visit(struct walk *w, uint32_t root)
{
    if (w->mark[root] == DONE)
        return true;
    w->stack[w->depth++] = root;
    w->mark[root] = OPEN;
    while (w->depth) {
        const uint32_t node = w->stack[w->depth - 1];
        const uint32_t before = waits_for(w, node);
        if (before == UINT32_MAX) {
            w->mark[node] = DONE;
            w->order[w->n++] = node;
            w->depth--;
        } else if (w->mark[before] == OPEN) {
            return false;
        } else {
            w->mark[before] = OPEN;
            w->stack[w->depth++] = before;
        }
    }
    return true;
}

enum nb_status nb_graph_sort(struct nb_graph *g, struct nb_error *err)
{
    const struct nb_allocator *a = g->arena.a;
    NB_TRY(nb_graph_check(g, err));
    if (g->n_nodes == 0)
        return NB_OK;
    struct walk w = {.g = g,
                     .stack = nb_alloc(a, g->n_nodes, sizeof *w.stack),
                     .order = nb_alloc(a, g->n_nodes, sizeof *w.order),
                     .mark = nb_alloc_zero(a, g->n_nodes, sizeof *w.mark)};
    enum nb_status st = NB_OK;
    if (!w.stack || !w.order || !w.mark)
        st = NB_ERROR(err, NB_ERR_NOMEM, "graph: no memory to order %zu nodes", g->n_nodes);
    for (uint32_t i = 0; st == NB_OK && i < g->n_nodes; i++)
        if (!visit(&w, i))
            st = NB_ERROR(err, NB_ERR_FORMAT, "graph: node %u (%s) depends on itself", i,
                          g->nodes[i].op->name);
    nb_free(a, w.stack);
    nb_free(a, w.mark);
    if (st != NB_OK) {
        nb_free(a, w.order);
        return st;
    }
    nb_free(a, g->order);
    g->order = w.order;
    return NB_OK;
}

void nb_graph_lives(const struct nb_graph *g, struct nb_life *life)
{
    memset(life, 0, g->n_values * sizeof *life);
    for (uint32_t at = 0; at < g->n_nodes; at++) {
        const struct nb_node *n = &g->nodes[g->order[at]];
        for (uint32_t i = 0; i < NB_NODE_OUTPUTS; i++)
            if (n->out[i])
                life[n->out[i]] = (struct nb_life){.first = at, .last = at};
        for (uint32_t i = 0; i < NB_NODE_INPUTS; i++)
            if (n->in[i])
                life[n->in[i]].last = at;
    }
}
