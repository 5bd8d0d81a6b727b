/* Ids and decoded text equal to Hugging Face tokenizers on every line of tests/golden/text_lines.txt, for
 * each tokenizer there; the same from the plain vocabulary, and after writing and reading tokenizer.json. */
#include "golden.h"

#include <stdio.h>

static const struct {
    const char *name, *json, *config, *pre;
    enum nb_vocab_kind kind;
} cases[] = {
    {"tiny", "models/tiny-7m/tokenizer.json", "models/tiny-7m/tokenizer_config.json", "gpt-2",
     NB_VOCAB_BPE},
    {"llama3", "tests/golden/text_llama3.json", NULL, "llama-bpe", NB_VOCAB_BPE},
    {"qwen2", "tests/golden/text_qwen2.json", NULL, "qwen2", NB_VOCAB_BPE},
    {"spm", "tests/golden/text_spm.json", NULL, NULL, NB_VOCAB_SPM},
    {"metaspace", "tests/golden/text_metaspace.json", NULL, NULL, NB_VOCAB_SPM},
    {"unk", "tests/golden/text_unk.json", NULL, NULL, NB_VOCAB_SPM},
    {"wordpiece", "tests/golden/text_wordpiece.json", NULL, "default", NB_VOCAB_WORDPIECE},
    {"cased", "tests/golden/text_cased.json", NULL, "default", NB_VOCAB_WORDPIECE},
    {"unigram", "tests/golden/text_unigram.json", NULL, "default", NB_VOCAB_UNIGRAM},
    {"ubytes", "tests/golden/text_ubytes.json", NULL, NULL, NB_VOCAB_UNIGRAM},
};

static struct nb_tokenizer *load(size_t c)
{
    struct nb_error err;
    struct nb_tokenizer *tok;
    size_t n, n_config = 0;
    char *text = (char *)nbtest_read(nbtest_root(cases[c].json), &n);
    char *config = cases[c].config == NULL
                       ? NULL
                       : (char *)nbtest_read(nbtest_root(cases[c].config), &n_config);
    assert_ok(nb_tokenizer_from_json(&tok, text, n, config, n_config, NULL, &err), &err);
    free(text);
    free(config);
    return tok;
}

/* What a pass over the golden file needs and counts. */
struct pass {
    const struct nb_tokenizer *tok;
    const char *name, *how;
    struct nb_ids ids, prefix, suffix;
    struct nb_str text;
    int32_t want[GOLDEN_MAX_IDS];
    char buf[8192], clean[16384];
    size_t n_lines, n_bad;
};

static void report(struct pass *p, size_t line, const char *what)
{
    if (p->n_bad++ < 5)
        print_message("%s (%s): line %zu: %s differs\n", p->name, p->how, line + 1, what);
}

static void check_ids(struct pass *p, size_t line, const char *text, size_t n, unsigned flags,
                      const char *golden)
{
    struct nb_error err;
    size_t k = golden_ids(p->want, golden);
    p->ids.n = 0;
    assert_ok(nb_tokenizer_encode(p->tok, &p->ids, text, n, flags, &err), &err);
    if (p->ids.n != k || (k != 0 && memcmp(p->ids.data, p->want, k * sizeof(int32_t)) != 0))
        report(p, line, flags & NB_ENCODE_SPECIAL ? "ids" : "ids without specials");
}

static void check_added(struct pass *p, size_t line, const char *text, size_t n)
{
    struct nb_error err;
    size_t plain = p->ids.n, total = plain + p->prefix.n + p->suffix.n;
    struct nb_ids all;
    nb_ids_init(&all, NULL);
    assert_ok(nb_tokenizer_encode(p->tok, &all, text, n, NB_ENCODE_SPECIAL | NB_ENCODE_ADD, &err),
              &err);
    bool same = all.n == total;
    for (size_t i = 0; same && i < p->prefix.n; i++)
        same = all.data[i] == p->prefix.data[i];
    for (size_t i = 0; same && i < plain; i++)
        same = all.data[p->prefix.n + i] == p->ids.data[i];
    for (size_t i = 0; same && i < p->suffix.n; i++)
        same = all.data[p->prefix.n + plain + i] == p->suffix.data[i];
    if (!same)
        report(p, line, "template");
    nb_ids_fini(&all);
}

