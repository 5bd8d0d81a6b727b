/* api/generate.c: nb_generator: text in, tokens out, one at a time. */
#include "api/generate.h"

#include <string.h>

#define CONTEXT_DEFAULT_MAX 4096U

void nb_generate_options_init(struct nb_generate_options *o)
{
    struct nb_sampler_options s;
    nb_sampler_options_init(&s);
    *o = (struct nb_generate_options){
        .size = sizeof *o,
        .temperature = s.temperature,
        .top_k = s.top_k,
        .top_p = s.top_p,
        .min_p = s.min_p,
        .repeat_penalty = s.repeat_penalty,
        .repeat_last = s.repeat_last,
        .seed = s.seed,
    };
}

static enum nb_status make_sampler(nb_generator *g, struct nb_error *err)
{
    const struct nb_sampler_options s = {
        .temperature = g->o.temperature,
        .top_k = g->o.top_k,
        .top_p = g->o.top_p,
        .min_p = g->o.min_p,
        .repeat_penalty = g->o.repeat_penalty,
        .repeat_last = g->o.repeat_last,
        .seed = g->o.seed,
    };
    nb_sampler_destroy(g->sampler);
    g->sampler = NULL;
    return nb_sampler_create(&g->sampler, &s, g->r.model->w.hp.n_vocab, &g->ctx->allocator, err);
}

