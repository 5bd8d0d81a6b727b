/* Text: growth, JSON literals, numbers, UTF-8, names fit for a message. */
#include "support/nbtest.h"

#include <locale.h>
#include <math.h>

static enum nb_status build(void *ctx, const struct nb_allocator *a)
{
    (void)ctx;
    struct nb_str s;
    nb_str_init(&s, a);
    for (int i = 0; i < 300; i++) {
        nb_str_puts(&s, "line ");
        nb_str_printf(&s, "%d\n", i);
    }
    nb_str_printf(&s, "%01000d", 7); /* longer than the inner buffer */
    const enum nb_status st = nb_str_check(&s, NULL);
    if (st == NB_OK) {
        assert_int_equal(s.len, 300 * 5 + 10 * 2 + 90 * 3 + 200 * 4 + 1000);
        assert_int_equal(strlen(s.data), s.len);
        assert_memory_equal(s.data, "line 0\nline 1\n", 14);
    }
    nb_str_clear(&s);
    assert_int_equal(s.len, 0);
    nb_str_fini(&s);
    return st;
}

static void test_growth_and_failure(void **state)
{
    (void)state;
    assert_true(nbtest_oom(build, NULL) >= 5);
    struct nb_str s;
    struct nb_error err;
    nb_str_init(&s, NULL);
    nb_str_append(&s, "", 0);
    assert_string_equal(s.data, "");
    nb_str_append(&s, "a\0b", 3);
    assert_int_equal(s.len, 3);
    s.failed = true;
    nb_str_puts(&s, "more");
    assert_int_equal(s.len, 3);
    assert_fails(nb_str_check(&s, &err), NB_ERR_NOMEM, &err, NULL);
    nb_str_fini(&s);
}

static void test_json_literal(void **state)
{
    (void)state;
    struct nb_str s;
    nb_str_init(&s, NULL);
    const char in[] = "a\"b\\c\n\t\r\x01\x7f\0é\xff\xe2\x82\xf0\x9f\x98\x80";
    nb_str_json(&s, in, sizeof in - 1);
    assert_string_equal(s.data, "\"a\\\"b\\\\c\\n\\t\\r\\u0001\\u007f\\u0000é"
                                "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xf0\x9f\x98\x80\"");
    nb_str_fini(&s);
}

static void test_integers(void **state)
{
    (void)state;
    uint64_t u = 5;
    int64_t i = 5;
    assert_true(nb_parse_u64("0", &u) && u == 0);
    assert_true(nb_parse_u64("18446744073709551615", &u) && u == UINT64_MAX);
    assert_true(nb_parse_i64("-9223372036854775808", &i) && i == INT64_MIN);
    assert_true(nb_parse_i64("9223372036854775807", &i) && i == INT64_MAX);
    u = 5, i = 5;
    const char *const bad_u[] = {"",
                                 " 1",
                                 "1 ",
                                 "+1",
                                 "-1",
                                 "0x1",
                                 "1e3",
                                 "18446744073709551616",
                                 "1k",
                                 "१",
                                 "99999999999999999999999999"};
    for (size_t k = 0; k < NB_COUNTOF(bad_u); k++)
        assert_false(nb_parse_u64(bad_u[k], &u));
    const char *const bad_i[] = {"",   "-", "--1", "9223372036854775808", "-9223372036854775809",
                                 "- 1"};
    for (size_t k = 0; k < NB_COUNTOF(bad_i); k++)
        assert_false(nb_parse_i64(bad_i[k], &i));
    assert_true(u == 5 && i == 5);
}

static void test_reals(void **state)
{
    (void)state;
    double v = 5;
    const struct {
        const char *text;
        double want;
    } good[] = {{"0", 0},
                {"-0.5", -0.5},
                {"1e-3", 1e-3},
                {".25", .25},
                {"3.", 3},
                {"+4.25", 4.25},
                {"1E+2", 100},
                {"1e-400", 0},
                {"4.25e0", 4.25},
                {"0.1", 0.1},
                {"1.7976931348623157e308", 1.7976931348623157e308}};
    setlocale(LC_ALL, "de_DE.UTF-8"); /* where it is installed, the point is a comma there */
    for (size_t k = 0; k < NB_COUNTOF(good); k++) {
        assert_true(nb_parse_f64(good[k].text, &v));
        assert_true(v == good[k].want);
    }
    v = 5;
    const char *const bad[] = {"",    ".",   "-",   "e5",    "1e",    "1e+",    " 1",   "1 ",
                               "1,5", "nan", "inf", "0x1p3", "1e999", "-1e999", "1.2.3"};
    for (size_t k = 0; k < NB_COUNTOF(bad); k++)
        assert_false(nb_parse_f64(bad[k], &v));
    assert_true(v == 5);
    setlocale(LC_ALL, "C");
}