static void check_text(struct pass *p, size_t line, const int32_t *ids, size_t n, unsigned flags,
                       const char *want, size_t n_want)
{
    struct nb_error err;
    nb_str_clear(&p->text);
    assert_ok(nb_tokenizer_decode(p->tok, &p->text, ids, n, flags, &err), &err);
    if (p->text.len != n_want || (n_want != 0 && memcmp(p->text.data, want, n_want) != 0))
        report(p, line, "decoded text");
}

/* A stream gives the same text, in whole characters. */
static void check_stream(struct pass *p, size_t line, const int32_t *ids, size_t n,
                         const char *want, size_t n_want)
{
    struct nb_detok d;
    nb_detok_init(&d, p->tok, 0);
    nb_str_clear(&p->text);
    for (size_t i = 0; i < n; i++) {
        struct nb_str again;
        nb_detok_push(&d, &p->text, ids[i]);
        nb_str_init(&again, NULL);
        nb_utf8_sanitize(&again, p->text.data, p->text.len);
        if (again.len != p->text.len)
            report(p, line, "a streamed character");
        nb_str_fini(&again);
    }
    nb_detok_flush(&d, &p->text);
    if (p->text.len != n_want || (n_want != 0 && memcmp(p->text.data, want, n_want) != 0))
        report(p, line, "streamed text");
}

static void line_row(struct pass *p, size_t line, const char *escaped, char *fields[])
{
    size_t n = golden_unescape(p->buf, escaped);
    const char *want = p->clean;
    struct nb_str clean;
    check_ids(p, line, p->buf, n, 0, fields[2][0] == '=' ? fields[1] : fields[2]);
    check_ids(p, line, p->buf, n, NB_ENCODE_SPECIAL, fields[1]);
    check_added(p, line, p->buf, n);
    nb_str_init(&clean, NULL);
    nb_utf8_sanitize(&clean, p->buf, n);
    size_t n_want = clean.len;
    if (clean.len != 0)
        memcpy(p->clean, clean.data, clean.len);
    nb_str_fini(&clean);
    if (fields[3][0] == ':')
        n_want = golden_unescape(p->clean, fields[3] + 1);
    check_text(p, line, p->ids.data, p->ids.n, 0, want, n_want);
    check_stream(p, line, p->ids.data, p->ids.n, want, n_want);
    if (fields[4][0] == ':')
        n_want = golden_unescape(p->clean, fields[4] + 1);
    check_text(p, line, p->ids.data, p->ids.n, NB_DECODE_SKIP_SPECIAL, want, n_want);
    p->n_lines++;
}

static void decode_row(struct pass *p, size_t line, char *fields[], bool stream)
{
    size_t n = golden_ids(p->want, fields[1]);
    size_t n_text = golden_unescape(p->clean, fields[2] + 1);
    check_text(p, line, p->want, n, 0, p->clean, n_text);
    if (stream)
        check_stream(p, line, p->want, n, p->clean, n_text);
    if (fields[3][0] == ':')
        n_text = golden_unescape(p->clean, fields[3] + 1);
    check_text(p, line, p->want, n, NB_DECODE_SKIP_SPECIAL, p->clean, n_text);
}

static void template_row(struct pass *p, char *fields[])
{
    struct nb_error err;
    size_t n = golden_ids(p->want, fields[1]);
    p->prefix.n = p->suffix.n = 0;
    for (size_t i = 0; i < n; i++)
        assert_ok(nb_ids_push(&p->prefix, p->want[i], &err), &err);
    n = golden_ids(p->want, fields[2]);
    for (size_t i = 0; i < n; i++)
        assert_ok(nb_ids_push(&p->suffix, p->want[i], &err), &err);
}

