/* text/chat.c: chat templates: compiling, applying, naming them. */
#include "text/chat.h"

#include <string.h>

#include "text/jinja.h"

#define DEFAULT_STEPS 20000000u
#define DEFAULT_BYTES (256u << 20)

/* Owns: everything. */
struct nb_chat_template {
    const struct nb_allocator *a;
    struct nb_arena arena;
    struct nb_text source;
    struct nb_jnode *body;
};

enum nb_status nb_chat_template_create(struct nb_chat_template **out, const char *text, size_t n,
                                       const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_chat_template *t = nb_alloc_zero(a, 1, sizeof *t);
    *out = NULL;
    if (t == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "chat template: out of memory");
    t->a = a;
    nb_arena_init(&t->arena, a, 32 * 1024);
    char *copy = n <= NB_JINJA_MAX_SOURCE ? nb_arena_strndup(&t->arena, text, n) : NULL;
    t->source = (struct nb_text){copy, copy != NULL ? n : 0};
    enum nb_status st =
        copy == NULL && n <= NB_JINJA_MAX_SOURCE
            ? NB_ERROR(err, NB_ERR_NOMEM, "chat template: out of memory")
            : nb_jinja_parse(&t->body, (struct nb_text){copy != NULL ? copy : text, n}, &t->arena,
                             err);
    if (st != NB_OK) {
        nb_chat_template_destroy(t);
        return st;
    }
    *out = t;
    return NB_OK;
}

void nb_chat_template_destroy(struct nb_chat_template *t)
{
    if (t == NULL)
        return;
    nb_arena_fini(&t->arena);
    nb_free(t->a, t);
}

/* ---- applying ---- */

static bool two_digits(const char *s, int *out)
{
    if (s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9')
        return false;
    *out = (s[0] - '0') * 10 + (s[1] - '0');
    return true;
}

static enum nb_status read_date(struct nb_jrun *r, const char *date)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int century, year;
    if (date == NULL)
        return NB_OK;
    bool ok = strlen(date) == 10 && date[4] == '-' && date[7] == '-' &&
              two_digits(date, &century) && two_digits(date + 2, &year) &&
              two_digits(date + 5, &r->month) && two_digits(date + 8, &r->day);
    if (ok) {
        r->year = century * 100 + year;
        const bool leap = (r->year % 4 == 0 && r->year % 100 != 0) || r->year % 400 == 0;
        ok = r->year >= 1 && r->month >= 1 && r->month <= 12 && r->day >= 1 &&
             r->day <= days[r->month - 1] + (leap && r->month == 2);
    }
    if (!ok)
        NB_FAIL(r->err, NB_ERR_ARG, "the date is '%.20s', expected one such as 2024-07-26", date);
    return NB_OK;
}

/* A message's text, with its origin at every byte. */
static enum nb_status foreign(struct nb_jrun *r, struct nb_text t, enum nb_chat_origin origin,
                              struct nb_jv *out)
{
    struct nb_str clean;
    char *s;
    nb_str_init(&clean, r->a);
    nb_utf8_sanitize(&clean, t.s, t.n);
    enum nb_status st = nb_str_check(&clean, r->err);
    const size_t n = clean.len;
    if (st == NB_OK)
        st = nb_jinja_alloc(r, &s, n + 1, 2);
    if (st == NB_OK) {
        if (n > 0)
            memcpy(s, clean.data, n);
        memset(s + n, (int)origin, n);
        *out =
            (struct nb_jv){.kind = NB_J_STRING, .v.s = s, .n = n, .from = (const uint8_t *)s + n};
    }
    nb_str_fini(&clean);
    return st;
}

