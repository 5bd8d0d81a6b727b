/* run/session.c: a graph with memory, run token by token or batch by batch. */
#include "run/session_internal.h"

#include <string.h>

#define DEFAULT_BATCH 512U

static enum nb_status check_options(const struct nb_weights *w, const struct nb_session_options *o,
                                    struct nb_error *err)
{
    if (o->n_ctx == 0 && w->hp.n_ctx_train == 0)
        NB_FAIL(err, NB_ERR_ARG, "session: the model names no context length; give one");
    if (o->kv_type && o->kv_type->kind != NB_NUMFMT_FLOAT)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "session: KV cache of type %s; expected f16 or f32",
                o->kv_type->name);
    return NB_OK;
}

/* A windowed layer needs what the first token of a batch sees, and the batch. */
static uint32_t window_positions(const struct nb_session *s)
{
    const uint64_t n = (uint64_t)s->w->hp.window + s->n_batch;
    return (uint32_t)NB_MIN(n, s->n_ctx);
}

static enum nb_status set_up(struct nb_session *s, const struct nb_session_options *o,
                             struct nb_error *err)
{
    const struct nb_numfmt *kv = o->kv_type ? o->kv_type : &nb_numfmt_f16;
    s->n_ctx = o->n_ctx ? o->n_ctx : s->w->hp.n_ctx_train;
    s->encoder = s->w->hp.encoder;
    s->n_batch = NB_MIN(o->n_batch ? o->n_batch : DEFAULT_BATCH, s->n_ctx);
    if (s->encoder) /* every token sees every other: a text is one batch */
        s->n_batch = s->n_ctx;
    s->n_window = window_positions(s);
    s->pool = o->pool;
    s->kernels = nb_kernels_get();
    struct nb_hparams hp = s->w->hp;
    hp.all_experts = o->all_experts;
    NB_TRY(nb_arch_build(&hp, o->hidden, &s->g, err));
    nb_graph_set_int(&s->g, "halves", s->w->rope_halves);
    if (!o->float_activations)
        NB_TRY(nb_session_lower(&s->g, s->w, err));
    NB_TRY(nb_graph_sort(&s->g, err));
    NB_TRY(nb_session_bind(s, kv, err));
    return nb_session_plan(s, err);
}

enum nb_status nb_session_create(struct nb_session **out, const struct nb_weights *w,
                                 const struct nb_session_options *options,
                                 const struct nb_allocator *a, struct nb_error *err)
{
    *out = NULL;
    NB_TRY(check_options(w, options, err));
    struct nb_session *s = nb_alloc_zero(a, 1, sizeof *s);
    if (!s)
        NB_FAIL(err, NB_ERR_NOMEM, "session: out of memory");
    s->a = a;
    s->w = w;
    nb_graph_init(&s->g, a);
    nb_arena_init(&s->arena, a, 0);
    const enum nb_status st = set_up(s, options, err);
    if (st != NB_OK) {
        nb_session_destroy(s);
        return st;
    }
    *out = s;
    return NB_OK;
}

void nb_session_destroy(struct nb_session *s)
{
    if (!s)
        return;
    nb_free(s->a, s->states);
    nb_free(s->a, s->activations);
    nb_free(s->a, s->scratch);
    nb_graph_fini(&s->g);
    nb_arena_fini(&s->arena);
    nb_free(s->a, s);
}

/* What experts read is another edge than the same value read by all tokens. */
static void add_experts(const struct nb_session *s, const struct nb_node *n, struct nb_tap *tap)
{
    const struct nb_slot *ids = &s->slots[n->in[n->op->ids_input]];
    const struct nb_shape *shape = &s->slots[n->in[n->op->quantizable]].tensor->shape;
    tap->ids = ids->data;
    tap->n_ids = (size_t)ids->cols;
    tap->n_chosen = NB_MIN((size_t)s->w->hp.n_experts_used, tap->n_ids);
    tap->n_experts = (size_t)shape->dim[0];
    tap->per_id = tap->k != shape->dim[2];
    tap->k = (size_t)shape->dim[2];
    tap->edge += (uint32_t)s->g.n_values;
}

