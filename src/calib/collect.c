/* calib/collect.c: runs a model over a text and sums squares at the input of every linear layer.
 *
 * Layers that read the same values (q, k and v; gate and up) share one sum, made once, and get an entry
 * each. Experts have a sum each, of the tokens that came to them. Columns are dealt out to threads; the tokens of a column are summed in order, in double, where the
 * square of a float is exact.
 */
#include "calib/calib_internal.h"

#include <math.h>
#include <string.h>

#define GRAIN             64 /* columns */
#define ALL_EXPERTS_BATCH 64 /* tokens at once: each has a row of results in every expert */
#define HEAD_BYTES        (UINT64_C(32) << 20) /* of logits nobody reads */

/* One value of the graph. Borrows: the first weight's name (the session's). */
struct edge {
    const char *first; /* of the weights that read it; NULL: none seen yet */
    double *sum;       /* (n_mat, cols) in the calib's arena */
    double *count;     /* (n_mat) tokens */
    double *chosen;    /* (n_mat) tokens for which the expert has a weight */
    size_t n_mat, cols;
};

struct reader {
    const char *weight;
    uint32_t edge;
};

/* Owns: edges, readers, window, logits, session. */
struct collector {
    const struct nb_collect_job *job;
    struct nb_calib *c;
    struct nb_session *session;
    struct edge *edges; /* by number */
    size_t n_edges, cap_edges;
    struct reader *readers; /* in the order of the graph */
    size_t n_readers, cap_readers;
    uint32_t *window; /* (ctx) */
    float *logits;    /* (rows, n_vocab), NULL without head */
    uint32_t rows;
    bool first_call, failed;
    const struct nb_tap *tap; /* being summed */
    double *sum;
};

static void add_row(double *sum, const float *x, size_t begin, size_t end)
{
    for (size_t j = begin; j < end; j++)
        sum[j] += (double)x[j] * (double)x[j];
}

static void add_squares(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct collector *k = ctx;
    const struct nb_tap *tap = k->tap;
    (void)worker;
    for (size_t t = 0; t < tap->n_tokens && tap->ids == NULL; t++)
        add_row(k->sum, tap->x + t * tap->k, begin, end);
    for (size_t i = 0; tap->ids != NULL && i < tap->n_tokens * tap->n_ids; i++)
        add_row(k->sum + tap->ids[i] * tap->k, tap->x + (tap->per_id ? i : i / tap->n_ids) * tap->k,
                begin, end);
}

static void count_tokens(struct edge *e, const struct nb_tap *tap)
{
    if (tap->ids == NULL)
        e->count[0] += (double)tap->n_tokens;
    for (size_t i = 0; tap->ids != NULL && i < tap->n_tokens * tap->n_ids; i++) {
        e->count[tap->ids[i]] += 1.0;
        e->chosen[tap->ids[i]] += i % tap->n_ids < tap->n_chosen ? 1.0 : 0.0;
    }
}

static bool make_edge(struct collector *k, struct edge *e, const struct nb_tap *tap)
{
    const size_t n_mat = tap->ids != NULL ? tap->n_experts : 1;
    size_t n;
    if (!nb_mul_size(&n, n_mat, tap->k))
        return false;
    e->sum = nb_arena_alloc(&k->c->arena, n, sizeof *e->sum);
    e->count = nb_arena_alloc(&k->c->arena, n_mat, sizeof *e->count);
    e->chosen = nb_arena_alloc(&k->c->arena, n_mat, sizeof *e->chosen);
    if (e->sum == NULL || e->count == NULL || e->chosen == NULL)
        return false;
    e->first = tap->weight;
    e->n_mat = n_mat;
    e->cols = tap->k;
    return true;
}

/* The edge's place; new ones are made in the first call only. NULL: no memory. */
static struct edge *find_edge(struct collector *k, const struct nb_tap *tap)
{
    while (k->n_edges <= tap->edge) {
        if (!nb_grow(k->c->a, &k->edges, &k->cap_edges, k->n_edges, sizeof *k->edges))
            return NULL;
        k->edges[k->n_edges++] = (struct edge){.first = NULL};
    }
    struct edge *e = &k->edges[tap->edge];
    return e->first != NULL || make_edge(k, e, tap) ? e : NULL;
}

static bool is_new_reader(const struct collector *k, const struct nb_tap *tap)
{
    for (size_t i = 0; i < k->n_readers; i++)
        if (strcmp(k->readers[i].weight, tap->weight) == 0)
            return false;
    return true;
}

static void on_tap(void *ctx, const struct nb_tap *tap)
{
    struct collector *k = ctx;
    if (k->failed)
        return;
    struct edge *e = find_edge(k, tap);
    if (e != NULL && k->first_call && is_new_reader(k, tap)) {
        if (nb_grow(k->c->a, &k->readers, &k->cap_readers, k->n_readers, sizeof *k->readers))
            k->readers[k->n_readers++] = (struct reader){tap->weight, tap->edge};
        else
            e = NULL;
    }
    k->failed = e == NULL;
    if (k->failed || e->first != tap->weight) /* another reader of the edge has summed it */
        return;
    k->tap = tap;
    k->sum = e->sum;
    count_tokens(e, tap);
    nb_pool_for(k->job->pool, tap->k, GRAIN, add_squares, k);
}

