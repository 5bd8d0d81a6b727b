/* graph/dump.c: a graph as text, for people. */
#include "graph/graph.h"

static void put_value(struct nb_str *out, const struct nb_value *v)
{
    static const char *const syms[NB_N_SYMS] = {"", "T", "C", "R", "W"};
    nb_str_printf(out, "%s (", v->name);
    for (uint32_t i = 0; i < v->rank; i++) {
        const struct nb_dim d = v->dim[i];
        nb_str_puts(out, i ? ", " : "");
        if (d.sym == NB_SYM_ONE || d.n != 1)
            nb_str_printf(out, "%llu", (unsigned long long)d.n);
        nb_str_puts(out, syms[d.sym]);
    }
    nb_str_puts(out, ")");
}

static void put_node(struct nb_str *out, const struct nb_graph *g, uint32_t index)
{
    const struct nb_node *n = &g->nodes[index];
    nb_str_printf(out, "%u ", index);
    if (n->block != NB_NO_BLOCK)
        nb_str_printf(out, "blk.%d ", n->block);
    nb_str_puts(out, n->op->name);
    for (uint32_t i = 0; i < NB_NODE_OUTPUTS && n->out[i]; i++) {
        nb_str_puts(out, i ? ", " : " ");
        put_value(out, &g->values[n->out[i]]);
    }
    const char *before = " <- ";
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++) {
        if (!n->in[i])
            continue;
        nb_str_puts(out, before);
        put_value(out, &g->values[n->in[i]]);
        before = ", ";
    }
    nb_str_puts(out, "\n");
}

void nb_graph_dump(const struct nb_graph *g, struct nb_str *out)
{
    for (uint32_t i = 0; i < g->n_nodes; i++)
        put_node(out, g, g->order ? g->order[i] : i);
}
