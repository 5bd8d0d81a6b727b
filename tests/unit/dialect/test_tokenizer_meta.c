/* Every kind of tokenizer through the metadata of a GGUF file: the same ids on both sides, padding to the
 * rows of the embedding, and the spelling that the format wants. */
#include "support/nbtest.h"

#include "dialect/dialect_internal.h"

#define N_PADDING 3

/* The text as the file has it, escapes and all: any text will do. */
static void same_ids(const struct nb_tokenizer *a, const struct nb_tokenizer *b, const char *text,
                     size_t n)
{
    const unsigned flags[] = {0, NB_ENCODE_SPECIAL | NB_ENCODE_ADD};
    for (size_t i = 0; i < NB_COUNTOF(flags); i++) {
        struct nb_ids x, y;
        struct nb_error err;
        nb_ids_init(&x, NULL);
        nb_ids_init(&y, NULL);
        assert_ok(nb_tokenizer_encode(a, &x, text, n, flags[i], &err), &err);
        assert_ok(nb_tokenizer_encode(b, &y, text, n, flags[i], &err), &err);
        assert_int_equal(x.n, y.n);
        if (x.n > 0)
            assert_memory_equal(x.data, y.data, x.n * sizeof *x.data);
        nb_ids_fini(&x);
        nb_ids_fini(&y);
    }
}

static void each_line(const struct nb_tokenizer *a, const struct nb_tokenizer *b)
{
    size_t n, lines = 0;
    char *text = (char *)nbtest_read(nbtest_root("tests/golden/text_lines.txt"), &n);
    for (char *s = text; s < text + n; lines++) {
        char *end = memchr(s, '\n', (size_t)(text + n - s));
        assert_non_null(end);
        same_ids(a, b, s, (size_t)(end - s));
        s = end + 1;
    }
    assert_true(lines >= 2000);
    free(text);
}

/* GGUF has no keys for lstrip and its like: without them. */
static struct nb_tokenizer *load(const char *path, bool flags)
{
    struct nb_error err;
    struct nb_tokenizer *tok, *plain;
    size_t n;
    char *text = (char *)nbtest_read(nbtest_root(path), &n);
    assert_ok(nb_tokenizer_from_json(&tok, text, n, NULL, 0, NULL, &err), &err);
    free(text);
    if (flags)
        return tok;
    struct nb_vocab v = *nb_tokenizer_vocab(tok);
    v.flags = NULL;
    assert_ok(nb_tokenizer_from_vocab(&plain, &v, NULL, &err), &err);
    nb_tokenizer_destroy(tok);
    return plain;
}

static struct nb_text token_of(const struct nb_meta *meta, size_t i)
{
    const struct nb_meta_kv *kv = nb_meta_find(meta, "tokenizer.ggml.tokens");
    assert_non_null(kv);
    assert_true(i < kv->n);
    return ((const struct nb_text *)kv->v.items)[i];
}

static void assert_text(struct nb_text t, const char *want)
{
    assert_int_equal(t.n, strlen(want));
    assert_memory_equal(t.s, want, t.n);
}

/* Two models, of which only the parts for tokenizers are there. */
static void there_and_back(const char *path, const char *model, void (*check)(struct nb_model *))
{
    struct nb_model out = {.path = (char *)(uintptr_t) "out"};
    struct nb_model in = {.path = (char *)(uintptr_t) "in"};
    struct nb_text name;
    struct nb_error err;
    nb_meta_init(&out.tokenizer_meta, NULL);
    nb_meta_init(&in.tokenizer_meta, NULL);
    out.tokenizer = load(path, false);
    const uint32_t n = nb_tokenizer_n_vocab(out.tokenizer);
    out.w.hp.n_vocab = n + N_PADDING;
    assert_ok(nb_tokenizer_to_meta(&out, &in.tokenizer_meta, &err), &err);
    assert_true(nb_meta_text(&in.tokenizer_meta, "tokenizer.ggml.model", &name));
    assert_text(name, model);
    assert_ok(nb_tokenizer_from_meta(&in, &err), &err);
    assert_non_null(in.tokenizer);
    assert_int_equal(nb_tokenizer_n_vocab(in.tokenizer), n + N_PADDING);
    each_line(out.tokenizer, in.tokenizer);
    if (check != NULL)
        check(&in);
    nb_tokenizer_destroy(out.tokenizer);
    nb_tokenizer_destroy(in.tokenizer);
    nb_meta_fini(&out.tokenizer_meta);
    nb_meta_fini(&in.tokenizer_meta);
}

static void check_wordpiece(struct nb_model *m)
{
    const struct nb_tokenizer *tok = m->tokenizer;
    const int32_t inside = nb_tokenizer_find(tok, "##e", 3), whole = nb_tokenizer_find(tok, "e", 1);
    assert_true(inside >= 0 && whole >= 0);
    assert_text(token_of(&m->tokenizer_meta, 2), "[CLS]");
    assert_text(token_of(&m->tokenizer_meta, (size_t)inside), "e");
    assert_text(token_of(&m->tokenizer_meta, (size_t)whole), "\xe2\x96\x81"
                                                             "e");
    assert_int_equal(nb_tokenizer_vocab(tok)->sep, 3);
    assert_true(nb_tokenizer_vocab(tok)->lowercase);
    /* Files of other writers lack the keys: small letters only are a sign. */
    struct nb_error err;
    struct nb_model again = *m;
    nb_meta_remove(&again.tokenizer_meta, "tokenizer.ggml.normalizer.lowercase");
    nb_meta_remove(&again.tokenizer_meta, "tokenizer.ggml.normalizer.strip_accents");
    again.tokenizer = NULL;
    assert_ok(nb_tokenizer_from_meta(&again, &err), &err);
    each_line(again.tokenizer, tok);
    nb_tokenizer_destroy(again.tokenizer);
    m->tokenizer_meta = again.tokenizer_meta;
}

