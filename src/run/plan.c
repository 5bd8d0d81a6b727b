/* run/plan.c: all memory of a call, worked out before the first one.
 *
 * Activations get offsets in one block: largest first, each at the lowest offset where no value that
 * lives at the same time lies (greedy by size; Pisarchyk and Lee 2020). Scratch: per worker, the most
 * that any node wants.
 */
#include "run/session_internal.h"

#include <string.h>

struct item {
    uint32_t value;
    uint64_t bytes, offset;
    struct nb_life life;
};

static uint64_t align_up(uint64_t n)
{
    return (n + NB_ALIGN - 1) / NB_ALIGN * NB_ALIGN;
}

/* Insertion sort, largest first; equal sizes keep the graph's order. */
static void insert(struct item *items, size_t n, struct item x)
{
    size_t i = n;
    for (; i > 0 && items[i - 1].bytes < x.bytes; i--)
        items[i] = items[i - 1];
    items[i] = x;
}

/* Tries the end of each placed neighbour as an offset: the answer is one of them, or 0. */
static bool fits(const struct item *items, size_t n, const struct item *x, uint64_t offset)
{
    for (size_t i = 0; i < n; i++) {
        const bool alive =
            items[i].life.first <= x->life.last && x->life.first <= items[i].life.last;
        if (alive && items[i].offset < offset + x->bytes &&
            offset < items[i].offset + items[i].bytes)
            return false;
    }
    return true;
}

static uint64_t place(const struct item *items, size_t n, const struct item *x)
{
    uint64_t best = UINT64_MAX;
    if (fits(items, n, x, 0))
        return 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t offset = items[i].offset + items[i].bytes;
        const bool alive =
            items[i].life.first <= x->life.last && x->life.first <= items[i].life.last;
        if (alive && offset < best && fits(items, n, x, offset))
            best = offset;
    }
    return best;
}

static enum nb_status collect(const struct nb_session *s, const struct nb_life *life,
                              struct item *items, size_t *n, struct nb_error *err)
{
    *n = 0;
    for (uint32_t i = 1; i < s->g.n_values; i++) {
        struct item x = {.value = i, .life = life[i]};
        if (s->g.values[i].kind != NB_VALUE_ACTIVATION)
            continue;
        if (!nb_value_bytes(&s->g.values[i], s->sym, &x.bytes) || x.bytes > SIZE_MAX / 4)
            NB_FAIL(err, NB_ERR_LIMIT, "session: a batch of %u tokens is too large", s->n_batch);
        x.bytes = align_up(x.bytes);
        insert(items, (*n)++, x);
    }
    return NB_OK;
}

static enum nb_status plan_activations(struct nb_session *s, struct item *items,
                                       struct nb_life *life, struct nb_error *err)
{
    size_t n;
    uint64_t total = 0;
    nb_graph_lives(&s->g, life);
    NB_TRY(collect(s, life, items, &n, err));
    for (size_t i = 0; i < n; i++) {
        items[i].offset = place(items, i, &items[i]);
        total = NB_MAX(total, items[i].offset + items[i].bytes);
    }
    s->memory.activation_bytes = total;
    s->activations = nb_alloc(s->a, (size_t)NB_MAX(total, NB_ALIGN), 1); /* an embedding has none */
    if (!s->activations)
        NB_FAIL(err, NB_ERR_NOMEM, "session: no memory for %llu bytes of activations",
                (unsigned long long)total);
    for (size_t i = 0; i < n; i++)
        s->slots[items[i].value].data = s->activations + items[i].offset;
    return NB_OK;
}

/* Raises *most to what the hungriest node wants: for a worker, or for all of them together. */
static enum nb_status most_scratch(const struct nb_session *s, bool shared, size_t *most,
                                   struct nb_error *err)
{
    for (size_t i = 0; i < s->g.n_nodes; i++) {
        const struct nb_node *n = &s->g.nodes[i];
        struct nb_op_call call;
        size_t bytes;
        bool (*need)(const struct nb_op_call *largest, size_t *bytes) =
            shared ? n->op->shared_bytes : n->op->scratch_bytes;
        if (!need)
            continue;
        nb_session_call(s, n, &call);
        if (!need(&call, &bytes))
            NB_FAIL(err, NB_ERR_LIMIT, "session: the scratch memory of %s is too large",
                    n->op->name);
        *most = NB_MAX(*most, bytes);
    }
    return NB_OK;
}