/* All rows with one tokenizer; decoded: whether texts are compared as well. */
static void run_pass(size_t c, const struct nb_tokenizer *tok, const char *how)
{
    static struct golden_file lines, rows;
    static struct pass p;
    char name[64];
    (void)snprintf(name, sizeof(name), "text_%s.txt", cases[c].name);
    golden_open(&lines, "text_lines.txt");
    golden_open(&rows, name);
    memset(&p, 0, sizeof(p));
    p.tok = tok;
    p.name = cases[c].name;
    p.how = how;
    nb_ids_init(&p.ids, NULL);
    nb_ids_init(&p.prefix, NULL);
    nb_ids_init(&p.suffix, NULL);
    nb_str_init(&p.text, NULL);
    for (size_t i = 0, line = 0; i < rows.n; i++) {
        char *fields[5] = {0};
        size_t n = golden_fields(rows.lines[i], fields, 5);
        if (fields[0][0] == 'P') {
            template_row(&p, fields);
        } else if (fields[0][0] == 'L') {
            assert_int_equal(n, 5);
            line_row(&p, line, lines.lines[line], fields);
            line++;
        } else {
            assert_int_equal(n, 4);
            decode_row(&p, i, fields, cases[c].kind == NB_VOCAB_BPE);
        }
    }
    print_message("%s (%s): %zu lines, %zu differences\n", p.name, how, p.n_lines, p.n_bad);
    assert_int_equal(p.n_lines, lines.n);
    assert_true(p.n_lines >= 2000);
    assert_int_equal(p.n_bad, 0);
    nb_ids_fini(&p.ids);
    nb_ids_fini(&p.prefix);
    nb_ids_fini(&p.suffix);
    nb_str_fini(&p.text);
    golden_close(&lines);
    golden_close(&rows);
}

static void test_json(void **state)
{
    (void)state;
    for (size_t c = 0; c < NB_COUNTOF(cases); c++) {
        struct nb_tokenizer *tok = load(c);
        const struct nb_vocab *v = nb_tokenizer_vocab(tok);
        assert_int_equal(v->kind, cases[c].kind);
        assert_true(nb_str_eq(v->pre, cases[c].pre));
        run_pass(c, tok, "tokenizer.json");
        nb_tokenizer_destroy(tok);
    }
}

/* What a GGUF file holds is enough: the description alone makes the same tokenizer. */
static void test_vocab(void **state)
{
    (void)state;
    for (size_t c = 0; c < NB_COUNTOF(cases); c++) {
        struct nb_error err;
        struct nb_tokenizer *tok = load(c), *again;
        /* fuse_unk and its decoder, longest words, other normalizers are not GGUF's */
        if (nb_str_eq(cases[c].name, "unk") || nb_str_eq(cases[c].name, "cased") ||
            nb_str_eq(cases[c].name, "ubytes")) {
            nb_tokenizer_destroy(tok);
            continue;
        }
        assert_ok(nb_tokenizer_from_vocab(&again, nb_tokenizer_vocab(tok), NULL, &err), &err);
        nb_tokenizer_destroy(tok); /* everything was copied */
        run_pass(c, again, "vocabulary");
        nb_tokenizer_destroy(again);
    }
}

/* Scores in place of merges, as SentencePiece models in GGUF have it. */
static void test_scores(void **state)
{
    (void)state;
    struct nb_error err;
    struct nb_tokenizer *tok = load(3), *again;
    struct nb_vocab v = *nb_tokenizer_vocab(tok);
    assert_non_null(v.scores);
    v.merges = NULL;
    v.n_merges = 0;
    assert_ok(nb_tokenizer_from_vocab(&again, &v, NULL, &err), &err);
    nb_tokenizer_destroy(tok);
    run_pass(3, again, "scores");
    nb_tokenizer_destroy(again);
}

static uint64_t hash_ids(uint64_t h, const struct nb_ids *ids)
{
    for (size_t i = 0; i < ids->n; i++)
        for (unsigned k = 0; k < 32; k += 8)
            h = (h ^ ((uint32_t)ids->data[i] >> k & 0xffu)) * UINT64_C(0x100000001b3);
    return h;
}

