/* Rotary embeddings in GGUF metadata: round trips, what the common keys mean alone, wrong values. */
#include <math.h>

#include "support/rope_config.h"

static struct nb_error err;

/* Lists travel as tensors. */
static void copy_lists(struct nb_rope *to, const struct nb_rope *from)
{
    memcpy(to->long_factor, from->long_factor, sizeof to->long_factor);
    memcpy(to->short_factor, from->short_factor, sizeof to->short_factor);
}

static void round_trip(const struct nb_arch *arch, const char *text)
{
    struct nb_hparams a, b;
    struct nb_meta meta;
    assert_ok(rope_read(&a, arch, text, &err), &err);
    nb_meta_init(&meta, NULL);
    assert_ok(nb_arch_to_meta(&a, &meta, &err), &err);
    assert_ok(nb_arch_from_meta(arch, &b, &meta, &err), &err);
    b.tied = a.tied; /* said by the tensors */
    copy_lists(&b.rope, &a.rope);
    assert_memory_equal(&a, &b, sizeof a);
    nb_meta_fini(&meta);
}

static void test_round_trips(void **state)
{
    (void)state;
    const struct nb_arch arch = rope_arch(NULL);
    const struct nb_rope_rules rules = {.partial = true, .local = true, .local_base = 500.0F};
    const struct nb_arch local = rope_arch(&rules);
    for (size_t i = 0; i < NB_COUNTOF(rope_configs); i++) {
        round_trip(&arch, rope_configs[i]);
        round_trip(&local, rope_configs[i]);
    }
    round_trip(&local, "\"partial_rotary_factor\": 0.5");
    round_trip(&local, "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\"}, "
                       "\"sliding_attention\": {\"rope_type\": \"yarn\", \"factor\": 4, "
                       "\"mscale\": 2, \"rope_theta\": 77, \"partial_rotary_factor\": 0.25}}");
}

/* What metadata means, from llama's own keys: text values are strings, others floats; "original..." u32. */
struct entry {
    const char *suffix, *text;
    float value;
};

static enum nb_status read_entries(struct nb_rope *out, const struct entry *e, size_t n)
{
    const struct nb_arch arch = rope_arch(NULL);
    struct nb_hparams hp;
    struct nb_meta meta;
    assert_ok(rope_read(&hp, &arch, "", &err), &err);
    nb_meta_init(&meta, NULL);
    assert_ok(nb_arch_to_meta(&hp, &meta, &err), &err);
    for (size_t i = 0; i < n; i++) {
        char key[96];
        const bool own = strncmp(e[i].suffix, "nibble.", 7) == 0;
        (void)snprintf(key, sizeof key, "%s%s", own ? "" : "llama.rope.", e[i].suffix);
        if (e[i].text != NULL)
            assert_ok(nb_meta_set_text(&meta, key, e[i].text, strlen(e[i].text)), NULL);
        else if (strstr(key, "original_context") != NULL)
            assert_ok(nb_meta_set_u32(&meta, key, (uint32_t)e[i].value), NULL);
        else
            assert_ok(nb_meta_set_f32(&meta, key, e[i].value), NULL);
    }
    const enum nb_status st = nb_arch_from_meta(&arch, &hp, &meta, &err);
    nb_meta_fini(&meta);
    *out = hp.rope;
    return st;
}

/* attn_factor comes on top of yarn's own. */
static void test_yarn(void **state)
{
    (void)state;
    struct nb_rope r;
    const struct entry e[] = {{"scaling.type", "yarn", 0},
                              {"scaling.factor", NULL, 4},
                              {"scaling.original_context_length", NULL, 32},
                              {"scaling.attn_factor", NULL, 0.5F}};
    assert_ok(read_entries(&r, e, 3), &err);
    assert_int_equal(r.scaling, NB_ROPE_YARN);
    assert_int_equal(r.ctx_orig, 32);
    assert_close(nb_rope_table_scale(&r, 100), 0.1 * log(4) + 1, 1e-7);
    assert_ok(read_entries(&r, e, 4), &err);
    assert_close(nb_rope_table_scale(&r, 100), 0.5 * (0.1 * log(4) + 1), 1e-7);
    const struct entry log_multiplier[] = {{"scaling.type", "yarn", 0},
                                           {"scaling.factor", NULL, 4},
                                           {"scaling.yarn_log_multiplier", NULL, 0.5F}};
    assert_ok(read_entries(&r, log_multiplier, 3), &err);
    assert_close(nb_rope_table_scale(&r, 100), (0.1 * log(4) + 1) / (0.05 * log(4) + 1), 1e-7);
}

