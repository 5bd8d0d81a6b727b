/* calib/stats_tap.c: from a tap to the states of its edge. */
#include <string.h>

#include "calib/stats_internal.h"

void nb_stats_window(struct nb_stats *s, bool held_out)
{
    s->set = held_out ? NB_STATS_HELD : NB_STATS_TRAIN;
    s->source.windows[s->set]++;
    for (size_t i = 0; i < s->n_edges; i++)
        for (size_t kind = 0; kind < NB_STAT_COUNT; kind++) {
            struct nb_stats_edge *e = &s->edges[i];
            for (size_t k = 0; e->states[kind][s->set] != NULL &&
                               nb_observers[kind]->window != NULL && k < nb_stats_states(e, kind);
                 k++)
                nb_observers[kind]->window(nb_stats_state(e, kind, s->set, k));
        }
}

static bool is_wanted(const struct nb_stats *s, const char *weight)
{
    for (size_t i = 0; i < s->o.n_weights && s->o.weights != NULL; i++)
        if (strcmp(s->o.weights[i], weight) == 0)
            return true;
    return s->o.weights == NULL;
}

/* *out: the edge to add the tap to; NULL: none, for it is not wanted or another reader has added it. */
static enum nb_status find_edge(struct nb_stats *s, const struct nb_tap *tap,
                                struct nb_stats_edge **out, struct nb_error *err)
{
    const struct nb_stats_reader *r = nb_stats_find(s, tap->weight);
    *out = NULL;
    if (r == NULL && !is_wanted(s, tap->weight))
        return NB_OK;
    while (s->n_taps <= tap->edge) {
        if (!nb_grow(s->a, &s->taps, &s->cap_taps, s->n_taps, sizeof *s->taps))
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory for statistics");
        s->taps[s->n_taps++] = 0;
    }
    size_t edge = s->taps[tap->edge] - 1;
    if (r != NULL)
        edge = r->edge;
    else if (s->taps[tap->edge] > 0)
        return nb_stats_add_reader(s, tap->weight, edge, err);
    else
        NB_TRY(nb_stats_add_edge(s, tap->weight, tap->ids != NULL ? tap->n_experts : 1, tap->k,
                                 &edge, err));
    struct nb_stats_edge *e = &s->edges[edge];
    s->taps[tap->edge] = edge + 1;
    if (e->cols != tap->k || e->n_mat != (tap->ids != NULL ? tap->n_experts : 1))
        NB_FAIL(err, NB_ERR_FORMAT, "'%s' reads %zu columns, in the statistics it is %zu x %zu",
                tap->weight, tap->k, e->n_mat, e->cols);
    if (strcmp(e->first, tap->weight) == 0)
        *out = e;
    return NB_OK;
}

static enum nb_status add_values(struct nb_stats *s, struct nb_stats_edge *e, size_t state,
                                 bool per_matrix, const struct nb_observed *v, struct nb_error *err)
{
    for (size_t kind = 0; kind < NB_STAT_COUNT; kind++)
        if (e->states[kind][s->set] != NULL && nb_observers[kind]->per_matrix == per_matrix)
            NB_TRY(nb_observers[kind]->add(nb_stats_state(e, kind, s->set, state), v, err));
    return NB_OK;
}

static bool make_room(struct nb_stats *s, size_t n_ids, size_t n_experts)
{
    if (s->cap_rows < n_ids) {
        nb_free(s->a, s->rows);
        s->cap_rows = 0;
        s->rows = nb_alloc(s->a, n_ids, sizeof *s->rows);
        if (s->rows == NULL)
            return false;
        s->cap_rows = n_ids;
    }
    if (s->cap_begins < n_experts + 1) {
        nb_free(s->a, s->begins);
        s->cap_begins = 0;
        s->begins = nb_alloc(s->a, n_experts + 1, sizeof *s->begins);
        if (s->begins == NULL)
            return false;
        s->cap_begins = n_experts + 1;
    }
    return true;
}

