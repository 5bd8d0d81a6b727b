/* tokenizer.model: ids equal to those of sentencepiece on every line of tests/golden/text_lines.txt, what
 * the files beside it add, and files that are broken. */
#include "golden.h"

#include <stdio.h>

static enum nb_status parse(struct nb_tokenizer **tok, const void *model, size_t n,
                            const char *config, const char *added, struct nb_error *err)
{
    const struct nb_spm_files files = {
        {model, n},
        {config, config == NULL ? 0 : strlen(config)},
        {added, added == NULL ? 0 : strlen(added)},
    };
    return nb_tokenizer_from_spm(tok, &files, NULL, err);
}

static char *read_model(const char *name, size_t *n)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "tests/golden/text_%s.model", name);
    return (char *)nbtest_read(nbtest_root(path), n);
}

static void same_lines(const char *name, enum nb_vocab_kind kind, size_t n_left_out)
{
    static struct golden_file lines, rows;
    static char buf[16384];
    static int32_t want[GOLDEN_MAX_IDS];
    char file[64];
    size_t n, n_bad = 0, n_skipped = 0;
    struct nb_tokenizer *tok;
    struct nb_error err;
    char *model = read_model(name, &n);
    assert_ok(parse(&tok, model, n, NULL, NULL, &err), &err);
    free(model);
    assert_int_equal(nb_tokenizer_vocab(tok)->kind, kind);
    (void)snprintf(file, sizeof(file), "text_%s.txt", name);
    golden_open(&lines, "text_lines.txt");
    golden_open(&rows, file);
    assert_int_equal(lines.n, rows.n);
    for (size_t i = 0; i < lines.n; i++) {
        struct nb_ids ids;
        if (rows.lines[i][0] == '-') {
            n_skipped++;
            continue;
        }
        nb_ids_init(&ids, NULL);
        const size_t k = golden_ids(want, rows.lines[i]);
        n = golden_unescape(buf, lines.lines[i]);
        assert_ok(nb_tokenizer_encode(tok, &ids, buf, n, 0, &err), &err);
        if (ids.n != k || (k > 0 && memcmp(ids.data, want, k * sizeof(*want)) != 0)) {
            if (n_bad++ < 5)
                print_message("%s: line %zu differs\n", name, i + 1);
        }
        nb_ids_fini(&ids);
    }
    print_message("%s: %zu lines, %zu differences\n", name, lines.n, n_bad);
    assert_int_equal(n_bad, 0);
    assert_int_equal(n_skipped, n_left_out);
    golden_close(&lines);
    golden_close(&rows);
    nb_tokenizer_destroy(tok);
}

static void test_bpe(void **state)
{
    (void)state;
    same_lines("spbpe", NB_VOCAB_SPM, 0);
}

static void test_unigram(void **state)
{
    (void)state;
    same_lines("spuni", NB_VOCAB_UNIGRAM, 43); /* make_sentencepiece.py says why */
}

static void encodes(const struct nb_tokenizer *tok, const char *text, const char *want)
{
    struct nb_ids ids;
    struct nb_str got;
    struct nb_error err;
    nb_ids_init(&ids, NULL);
    nb_str_init(&got, NULL);
    assert_ok(
        nb_tokenizer_encode(tok, &ids, text, strlen(text), NB_ENCODE_SPECIAL | NB_ENCODE_ADD, &err),
        &err);
    for (size_t i = 0; i < ids.n; i++)
        nb_str_printf(&got, i == 0 ? "%d" : " %d", ids.data[i]);
    nb_str_puts(&got, "");
    assert_string_equal(got.data, want);
    nb_str_fini(&got);
    nb_ids_fini(&ids);
}

/* A model of four pieces, <unk> a ▁a ▁, as BPE, without bos and with an eos behind them. */
#define PIECE(text, n, type) "\x0a" n "\x0a" text "\x15\0\0\0\0\x18" type
#define MARK                 "\xe2\x96\x81"
/* clang-format off */
static const char small[] = PIECE("\x05<unk>", "\x0e", "\2") PIECE("\1" "a", "\x0a", "\1")
    PIECE("\x04" MARK "a", "\x0d", "\1") PIECE("\x03" MARK, "\x0c", "\1")
    "\x12\x11\x18\2\xc8\2\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\xd0\2\4" "\x1a\2\x20\0";
/* clang-format on */

