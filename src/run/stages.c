/* run/stages.c: see stages.h.
 *
 * Nodes that do not depend on the hidden states (tables of rotation) run again in every piece that reads
 * them. All memory is the session's own plan: a value lives there from its node to its last reader, so what
 * is put back at a cut is in nobody's way.
 */
#include "run/stages.h"

#include "run/session_internal.h"

#include <string.h>

#define MAX_STAGES 8
#define MAX_LIVE   8

/* Values in a row at a cut, in the order of their numbers. */
struct cut {
    size_t node; /* place in g.order of the first node behind it */
    uint32_t live[MAX_LIVE];
    size_t n_live;
    uint32_t sum; /* value: what the stage's only reader makes of the residual stream; 0: none */
    struct nb_stage stage;
};

/* Owns: input, depends. Borrows: s. */
struct nb_stages {
    struct nb_session *s;
    struct cut cuts[MAX_STAGES + 1]; /* [n]: the end */
    size_t n;
    float *input;  /* (n_batch, n_embd) the hidden states that come in: no activation of the plan */
    float *output; /* (n_batch, n_embd) and those that go out */
    bool *depends; /* (n_values) on the hidden states */
    uint32_t first, last; /* "hidden.in", "hidden" */
};

static const struct nb_node *node_at(const struct nb_session *s, size_t place)
{
    return &s->g.nodes[s->g.order[place]];
}

static size_t cols_of(const struct nb_session *s, uint32_t value)
{
    const struct nb_value *v = &s->g.values[value];
    return (size_t)v->dim[v->rank - 1].n;
}

/* Is it a linear layer whose input is a float matrix? */
static bool is_linear(const struct nb_session *s, const struct nb_node *n)
{
    return n->op->quantizable >= 0 && s->g.values[n->in[0]].type == NB_VALUE_F32;
}

static bool reads(const struct nb_node *n, uint32_t value)
{
    for (uint32_t k = 0; k < NB_NODE_INPUTS; k++)
        if (n->in[k] == value)
            return true;
    return false;
}

static void find_dependence(struct nb_stages *t)
{
    const struct nb_session *s = t->s;
    t->depends[t->first] = true;
    for (size_t i = 0; i < s->g.n_nodes; i++) {
        const struct nb_node *n = node_at(s, i);
        bool any = false;
        for (uint32_t k = 0; k < NB_NODE_INPUTS; k++) /* states are made anew by each window */
            any = any || (n->in[k] != 0 &&
                          (t->depends[n->in[k]] || s->g.values[n->in[k]].kind == NB_VALUE_STATE));
        for (uint32_t k = 0; k < NB_NODE_OUTPUTS; k++)
            if (n->out[k] != 0)
                t->depends[n->out[k]] = any;
    }
}

/* Where the value is made: before which place of the order it is there. */
static size_t made_at(const struct nb_session *s, uint32_t value)
{
    for (size_t i = 0; i < s->g.n_nodes; i++)
        for (uint32_t k = 0; k < NB_NODE_OUTPUTS; k++)
            if (node_at(s, i)->out[k] == value)
                return i + 1;
    return 0;
}

static bool read_from(const struct nb_session *s, uint32_t value, size_t place)
{
    for (size_t i = place; i < s->g.n_nodes; i++)
        if (reads(node_at(s, i), value))
            return true;
    return false;
}

static enum nb_status find_live(const struct nb_stages *t, struct cut *c, struct nb_error *err)
{
    const struct nb_session *s = t->s;
    for (uint32_t v = 1; v < s->g.n_values; v++) {
        const struct nb_value *value = &s->g.values[v];
        if (!t->depends[v] || value->kind == NB_VALUE_STATE || made_at(s, v) > c->node ||
            !read_from(s, v, c->node))
            continue;
        if (value->type != NB_VALUE_F32 || value->rank != 2 || c->n_live == MAX_LIVE)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "session: this block cannot be run in pieces");
        c->live[c->n_live++] = v;
        c->stage.width += cols_of(s, v);
    }
    return NB_OK;
}

