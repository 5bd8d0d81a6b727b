/* What the golden lines do not reach: broken files, memory running out, very long words, streams. */
#include "golden.h"

/* ---- small tokenizers ---- */
#define MODEL(vocab, merges)                                                                       \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{" vocab "},\"merges\":[" merges "]}"
#define BYTE_LEVEL                                                                                 \
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"decoder\":{\"type\":" \
    "\"ByteLevel\"},"

static enum nb_status parse(struct nb_tokenizer **tok, const char *json, struct nb_error *err)
{
    return nb_tokenizer_from_json(tok, json, strlen(json), NULL, 0, NULL, err);
}

static struct nb_tokenizer *load(const char *path, const struct nb_allocator *a)
{
    struct nb_error err;
    struct nb_tokenizer *tok;
    size_t n;
    char *text = (char *)nbtest_read(nbtest_root(path), &n);
    assert_ok(nb_tokenizer_from_json(&tok, text, n, NULL, 0, a, &err), &err);
    free(text);
    return tok;
}

/* ---- UTF-8 ---- */
static void test_sanitize(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain", "plain"},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"\xf0\x9f\x98", "\xef\xbf\xbd"},
        {"a\xe2\x82z", "a\xef\xbf\xbdz"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe2\xe2\x82\xac", "\xef\xbf\xbd\xe2\x82\xac"},
    };
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        struct nb_str s;
        nb_str_init(&s, NULL);
        nb_utf8_sanitize(&s, cases[i].in, strlen(cases[i].in));
        assert_string_equal(s.data, cases[i].out);
        nb_str_fini(&s);
    }
}