static void test_written_attention(void **state)
{
    (void)state;
    const struct nb_arch arch = rope_arch(NULL);
    struct nb_hparams hp;
    for (size_t i = 7; i < NB_COUNTOF(rope_configs); i++) {
        struct nb_meta meta;
        float factor = 1.0F;
        assert_ok(rope_read(&hp, &arch, rope_configs[i], &err), &err);
        nb_meta_init(&meta, NULL);
        assert_ok(nb_arch_to_meta(&hp, &meta, &err), &err);
        (void)nb_meta_f32(&meta, "llama.rope.scaling.attn_factor", &factor);
        double whole = (double)factor;
        if (hp.rope.scaling == NB_ROPE_YARN)
            whole *= 0.1 * log(hp.rope.factor > 0.0F ? (double)hp.rope.factor : 4.0) + 1;
        assert_close(whole, nb_rope_table_scale(&hp.rope, 128), 1e-6);
        nb_meta_fini(&meta);
    }
}

/* Our keys count while the common ones agree with them. */
static void test_own_keys(void **state)
{
    (void)state;
    struct nb_rope r;
    const struct entry dynamic[] = {{"nibble.rope.rope_type", "dynamic", 0},
                                    {"nibble.rope.factor", NULL, 4},
                                    {"scaling.type", "linear", 0},
                                    {"scaling.factor", NULL, 2}};
    assert_ok(read_entries(&r, dynamic, 2), &err);
    assert_int_equal(r.scaling, NB_ROPE_DYNAMIC);
    assert_bits(r.factor, 4.0F);
    assert_ok(read_entries(&r, dynamic, 4), &err);
    assert_int_equal(r.scaling, NB_ROPE_LINEAR);
    assert_bits(r.factor, 2.0F);
    const struct entry stranger[] = {{"nibble.rope.rope_type", "spiral", 0}};
    assert_ok(read_entries(&r, stranger, 1), &err);
    assert_int_equal(r.scaling, NB_ROPE_NONE);
}

static bool has_lists(void *ctx, const char *name)
{
    (void)ctx;
    return strncmp(name, "rope_factors_", 13) == 0;
}

/* Files of other writers name no type: the lists say it, and their factor is 1 unless a key says more. */
static void test_lists_alone(void **state)
{
    (void)state;
    struct nb_hparams hp = {.arch = nb_arch_by_name("llama"), .head_dim = 16};
    const struct entry e[] = {{"scaling.original_context_length", NULL, 16},
                              {"scaling.attn_factor", NULL, 1.5F}};
    assert_ok(read_entries(&hp.rope, e, 1), &err);
    nb_arch_detect(&hp, has_lists, NULL);
    assert_int_equal(hp.rope.scaling, NB_ROPE_LONGROPE);
    assert_int_equal(hp.rope.ctx_orig, 16);
    assert_close(nb_rope_table_scale(&hp.rope, 100), 1.0, 0);
    assert_ok(read_entries(&hp.rope, e, 2), &err);
    nb_arch_detect(&hp, has_lists, NULL);
    assert_close(nb_rope_table_scale(&hp.rope, 100), 1.5, 0);
}

static void test_wrong(void **state)
{
    (void)state;
    static const struct {
        struct entry e[3];
        enum nb_status status;
        const char *message;
    } cases[] = {
        {{{"scaling.type", "mrope", 0}}, NB_ERR_UNSUPPORTED, "is 'mrope', supported are none"},
        {{{"scaling.type", "yarn", 0}, {"scaling.factor", NULL, -1}},
         NB_ERR_FORMAT,
         "factor is -1"},
        {{{"scaling.type", "yarn", 0}, {"scaling.original_context_length", NULL, 0}},
         NB_ERR_FORMAT,
         "original_context_length is no whole number"},
        {{{"scaling.type", "yarn", 0}, {"freq_base", NULL, 1}},
         NB_ERR_FORMAT,
         "yarn with a base of 1"},
        {{{"scaling.type", "yarn", 0}, {"scaling.yarn_ext_factor", NULL, 0.5F}},
         NB_ERR_UNSUPPORTED,
         "yarn_ext_factor is 0.5, expected 1"},
        {{{"scaling.type", "longrope", 0}, {"scaling.factor", NULL, 4}},
         NB_ERR_UNSUPPORTED,
         "factor is 4 beside longrope"},
        {{{"scaling.attn_factor", NULL, 0}}, NB_ERR_FORMAT, "attn_factor is 0"},
        {{{"nibble.rope.rope_type", "dynamic", 0}}, NB_ERR_FORMAT, "nibble.rope has no 'factor'"},
        {{{"nibble.rope.rope_type", "dynamic", 0}, {"nibble.rope.factor", "2", 0}},
         NB_ERR_FORMAT,
         "nibble.rope.factor is no number in 1.."},
    };
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        struct nb_rope r;
        size_t n = 0;
        while (n < 3 && cases[i].e[n].suffix != NULL)
            n++;
        assert_fails(read_entries(&r, cases[i].e, n), cases[i].status, &err, cases[i].message);
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_round_trips), cmocka_unit_test(test_yarn),
             cmocka_unit_test(test_written_attention), cmocka_unit_test(test_own_keys),
             cmocka_unit_test(test_lists_alone), cmocka_unit_test(test_wrong))
