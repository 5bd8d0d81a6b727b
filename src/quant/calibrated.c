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
 * one block's floats and statistics are in memory at a time. With float_prefix every block
 * sees what the float model gives it, which takes one run a block instead of two.
 * A dense block is cut further, input by input, on two streams (staged.c); the above is how blocks with experts
 * go. A weight that the journal has is decoded from there. Results do not depend on where a run was stopped.
 */
#include <stdio.h>
#include <string.h>

#include "quant/calibrated_internal.h"
#include "run/run.h"

/* Buffers for the bytes of the block's largest matrix, and, where methods compete, of another try. */
static enum nb_status make_room(struct nb_calibrated *k, const struct nb_calibrated_block *b,
                                struct nb_error *err)
{
    uint64_t bytes = 1;
    for (size_t i = 0; i < b->n; i++)
        bytes = NB_MAX(bytes, k->p->tensors[b->weight[i]].bytes);
    nb_free(k->a, k->records);
    nb_free(k->a, k->trial);
    k->trial = NULL;
    k->records = nb_alloc(k->a, (size_t)bytes, 1);
    if (k->p->algo == NULL)
        k->trial = nb_alloc(k->a, (size_t)bytes, 1);
    if (k->records == NULL || (k->p->algo == NULL && k->trial == NULL))
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %llu bytes of a tensor",
                (unsigned long long)bytes);
    return NB_OK;
}

static enum nb_status block_init(struct nb_calibrated *k, struct nb_calibrated_block *b,
                                 int32_t number, struct nb_error *err)
{
    *b = (struct nb_calibrated_block){.number = number};
    for (size_t i = 0; i < k->p->n; i++) {
        const struct nb_plan_tensor *t = &k->p->tensors[i];
        if (!nb_calibrated_takes(t) || t->weight->spec.block != number)
            continue;
        if (b->n == NB_CALIBRATED_WEIGHTS)
            NB_FAIL(err, NB_ERR_LIMIT, "block %d has more than %d matrices", number,
                    NB_CALIBRATED_WEIGHTS);
        b->weight[b->n++] = i;
    }
    NB_TRY(make_room(k, b, err));
    if (number < 0)
        return NB_OK;
    return nb_block_weights_load(k->floats, (uint32_t)number, 1, k->p->settings.pool, err);
}

float *nb_calibrated_values(const struct nb_calibrated *k, const struct nb_calibrated_block *b,
                            size_t i)
{
    return b->number < 0 ? NULL : nb_block_weights_values(k->floats, b->weight[i]);
}

const char *nb_calibrated_name(const struct nb_calibrated *k, const struct nb_calibrated_block *b,
                               size_t i)
{
    return k->p->tensors[b->weight[i]].weight->spec.name;
}

/* ---- progress ---- */

void nb_calibrated_phase(struct nb_calibrated *k, unsigned passes, uint64_t n_steps)
{
    k->done += k->share;
    k->share = (uint64_t)passes * k->text->n * k->text->ctx;
    k->step = 0;
    k->n_steps = n_steps;
}

enum nb_status nb_calibrated_step(struct nb_calibrated *k, const char *what, struct nb_error *err)
{
    const struct nb_progress *g = k->p->settings.progress;
    nb_assert(k->step < k->n_steps);
    k->step++;
    const uint64_t part = (uint64_t)((double)k->share * ((double)k->step / (double)k->n_steps));
    if (g != NULL && g->fn != NULL && g->fn(g->ctx, what, k->done + part, k->total, "tokens") != 0)
        NB_FAIL(err, NB_ERR_CANCELLED, "%s: cancelled", what);
    return NB_OK;
}

/* ---- running windows ---- */