/* ---- files that must be refused ---- */
static void test_bad_json(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        enum nb_status want;
        const char *text;
    } cases[] = {
        {"", NB_ERR_FORMAT, "tokenizer.json"},
        {"[]", NB_ERR_FORMAT, "expected an object"},
        {"{}", NB_ERR_FORMAT, "model"},
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{}}}", NB_ERR_UNSUPPORTED, "WordLevel"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", NB_ERR_FORMAT,
         "vocabulary of 0 tokens"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":{}}}", NB_ERR_FORMAT, "array of pairs"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",\"b\"]]}}", NB_ERR_FORMAT,
         "[\"token\", score]"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",1e300]]}}", NB_ERR_FORMAT,
         "[\"token\", score]"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":1,\"vocab\":[[\"a\",0]]}}", NB_ERR_FORMAT,
         "unk_id"},
        {"{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"u\",\"vocab\":{\"a\":0}}}",
         NB_ERR_FORMAT, "unk_token"},
        {"{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"A*==\"}," MODEL(
             "\"a\":0", "") "}",
         NB_ERR_FORMAT, "base64: byte 1"},
        {"{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}," MODEL(
             "\"a\":0", "") "}",
         NB_ERR_FORMAT, "has 3 bytes"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":[],\"merges\":[]}}", NB_ERR_FORMAT, "model.vocab"},
        {"{" MODEL("", "") "}", NB_ERR_FORMAT, "0 tokens"},
        {"{" MODEL("\"a\":\"0\"", "") "}", NB_ERR_FORMAT, "the id of 'a'"},
        {"{" MODEL("\"a\":-1", "") "}", NB_ERR_FORMAT, "the id of 'a'"},
        {"{" MODEL("\"a\":1.5", "") "}", NB_ERR_FORMAT, "the id of 'a'"},
        {"{" MODEL("\"a\":99999999999", "") "}", NB_ERR_FORMAT, "the id of 'a'"},
        {"{" MODEL("\"a\":16777215", "") "}", NB_ERR_FORMAT, "only 1 tokens"},
        {"{" MODEL("\"a\":0,\"b\":0", "") "}", NB_ERR_FORMAT, "id 0 is both 'a' and 'b'"},
        {"{" MODEL("\"\":0", "") "}", NB_ERR_FORMAT, "token 0 is empty"},
        {"{" MODEL("\"a\":0", "\"a b\"") "}", NB_ERR_FORMAT, "merge 0: 'b' is no token"},
        {"{" MODEL("\"a\":0,\"b\":1", "\"a b\"") "}", NB_ERR_FORMAT, "merge 0: 'ab' is no token"},
        {"{" MODEL("\"a\":0", "\"a\"") "}", NB_ERR_FORMAT, "left right"},
        {"{" MODEL("\"a\":0", "[\"a\"]") "}", NB_ERR_FORMAT, "left"},
        {"{" MODEL("\"a\":0", "[\"a\",1]") "}", NB_ERR_FORMAT, "left"},
        {"{" MODEL("\"a\":0", "7") "}", NB_ERR_FORMAT, "left"},
        {"{\"added_tokens\":{}," MODEL("\"a\":0", "") "}", NB_ERR_FORMAT, "added_tokens"},
        {"{\"added_tokens\":[1]," MODEL("\"a\":0", "") "}", NB_ERR_FORMAT, "added_tokens"},
        {"{\"added_tokens\":[{\"id\":0,\"content\":\"x\"}]," MODEL("\"a\":0", "") "}",
         NB_ERR_FORMAT, "id 0 is both"},
        {"{\"added_tokens\":[{\"id\":1,\"content\":\"a\"}]," MODEL("\"a\":0", "") "}",
         NB_ERR_FORMAT, "tokens 0 and 1 are both 'a'"},
        {"{\"added_tokens\":[{\"id\":1,\"content\":\"x\",\"special\":3}]," MODEL("\"a\":0", "") "}",
         NB_ERR_FORMAT, "special"},
        {"{\"normalizer\":{\"type\":\"ByteLevel\"}," MODEL("\"a\":0", "") "}", NB_ERR_UNSUPPORTED,
         "ByteLevel"},
        {"{\"normalizer\":{\"type\":7}," MODEL("\"a\":0", "") "}", NB_ERR_FORMAT,
         "normalizer.type"},
        {"{\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}," MODEL("\"a\":0", "") "}",
         NB_ERR_UNSUPPORTED, "UnicodeScripts"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},"
         "\"behavior\":\"Isolated\"}," MODEL("\"a\":0", "") "}",
         NB_ERR_FORMAT, "pattern '(a'"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&b]\"},"
         "\"behavior\":\"Isolated\"}," MODEL("\"a\":0", "") "}",
         NB_ERR_UNSUPPORTED, "set operation"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},"
         "\"behavior\":\"Sideways\"}," MODEL("\"a\":0", "") "}",
         NB_ERR_UNSUPPORTED, "Sideways"},
        {"{\"decoder\":{\"type\":\"CTC\"}," MODEL("\"a\":0", "") "}", NB_ERR_UNSUPPORTED, "CTC"},
        {"{\"post_processor\":{\"type\":\"BertProcessing\"}," MODEL("\"a\":0", "") "}",
         NB_ERR_FORMAT, "cls: expected a token and its id"},
        {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"
         "\"id\":"
         "\"x\"}},{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"x\":{\"ids\":[9]}}}," MODEL(
             "\"a\":0", "") "}",
         NB_ERR_FORMAT, "special_tokens"},
    };
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        struct nb_error err = {0};
        struct nb_tokenizer *tok;
        assert_fails(parse(&tok, cases[i].json, &err), cases[i].want, &err, cases[i].text);
        assert_null(tok);
    }
}