/* Columns of a value in a row; false: it is not there. */
static bool column_of(const struct nb_stages *t, const struct cut *c, uint32_t value, size_t *at)
{
    *at = 0;
    for (size_t i = 0; i < c->n_live; i++) {
        if (c->live[i] == value)
            return true;
        *at += cols_of(t->s, c->live[i]);
    }
    return false;
}

/* Whom the layer's output is added to, as it is: the other side of the only node that reads it. */
static void find_residual(const struct nb_stages *t, struct cut *c, const struct nb_node *layer)
{
    const struct nb_session *s = t->s;
    const struct nb_node *reader = NULL;
    size_t n = 0;
    for (size_t i = 0; i < s->g.n_nodes; i++)
        if (reads(node_at(s, i), layer->out[0])) {
            reader = node_at(s, i);
            n++;
        }
    if (n != 1 || reader->op != &nb_op_add)
        return;
    const uint32_t other = reader->in[0] == layer->out[0] ? reader->in[1] : reader->in[0];
    if (other != layer->out[0] && cols_of(s, other) == cols_of(s, layer->out[0]) &&
        column_of(t, c, other, &c->stage.residual)) {
        c->stage.residual_cols = cols_of(s, other);
        c->sum = reader->out[0];
    }
}

static enum nb_status describe(const struct nb_stages *t, struct cut *c, uint32_t edge,
                               struct nb_error *err)
{
    const struct nb_session *s = t->s;
    const struct nb_node *layer = NULL;
    NB_TRY(find_live(t, c, err));
    if (!column_of(t, c, edge, &c->stage.x))
        NB_FAIL(err, NB_ERR_INTERNAL, "session: a layer's input is not there when it is read");
    c->stage.x_cols = cols_of(s, edge);
    for (size_t i = c->node; i < s->g.n_nodes; i++) {
        const struct nb_node *n = node_at(s, i);
        if (!is_linear(s, n) || n->in[0] != edge)
            continue;
        if (c->stage.n_readers == NB_STAGE_READERS)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "session: more than %d layers read one input",
                    NB_STAGE_READERS);
        layer = n;
        c->stage.readers[c->stage.n_readers++] = s->g.values[n->in[n->op->quantizable]].name;
    }
    if (c->stage.n_readers == 1)
        find_residual(t, c, layer);
    return NB_OK;
}

static enum nb_status find_cuts(struct nb_stages *t, struct nb_error *err)
{
    const struct nb_session *s = t->s;
    uint32_t edges[MAX_STAGES] = {0};
    t->n = 1; /* piece 0 begins with the hidden states */
    NB_TRY(find_live(t, &t->cuts[0], err));
    for (size_t i = 0; i < s->g.n_nodes; i++) {
        const struct nb_node *n = node_at(s, i);
        bool known = false;
        if (!is_linear(s, n))
            continue;
        if (n->op->ids_input)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "session: a block with experts is not run in pieces");
        for (size_t k = 1; k < t->n; k++)
            known = known || edges[k] == n->in[0];
        if (known)
            continue;
        if (t->n == MAX_STAGES)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "session: a block of more than %d pieces", MAX_STAGES);
        edges[t->n] = n->in[0];
        t->cuts[t->n].node = i;
        NB_TRY(describe(t, &t->cuts[t->n], n->in[0], err));
        t->n++;
    }
    struct cut *end = &t->cuts[t->n];
    end->node = s->g.n_nodes;
    end->live[0] = t->last;
    end->n_live = 1;
    end->stage.width = cols_of(s, t->last);
    for (size_t k = 1; k < t->n; k++)
        if (t->cuts[k].sum == 0 ||
            !column_of(t, &t->cuts[k + 1], t->cuts[k].sum, &t->cuts[k].stage.sum))
            t->cuts[k].stage.residual_cols = 0;
    return NB_OK;
}