static enum nb_status run_window(struct collector *k, uint32_t c, uint32_t chunks,
                                 struct nb_error *err)
{
    const struct nb_collect_job *job = k->job;
    const struct nb_progress *p = job->progress;
    const uint64_t total = (uint64_t)chunks * job->ctx;
    memcpy(k->window, job->tokens + (size_t)c * job->ctx, job->ctx * sizeof *k->window);
    if (job->bos >= 0)
        k->window[0] = (uint32_t)job->bos;
    nb_session_rewind(k->session, 0);
    for (uint32_t at = 0, n; at < job->ctx; at += n) {
        n = NB_MIN(k->rows, job->ctx - at);
        NB_TRY(nb_session_eval(k->session, k->window + at, n, k->logits, job->head ? 0 : n, err));
        k->first_call = false;
        if (k->failed)
            NB_FAIL(err, NB_ERR_NOMEM, "out of memory for statistics");
        if (p != NULL && p->fn != NULL &&
            p->fn(p->ctx, "calibrating", (uint64_t)c * job->ctx + at + n, total, "tokens") != 0)
            NB_FAIL(err, NB_ERR_CANCELLED, "calibration cancelled");
    }
    return NB_OK;
}

static enum nb_status set_up(struct collector *k, struct nb_error *err)
{
    const struct nb_collect_job *job = k->job;
    const struct nb_session_options so = {.n_ctx = job->ctx,
                                          .n_batch = job->all_experts ? ALL_EXPERTS_BATCH : 0,
                                          .kv_type = &nb_numfmt_f32,
                                          .float_activations = true,
                                          .all_experts = job->all_experts,
                                          .pool = job->pool};
    const uint32_t n_vocab = NB_MAX(job->w->hp.n_vocab, 1U);
    k->rows = job->ctx;
    k->first_call = true;
    NB_TRY(nb_session_create(&k->session, job->w, &so, k->c->a, err));
    k->window = nb_alloc(k->c->a, job->ctx, sizeof *k->window);
    if (job->head) {
        const uint64_t rows = HEAD_BYTES / sizeof(float) / n_vocab;
        k->rows = (uint32_t)NB_MIN(NB_MAX(rows, 16), job->ctx);
        k->logits = nb_alloc(k->c->a, (size_t)k->rows * n_vocab, sizeof *k->logits);
    }
    if (k->window == NULL || (job->head && k->logits == NULL))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %u rows of logits", k->rows);
    nb_session_tap(k->session, on_tap, k);
    return NB_OK;
}

/* Every reader's entry gets the sums of its edge. */
static enum nb_status hand_over(struct collector *k, struct nb_error *err)
{
    for (size_t i = 0; i < k->n_readers; i++) {
        const struct edge *e = &k->edges[k->readers[i].edge];
        struct nb_moment *m;
        NB_TRY(nb_calib_add(k->c, k->readers[i].weight, e->n_mat, e->cols, &m, err));
        memcpy(m->count, e->count, e->n_mat * sizeof *m->count);
        memcpy(m->sum, e->sum, e->n_mat * e->cols * sizeof *m->sum);
        m->chosen = k->job->all_experts && e->n_mat > 1 ? e->chosen : NULL;
        for (size_t j = 0; j < e->n_mat * e->cols; j++)
            if (!isfinite(m->sum[j]))
                NB_FAIL(err, NB_ERR_NUMERIC, "the input of '%s' is not finite in column %zu",
                        m->name, j % e->cols);
    }
    return NB_OK;
}

static enum nb_status check_job(const struct nb_collect_job *job, uint32_t *chunks,
                                struct nb_error *err)
{
    if (job->ctx == 0)
        NB_FAIL(err, NB_ERR_ARG, "a window of 0 tokens; expected at least 1");
    const size_t full = job->n_tokens / job->ctx;
    if (full == 0)
        NB_FAIL(err, NB_ERR_ARG, "the text has %zu tokens, fewer than one window of %u",
                job->n_tokens, job->ctx);
    *chunks = (uint32_t)NB_MIN(full, (size_t)(job->chunks > 0 ? job->chunks : UINT32_MAX));
    return NB_OK;
}

enum nb_status nb_calib_collect(struct nb_calib *c, const struct nb_collect_job *job,
                                struct nb_error *err)
{
    struct collector k = {.job = job, .c = c};
    uint32_t chunks = 0;
    NB_TRY(check_job(job, &chunks, err));
    enum nb_status st = set_up(&k, err);
    for (uint32_t i = 0; i < chunks && st == NB_OK; i++)
        st = run_window(&k, i, chunks, err);
    if (st == NB_OK)
        st = hand_over(&k, err);
    c->chunk_count += chunks;
    c->chunk_size = job->ctx;
    nb_session_destroy(k.session);
    nb_free(c->a, k.edges);
    nb_free(c->a, k.readers);
    nb_free(c->a, k.window);
    nb_free(c->a, k.logits);
    return st;
}
