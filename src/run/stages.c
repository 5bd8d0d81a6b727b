/* run/stages.c: see stages.h.
 *
 * What does not depend on the hidden states (tables of rotation) is made once for all windows of a length and
 * kept beside the session's plan. Values that live at a cut have their place in the window, found as in plan.c; the others are where
 * the session planned them.
 */
#include "run/stages.h"

#include "run/session_internal.h"

#include <string.h>

#define MAX_STAGES 8
#define MAX_LIVE   8

/* Values at a cut, in the order of their numbers. */
struct cut {
    size_t node; /* place in g.order of the first node behind it */
    uint32_t live[MAX_LIVE];
    size_t n_live;
    uint32_t edge; /* value: the stage's x; 0: none */
    uint32_t residual,
        sum; /* values: what the only reader's output is added to, and the sum; 0: none */
    struct nb_stage stage;
};

/* A value in the window: there from the node before place `made` to that before `read`. */
struct home {
    uint32_t value;
    size_t cols, at, made, read;
};

/* Owns: depends, tables. Borrows: s. */
struct nb_stages {
    struct nb_session *s;
    struct cut cuts[MAX_STAGES + 1]; /* [n]: the end */
    size_t n;
    struct home homes[(MAX_STAGES + 1) * MAX_LIVE];
    size_t n_homes, width;
    bool *depends;        /* (n_values) on the hidden states */
    uint8_t *tables;      /* values that do not */
    size_t tabled;        /* tokens of the window that these are for; 0: not made yet */
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
        if (!t->depends[v] || value->kind == NB_VALUE_STATE || value->type == NB_VALUE_Q8 ||
            made_at(s, v) > c->node || !read_from(s, v, c->node))
            continue; /* quantized activations are made again by each piece that reads them */
        if (value->type != NB_VALUE_F32 || value->rank != 2 || c->n_live == MAX_LIVE)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "session: this block cannot be run in pieces");
        c->live[c->n_live++] = v;
    }
    return NB_OK;
}

static bool is_live(const struct cut *c, uint32_t value)
{
    for (size_t i = 0; i < c->n_live; i++)
        if (c->live[i] == value)
            return true;
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
        is_live(c, other)) {
        c->residual = other;
        c->sum = reader->out[0];
    }
}

static enum nb_status describe(const struct nb_stages *t, struct cut *c, struct nb_error *err)
{
    const struct nb_session *s = t->s;
    const struct nb_node *layer = NULL;
    NB_TRY(find_live(t, c, err));
    if (!is_live(c, c->edge))
        NB_FAIL(err, NB_ERR_INTERNAL, "session: a layer's input is not there when it is read");
    for (size_t i = c->node; i < s->g.n_nodes; i++) {
        const struct nb_node *n = node_at(s, i);
        if (!is_linear(s, n) || n->in[0] != c->edge)
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

/* The first node that works for the layers that read the value: the first of them, or what quantizes it. */
static size_t begin_of(const struct nb_session *s, uint32_t value, size_t layer)
{
    for (size_t i = 0; i < layer; i++)
        if (node_at(s, i)->op == &nb_op_quantize_q8 && node_at(s, i)->in[0] == value)
            return i;
    return layer;
}

static enum nb_status find_cuts(struct nb_stages *t, struct nb_error *err)
{
    const struct nb_session *s = t->s;
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
            known = known || t->cuts[k].edge == n->in[0];
        if (known)
            continue;
        if (t->n == MAX_STAGES)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "session: a block of more than %d pieces", MAX_STAGES);
        t->cuts[t->n].edge = n->in[0];
        t->cuts[t->n].node = begin_of(s, n->in[0], i);
        NB_TRY(describe(t, &t->cuts[t->n], err));
        t->n++;
    }
    struct cut *end = &t->cuts[t->n];
    end->node = s->g.n_nodes;
    end->live[0] = t->last;
    end->n_live = 1;
    return NB_OK;
}

static enum nb_status find_layers(struct nb_stages *t, struct nb_error *err)
{
    const struct nb_session *s = t->s;
    for (size_t k = 0; k < t->n; k++)
        for (size_t i = t->cuts[k].node; i < t->cuts[k + 1].node; i++) {
            const struct nb_node *n = node_at(s, i);
            struct nb_stage *stage = &t->cuts[k].stage;
            if (!is_linear(s, n))
                continue;
            if (stage->n_layers == NB_STAGE_READERS)
                NB_FAIL(err, NB_ERR_UNSUPPORTED, "session: more than %d layers in a piece",
                        NB_STAGE_READERS);
            stage->layers[stage->n_layers++] = s->g.values[n->in[n->op->quantizable]].name;
        }
    return NB_OK;
}