/* Every prefix of a file, and every byte of it changed: an error or a tokenizer, never a crash. */
static void test_mutations(void **state)
{
    (void)state;
    size_t n;
    char *text = (char *)nbtest_read(nbtest_root("tests/golden/text_unk.json"), &n);
    struct nb_rng {
        uint64_t s;
    } rng = {1};
    for (size_t i = 0; i < 1500; i++) {
        struct nb_tokenizer *tok = NULL;
        rng.s = rng.s * UINT64_C(6364136223846793005) + 1442695040888963407u;
        size_t at = (size_t)(rng.s >> 33) % n;
        char old = text[at];
        bool cut = i % 8 == 0;
        text[at] = "0\"{}[],:9-\\ \x80z"[(rng.s >> 20) % 14];
        struct nb_error err;
        if (nb_tokenizer_from_json(&tok, text, cut ? at : n, NULL, 0, NULL, &err) == NB_OK) {
            struct nb_ids ids;
            nb_ids_init(&ids, NULL);
            assert_ok(nb_tokenizer_encode(tok, &ids, "Hello <s> \xff w\xc3\xb6rld", 19, 1, &err),
                      &err);
            nb_ids_fini(&ids);
        }
        nb_tokenizer_destroy(tok);
        text[at] = old;
    }
    free(text);
}

static void test_bad_vocab(void **state)
{
    (void)state;
    static const struct nb_text tokens[] = {{"a", 1}, {"b", 1}, {"ab", 2}, {"\xff", 1}, {"a", 1}};
    static const int32_t types[] = {1, 1, 1, 9, 1};
    static const float nan_scores[] = {0, 0, (float)(0.0 * (1e308 * 10)), 0, 0};
    static const struct nb_text good[] = {{"a b", 3}}, bad[] = {{"a c", 3}}, none[] = {{"ab", 2}};
    struct nb_error err;
    struct nb_tokenizer *tok;
    struct nb_vocab v;
    nb_vocab_init(&v, NB_VOCAB_BPE, "gpt-2");
    v.tokens = tokens;
    assert_fails(nb_tokenizer_from_vocab(&tok, &v, NULL, &err), NB_ERR_FORMAT, &err, "0 tokens");
    v.n = 3;
    v.merges = good;
    v.n_merges = 1;
    assert_ok(nb_tokenizer_from_vocab(&tok, &v, NULL, &err), &err);
    nb_tokenizer_destroy(tok);
    v.merges = bad;
    assert_fails(nb_tokenizer_from_vocab(&tok, &v, NULL, &err), NB_ERR_FORMAT, &err, "'c'");
    v.merges = none;
    assert_fails(nb_tokenizer_from_vocab(&tok, &v, NULL, &err), NB_ERR_FORMAT, &err, "left right");
    v.merges = good;
    v.pre = "mystery";
    assert_fails(nb_tokenizer_from_vocab(&tok, &v, NULL, &err), NB_ERR_UNSUPPORTED, &err,
                 "mystery");
    v.pre = "gpt-2";
    v.bos = 3;
    assert_fails(nb_tokenizer_from_vocab(&tok, &v, NULL, &err), NB_ERR_FORMAT, &err,
                 "bos token is 3");
    v.bos = -1;
    v.n = 4;
    assert_fails(nb_tokenizer_from_vocab(&tok, &v, NULL, &err), NB_ERR_FORMAT, &err, "UTF-8");
    v.types = types;
    assert_fails(nb_tokenizer_from_vocab(&tok, &v, NULL, &err), NB_ERR_FORMAT, &err, "type 9");
    v.tokens = tokens + 4;
    v.n = 1;
    v.types = NULL;
    v.kind = NB_VOCAB_SPM;
    v.n_merges = 0;
    v.scores = nan_scores + 2;
    assert_fails(nb_tokenizer_from_vocab(&tok, &v, NULL, &err), NB_ERR_NUMERIC, &err, "token 0");
}

/* ---- patterns that take forever ---- */
static void test_slow_pattern(void **state)
{
    (void)state;
    struct nb_error err;
    struct nb_tokenizer *tok;
    struct nb_ids ids;
    char text[64];
    memset(text, 'a', sizeof(text));
    assert_ok(
        parse(&tok,
              "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?:a|aa)+[cd]\"},"
              "\"behavior\":\"Isolated\"}," MODEL("\"a\":0", "") "}",
              &err),
        &err);
    nb_ids_init(&ids, NULL);
    assert_fails(nb_tokenizer_encode(tok, &ids, text, sizeof(text), 0, &err), NB_ERR_LIMIT, &err,
                 "pattern");
    assert_int_equal(ids.n, 0);
    nb_ids_fini(&ids);
    nb_tokenizer_destroy(tok);
}