static enum nb_status plan_scratch(struct nb_session *s, struct nb_error *err)
{
    size_t most = NB_ALIGN, shared = 0, total;
    NB_TRY(most_scratch(s, false, &most, err));
    NB_TRY(most_scratch(s, true, &shared, err));
    most = (size_t)align_up(most);
    if (!nb_mul_size(&total, most, nb_pool_threads(s->pool)) || !nb_add_size(&total, total, shared))
        NB_FAIL(err, NB_ERR_LIMIT, "session: scratch memory of %zu bytes a thread is too large",
                most);
    s->scratch_stride = most;
    s->memory.scratch_bytes = total;
    s->scratch = nb_alloc(s->a, total, 1); /* the workers', then what they share */
    if (!s->scratch)
        NB_FAIL(err, NB_ERR_NOMEM, "session: no memory for %zu bytes of scratch", total);
    return NB_OK;
}

/* Learned embeddings of positions end somewhere. */
static enum nb_status check_positions(const struct nb_session *s, struct nb_error *err)
{
    for (size_t i = 0; i < s->g.n_nodes; i++) {
        const struct nb_node *n = &s->g.nodes[i];
        if (n->op->positions && n->op->positions(&s->g, n) < s->n_ctx)
            NB_FAIL(err, NB_ERR_ARG, "session: a context of %u positions; the model has %llu",
                    s->n_ctx, (unsigned long long)n->op->positions(&s->g, n));
    }
    return NB_OK;
}

enum nb_status nb_session_plan(struct nb_session *s, struct nb_error *err)
{
    const uint64_t largest[NB_N_SYMS] = {1, s->n_batch, s->n_ctx, s->n_batch, s->n_window};
    if (!nb_session_extents(s, largest))
        NB_FAIL(err, NB_ERR_LIMIT, "session: a batch of %u tokens is too large", s->n_batch);
    NB_TRY(check_positions(s, err));
    struct nb_life *life = nb_alloc(s->a, s->g.n_values, sizeof *life);
    struct item *items = nb_alloc(s->a, s->g.n_values, sizeof *items);
    enum nb_status st = NB_OK;
    if (!life || !items)
        st = NB_ERROR(err, NB_ERR_NOMEM, "session: no memory to plan %zu values", s->g.n_values);
    if (st == NB_OK)
        st = plan_activations(s, items, life, err);
    if (st == NB_OK)
        st = plan_scratch(s, err);
    nb_free(s->a, life);
    nb_free(s->a, items);
    return st;
}

bool nb_session_extents(struct nb_session *s, const uint64_t sym[NB_N_SYMS])
{
    if (memcmp(s->sym, sym, sizeof s->sym) == 0)
        return true;
    for (uint32_t i = 1; i < s->g.n_values; i++)
        if (!nb_value_extent(&s->g.values[i], sym, &s->slots[i].rows, &s->slots[i].cols))
            return false;
    memcpy(s->sym, sym, sizeof s->sym);
    return true;
}

void nb_session_call(const struct nb_session *s, const struct nb_node *n, struct nb_op_call *out)
{
    *out = (struct nb_op_call){
        .node = n,
        .kernels = s->kernels,
        .pool = s->pool,
        .scratch = s->scratch,
        .scratch_stride = s->scratch_stride,
        .shared = s->scratch ? s->scratch + s->scratch_stride * nb_pool_threads(s->pool) : NULL,
        .position = s->position};
    memcpy(out->sym, s->sym, sizeof out->sym);
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++)
        out->in[i] = n->in[i] ? &s->slots[n->in[i]] : NULL;
    for (uint32_t i = 0; i < NB_NODE_OUTPUTS; i++)
        out->out[i] = n->out[i] ? &s->slots[n->out[i]] : NULL;
}
