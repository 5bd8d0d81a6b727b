/* Rotary embeddings in config.json: both forms, rules of architectures, round trips, wrong values. */
#include "support/rope_config.h"

static struct nb_error err;

static void round_trip(const struct nb_arch *arch, const char *text)
{
    struct nb_hparams a, b;
    struct nb_str s;
    nb_json *root;
    assert_ok(rope_read(&a, arch, text, &err), &err);
    nb_str_init(&s, NULL);
    nb_str_puts(&s, "{");
    assert_ok(arch->to_hf(&a, &s, &err), &err);
    nb_str_puts(&s, "\"x\": 1}");
    assert_ok(nb_json_parse(&root, s.data, s.len, "config.json", &err), &err);
    assert_ok(nb_arch_from_hf(arch, &b, root, &err), &err);
    assert_memory_equal(&a, &b, sizeof a);
    nb_json_free(root);
    nb_str_fini(&s);
}

static void test_round_trips(void **state)
{
    (void)state;
    const struct nb_arch arch = rope_arch(NULL);
    for (size_t i = 0; i < NB_COUNTOF(rope_configs); i++)
        round_trip(&arch, rope_configs[i]);
}

/* The old form and the new say the same. */
static void test_forms(void **state)
{
    (void)state;
    const struct nb_arch arch = rope_arch(NULL);
    struct nb_hparams a, b;
    assert_ok(
        rope_read(&a, &arch,
                  "\"rope_theta\": 700, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4, "
                  "\"rope_type\": \"yarn\"}",
                  &err),
        &err);
    assert_ok(rope_read(&b, &arch,
                        "\"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 4.0, "
                        "\"rope_theta\": 700.0, \"partial_rotary_factor\": 1.0}",
                        &err),
              &err);
    assert_memory_equal(&a, &b, sizeof a);
    assert_ok(rope_read(&b, &arch,
                        "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"yarn\", "
                        "\"factor\": 4, \"rope_theta\": 700}, \"sliding_attention\": "
                        "{\"rope_type\": \"yarn\", \"factor\": 4, \"rope_theta\": 700}}",
                        &err),
              &err);
    assert_memory_equal(&a, &b, sizeof a);
    assert_fails(rope_read(&b, &arch,
                           "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\", "
                           "\"rope_theta\": 700}, \"sliding_attention\": "
                           "{\"rope_type\": \"default\", \"rope_theta\": 701}}",
                           &err),
                 NB_ERR_UNSUPPORTED, &err, "architecture llama rotates all layers alike");
}

static void test_partial(void **state)
{
    (void)state;
    const struct nb_rope_rules half = {.partial = true};
    const struct nb_rope_rules neox = {
        .base_key = "rotary_emb_base", .part_key = "rotary_pct", .part = 0.25, .partial = true};
    struct nb_arch arch = rope_arch(&half);
    struct nb_hparams hp;
    assert_ok(rope_read(&hp, &arch, "\"partial_rotary_factor\": 0.5", &err), &err);
    assert_int_equal(hp.rope.dim, 8);
    assert_ok(rope_read(&hp, &arch,
                        "\"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 2, "
                        "\"rope_theta\": 77, \"partial_rotary_factor\": 0.25}",
                        &err),
              &err);
    assert_int_equal(hp.rope.dim, 4);
    assert_bits(hp.rope.base, 77.0F);
    assert_fails(rope_read(&hp, &arch, "\"partial_rotary_factor\": 0", &err), NB_ERR_FORMAT, &err,
                 "turns 0 dimensions of 16, expected an even number");
    assert_fails(rope_read(&hp, &arch, "\"partial_rotary_factor\": 0.2", &err), NB_ERR_FORMAT, &err,
                 "turns 3 dimensions of 16, expected an even number");
    round_trip(&arch, "\"partial_rotary_factor\": 0.375");
    arch = rope_arch(&neox);
    assert_ok(rope_read(&hp, &arch, "", &err), &err);
    assert_int_equal(hp.rope.dim, 4);
    assert_bits(hp.rope.base, 10000.0F);
    assert_ok(rope_read(&hp, &arch, "\"rotary_pct\": 1.0, \"rotary_emb_base\": 123", &err), &err);
    assert_int_equal(hp.rope.dim, 16);
    assert_bits(hp.rope.base, 123.0F);
    round_trip(&arch, "\"rotary_pct\": 1.0, \"rotary_emb_base\": 123");
    round_trip(&arch, "");
}