static void check_unigram(struct nb_model *m)
{
    struct nb_error err;
    bool flag = false;
    const struct nb_meta_kv *map =
        nb_meta_find(&m->tokenizer_meta, "tokenizer.ggml.precompiled_charsmap");
    assert_non_null(map);
    assert_int_equal(map->n, nb_tokenizer_vocab(m->tokenizer)->charsmap.n);
    assert_true(nb_meta_bool(&m->tokenizer_meta, "tokenizer.ggml.remove_extra_whitespaces", &flag));
    assert_true(flag);
    /* A map that is cut short is said. */
    struct nb_model again = *m;
    again.tokenizer = NULL;
    assert_ok(nb_meta_set_array(&again.tokenizer_meta, "tokenizer.ggml.precompiled_charsmap",
                                NB_META_U8, "\xff\xff\xff\x7f\0\0\0\0", 8),
              NULL);
    assert_int_equal(nb_tokenizer_from_meta(&again, &err), NB_ERR_FORMAT);
    assert_non_null(strstr(err.message, "precompiled_charsmap: a trie of 2147483647 bytes"));
    m->tokenizer_meta = again.tokenizer_meta;
}

static void check_phi3(struct nb_model *m)
{
    struct nb_error err;
    struct nb_model phi = *m;
    nb_meta_init(&phi.meta, NULL);
    assert_int_equal(nb_tokenizer_vocab(m->tokenizer)->flags[2] & NB_TOKEN_RSTRIP, 0);
    assert_ok(nb_meta_set_text(&phi.meta, "general.architecture", "phi3", 4), NULL);
    phi.tokenizer = NULL;
    assert_ok(nb_tokenizer_from_meta(&phi, &err), &err);
    const uint8_t *flags = nb_tokenizer_vocab(phi.tokenizer)->flags;
    assert_int_equal(flags[1], 0); /* <s> */
    assert_int_equal(flags[2], NB_TOKEN_RSTRIP);
    nb_tokenizer_destroy(phi.tokenizer);
    nb_meta_fini(&phi.meta);
}

/* Runs of spaces that are tokens of their own, as Gemma has them. */
static void test_added_spaces(void **state)
{
    (void)state;
    static const struct nb_text tokens[] = {{"<unk>", 5}, {"<s>", 3},
                                            {"</s>", 4},  {"\xe2\x96\x81\xe2\x96\x81", 6},
                                            {"\n\n", 2},  {"a", 1}};
    static const int32_t types[] = {2, 3, 3, 4, 4, 1};
    struct nb_model m = {.path = (char *)(uintptr_t) "out"};
    struct nb_meta meta;
    struct nb_error err;
    struct nb_vocab v;
    nb_vocab_init(&v, NB_VOCAB_SPM, NULL);
    v.n = NB_COUNTOF(tokens);
    v.tokens = tokens;
    v.types = types;
    nb_meta_init(&m.tokenizer_meta, NULL);
    nb_meta_init(&meta, NULL);
    assert_ok(nb_tokenizer_from_vocab(&m.tokenizer, &v, NULL, &err), &err);
    assert_ok(nb_tokenizer_to_meta(&m, &meta, &err), &err);
    assert_text(token_of(&meta, 3), "  ");
    assert_text(token_of(&meta, 4), "\n\n");
    nb_tokenizer_destroy(m.tokenizer);
    nb_meta_fini(&m.tokenizer_meta);
    nb_meta_fini(&meta);
}

static void test_kinds(void **state)
{
    (void)state;
    there_and_back("tests/golden/text_llama3.json", "gpt2", NULL);
    there_and_back("tests/golden/text_spm.json", "llama", check_phi3);
    there_and_back("tests/golden/text_unigram.json", "t5", check_unigram);
    there_and_back("tests/golden/text_wordpiece.json", "bert", check_wordpiece);
}

/* A pipeline for which GGUF has no keys is not written as another one. */
static void test_refused(void **state)
{
    (void)state;
    struct nb_model m = {.path = (char *)(uintptr_t) "out"};
    struct nb_meta meta;
    struct nb_error err;
    nb_meta_init(&m.tokenizer_meta, NULL);
    nb_meta_init(&meta, NULL);
    m.tokenizer = load("tests/golden/text_ubytes.json", true);
    assert_int_equal(nb_tokenizer_to_meta(&m, &meta, &err), NB_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "GGUF has no key"));
    nb_tokenizer_destroy(m.tokenizer);
    nb_meta_fini(&m.tokenizer_meta);
    nb_meta_fini(&meta);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kinds), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_added_spaces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
