/* quant/calibrated.c: decoder block by decoder block: run it on the calibration text, round its matrices
 * by what flowed through them, run it again as it will be, go on to the next.
 *
 *     hidden = embedding of every window
 *     for each block:   run(float weights, hidden) -> H of each input
 *                       each matrix: rounded under its H -> journal
 *                       hidden = run(rounded weights, hidden)
 *     head:             H of what the last norm gives
 *
 * So a block makes good what the blocks before it did to its input (Frantar et al. 2023, section 4), and
 * one block's floats and statistics are in memory at a time. With the recipe's float_prefix every block
 * sees what the float model gives it, which takes one run a block instead of two.
 * A weight that the journal has is decoded from there. Results do not depend on where a run was stopped.
 */
#include "quant/calibrated.h"

#include <stdio.h>
#include <string.h>

#include "calib/acts.h"
#include "calib/block_weights.h"
#include "quant/quant_internal.h"
#include "run/run.h"

#define MAX_READERS 64             /* matrices of a block */
#define HASH_ROWS   UINT64_C(1024) /* read at once */

/* A run under way. Owns: all but plan, journal, reports, times, text. */
struct work {
    const struct nb_quant_plan *p;
    struct nb_journal *j;
    struct nb_layer_report *reports;
    struct nb_calibrated_times *times;
    const struct nb_allocator *a;
    const struct nb_windows *text;
    struct nb_algo_params params;
    struct nb_acts *acts;
    struct nb_block_weights *floats; /* of the block at hand */
    struct nb_stats *stats;          /* of the pass at hand; NULL: none */
    uint8_t *records;                /* of the largest weight */
    uint64_t done, total;            /* tokens run, of all passes */
};

/* The weights of a block that are to be rounded. */
struct block {
    int32_t number;                /* -1: the head */
    size_t weight[MAX_READERS], n; /* indices in the model */
};

static enum nb_status block_init(struct work *k, struct block *b, int32_t number,
                                 struct nb_error *err)
{
    *b = (struct block){.number = number};
    for (size_t i = 0; i < k->p->n; i++) {
        const struct nb_plan_tensor *t = &k->p->tensors[i];
        if (!nb_calibrated_takes(t) || t->weight->spec.block != number)
            continue;
        if (b->n == MAX_READERS)
            NB_FAIL(err, NB_ERR_LIMIT, "block %d has more than %d matrices", number, MAX_READERS);
        b->weight[b->n++] = i;
    }
    if (number < 0)
        return NB_OK;
    return nb_block_weights_load(k->floats, (uint32_t)number, 1, k->p->settings.pool, err);
}

/* (rows, cols) of weight i; NULL outside the blocks, where it is read in slabs. */
static float *values_of(const struct work *k, const struct block *b, size_t i)
{
    return b->number < 0 ? NULL : nb_block_weights_values(k->floats, b->weight[i]);
}

static const char *name_of(const struct work *k, const struct block *b, size_t i)
{
    return k->p->tensors[b->weight[i]].weight->spec.name;
}

/* ---- running windows ---- */

static void begin_window(void *ctx, size_t window)
{
    struct work *k = ctx;
    nb_stats_window(k->stats, k->text->held[window]);
}

/* All windows through a part of the model. keep: the hidden states become what it gives. */
static enum nb_status run_part(struct work *k, const struct nb_weights *w,
                               struct nb_model_part part, bool keep, const char *what,
                               struct nb_error *err)
{
    const uint64_t begin = nb_clock_ns();
    const struct nb_session_options o = {.n_ctx = k->text->ctx,
                                         .n_batch = k->text->ctx,
                                         .kv_type = &nb_numfmt_f32,
                                         .float_activations = true,
                                         .pool = k->p->settings.pool,
                                         .part = part};
    struct nb_pass pass = {.tokens = part.from_hidden ? NULL : k->text->tokens,
                           .in = part.from_hidden ? k->acts : NULL,
                           .out = keep ? k->acts : NULL,
                           .ctx = k->text->ctx,
                           .end = k->text->n,
                           .window = k->stats != NULL ? begin_window : NULL,
                           .window_ctx = k,
                           .progress = k->p->settings.progress,
                           .what = what,
                           .done = k->done,
                           .total = k->total};
    NB_TRY(nb_session_create(&pass.session, w, &o, k->a, err));
    if (k->stats != NULL)
        nb_stats_attach(k->stats, pass.session);
    const enum nb_status st = nb_pass_run(&pass, err);
    nb_session_destroy(pass.session);
    k->done += (uint64_t)k->text->n * k->text->ctx;
    k->times->forward += (double)(nb_clock_ns() - begin) * 1e-9;
    return st;
}

