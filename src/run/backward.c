/* run/backward.c: which values get a gradient, how long things live for it, and the walk itself.
 *
 * Time goes on where the forward call ends: the node that ran at step i of n is differentiated at step
 * 2 n - 1 - i. A gradient lives from the last reader of its value to the value's producer; a value that
 * gradients of its readers need lives to the end, so that one evaluation can be walked back several times.
 * run/plan.c places both in one block.
 */
#include "run/backward.h"
#include "run/session_internal.h"

#include <string.h>

#define NEVER UINT32_MAX

/* Owns: nothing (the session's arena holds it). */
struct nb_backward {
    float **grad; /* (n_values) memory; NULL: no gradient, or the caller's */
    uint32_t
        *first;   /* (n_values) place in g.order of the last reader, where it begins; NEVER: none */
    bool *kept;   /* (n_values) the way back reads the value              */
    bool *active; /* (n_nodes) there is something to differentiate        */
    unsigned what; /* enum nb_gradients                                    */
    size_t n;      /* tokens of the window that can be walked back; 0: none */
};

static const struct nb_node *node_at(const struct nb_session *s, size_t place)
{
    return &s->g.nodes[s->g.order[place]];
}

static uint32_t step_of(const struct nb_session *s, size_t place)
{
    return (uint32_t)(2 * s->g.n_nodes - 1 - place);
}

static bool is_small_weight(const struct nb_session *s, const struct nb_node *n, uint32_t input)
{
    return s->g.values[n->in[input]].kind == NB_VALUE_WEIGHT &&
           (n->op->f32_weights & (1U << input)) != 0;
}

/* Can the node give a gradient to this input, and does anybody ask for it? */
static bool gives(const struct nb_session *s, const struct nb_node *n, uint32_t input)
{
    if (!n->in[input] || (n->op->grad_to & (1U << input)) == 0)
        return false;
    const struct nb_value *v = &s->g.values[n->in[input]];
    if (v->kind == NB_VALUE_WEIGHT)
        return is_small_weight(s, n, input) && (s->back->what & NB_GRADIENTS_WEIGHTS);
    return v->type == NB_VALUE_F32 || v->kind == NB_VALUE_STATE;
}

static bool has_gradient(const struct nb_session *s, uint32_t value)
{
    return value != 0 &&
           (s->g.values[value].kind == NB_VALUE_OUTPUT || s->back->first[value] != NEVER);
}

/* Values that come from tokens and tables alone need no gradient function. */
static bool ends_here(const struct nb_session *s, const struct nb_node *n)
{
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++)
        if (n->in[i] && (s->g.values[n->in[i]].kind == NB_VALUE_ACTIVATION ||
                         s->g.values[n->in[i]].kind == NB_VALUE_STATE))
            return false;
    return true;
}

static enum nb_status visit(struct nb_session *s, size_t place, struct nb_error *err)
{
    const struct nb_node *n = node_at(s, place);
    bool active = false;
    for (uint32_t i = 0; i < NB_NODE_OUTPUTS; i++)
        active = active || has_gradient(s, n->out[i]);
    if (!active || (!n->op->grad && ends_here(s, n)))
        return NB_OK;
    if (!n->op->grad)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "session: no gradient for the operator '%s'", n->op->name);
    s->back->active[place] = true;
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++) {
        if (gives(s, n, i) && s->back->first[n->in[i]] == NEVER)
            s->back->first[n->in[i]] = (uint32_t)place;
        if (n->in[i] && (n->op->grad_reads & (1U << i)))
            s->back->kept[n->in[i]] = true;
    }
    if (n->op->quantizable >= 0 && (s->back->what & NB_GRADIENTS_INPUTS))
        s->back->kept[n->in[0]] = true;
    return NB_OK;
}

static enum nb_status small_gradients(struct nb_session *s, struct nb_error *err)
{
    const uint64_t sym[NB_N_SYMS] = {[NB_SYM_ONE] = 1};
    for (uint32_t v = 1; v < s->g.n_values; v++) {
        uint64_t rows, cols;
        if (s->g.values[v].kind != NB_VALUE_WEIGHT || s->back->first[v] == NEVER)
            continue;
        if (!nb_value_extent(&s->g.values[v], sym, &rows, &cols))
            NB_FAIL(err, NB_ERR_LIMIT, "session: the gradient of '%s' is too large",
                    s->g.values[v].name);
        s->back->grad[v] = nb_arena_alloc(&s->arena, (size_t)(rows * cols), sizeof(float));
        if (!s->back->grad[v])
            NB_FAIL(err, NB_ERR_NOMEM, "session: no memory for the gradient of '%s'",
                    s->g.values[v].name);
    }
    return NB_OK;
}

enum nb_status nb_backward_create(struct nb_session *s, unsigned what, struct nb_error *err)
{
    struct nb_backward *b = nb_arena_alloc(&s->arena, 1, sizeof *b);
    if (b) {
        b->grad = nb_arena_alloc(&s->arena, s->g.n_values, sizeof *b->grad);
        b->first = nb_arena_alloc(&s->arena, s->g.n_values, sizeof *b->first);
        b->kept = nb_arena_alloc(&s->arena, s->g.n_values, sizeof *b->kept);
        b->active = nb_arena_alloc(&s->arena, s->g.n_nodes, sizeof *b->active);
    }
    if (!b || !b->grad || !b->first || !b->kept || !b->active)
        NB_FAIL(err, NB_ERR_NOMEM, "session: no memory for the gradients of %zu values",
                s->g.n_values);
    b->what = what;
    memset(b->first, 0xff, s->g.n_values * sizeof *b->first);
    s->back = b;
    for (size_t place = s->g.n_nodes; place-- > 0;)
        NB_TRY(visit(s, place, err));
    return small_gradients(s, err);
}

