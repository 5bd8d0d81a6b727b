/* api/net_look.c: looking into an nb_executor: memory, the time of each node, every value. */
#include "api/net.h"

void nb_executor_memory(const nb_executor *e, struct nb_executor_memory *out)
{
    struct nb_net_memory m;
    nb_net_session_memory(e->session, &m);
    *out = (struct nb_executor_memory){.weight_bytes = m.const_bytes,
                                       .activation_bytes = m.activation_bytes,
                                       .scratch_bytes = m.scratch_bytes,
                                       .staging_bytes = e->staging_bytes,
                                       .prepared_bytes = m.prepared_bytes};
}

uint32_t nb_executor_threads(const nb_executor *e)
{
    return nb_pool_threads(e->pool);
}

/* ---- times ---- */

static void probe(void *ctx, const struct nb_node *node, bool after)
{
    nb_executor *e = ctx;
    struct nb_executor_time *t = &e->times[node - e->net->g.nodes];
    if (!after) {
        e->began = nb_clock_ns();
        return;
    }
    t->ns += nb_clock_ns() - e->began;
    t->runs++;
}

void nb_executor_profile(nb_executor *e, int32_t on)
{
    for (size_t i = 0; on && i < e->net->g.n_nodes; i++)
        e->times[i] = (struct nb_executor_time){0, 0};
    nb_net_session_probe(e->session, on ? probe : NULL, e);
}

enum nb_status nb_executor_node(const nb_executor *e, size_t i, struct nb_executor_node *node)
{
    if (e == NULL || node == NULL)
        return NB_ERR_ARG;
    const struct nb_graph *g = &e->net->g;
    if (i >= g->n_nodes)
        return NB_ERR_NOT_FOUND;
    const struct nb_node *n = &g->nodes[g->order[i]];
    const struct nb_executor_time *t = &e->times[g->order[i]];
    *node = (struct nb_executor_node){.name = n->out[0] != 0 ? g->values[n->out[0]].name : "",
                                      .op = n->op->name,
                                      .runs = t->runs,
                                      .seconds = (double)t->ns * 1e-9,
                                      .macs = n->op->macs != NULL ? n->op->macs(g, n) : 0};
    return NB_OK;
}

/* ---- values ---- */

static void tapped(void *ctx, uint32_t value, const struct nb_slot *slot)
{
    const nb_executor *e = ctx;
    const struct nb_value *v = &e->net->g.values[value];
    struct nb_executor_port p;
    if (nb_executor_describe(&p, v->name, NB_ONNX_UNDEFINED, v, NULL) == NB_OK)
        e->tap(e->tap_ctx, &p, slot->data);
}

void nb_executor_tap(nb_executor *e, nb_executor_tap_fn *fn, void *ctx)
{
    e->tap = fn;
    e->tap_ctx = ctx;
    nb_net_session_tap(e->session, fn != NULL ? tapped : NULL, e);
}