static enum nb_status embed(struct work *k, struct nb_error *err)
{
    return run_part(k, &k->p->model->w, (struct nb_model_part){.to_hidden = true}, true,
                    "embedding", err);
}

static enum nb_status run_block(struct work *k, const struct block *b, bool keep,
                                struct nb_error *err)
{
    const uint32_t n_layers = k->p->model->w.hp.n_layers;
    char what[48];
    if (b->number < 0)
        return run_part(k, &k->p->model->w,
                        (struct nb_model_part){.from_hidden = true, .first_block = n_layers}, false,
                        "head", err);
    (void)snprintf(what, sizeof what, "block %d of %u", (int)b->number + 1, n_layers);
    return run_part(k, nb_block_weights_view(k->floats),
                    (struct nb_model_part){.from_hidden = true,
                                           .to_hidden = true,
                                           .first_block = (uint32_t)b->number,
                                           .n_blocks = 1},
                    keep, what, err);
}

/* ---- rounding a block ---- */

/* Of the floats that weight i is made from. */
static enum nb_status hash_of(const struct work *k, const struct block *b, size_t i,
                              struct nb_hash *out, struct nb_error *err)
{
    const size_t index = b->weight[i];
    const struct nb_shape *shape = &k->p->model->w.items[index].t.shape;
    const uint64_t rows = nb_shape_rows(shape);
    const size_t cols = (size_t)nb_shape_cols(shape);
    const float *w = values_of(k, b, i);
    if (w != NULL) {
        *out = nb_hash_bytes(w, (size_t)rows * cols * sizeof *w);
        return NB_OK;
    }
    const uint64_t step = NB_MIN(rows, HASH_ROWS);
    float *x = nb_alloc(k->a, (size_t)step * cols, sizeof *x);
    struct nb_hasher *h = nb_hasher_create(k->a);
    for (uint64_t row = 0, n; x != NULL && h != NULL && row < rows; row += n) {
        n = NB_MIN(step, rows - row);
        nb_quant_read_rows(k->p, index, row, n, x);
        nb_hasher_update(h, x, (size_t)n * cols * sizeof *x);
    }
    const bool ok = x != NULL && h != NULL;
    if (ok)
        *out = nb_hasher_digest(h);
    nb_hasher_destroy(h);
    nb_free(k->a, x);
    return ok ? NB_OK : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for a hash");
}

/* Takes what the journal has of a block; entries of other weights end it. *all: nothing is left to do. */
static enum nb_status take_journal(struct work *k, struct block *b, bool *all, struct nb_error *err)
{
    *all = true;
    for (size_t i = 0; i < b->n; i++) {
        const struct nb_journal_entry *e = nb_journal_find(k->j, name_of(k, b, i));
        if (e == NULL) {
            *all = false;
            continue;
        }
        const struct nb_plan_tensor *t = &k->p->tensors[b->weight[i]];
        struct nb_hash h;
        NB_TRY(hash_of(k, b, i, &h, err));
        if (h.lo != e->input.lo || h.hi != e->input.hi || e->bytes != t->bytes) {
            *all = false;
            return nb_journal_cut(k->j, e, err);
        }
        nb_layer_from_numbers(&k->reports[b->weight[i]], e->number);
    }
    return NB_OK;
}

/* The block's matrices as they are stored. */
static enum nb_status decode_block(struct work *k, struct block *b, struct nb_error *err)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct nb_journal_entry *e = nb_journal_find(k->j, name_of(k, b, i));
        if (e == NULL)
            continue;
        NB_TRY(nb_journal_read(k->j, e, 0, k->records, (size_t)e->bytes, err));
        nb_layer_decode(&k->p->tensors[b->weight[i]], k->records, values_of(k, b, i),
                        k->p->settings.pool);
    }
    return NB_OK;
}