/* All lines, as text_pre.txt has them counted and hashed. */
static void check_pre(const struct nb_tokenizer *tok, const struct golden_file *lines,
                      char *fields[], const char *how)
{
    static char buf[16384], hex[32];
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    size_t total = 0;
    for (size_t i = 0; i < lines->n; i++) {
        struct nb_error err;
        struct nb_ids ids;
        nb_ids_init(&ids, NULL);
        const size_t n = golden_unescape(buf, lines->lines[i]);
        assert_ok(nb_tokenizer_encode(tok, &ids, buf, n, NB_ENCODE_SPECIAL, &err), &err);
        h = hash_ids(h, &ids);
        total += ids.n;
        nb_ids_fini(&ids);
    }
    (void)snprintf(hex, sizeof(hex), "%016llx", (unsigned long long)h);
    print_message("%s (%s): %zu ids, expected %s\n", fields[0], how, total, fields[2]);
    assert_string_equal(hex, fields[3]);
}

/* text_llama3.json with another pre-tokenizer and no template. */
static struct nb_tokenizer *with_pre(const char *pre)
{
    size_t n;
    struct nb_error err;
    struct nb_tokenizer *tok;
    struct nb_str s;
    char *text = (char *)nbtest_read(nbtest_root("tests/golden/text_llama3.json"), &n);
    char *from = strstr(text, "\"pre_tokenizer\":"), *post = strstr(text, "\"post_processor\":");
    char *to = strstr(text, "\"decoder\":"), *ignore = strstr(text, "\"ignore_merges\":true");
    assert_true(from != NULL && post != NULL && to != NULL && ignore != NULL && ignore > to);
    nb_str_init(&s, NULL);
    nb_str_append(&s, text, (size_t)(from - text));
    nb_str_printf(&s, "\"pre_tokenizer\":%s,", pre);
    nb_str_append(&s, to, (size_t)(ignore - to));
    nb_str_puts(&s, "\"ignore_merges\":false");
    nb_str_puts(&s, ignore + strlen("\"ignore_merges\":true"));
    assert_ok(nb_tokenizer_from_json(&tok, s.data, s.len, NULL, 0, NULL, &err), &err);
    nb_str_fini(&s);
    free(text);
    return tok;
}

/* Each model's pre-tokenizer: from its tokenizer.json, under its name in GGUF, and back from that. */
static void test_pretokenizers(void **state)
{
    (void)state;
    static struct golden_file lines, rows;
    golden_open(&lines, "text_lines.txt");
    golden_open(&rows, "text_pre.txt");
    for (size_t i = 0; i < rows.n; i++) {
        char *fields[4] = {0};
        struct nb_error err;
        struct nb_tokenizer *again;
        assert_int_equal(golden_fields(rows.lines[i], fields, 4), 4);
        struct nb_tokenizer *tok = with_pre(fields[1]);
        struct nb_vocab v = *nb_tokenizer_vocab(tok);
        assert_non_null(v.pre);
        assert_string_equal(v.pre, fields[0]);
        check_pre(tok, &lines, fields, "tokenizer.json");
        assert_ok(nb_tokenizer_from_vocab(&again, &v, NULL, &err), &err);
        if (!nb_str_starts(fields[0], "qwen")) /* the name stands for NFC too */
            check_pre(again, &lines, fields, "by name");
        nb_tokenizer_destroy(again);
        nb_tokenizer_destroy(tok);
    }
    golden_close(&lines);
    golden_close(&rows);
}

/* Each name of the list makes a tokenizer that loses no byte. */
static void test_names(void **state)
{
    (void)state;
    static const char *const names[] = {
#define NB_PRETOKENIZER(name, ...)         name,
#define NB_PRETOKENIZER_ALIAS(other, name) other,
#include "text/pretokenizers.inc"
#undef NB_PRETOKENIZER
#undef NB_PRETOKENIZER_ALIAS
    };
    static const char text[] = "Ab\u00e9 it's 12345\r\n \t\u4f60\u597d, \u1f80\u0416\u0641! ";
    struct nb_tokenizer *tok = load(1);
    for (size_t i = 0; i < NB_COUNTOF(names); i++) {
        struct nb_error err;
        struct nb_tokenizer *again;
        struct nb_ids ids;
        struct nb_str out;
        struct nb_vocab v = *nb_tokenizer_vocab(tok);
        v.pre = names[i];
        assert_true(nb_pretokenizer_known(names[i]));
        assert_ok(nb_tokenizer_from_vocab(&again, &v, NULL, &err), &err);
        nb_ids_init(&ids, NULL);
        nb_str_init(&out, NULL);
        const size_t n = strlen(text);
        assert_ok(nb_tokenizer_encode(again, &ids, text, n, 0, &err), &err);
        assert_ok(nb_tokenizer_decode(again, &out, ids.data, ids.n, 0, &err), &err);
        assert_string_equal(out.data, text);
        nb_str_fini(&out);
        nb_ids_fini(&ids);
        nb_tokenizer_destroy(again);
    }
    nb_tokenizer_destroy(tok);
}