/* ---- places in a window ---- */

static struct home *home_of(struct nb_stages *t, uint32_t value)
{
    for (size_t i = 0; i < t->n_homes; i++)
        if (t->homes[i].value == value)
            return &t->homes[i];
    return NULL;
}

static size_t last_read(const struct nb_stages *t, uint32_t value)
{
    const struct nb_session *s = t->s;
    size_t last = value == t->last ? s->g.n_nodes + 1 : 0;
    for (size_t i = 0; i < s->g.n_nodes; i++)
        if (reads(node_at(s, i), value))
            last = NB_MAX(last, i + 1);
    return last;
}

/* Is h in the way of x, did x lie at `at`? A node's output is in the way of its inputs. */
static bool collides(const struct home *h, const struct home *x, size_t at)
{
    return h->made <= x->read && x->made <= h->read && h->at < at + x->cols && at < h->at + h->cols;
}

/* The lowest place that is free: 0, or the end of another. */
static void settle(struct nb_stages *t, uint32_t value)
{
    struct home x = {.value = value,
                     .cols = cols_of(t->s, value),
                     .made = made_at(t->s, value),
                     .read = last_read(t, value)};
    size_t best = SIZE_MAX;
    if (home_of(t, value) != NULL)
        return;
    for (size_t i = 0; i <= t->n_homes; i++) {
        const size_t at = i == 0 ? 0 : t->homes[i - 1].at + t->homes[i - 1].cols;
        bool is_free = at < best;
        for (size_t k = 0; k < t->n_homes; k++)
            is_free = is_free && !collides(&t->homes[k], &x, at);
        if (is_free)
            best = at;
    }
    x.at = best;
    t->homes[t->n_homes++] = x;
    t->width = NB_MAX(t->width, best + x.cols);
}

/* The hidden states first, then the widest. */
static void find_homes(struct nb_stages *t)
{
    size_t below = SIZE_MAX;
    settle(t, t->first);
    settle(t, t->last);
    while (below > 0) {
        size_t widest = 0;
        for (size_t k = 0; k < t->n; k++)
            for (size_t i = 0; i < t->cuts[k].n_live; i++) {
                const size_t cols = cols_of(t->s, t->cuts[k].live[i]);
                if (cols < below)
                    widest = NB_MAX(widest, cols);
            }
        for (size_t k = 0; k < t->n; k++)
            for (size_t i = 0; i < t->cuts[k].n_live; i++)
                if (cols_of(t->s, t->cuts[k].live[i]) == widest)
                    settle(t, t->cuts[k].live[i]);
        below = widest;
    }
    for (size_t k = 1; k < t->n; k++) {
        struct cut *c = &t->cuts[k];
        c->stage.x = home_of(t, c->edge)->at;
        c->stage.x_cols = cols_of(t->s, c->edge);
        if (c->residual == 0 || !is_live(&t->cuts[k + 1], c->sum))
            continue;
        c->stage.residual = home_of(t, c->residual)->at;
        c->stage.residual_cols = cols_of(t->s, c->residual);
        c->stage.sum = home_of(t, c->sum)->at;
    }
}

/* ---- tables ---- */

static bool makes_table(const struct nb_stages *t, const struct nb_node *n)
{
    return n->out[0] != 0 && !t->depends[n->out[0]];
}

/* The next outputs of a node that makes tables are at *at, which moves on; memory NULL: only counted. */
static bool take_tables(const struct nb_stages *t, const struct nb_node *n, uint8_t *memory,
                        size_t *at)
{
    struct nb_session *s = t->s;
    for (uint32_t k = 0; k < NB_NODE_OUTPUTS; k++) {
        uint64_t bytes;
        if (n->out[k] == 0)
            continue;
        if (memory != NULL)
            s->slots[n->out[k]].data = memory + *at;
        if (!nb_value_bytes(&s->g.values[n->out[k]], s->sym, &bytes) || bytes > SIZE_MAX / 4 ||
            !nb_add_size(at, *at, ((size_t)bytes + NB_ALIGN - 1) / NB_ALIGN * NB_ALIGN))
            return false;
    }
    return true;
}