static void test_utf8_all_code_points(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
        char b[4];
        uint32_t back = 0;
        const size_t n = nb_utf8_put(b, cp);
        if (nb_utf8_next(b, n, &back) != n)
            fail_msg("U+%04X", (unsigned)cp);
        const bool surrogate = cp >= 0xd800 && cp <= 0xdfff;
        if (back != (surrogate ? 0xfffd : cp) || (n > 1 && nb_utf8_next(b, n - 1, &back) != 0))
            fail_msg("U+%04X", (unsigned)cp);
    }
}

static void test_utf8_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {{"", 0},
               {"\x80", 1},
               {"\xbf", 1},
               {"\xc0\x80", 2}, /* too long a form */
               {"\xc1\xbf", 2},
               {"\xe0\x80\x80", 3},
               {"\xe0\x9f\xbf", 3},
               {"\xf0\x80\x80\x80", 4},
               {"\xf0\x8f\xbf\xbf", 4},
               {"\xed\xa0\x80", 3}, /* a surrogate */
               {"\xed\xbf\xbf", 3},
               {"\xf4\x90\x80\x80", 4}, /* above U+10FFFF */
               {"\xf5\x80\x80\x80", 4},
               {"\xf8\x88\x80\x80", 4},
               {"\xff", 1},
               {"\xe2\x82", 2},
               {"\xe2\x28\xa1", 3},
               {"\xc3(", 2}};
    uint32_t cp = 0;
    for (size_t i = 0; i < NB_COUNTOF(bad); i++)
        assert_int_equal(nb_utf8_next(bad[i].bytes, bad[i].n, &cp), 0);
}

static void test_printable(void **state)
{
    (void)state;
    char d[32];
    assert_string_equal(nb_printable(d, sizeof d, "h.0.wé", 7), "h.0.wé");
    assert_string_equal(nb_printable(d, sizeof d, "a\x1b[31m\xff", 7), "a\\x1b[31m\\xff");
    assert_string_equal(nb_printable(d, sizeof d, "a\0b", 3), "a\\x00b");
    assert_string_equal(nb_printable(d, sizeof d, "\xe2\x80\xae", 3), "\\xe2\\x80\\xae");
    assert_string_equal(nb_printable(d, 8, "abcdefg", 7), "abcdefg");
    assert_string_equal(nb_printable(d, 8, "abcdefgh", 8), "abcd...");
    assert_string_equal(nb_printable(d, 8, "abcé\x01zz", 8), "abc...");
    assert_string_equal(nb_printable(d, 3, "abcdef", 6), "..");
    assert_string_equal(nb_printable(d, 1, "abcdef", 6), "");
    assert_string_equal(nb_printable(d, 8, "", 0), "");
    for (size_t cap = 1; cap < 24; cap++) { /* never past the end */
        memset(d, 'Z', sizeof d);
        nb_printable(d, cap, "\x01é\xff€😀abcdefghij", 22);
        assert_true(strlen(d) < cap);
        assert_int_equal(d[cap], 'Z');
    }
}

static void test_comparisons(void **state)
{
    (void)state;
    assert_true(nb_str_eq("a", "a"));
    assert_false(nb_str_eq("a", "b"));
    assert_true(nb_str_eq(NULL, NULL));
    assert_false(nb_str_eq(NULL, ""));
    assert_true(nb_str_starts("model.layers", "model."));
    assert_false(nb_str_starts("mod", "model."));
    assert_true(nb_str_ends("x.gguf", ".gguf"));
    assert_false(nb_str_ends("guf", ".gguf"));
    assert_true(nb_str_ends("x", ""));
}

NB_TEST_MAIN(cmocka_unit_test(test_growth_and_failure), cmocka_unit_test(test_json_literal),
             cmocka_unit_test(test_integers), cmocka_unit_test(test_reals),
             cmocka_unit_test(test_utf8_all_code_points), cmocka_unit_test(test_utf8_refuses),
             cmocka_unit_test(test_printable), cmocka_unit_test(test_comparisons))