/* Every even share of every small head comes back. */
static void test_shares(void **state)
{
    (void)state;
    const struct nb_rope_rules half = {.partial = true};
    const struct nb_arch arch = rope_arch(&half);
    struct nb_hparams hp, back;
    char text[64];
    assert_ok(rope_read(&hp, &arch, "", &err), &err);
    for (uint32_t head = 2; head <= 256; head += 2)
        for (hp.rope.dim = 2; hp.rope.dim <= head; hp.rope.dim += 2) {
            struct nb_str s;
            nb_json *root;
            hp.head_dim = head;
            nb_str_init(&s, NULL);
            nb_str_puts(&s, "{");
            assert_ok(arch.to_hf(&hp, &s, &err), &err);
            nb_str_puts(&s, "\"x\": 1}");
            assert_ok(nb_json_parse(&root, s.data, s.len, "config.json", &err), &err);
            assert_ok(nb_arch_from_hf(&arch, &back, root, &err), &err);
            (void)snprintf(text, sizeof text, "%u of %u", hp.rope.dim, head);
            if (back.rope.dim != hp.rope.dim)
                fail_msg("%s came back as %u", text, back.rope.dim);
            nb_json_free(root);
            nb_str_fini(&s);
        }
}

static void test_local(void **state)
{
    (void)state;
    const struct nb_rope_rules gemma = {
        .base = 1e6F, .local = true, .local_base_key = "rope_local_base_freq", .local_base = 1e4F};
    const struct nb_arch arch = rope_arch(&gemma);
    struct nb_hparams a, b;
    const char *old = "\"rope_theta\": 2000, \"rope_local_base_freq\": 300, "
                      "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8}";
    const char *nested = "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", "
                         "\"factor\": 8, \"rope_theta\": 2000}, \"sliding_attention\": "
                         "{\"rope_type\": \"default\", \"rope_theta\": 300}}";
    const char *both = "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", "
                       "\"factor\": 8, \"rope_theta\": 2000}, \"sliding_attention\": "
                       "{\"rope_type\": \"yarn\", \"factor\": 2, \"rope_theta\": 300}}";
    assert_ok(rope_read(&a, &arch, "", &err), &err);
    assert_bits(a.rope.base, 1e6F);
    assert_bits(a.rope_local.base, 1e4F);
    assert_int_equal(a.rope_local.dim, 16);
    assert_ok(rope_read(&a, &arch, old, &err), &err);
    assert_bits(a.rope.base, 2000.0F);
    assert_int_equal(a.rope.scaling, NB_ROPE_LINEAR);
    assert_bits(a.rope_local.base, 300.0F);
    assert_int_equal(a.rope_local.scaling, NB_ROPE_NONE);
    assert_ok(rope_read(&b, &arch, nested, &err), &err);
    assert_memory_equal(&a, &b, sizeof a);
    assert_ok(rope_read(&b, &arch, both, &err), &err);
    assert_int_equal(b.rope_local.scaling, NB_ROPE_YARN);
    round_trip(&arch, old);
    round_trip(&arch, nested);
    round_trip(&arch, both);
    round_trip(&arch, "");
}

