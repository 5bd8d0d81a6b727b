/* vocab.txt: the same ids as the tokenizer.json that has the same tokens; flags; broken lists. */
#include "golden.h"

/* Without its added tokens, which stand last and which a list has not. */
static struct nb_tokenizer *reference(void)
{
    size_t n;
    struct nb_error err;
    struct nb_tokenizer *tok, *plain;
    char *text = (char *)nbtest_read(nbtest_root("tests/golden/text_wordpiece.json"), &n);
    assert_ok(nb_tokenizer_from_json(&tok, text, n, NULL, 0, NULL, &err), &err);
    free(text);
    struct nb_vocab v = *nb_tokenizer_vocab(tok);
    while (v.types[v.n - 1] == NB_TOKEN_USER)
        v.n--;
    assert_ok(nb_tokenizer_from_vocab(&plain, &v, NULL, &err), &err);
    nb_tokenizer_destroy(tok);
    return plain;
}

static void encode(const struct nb_tokenizer *tok, struct nb_ids *ids, const char *text, size_t n)
{
    struct nb_error err;
    ids->n = 0;
    assert_ok(nb_tokenizer_encode(tok, ids, text, n, NB_ENCODE_SPECIAL | NB_ENCODE_ADD, &err),
              &err);
}

static void test_same_ids(void **state)
{
    (void)state;
    static struct golden_file lines;
    static char buf[16384];
    struct nb_tokenizer *json = reference(), *list;
    const struct nb_vocab *v = nb_tokenizer_vocab(json);
    struct nb_str text;
    struct nb_ids a, b;
    struct nb_error err;
    nb_str_init(&text, NULL);
    nb_ids_init(&a, NULL);
    nb_ids_init(&b, NULL);
    for (uint32_t i = 0; i < v->n; i++) {
        nb_str_append(&text, v->tokens[i].s, v->tokens[i].n);
        nb_str_puts(&text, i % 2 == 0 ? "\n" : "\r\n");
    }
    const struct nb_text config = {"{\"do_lower_case\":true}", 22};
    assert_ok(nb_tokenizer_from_word_list(&list, (struct nb_text){text.data, text.len}, config,
                                          NULL, &err),
              &err);
    assert_int_equal(nb_tokenizer_vocab(list)->bos, 2);
    assert_int_equal(nb_tokenizer_vocab(list)->sep, 3);
    golden_open(&lines, "text_lines.txt");
    for (size_t i = 0; i < lines.n; i++) {
        const size_t n = golden_unescape(buf, lines.lines[i]);
        encode(json, &a, buf, n);
        encode(list, &b, buf, n);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.data, b.data, a.n * sizeof(*a.data));
    }
    assert_true(lines.n >= 2000);
    golden_close(&lines);
    nb_str_fini(&text);
    nb_ids_fini(&a);
    nb_ids_fini(&b);
    nb_tokenizer_destroy(json);
    nb_tokenizer_destroy(list);
}

static void test_odd(void **state)
{
    (void)state;
    struct nb_tokenizer *tok;
    struct nb_error err;
    struct nb_ids ids;
    const struct nb_text list = {"[UNK]\na\nA\n\n##b", 14}, none = {NULL, 0};
    const struct nb_text cased = {"{\"do_lower_case\":false}", 23},
                         bad = {"{\"do_lower_case\":7}", 19};
    nb_ids_init(&ids, NULL);
    assert_ok(nb_tokenizer_from_word_list(&tok, list, cased, NULL, &err), &err);
    assert_int_equal(nb_tokenizer_n_vocab(tok), 5);
    encode(tok, &ids, "Ab x", 4);
    assert_int_equal(ids.n, 3); /* no [CLS], no [SEP] in the list */
    assert_int_equal(ids.data[0], 2);
    assert_int_equal(ids.data[1], 4);
    assert_int_equal(ids.data[2], 0);
    nb_ids_fini(&ids);
    nb_tokenizer_destroy(tok);
    assert_fails(nb_tokenizer_from_word_list(&tok, list, bad, NULL, &err), NB_ERR_FORMAT, &err,
                 "do_lower_case");
    assert_fails(nb_tokenizer_from_word_list(&tok, none, none, NULL, &err), NB_ERR_FORMAT, &err,
                 "0 lines");
    assert_fails(nb_tokenizer_from_word_list(&tok, (struct nb_text){"a\na", 3}, none, NULL, &err),
                 NB_ERR_FORMAT, &err, "tokens 0 and 1 are both 'a'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_ids), cmocka_unit_test(test_odd)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
