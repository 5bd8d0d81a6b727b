/* run/net.c: planning and running a graph of constant dimensions.
 *
 * An operator that only gives its input other dimensions (op->view) costs nothing: its output is its input's
 * memory, which lives as long as both, unless it leaves the graph.
 */
#include "run/net.h"

#include <string.h>

#include "run/place.h"

static const uint64_t no_symbols[NB_N_SYMS] = {1, 1, 1, 1, 1};

/* Owns: memory. Borrows: the graph, the pool. */
struct nb_net_session {
    const struct nb_allocator *a;
    const struct nb_graph *g;
    struct nb_net_ports ports;
    const struct nb_kernels *kernels;
    struct nb_pool *pool;
    struct nb_slot *slots; /* (g->n_values) */
    uint32_t *root;        /* (g->n_values) whose memory a value has; itself if its own */
    uint8_t *activations, *scratch;
    uint8_t *prepared;
    const void **prepared_of; /* (g->n_nodes) in `prepared`, NULL: nothing */
    size_t scratch_stride;
    struct nb_net_memory memory;
    nb_net_tap_fn *tap;
    void *tap_ctx;
    nb_net_probe_fn *probe;
    void *probe_ctx;
};

static void call_of(const struct nb_net_session *s, const struct nb_node *n, struct nb_op_call *out)
{
    *out = (struct nb_op_call){
        .node = n,
        .kernels = s->kernels,
        .pool = s->pool,
        .scratch = s->scratch,
        .scratch_stride = s->scratch_stride,
        .shared = s->scratch ? s->scratch + s->scratch_stride * nb_pool_threads(s->pool) : NULL,
        .prepared = s->prepared_of[n - s->g->nodes],
        .sym = {1, 1, 1, 1, 1}};
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++)
        out->in[i] = n->in[i] ? &s->slots[n->in[i]] : NULL;
    for (uint32_t i = 0; i < NB_NODE_OUTPUTS; i++)
        out->out[i] = n->out[i] ? &s->slots[n->out[i]] : NULL;
}

static bool is_alias(const struct nb_graph *g, const struct nb_node *n)
{
    return n->op->view && g->values[n->out[0]].kind == NB_VALUE_ACTIVATION;
}

static enum nb_status bind(struct nb_net_session *s, struct nb_error *err)
{
    const struct nb_graph *g = s->g;
    for (uint32_t i = 1; i < g->n_values; i++) {
        const struct nb_value *v = &g->values[i];
        struct nb_slot *slot = &s->slots[i];
        uint64_t bytes;
        if (!nb_value_extent(v, no_symbols, &slot->rows, &slot->cols) ||
            !nb_value_bytes(v, no_symbols, &bytes) || bytes > SIZE_MAX / 4)
            NB_FAIL(err, NB_ERR_LIMIT, "session: value '%s' is too large", v->name);
        slot->value = v;
        slot->data = (void *)(uintptr_t)v->data; /* constants are only read */
        s->root[i] = i;
        s->memory.const_bytes += v->kind == NB_VALUE_CONST ? bytes : 0;
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct nb_node *n = &g->nodes[g->order[i]];
        if (is_alias(g, n))
            s->root[n->out[0]] = s->root[n->in[0]];
    }
    return NB_OK;
}

