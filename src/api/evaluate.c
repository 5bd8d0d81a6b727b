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

enum nb_status nb_evaluate_models(nb_context *ctx, struct nb_model *model, struct nb_model *ref,
                                  const struct nb_eval_options *o, struct nb_eval_result *result,
                                  struct nb_error *err)
{
    const uint32_t n_vocab = model->w.hp.n_vocab;
    struct nb_session *session = NULL, *ref_session = NULL;
    struct nb_ids ids;
    struct nb_score score;
    enum nb_status st;
    NB_TRY(check_pair(model, ref, err));
    uint32_t window = o->ctx > 0 ? o->ctx : NB_MIN(1024U, model->w.hp.n_ctx_train);
    if (o->ctx == 0 && ref != NULL)
        window = NB_MIN(window, ref->w.hp.n_ctx_train);
    struct nb_session_options so = {.n_ctx = window, .pool = ctx->pool};
    so.float_activations = o->float_activations != 0;
    NB_TRY(nb_kv_type_find(&so.kv_type, o->kv_type, err));
    nb_ids_init(&ids, &ctx->allocator);
    NB_TRY_TO(out, read_tokens(&ids, ctx, model, o->text, err));
    NB_TRY_TO(out, nb_session_create(&session, &model->w, &so, &ctx->allocator, err));
    if (ref != NULL)
        NB_TRY_TO(out, nb_session_create(&ref_session, &ref->w, &so, &ctx->allocator, err));
    const struct nb_vocab *vocab = nb_tokenizer_vocab(model->tokenizer);
    const struct nb_score_job job = {
        .session = session,
        .ref = ref_session,
        .n_vocab = n_vocab,
        .tokenizer = model->tokenizer,
        .tokens = (const uint32_t *)ids.data, /* ids of a text are never negative */
        .n_tokens = ids.n,
        .bos = vocab->add_bos ? vocab->bos : -1,
        .ctx = window,
        .chunks = o->chunks,
        .n_rows = nb_score_rows(n_vocab),
        .pool = ctx->pool,
        .progress = &ctx->progress,
        .a = &ctx->allocator,
    };
    NB_TRY_TO(out, nb_score_run(&score, &job, err));
    fill_result(result, &score, window, ref != NULL);
out:
    nb_session_destroy(ref_session);
    nb_session_destroy(session);
    nb_ids_fini(&ids);
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
        st = nb_evaluate_models(ctx, model, ref, &o, result, err);
    nb_model_close(ref);
    nb_model_close(model);
    return st;
}