/* ---- long words ---- */
static void test_long_words(void **state)
{
    (void)state;
    static const char *const files[] = {"tests/golden/text_llama3.json",
                                        "tests/golden/text_spm.json",
                                        "tests/golden/text_qwen2.json"};
    static const char *const units[] = {"a", "ab", " ", "\xcc\x81\xcc\xa3", "th"};
    size_t n = 1u << 20;
    char *text = malloc(n);
    assert_non_null(text);
    for (size_t f = 0; f < NB_COUNTOF(files); f++) {
        struct nb_tokenizer *tok = load(files[f], NULL);
        for (size_t u = 0; u < NB_COUNTOF(units); u++) {
            struct nb_error err;
            struct nb_ids ids;
            struct nb_str back;
            size_t len = strlen(units[u]);
            for (size_t i = 0; i < n; i++)
                text[i] = units[u][i % len];
            nb_ids_init(&ids, NULL);
            nb_str_init(&back, NULL);
            assert_ok(nb_tokenizer_encode(tok, &ids, text, n, 0, &err), &err);
            assert_ok(nb_tokenizer_decode(tok, &back, ids.data, ids.n, 0, &err), &err);
            if (f != 2 || u != 3) { /* NFC reorders the marks */
                assert_int_equal(back.len, n);
                assert_memory_equal(back.data, text, n);
            }
            nb_ids_fini(&ids);
            nb_str_fini(&back);
        }
        nb_tokenizer_destroy(tok);
    }
    free(text);
}

/* ---- streams ---- */
static void test_stream(void **state)
{
    (void)state;
    struct nb_error err;
    struct nb_tokenizer *tok = load("tests/golden/text_spm.json", NULL);
    struct nb_ids ids;
    struct nb_str out;
    struct nb_detok d;
    nb_ids_init(&ids, NULL);
    nb_str_init(&out, NULL);
    assert_ok(nb_tokenizer_encode(tok, &ids, "\xf0\x9f\xa6\x96 x", 6, 0, &err), &err);
    nb_detok_init(&d, tok, 0);
    size_t before = 0;
    for (size_t i = 0; i < ids.n; i++) {
        nb_detok_push(&d, &out, ids.data[i]);
        assert_true(out.len == before || out.len >= 4); /* the emoji comes whole */
        before = out.len;
    }
    nb_detok_flush(&d, &out);
    assert_string_equal(out.data, "\xf0\x9f\xa6\x96 x"); /* without the leading space */
    nb_str_clear(&out);
    nb_detok_init(&d, tok, 0);
    nb_detok_continue(&d);
    nb_detok_push(&d, &out, ids.data[ids.n - 1]);
    nb_detok_flush(&d, &out);
    assert_string_equal(out.data, " x"); /* a continued stream keeps it */
    assert_int_equal(nb_tokenizer_piece(tok, ids.data[ids.n - 1]).n, 2);
    assert_int_equal(nb_tokenizer_piece(tok, -1).n, 0);
    assert_int_equal(nb_tokenizer_piece(tok, 1 << 30).n, 0);
    nb_ids_fini(&ids);
    nb_str_fini(&out);
    nb_tokenizer_destroy(tok);
}