/* One window: hidden states lie at the begin of its place in the store. */
static enum nb_status run_window(struct nb_calibrated *k, struct nb_session *s, size_t window,
                                 bool from_hidden, float *out, bool keep, struct nb_error *err)
{
    const uint32_t *tokens = k->text->tokens + window * k->text->ctx;
    float *x;
    NB_TRY(nb_acts_get(k->acts, window, &x, err));
    if (k->stats != NULL)
        nb_stats_window(k->stats, k->text->held[window]);
    nb_session_rewind(s, 0);
    NB_TRY(nb_session_eval_part(s, from_hidden ? x : NULL, from_hidden ? NULL : tokens,
                                k->text->ctx, keep ? x : out, err));
    return keep ? nb_acts_put(k->acts, window, x, err) : NB_OK;
}

static enum nb_status run_windows(struct nb_calibrated *k, struct nb_session *s, bool from_hidden,
                                  float *out, bool keep, const char *what, struct nb_error *err)
{
    for (size_t w = 0; w < k->text->n; w++) {
        NB_TRY(run_window(k, s, w, from_hidden, out, keep, err));
        NB_TRY(nb_calibrated_step(k, what, err));
    }
    return NB_OK;
}

/* All windows through a part of the model. keep: the hidden states become what it gives. */
static enum nb_status run_part(struct nb_calibrated *k, const struct nb_weights *w,
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
    struct nb_session *s;
    float *out = NULL;
    NB_TRY(nb_session_create(&s, w, &o, k->a, err));
    if (!keep && part.to_hidden)
        out = nb_alloc(k->a, (size_t)k->text->ctx * nb_session_width(s), sizeof *out);
    if (k->stats != NULL)
        nb_stats_attach(k->stats, s);
    const enum nb_status st =
        !keep && part.to_hidden && out == NULL
            ? NB_ERROR(err, NB_ERR_NOMEM, "out of memory for a window of activations")
            : run_windows(k, s, part.from_hidden, out, keep, what, err);
    nb_free(k->a, out);
    nb_session_destroy(s);
    k->times->forward += (double)(nb_clock_ns() - begin) * 1e-9;
    return st;
}

/* What the file's weights outside of blocks take in memory is not needed again for long. */
static void drop_outer(const struct nb_calibrated *k)
{
    const struct nb_model *m = k->p->model;
    for (size_t i = 0; i < m->w.n; i++)
        if (m->w.items[i].spec.block < 0 && m->w.items[i].t.shape.n > 0)
            nb_model_drop_rows(m, i, 0, nb_shape_rows(&m->w.items[i].t.shape));
}

static enum nb_status embed(struct nb_calibrated *k, struct nb_error *err)
{
    nb_calibrated_phase(k, 1, k->text->n);
    NB_TRY(run_part(k, &k->p->model->w, (struct nb_model_part){.to_hidden = true}, true,
                    "embedding", err));
    drop_outer(k);
    return NB_OK;
}

static enum nb_status run_block(struct nb_calibrated *k, const struct nb_calibrated_block *b,
                                bool keep, struct nb_error *err)
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

/* ---- a block with experts, and the head: all of it run at once, with taps ---- */