enum nb_status nb_stages_create(struct nb_stages **out, struct nb_session *s, struct nb_error *err)
{
    *out = NULL;
    struct nb_stages *t = nb_alloc_zero(s->a, 1, sizeof *t);
    if (t == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "session: no memory for its pieces");
    t->s = s;
    t->first = nb_graph_find(&s->g, "hidden.in");
    t->last = nb_graph_find(&s->g, "hidden");
    enum nb_status st = NB_OK;
    if (t->first == 0 || t->last == 0 || s->head < s->g.n_nodes)
        st = NB_ERROR(err, NB_ERR_UNSUPPORTED, "session: only a range of blocks is run in pieces");
    if (st == NB_OK) {
        t->input = nb_alloc(s->a, (size_t)s->n_batch * cols_of(s, t->first), sizeof *t->input);
        t->output = nb_alloc(s->a, (size_t)s->n_batch * cols_of(s, t->last), sizeof *t->output);
        t->depends = nb_alloc_zero(s->a, s->g.n_values, sizeof *t->depends);
        if (t->input == NULL || t->output == NULL || t->depends == NULL)
            st = NB_ERROR(err, NB_ERR_NOMEM, "session: no memory for its pieces");
    }
    if (st == NB_OK) {
        find_dependence(t);
        st = find_cuts(t, err);
    }
    if (st != NB_OK) {
        nb_stages_destroy(t);
        return st;
    }
    *out = t;
    return NB_OK;
}

void nb_stages_destroy(struct nb_stages *t)
{
    if (t == NULL)
        return;
    const struct nb_allocator *a = t->s->a;
    nb_free(a, t->input);
    nb_free(a, t->output);
    nb_free(a, t->depends);
    nb_free(a, t);
}

size_t nb_stages_count(const struct nb_stages *t)
{
    return t->n;
}

const struct nb_stage *nb_stages_at(const struct nb_stages *t, size_t i)
{
    return &t->cuts[i].stage;
}

size_t nb_stages_max_width(const struct nb_stages *t)
{
    size_t most = 0;
    for (size_t i = 0; i <= t->n; i++)
        most = NB_MAX(most, t->cuts[i].stage.width);
    return most;
}

/* ---- running ---- */

struct move {
    const struct nb_stages *t;
    const struct cut *cut;
    float *rows;
    bool in;
};

static void move_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct move *m = ctx;
    size_t at = 0;
    (void)worker;
    for (size_t i = 0; i < m->cut->n_live; i++) {
        const size_t cols = cols_of(m->t->s, m->cut->live[i]);
        float *value = m->t->s->slots[m->cut->live[i]].data;
        for (size_t r = begin; r < end; r++) {
            float *row = m->rows + r * m->cut->stage.width + at;
            if (m->in)
                memcpy(value + r * cols, row, cols * sizeof *row);
            else
                memcpy(row, value + r * cols, cols * sizeof *row);
        }
        at += cols;
    }
}

/* Rows at a cut into the values, or out of them. */
static void move(const struct nb_stages *t, const struct cut *c, size_t n, float *rows, bool in)
{
    struct move m = {t, c, rows, in};
    nb_pool_for(t->s->pool, n, 64, move_rows, &m);
}

static bool wanted(const struct nb_stages *t, size_t place, size_t end)
{
    const struct nb_node *n = node_at(t->s, place);
    return n->out[0] != 0 && !t->depends[n->out[0]] && read_from(t->s, n->out[0], end);
}

static void run_node(struct nb_session *s, size_t place)
{
    const struct nb_node *n = node_at(s, place);
    struct nb_op_call call;
    nb_session_call(s, n, &call);
    n->op->run(&call);
}

enum nb_status nb_stages_run(struct nb_stages *t, size_t i, size_t n, const float *in, float *out,
                             struct nb_error *err)
{
    struct nb_session *s = t->s;
    const struct cut *from = &t->cuts[i], *to = &t->cuts[i + 1];
    const uint64_t sym[NB_N_SYMS] = {1, n, s->n_ctx, n, s->n_window};
    if (i >= t->n || n == 0 || n > s->n_batch || !nb_session_extents(s, sym))
        NB_FAIL(err, NB_ERR_ARG, "session: piece %zu of a window of %zu tokens", i, n);
    s->position = 0;
    s->slots[t->first].data = t->input;
    s->logits->data = t->output;
    move(t, from, n, (float *)(uintptr_t)in, true);
    for (size_t k = 0; k < from->node; k++)
        if (wanted(t, k, from->node))
            run_node(s, k);
    for (size_t k = from->node; k < to->node; k++)
        run_node(s, k);
    move(t, to, n, out, false);
    return NB_OK;
}