static enum nb_status place(struct nb_net_session *s, struct nb_life *life, struct nb_placed *items,
                            struct nb_error *err)
{
    const struct nb_graph *g = s->g;
    size_t n = 0;
    uint64_t total;
    nb_graph_lives(g, life);
    for (uint32_t i = 1; i < g->n_values; i++)
        if (s->root[i] != i)
            life[s->root[i]].last = NB_MAX(life[s->root[i]].last, life[i].last);
    for (uint32_t i = 1; i < g->n_values; i++) {
        uint64_t bytes;
        if (g->values[i].kind != NB_VALUE_ACTIVATION || s->root[i] != i || !g->values[i].producer)
            continue;
        if (!nb_value_bytes(&g->values[i], no_symbols, &bytes))
            NB_FAIL(err, NB_ERR_INTERNAL, "session: a value without a size");
        items[n++] = (struct nb_placed){.bytes = nb_place_round(bytes), .life = life[i], .tag = i};
    }
    NB_TRY(nb_place(items, n, &total, s->a, err));
    s->memory.activation_bytes = total;
    s->activations = total < SIZE_MAX ? nb_alloc(s->a, (size_t)NB_MAX(total, NB_ALIGN), 1) : NULL;
    if (!s->activations)
        NB_FAIL(err, NB_ERR_NOMEM, "session: no memory for %llu bytes of activations",
                (unsigned long long)total);
    for (size_t i = 0; i < n; i++)
        s->slots[items[i].tag].data = s->activations + items[i].offset;
    return NB_OK;
}

static enum nb_status plan_activations(struct nb_net_session *s, struct nb_error *err)
{
    struct nb_life *life = nb_alloc_zero(s->a, s->g->n_values + 1, sizeof *life);
    struct nb_placed *items = nb_alloc(s->a, s->g->n_values + 1, sizeof *items);
    const enum nb_status st =
        life && items ? place(s, life, items, err)
                      : NB_ERROR(err, NB_ERR_NOMEM, "session: no memory to plan its values");
    nb_free(s->a, life);
    nb_free(s->a, items);
    return st;
}

static bool wants_prepared(const struct nb_op_call *c, size_t *bytes)
{
    *bytes = 0;
    return c->node->op->prepared_bytes && c->node->op->prepared_bytes(c, bytes);
}

/* Constants in the form their operators like best. */
static enum nb_status prepare(struct nb_net_session *s, struct nb_error *err)
{
    const struct nb_graph *g = s->g;
    struct nb_op_call call;
    size_t total = NB_ALIGN, at = 0, bytes;
    for (size_t i = 0; i < g->n_nodes; i++) {
        call_of(s, &g->nodes[i], &call);
        if (wants_prepared(&call, &bytes) && !nb_add_size(&total, total, nb_place_round(bytes)))
            NB_FAIL(err, NB_ERR_LIMIT, "session: prepared weights are too large");
    }
    s->memory.prepared_bytes = total;
    s->prepared = nb_alloc(s->a, total, 1);
    if (!s->prepared)
        NB_FAIL(err, NB_ERR_NOMEM, "session: no memory for %zu bytes of prepared weights", total);
    for (size_t i = 0; i < g->n_nodes; i++) {
        call_of(s, &g->nodes[i], &call);
        if (!wants_prepared(&call, &bytes))
            continue;
        g->nodes[i].op->prepare(&call, s->prepared + at);
        s->prepared_of[i] = s->prepared + at;
        at += (size_t)nb_place_round(bytes);
    }
    return NB_OK;
}

static enum nb_status plan_scratch(struct nb_net_session *s, struct nb_error *err)
{
    size_t most = NB_ALIGN, shared = 0, total;
    for (size_t i = 0; i < s->g->n_nodes; i++) {
        const struct nb_node *n = &s->g->nodes[i];
        struct nb_op_call call;
        size_t own = 0, all = 0;
        call_of(s, n, &call);
        if ((n->op->scratch_bytes && !n->op->scratch_bytes(&call, &own)) ||
            (n->op->shared_bytes && !n->op->shared_bytes(&call, &all)))
            NB_FAIL(err, NB_ERR_LIMIT, "session: the scratch memory of %s is too large",
                    n->op->name);
        most = NB_MAX(most, own);
        shared = NB_MAX(shared, all);
    }
    s->scratch_stride = (size_t)nb_place_round(most);
    if (!nb_mul_size(&total, s->scratch_stride, nb_pool_threads(s->pool)) ||
        !nb_add_size(&total, total, shared))
        NB_FAIL(err, NB_ERR_LIMIT, "session: scratch memory of %zu bytes a thread is too large",
                most);
    s->memory.scratch_bytes = total;
    s->scratch = nb_alloc(s->a, total, 1); /* the workers', then what they share */
    if (!s->scratch)
        NB_FAIL(err, NB_ERR_NOMEM, "session: no memory for %zu bytes of scratch", total);
    return NB_OK;
}