static void test_config(void **state)
{
    (void)state;
    static const char json[] =
        "{\"added_tokens\":[{\"id\":1,\"content\":\"<e>\",\"special\":true}]," BYTE_LEVEL MODEL(
            "\"a\":0", "") "}";
    static const char config[] =
        "{\"bos_token\":{\"content\":\"<e>\"},\"eos_token\":\"<e>\",\"add_bos_token\":true,"
        "\"chat_template\":[{\"name\":\"rag\",\"template\":\"R\"},{\"name\":\"default\","
        "\"template\":\"D\"}]}";
    struct nb_error err;
    struct nb_tokenizer *tok;
    struct nb_ids ids;
    assert_ok(nb_tokenizer_from_json(&tok, json, strlen(json), config, strlen(config), NULL, &err),
              &err);
    const struct nb_vocab *v = nb_tokenizer_vocab(tok);
    assert_int_equal(v->bos, 1);
    assert_int_equal(v->eos, 1);
    assert_true(v->add_bos);
    assert_false(v->add_eos);
    assert_int_equal(v->chat_template.n, 1);
    assert_int_equal(v->chat_template.s[0], 'D');
    assert_true(nb_tokenizer_is_eog(tok, 1));
    assert_false(nb_tokenizer_is_eog(tok, 0));
    assert_true(nb_tokenizer_is_special(tok, 1));
    nb_ids_init(&ids, NULL);
    assert_ok(nb_tokenizer_encode(tok, &ids, "a", 1, NB_ENCODE_ADD, &err), &err);
    assert_int_equal(ids.n, 2);
    assert_int_equal(ids.data[0], 1);
    nb_ids_fini(&ids);
    nb_tokenizer_destroy(tok);
    assert_fails(
        nb_tokenizer_from_json(&tok, json, strlen(json), "{\"eos_token\":\"x\"}", 17, NULL, &err),
        NB_ERR_FORMAT, &err, "eos_token is 'x'");
}

/* ---- memory running out ---- */
static enum nb_status whole_life(void *ctx, const struct nb_allocator *a)
{
    static const char text[] =
        "The quick caf\xc3\xa9 e\xcc\x81 <|im_start|> \xff 12345 \xe1\xa0\x8e end";
    const char *json = ctx;
    struct nb_error err;
    struct nb_tokenizer *tok = NULL, *again = NULL;
    struct nb_ids ids;
    struct nb_str out;
    nb_ids_init(&ids, a);
    nb_str_init(&out, a);
    enum nb_status st = nb_tokenizer_from_json(&tok, json, strlen(json), NULL, 0, a, &err);
    if (st == NB_OK)
        st = nb_tokenizer_from_vocab(&again, nb_tokenizer_vocab(tok), a, &err);
    if (st == NB_OK)
        st = nb_tokenizer_encode(again, &ids, text, sizeof(text) - 1, NB_ENCODE_SPECIAL, &err);
    if (st == NB_OK)
        st = nb_tokenizer_decode(again, &out, ids.data, ids.n, 0, &err);
    if (st == NB_OK)
        st = nb_tokenizer_write_json(again, &out, &err);
    nb_tokenizer_destroy(tok);
    nb_tokenizer_destroy(again);
    nb_ids_fini(&ids);
    nb_str_fini(&out);
    return st;
}

static void test_oom(void **state)
{
    (void)state;
    static const char *const jsons[] = {
        "{\"normalizer\":{\"type\":\"NFC\"},\"added_tokens\":[{\"id\":3,\"content\":\"<|im_start|>"
        "\","
        "\"special\":true},{\"id\":4,\"content\":\"cafe\\u0301\",\"normalized\":true}],"
        "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
        "\"pattern\":"
        "{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}"
        "{1,3}| "
        "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"
        "\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_"
        "regex\":false}]},"
        "\"decoder\":{\"type\":\"ByteLevel\"}," MODEL("\"h\":0,\"e\":1,\"he\":2", "\"h e\"") "}",
        "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"split\":false},"
        "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{"
        "\"String\":"
        "\"\\u2581\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]}," MODEL(
            "\"h\":0,\"e\":1,\"he\":2", "\"h e\"") "}",
    };
    for (size_t i = 0; i < NB_COUNTOF(jsons); i++) {
        union {
            const char *in;
            void *out;
        } u = {.in = jsons[i]};
        assert_true(nbtest_oom(whole_life, u.out) > 20);
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_sanitize), cmocka_unit_test(test_bad_json),
             cmocka_unit_test(test_mutations), cmocka_unit_test(test_bad_vocab),
             cmocka_unit_test(test_slow_pattern), cmocka_unit_test(test_long_words),
             cmocka_unit_test(test_stream), cmocka_unit_test(test_config),
             cmocka_unit_test(test_oom))