/* For tests/interop/tokenizer.py, which has Hugging Face tokenizers read the files. */
static void write_out(const char *name, const struct nb_str *text)
{
    const char *dir = getenv("NB_TOKENIZER_OUT");
    char path[512];
    if (dir == NULL)
        return;
    (void)snprintf(path, sizeof(path), "%s/text_%s.json", dir, name);
    nbtest_write(path, text->data, text->len);
}

static void test_write_json(void **state)
{
    (void)state;
    for (size_t c = 0; c < NB_COUNTOF(cases); c++) {
        struct nb_error err;
        struct nb_tokenizer *tok = load(c), *again;
        struct nb_str first, second;
        nb_str_init(&first, NULL);
        nb_str_init(&second, NULL);
        assert_ok(nb_tokenizer_write_json(tok, &first, &err), &err);
        assert_ok(nb_tokenizer_from_json(&again, first.data, first.len, NULL, 0, NULL, &err), &err);
        assert_ok(nb_tokenizer_write_json(again, &second, &err), &err);
        write_out(cases[c].name, &first);
        assert_int_equal(first.len, second.len);
        assert_memory_equal(first.data, second.data, first.len);
        run_pass(c, again, "written and read");
        nb_tokenizer_destroy(tok);
        nb_tokenizer_destroy(again);
        nb_str_fini(&first);
        nb_str_fini(&second);
    }
}

/* For tests/interop/tokenizer_variants.py: the ids of all lines with the tokenizer.json that it made. */
static void test_other_file(void **state)
{
    (void)state;
    static struct golden_file lines;
    static char buf[16384];
    const char *path = getenv("NB_TOKENIZER_JSON"), *dir = getenv("NB_TOKENIZER_OUT");
    struct nb_error err;
    struct nb_tokenizer *tok;
    struct nb_str out;
    size_t n;
    assert_non_null(dir);
    char *text = (char *)nbtest_read(path, &n);
    assert_ok(nb_tokenizer_from_json(&tok, text, n, NULL, 0, NULL, &err), &err);
    golden_open(&lines, "text_lines.txt");
    nb_str_init(&out, NULL);
    for (size_t i = 0; i < lines.n; i++) {
        struct nb_ids ids;
        nb_ids_init(&ids, NULL);
        n = golden_unescape(buf, lines.lines[i]);
        assert_ok(nb_tokenizer_encode(tok, &ids, buf, n, NB_ENCODE_SPECIAL | NB_ENCODE_ADD, &err),
                  &err);
        for (size_t k = 0; k < ids.n; k++)
            nb_str_printf(&out, k == 0 ? "%d" : " %d", ids.data[k]);
        nb_str_puts(&out, "\n");
        nb_ids_fini(&ids);
    }
    write_out("ids", &out);
    nb_str_fini(&out);
    golden_close(&lines);
    nb_tokenizer_destroy(tok);
    free(text);
}

int main(void)
{
    const struct CMUnitTest all[] = {
        cmocka_unit_test(test_json),   cmocka_unit_test(test_vocab),
        cmocka_unit_test(test_scores), cmocka_unit_test(test_pretokenizers),
        cmocka_unit_test(test_names),  cmocka_unit_test(test_write_json)};
    const struct CMUnitTest other[] = {cmocka_unit_test(test_other_file)};
    return getenv("NB_TOKENIZER_JSON") != NULL ? cmocka_run_group_tests(other, NULL, NULL)
                                               : cmocka_run_group_tests(all, NULL, NULL);
}
