/* Recipes as JSON: there and back, and what is refused. */
#include "quant/quant.h"
#include "support/nbtest.h"

static void test_round_trip(void **state)
{
    (void)state;
    struct nb_recipe a, b;
    struct nb_error err;
    struct nb_str first, second;
    nb_recipe_init(&a, NULL);
    nb_recipe_init(&b, NULL);
    assert_string_equal(a.type, "q4_k_m");
    a.type = "q6_k";
    a.output_type = "q8_0";
    a.pure = true;
    a.imatrix = "0123456789abcdef0123456789abcdef";
    assert_ok(nb_recipe_add_rule(&a, "blk\\.[0-3]\\.\"attn", "q8_0", &err), &err);
    assert_ok(nb_recipe_add_rule(&a, "ffn_down", "f16", &err), &err);
    nb_str_init(&first, NULL);
    nb_str_init(&second, NULL);
    nb_recipe_write(&a, &first);
    assert_ok(nb_recipe_from_json(&b, first.data, first.len, &err), &err);
    nb_recipe_write(&b, &second);
    assert_string_equal(first.data, second.data);
    assert_int_equal(b.n_rules, 2);
    assert_string_equal(b.rules[0].regex, "blk\\.[0-3]\\.\"attn");
    assert_string_equal(b.imatrix, a.imatrix);
    assert_null(b.embedding_type);
    nb_str_fini(&first);
    nb_str_fini(&second);
    nb_recipe_fini(&a);
    nb_recipe_fini(&b);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum nb_status status;
        const char *message;
    } cases[] = {
        {"", NB_ERR_FORMAT, "recipe"},
        {"[]", NB_ERR_FORMAT, "not a JSON object"},
        {"{}", NB_ERR_FORMAT, "type is missing"},
        {"{\"type\": 3}", NB_ERR_FORMAT, "type is no text"},
        {"{\"type\": \"q\\u0000x\"}", NB_ERR_FORMAT, "recipe"},
        {"{\"type\": \"q8_0\", \"colour\": 1}", NB_ERR_UNSUPPORTED, "unknown key 'colour'"},
        {"{\"type\": \"q8_0\", \"nibble\": 2}", NB_ERR_UNSUPPORTED, "its version, expected 1"},
        {"{\"type\": \"q8_0\", \"method\": \"magic\"}", NB_ERR_UNSUPPORTED, "unknown method"},
        {"{\"type\": \"q8_0\", \"pure\": 1}", NB_ERR_FORMAT, "pure is not true or false"},
        {"{\"type\": \"q8_0\", \"rules\": {}}", NB_ERR_FORMAT, "rules is no array"},
        {"{\"type\": \"q8_0\", \"rules\": [{\"regex\": \"a\"}]}", NB_ERR_FORMAT, "rule 0"},
        {"{\"type\": \"q8_0\", \"rules\": [{\"regex\": \"\", \"type\": \"f16\"}]}", NB_ERR_ARG,
         "a rule needs a pattern"},
    };
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        struct nb_recipe r;
        struct nb_error err = {0};
        nb_recipe_init(&r, NULL);
        assert_fails(nb_recipe_from_json(&r, cases[i].text, strlen(cases[i].text), &err),
                     cases[i].status, &err, cases[i].message);
        nb_recipe_fini(&r);
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_round_trip), cmocka_unit_test(test_refused))
