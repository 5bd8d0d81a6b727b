/* tests/unit/api/test_chat.c: conversations of a generator: fed bit by bit or at once, the same. */
#include "support/nbtest.h"

#include <stdio.h>
#include <sys/stat.h>

#include <nibble/nibble.h>

#define N_ANSWER 6

static const char template_text[] =
    "{{ bos_token }}{% for m in messages %}{% if m.role not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('no ' + m.role) }}{% endif %}{{ m.role }}: "
    "{{ m.content + (eos_token if m.role == 'assistant' else '') }}\\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}";

/* The bundled model with a chat template. */
static const char *model_with_template(void)
{
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};
    static char dir[512];
    char path[640], config[1024];
    size_t n;
    if (dir[0] != '\0')
        return dir;
    snprintf(dir, sizeof dir, "%s", nbtest_tmp("chat-model"));
    assert_int_equal(mkdir(dir, 0755), 0);
    for (size_t i = 0; i < NB_COUNTOF(files); i++) {
        snprintf(path, sizeof path, "tiny-7m/%s", files[i]);
        uint8_t *data = nbtest_read(nbtest_model(path), &n);
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        nbtest_write(path, data, n);
        free(data);
    }
    snprintf(path, sizeof path, "%s/tokenizer_config.json", dir);
    const int len = snprintf(config, sizeof config,
                             "{\"bos_token\": \"<|endoftext|>\", \"eos_token\": "
                             "\"<|endoftext|>\", \"chat_template\": \"%s\"}",
                             template_text);
    nbtest_write(path, config, (size_t)len);
    return dir;
}

static nb_generator *make_generator(nb_context *ctx, const char *model, uint32_t n_ctx)
{
    struct nb_generate_options o;
    struct nb_error err;
    nb_generator *g;
    nb_generate_options_init(&o);
    o.temperature = 0;
    o.ctx = n_ctx;
    assert_ok(nb_generator_create(&g, ctx, model, &o, &err), &err);
    return g;
}

/* An answer of N_ANSWER tokens; its text is appended to said. */
static void answer(nb_generator *g, uint32_t tokens[N_ANSWER], char *said, size_t cap)
{
    struct nb_error err;
    size_t len = strlen(said);
    for (int i = 0; i < N_ANSWER; i++) {
        const char *text;
        size_t n;
        int32_t end;
        assert_ok(nb_generator_next(g, &tokens[i], &text, &n, &end, &err), &err);
        assert_true(len + n < cap);
        memcpy(said + len, text, n);
        len += n;
    }
    said[len] = '\0';
}

static void test_turns_equal_the_whole(void **state)
{
    nb_context *ctx;
    struct nb_error err;
    struct nb_chat_message m[5] = {
        {"system", "Be brief."}, {"user", "The sea was"}, {"assistant", ""}, {"user", "Go on."}};
    char said[512] = "", again[512] = "";
    uint32_t first[N_ANSWER], second[N_ANSWER];
    (void)state;
    assert_ok(nb_context_create(&ctx, NULL, &err), &err);
    nb_generator *g = make_generator(ctx, model_with_template(), 256);
    assert_ok(nb_generator_chat_check(g, &err), &err);
    assert_ok(nb_generator_chat(g, m, 2, NULL, &err), &err);
    const uint32_t after_first = nb_generator_position(g);
    answer(g, first, said, sizeof said);
    m[2].content = said;
    assert_ok(nb_generator_chat(g, m, 4, NULL, &err), &err);
    const uint32_t position = nb_generator_position(g);
    assert_true(position > after_first + N_ANSWER);
    answer(g, first, again, sizeof again);
    nb_generator *whole = make_generator(ctx, model_with_template(), 256);
    assert_ok(nb_generator_chat(whole, m, 4, NULL, &err), &err);
    assert_int_equal(nb_generator_position(whole), position);
    again[0] = '\0';
    answer(whole, second, again, sizeof again);
    for (int i = 0; i < N_ANSWER; i++)
        assert_int_equal(first[i], second[i]);
    /* Back to a shorter conversation, the same one twice, and plain text behind it. */
    assert_ok(nb_generator_chat(g, m, 2, NULL, &err), &err);
    assert_int_equal(nb_generator_position(g), after_first);
    assert_ok(nb_generator_chat(g, m, 2, NULL, &err), &err);
    assert_int_equal(nb_generator_position(g), after_first);
    assert_ok(nb_generator_feed(g, " more", 5, 0, 0, &err), &err);
    assert_true(nb_generator_position(g) > after_first);
    nb_generator_destroy(g);
    nb_generator_destroy(whole);
    nb_context_destroy(ctx);
}

