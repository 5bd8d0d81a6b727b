/* quant/calibrated_round.c: one weight of a calibrated block: what the journal has of it, by which algorithm it
 * is rounded, and what of the model a journal depends on.
 */
#include <string.h>

#include "math/math.h"
#include "quant/calibrated_internal.h"

#define LOSS_MAX  1e300          /* relative; a worse one is as bad */
#define HASH_ROWS UINT64_C(1024) /* read at once */

/* Of a weight's floats, read in slabs. */
static enum nb_status hash_rows(const struct nb_quant_plan *p, size_t index, struct nb_hash *out,
                                struct nb_error *err)
{
    const struct nb_shape *shape = &p->model->w.items[index].t.shape;
    const uint64_t rows = nb_shape_rows(shape), step = NB_MIN(rows, HASH_ROWS);
    const size_t cols = (size_t)nb_shape_cols(shape);
    float *x = nb_alloc(p->a, (size_t)step * cols, sizeof *x);
    struct nb_hasher *h = nb_hasher_create(p->a);
    for (uint64_t row = 0, n; x != NULL && h != NULL && row < rows; row += n) {
        n = NB_MIN(step, rows - row);
        nb_model_read_rows(p->model, index, row, n, x);
        nb_hasher_update(h, x, (size_t)n * cols * sizeof *x);
    }
    const bool ok = x != NULL && h != NULL;
    if (ok)
        *out = nb_hasher_digest(h);
    nb_hasher_destroy(h);
    nb_free(p->a, x);
    return ok ? NB_OK : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for a hash");
}

/* Of the floats that weight i is made from. */
static enum nb_status hash_of(const struct nb_calibrated *k, const struct nb_calibrated_block *b,
                              size_t i, struct nb_hash *out, struct nb_error *err)
{
    const struct nb_shape *shape = &k->p->model->w.items[b->weight[i]].t.shape;
    const float *w = nb_calibrated_values(k, b, i);
    if (w == NULL)
        return hash_rows(k->p, b->weight[i], out, err);
    *out = nb_hash_bytes(w, (size_t)(nb_shape_rows(shape) * nb_shape_cols(shape)) * sizeof *w);
    return NB_OK;
}

/* A weight that has changed ends the journal at its block: what the block's others read may hang on it. */
static enum nb_status check_journal(struct nb_calibrated *k, const struct nb_calibrated_block *b,
                                    struct nb_error *err)
{
    const struct nb_journal_entry *first = NULL;
    bool changed = false;
    for (size_t i = 0; i < b->n; i++) {
        const struct nb_journal_entry *e = nb_journal_find(k->j, nb_calibrated_name(k, b, i));
        struct nb_hash h;
        if (e == NULL)
            continue;
        NB_TRY(hash_of(k, b, i, &h, err));
        changed = changed || h.lo != e->input.lo || h.hi != e->input.hi ||
                  e->bytes != k->p->tensors[b->weight[i]].bytes;
        first = first == NULL || e->offset < first->offset ? e : first;
    }
    return changed ? nb_journal_cut(k->j, first, err) : NB_OK;
}

enum nb_status nb_calibrated_take_journal(struct nb_calibrated *k, struct nb_calibrated_block *b,
                                          bool *all, struct nb_error *err)
{
    *all = true;
    NB_TRY(check_journal(k, b, err));
    for (size_t i = 0; i < b->n; i++) {
        const struct nb_journal_entry *e = nb_journal_find(k->j, nb_calibrated_name(k, b, i));
        if (e == NULL) {
            *all = false;
            continue;
        }
        const struct nb_plan_tensor *t = &k->p->tensors[b->weight[i]];
        struct nb_layer_report *r = &k->reports[b->weight[i]];
        nb_layer_from_numbers(r, e->number);
        if (r->candidate[0] != 0.0) { /* it was tried on all: later choices rest on that */
            struct nb_choice *choice =
                nb_choices_find(&k->choices, t->weight->spec.role, t->type, k->a);
            if (choice == NULL)
                NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a choice");
            nb_choice_add(choice, r->candidate);
        }
    }
    return NB_OK;
}