static enum nb_status round_weight(struct work *k, struct block *b, size_t i,
                                   struct nb_layer_input *input, struct nb_error *err)
{
    const struct nb_stats *stats = k->stats;
    const char *name = name_of(k, b, i);
    const size_t index = b->weight[i];
    struct nb_layer_report *r = &k->reports[index];
    const size_t n_mat = nb_stats_matrices(stats, name);
    if (n_mat == 0 || nb_journal_find(k->j, name) != NULL)
        return NB_OK;
    const struct nb_hessian **h = nb_alloc(k->a, 2 * n_mat, sizeof *h);
    if (h == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu matrices", n_mat);
    for (size_t m = 0; m < n_mat; m++) {
        h[m] = nb_stats_hessian(stats, name, m, NB_STATS_TRAIN);
        h[n_mat + m] = nb_stats_hessian(stats, name, m, NB_STATS_HELD);
    }
    struct nb_journal_entry e = {.name = name};
    e.statistics = nb_hash_bytes(h[0]->h, h[0]->n * h[0]->n * sizeof(double));
    const struct nb_layer_job job = {.plan = k->p,
                                     .weight = index,
                                     .algo = k->p->algo,
                                     .params = &k->params,
                                     .h = h,
                                     .held = h[n_mat] != NULL ? h + n_mat : NULL,
                                     .input = input,
                                     .w = values_of(k, b, i)};
    enum nb_status st = hash_of(k, b, i, &e.input, err);
    if (st == NB_OK)
        st = nb_layer_round(&job, k->records, r, err);
    nb_layer_to_numbers(r, e.number);
    if (st == NB_OK)
        st = nb_journal_add(k->j, &e, k->records, k->p->tensors[index].bytes, err);
    nb_free(k->a, h);
    k->times->prepare += r->prepare_seconds;
    k->times->rounding += r->seconds - r->prepare_seconds;
    return st;
}

/* Weights of one input together, so that they share what is prepared for it. */
static enum nb_status round_block(struct work *k, struct block *b, struct nb_error *err)
{
    struct nb_layer_input input = {.prepared = NULL};
    bool done[MAX_READERS] = {false};
    enum nb_status st = NB_OK;
    for (size_t i = 0; i < b->n && st == NB_OK; i++) {
        const size_t edge = nb_stats_edge_of(k->stats, name_of(k, b, i));
        for (size_t n = i; n < b->n && st == NB_OK; n++) {
            if (done[n] || nb_stats_edge_of(k->stats, name_of(k, b, n)) != edge)
                continue;
            done[n] = true;
            st = round_weight(k, b, n, &input, err);
        }
        nb_layer_input_fini(&input);
    }
    return st;
}

/* Runs the block, observing what weights `only` (n_only) read, NULL: all, and rounds them. */
static enum nb_status calibrate(struct work *k, struct block *b, const char *const *only,
                                size_t n_only, bool keep, struct nb_error *err)
{
    const struct nb_stats_options o = {.kinds = NB_STAT_BIT(hessian),
                                       .weights = only,
                                       .n_weights = n_only,
                                       .held_out = true,
                                       .pool = k->p->settings.pool};
    NB_TRY(nb_stats_create(&k->stats, &o, k->a, err));
    enum nb_status st = run_block(k, b, keep, err);
    const uint64_t begin = nb_clock_ns();
    if (st == NB_OK)
        st = nb_stats_settle(k->stats, err);
    k->times->statistics += (double)(nb_clock_ns() - begin) * 1e-9;
    if (st == NB_OK)
        st = round_block(k, b, err);
    nb_stats_destroy(k->stats);
    k->stats = NULL;
    return st;
}

/* One input at a time: its statistics are all there is in memory. The floats of the block stay as they
 * are, so the results are those of one run. */
static enum nb_status calibrate_by_input(struct work *k, struct block *b, struct nb_error *err)
{
    for (size_t i = 0; i < b->n; i++) {
        const char *name = name_of(k, b, i);
        if (nb_journal_find(k->j, name) == NULL)
            NB_TRY(calibrate(k, b, &name, 1, false, err));
    }
    return NB_OK;
}

static enum nb_status calibrate_block(struct work *k, struct block *b, struct nb_error *err)
{
    if (!k->p->calibrated.by_input)
        return calibrate(k, b, NULL, 0, k->p->settings.recipe->float_prefix, err);
    NB_TRY(calibrate_by_input(k, b, err));
    return k->p->settings.recipe->float_prefix ? run_block(k, b, true, err) : NB_OK;
}

static enum nb_status do_block(struct work *k, struct block *b, struct nb_error *err)
{
    const bool float_prefix = k->p->settings.recipe->float_prefix;
    bool all;
    NB_TRY(take_journal(k, b, &all, err));
    if (!all)
        NB_TRY(calibrate_block(k, b, err));
    if (b->number < 0 || (float_prefix && !all))
        return NB_OK;
    if (!float_prefix) {
        NB_TRY(decode_block(k, b, err));
        k->done += all ? (uint64_t)k->text->n * k->text->ctx : 0;
    }
    return run_block(k, b, true, err);
}

/* ---- the whole ---- */

/* Of the output; NULL: no memory, or none is named. */
static char *folder_of(const struct nb_allocator *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? nb_strndup(a, ".", 1)
                         : nb_strndup(a, path, (size_t)NB_MAX(slash - path, (ptrdiff_t)1));
}

static enum nb_status set_up(struct work *k, struct nb_error *err)
{
    const struct nb_quant_plan *p = k->p;
    const struct nb_recipe *recipe = p->settings.recipe;
    const struct nb_hparams *hp = &p->model->w.hp;
    char *folder = folder_of(k->a, p->settings.out);
    const struct nb_acts_options acts = {.n_windows = k->text->n,
                                         .ctx = k->text->ctx,
                                         .width = hp->n_embd,
                                         .max_bytes = p->calibrated.hidden_bytes,
                                         .folder = folder};
    uint64_t records = 1;
    k->params = *p->algo->params;
    if (recipe->damp > 0.0)
        k->params.damp = recipe->damp;
    for (size_t i = 0; i < p->n; i++)
        if (nb_calibrated_takes(&p->tensors[i]))
            records = NB_MAX(records, p->tensors[i].bytes);
    k->records = nb_alloc(k->a, (size_t)records, 1);
    if (k->records == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %llu bytes of a tensor",
                (unsigned long long)records);
    k->total = (uint64_t)k->text->n * k->text->ctx *
               (hp->n_layers * (recipe->float_prefix ? 1U : 2U) + 2U);
    const enum nb_status st = nb_acts_create(&k->acts, &acts, k->a, err);
    nb_free(k->a, folder);
    if (st != NB_OK)
        return st;
    return nb_block_weights_create(&k->floats, p->model, k->a, err);
}

static enum nb_status run_all(struct work *k, struct nb_error *err)
{
    const int32_t n_layers = (int32_t)k->p->model->w.hp.n_layers;
    struct block b;
    NB_TRY(set_up(k, err));
    NB_TRY(embed(k, err));
    for (int32_t number = 0; number <= n_layers; number++) {
        NB_TRY(block_init(k, &b, number < n_layers ? number : -1, err));
        NB_TRY(do_block(k, &b, err));
    }
    return NB_OK;
}

enum nb_status nb_calibrated_run(const struct nb_quant_plan *p, struct nb_journal *j,
                                 struct nb_layer_report *reports, struct nb_calibrated_times *times,
                                 struct nb_error *err)
{
    struct work k = {
        .p = p, .j = j, .reports = reports, .times = times, .a = p->a, .text = p->settings.windows};
    *times = (struct nb_calibrated_times){0.0, 0.0, 0.0, 0.0};
    const enum nb_status st = run_all(&k, err);
    nb_block_weights_destroy(k.floats);
    nb_acts_destroy(k.acts);
    nb_free(k.a, k.records);
    return st;
}

struct nb_hash nb_calibrated_job(const struct nb_quant_plan *p)
{
    struct nb_hash part[3];
    part[0] = nb_hash_bytes(p->recipe, strlen(p->recipe));
    part[1] = nb_windows_hash(p->settings.windows);
    part[2] = nb_hash_bytes(nb_version(), strlen(nb_version()));
    return nb_hash_bytes(part, sizeof part);
}

struct nb_hash nb_windows_hash(const struct nb_windows *w)
{
    struct nb_hash part[3];
    part[0] = nb_hash_bytes(w->tokens, w->n * w->ctx * sizeof *w->tokens);
    part[1] = nb_hash_bytes(w->held, w->n * sizeof *w->held);
    part[2] = (struct nb_hash){w->n, w->ctx};
    return nb_hash_bytes(part, sizeof part);
}