static enum nb_status set_messages(struct nb_jrun *r, const struct nb_chat_input *in)
{
    struct nb_jv list, one, role, content;
    NB_TRY(nb_jinja_new_list(r, &list, in->n_turns));
    for (size_t i = 0; i < in->n_turns; i++) {
        const struct nb_chat_turn *t = &in->turns[i];
        NB_TRY(foreign(r, t->role, NB_CHAT_MESSAGE, &role));
        NB_TRY(foreign(r, t->content,
                       nb_jinja_is(t->role, "assistant") ? NB_CHAT_ASSISTANT : NB_CHAT_MESSAGE,
                       &content));
        NB_TRY(nb_jinja_new_dict(r, &one));
        NB_TRY(nb_jinja_dict_put(r, one.v.dict, nb_jinja_string(NB_TEXT_LIT("role")), role));
        NB_TRY(nb_jinja_dict_put(r, one.v.dict, nb_jinja_string(NB_TEXT_LIT("content")), content));
        NB_TRY(nb_jinja_push(r, list.v.list, one));
    }
    return nb_jinja_set(r, NB_TEXT_LIT("messages"), list);
}

/* What transformers defines, in its order: the caller's variables may stand for others. */
static enum nb_status set_variables(struct nb_jrun *r, const struct nb_chat_input *in)
{
    const struct {
        const char *name;
        struct nb_text text;
    } tokens[] = {
        {"bos_token", in->bos},
        {"eos_token", in->eos},
        {"unk_token", in->unk},
        {"pad_token", in->pad},
    };
    const struct nb_jv none = {.kind = NB_J_NONE};
    for (size_t i = 0; i < NB_COUNTOF(tokens); i++)
        if (tokens[i].text.s != NULL)
            NB_TRY(nb_jinja_set(r, (struct nb_text){tokens[i].name, strlen(tokens[i].name)},
                                nb_jinja_string(tokens[i].text)));
    NB_TRY(nb_jinja_set(r, NB_TEXT_LIT("tools"), none));
    NB_TRY(nb_jinja_set(r, NB_TEXT_LIT("documents"), none));
    NB_TRY(nb_jinja_set(r, NB_TEXT_LIT("add_generation_prompt"),
                        nb_jinja_bool(in->add_generation_prompt)));
    if (nb_json_type(in->variables) == NB_JSON_OBJECT) {
        struct nb_jv all;
        NB_TRY(nb_jinja_from_json(r, in->variables, 0, &all));
        for (size_t i = 0; i < all.v.dict->n; i++)
            NB_TRY(nb_jinja_set(r, (struct nb_text){all.v.dict->keys[i].v.s, all.v.dict->keys[i].n},
                                all.v.dict->values[i]));
    }
    return set_messages(r, in);
}

enum nb_status nb_chat_render(const struct nb_chat_template *t, const struct nb_chat_input *in,
                              struct nb_str *text, struct nb_str *from, struct nb_error *err)
{
    struct nb_jbuf out;
    struct nb_jscope globals = {.parent = NULL};
    struct nb_jrun r = {
        .a = t->a,
        .max_steps = in->max_steps != 0 ? in->max_steps : DEFAULT_STEPS,
        .max_bytes = in->max_bytes != 0 ? in->max_bytes : DEFAULT_BYTES,
        .scope = &globals,
        .globals = &globals,
        .out = &out,
        .err = err,
    };
    const size_t text_before = text->len, from_before = from->len;
    nb_arena_init(&r.arena, t->a, 64 * 1024);
    nb_jbuf_init(&out, t->a);
    enum nb_status st = read_date(&r, in->date);
    if (st == NB_OK)
        st = set_variables(&r, in);
    if (st == NB_OK)
        st = nb_jinja_run(&r, t->body);
    if (st == NB_OK) {
        nb_str_append(text, out.text.data, out.text.len);
        nb_str_append(from, out.from.data, out.from.len);
        st = nb_str_check(text, err);
        if (st == NB_OK)
            st = nb_str_check(from, err);
        if (st != NB_OK) {
            text->len = NB_MIN(text->len, text_before);
            from->len = NB_MIN(from->len, from_before);
        }
    }
    nb_jbuf_fini(&out);
    nb_arena_fini(&r.arena);
    return st;
}

enum nb_status nb_chat_encode(const struct nb_chat_template *t, const struct nb_tokenizer *tok,
                              struct nb_ids *ids, const struct nb_str *text,
                              const struct nb_str *from, struct nb_error *err)
{
    const struct nb_origins o = {(const uint8_t *)from->data, t->source};
    if (text->len == 0)
        return NB_OK;
    return nb_tokenizer_encode_origins(tok, ids, (struct nb_text){text->data, text->len}, &o, err);
}

