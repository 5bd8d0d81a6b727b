/* calib/stats.c: edges and their states: made, found, merged, dropped. */
#include "calib/stats.h"

#include <string.h>

#include "calib/observe_hessian.h"
#include "calib/stats_internal.h"

#define ARENA_BYTES 16384
#define QUOTE_BYTES 96

const struct nb_observer *const nb_observers[] = {
#define NB_OBSERVER(id) &nb_observer_##id,
#include "calib/registry.inc"
#undef NB_OBSERVER
};

enum nb_status nb_observer_shape(const struct nb_stored *is, size_t rows, size_t cols,
                                 struct nb_error *err)
{
    if (is->rows == rows && is->cols == cols)
        return NB_OK;
    NB_FAIL(err, NB_ERR_FORMAT, "%zu x %zu numbers, expected %zu x %zu", is->rows, is->cols, rows,
            cols);
}

enum nb_status nb_stats_create(struct nb_stats **out, const struct nb_stats_options *o,
                               const struct nb_allocator *a, struct nb_error *err)
{
    *out = NULL;
    struct nb_stats *s = nb_alloc_zero(a, 1, sizeof *s);
    if (s == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for statistics");
    s->a = a;
    s->o = *o;
    s->source.all_experts = o->all_experts;
    nb_arena_init(&s->arena, a, ARENA_BYTES);
    nb_map_init(&s->names, a);
    *out = s;
    return NB_OK;
}

static void drop_states(struct nb_stats *s, struct nb_stats_edge *e, size_t kind,
                        enum nb_stats_set set)
{
    for (size_t i = 0; e->states[kind][set] != NULL && i < nb_stats_states(e, kind); i++)
        nb_observers[kind]->fini(nb_stats_state(e, kind, set, i));
    nb_free(s->a, e->states[kind][set]);
    e->states[kind][set] = NULL;
}

void nb_stats_destroy(struct nb_stats *s)
{
    if (s == NULL)
        return;
    nb_stats_keep(s, 0);
    nb_free(s->a, s->edges);
    nb_free(s->a, s->readers);
    nb_free(s->a, s->taps);
    nb_free(s->a, s->rows);
    nb_free(s->a, s->begins);
    nb_free(s->a, s->texts);
    nb_map_fini(&s->names);
    nb_arena_fini(&s->arena);
    nb_free(s->a, s);
}

void nb_stats_keep(struct nb_stats *s, unsigned kinds)
{
    for (size_t i = 0; i < s->n_edges; i++)
        for (size_t kind = 0; kind < NB_STAT_COUNT; kind++)
            for (int set = 0; set < NB_STATS_SETS && (kinds & 1U << kind) == 0; set++)
                drop_states(s, &s->edges[i], kind, (enum nb_stats_set)set);
    s->o.kinds &= kinds;
}

/* ---- edges ---- */

static enum nb_status make_states(struct nb_stats *s, struct nb_stats_edge *e, size_t kind,
                                  enum nb_stats_set set, struct nb_error *err)
{
    const struct nb_observer *o = nb_observers[kind];
    const size_t n = nb_stats_states(e, kind);
    e->states[kind][set] = nb_alloc_zero(s->a, n, o->state_bytes);
    if (e->states[kind][set] == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for statistics of %zu matrices", n);
    for (size_t i = 0; i < n; i++)
        NB_TRY(o->init(nb_stats_state(e, kind, set, i), e->cols, s->a, err));
    return NB_OK;
}

/* Hessians are by far the largest: what they take is known before a page of it is touched. */
static enum nb_status count_hessians(struct nb_stats *s, const struct nb_stats_edge *e,
                                     struct nb_error *err)
{
    const uint64_t each = nb_hessian_bytes(e->cols);
    for (int set = 0; set < NB_STATS_SETS; set++) {
        uint64_t bytes;
        if (!nb_stats_observes(s, NB_STAT_hessian, (enum nb_stats_set)set))
            continue;
        if (!nb_mul_u64(&bytes, each, e->n_mat) ||
            !nb_add_u64(&s->hessian_bytes, s->hessian_bytes, bytes))
            NB_FAIL(err, NB_ERR_LIMIT, "Hessians of %zu x %zu columns are too large", e->n_mat,
                    e->cols);
    }
    if (s->o.max_bytes > 0 && s->hessian_bytes > s->o.max_bytes)
        NB_FAIL(
            err, NB_ERR_LIMIT,
            "the Hessians of this model's inputs take more than the %llu MB that may be used: %llu "
            "MB up to here",
            (unsigned long long)(s->o.max_bytes / 1000000),
            (unsigned long long)(s->hessian_bytes / 1000000));
    return NB_OK;
}

static enum nb_status make_edge(struct nb_stats *s, struct nb_stats_edge *e, struct nb_error *err)
{
    for (int set = 0; set < NB_STATS_SETS; set++) {
        e->count[set] = nb_arena_alloc(&s->arena, e->n_mat, sizeof **e->count);
        if (e->count[set] == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory for statistics");
    }
    e->chosen = nb_arena_alloc(&s->arena, e->n_mat, sizeof *e->chosen);
    if (e->chosen == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for statistics");
    for (size_t kind = 0; kind < NB_STAT_COUNT; kind++)
        for (int set = 0; set < NB_STATS_SETS; set++)
            if (nb_stats_observes(s, kind, (enum nb_stats_set)set))
                NB_TRY(make_states(s, e, kind, (enum nb_stats_set)set, err));
    return NB_OK;
}

enum nb_status nb_stats_add_reader(struct nb_stats *s, const char *weight, size_t edge,
                                   struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    const size_t len = strlen(weight);
    const char *name = nb_arena_strndup(&s->arena, weight, len);
    if (name == NULL ||
        !nb_grow(s->a, &s->readers, &s->cap_readers, s->n_readers, sizeof *s->readers))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for statistics");
    const enum nb_status st = nb_map_put(&s->names, name, len, s->n_readers);
    if (st == NB_ERR_EXISTS)
        NB_FAIL(err, st, "'%s' is there twice", nb_printable(quote, sizeof quote, name, len));
    if (st != NB_OK)
        NB_FAIL(err, st, "out of memory for statistics");
    s->readers[s->n_readers++] = (struct nb_stats_reader){name, edge};
    if (s->edges[edge].first == NULL)
        s->edges[edge].first = name;
    return NB_OK;
}

enum nb_status nb_stats_add_edge(struct nb_stats *s, const char *weight, size_t n_mat, size_t cols,
                                 size_t *out, struct nb_error *err)
{
    if (n_mat == 0 || cols == 0)
        NB_FAIL(err, NB_ERR_ARG, "'%s': an edge of %zu x %zu columns", weight, n_mat, cols);
    if (!nb_grow(s->a, &s->edges, &s->cap_edges, s->n_edges, sizeof *s->edges))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for statistics");
    struct nb_stats_edge *e = &s->edges[s->n_edges];
    *e = (struct nb_stats_edge){.n_mat = n_mat, .cols = cols};
    *out = s->n_edges++;
    NB_TRY(count_hessians(s, e, err));
    NB_TRY(make_edge(s, e, err));
    return nb_stats_add_reader(s, weight, *out, err);
}

const struct nb_stats_reader *nb_stats_find(const struct nb_stats *s, const char *weight)
{
    uint64_t i;
    return nb_map_get(&s->names, weight, strlen(weight), &i) ? &s->readers[i] : NULL;
}

/* ---- asking ---- */

size_t nb_stats_edge_of(const struct nb_stats *s, const char *weight)
{
    const struct nb_stats_reader *r = nb_stats_find(s, weight);
    return r != NULL ? r->edge : SIZE_MAX;
}

size_t nb_stats_matrices(const struct nb_stats *s, const char *weight)
{
    const struct nb_stats_reader *r = nb_stats_find(s, weight);
    return r != NULL ? s->edges[r->edge].n_mat : 0;
}

unsigned nb_stats_kinds(const struct nb_stats *s)
{
    return s->o.kinds;
}

size_t nb_stats_n_edges(const struct nb_stats *s)
{
    return s->n_edges;
}

static struct nb_hessian_state *hessian_state(const struct nb_stats *s, const char *weight,
                                              size_t expert, enum nb_stats_set set)
{
    const struct nb_stats_reader *r = nb_stats_find(s, weight);
    if (r == NULL || expert >= s->edges[r->edge].n_mat ||
        s->edges[r->edge].states[NB_STAT_hessian][set] == NULL)
        return NULL;
    return nb_stats_state(&s->edges[r->edge], NB_STAT_hessian, set, expert);
}

const struct nb_hessian *nb_stats_hessian(const struct nb_stats *s, const char *weight,
                                          size_t expert, enum nb_stats_set set)
{
    const struct nb_hessian_state *h = hessian_state(s, weight, expert, set);
    return h != NULL ? h->h : NULL;
}

struct nb_hessian *nb_stats_take_hessian(struct nb_stats *s, const char *weight, size_t expert,
                                         enum nb_stats_set set)
{
    struct nb_hessian_state *h = hessian_state(s, weight, expert, set);
    struct nb_hessian *taken = h != NULL ? h->h : NULL;
    if (h != NULL)
        h->h = NULL;
    return taken;
}

enum nb_status nb_stats_moments(const struct nb_stats *s, struct nb_calib *c, struct nb_error *err)
{
    if ((s->o.kinds & NB_STAT_BIT(moments)) == 0)
        NB_FAIL(err, NB_ERR_ARG, "these statistics have no moments, which importance is");
    for (size_t i = 0; i < s->n_readers; i++) {
        const struct nb_stats_edge *e = &s->edges[s->readers[i].edge];
        struct nb_moment *m;
        NB_TRY(nb_calib_add(c, s->readers[i].weight, e->n_mat, e->cols, &m, err));
        memcpy(m->count, e->count[NB_STATS_TRAIN], e->n_mat * sizeof *m->count);
        for (size_t k = 0; k < e->n_mat; k++)
            nb_observer_moments.save(nb_stats_state(e, NB_STAT_moments, NB_STATS_TRAIN, k), 0,
                                     e->cols, m->sum + k * e->cols);
        if (!s->source.all_experts || e->n_mat < 2)
            continue;
        m->chosen = nb_arena_alloc(&c->arena, e->n_mat, sizeof *m->chosen);
        if (m->chosen == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory for statistics");
        memcpy(m->chosen, e->chosen, e->n_mat * sizeof *m->chosen);
    }
    for (size_t i = 0; i < s->source.n_texts; i++)
        NB_TRY(nb_calib_add_dataset(c, s->texts[i].name, strlen(s->texts[i].name), err));
    c->chunk_count += s->source.windows[NB_STATS_TRAIN];
    c->chunk_size = NB_MAX(s->source.ctx, 1U);
    return NB_OK;
}

enum nb_status nb_stats_parse_kinds(unsigned *kinds, const char *text, struct nb_error *err)
{
    char quote[QUOTE_BYTES];
    *kinds = (1U << NB_STAT_COUNT) - 1;
    if (strcmp(text, "all") == 0)
        return NB_OK;
    *kinds = 0;
    for (const char *at = text;; at++) {
        const size_t n = strcspn(at, ",");
        size_t k = 0;
        while (k < NB_STAT_COUNT &&
               (strlen(nb_observers[k]->name) != n || memcmp(nb_observers[k]->name, at, n) != 0))
            k++;
        if (k == NB_STAT_COUNT)
            NB_FAIL(err, NB_ERR_ARG,
                    "there is no statistic '%s'; expected some of moments, range, moving, "
                    "histogram, hessian, separated by commas, or all",
                    nb_printable(quote, sizeof quote, at, n));
        *kinds |= 1U << k;
        at += n;
        if (*at == '\0')
            return NB_OK;
    }
}

const char *nb_stats_kinds_text(unsigned kinds, char dst[NB_STATS_KINDS_BYTES])
{
    size_t n = 0;
    dst[0] = '\0';
    for (size_t k = 0; k < NB_STAT_COUNT; k++) {
        const char *name = nb_observers[k]->name;
        const size_t len = strlen(name);
        if ((kinds & 1U << k) == 0 || n + len + 2 > NB_STATS_KINDS_BYTES)
            continue;
        if (n > 0)
            dst[n++] = ',';
        memcpy(dst + n, name, len + 1);
        n += len;
    }
    return dst;
}

enum nb_status nb_stats_from_calib(struct nb_stats **out, const struct nb_calib *c,
                                   const struct nb_allocator *a, struct nb_error *err)
{
    const struct nb_stats_options o = {.kinds = NB_STAT_BIT(moments)};
    const struct nb_stored is = {&nb_numfmt_f64, 1, 0};
    const struct nb_hash none = {0, 0};
    struct nb_stats *s;
    enum nb_status st;
    *out = NULL;
    NB_TRY(nb_stats_create(&s, &o, a, err));
    for (size_t i = 0; i < c->n; i++) {
        const struct nb_moment *m = &c->items[i];
        size_t edge;
        NB_TRY_TO(failed, nb_stats_add_edge(s, m->name, m->n_mat, m->cols, &edge, err));
        struct nb_stats_edge *e = &s->edges[edge];
        memcpy(e->count[NB_STATS_TRAIN], m->count, m->n_mat * sizeof *m->count);
        for (size_t k = 0; k < m->n_mat; k++)
            NB_TRY_TO(failed, nb_observer_moments.load(
                                  nb_stats_state(e, NB_STAT_moments, NB_STATS_TRAIN, k), &is, 0,
                                  m->cols, m->sum + k * m->cols, err));
    }
    for (size_t i = 0; i < c->n_datasets; i++) {
        NB_TRY_TO(failed, nb_stats_add_text(s, c->datasets[i], none, err));
        s->texts[i].hash[0] = '\0';
    }
    s->source.windows[NB_STATS_TRAIN] = c->chunk_count;
    s->source.ctx = c->chunk_size;
    *out = s;
    return NB_OK;
failed:
    nb_stats_destroy(s);
    return st;
}

/* ---- where they come from ---- */

const struct nb_stats_source *nb_stats_source(const struct nb_stats *s)
{
    return &s->source;
}

void nb_stats_set_model(struct nb_stats *s, struct nb_hash hash)
{
    nb_hash_hex(hash, s->source.model);
}

void nb_stats_set_windows(struct nb_stats *s, uint32_t ctx, uint32_t held_every)
{
    s->source.ctx = ctx;
    s->source.held_every = held_every;
}

enum nb_status nb_stats_add_text(struct nb_stats *s, const char *name, struct nb_hash hash,
                                 struct nb_error *err)
{
    struct nb_stats_text t = {.name = nb_arena_strndup(&s->arena, name, strlen(name))};
    nb_hash_hex(hash, t.hash);
    if (t.name == NULL ||
        !nb_grow(s->a, &s->texts, &s->cap_texts, s->source.n_texts, sizeof *s->texts))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for statistics");
    s->texts[s->source.n_texts++] = t;
    s->source.texts = s->texts;
    return NB_OK;
}