static enum nb_status place_tables(struct nb_stages *t, struct nb_error *err)
{
    struct nb_session *s = t->s;
    const uint64_t largest[NB_N_SYMS] = {1, s->n_batch, s->n_ctx, s->n_batch, s->n_window};
    size_t bytes = 0, at = 0;
    bool ok = nb_session_extents(s, largest);
    for (size_t i = 0; i < s->g.n_nodes; i++)
        if (makes_table(t, node_at(s, i)))
            ok = ok && take_tables(t, node_at(s, i), NULL, &bytes);
    t->tables = ok ? nb_alloc(s->a, NB_MAX(bytes, (size_t)NB_ALIGN), 1) : NULL;
    if (t->tables == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "session: no memory for its tables");
    for (size_t i = 0; i < s->g.n_nodes; i++)
        if (makes_table(t, node_at(s, i)))
            ok = ok && take_tables(t, node_at(s, i), t->tables, &at);
    nb_assert(ok);
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
        t->depends = nb_alloc_zero(s->a, s->g.n_values, sizeof *t->depends);
        if (t->depends == NULL)
            st = NB_ERROR(err, NB_ERR_NOMEM, "session: no memory for its pieces");
    }
    if (st == NB_OK) {
        find_dependence(t);
        st = find_cuts(t, err);
    }
    if (st == NB_OK)
        st = find_layers(t, err);
    if (st == NB_OK)
        st = place_tables(t, err);
    if (st == NB_OK)
        find_homes(t);
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
    nb_free(t->s->a, t->depends);
    nb_free(t->s->a, t->tables);
    nb_free(t->s->a, t);
}

size_t nb_stages_count(const struct nb_stages *t)
{
    return t->n;
}

const struct nb_stage *nb_stages_at(const struct nb_stages *t, size_t i)
{
    return &t->cuts[i].stage;
}

size_t nb_stages_width(const struct nb_stages *t)
{
    return t->width;
}

/* ---- running ---- */

static void put_in_place(const struct nb_stages *t, size_t n, float *window)
{
    for (size_t i = 0; i < t->n_homes; i++)
        t->s->slots[t->homes[i].value].data = window + t->homes[i].at * n;
}

struct move {
    float *to;
    const float *from;
    size_t cols;
};

static void move_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct move *m = ctx;
    (void)worker;
    memcpy(m->to + begin * m->cols, m->from + begin * m->cols,
           (end - begin) * m->cols * sizeof *m->to);
}

/* What goes out has a place of its own where the block reads what comes in to its end. */
static void move_out(struct nb_stages *t, size_t n, float *window)
{
    const struct home *last = home_of(t, t->last);
    struct move m = {window, window + last->at * n, last->cols};
    if (last->at >= last->cols)
        nb_pool_for(t->s->pool, n, 64, move_rows, &m);
}

static void run_node(struct nb_session *s, size_t place)
{
    const struct nb_node *n = node_at(s, place);
    struct nb_op_call call;
    nb_session_call(s, n, &call);
    n->op->run(&call);
}

static void make_tables(struct nb_stages *t, size_t n)
{
    for (size_t k = 0; k < t->s->g.n_nodes; k++)
        if (makes_table(t, node_at(t->s, k)))
            run_node(t->s, k);
    t->tabled = n;
}

/* Activations that an earlier piece quantized for layers of its own, and this one reads too. */
static void quantize_again(const struct nb_stages *t, const struct cut *from, const struct cut *to)
{
    struct nb_session *s = t->s;
    for (size_t k = 0; k < from->node; k++) {
        const struct nb_node *n = node_at(s, k);
        bool wanted = false;
        for (size_t i = from->node; i < to->node && n->op == &nb_op_quantize_q8; i++)
            wanted = wanted || reads(node_at(s, i), n->out[0]);
        if (wanted)
            run_node(s, k);
    }
}

enum nb_status nb_stages_run(struct nb_stages *t, size_t i, size_t n, float *window,
                             struct nb_error *err)
{
    struct nb_session *s = t->s;
    const struct cut *from = &t->cuts[i], *to = &t->cuts[i + 1];
    const uint64_t sym[NB_N_SYMS] = {1, n, s->n_ctx, n, s->n_window};
    if (i >= t->n || n == 0 || n > s->n_batch || !nb_session_extents(s, sym))
        NB_FAIL(err, NB_ERR_ARG, "session: piece %zu of a window of %zu tokens", i, n);
    s->position = 0;
    put_in_place(t, n, window);
    if (t->tabled != n)
        make_tables(t, n);
    quantize_again(t, from, to);
    for (size_t k = from->node; k < to->node; k++)
        if (!makes_table(t, node_at(s, k)))
            run_node(s, k);
    if (i + 1 == t->n)
        move_out(t, n, window);
    return NB_OK;
}
