/* graph/fold.c: nodes whose inputs are all known are run while the graph is built.
 *
 * The operator's own run does it, on one thread, so there is no second evaluator. What it makes lies in the
 * graph's arena. An output of more than 2^31 bytes is left to the session, which may refuse it.
 */
#include "graph/graph.h"

#include <string.h>

#define MOST_BYTES ((uint64_t)1 << 31)

static bool all_known(const struct nb_graph *g, const struct nb_node_args *args)
{
    if (!args->op->folds)
        return false;
    for (uint32_t i = 0; i < NB_NODE_INPUTS;
         i++) /* nb_graph_add says what is wrong with an index */
        if (args->in[i] >= g->n_values ||
            (args->in[i] && g->values[args->in[i]].kind != NB_VALUE_CONST))
            return false;
    return true;
}

static bool bind(struct nb_slot *s, const struct nb_value *v, void *data)
{
    const uint64_t sym[NB_N_SYMS] = {1, 1, 1, 1, 1};
    *s = (struct nb_slot){.data = data, .value = v};
    return nb_value_extent(v, sym, &s->rows, &s->cols);
}

static bool out_of_memory(struct nb_graph *g, const struct nb_node *n)
{
    if (g->status == NB_OK)
        g->status = NB_ERROR(&g->error, NB_ERR_NOMEM, "graph: no memory to run %s", n->op->name);
    return false;
}

/* Memory for the outputs and the slots of all. false: it is too large, or there is none (status). */
static bool bind_all(struct nb_graph *g, const struct nb_node *n, struct nb_slot *in,
                     struct nb_slot *out, struct nb_op_call *call)
{
    const uint64_t sym[NB_N_SYMS] = {1, 1, 1, 1, 1};
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++) {
        if (!n->in[i])
            continue;
        const struct nb_value *v = &g->values[n->in[i]];
        if (!bind(&in[i], v, (void *)(uintptr_t)v->data))
            return false;
        call->in[i] = &in[i];
    }
    for (uint32_t i = 0; i < NB_NODE_OUTPUTS; i++) {
        uint64_t bytes;
        if (!n->out[i])
            continue;
        const struct nb_value *v = &g->values[n->out[i]];
        if (!nb_value_bytes(v, sym, &bytes) || bytes > MOST_BYTES)
            return false;
        void *data = nb_arena_alloc(&g->arena, (size_t)NB_MAX(bytes, (uint64_t)1), 1);
        if (!data)
            return out_of_memory(g, n);
        if (!bind(&out[i], v, data))
            return false;
        call->out[i] = &out[i];
    }
    return true;
}

static bool bind_scratch(struct nb_graph *g, const struct nb_node *n, struct nb_op_call *call)
{
    size_t own = 0, shared = 0;
    if ((n->op->scratch_bytes && !n->op->scratch_bytes(call, &own)) ||
        (n->op->shared_bytes && !n->op->shared_bytes(call, &shared)))
        return false;
    own = (own + NB_ALIGN - 1) / NB_ALIGN * NB_ALIGN;
    call->scratch = nb_alloc(g->arena.a, NB_MAX(own + shared, (size_t)1), 1);
    if (!call->scratch)
        return out_of_memory(g, n);
    call->scratch_stride = own;
    call->shared = call->scratch + own;
    return true;
}

uint32_t nb_graph_add_folded(struct nb_graph *g, const struct nb_node_args *args)
{
    struct nb_slot in[NB_NODE_INPUTS], out[NB_NODE_OUTPUTS];
    const bool known = g->status == NB_OK && all_known(g, args);
    const uint32_t first = nb_graph_add(g, args);
    if (!known || first == 0)
        return first;
    const struct nb_node node = g->nodes[g->n_nodes - 1];
    struct nb_op_call call = {.node = &node, .kernels = nb_kernels_get(), .sym = {1, 1, 1, 1, 1}};
    if (!bind_all(g, &node, in, out, &call) || !bind_scratch(g, &node, &call))
        return g->status == NB_OK ? first : 0;
    node.op->run(&call);
    nb_free(g->arena.a, call.scratch);
    for (uint32_t i = 0; i < NB_NODE_OUTPUTS; i++) {
        if (!node.out[i])
            continue;
        struct nb_value *v = &g->values[node.out[i]];
        v->kind = NB_VALUE_CONST;
        v->producer = 0;
        v->data = out[i].data;
    }
    g->n_nodes--;
    return first;
}