static void tap_node(const struct nb_session *s, const struct nb_node *n)
{
    const int32_t weight = n->op->quantizable;
    if (weight < 0 || s->g.values[n->in[0]].type != NB_VALUE_F32)
        return;
    const struct nb_slot *x = &s->slots[n->in[0]];
    struct nb_tap tap = {.weight = s->g.values[n->in[weight]].name,
                         .edge = n->in[0],
                         .x = x->data,
                         .n_tokens = (size_t)x->rows,
                         .k = (size_t)x->cols};
    if (n->op->ids_input)
        add_experts(s, n, &tap);
    if (tap.n_tokens > 0)
        s->tap(s->tap_ctx, &tap);
}

/* n tokens, the last n_rows of which get logits. */
static enum nb_status run_batch(struct nb_session *s, const uint32_t *tokens, size_t n,
                                float *logits, size_t n_rows, struct nb_error *err)
{
    const uint64_t sym[NB_N_SYMS] = {1, n, s->n_ctx, n_rows, s->n_window};
    if (!nb_session_extents(s, sym))
        NB_FAIL(err, NB_ERR_INTERNAL, "session: a batch larger than planned");
    memcpy(s->tokens, tokens, n * sizeof *tokens);
    s->logits->data = logits;
    for (size_t i = 0; i < s->g.n_nodes; i++) {
        const struct nb_node *node = &s->g.nodes[s->g.order[i]];
        struct nb_op_call call;
        nb_session_call(s, node, &call);
        if (s->tap)
            tap_node(s, node);
        node->op->run(&call);
    }
    s->position += (uint32_t)n;
    s->written = NB_MAX(s->written, s->position);
    return NB_OK;
}

static enum nb_status check_call(const struct nb_session *s, const uint32_t *tokens, size_t n,
                                 const float *logits, size_t logits_first, struct nb_error *err)
{
    if (logits_first > n)
        NB_FAIL(err, NB_ERR_ARG, "session: logits from token %zu on, but there are %zu tokens",
                logits_first, n);
    if (logits_first < n && !logits)
        NB_FAIL(err, NB_ERR_ARG, "session: logits wanted, but no memory given for them");
    if (n > s->n_ctx - s->position)
        NB_FAIL(err, NB_ERR_LIMIT, "session: %zu tokens at position %u do not fit a context of %u",
                n, s->position, s->n_ctx);
    for (size_t i = 0; i < n; i++)
        if (tokens[i] >= s->w->hp.n_vocab)
            NB_FAIL(err, NB_ERR_ARG, "session: token %zu is %u, the vocabulary has %u", i,
                    tokens[i], s->w->hp.n_vocab);
    return NB_OK;
}

enum nb_status nb_session_eval(struct nb_session *s, const uint32_t *tokens, size_t n,
                               float *logits, size_t logits_first, struct nb_error *err)
{
    if (s->encoder)
        s->position = 0;
    NB_TRY(check_call(s, tokens, n, logits, logits_first, err));
    for (size_t at = 0; at < n;) {
        const size_t m = NB_MIN((size_t)s->n_batch, n - at), end = at + m;
        const size_t n_rows = end - NB_MIN(NB_MAX(at, logits_first), end);
        NB_TRY(run_batch(s, tokens + at, m, logits, n_rows, err));
        if (n_rows)
            logits += n_rows * s->width;
        at = end;
    }
    return NB_OK;
}

uint32_t nb_session_width(const struct nb_session *s)
{
    return s->width;
}

uint32_t nb_session_position(const struct nb_session *s)
{
    return s->position;
}

uint32_t nb_session_context(const struct nb_session *s)
{
    return s->n_ctx;
}

/* The rings of windowed layers hold positions from written - n_window on. */
uint32_t nb_session_rewind(struct nb_session *s, uint32_t position)
{
    const uint32_t window = s->w->hp.window, to = NB_MIN(position, s->position);
    const uint32_t lost = s->written > s->n_window ? s->written - s->n_window : 0;
    const uint32_t needed = to >= window ? to - window + 1 : 0; /* the first that token `to` sees */
    s->position = window > 0 && needed < lost ? 0 : to;
    if (s->position == 0)
        s->written = 0;
    return s->position;
}

void nb_session_memory(const struct nb_session *s, struct nb_session_memory *out)
{
    *out = s->memory;
}

void nb_session_tap(struct nb_session *s, nb_tap_fn *fn, void *ctx)
{
    s->tap = fn;
    s->tap_ctx = ctx;
}