static void test_refusals_change_nothing(void **state)
{
    nb_context *ctx;
    struct nb_error err;
    const struct nb_chat_message good = {"user", "Hi"}, odd = {"tool", "42"},
                                 empty = {"user", NULL};
    struct nb_chat_options o;
    const char *text;
    char longer[600];
    size_t n;
    (void)state;
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    const struct nb_chat_message large = {"user", longer};
    assert_ok(nb_context_create(&ctx, NULL, &err), &err);
    nb_generator *g = make_generator(ctx, model_with_template(), 48);
    assert_null(nb_generator_chat_family(g));
    assert_ok(nb_generator_chat_render(g, &good, 1, NULL, &text, &n, &err), &err);
    assert_string_equal(text, "<|endoftext|>user: Hi\nassistant:");
    assert_int_equal(nb_generator_position(g), 0);
    assert_ok(nb_generator_chat(g, &good, 1, NULL, &err), &err);
    const uint32_t position = nb_generator_position(g);
    assert_fails(nb_generator_chat(g, &odd, 1, NULL, &err), NB_ERR_ARG, &err, "no tool");
    assert_fails(nb_generator_chat(g, &large, 1, NULL, &err), NB_ERR_LIMIT, &err, "room for 48");
    assert_fails(nb_generator_chat(g, &empty, 1, NULL, &err), NB_ERR_ARG, &err, "no content");
    assert_fails(nb_generator_chat(g, &good, 0, NULL, &err), NB_ERR_ARG, &err, "needs a message");
    nb_chat_options_init(&o);
    o.variables = "[]";
    assert_fails(nb_generator_chat(g, &good, 1, &o, &err), NB_ERR_ARG, &err, "JSON object");
    o.variables = NULL;
    o.date = "2023-02-29";
    assert_fails(nb_generator_chat(g, &good, 1, &o, &err), NB_ERR_ARG, &err, "the date");
    o.date = NULL;
    o.no_generation_prompt = 1;
    assert_ok(nb_generator_chat_render(g, &good, 1, &o, &text, &n, &err), &err);
    assert_string_equal(text, "<|endoftext|>user: Hi\n");
    assert_int_equal(nb_generator_position(g), position);
    nb_generator_destroy(g);
    g = make_generator(ctx, nbtest_model("tiny-7m"), 48);
    assert_null(nb_generator_chat_template(g));
    assert_fails(nb_generator_chat(g, &good, 1, NULL, &err), NB_ERR_NOT_FOUND, &err,
                 "no chat template");
    nb_generator_destroy(g);
    nb_context_destroy(ctx);
}

/* The same model, where a comma is a special token and the template writes one behind an answer. */
static void model_with_turn_end(char *dir, size_t cap)
{
    static const char open[] = "\"added_tokens\": [",
                      comma[] = "{\"id\":12,\"content\":\",\",\"single_word\":false,"
                                "\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
                                "\"special\":true},",
                      config[] = "{\"bos_token\":\"<|endoftext|>\",\"chat_template\":"
                                 "\"{% for m in messages %}{{ m.content }}"
                                 "{{ ' , ' if m.role == 'assistant' }}{% endfor %}\"}";
    static const char *const files[] = {"config.json", "model.safetensors"};
    char path[640];
    size_t n;
    snprintf(dir, cap, "%s", nbtest_tmp("chat-end"));
    assert_int_equal(mkdir(dir, 0755), 0);
    for (size_t i = 0; i < NB_COUNTOF(files); i++) {
        snprintf(path, sizeof path, "tiny-7m/%s", files[i]);
        uint8_t *data = nbtest_read(nbtest_model(path), &n);
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        nbtest_write(path, data, n);
        free(data);
    }
    char *json = (char *)nbtest_read(nbtest_model("tiny-7m/tokenizer.json"), &n);
    char *at = strstr(json, open);
    assert_non_null(at);
    at += sizeof open - 1;
    struct nb_str s;
    nb_str_init(&s, NULL);
    nb_str_append(&s, json, (size_t)(at - json));
    nb_str_puts(&s, comma);
    nb_str_puts(&s, at);
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    nbtest_write(path, s.data, s.len);
    snprintf(path, sizeof path, "%s/tokenizer_config.json", dir);
    nbtest_write(path, config, sizeof config - 1);
    nb_str_fini(&s);
    free(json);
}

/* Tokens until the first comma of a greedy text, and whether it ended there. */
static int until_comma(nb_generator *g, int32_t *end)
{
    struct nb_error err;
    *end = 0;
    for (int i = 0; i < 200; i++) {
        const char *text;
        uint32_t token;
        size_t n;
        assert_ok(nb_generator_next(g, &token, &text, &n, end, &err), &err);
        if (token == 12 || *end)
            return i;
    }
    return -1;
}

static void test_answer_ends_where_the_template_ends_it(void **state)
{
    static const struct nb_chat_message m = {"user", "The old captain looked at the sea and"};
    nb_context *ctx;
    struct nb_error err;
    char dir[512];
    int32_t end;
    (void)state;
    model_with_turn_end(dir, sizeof dir);
    assert_ok(nb_context_create(&ctx, NULL, &err), &err);
    nb_generator *g = make_generator(ctx, dir, 256);
    assert_ok(nb_generator_feed(g, m.content, strlen(m.content), 0, 0, &err), &err);
    const int plain = until_comma(g, &end);
    assert_true(plain >= 0);
    assert_int_equal(end, 0); /* a text goes on */
    assert_ok(nb_generator_chat(g, &m, 1, NULL, &err), &err);
    assert_int_equal(until_comma(g, &end), plain);
    assert_int_equal(end, 1);
    nb_generator_destroy(g);
    nb_context_destroy(ctx);
}

NB_TEST_MAIN(cmocka_unit_test(test_answer_ends_where_the_template_ends_it),
             cmocka_unit_test(test_turns_equal_the_whole),
             cmocka_unit_test(test_refusals_change_nothing))
