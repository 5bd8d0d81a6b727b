/* calib/stats_merge.c: what two runs have seen, together. */
#include <string.h>

#include "calib/stats_internal.h"

#define QUOTE_BYTES 96

static enum nb_status check_source(const struct nb_stats *into, const struct nb_stats *from,
                                   struct nb_error *err)
{
    const struct nb_stats_source *a = &into->source, *b = &from->source;
    if (a->model[0] != '\0' && b->model[0] != '\0' && strcmp(a->model, b->model) != 0)
        NB_FAIL(err, NB_ERR_FORMAT, "statistics of another model: its hash is %s, not %s", b->model,
                a->model);
    if ((a->held_every > 0) != (b->held_every > 0))
        NB_FAIL(err, NB_ERR_FORMAT,
                "statistics with windows held out and such without: their sums do not add");
    if (a->all_experts != b->all_experts)
        NB_FAIL(err, NB_ERR_FORMAT,
                "statistics that show every token to every expert, and such that do not");
    return NB_OK;
}

/* The edge of the same weights, made if there is none. */
static enum nb_status match_edge(struct nb_stats *into, const struct nb_stats *from, size_t edge,
                                 size_t *out, struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    const struct nb_stats_edge *f = &from->edges[edge];
    *out = nb_stats_edge_of(into, f->first);
    if (*out == SIZE_MAX)
        NB_TRY(nb_stats_add_edge(into, f->first, f->n_mat, f->cols, out, err));
    const struct nb_stats_edge *e = &into->edges[*out];
    if (e->n_mat != f->n_mat || e->cols != f->cols)
        NB_FAIL(err, NB_ERR_FORMAT,
                "'%s' has %zu x %zu columns in one file of statistics and %zu x %zu in another",
                nb_printable(quote, sizeof quote, f->first, strlen(f->first)), e->n_mat, e->cols,
                f->n_mat, f->cols);
    for (size_t i = 0; i < from->n_readers; i++) {
        const struct nb_stats_reader *r = &from->readers[i];
        if (r->edge != edge)
            continue;
        const size_t there = nb_stats_edge_of(into, r->weight);
        if (there == SIZE_MAX)
            NB_TRY(nb_stats_add_reader(into, r->weight, *out, err));
        else if (there != *out)
            NB_FAIL(err, NB_ERR_FORMAT,
                    "'%s' reads what '%s' does in one file of statistics and not in the other",
                    nb_printable(quote, sizeof quote, r->weight, strlen(r->weight)), e->first);
    }
    return NB_OK;
}

static enum nb_status merge_edge(struct nb_stats *into, struct nb_stats_edge *e,
                                 const struct nb_stats_edge *f, struct nb_error *err)
{
    for (size_t kind = 0; kind < NB_STAT_COUNT; kind++)
        for (int i = 0; i < NB_STATS_SETS; i++) {
            const enum nb_stats_set set = (enum nb_stats_set)i;
            for (size_t k = 0; nb_stats_observes(into, kind, set) && k < nb_stats_states(e, kind);
                 k++)
                NB_TRY(nb_observers[kind]->merge(nb_stats_state(e, kind, set, k),
                                                 nb_stats_state(f, kind, set, k), err));
        }
    for (size_t k = 0; k < e->n_mat; k++) {
        for (int set = 0; set < NB_STATS_SETS; set++)
            e->count[set][k] += f->count[set][k];
        e->chosen[k] += f->chosen[k];
    }
    return NB_OK;
}

static enum nb_status add_texts(struct nb_stats *into, const struct nb_stats_source *b,
                                struct nb_error *err)
{
    const struct nb_hash none = {0, 0};
    for (size_t i = 0; i < b->n_texts; i++) {
        bool there = false;
        for (size_t k = 0; k < into->source.n_texts; k++)
            there = there || (strcmp(into->texts[k].name, b->texts[i].name) == 0 &&
                              strcmp(into->texts[k].hash, b->texts[i].hash) == 0);
        if (there)
            continue;
        NB_TRY(nb_stats_add_text(into, b->texts[i].name, none, err));
        memcpy(into->texts[into->source.n_texts - 1].hash, b->texts[i].hash, NB_HASH_HEX_BYTES);
    }
    return NB_OK;
}

/* In windows of the first file's length. */
static enum nb_status add_windows(struct nb_stats_source *a, const struct nb_stats_source *b,
                                  struct nb_error *err)
{
    for (int set = 0; set < NB_STATS_SETS; set++) {
        uint64_t tokens;
        if (!nb_mul_u64(&tokens, b->windows[set], b->ctx) ||
            !nb_add_u64(&tokens, tokens, NB_MAX(a->ctx, 1U) - 1) ||
            !nb_add_u64(&a->windows[set], a->windows[set], tokens / NB_MAX(a->ctx, 1U)))
            NB_FAIL(err, NB_ERR_FORMAT, "more than 2^64 tokens of statistics");
    }
    return NB_OK;
}

enum nb_status nb_stats_merge(struct nb_stats *into, const struct nb_stats *from,
                              struct nb_error *err)
{
    NB_TRY(check_source(into, from, err));
    nb_stats_keep(into, from->o.kinds);
    for (size_t i = 0; i < from->n_edges; i++) {
        size_t edge;
        NB_TRY(match_edge(into, from, i, &edge, err));
        NB_TRY(merge_edge(into, &into->edges[edge], &from->edges[i], err));
    }
    if (into->source.model[0] == '\0')
        memcpy(into->source.model, from->source.model, sizeof into->source.model);
    NB_TRY(add_texts(into, &from->source, err));
    return add_windows(&into->source, &from->source, err);
}
