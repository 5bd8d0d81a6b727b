/* run/bind.c: memory for the values that outlive a call: weights, rotary frequencies, the KV cache.
 *
 * Weights stay where they are, in their file's format; only norms and biases, a few kilobytes, are
 * copied to f32. The cache is not cleared: a position is written before it is read.
 */
#include "run/session_internal.h"

#include <string.h>

static enum nb_status no_memory(struct nb_error *err, const char *what)
{
    NB_FAIL(err, NB_ERR_NOMEM, "session: no memory for %s", what);
}

static enum nb_status check_weight(const struct nb_value *v, const struct nb_weight *item,
                                   struct nb_error *err)
{
    char have[NB_SHAPE_TEXT_BYTES], want[NB_SHAPE_TEXT_BYTES];
    struct nb_shape shape = {.n = v->rank};
    uint64_t bytes;
    if (!item)
        NB_FAIL(err, NB_ERR_NOT_FOUND, "tensor '%s' is missing", v->name);
    for (uint32_t i = 0; i < v->rank; i++)
        shape.dim[i] = v->dim[i].n;
    if (!nb_shape_eq(&shape, &item->t.shape))
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' is %s, expected %s", v->name,
                nb_shape_text(&item->t.shape, have), nb_shape_text(&shape, want));
    NB_TRY(nb_numfmt_bytes(item->t.type, &shape, &bytes, err));
    if (!nb_tensor_has_data(&item->t) || item->t.bytes != bytes)
        NB_FAIL(err, NB_ERR_FORMAT, "tensor '%s' has %llu bytes, expected %llu of type %s", v->name,
                (unsigned long long)item->t.bytes, (unsigned long long)bytes, item->t.type->name);
    return NB_OK;
}

static enum nb_status bind_weight(struct nb_session *s, uint32_t id, struct nb_error *err)
{
    const struct nb_value *v = &s->g.values[id];
    const struct nb_weight *item = nb_weights_find(s->w, v->name);
    NB_TRY(check_weight(v, item, err));
    s->slots[id].tensor = &item->t;
    s->slots[id].type = item->t.type;
    s->memory.weight_bytes += item->t.bytes;
    return NB_OK;
}

/* Small weights as plain floats, whatever the file holds. */
static enum nb_status bind_f32(struct nb_session *s, uint32_t id, struct nb_error *err)
{
    struct nb_slot *slot = &s->slots[id];
    const uint64_t rows = nb_shape_rows(&slot->tensor->shape);
    const size_t n = (size_t)(rows * nb_shape_cols(&slot->tensor->shape));
    if (slot->data)
        return NB_OK;
    float *copy = nb_arena_alloc(&s->arena, n, sizeof *copy);
    if (!copy)
        return no_memory(err, slot->tensor->name);
    nb_tensor_decode(slot->tensor, 0, rows, copy);
    slot->data = copy;
    return NB_OK;
}

/* Memory for the frequencies of `name`, and the factor of the tables made from them. Divisors that a file
 * brings stand in for the scaling rule. */
static enum nb_status bind_frequencies(struct nb_session *s, const char *name,
                                       const struct nb_rope *rope, const float *divisors,
                                       struct nb_error *err)
{
    const uint32_t id = nb_graph_find(&s->g, name), n = rope->dim / 2;
    struct nb_rope rule = *rope;
    if (!id)
        return NB_OK;
    double *freq = nb_arena_alloc(&s->arena, n, sizeof *freq);
    if (!freq)
        return no_memory(err, "rotary frequencies");
    if (divisors)
        rule.scaling = NB_ROPE_NONE;
    nb_rope_frequencies(&rule, s->n_ctx, freq);
    for (uint32_t i = 0; divisors && i < n; i++)
        freq[i] /= (double)divisors[i];
    s->slots[id].data = freq;
    for (size_t i = 0; i < s->g.n_nodes; i++) {
        struct nb_node *node = &s->g.nodes[i];
        if (node->op == &nb_op_rope_table && node->in[1] == id)
            node->attr[0].f = nb_rope_table_scale(&rule, s->n_ctx);
    }
    return NB_OK;
}