enum nb_status nb_calibrated_decode(struct nb_calibrated *k, const struct nb_calibrated_block *b,
                                    size_t i, struct nb_error *err)
{
    const struct nb_journal_entry *e = nb_journal_find(k->j, nb_calibrated_name(k, b, i));
    uint8_t *stored = nb_block_weights_records(k->floats, b->weight[i]);
    if (e == NULL)
        return NB_OK;
    NB_TRY(
        nb_journal_read(k->j, e, 0, stored != NULL ? stored : k->records, (size_t)e->bytes, err));
    if (stored == NULL)
        nb_layer_decode(&k->p->tensors[b->weight[i]], k->records, nb_calibrated_values(k, b, i),
                        k->p->settings.pool);
    return nb_calibrated_take_bias(k, b, i, err);
}

/* The recipe's damping in place of the algorithm's. */
static struct nb_algo_params params_of(const struct nb_calibrated *k, const struct nb_algo *algo)
{
    struct nb_algo_params params = *algo->params;
    if (k->p->settings.recipe->damp > 0.0)
        params.damp = k->p->settings.recipe->damp;
    return params;
}

/* With the recipe's algorithm; what it cannot round, as one format of a mix, by the next best. */
static enum nb_status round_by_recipe(struct nb_calibrated *k, struct nb_layer_job *job,
                                      struct nb_layer_report *r, struct nb_error *err)
{
    const struct nb_algo *order[] = {k->p->algo, &nb_algo_ldlq, &nb_algo_rtn};
    enum nb_status st = NB_OK;
    for (size_t i = 0; i < NB_COUNTOF(order); i++) {
        const struct nb_algo_params params = params_of(k, order[i]);
        job->algo = order[i];
        job->params = &params;
        st = nb_layer_round(job, k->records, r, err);
        r->method = order[i]->name;
        if (st != NB_ERR_UNSUPPORTED)
            break;
    }
    return st;
}

static struct nb_algo_params candidate_params(const struct nb_calibrated *k,
                                              const struct nb_candidate *c)
{
    struct nb_algo_params params = params_of(k, c->algo);
    params.weigh = c->weigh;
    params.fit = c->fit;
    params.order = c->order;
    return params;
}

/* Never 0: that says that a candidate was not tried. */
static double log_loss(const struct nb_algo_sums *s)
{
    const double loss =
        s->held_signal > 0.0 ? s->held_target_loss / s->held_signal : s->target_loss / s->signal;
    if (!(loss < LOSS_MAX))
        return nb_log(LOSS_MAX);
    const double log = nb_log(NB_MAX(loss, 1.0 / LOSS_MAX));
    return log == 0.0 ? -1e-9 : log;
}

/* All candidates on this weight; the best one's bytes stay in k->records. */
static enum nb_status round_by_all(struct nb_calibrated *k, struct nb_layer_job *job,
                                   struct nb_choice *choice, struct nb_layer_report *best,
                                   struct nb_error *err)
{
    double loss[NB_CANDIDATES];
    for (size_t i = 0; i < NB_CANDIDATES; i++) {
        const struct nb_candidate *c = nb_candidate_at(i);
        const struct nb_algo_params params = candidate_params(k, c);
        struct nb_layer_report r;
        job->algo = c->algo;
        job->params = &params;
        NB_TRY(nb_layer_round(job, k->trial, &r, err));
        loss[i] = log_loss(&r.sums);
        r.method = c->name;
        r.seconds += i > 0 ? best->seconds : 0.0;
        r.prepare_seconds += i > 0 ? best->prepare_seconds : 0.0;
        if (i == 0 || loss[i] < log_loss(&best->sums)) {
            uint8_t *other = k->records;
            k->records = k->trial;
            k->trial = other;
            *best = r;
        } else {
            best->seconds = r.seconds;
            best->prepare_seconds = r.prepare_seconds;
        }
    }
    nb_choice_add(choice, loss);
    memcpy(best->candidate, loss, sizeof loss);
    return NB_OK;
}