static void test_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *scaling;
        enum nb_status status;
        const char *message;
    } cases[] = {
        {"{\"type\": 4}", NB_ERR_UNSUPPORTED, "no 'rope_type' text"},
        {"{\"type\": \"ntk\"}", NB_ERR_UNSUPPORTED, "of type 'ntk', supported are default"},
        {"{\"type\": \"dynamic\"}", NB_ERR_FORMAT, "has no 'factor'"},
        {"{\"type\": \"yarn\"}", NB_ERR_FORMAT, "has no 'factor'"},
        {"{\"type\": \"yarn\", \"factor\": 0.5}", NB_ERR_FORMAT, "factor is 0.5, expected 1.."},
        {"{\"type\": \"yarn\", \"factor\": 1e9}", NB_ERR_FORMAT, "factor is 1e+09"},
        {"{\"type\": \"yarn\", \"factor\": \"x\"}", NB_ERR_FORMAT, "factor is no number"},
        {"{\"type\": \"yarn\", \"factor\": 2, \"attention_factor\": 0}", NB_ERR_FORMAT,
         "attention_factor is 0"},
        {"{\"type\": \"yarn\", \"factor\": 2, \"beta_fast\": -1}", NB_ERR_FORMAT,
         "beta_fast is -1"},
        {"{\"type\": \"yarn\", \"factor\": 2, \"truncate\": 1}", NB_ERR_FORMAT,
         "truncate is not true or false"},
        {"{\"type\": \"yarn\", \"factor\": 2, \"original_max_position_embeddings\": 0}",
         NB_ERR_FORMAT, "original_max_position_embeddings is no whole number in 1.."},
        {"{\"type\": \"yarn\", \"factor\": 2, \"original_max_position_embeddings\": 4294967297}",
         NB_ERR_FORMAT, "original_max_position_embeddings is no whole number in 1.."},
        {"{\"type\": \"yarn\", \"factor\": 2, \"rope_theta\": 1}", NB_ERR_FORMAT,
         "yarn with a base of 1"},
        {"{\"type\": \"longrope\", \"factor\": 2}", NB_ERR_FORMAT,
         "wants a list 'short_factor' of 8 numbers"},
        {"{\"type\": \"longrope\", \"short_factor\": [1, 2, 3]}", NB_ERR_FORMAT,
         "wants a list 'short_factor' of 8 numbers"},
        {"{\"type\": \"longrope\", \"short_factor\": [1, 2, 3, 4, 5, 6, 7, 0]}", NB_ERR_FORMAT,
         "element 7 of short_factor is no number in 0.001.."},
        {"{\"type\": \"longrope\", \"short_factor\": [1, 2, 3, 4, 5, 6, 7, null]}", NB_ERR_FORMAT,
         "element 7 of short_factor"},
        {"{\"type\": \"longrope\", \"original_max_position_embeddings\": 1, " ROPE_LISTS "}",
         NB_ERR_FORMAT, "original context of 1 positions, longrope wants at least 2"},
    };
    const struct nb_arch arch = rope_arch(NULL);
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        struct nb_hparams hp;
        char text[512];
        (void)snprintf(text, sizeof text, "\"rope_scaling\": %s", cases[i].scaling);
        assert_fails(rope_read(&hp, &arch, text, &err), cases[i].status, &err, cases[i].message);
    }
}

static void test_wrong_sizes(void **state)
{
    (void)state;
    const struct nb_rope_rules half = {.partial = true};
    const struct nb_arch arch = rope_arch(&half);
    struct nb_hparams hp;
    assert_fails(rope_read(&hp, &arch,
                           "\"head_dim\": 4, \"partial_rotary_factor\": 0.5, \"rope_scaling\": "
                           "{\"type\": \"dynamic\", \"factor\": 2}",
                           &err),
                 NB_ERR_FORMAT, &err, "dynamic scaling of 2 dimensions");
    assert_fails(
        rope_read(&hp, &arch,
                  "\"head_dim\": 258, \"rope_scaling\": {\"type\": \"longrope\", " ROPE_LISTS "}",
                  &err),
        NB_ERR_UNSUPPORTED, &err, "longrope of 258 dimensions, supported are up to 256");
    assert_fails(rope_read(&hp, &arch, "\"partial_rotary_factor\": 1.5", &err), NB_ERR_FORMAT, &err,
                 "partial_rotary_factor is no number in 0..1");
}

/* What only a GGUF file can hold is not written down as something else. */
static void test_unsayable(void **state)
{
    (void)state;
    const struct nb_arch arch = rope_arch(NULL);
    struct nb_hparams hp;
    struct nb_str s;
    nb_str_init(&s, NULL);
    assert_ok(rope_read(&hp, &arch, "", &err), &err);
    hp.rope.attention = 1.5F;
    assert_fails(arch.to_hf(&hp, &s, &err), NB_ERR_UNSUPPORTED, &err,
                 "an attention factor of 1.5 with rope_type 'default'");
    nb_str_fini(&s);
}

NB_TEST_MAIN(cmocka_unit_test(test_round_trips), cmocka_unit_test(test_forms),
             cmocka_unit_test(test_partial), cmocka_unit_test(test_shares),
             cmocka_unit_test(test_local), cmocka_unit_test(test_wrong),
             cmocka_unit_test(test_wrong_sizes), cmocka_unit_test(test_unsayable))
