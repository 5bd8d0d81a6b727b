/* ptq/observe.c: every float value of a net, over all samples: range, moving range, histograms of both signs.
 *
 * The observers are those of language models (calib/), an activation being one column of as many rows as it has
 * elements.
 */
#include <math.h>
#include <string.h>

#include "calib/observer.h"
#include "ptq/ptq_internal.h"

enum { RANGE, MOVING, ABOVE, BELOW, N_OBSERVED };

/* Of one value. */
struct watched {
    void *state[N_OBSERVED]; /* NULL: not observed */
};

/* Owns: states (through the arena, and what they allocate), pieces. */
struct watch {
    const struct nb_allocator *a;
    const struct nb_net *net;
    struct nb_arena arena;
    struct watched *values; /* (n_values) */
    float *piece;           /* (most) elements of one sign */
    size_t most;
};

static const struct nb_observer *observer_of(int k)
{
    return k == RANGE    ? &nb_observer_range
           : k == MOVING ? &nb_observer_moving
                         : &nb_observer_histogram;
}

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to observe a net");
}

static bool is_watched(const struct nb_value *v)
{
    return v->type == NB_VALUE_F32 && nb_value_count(v) > 0 &&
           (v->kind == NB_VALUE_INPUT ||
            ((v->kind == NB_VALUE_ACTIVATION || v->kind == NB_VALUE_OUTPUT) && v->producer != 0));
}

static enum nb_status watch_init(struct watch *w, bool histograms, struct nb_error *err)
{
    const struct nb_graph *g = &w->net->g;
    w->values = nb_arena_alloc(&w->arena, g->n_values + 1, sizeof *w->values);
    if (w->values == NULL)
        return no_memory(err);
    for (uint32_t v = 1; v < g->n_values; v++) {
        if (!is_watched(&g->values[v]))
            continue;
        w->most = NB_MAX(w->most, (size_t)nb_value_count(&g->values[v]));
        for (int k = 0; k < (histograms ? N_OBSERVED : ABOVE); k++) {
            const struct nb_observer *o = observer_of(k);
            void *state = nb_arena_alloc(&w->arena, 1, o->state_bytes);
            if (state == NULL)
                return no_memory(err);
            w->values[v].state[k] = state;
            NB_TRY(o->init(state, 1, w->a, err));
        }
    }
    w->piece = nb_alloc(w->a, w->most + 1, sizeof *w->piece);
    return w->piece != NULL ? NB_OK : no_memory(err);
}

static void watch_fini(struct watch *w)
{
    for (uint32_t v = 1; w->values != NULL && v < w->net->g.n_values; v++)
        for (int k = 0; k < N_OBSERVED; k++)
            if (w->values[v].state[k] != NULL)
                observer_of(k)->fini(w->values[v].state[k]);
    nb_free(w->a, w->piece);
    nb_arena_fini(&w->arena);
}

static enum nb_status feed(void *state, int k, const float *x, size_t n, struct nb_error *err)
{
    const bool columns = k == RANGE; /* which has a state for each; the others look at elements */
    const struct nb_observed rows = {.x = x, .cols = columns ? 1 : n, .n_rows = columns ? n : 1};
    if (k == MOVING)
        nb_observer_moving.window(state);
    return n > 0 ? observer_of(k)->add(state, &rows, err) : NB_OK;
}

/* The elements of one sign, magnitudes. */
static size_t take_sign(float *to, const float *x, size_t n, bool above)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (above ? !(x[i] < 0.0F) : x[i] < 0.0F) /* NaN is above, and found there */
            to[k++] = above ? x[i] : -x[i];
    return k;
}

static enum nb_status see(void *ctx, uint32_t v, const void *data, size_t n, struct nb_error *err)
{
    struct watch *w = ctx;
    for (int k = 0; k < N_OBSERVED; k++) {
        void *state = w->values[v].state[k];
        if (state != NULL && k < ABOVE)
            NB_TRY(feed(state, k, data, n, err));
        else if (state != NULL)
            NB_TRY(feed(state, k, w->piece, take_sign(w->piece, data, n, k == ABOVE), err));
    }
    return NB_OK;
}

/* ---- what was seen ---- */

/* What an observer stores, as numbers of the result's arena. */
static double *numbers(struct nb_observed_net *out, int k, const void *state, size_t *cols)
{
    const struct nb_stored is = observer_of(k)->stored(state);
    double *x = nb_arena_alloc(&out->arena, is.rows * is.cols + 1, sizeof *x);
    *cols = is.cols;
    if (x != NULL)
        observer_of(k)->save(state, 0, is.rows * is.cols, x);
    return x;
}

static enum nb_status settle_value(struct watch *w, struct nb_observed_net *out, uint32_t v,
                                   struct nb_error *err)
{
    struct nb_seen *s = &out->seen[v];
    for (int k = 0; k < N_OBSERVED; k++) {
        void *state = w->values[v].state[k];
        size_t cols;
        if (state == NULL)
            continue;
        NB_TRY(observer_of(k)->settle(state, NULL, w->net->g.values[v].name, err));
        const double *x = numbers(out, k, state, &cols);
        if (x == NULL)
            return no_memory(err);
        if (k == RANGE) {
            s->least = x[0];
            s->greatest = x[1];
        } else if (k == MOVING) {
            s->low = x[0];
            s->high = x[1];
        } else {
            *(k == ABOVE ? &s->above : &s->below) =
                (struct nb_ptq_histogram){.width = x[0], .count = x + cols, .n = cols};
        }
        s->any = true;
    }
    return NB_OK;
}

enum nb_status nb_ptq_observe(struct nb_observed_net *out, const struct nb_net *net,
                              const struct nb_ptq_data *data, bool histograms, struct nb_pool *pool,
                              const struct nb_allocator *a, struct nb_error *err)
{
    struct watch w = {.a = a, .net = net};
    nb_arena_init(&w.arena, a, 0);
    nb_arena_init(&out->arena, a, 0);
    out->seen = nb_arena_alloc(&out->arena, net->g.n_values + 1, sizeof *out->seen);
    enum nb_status st = out->seen != NULL ? watch_init(&w, histograms, err) : no_memory(err);
    if (st == NB_OK)
        st = nb_ptq_run_samples(net, data, see, &w, pool, a, err);
    for (uint32_t v = 1; v < net->g.n_values && st == NB_OK; v++)
        if (w.values[v].state[RANGE] != NULL)
            st = settle_value(&w, out, v, err);
    watch_fini(&w);
    if (st != NB_OK)
        nb_observed_net_fini(out);
    return st;
}

enum nb_status nb_ptq_suppose(struct nb_observed_net *out, const struct nb_net *net,
                              const struct nb_allocator *a, struct nb_error *err)
{
    nb_arena_init(&out->arena, a, 0);
    out->seen = nb_arena_alloc(&out->arena, net->g.n_values + 1, sizeof *out->seen);
    if (out->seen == NULL) {
        nb_arena_fini(&out->arena);
        return no_memory(err);
    }
    for (uint32_t v = 1; v < net->g.n_values; v++)
        if (is_watched(&net->g.values[v]))
            out->seen[v] = (struct nb_seen){
                .any = true, .least = -1.0, .greatest = 1.0, .low = -1.0, .high = 1.0};
    return NB_OK;
}

void nb_observed_net_fini(struct nb_observed_net *o)
{
    nb_arena_fini(&o->arena);
    o->seen = NULL;
}
