/* api/chat.c: conversations of a generator, by the model's chat template. */
#include "api/generate.h"

#include <string.h>

void nb_chat_options_init(struct nb_chat_options *o)
{
    *o = (struct nb_chat_options){.size = sizeof *o};
}

const char *nb_generator_chat_template(const nb_generator *g)
{
    return g->r.model->chat_template;
}

const char *nb_generator_chat_family(const nb_generator *g)
{
    const char *t = g->r.model->chat_template;
    return t != NULL ? nb_chat_family(t, strlen(t)) : NULL;
}

enum nb_status nb_generator_chat_check(const nb_generator *g, struct nb_error *err)
{
    nb_error_clear(err);
    if (g->chat != NULL)
        return NB_OK;
    if (g->r.model->chat_template == NULL)
        NB_FAIL(err, NB_ERR_NOT_FOUND, "this model has no chat template");
    if (err != NULL)
        *err = g->chat_problem;
    return g->chat_problem.status;
}

/* ---- rendering ---- */

static struct nb_text token_text(const struct nb_vocab *v, int32_t id)
{
    return id >= 0 && (uint32_t)id < v->n ? v->tokens[id] : (struct nb_text){NULL, 0};
}

static enum nb_status render(nb_generator *g, const struct nb_chat_template *t,
                             const struct nb_chat_turn *turns, size_t n,
                             const struct nb_chat_options *o, struct nb_error *err)
{
    const struct nb_vocab *v = nb_tokenizer_vocab(g->r.model->tokenizer);
    char today[11];
    nb_json *variables = NULL;
    struct nb_chat_input in = {
        .turns = turns,
        .n_turns = n,
        .add_generation_prompt = !o->no_generation_prompt,
        .bos = token_text(v, v->bos),
        .eos = token_text(v, v->eos),
        .unk = token_text(v, v->unk),
        .pad = token_text(v, v->pad),
        .date = o->date,
    };
    if (in.date == NULL) {
        nb_today(today);
        in.date = today;
    }
    if (o->variables != NULL) {
        NB_TRY(nb_json_parse(&variables, o->variables, strlen(o->variables),
                             "variables of the chat template", err));
        if (nb_json_type(variables) != NB_JSON_OBJECT) {
            nb_json_free(variables);
            NB_FAIL(err, NB_ERR_ARG, "variables of the chat template: expected a JSON object");
        }
    }
    in.variables = variables;
    nb_str_clear(&g->chat_text);
    nb_str_clear(&g->chat_from);
    const enum nb_status st = nb_chat_render(t, &in, &g->chat_text, &g->chat_from, err);
    nb_json_free(variables);
    return st;
}

