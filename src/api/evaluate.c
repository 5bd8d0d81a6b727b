/* api/evaluate.c: nb_evaluate: a text, one or two models, the figures. */
#include "api/api.h"

#include <string.h>

#include "eval/eval.h"
#include "math/math.h"
#include "text/text.h"

#define TEXT_BYTES_MAX (UINT64_C(1) << 30)

void nb_eval_options_init(struct nb_eval_options *o)
{
    *o = (struct nb_eval_options){.size = sizeof *o};
}

static enum nb_status check_pair(const struct nb_model *m, const struct nb_model *ref,
                                 struct nb_error *err)
{
    if (m->tokenizer == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s has no tokenizer: a text cannot be evaluated",
                m->path);
    if (ref != NULL && ref->w.hp.n_vocab != m->w.hp.n_vocab)
        NB_FAIL(err, NB_ERR_ARG, "%s has a vocabulary of %u, %s of %u: they cannot be compared",
                m->path, m->w.hp.n_vocab, ref->path, ref->w.hp.n_vocab);
    return NB_OK;
}

static enum nb_status read_tokens(struct nb_ids *ids, nb_context *ctx, const struct nb_model *m,
                                  const char *path, struct nb_error *err)
{
    struct nb_str text;
    nb_str_init(&text, &ctx->allocator);
    enum nb_status st = nb_file_read_all(&text, path, TEXT_BYTES_MAX, err);
    if (st == NB_OK)
        st = nb_tokenizer_encode(m->tokenizer, ids, text.data != NULL ? text.data : "", text.len, 0,
                                 err);
    nb_str_fini(&text);
    return st;
}

static void fill_result(struct nb_eval_result *r, const struct nb_score *s, uint32_t window,
                        bool has_ref)
{
    *r = (struct nb_eval_result){
        .tokens = s->n, .ctx = window, .chunks = s->chunks, .has_ref = has_ref};
    r->ppl = nb_exp(s->nll);
    r->ppl_error = r->ppl * s->nll_error;
    r->bits_per_byte = s->bits_per_byte;
    r->tok_per_s = s->seconds > 0 ? (double)s->chunks * (window - 1) / s->seconds : 0;
    nb_hash_hex(s->logits, r->logits_hash);
    if (!has_ref)
        return;
    r->ppl_ref = nb_exp(s->ref_nll);
    r->ppl_ref_error = r->ppl_ref * s->ref_nll_error;
    r->ln_ratio_error = s->ratio_error;
    r->kld_mean = s->kld_mean;
    r->kld_error = s->kld_error;
    r->kld_min = s->kld_min;
    r->kld_p50 = s->kld_p50;
    r->kld_p90 = s->kld_p90;
    r->kld_p99 = s->kld_p99;
    r->kld_max = s->kld_max;
    r->top1 = s->top1;
    r->top1_error = s->top1_error;
}

/* Owns: sessions, scores, ids. */
struct evaluation {
    struct nb_session **sessions; /* (n) */
    struct nb_session *ref;
    struct nb_score *scores; /* (n) */
    struct nb_ids ids;
};

