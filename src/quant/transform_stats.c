/* quant/transform_stats.c: magnitudes of the inputs of every site: largest, mean, root mean square.
 *
 * One pass of the float model over a text, in doubles and in the order of the tokens. The head's input is
 * not looked at: scales there are of no use to the transforms that want to know inputs.
 */
#include <math.h>
#include <string.h>

#include "quant/transformed.h"
#include "run/run.h"

/* Of a site. (n_mat, n) and (n_mat). */
struct seen {
    double *amax, *sum, *squares, *tokens;
};

/* Owns: all but view. */
struct nb_site_stats {
    const struct nb_allocator *a;
    struct nb_arena arena;
    const struct nb_view *v;
    const struct nb_site *sites;
    size_t n;
    struct seen *seen;     /* (n) */
    struct nb_map readers; /* name of a site's first reader -> its index */
    double *out;           /* room for the largest site */
};

static enum nb_status make_room(struct nb_site_stats *s, struct nb_error *err)
{
    const struct nb_weights *w = &nb_view_model(s->v)->w;
    size_t most = 1;
    s->seen = nb_arena_alloc(&s->arena, s->n + 1, sizeof *s->seen);
    bool ok = s->seen != NULL;
    for (size_t k = 0; k < s->n && ok; k++) {
        const size_t n = s->sites[k].n_mat * s->sites[k].n;
        const char *name = w->items[s->sites[k].readers[0]].spec.name;
        s->seen[k].amax = nb_arena_alloc(&s->arena, n, sizeof(double));
        s->seen[k].sum = nb_arena_alloc(&s->arena, n, sizeof(double));
        s->seen[k].squares = nb_arena_alloc(&s->arena, n, sizeof(double));
        s->seen[k].tokens = nb_arena_alloc(&s->arena, s->sites[k].n_mat, sizeof(double));
        ok = s->seen[k].amax != NULL && s->seen[k].sum != NULL && s->seen[k].squares != NULL &&
             s->seen[k].tokens != NULL && nb_map_put(&s->readers, name, strlen(name), k) == NB_OK;
        most = NB_MAX(most, n);
    }
    s->out = ok ? nb_arena_alloc(&s->arena, most, sizeof *s->out) : NULL;
    return s->out != NULL
               ? NB_OK
               : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for statistics of %zu sites", s->n);
}

static void look(struct seen *s, size_t mat, const float *x, size_t n)
{
    const size_t at = mat * n;
    for (size_t j = 0; j < n; j++) {
        const double a = fabs((double)x[j]);
        s->amax[at + j] = fmax(s->amax[at + j], a);
        s->sum[at + j] += a;
        s->squares[at + j] += a * a;
    }
    s->tokens[mat] += 1.0;
}

static void tap(void *ctx, const struct nb_tap *t)
{
    struct nb_site_stats *s = ctx;
    uint64_t k;
    if (!nb_map_get(&s->readers, t->weight, strlen(t->weight), &k))
        return;
    for (size_t i = 0; i < t->n_tokens; i++)
        if (s->sites[k].n_mat == 1) {
            look(&s->seen[k], 0, t->x + i * t->k, t->k);
        } else {
            for (size_t e = 0; e < t->n_chosen; e++) {
                const size_t row = t->per_id ? i * t->n_ids + e : i;
                look(&s->seen[k], t->ids[i * t->n_ids + e], t->x + row * t->k, t->k);
            }
        }
}

static enum nb_status run(struct nb_site_stats *s, const struct nb_transformed_job *job,
                          uint64_t max_tokens, struct nb_error *err)
{
    const struct nb_windows *text = job->windows;
    const struct nb_progress *g = job->progress;
    const struct nb_session_options o = {.n_ctx = text->ctx,
                                         .n_batch = text->ctx,
                                         .kv_type = &nb_numfmt_f32,
                                         .float_activations = true,
                                         .pool = job->pool};
    struct nb_session *session;
    uint64_t done = 0;
    const uint64_t all = (uint64_t)text->n * text->ctx,
                   most = max_tokens == 0 ? all : NB_MIN(all, max_tokens);
    enum nb_status st = NB_OK;
    NB_TRY(nb_session_create(&session, &nb_view_model(s->v)->w, &o, job->a, err));
    nb_session_tap(session, tap, s);
    for (size_t i = 0; i < text->n && done < most && st == NB_OK; i++) {
        if (text->held[i])
            continue;
        (void)nb_session_rewind(session, 0);
        st =
            nb_session_eval(session, text->tokens + i * text->ctx, text->ctx, NULL, text->ctx, err);
        done += text->ctx;
        if (st == NB_OK && g != NULL && g->fn != NULL &&
            g->fn(g->ctx, "inputs for transforms", NB_MIN(done, most), most, "tokens") != 0)
            st = NB_ERROR(err, NB_ERR_CANCELLED, "cancelled while looking at inputs");
    }
    nb_session_destroy(session);
    return st;
}

enum nb_status nb_site_stats_collect(struct nb_site_stats **out, const struct nb_view *v,
                                     const struct nb_transformed_job *job, uint64_t max_tokens,
                                     struct nb_error *err)
{
    struct nb_site_stats *s = nb_alloc_zero(job->a, 1, sizeof *s);
    if (s == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    s->a = job->a;
    s->v = v;
    s->sites = nb_view_sites(v, &s->n);
    nb_arena_init(&s->arena, s->a, 0);
    nb_map_init(&s->readers, s->a);
    enum nb_status st = make_room(s, err);
    if (st == NB_OK)
        st = run(s, job, max_tokens, err);
    if (st == NB_OK)
        *out = s;
    else
        nb_site_stats_destroy(s);
    return st;
}

void nb_site_stats_destroy(struct nb_site_stats *s)
{
    if (s == NULL)
        return;
    nb_map_fini(&s->readers);
    nb_arena_fini(&s->arena);
    nb_free(s->a, s);
}

/* All zeros where an expert met no token. */
const double *nb_site_stats_get(void *ctx, const struct nb_site *site, enum nb_site_stat stat)
{
    struct nb_site_stats *s = ctx;
    const char *name = nb_view_model(s->v)->w.items[site->readers[0]].spec.name;
    uint64_t k;
    if (!nb_map_get(&s->readers, name, strlen(name), &k))
        return NULL;
    const struct seen *x = &s->seen[k];
    double met = 0.0;
    for (size_t m = 0; m < site->n_mat; m++)
        met += x->tokens[m];
    if (met <= 0.0)
        return NULL;
    for (size_t i = 0; i < site->n_mat * site->n; i++) {
        const double n = fmax(x->tokens[i / site->n], 1.0);
        if (stat == NB_STAT_AMAX)
            s->out[i] = x->amax[i];
        else
            s->out[i] = stat == NB_STAT_RMS ? sqrt(x->squares[i] / n) : x->sum[i] / n;
        if (!isfinite(s->out[i]))
            return NULL;
    }
    return s->out;
}
