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

/* The product that reads what the last norm gives: behind it there are factors at most. */
static size_t find_head(const struct nb_session *s)
{
    const uint32_t logits = nb_graph_find(&s->g, "logits");
    size_t i = logits ? s->g.n_nodes : 0;
    while (i > 0 && s->g.nodes[s->g.order[i - 1]].op->quantizable < 0)
        i--;
    return i > 0 ? i - 1 : s->g.n_nodes;
}

static enum nb_status set_up(struct nb_session *s, const struct nb_session_options *o,
                             struct nb_error *err)
{
    const struct nb_numfmt *kv = o->kv_type ? o->kv_type : &nb_numfmt_f16;
    s->n_ctx = o->n_ctx ? o->n_ctx : s->w->hp.n_ctx_train;
    s->encoder = s->w->hp.encoder;
    s->n_batch = NB_MIN(o->n_batch ? o->n_batch : DEFAULT_BATCH, s->n_ctx);
    if (s->encoder || o->gradients) /* every token sees every other, or is to be walked back */
        s->n_batch = s->n_ctx;
    s->n_window = window_positions(s);
    s->pool = o->pool;
    s->kernels = nb_kernels_get();
    struct nb_hparams hp = s->w->hp;
    hp.all_experts = o->all_experts;
    struct nb_model_part part = o->part;
    part.hidden = part.hidden || o->hidden;
    s->all_rows = part.to_hidden;
    NB_TRY(nb_arch_build_part(&hp, &part, &s->g, err));
    nb_graph_set_int(&s->g, "halves", s->w->rope_halves);
    if (!o->float_activations)
        NB_TRY(nb_session_lower(&s->g, s->w, err));
    NB_TRY(nb_graph_sort(&s->g, err));
    NB_TRY(nb_session_bind(s, kv, err));
    s->head = find_head(s);
    if (o->gradients)
        NB_TRY(nb_backward_create(s, o->gradients, err));
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

/* What one call works on. Borrows: everything. */
struct io {
    const uint32_t *tokens; /* (n), or ...                                                   */
    const float *hidden;    /* ... (n, n_embd)                                               */
    float *out;             /* (n - first, width)                                            */
    size_t n, first;        /* tokens; the first whose row is wanted                         */
    bool headless;          /* stops before the product that makes logits, when it is tapped */
};

static void run_nodes(struct nb_session *s, bool headless)
{
    for (size_t i = 0; i < s->g.n_nodes; i++) {
        const struct nb_node *node = &s->g.nodes[s->g.order[i]];
        struct nb_op_call call;
        nb_session_call(s, node, &call);
        if (s->tap)
            tap_node(s, node);
        if (headless && i == s->head)
            return;
        node->op->run(&call);
    }
}

/* Tokens at .. at + n - 1, the last n_rows of which get logits; all of them hidden states. */
static enum nb_status run_batch(struct nb_session *s, const struct io *io, size_t at, size_t n,
                                size_t n_rows, struct nb_error *err)
{
    const uint64_t sym[NB_N_SYMS] = {1, n, s->n_ctx, n_rows, s->n_window};
    const size_t begin = NB_MAX(at, io->first) - io->first;
    if (!nb_session_extents(s, sym))
        NB_FAIL(err, NB_ERR_INTERNAL, "session: a batch larger than planned");
    if (s->hidden) /* only read: the slot's type serves inputs and outputs */
        s->hidden->data = (void *)(uintptr_t)(io->hidden + at * (size_t)s->hidden->cols);
    else
        memcpy(s->tokens, io->tokens + at, n * sizeof *io->tokens);
    s->logits->data = io->out ? io->out + begin * s->width : NULL;
    run_nodes(s, io->headless);
    if (s->back)
        nb_backward_ran(s, s->position == 0 && n == io->n && n_rows == n && !io->headless ? n : 0);
    s->position += (uint32_t)n;
    s->written = NB_MAX(s->written, s->position);
    return NB_OK;
}

static enum nb_status check_call(const struct nb_session *s, const struct io *io,
                                 struct nb_error *err)
{
    if (io->first > io->n)
        NB_FAIL(err, NB_ERR_ARG, "session: logits from token %zu on, but there are %zu tokens",
                io->first, io->n);
    if (io->first < io->n && !io->out && !io->headless)
        NB_FAIL(err, NB_ERR_ARG, "session: logits wanted, but no memory given for them");
    if (io->n > s->n_ctx - s->position)
        NB_FAIL(err, NB_ERR_LIMIT, "session: %zu tokens at position %u do not fit a context of %u",
                io->n, s->position, s->n_ctx);
    for (size_t i = 0; i < io->n && !s->hidden; i++)
        if (io->tokens[i] >= s->w->hp.n_vocab)
            NB_FAIL(err, NB_ERR_ARG, "session: token %zu is %u, the vocabulary has %u", i,
                    io->tokens[i], s->w->hp.n_vocab);
    return NB_OK;
}

static enum nb_status eval(struct nb_session *s, const struct io *io, struct nb_error *err)
{
    if (s->encoder)
        s->position = 0;
    NB_TRY(check_call(s, io, err));
    for (size_t at = 0; at < io->n;) {
        const size_t n = NB_MIN((size_t)s->n_batch, io->n - at), end = at + n;
        const size_t n_rows = end - NB_MIN(NB_MAX(at, io->first), end);
        NB_TRY(run_batch(s, io, at, n, n_rows, err));
        at = end;
    }
    return NB_OK;
}

enum nb_status nb_session_eval(struct nb_session *s, const uint32_t *tokens, size_t n,
                               float *logits, size_t logits_first, struct nb_error *err)
{
    const struct io io = {.tokens = tokens, .out = logits, .n = n, .first = logits_first};
    if (s->hidden || (s->all_rows && logits_first != 0))
        NB_FAIL(err, NB_ERR_ARG, "session: a part of a model, which takes and gives hidden states");
    return eval(s, &io, err);
}

enum nb_status nb_session_eval_part(struct nb_session *s, const float *hidden,
                                    const uint32_t *tokens, size_t n, float *out,
                                    struct nb_error *err)
{
    const struct io io = {.tokens = tokens,
                          .hidden = hidden,
                          .out = out,
                          .n = n,
                          .headless = !out && s->head < s->g.n_nodes};
    if ((s->hidden != NULL) != (hidden != NULL) || (s->hidden != NULL) == (tokens != NULL))
        NB_FAIL(err, NB_ERR_ARG, "session: this part takes %s, and nothing else",
                s->hidden ? "hidden states" : "tokens");
    return eval(s, &io, err);
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
