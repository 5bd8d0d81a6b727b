/* eval/text_bits.c: how well a float model predicts windows of a text, block by block.
 *
 * The windows run side by side: each block's weights are decoded once, all windows pass through it, and it is
 * dropped. So it takes the memory of one block whatever the model's size is, as calibrated quantization does
 * (quant/calibrated.c). The second half of each window is scored, as score.c does. Left out: all but the
 * likelihood of the token that followed.
 */
#include "calib/block_weights.h"
#include "eval/eval_internal.h"

#define BASE_BYTES (64U << 20) /* metadata, tokenizer, code, a session */

/* Under way. Owns: hidden, logits, nll, floats. */
struct work {
    const struct nb_text_bits_job *job;
    struct nb_text_bits *out; /* (n)                         */
    float *hidden;            /* (n, ctx, n_embd)            */
    float *logits;            /* (n_rows, n_vocab)           */
    double *nll;              /* (n_rows)                    */
    const uint32_t *next;     /* (n_rows) the tokens that followed; of the rows at hand */
    struct nb_block_weights *floats;
    uint32_t n_rows, n_vocab;
    uint64_t done;
};

static enum nb_status step(struct work *w, struct nb_error *err)
{
    const struct nb_text_bits_job *job = w->job;
    const struct nb_progress *g = job->progress;
    const uint64_t total = (uint64_t)job->n * job->ctx * (job->model->w.hp.n_layers + 2);
    w->done += job->ctx;
    if (g != NULL && g->fn != NULL &&
        g->fn(g->ctx, "calibration text", w->done, total, "tokens") != 0)
        NB_FAIL(err, NB_ERR_CANCELLED, "calibration text: cancelled");
    return NB_OK;
}

static float *window(const struct work *w, size_t i)
{
    return w->hidden + i * w->job->ctx * w->job->model->w.hp.n_embd;
}

static enum nb_status open_part(struct nb_session **s, const struct work *w,
                                const struct nb_weights *weights, uint32_t n_ctx,
                                struct nb_model_part part, struct nb_error *err)
{
    const struct nb_session_options o = {.n_ctx = n_ctx,
                                         .n_batch = n_ctx,
                                         .kv_type = &nb_numfmt_f32,
                                         .float_activations = true,
                                         .pool = w->job->pool,
                                         .part = part};
    return nb_session_create(s, weights, &o, w->job->a, err);
}

/* All windows through the embedding, or through a block. */
static enum nb_status run_part(struct work *w, const struct nb_weights *weights,
                               struct nb_model_part part, struct nb_error *err)
{
    const struct nb_text_bits_job *job = w->job;
    struct nb_session *s;
    enum nb_status st = NB_OK;
    NB_TRY(open_part(&s, w, weights, job->ctx, part, err));
    for (size_t i = 0; i < job->n && st == NB_OK; i++) {
        float *x = window(w, i);
        nb_session_rewind(s, 0);
        st = nb_session_eval_part(s, part.from_hidden ? x : NULL,
                                  part.from_hidden ? NULL : job->tokens + i * job->ctx, job->ctx, x,
                                  err);
        if (st == NB_OK)
            st = step(w, err);
    }
    nb_session_destroy(s);
    return st;
}

static void score_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct work *w = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        w->nll[i] = nb_row_nll(w->logits + i * w->n_vocab, w->n_vocab, w->next[i]);
}

static enum nb_status score_window(struct work *w, struct nb_session *tail, size_t i,
                                   struct nb_error *err)
{
    const struct nb_text_bits_job *job = w->job;
    const uint32_t end = job->ctx - 1;
    struct nb_text_bits *out = &w->out[i];
    *out = (struct nb_text_bits){.nats = 0.0};
    for (uint32_t at = job->ctx / 2, n; at < end; at += n) {
        n = NB_MIN(w->n_rows, end - at);
        w->next = job->tokens + i * job->ctx + at + 1;
        nb_session_rewind(tail, 0);
        NB_TRY(nb_session_eval_part(tail, window(w, i) + (size_t)at * job->model->w.hp.n_embd, NULL,
                                    n, w->logits, err));
        nb_pool_for(job->pool, n, 4, score_rows, w);
        for (uint32_t k = 0; k < n; k++) {
            out->nats += w->nll[k];
            out->bytes += nb_tokenizer_piece(job->model->tokenizer, (int32_t)w->next[k]).n;
        }
    }
    return step(w, err);
}