static enum nb_status open_sessions(struct evaluation *e, nb_context *ctx,
                                    struct nb_model *const *models, size_t n, struct nb_model *ref,
                                    const struct nb_session_options *so, struct nb_error *err)
{
    e->sessions = nb_alloc_zero(&ctx->allocator, n, sizeof *e->sessions);
    e->scores = nb_alloc_zero(&ctx->allocator, n, sizeof *e->scores);
    if (e->sessions == NULL || e->scores == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for %zu sessions", n);
    for (size_t i = 0; i < n; i++)
        NB_TRY(nb_open_session(&e->sessions[i], models[i], so, &ctx->allocator, err));
    return ref != NULL ? nb_open_session(&e->ref, ref, so, &ctx->allocator, err) : NB_OK;
}

static void close_evaluation(struct evaluation *e, const struct nb_allocator *a, size_t n)
{
    for (size_t i = 0; e->sessions != NULL && i < n; i++)
        nb_session_destroy(e->sessions[i]);
    nb_session_destroy(e->ref);
    nb_free(a, e->sessions);
    nb_free(a, e->scores);
    nb_ids_fini(&e->ids);
}

/* The longest window that was asked for and that every model was made for. */
static uint32_t choose_window(struct nb_model *const *models, size_t n, const struct nb_model *ref,
                              const struct nb_eval_options *o)
{
    uint32_t window = o->ctx > 0 ? o->ctx : 1024U;
    for (size_t i = 0; o->ctx == 0 && i < n; i++)
        window = NB_MIN(window, models[i]->w.hp.n_ctx_train);
    if (o->ctx == 0 && ref != NULL)
        window = NB_MIN(window, ref->w.hp.n_ctx_train);
    return window;
}

enum nb_status nb_evaluate_models(nb_context *ctx, struct nb_model *const *models, size_t n,
                                  struct nb_model *ref, const struct nb_eval_options *o,
                                  struct nb_eval_result *results, struct nb_error *err)
{
    const struct nb_model *first = models[0];
    struct evaluation e = {.sessions = NULL};
    enum nb_status st;
    for (size_t i = 0; i < n; i++)
        NB_TRY(check_pair(models[i], ref != NULL ? ref : first, err));
    const uint32_t window = choose_window(models, n, ref, o);
    struct nb_session_options so = {.n_ctx = window, .pool = ctx->pool};
    so.float_activations = o->float_activations != 0;
    NB_TRY(nb_kv_type_find(&so.kv_type, o->kv_type, err));
    nb_ids_init(&e.ids, &ctx->allocator);
    NB_TRY_TO(out, read_tokens(&e.ids, ctx, first, o->text, err));
    NB_TRY_TO(out, open_sessions(&e, ctx, models, n, ref, &so, err));
    const struct nb_vocab *vocab = nb_tokenizer_vocab(first->tokenizer);
    const struct nb_score_job job = {
        .sessions = e.sessions,
        .n_sessions = n,
        .ref = e.ref,
        .n_vocab = first->w.hp.n_vocab,
        .tokenizer = first->tokenizer,
        .tokens = (const uint32_t *)e.ids.data, /* ids of a text are never negative */
        .n_tokens = e.ids.n,
        .bos = vocab->add_bos ? vocab->bos : -1,
        .ctx = window,
        .chunks = o->chunks,
        .n_rows = nb_score_rows(first->w.hp.n_vocab),
        .pool = ctx->pool,
        .progress = &ctx->progress,
        .a = &ctx->allocator,
    };
    NB_TRY_TO(out, nb_score_run(e.scores, &job, err));
    for (size_t i = 0; i < n; i++)
        fill_result(&results[i], &e.scores[i], window, ref != NULL);
out:
    close_evaluation(&e, &ctx->allocator, n);
    return st;
}

enum nb_status nb_evaluate(nb_context *ctx, const char *path, const struct nb_eval_options *options,
                           struct nb_eval_result *result, struct nb_error *err)
{
    struct nb_eval_options o;
    struct nb_model *model = NULL, *ref = NULL;
    nb_error_clear(err);
    nb_eval_options_init(&o);
    if (ctx == NULL || path == NULL || options == NULL || result == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_evaluate needs a context, a model, options and a result");
    NB_TRY(nb_options_copy(&o, sizeof o, options, options->size, "eval options", err));
    if (o.text == NULL)
        NB_FAIL(err, NB_ERR_ARG, "eval needs a text to evaluate on");
    NB_TRY(nb_model_open(&model, path, &ctx->allocator, &ctx->log, err));
    enum nb_status st = NB_OK;
    if (o.against != NULL)
        st = nb_model_open(&ref, o.against, &ctx->allocator, &ctx->log, err);
    if (st == NB_OK)
        st = nb_evaluate_models(ctx, &model, 1, ref, &o, result, err);
    nb_model_close(ref);
    nb_model_close(model);
    return st;
}