static enum nb_status round_by_choice(struct nb_calibrated *k, struct nb_layer_job *job,
                                      struct nb_layer_report *r, struct nb_error *err)
{
    const struct nb_plan_tensor *t = &k->p->tensors[job->weight];
    struct nb_choice *choice = nb_choices_find(&k->choices, t->weight->spec.role, t->type, k->a);
    if (choice == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a choice");
    if (nb_choice_open(choice))
        return round_by_all(k, job, choice, r, err);
    const struct nb_candidate *c = nb_candidate_at(nb_choice_best(choice));
    const struct nb_algo_params params = candidate_params(k, c);
    job->algo = c->algo;
    job->params = &params;
    NB_TRY(nb_layer_round(job, k->records, r, err));
    r->method = c->name;
    return NB_OK;
}

enum nb_status nb_calibrated_round(struct nb_calibrated *k, const struct nb_calibrated_block *b,
                                   size_t i, struct nb_layer_job *job,
                                   const struct nb_calibrated_means *means, struct nb_error *err)
{
    const size_t index = b->weight[i];
    struct nb_layer_report *r = &k->reports[index];
    struct nb_journal_entry e = {.name = nb_calibrated_name(k, b, i)};
    job->plan = k->p;
    job->weight = index;
    job->w = nb_calibrated_values(k, b, i);
    NB_TRY(hash_of(k, b, i, &e.input, err));
    NB_TRY((k->p->algo != NULL ? round_by_recipe : round_by_choice)(k, job, r, err));
    nb_layer_to_numbers(r, e.number);
    k->times->prepare += r->prepare_seconds;
    k->times->rounding += r->seconds - r->prepare_seconds;
    NB_TRY(nb_calibrated_correct(k, b, i, means, e.input, err));
    return nb_journal_add(k->j, &e, k->records, k->p->tensors[index].bytes, err);
}

/* What hidden states hang on and no entry has a hash of: norms, biases, embeddings, what is kept. */
static enum nb_status hash_others(const struct nb_quant_plan *p, struct nb_hash *out,
                                  struct nb_error *err)
{
    struct nb_hasher *h = nb_hasher_create(p->a);
    enum nb_status st = h != NULL ? NB_OK : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for a hash");
    for (size_t i = 0; i < p->n && st == NB_OK; i++) {
        struct nb_hash one;
        if (nb_calibrated_takes(&p->tensors[i]) && p->tensors[i].weight->spec.block >= 0)
            continue;
        st = hash_rows(p, i, &one, err);
        if (st == NB_OK)
            nb_hasher_update(h, &one, sizeof one);
    }
    if (st == NB_OK)
        *out = nb_hasher_digest(h);
    nb_hasher_destroy(h);
    return st;
}

enum nb_status nb_calibrated_job(const struct nb_quant_plan *p, struct nb_hash *out,
                                 struct nb_error *err)
{
    struct nb_hash part[4];
    part[0] = nb_hash_bytes(p->recipe, strlen(p->recipe));
    part[1] = nb_windows_hash(p->settings.windows);
    part[2] = nb_hash_bytes(nb_version(), strlen(nb_version()));
    NB_TRY(hash_others(p, &part[3], err));
    *out = nb_hash_bytes(part, sizeof part);
    return NB_OK;
}

struct nb_hash nb_windows_hash(const struct nb_windows *w)
{
    struct nb_hash part[3];
    part[0] = nb_hash_bytes(w->tokens, w->n * w->ctx * sizeof *w->tokens);
    part[1] = nb_hash_bytes(w->held, w->n * sizeof *w->held);
    part[2] = (struct nb_hash){w->n, w->ctx};
    return nb_hash_bytes(part, sizeof part);
}