static enum nb_status score(struct work *w, struct nb_error *err)
{
    const struct nb_text_bits_job *job = w->job;
    const struct nb_model_part part = {.from_hidden = true,
                                       .first_block = job->model->w.hp.n_layers};
    struct nb_session *tail;
    enum nb_status st;
    w->n_rows = NB_MIN(nb_score_rows(job->model->w.hp.n_vocab), job->ctx);
    NB_TRY(open_part(&tail, w, &job->model->w, w->n_rows, part, err));
    w->n_vocab = nb_session_width(tail);
    w->logits = nb_alloc(job->a, (size_t)w->n_rows * w->n_vocab, sizeof *w->logits);
    w->nll = nb_alloc(job->a, w->n_rows, sizeof *w->nll);
    st = w->logits != NULL && w->nll != NULL
             ? NB_OK
             : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for %u rows of logits", w->n_rows);
    for (size_t i = 0; i < job->n && st == NB_OK; i++)
        st = score_window(w, tail, i, err);
    nb_session_destroy(tail);
    return st;
}

static enum nb_status run_all(struct work *w, struct nb_error *err)
{
    const struct nb_model *m = w->job->model;
    NB_TRY(nb_block_weights_create(&w->floats, m, w->job->a, err));
    NB_TRY(run_part(w, &m->w, (struct nb_model_part){.to_hidden = true}, err));
    for (uint32_t b = 0; b < m->w.hp.n_layers; b++) {
        const struct nb_model_part part = {
            .from_hidden = true, .to_hidden = true, .first_block = b, .n_blocks = 1};
        NB_TRY(nb_block_weights_load(w->floats, b, 1, w->job->pool, err));
        NB_TRY(run_part(w, nb_block_weights_view(w->floats), part, err));
    }
    nb_block_weights_destroy(w->floats);
    w->floats = NULL;
    return score(w, err);
}

/* At once: a block's floats, or the head's pages with rows of logits. */
bool nb_text_bits_bytes(const struct nb_text_bits_job *job, uint64_t *bytes)
{
    const struct nb_hparams *hp = &job->model->w.hp;
    const uint64_t width = (uint64_t)hp->n_embd * sizeof(float);
    const uint64_t logits = (uint64_t)nb_score_rows(hp->n_vocab) * hp->n_vocab * sizeof(float);
    uint64_t head = 0, floats = 0, hidden;
    for (size_t i = 0; i < job->model->w.n; i++)
        if (job->model->w.items[i].spec.block < 0)
            head = NB_MAX(head, job->model->w.items[i].t.bytes);
    for (uint32_t b = 0; b < hp->n_layers; b++) {
        uint64_t one;
        if (!nb_block_weights_bytes(job->model, b, 1, &one))
            return false;
        floats = NB_MAX(floats, one);
    }
    return nb_mul_u64(&hidden, (uint64_t)job->n * job->ctx, width) &&
           nb_add_u64(bytes, NB_MAX(floats, head + logits), hidden) &&
           nb_add_u64(bytes, *bytes, BASE_BYTES);
}

/* Pages of the embedding and the head: they would count as memory of whatever comes next. */
static void drop_pages(const struct nb_model *m)
{
    for (size_t i = 0; i < m->w.n; i++)
        if (m->w.items[i].spec.block < 0)
            nb_model_drop_rows(m, i, 0, nb_shape_rows(&m->w.items[i].t.shape));
}

enum nb_status nb_text_bits_run(struct nb_text_bits *out, const struct nb_text_bits_job *job,
                                struct nb_error *err)
{
    struct work w = {.job = job, .out = out};
    size_t rows, floats;
    if (job->ctx < 4)
        NB_FAIL(err, NB_ERR_ARG, "a window of %u tokens is too short, expected at least 4",
                job->ctx);
    if (!nb_mul_size(&rows, job->n, job->ctx) ||
        !nb_mul_size(&floats, rows, job->model->w.hp.n_embd))
        NB_FAIL(err, NB_ERR_LIMIT, "%zu windows are too many", job->n);
    w.hidden = nb_alloc(job->a, floats, sizeof *w.hidden);
    const enum nb_status st =
        w.hidden != NULL
            ? run_all(&w, err)
            : NB_ERROR(err, NB_ERR_NOMEM, "out of memory for %zu windows of text", job->n);
    nb_block_weights_destroy(w.floats);
    nb_free(job->a, w.hidden);
    nb_free(job->a, w.logits);
    nb_free(job->a, w.nll);
    drop_pages(job->model);
    return st;
}