/* ---- for the plan ---- */

void nb_backward_lives(const struct nb_session *s, struct nb_life *value, struct nb_life *grad)
{
    for (uint32_t v = 1; v < s->g.n_values; v++)
        if (s->back->kept[v])
            value[v].last = step_of(s, 0);
    for (size_t place = 0; place < s->g.n_nodes; place++)
        for (uint32_t i = 0; i < NB_NODE_OUTPUTS; i++) {
            const uint32_t v = node_at(s, place)->out[i];
            if (v && s->back->first[v] != NEVER)
                grad[v] = (struct nb_life){step_of(s, s->back->first[v]), step_of(s, place)};
        }
}

bool nb_backward_wants(const struct nb_session *s, uint32_t value)
{
    const enum nb_value_kind kind = s->g.values[value].kind;
    return (kind == NB_VALUE_ACTIVATION || kind == NB_VALUE_STATE) &&
           s->back->first[value] != NEVER;
}

void nb_backward_place(struct nb_session *s, uint32_t value, void *memory)
{
    s->back->grad[value] = memory;
}

bool nb_backward_runs(const struct nb_session *s, size_t place)
{
    return s->back && s->back->active[place];
}

void nb_backward_ran(struct nb_session *s, size_t n)
{
    s->back->n = n;
}

/* ---- the walk ---- */

static void tap_node(const struct nb_session *s, const struct nb_node *n,
                     const struct nb_backward_args *args, const float *dy)
{
    const struct nb_slot *x = &s->slots[n->in[0]], *y = &s->slots[n->out[0]];
    const bool kept = (s->back->what & NB_GRADIENTS_INPUTS) != 0;
    args->tap(args->tap_ctx,
              &(struct nb_grad_tap){.weight = s->g.values[n->in[n->op->quantizable]].name,
                                    .block = n->block,
                                    .dy = dy,
                                    .x = kept ? x->data : NULL,
                                    .n_tokens = (size_t)y->rows,
                                    .n_rows = (size_t)y->cols,
                                    .k = (size_t)x->cols});
}

/* The gradient's memory, cleared where it begins. */
static float *begin(const struct nb_session *s, uint32_t value, size_t place)
{
    float *grad = s->back->grad[value];
    const struct nb_slot *v = &s->slots[value];
    if (grad && s->back->first[value] == place && s->g.values[value].kind != NB_VALUE_WEIGHT)
        memset(grad, 0, (size_t)(v->rows * v->cols) * sizeof *grad);
    return grad;
}

static void differentiate(const struct nb_session *s, size_t place,
                          const struct nb_backward_args *args)
{
    const struct nb_node *n = node_at(s, place);
    struct nb_op_call call;
    struct nb_op_grad g = {.call = &call};
    nb_session_call(s, n, &call);
    call.position = 0;
    for (uint32_t i = 0; i < NB_NODE_OUTPUTS; i++)
        g.out[i] = n->out[i] ? s->back->grad[n->out[i]] : NULL;
    if (n->out[0] && s->g.values[n->out[0]].kind == NB_VALUE_OUTPUT)
        g.out[0] = args->d_out;
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++)
        g.in[i] = gives(s, n, i) ? begin(s, n->in[i], place) : NULL;
    if (args->tap && n->op->quantizable >= 0)
        tap_node(s, n, args, g.out[0]);
    n->op->grad(&g);
}

enum nb_status nb_session_backward(struct nb_session *s, const struct nb_backward_args *args,
                                   struct nb_error *err)
{
    if (!s->back)
        NB_FAIL(err, NB_ERR_ARG, "session: gradients of a session that was not made for them");
    if (s->back->n == 0)
        NB_FAIL(err, NB_ERR_ARG,
                "session: gradients want a call of one whole window, from position 0 on and with "
                "all its rows, just before");
    if (args->d_hidden && !s->hidden)
        NB_FAIL(err, NB_ERR_ARG, "session: a gradient of hidden states, but tokens came in");
    if (s->hidden)
        s->back->grad[s->hidden - s->slots] = args->d_hidden;
    for (size_t place = s->g.n_nodes; place-- > 0;)
        if (s->back->active[place])
            differentiate(s, place, args);
    return NB_OK;
}

/* ---- small weights ---- */

bool nb_session_small_weight(const struct nb_session *s, size_t i, struct nb_small_weight *out)
{
    for (uint32_t v = 1; v < s->g.n_values; v++) {
        const struct nb_slot *slot = &s->slots[v];
        if (s->g.values[v].kind != NB_VALUE_WEIGHT || !slot->data || i-- > 0)
            continue;
        *out = (struct nb_small_weight){.name = s->g.values[v].name,
                                        .value = slot->data,
                                        .grad = s->back ? s->back->grad[v] : NULL,
                                        .n = (size_t)(slot->rows * slot->cols)};
        return true;
    }
    return false;
}

void nb_session_clear_gradients(struct nb_session *s)
{
    struct nb_small_weight w;
    for (size_t i = 0; nb_session_small_weight(s, i, &w); i++)
        if (w.grad)
            memset(w.grad, 0, w.n * sizeof *w.grad);
}