/* The rows of each expert, in the order of time: rows[begins[e] .. begins[e + 1]). */
static void group(struct nb_stats *s, const struct nb_tap *tap)
{
    const size_t n = tap->n_tokens * tap->n_ids;
    size_t *begins = s->begins, at = 0;
    memset(begins, 0, (tap->n_experts + 1) * sizeof *begins);
    for (size_t i = 0; i < n; i++)
        begins[tap->ids[i]]++;
    for (size_t e = 0; e <= tap->n_experts; e++) {
        const size_t count = begins[e];
        begins[e] = at;
        at += count;
    }
    for (size_t i = 0; i < n; i++)
        s->rows[begins[tap->ids[i]]++] = (uint32_t)(tap->per_id ? i : i / tap->n_ids);
    for (size_t e = tap->n_experts; e > 0; e--) /* each has moved to the next one's begin */
        begins[e] = begins[e - 1];
    begins[0] = 0;
}

static enum nb_status add_experts(struct nb_stats *s, struct nb_stats_edge *e,
                                  const struct nb_tap *tap, struct nb_error *err)
{
    const size_t n = tap->n_tokens * tap->n_ids;
    if (!make_room(s, n, tap->n_experts))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu tokens of experts", n);
    group(s, tap);
    for (size_t i = 0; i < n && s->set == NB_STATS_TRAIN; i++)
        e->chosen[tap->ids[i]] += i % tap->n_ids < tap->n_chosen ? 1.0 : 0.0;
    for (size_t k = 0; k < tap->n_experts; k++) {
        const struct nb_observed v = {.x = tap->x,
                                      .cols = tap->k,
                                      .rows = s->rows + s->begins[k],
                                      .n_rows = s->begins[k + 1] - s->begins[k],
                                      .pool = s->o.pool};
        e->count[s->set][k] += (double)v.n_rows;
        if (v.n_rows > 0)
            NB_TRY(add_values(s, e, k, true, &v, err));
    }
    return NB_OK;
}

static enum nb_status add_tap(struct nb_stats *s, const struct nb_tap *tap, struct nb_error *err)
{
    const struct nb_observed all = {.x = tap->x,
                                    .cols = tap->k,
                                    .n_rows = tap->n_tokens * (tap->per_id ? tap->n_ids : 1),
                                    .pool = s->o.pool};
    struct nb_stats_edge *e;
    NB_TRY(find_edge(s, tap, &e, err));
    if (e == NULL || all.n_rows == 0)
        return NB_OK;
    NB_TRY(add_values(s, e, 0, false, &all, err));
    if (tap->ids != NULL)
        return add_experts(s, e, tap, err);
    e->count[s->set][0] += (double)tap->n_tokens;
    return add_values(s, e, 0, true, &all, err);
}

static void on_tap(void *ctx, const struct nb_tap *tap)
{
    struct nb_stats *s = ctx;
    if (s->status == NB_OK && (s->set == NB_STATS_TRAIN || s->o.held_out))
        s->status = add_tap(s, tap, &s->err);
}

void nb_stats_attach(struct nb_stats *s, struct nb_session *session)
{
    s->n_taps = 0; /* another session numbers its edges anew */
    nb_session_tap(session, on_tap, s);
}

enum nb_status nb_stats_settle(struct nb_stats *s, struct nb_error *err)
{
    if (s->status != NB_OK) {
        if (err != NULL)
            *err = s->err;
        return s->status;
    }
    for (size_t i = 0; i < s->n_edges; i++)
        for (size_t kind = 0; kind < NB_STAT_COUNT; kind++)
            for (int set = 0; set < NB_STATS_SETS; set++) {
                const struct nb_stats_edge *e = &s->edges[i];
                for (size_t k = 0; e->states[kind][set] != NULL && k < nb_stats_states(e, kind);
                     k++)
                    NB_TRY(nb_observers[kind]->settle(
                        nb_stats_state(e, kind, (enum nb_stats_set)set, k), s->o.pool, e->first,
                        err));
            }
    return NB_OK;
}
