/* run/plan.c: all memory of a call, worked out before the first one.
 *
 * Activations, and gradients of them, get offsets in one block (place.h). Scratch: per worker, the most
 * that any node wants.
 */
#include "run/place.h"
#include "run/session_internal.h"

#include <string.h>

/* Gradients are floats, whatever the value's type. */
static bool bytes_of(const struct nb_session *s, uint32_t value, bool gradient, uint64_t *bytes)
{
    const struct nb_value *v = &s->g.values[value];
    uint64_t rows, cols;
    if (!gradient)
        return nb_value_bytes(v, s->sym, bytes);
    return nb_value_extent(v, s->sym, &rows, &cols) && nb_mul_u64(bytes, rows, cols) &&
           nb_mul_u64(bytes, *bytes, sizeof(float));
}

/* life: (n_values) of values, then of gradients: their index is the tag of an item */
static enum nb_status collect(const struct nb_session *s, const struct nb_life *life,
                              struct nb_placed *items, size_t *n, struct nb_error *err)
{
    const size_t n_values = s->g.n_values;
    *n = 0;
    for (size_t i = 1; i < (s->back ? 2 : 1) * n_values; i++) {
        const uint32_t value = (uint32_t)(i % n_values);
        const bool gradient = i >= n_values;
        uint64_t bytes;
        if (gradient ? !nb_backward_wants(s, value) : s->g.values[i].kind != NB_VALUE_ACTIVATION)
            continue;
        if (!bytes_of(s, value, gradient, &bytes) || bytes > SIZE_MAX / 4)
            NB_FAIL(err, NB_ERR_LIMIT, "session: a batch of %u tokens is too large", s->n_batch);
        items[(*n)++] =
            (struct nb_placed){.bytes = nb_place_round(bytes), .life = life[i], .tag = i};
    }
    return NB_OK;
}

static enum nb_status plan_activations(struct nb_session *s, struct nb_placed *items,
                                       struct nb_life *life, struct nb_error *err)
{
    const size_t n_values = s->g.n_values;
    size_t n;
    uint64_t total;
    nb_graph_lives(&s->g, life);
    if (s->back)
        nb_backward_lives(s, life, life + n_values);
    NB_TRY(collect(s, life, items, &n, err));
    NB_TRY(nb_place(items, n, &total, s->a, err));
    s->memory.activation_bytes = total;
    s->activations = nb_alloc(s->a, (size_t)NB_MAX(total, NB_ALIGN), 1); /* an embedding has none */
    if (!s->activations)
        NB_FAIL(err, NB_ERR_NOMEM, "session: no memory for %llu bytes of activations",
                (unsigned long long)total);
    for (size_t i = 0; i < n; i++)
        if (items[i].tag >= n_values)
            nb_backward_place(s, (uint32_t)(items[i].tag - n_values),
                              s->activations + items[i].offset);
        else
            s->slots[items[i].tag].data = s->activations + items[i].offset;
    return NB_OK;
}

typedef bool scratch_fn(const struct nb_op_call *largest, size_t *bytes);

static enum nb_status node_scratch(const struct nb_session *s, const struct nb_node *n,
                                   scratch_fn *need, size_t *most, struct nb_error *err)
{
    struct nb_op_call call;
    size_t bytes;
    if (!need)
        return NB_OK;
    nb_session_call(s, n, &call);
    if (!need(&call, &bytes))
        NB_FAIL(err, NB_ERR_LIMIT, "session: the scratch memory of %s is too large", n->op->name);
    *most = NB_MAX(*most, bytes);
    return NB_OK;
}

/* Raises *most to what the hungriest node wants: for a worker, or for all of them together. */
static enum nb_status most_scratch(const struct nb_session *s, bool shared, size_t *most,
                                   struct nb_error *err)
{
    for (size_t i = 0; i < s->g.n_nodes; i++) {
        const struct nb_node *n = &s->g.nodes[s->g.order[i]];
        const struct nb_op *op = n->op;
        NB_TRY(node_scratch(s, n, shared ? op->shared_bytes : op->scratch_bytes, most, err));
        if (nb_backward_runs(s, i))
            NB_TRY(node_scratch(s, n, shared ? op->grad_shared_bytes : op->grad_scratch_bytes, most,
                                err));
    }
    return NB_OK;
}

static enum nb_status plan_scratch(struct nb_session *s, struct nb_error *err)
{
    size_t most = NB_ALIGN, shared = 0, total;
    NB_TRY(most_scratch(s, false, &most, err));
    NB_TRY(most_scratch(s, true, &shared, err));
    most = (size_t)nb_place_round(most);
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
    const size_t n = 2 * s->g.n_values; /* values and gradients */
    struct nb_life *life = nb_alloc_zero(s->a, n, sizeof *life);
    struct nb_placed *items = nb_alloc(s->a, n, sizeof *items);
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
