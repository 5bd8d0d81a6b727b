/* ptq/keep.c: which nodes stay float so that a bound is met: those that cost most when they alone are quantized.
 *
 * The drop is of the share of samples that are right, in points, where labels are given; else of samples whose largest
 * element (of the output that suffers most) is at another place. A bound on the signal-to-noise ratio of the worst
 * output may stand beside it. If all nodes quantized meet the bounds nothing else is measured. Otherwise each node is
 * quantized alone and its noise measured on some samples; the noisiest stay float, twice as many each time, and between
 * the last two numbers the least is looked for that meets the bounds. A layer and its Relu are one node. Noise of nodes adds up well enough for an order.
 */
#include <math.h>
#include <string.h>

#include "ptq/ptq_internal.h"

enum { PROBES = 64 }; /* samples of a node's noise */

/* Borrows: all but the arrays, of the arena. */
struct search {
    const struct nb_ptq_trial *t;
    struct nb_arena arena;
    struct nb_ptq_error *errors; /* (outputs) */
    bool *stay;                  /* (nodes) */
    size_t *order;               /* (n_order) nodes, the noisiest first */
    double *noise;               /* (nodes) noise over signal, of the worst output */
    size_t n_order, n_nodes, done, total;
    struct nb_ptq_score score; /* of the last that was measured on all samples */
};

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "out of memory to choose what stays float");
}

/* One model is made and measured. */
static enum nb_status measure(struct search *s, size_t n_samples, struct nb_error *err)
{
    const struct nb_ptq_trial *t = s->t;
    struct nb_ptq_data data = *t->data;
    const struct nb_onnx_model *m;
    NB_TRY(nb_ptq_progress(data.progress, "choosing what stays float", "models", s->done, s->total,
                           err));
    s->done++;
    data.progress = NULL;
    data.n_samples = n_samples;
    memset(s->errors, 0, (t->reference->graph.n_outputs + 1) * sizeof *s->errors);
    NB_TRY(t->make(t->ctx, s->stay, &m, err));
    return nb_ptq_measure(s->errors, t->reference, m, t->net, &data, t->pool, t->a, err);
}

/* Of all outputs that are floats. */
static struct nb_ptq_score score_of(const struct search *s)
{
    struct nb_ptq_score r = {.sqnr_db = INFINITY};
    for (size_t i = 0; i < s->t->reference->graph.n_outputs; i++) {
        const struct nb_ptq_error *e = &s->errors[i];
        if (e->of.n == 0)
            continue;
        const double db = nb_agreement_sqnr(&e->of), n = (double)e->of.n_rows;
        const double right = ((double)e->n_right_reference - (double)e->n_right) / n;
        const double other = 1.0 - (double)e->of.n_same / n;
        r.sqnr_db = NB_MIN(r.sqnr_db, db);
        if (s->t->data->labels == NULL || i == 0)
            r.drop = NB_MAX(r.drop, 100.0 * (s->t->data->labels != NULL ? right : other));
    }
    return r;
}

/* The k noisiest stay float: are the bounds met? */
static enum nb_status attempt(struct search *s, size_t k, bool *met, struct nb_error *err)
{
    memset(s->stay, 0, s->n_nodes * sizeof *s->stay);
    for (size_t i = 0; i < k; i++)
        s->stay[s->order[i]] = true;
    NB_TRY(measure(s, s->t->data->n_samples, err));
    s->score = score_of(s);
    *met = s->score.drop <= s->t->max_drop && s->score.sqnr_db >= s->t->min_sqnr_db;
    return NB_OK;
}

static enum nb_status find_noise(struct search *s, struct nb_error *err)
{
    for (size_t i = 0; i < s->n_order; i++) {
        const size_t node = s->order[i];
        for (size_t k = 0; k < s->n_nodes; k++)
            s->stay[k] = k != node;
        NB_TRY(measure(s, NB_MIN(s->t->data->n_samples, (size_t)PROBES), err));
        s->noise[node] = pow(10.0, -score_of(s).sqnr_db / 10.0);
    }
    for (size_t i = 1; i < s->n_order; i++) /* in order, the first of equals first */
        for (size_t k = i; k > 0 && s->noise[s->order[k]] > s->noise[s->order[k - 1]]; k--) {
            const size_t swap = s->order[k];
            s->order[k] = s->order[k - 1];
            s->order[k - 1] = swap;
        }
    return NB_OK;
}

/* The least number of nodes that meets the bounds; all of them if none does. */
static enum nb_status search(struct search *s, size_t *n_kept, struct nb_error *err)
{
    size_t low = 0, high = 1;
    bool met;
    NB_TRY(attempt(s, 0, &met, err));
    *n_kept = 0;
    if (met)
        return NB_OK;
    NB_TRY(find_noise(s, err));
    for (;; high *= 2) {
        high = NB_MIN(high, s->n_order);
        NB_TRY(attempt(s, high, &met, err));
        if (met || high == s->n_order)
            break;
        low = high;
    }
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        NB_TRY(attempt(s, middle, &met, err));
        *(met ? &high : &low) = middle;
    }
    *n_kept = high;
    return attempt(s, high, &met, err);
}

static enum nb_status report(struct search *s, size_t n_kept, struct nb_ptq_choice *out,
                             struct nb_error *err)
{
    out->score = s->score;
    out->n_kept = n_kept;
    out->n_models = s->done;
    out->kept = nb_arena_alloc(s->t->arena, n_kept + 1, sizeof *out->kept);
    out->stay = nb_arena_alloc(s->t->arena, s->n_nodes + 1, sizeof *out->stay);
    if (out->kept == NULL || out->stay == NULL)
        return no_memory(err);
    memcpy(out->stay, s->stay, s->n_nodes * sizeof *s->stay);
    for (size_t i = 0; i < n_kept; i++)
        out->kept[i] = (struct nb_ptq_kept){.node = s->order[i],
                                            .sqnr_db = -10.0 * log10(s->noise[s->order[i]])};
    return NB_OK;
}

enum nb_status nb_ptq_choose(struct nb_ptq_choice *out, const struct nb_ptq_trial *t,
                             const bool *units, size_t n_nodes, struct nb_error *err)
{
    struct search s = {.t = t, .n_nodes = n_nodes};
    size_t n_kept;
    nb_arena_init(&s.arena, t->a, 0);
    s.errors = nb_arena_alloc(&s.arena, t->reference->graph.n_outputs + 1, sizeof *s.errors);
    s.stay = nb_arena_alloc(&s.arena, n_nodes + 1, sizeof *s.stay);
    s.order = nb_arena_alloc(&s.arena, n_nodes + 1, sizeof *s.order);
    s.noise = nb_arena_alloc(&s.arena, n_nodes + 1, sizeof *s.noise);
    for (size_t i = 0; i < n_nodes && s.order != NULL; i++)
        if (units[i])
            s.order[s.n_order++] = i;
    s.total = s.n_order + 8;
    enum nb_status st = s.errors && s.stay && s.order && s.noise ? NB_OK : no_memory(err);
    if (st == NB_OK)
        st = search(&s, &n_kept, err);
    if (st == NB_OK)
        st = report(&s, n_kept, out, err);
    nb_arena_fini(&s.arena);
    return st;
}