/* ---- families ---- */

/* A template belongs to the first family all of whose marks stand in its text, and none of `not`. */
static const struct {
    const char *name;
    const char *marks[3];
    const char *none;
} families[] = {
    {"llama-4", {"<|header_start|>", "<|eot|>"}, NULL},
    {"llama-3.1", {"<|start_header_id|>", "Cutting Knowledge Date"}, NULL},
    {"llama-3", {"<|start_header_id|>", "<|eot_id|>"}, NULL},
    {"granite", {"<|start_of_role|>", "<|end_of_role|>"}, NULL},
    {"deepseek-r1",
     {"<\xef\xbd\x9c"
      "Assistant\xef\xbd\x9c>",
      "</think>"},
     NULL},
    {"deepseek-v3",
     {"<\xef\xbd\x9c"
      "Assistant\xef\xbd\x9c>"},
     NULL},
    {"deepseek-coder", {"### Instruction:", "### Response:", "<|EOT|>"}, NULL},
    {"deepseek", {"'User: '", "'Assistant: '"}, NULL},
    {"phi-4", {"<|im_start|>", "<|im_sep|>"}, NULL},
    {"smollm3", {"<|im_start|>", "reasoning_mode"}, NULL},
    {"qwen3", {"<|im_start|>", "enable_thinking"}, NULL},
    {"qwen3", {"<|im_start|>", "reasoning_content"}, NULL},
    {"qwen2.5", {"<|im_start|>", "created by Alibaba Cloud"}, NULL},
    {"smollm2", {"<|im_start|>", "SmolLM"}, NULL},
    {"chatml", {"<|im_start|>", "<|im_end|>"}, NULL},
    {"chatml", {"<|im_start|>", "eos_token"}, NULL},
    {"gemma3", {"<start_of_turn>", "first_user_prefix"}, NULL},
    {"gemma", {"<start_of_turn>", "<end_of_turn>"}, NULL},
    {"gemma", {"<start_of_turn>"}, NULL},
    {"command-r", {"<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>"}, NULL},
    {"mistral-v7", {"[SYSTEM_PROMPT]", "[INST]"}, NULL},
    {"mistral-v3", {"[INST]", "[AVAILABLE_TOOLS]"}, NULL},
    {"llama-2", {"[INST]", "<<SYS>>"}, NULL},
    {"mistral", {"[INST]", "[/INST]"}, NULL},
    {"glm-4", {"[gMASK]", "<|assistant|>"}, NULL},
    {"phi-3", {"<|user|>", "<|end|>"}, NULL},
    {"phi-3", {"'<|' + message['role'] + '|>", "<|end|>"}, NULL},
    {"phi-3", {"<|end|>", "<|assistant|>"}, NULL},
    {"minicpm", {"<\xe7\x94\xa8\xe6\x88\xb7>", "<AI>"}, NULL},
    {"falcon3", {"<|user|>", "<|assistant|>", "<|endoftext|>"}, "eos_token"},
    {"exaone", {"[|endofturn|]"}, NULL},
    {"exaone", {"'[|' + message['role'] + '|]"}, NULL},
    {"tulu", {"<|user|>", "<|assistant|>", "not loop.last"}, NULL},
    {"zephyr", {"<|user|>", "<|assistant|>", "eos_token"}, NULL},
};

static bool holds(const char *text, size_t n, const char *mark)
{
    const size_t len = strlen(mark);
    for (const char *at = text; (size_t)(at - text) + len <= n; at++) {
        at = memchr(at, mark[0], n - (size_t)(at - text) - len + 1);
        if (at == NULL)
            return false;
        if (memcmp(at, mark, len) == 0)
            return true;
    }
    return false;
}

const char *nb_chat_family(const char *text, size_t n)
{
    for (size_t i = 0; i < NB_COUNTOF(families); i++) {
        bool all = families[i].none == NULL || !holds(text, n, families[i].none);
        for (size_t k = 0; k < NB_COUNTOF(families[i].marks) && all; k++)
            all = families[i].marks[k] == NULL || holds(text, n, families[i].marks[k]);
        if (all)
            return families[i].name;
    }
    return NULL;
}