static enum nb_status open_model(nb_generator *g, const char *path, struct nb_error *err)
{
    const struct nb_allocator *a = &g->ctx->allocator;
    struct nb_session_options so = {.n_ctx = g->o.ctx, .pool = g->ctx->pool};
    NB_TRY(nb_kv_type_find(&so.kv_type, g->o.kv_type, err));
    NB_TRY(nb_model_open(&g->r.model, path, a, &g->ctx->log, err));
    const struct nb_hparams *hp = &g->r.model->w.hp;
    if (g->r.model->tokenizer == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s: no usable tokenizer, so no text can be generated%s%s",
                path, g->r.model->tokenizer_problem[0] != '\0' ? ": " : "",
                g->r.model->tokenizer_problem);
    if (so.n_ctx == 0)
        so.n_ctx = NB_MIN(hp->n_ctx_train, CONTEXT_DEFAULT_MAX);
    if (so.n_ctx > hp->n_ctx_train)
        nb_log_msg(&g->ctx->log, NB_LOG_WARN,
                   "a context of %u tokens is longer than the %u the model was made for", so.n_ctx,
                   hp->n_ctx_train);
    NB_TRY(nb_open_session(&g->r.session, g->r.model, &so, a, err));
    g->logits = nb_alloc(a, hp->n_vocab, sizeof *g->logits);
    if (g->logits == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for %u logits", hp->n_vocab);
    NB_TRY(nb_generator_open_chat(g, err));
    return make_sampler(g, err);
}

enum nb_status nb_generator_create(nb_generator **out, nb_context *ctx, const char *model,
                                   const struct nb_generate_options *options, struct nb_error *err)
{
    nb_error_clear(err);
    if (out == NULL || ctx == NULL || model == NULL)
        NB_FAIL(err, NB_ERR_ARG, "nb_generator_create needs a context and a model");
    nb_generator *g = nb_alloc_zero(&ctx->allocator, 1, sizeof *g);
    if (g == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for a generator");
    g->ctx = ctx;
    g->turn_end = -1;
    nb_ids_init(&g->ids, &ctx->allocator);
    nb_ids_init(&g->held, &ctx->allocator);
    nb_str_init(&g->chat_text, &ctx->allocator);
    nb_str_init(&g->chat_from, &ctx->allocator);
    nb_str_init(&g->text, &ctx->allocator);
    nb_generate_options_init(&g->o);
    enum nb_status st = nb_options_copy(
        &g->o, sizeof g->o, options, options != NULL ? options->size : 0, "generate options", err);
    if (st == NB_OK)
        st = open_model(g, model, err);
    if (st != NB_OK) {
        nb_generator_destroy(g);
        return st;
    }
    nb_detok_init(&g->detok, g->r.model->tokenizer, NB_DECODE_SKIP_SPECIAL);
    *out = g;
    return NB_OK;
}

void nb_generator_destroy(nb_generator *g)
{
    if (g == NULL)
        return;
    const struct nb_allocator *a = &g->ctx->allocator;
    nb_sampler_destroy(g->sampler);
    nb_runner_close(&g->r);
    nb_free(a, g->logits);
    nb_chat_template_destroy(g->chat);
    nb_ids_fini(&g->ids);
    nb_ids_fini(&g->held);
    nb_str_fini(&g->chat_text);
    nb_str_fini(&g->chat_from);
    nb_str_fini(&g->text);
    nb_free(a, g);
}

enum nb_status nb_generator_eval(nb_generator *g, size_t from, struct nb_error *err)
{
    const uint32_t room = nb_session_context(g->r.session) - nb_session_position(g->r.session);
    const uint32_t *tokens = (const uint32_t *)g->ids.data + from; /* never negative */
    const size_t n = g->ids.n - from, before = g->held.n;
    if (n > room)
        NB_FAIL(err, NB_ERR_LIMIT, "the text has %zu tokens, the context has room for %u", n, room);
    for (size_t i = 0; i < n; i++)
        NB_TRY(nb_ids_push(&g->held, g->ids.data[from + i], err));
    const enum nb_status st = nb_session_eval(g->r.session, tokens, n, g->logits, n - 1, err);
    if (st != NB_OK) { /* perhaps some of it is in */
        g->held.n = NB_MIN(before, (size_t)nb_session_rewind(g->r.session, (uint32_t)before));
        g->have_logits = false;
        return st;
    }
    for (size_t i = 0; i < n; i++)
        nb_sampler_accept(g->sampler, tokens[i]);
    g->have_logits = true;
    return NB_OK;
}

enum nb_status nb_generator_feed(nb_generator *g, const char *text, size_t n, int32_t special,
                                 int32_t begin, struct nb_error *err)
{
    const struct nb_vocab *v = nb_tokenizer_vocab(g->r.model->tokenizer);
    nb_error_clear(err);
    g->ids.n = 0;
    if (begin && v->add_bos && v->bos >= 0)
        NB_TRY(nb_ids_push(&g->ids, v->bos, err));
    NB_TRY(nb_tokenizer_encode(g->r.model->tokenizer, &g->ids, text, n,
                               special ? NB_ENCODE_SPECIAL : 0, err));
    if (g->ids.n == 0 && begin && !g->have_logits && v->bos >= 0)
        NB_TRY(nb_ids_push(&g->ids, v->bos, err)); /* an empty start still needs a token */
    if (g->ids.n == 0)
        return NB_OK;
    g->chatting = false;
    NB_TRY(nb_generator_eval(g, 0, err));
    nb_detok_init(&g->detok, g->r.model->tokenizer, NB_DECODE_SKIP_SPECIAL);
    nb_detok_continue(&g->detok);
    return NB_OK;
}

enum nb_status nb_generator_next(nb_generator *g, uint32_t *token, const char **text, size_t *n,
                                 int32_t *end, struct nb_error *err)
{
    nb_error_clear(err);
    if (!g->have_logits)
        NB_FAIL(err, NB_ERR_ARG, "nothing has been fed to the generator yet");
    nb_str_clear(&g->text);
    *token = nb_sampler_pick(g->sampler, g->logits);
    *end = nb_tokenizer_is_eog(g->r.model->tokenizer, (int32_t)*token) ||
           (g->chatting && (int32_t)*token == g->turn_end);
    if (*end) {
        nb_detok_flush(&g->detok, &g->text);
    } else {
        if (nb_session_position(g->r.session) == nb_session_context(g->r.session))
            NB_FAIL(err, NB_ERR_LIMIT, "the context of %u tokens is full",
                    nb_session_context(g->r.session));
        NB_TRY(nb_ids_push(&g->held, (int32_t)*token, err));
        const enum nb_status st = nb_session_eval(g->r.session, token, 1, g->logits, 0, err);
        if (st != NB_OK) {
            g->held.n--;
            return st;
        }
        nb_sampler_accept(g->sampler, *token);
        nb_detok_push(&g->detok, &g->text, (int32_t)*token);
    }
    *text = g->text.len > 0 ? g->text.data : "";
    *n = g->text.len;
    return nb_str_check(&g->text, err);
}

void nb_generator_reset(nb_generator *g)
{
    (void)nb_session_rewind(g->r.session, 0);
    g->held.n = 0;
    g->have_logits = false;
    g->chatting = false;
}

uint32_t nb_generator_position(const nb_generator *g)
{
    return nb_session_position(g->r.session);
}

uint32_t nb_generator_context(const nb_generator *g)
{
    return nb_session_context(g->r.session);
}