static enum nb_status set_up(struct nb_net_session *s, struct nb_error *err)
{
    s->slots = nb_alloc_zero(s->a, s->g->n_values + 1, sizeof *s->slots);
    s->root = nb_alloc_zero(s->a, s->g->n_values + 1, sizeof *s->root);
    s->prepared_of = nb_alloc_zero(s->a, s->g->n_nodes + 1, sizeof *s->prepared_of);
    if (!s->slots || !s->root || !s->prepared_of)
        NB_FAIL(err, NB_ERR_NOMEM, "session: no memory for %zu values", s->g->n_values);
    NB_TRY(bind(s, err));
    NB_TRY(prepare(s, err));
    NB_TRY(plan_activations(s, err));
    return plan_scratch(s, err);
}

enum nb_status nb_net_session_create(struct nb_net_session **out, const struct nb_net_ports *p,
                                     struct nb_pool *pool, const struct nb_allocator *a,
                                     struct nb_error *err)
{
    *out = NULL;
    NB_TRY(nb_graph_sort(p->g, err));
    struct nb_net_session *s = nb_alloc_zero(a, 1, sizeof *s);
    if (!s)
        NB_FAIL(err, NB_ERR_NOMEM, "session: out of memory");
    s->a = a;
    s->g = p->g;
    s->ports = *p;
    s->pool = pool;
    s->kernels = nb_kernels_get();
    const enum nb_status st = set_up(s, err);
    if (st != NB_OK) {
        nb_net_session_destroy(s);
        return st;
    }
    *out = s;
    return NB_OK;
}

void nb_net_session_destroy(struct nb_net_session *s)
{
    if (!s)
        return;
    nb_free(s->a, s->slots);
    nb_free(s->a, s->root);
    nb_free(s->a, s->prepared);
    nb_free(s->a, s->prepared_of);
    nb_free(s->a, s->activations);
    nb_free(s->a, s->scratch);
    nb_free(s->a, s);
}

static void run_node(struct nb_net_session *s, const struct nb_node *n)
{
    struct nb_op_call call;
    if (is_alias(s->g, n)) { /* the input may be the caller's memory, another in each run */
        s->slots[n->out[0]].data = s->slots[n->in[0]].data;
    } else {
        call_of(s, n, &call);
        n->op->run(&call);
    }
    for (uint32_t i = 0; s->tap && i < NB_NODE_OUTPUTS; i++)
        if (n->out[i])
            s->tap(s->tap_ctx, n->out[i], &s->slots[n->out[i]]);
}

void nb_net_session_run(struct nb_net_session *s, const void *const *inputs, void *const *outputs)
{
    for (size_t i = 0; i < s->ports.n_inputs; i++) /* only read: the slot's type serves all */
        s->slots[s->ports.inputs[i]].data = (void *)(uintptr_t)inputs[i];
    for (size_t i = 0; i < s->ports.n_outputs; i++)
        s->slots[s->ports.outputs[i]].data = outputs[i];
    for (size_t i = 0; i < s->g->n_nodes; i++) {
        const struct nb_node *n = &s->g->nodes[s->g->order[i]];
        if (s->probe)
            s->probe(s->probe_ctx, n, false);
        run_node(s, n);
        if (s->probe)
            s->probe(s->probe_ctx, n, true);
    }
}

void nb_net_session_tap(struct nb_net_session *s, nb_net_tap_fn *fn, void *ctx)
{
    s->tap = fn;
    s->tap_ctx = ctx;
}

void nb_net_session_probe(struct nb_net_session *s, nb_net_probe_fn *fn, void *ctx)
{
    s->probe = fn;
    s->probe_ctx = ctx;
}

void nb_net_session_memory(const struct nb_net_session *s, struct nb_net_memory *out)
{
    *out = s->memory;
}