static enum nb_status round_weight(struct nb_calibrated *k, struct nb_calibrated_block *b, size_t i,
                                   struct nb_layer_input *input, struct nb_error *err)
{
    const char *name = nb_calibrated_name(k, b, i);
    const size_t n_mat = nb_stats_matrices(k->stats, name);
    if (n_mat == 0 || nb_journal_find(k->j, name) != NULL)
        return NB_OK;
    const struct nb_hessian **h = nb_alloc(k->a, 2 * n_mat, sizeof *h);
    if (h == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu matrices", n_mat);
    for (size_t m = 0; m < n_mat; m++) {
        h[m] = nb_stats_hessian(k->stats, name, m, NB_STATS_TRAIN);
        h[n_mat + m] = nb_stats_hessian(k->stats, name, m, NB_STATS_HELD);
    }
    struct nb_layer_job job = {.h = h, .held = h[n_mat] != NULL ? h + n_mat : NULL, .input = input};
    const enum nb_status st = nb_calibrated_round(k, b, i, &job, NULL, err);
    nb_free(k->a, h);
    return st;
}

/* Weights of one input together, so that they share what is prepared for it. */
static enum nb_status round_block(struct nb_calibrated *k, struct nb_calibrated_block *b,
                                  struct nb_error *err)
{
    struct nb_layer_input input = {.prepared = NULL};
    bool done[NB_CALIBRATED_WEIGHTS] = {false};
    enum nb_status st = NB_OK;
    for (size_t i = 0; i < b->n && st == NB_OK; i++) {
        const size_t edge = nb_stats_edge_of(k->stats, nb_calibrated_name(k, b, i));
        for (size_t n = i; n < b->n && st == NB_OK; n++) {
            if (done[n] || nb_stats_edge_of(k->stats, nb_calibrated_name(k, b, n)) != edge)
                continue;
            done[n] = true;
            st = round_weight(k, b, n, &input, err);
        }
        nb_layer_input_fini(&input);
    }
    return st;
}

/* Runs the block, observing what weights `only` (n_only) read, NULL: all, and rounds them. */
static enum nb_status calibrate(struct nb_calibrated *k, struct nb_calibrated_block *b,
                                const char *const *only, size_t n_only, bool keep,
                                struct nb_error *err)
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
static enum nb_status calibrate_by_input(struct nb_calibrated *k, struct nb_calibrated_block *b,
                                         struct nb_error *err)
{
    for (size_t i = 0; i < b->n; i++) {
        const char *name = nb_calibrated_name(k, b, i);
        if (nb_journal_find(k->j, name) == NULL)
            NB_TRY(calibrate(k, b, &name, 1, false, err));
    }
    return NB_OK;
}

static enum nb_status calibrate_block(struct nb_calibrated *k, struct nb_calibrated_block *b,
                                      struct nb_error *err)
{
    if (!k->p->calibrated.by_input)
        return calibrate(k, b, NULL, 0, k->p->float_prefix, err);
    NB_TRY(calibrate_by_input(k, b, err));
    return b->number >= 0 && k->p->float_prefix ? run_block(k, b, true, err) : NB_OK;
}

/* How often whole_block runs all windows. */
static size_t count_runs(const struct nb_calibrated *k, const struct nb_calibrated_block *b,
                         bool all)
{
    const bool by_input = k->p->calibrated.by_input;
    size_t n = b->number >= 0 && (all || by_input || !k->p->float_prefix);
    for (size_t i = 0; i < b->n && by_input; i++)
        n += nb_journal_find(k->j, nb_calibrated_name(k, b, i)) == NULL;
    return n + (!all && !by_input);
}

static enum nb_status whole_block(struct nb_calibrated *k, struct nb_calibrated_block *b, bool all,
                                  struct nb_error *err)
{
    const bool float_prefix = k->p->float_prefix;
    nb_calibrated_phase(k, b->number < 0 || float_prefix ? 1 : 2,
                        (uint64_t)count_runs(k, b, all) * k->text->n);
    if (!all)
        NB_TRY(calibrate_block(k, b, err));
    if (b->number < 0 || (float_prefix && !all))
        return NB_OK;
    for (size_t i = 0; i < b->n && !float_prefix; i++)
        NB_TRY(nb_calibrated_decode(k, b, i, err));
    return run_block(k, b, true, err);
}

static enum nb_status do_block(struct nb_calibrated *k, struct nb_calibrated_block *b,
                               struct nb_error *err)
{
    const struct nb_hparams *hp = &k->p->model->w.hp;
    bool all;
    NB_TRY(nb_calibrated_take_journal(k, b, &all, err));
    if (b->number >= 0 && nb_staged_width(hp) > 0)
        return nb_staged_block(k, b, err);
    return whole_block(k, b, all, err);
}

/* ---- the whole ---- */

/* Of the output; NULL: no memory. */
static char *folder_of(const struct nb_allocator *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? nb_strndup(a, ".", 1)
                         : nb_strndup(a, path, (size_t)NB_MAX(slash - path, (ptrdiff_t)1));
}

/* The windows that go through the float model too: of those that are not held out all, or, of a long text, every
 * third, fourth ... The shift is damped by the mean of H, so it takes fewer tokens to be as sure of it (design 009). */
static enum nb_status make_ideal(struct nb_calibrated *k, const struct nb_acts_options *like,
                                 struct nb_error *err)
{
    const struct nb_windows *text = k->text;
    const size_t tokens = text->n * text->ctx;
    const size_t step =
        tokens <= NB_IDEAL_WHOLE ? 1 : (tokens + NB_IDEAL_TOKENS - 1) / NB_IDEAL_TOKENS;
    struct nb_acts_options o = *like;
    size_t seen = 0;
    k->ideal_window = nb_alloc(k->a, text->n, sizeof *k->ideal_window);
    if (k->ideal_window == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu windows", text->n);
    for (size_t w = 0; w < text->n; w++)
        if (!text->held[w] && seen++ % step == 0)
            k->ideal_window[k->n_ideal++] = w;
    if (k->n_ideal == 0)
        return NB_OK;
    o.n_windows = k->n_ideal;
    return nb_acts_create(&k->ideal, &o, k->a, err);
}

/* Where hidden states are kept: those of the rounded model, and of the float one where it is run too. */
static enum nb_status make_stores(struct nb_calibrated *k, struct nb_error *err)
{
    const struct nb_hparams *hp = &k->p->model->w.hp;
    char *folder = folder_of(k->a, k->p->settings.out);
    const struct nb_acts_options acts = {.n_windows = k->text->n,
                                         .ctx = k->text->ctx,
                                         .width = NB_MAX(nb_staged_width(hp), (size_t)hp->n_embd),
                                         .max_bytes = k->p->calibrated.hidden_bytes,
                                         .folder = folder};
    if (folder == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the name of a folder");
    enum nb_status st = nb_acts_create(&k->acts, &acts, k->a, err);
    if (st == NB_OK && nb_staged_width(hp) > 0 && !k->p->float_prefix && k->p->mismatch > 0.0)
        st = make_ideal(k, &acts, err);
    nb_free(k->a, folder);
    return st;
}

static enum nb_status set_up(struct nb_calibrated *k, struct nb_error *err)
{
    const struct nb_quant_plan *p = k->p;
    k->total = (uint64_t)k->text->n * k->text->ctx *
               (p->model->w.hp.n_layers * (p->float_prefix ? 1U : 2U) + 2U);
    NB_TRY(make_stores(k, err));
    return nb_block_weights_create(&k->floats, p->model, k->a, err);
}

static enum nb_status run_all(struct nb_calibrated *k, struct nb_error *err)
{
    const int32_t n_layers = (int32_t)k->p->model->w.hp.n_layers;
    struct nb_calibrated_block b;
    NB_TRY(set_up(k, err));
    NB_TRY(embed(k, err));
    for (size_t i = 0; i < k->n_ideal; i++) {
        float *x;
        NB_TRY(nb_acts_get(k->acts, k->ideal_window[i], &x, err));
        NB_TRY(nb_acts_write(k->ideal, i, x, err));
    }
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
    struct nb_calibrated k = {
        .p = p, .j = j, .reports = reports, .times = times, .a = p->a, .text = p->settings.windows};
    *times = (struct nb_calibrated_times){0.0, 0.0, 0.0, 0.0};
    const enum nb_status st = run_all(&k, err);
    nb_block_weights_destroy(k.floats);
    nb_acts_destroy(k.acts);
    nb_acts_destroy(k.ideal);
    nb_free(k.a, k.ideal_window);
    nb_choices_fini(&k.choices, k.a);
    nb_free(k.a, k.records);
    nb_free(k.a, k.trial);
    return st;
}