static enum nb_status render_messages(nb_generator *g, const struct nb_chat_message *messages,
                                      size_t n, const struct nb_chat_options *given,
                                      struct nb_error *err)
{
    struct nb_chat_options o;
    nb_error_clear(err);
    nb_chat_options_init(&o);
    NB_TRY(
        nb_options_copy(&o, sizeof o, given, given != NULL ? given->size : 0, "chat options", err));
    NB_TRY(nb_generator_chat_check(g, err));
    if (n == 0 || messages == NULL)
        NB_FAIL(err, NB_ERR_ARG, "a conversation needs a message");
    struct nb_chat_turn *turns = nb_alloc(&g->ctx->allocator, n, sizeof *turns);
    if (turns == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for %zu messages", n);
    enum nb_status st = NB_OK;
    for (size_t i = 0; i < n && st == NB_OK; i++) {
        if (messages[i].role == NULL || messages[i].content == NULL) {
            st = NB_ERROR(err, NB_ERR_ARG, "message %zu has no role or no content", i);
            break;
        }
        turns[i] = (struct nb_chat_turn){
            {messages[i].role, strlen(messages[i].role)},
            {messages[i].content, strlen(messages[i].content)},
        };
    }
    if (st == NB_OK)
        st = render(g, g->chat, turns, n, &o, err);
    nb_free(&g->ctx->allocator, turns);
    return st;
}

enum nb_status nb_generator_chat_render(nb_generator *g, const struct nb_chat_message *messages,
                                        size_t n, const struct nb_chat_options *o,
                                        const char **text, size_t *n_text, struct nb_error *err)
{
    NB_TRY(render_messages(g, messages, n, o, err));
    *text = g->chat_text.len > 0 ? g->chat_text.data : "";
    *n_text = g->chat_text.len;
    return NB_OK;
}

/* ---- a template is tried out when the model is opened ---- */

/* The token that the template writes behind an answer, or -1. */
static enum nb_status find_turn_end(nb_generator *g, const struct nb_chat_template *t,
                                    struct nb_error *err)
{
    static const struct nb_chat_turn turns[] = {{{"user", 4}, {"Hello", 5}},
                                                {{"assistant", 9}, {"Hello", 5}}};
    const struct nb_tokenizer *tok = g->r.model->tokenizer;
    const struct nb_chat_options o = {.size = sizeof o, .no_generation_prompt = 1};
    struct nb_error ignored;
    if (render(g, t, turns, 2, &o, &ignored) != NB_OK)
        return NB_OK;
    size_t at = g->chat_text.len;
    while (at > 0 && g->chat_from.data[at - 1] != NB_CHAT_ASSISTANT)
        at--;
    g->ids.n = 0;
    if (at == 0 || at == g->chat_text.len)
        return NB_OK;
    NB_TRY(nb_tokenizer_encode(tok, &g->ids, g->chat_text.data + at, g->chat_text.len - at,
                               NB_ENCODE_SPECIAL, err));
    for (size_t i = 0; i < g->ids.n && g->turn_end < 0; i++)
        if (nb_tokenizer_is_special(tok, g->ids.data[i]))
            g->turn_end = g->ids.data[i];
    return NB_OK;
}

enum nb_status nb_generator_open_chat(nb_generator *g, struct nb_error *err)
{
    static const struct nb_chat_turn hello = {{"user", 4}, {"Hello", 5}};
    const char *source = g->r.model->chat_template;
    const struct nb_chat_options o = {.size = sizeof o};
    struct nb_chat_template *t = NULL;
    struct nb_error *why = &g->chat_problem;
    if (source == NULL)
        return NB_OK;
    nb_error_clear(why);
    enum nb_status st =
        nb_chat_template_create(&t, source, strlen(source), &g->ctx->allocator, why);
    if (st == NB_OK)
        st = render(g, t, &hello, 1, &o, why);
    if (st == NB_OK && (g->chat_from.len == 0 ||
                        memchr(g->chat_from.data, NB_CHAT_MESSAGE, g->chat_from.len) == NULL))
        st = NB_ERROR(why, NB_ERR_UNSUPPORTED, "the chat template leaves out what the user says");
    if (st == NB_OK)
        st = find_turn_end(g, t, why);
    if (st == NB_OK) {
        g->chat = t;
        return NB_OK;
    }
    nb_chat_template_destroy(t);
    if (st == NB_ERR_NOMEM)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for the chat template");
    return NB_OK;
}

/* ---- feeding ---- */

enum nb_status nb_generator_chat(nb_generator *g, const struct nb_chat_message *messages, size_t n,
                                 const struct nb_chat_options *o, struct nb_error *err)
{
    const struct nb_tokenizer *tok = g->r.model->tokenizer;
    const uint32_t n_ctx = nb_session_context(g->r.session);
    size_t same = 0;
    NB_TRY(render_messages(g, messages, n, o, err));
    g->ids.n = 0;
    NB_TRY(nb_chat_encode(g->chat, tok, &g->ids, &g->chat_text, &g->chat_from, err));
    if (g->ids.n == 0)
        NB_FAIL(err, NB_ERR_ARG, "the chat template makes no text of this conversation");
    if (g->ids.n > n_ctx)
        NB_FAIL(err, NB_ERR_LIMIT, "the conversation has %zu tokens, the context has room for %u",
                g->ids.n, n_ctx);
    while (same < g->held.n && same + 1 < g->ids.n && g->held.data[same] == g->ids.data[same])
        same++; /* the last one is always computed: its logits are needed */
    same = nb_session_rewind(g->r.session, (uint32_t)same);
    g->held.n = same;
    NB_TRY(nb_generator_eval(g, same, err));
    g->chatting = true;
    nb_detok_init(&g->detok, tok, NB_DECODE_SKIP_SPECIAL);
    return NB_OK;
}