static void test_files_beside(void **state)
{
    (void)state;
    struct nb_tokenizer *tok;
    struct nb_error err;
    const size_t n = sizeof small - 1;
    assert_ok(parse(&tok, small, n, NULL, "{\"<x>\":4}", &err), &err);
    assert_int_equal(nb_tokenizer_n_vocab(tok), 5);
    assert_int_equal(nb_tokenizer_vocab(tok)->bos, -1);
    assert_int_equal(nb_tokenizer_vocab(tok)->eos, 4);
    assert_true(nb_tokenizer_is_special(tok, 4));
    encodes(tok, "a<x>", "2 4");
    nb_tokenizer_destroy(tok);
    assert_ok(parse(&tok, small, n,
                    "{\"added_tokens_decoder\":{\"5\":{\"content\":\"<y>\",\"rstrip\":true}},"
                    "\"bos_token\":\"<y>\",\"add_eos_token\":true,\"legacy\":false}",
                    "{\"<x>\":4}", &err),
              &err);
    assert_int_equal(nb_tokenizer_vocab(tok)->types[5], NB_TOKEN_USER);
    encodes(tok, "<y>  a", "5 5 1 4");
    nb_tokenizer_destroy(tok);
    assert_fails(parse(&tok, small, n, "{\"bos_token\":\"<z>\"}", NULL, &err), NB_ERR_FORMAT, &err,
                 "bos_token is '<z>'");
    assert_fails(parse(&tok, small, n, NULL, "{\"<x>\":99999}", &err), NB_ERR_FORMAT, &err,
                 "only 4 pieces");
    assert_fails(parse(&tok, small, n, NULL, "{\"<x>\":-1}", &err), NB_ERR_FORMAT, &err, "id of");
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        enum nb_status want;
        const char *text;
    } cases[] = {
        {"", 0, NB_ERR_FORMAT, "0 pieces"},
        {"\x12\2\x18\3", 4, NB_ERR_UNSUPPORTED, "model type 3"},
        {"\x12\3\xc0\1\1", 5, NB_ERR_UNSUPPORTED, "suffix"},
        {"\x1a\2\x28\0", 4, NB_ERR_UNSUPPORTED, "not escaped"},
        {"\x0a\2\x18\7", 4, NB_ERR_FORMAT, "piece 0 has type 7"},
        {"\x0a\x7f", 2, NB_ERR_FORMAT, "no valid protocol buffer (field 1)"},
        {"\x0b", 1, NB_ERR_FORMAT, "no valid protocol buffer"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, NB_ERR_FORMAT, "protocol buffer"},
    };
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        struct nb_tokenizer *tok;
        struct nb_error err = {0};
        assert_fails(parse(&tok, cases[i].bytes, cases[i].n, NULL, NULL, &err), cases[i].want, &err,
                     cases[i].text);
        assert_null(tok);
    }
}

/* Cut anywhere, a file is refused or read, and never more than that. */
static void test_truncated(void **state)
{
    (void)state;
    size_t n, n_read = 0;
    char *model = read_model("spuni", &n);
    for (size_t k = 0; k < n; k += 37) {
        struct nb_tokenizer *tok;
        struct nb_error err = {0};
        char *part = malloc(k + 1); /* its own block: reads behind its end are seen */
        assert_non_null(part);
        memcpy(part, model, k);
        if (parse(&tok, part, k, NULL, NULL, &err) == NB_OK) {
            n_read++;
            nb_tokenizer_destroy(tok);
        } else {
            assert_true(err.message[0] != '\0');
        }
        free(part);
    }
    assert_true(n_read < n / 37);
    free(model);
}

static enum nb_status make(void *ctx, const struct nb_allocator *a)
{
    (void)ctx;
    struct nb_tokenizer *tok;
    struct nb_error err = {0};
    const struct nb_spm_files files = {{small, sizeof small - 1}, {NULL, 0}, {"{\"<x>\":4}", 9}};
    const enum nb_status st = nb_tokenizer_from_spm(&tok, &files, a, &err);
    nb_tokenizer_destroy(tok);
    return st;
}

static void test_oom(void **state)
{
    (void)state;
    assert_true(nbtest_oom(make, NULL) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bpe),       cmocka_unit_test(test_unigram),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_files_beside),
        cmocka_unit_test(test_truncated), cmocka_unit_test(test_oom)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
