/* JSON: types, order, exact integers, refusals with the line. */
#include "support/nbtest.h"

static nb_json *parse(const char *text)
{
    nb_json *root = NULL;
    struct nb_error err;
    assert_ok(nb_json_parse(&root, text, strlen(text), "t.json", &err), &err);
    return root;
}

static void test_values(void **state)
{
    (void)state;
    nb_json *r = parse("{\"z\": 9007199254740993, \"a\": 1.5, \"s\": \"x\\u0000y\", \"t\": true,"
                       " \"n\": null, \"l\": [1, -2], \"o\": {}}");
    int64_t i;
    double d;
    bool b;
    size_t len;
    assert_true(nb_json_int(nb_json_get(r, "z"), &i) && i == INT64_C(9007199254740993));
    assert_true(nb_json_real(nb_json_get(r, "a"), &d) && d == 1.5);
    assert_true(nb_json_real(nb_json_get(nb_json_get(r, "o"), "q"), &d) == false);
    assert_false(nb_json_int(nb_json_get(r, "a"), &i));
    assert_true(nb_json_real(nb_json_at(nb_json_get(r, "l"), 1), &d) && d == -2);
    assert_true(nb_json_bool(nb_json_get(r, "t"), &b) && b);
    assert_false(nb_json_bool(nb_json_get(r, "n"), &b));
    assert_memory_equal(nb_json_string(nb_json_get(r, "s"), &len), "x\0y", 4);
    assert_int_equal(len, 3);
    assert_null(nb_json_string(nb_json_get(r, "z"), NULL));
    assert_null(nb_json_get(nb_json_get(r, "l"), "z"));
    assert_null(nb_json_get(NULL, "z"));
    assert_null(nb_json_at(nb_json_get(r, "l"), 2));
    assert_int_equal(nb_json_size(r), 7);
    assert_int_equal(nb_json_size(nb_json_get(r, "l")), 2);
    assert_int_equal(nb_json_size(nb_json_get(r, "z")), 0);
    static const enum nb_json_type types[] = {NB_JSON_INT,   NB_JSON_REAL, NB_JSON_STRING,
                                              NB_JSON_BOOL,  NB_JSON_NULL, NB_JSON_ARRAY,
                                              NB_JSON_OBJECT};
    const char *order = "zastnlo"; /* the file's */
    for (void *it = nb_json_iter(r); it != NULL; it = nb_json_next(r, it), order++) {
        assert_int_equal(*nb_json_key(it, &len), *order);
        assert_int_equal(len, 1);
        assert_int_equal(nb_json_type(nb_json_value(it)), types[7 - strlen(order)]);
    }
    assert_int_equal(*order, '\0');
    assert_int_equal(nb_json_type(NULL), NB_JSON_MISSING);
    assert_null(nb_json_iter(NULL));
    nb_json_free(r);
    nb_json_free(NULL);
}

static void test_huge_integers(void **state)
{
    (void)state;
    /* As tokenizer_config.json has it; the integer beside it stays exact, strings are not touched. */
    nb_json *r = parse("{\"max\": 1000000000000000019884624838656, \"n\": -9223372036854775808,"
                       "\"s\": \"\\\"99999999999999999999\\\\\", \"l\": [9223372036854775808]}");
    int64_t i;
    double d;
    assert_false(nb_json_int(nb_json_get(r, "max"), &i));
    assert_true(nb_json_real(nb_json_get(r, "max"), &d) && d == 1e30);
    assert_true(nb_json_int(nb_json_get(r, "n"), &i) && i == INT64_MIN);
    assert_string_equal(nb_json_string(nb_json_get(r, "s"), NULL), "\"99999999999999999999\\");
    assert_true(nb_json_real(nb_json_at(nb_json_get(r, "l"), 0), &d) && d == 0x1p63);
    nb_json_free(r);
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "{",
                                      "{\"a\": 1,}",
                                      "{\"a\": 1} x",
                                      "[1 2]",
                                      "nul",
                                      "\"\xff\"",
                                      "{\"a\":1,\"a\":2}",
                                      "[1e999]",
                                      "[01]",
                                      "[99999999999999999999",
                                      "{1: 2}",
                                      "[\"\\ud800\"]",
                                      "[99999999999999999999\"",
                                      "[99999999999999999999, \"\\"};
    for (size_t i = 0; i < NB_COUNTOF(bad); i++) {
        nb_json *root = NULL;
        struct nb_error err;
        assert_fails(nb_json_parse(&root, bad[i], strlen(bad[i]), "t.json", &err), NB_ERR_FORMAT,
                     &err, "t.json: line 1: ");
        assert_null(root);
    }
    nb_json *root = NULL;
    struct nb_error err;
    assert_fails(nb_json_parse(&root, "{\n\"a\": \n\x1b[1m}", 13, "t.json", &err), NB_ERR_FORMAT,
                 &err, "t.json: line 3: ");
    assert_null(strchr(err.message, 0x1b));
    char deep[5000];
    memset(deep, '[', sizeof deep);
    assert_fails(nb_json_parse(&root, deep, sizeof deep, "t.json", &err), NB_ERR_FORMAT, &err,
                 "depth");
}

NB_TEST_MAIN(cmocka_unit_test(test_values), cmocka_unit_test(test_huge_integers),
             cmocka_unit_test(test_refusals))