/* Bytes of a state; they follow each other in one block. */
static enum nb_status state_bytes(const struct nb_session *s, const struct nb_value *v,
                                  const struct nb_numfmt *type, uint64_t *bytes,
                                  struct nb_error *err)
{
    const uint64_t sym[NB_N_SYMS] = {[NB_SYM_CACHE] = s->n_ctx, [NB_SYM_WINDOW] = s->n_window};
    uint64_t rows, cols, row_bytes;
    if (!nb_value_extent(v, sym, &rows, &cols))
        NB_FAIL(err, NB_ERR_LIMIT, "session: a context of %u positions is too large", s->n_ctx);
    NB_TRY(nb_numfmt_row_bytes(type, cols, &row_bytes, err));
    if (!nb_mul_u64(bytes, rows, row_bytes) || !nb_add_u64(bytes, *bytes, NB_ALIGN - 1))
        NB_FAIL(err, NB_ERR_LIMIT, "session: a context of %u positions is too large", s->n_ctx);
    *bytes = *bytes / NB_ALIGN * NB_ALIGN;
    return NB_OK;
}

static enum nb_status bind_states(struct nb_session *s, const struct nb_numfmt *type,
                                  struct nb_error *err)
{
    uint64_t total = 0, bytes;
    for (uint32_t i = 1; i < s->g.n_values; i++) {
        if (s->g.values[i].kind != NB_VALUE_STATE)
            continue;
        NB_TRY(state_bytes(s, &s->g.values[i], type, &bytes, err));
        if (!nb_add_u64(&total, total, bytes) || total > SIZE_MAX)
            NB_FAIL(err, NB_ERR_LIMIT, "session: a context of %u positions is too large", s->n_ctx);
    }
    s->memory.kv_bytes = total;
    if (total == 0)
        return NB_OK;
    s->states = nb_alloc(s->a, (size_t)total, 1);
    if (!s->states)
        NB_FAIL(err, NB_ERR_NOMEM, "session: no memory for a KV cache of %llu bytes",
                (unsigned long long)total);
    uint8_t *at = s->states;
    for (uint32_t i = 1; i < s->g.n_values; i++) {
        if (s->g.values[i].kind != NB_VALUE_STATE)
            continue;
        NB_TRY(state_bytes(s, &s->g.values[i], type, &bytes, err));
        s->slots[i].data = at;
        s->slots[i].type = type;
        at += bytes;
    }
    return NB_OK;
}

static enum nb_status bind_small_weights(struct nb_session *s, struct nb_error *err)
{
    for (size_t i = 0; i < s->g.n_nodes; i++) {
        const struct nb_node *n = &s->g.nodes[i];
        for (uint32_t k = 0; k < NB_NODE_INPUTS; k++)
            if (n->in[k] && (n->op->f32_weights & (1U << k)))
                NB_TRY(bind_f32(s, n->in[k], err));
    }
    return NB_OK;
}

enum nb_status nb_session_bind(struct nb_session *s, const struct nb_numfmt *kv_type,
                               struct nb_error *err)
{
    s->slots = nb_arena_alloc(&s->arena, s->g.n_values, sizeof *s->slots);
    s->tokens = nb_arena_alloc(&s->arena, s->n_batch, sizeof *s->tokens);
    if (!s->slots || !s->tokens)
        return no_memory(err, "its values");
    for (uint32_t i = 1; i < s->g.n_values; i++)
        if (s->g.values[i].kind == NB_VALUE_WEIGHT)
            NB_TRY(bind_weight(s, i, err));
    NB_TRY(bind_small_weights(s, err));
    NB_TRY(bind_frequencies(s, "rope.freqs", &s->w->hp.rope, s->w->rope_divisors, err));
    NB_TRY(bind_frequencies(s, "rope.freqs_local", &s->w->hp.rope_local, NULL, err));
    const uint32_t tokens = nb_graph_find(&s->g, "tokens");
    const uint32_t hidden = nb_graph_find(&s->g, "hidden.in");
    uint32_t logits = nb_graph_find(&s->g, "logits");
    if (!logits)
        logits = nb_graph_find(&s->g, "hidden");
    if (!tokens || !logits)
        NB_FAIL(err, NB_ERR_INTERNAL, "session: the graph has no 'tokens' or no 'logits'");
    s->width = (uint32_t)s->g.values[logits].dim[1].n;
    s->slots[tokens].data = s->tokens;
    s->hidden = hidden ? &s->slots[hidden] : NULL;
    s->logits = &s->slots[logits];
    return bind_states(s, kv_type, err);
}
