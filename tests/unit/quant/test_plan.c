/* Plans: the type of every tensor, sizes, fallbacks, and what is refused before any work. */
#include "unit/quant/quant_case.h"

static struct nb_quant_plan *plan(const struct nb_model *m, const struct nb_recipe *r,
                                  const char *out)
{
    struct nb_quant_plan *p;
    struct nb_error err;
    assert_ok(case_plan(&p, m, r, out, &err), &err);
    return p;
}

static void refuse(const struct nb_model *m, const struct nb_recipe *r, const char *out,
                   enum nb_status want, const char *message)
{
    struct nb_quant_plan *p;
    struct nb_error err = {0};
    assert_fails(case_plan(&p, m, r, out, &err), want, &err, message);
    assert_null(p);
}

/* The bundled model: 6 layers, rows of 256 and 768, tied. */
static void test_mix(void **state)
{
    (void)state;
    struct nb_model *m = case_open(nbtest_model("tiny-7m"));
    struct nb_recipe r;
    nb_recipe_init(&r, NULL);
    struct nb_quant_plan *p = plan(m, &r, nbtest_tmp("x.gguf"));
    assert_type(p, "token_embd.weight", "q6_k"); /* it is the head */
    assert_type(p, "blk.0.attn_q.weight", "q4_k");
    assert_type(p, "blk.0.attn_v.weight", "q4_k");
    assert_type(p, "blk.2.attn_v.weight", "q6_k");
    assert_type(p, "blk.5.ffn_down.weight", "q6_k");
    assert_type(p, "blk.4.ffn_down.weight", "q4_k");
    assert_type(p, "blk.0.attn_norm.weight", "f32");
    assert_int_equal(p->gguf_ftype, 15);
    assert_true(p->bpw_layers > 4.5 && p->bpw_layers < 5.0 && p->seconds > 0.0);
    assert_false(nb_path_exists(nbtest_tmp("x.gguf")));
    nb_quant_plan_destroy(p);
    r.type = "q4_k_s";
    p = plan(m, &r, nbtest_tmp("x.gguf"));
    assert_type(p, "blk.3.attn_v.weight", "q5_k");
    assert_type(p, "blk.4.attn_v.weight", "q4_k");
    assert_type(p, "blk.0.ffn_down.weight", "q4_k");
    nb_quant_plan_destroy(p);
    r.type = "q4_0";
    r.pure = true;
    p = plan(m, &r, nbtest_tmp("x.gguf"));
    assert_type(p, "token_embd.weight", "q4_0");
    nb_quant_plan_destroy(p);
    nb_recipe_fini(&r);
    nb_model_close(m);
}

static void test_rules(void **state)
{
    (void)state;
    struct nb_model *m = case_open(nbtest_model("tiny-7m"));
    struct nb_recipe r;
    struct nb_error err;
    nb_recipe_init(&r, NULL);
    r.output_type = "q8_0";
    assert_ok(nb_recipe_add_rule(&r, "blk\\.[01]\\.attn_[qk]", "q8_0", &err), &err);
    assert_ok(nb_recipe_add_rule(&r, "attn", "f16", &err), &err);
    struct nb_quant_plan *p = plan(m, &r, nbtest_tmp("x.gguf"));
    assert_type(p, "blk.0.attn_q.weight", "q8_0");
    assert_type(p, "blk.2.attn_q.weight", "f16");
    assert_type(p, "blk.0.attn_norm.weight", "f32");
    assert_type(p, "token_embd.weight", "q8_0");
    assert_type(p, "blk.0.ffn_up.weight", "q4_k");
    assert_non_null(case_tensor(p, "blk.0.attn_q.weight")->note);
    assert_null(case_tensor(p, "blk.0.ffn_up.weight")->note);
    nb_quant_plan_destroy(p);
    r.embedding_type = "q4_0";
    p = plan(m, &r, nbtest_tmp("x.gguf"));
    assert_type(p, "token_embd.weight", "q4_0");
    nb_quant_plan_destroy(p);
    nb_recipe_fini(&r);
    nb_model_close(m);
}

/* Rows of 64 and 96 fit no block of 256; rows of 40 not even one of 32. */
static void test_fallbacks(void **state)
{
    (void)state;
    struct nb_recipe r;
    nb_recipe_init(&r, NULL);
    struct nb_model *m = case_open(tiny_hf_write("narrow", &(struct tiny_hf){0}));
    struct nb_quant_plan *p = plan(m, &r, nbtest_tmp("x.gguf"));
    assert_type(p, "blk.0.attn_q.weight", "q5_0");
    assert_type(p, "token_embd.weight", "q8_0");
    assert_string_equal(case_tensor(p, "blk.0.attn_q.weight")->note,
                        "rows are no multiple of the block");
    nb_quant_plan_destroy(p);
    nb_model_close(m);
    m = case_open(
        tiny_hf_write("odd", &(struct tiny_hf){.key = "intermediate_size", .value = "40"}));
    p = plan(m, &r, nbtest_tmp("x.gguf"));
    assert_type(p, "blk.0.ffn_down.weight", "f16");
    assert_type(p, "blk.0.ffn_up.weight", "q5_0");
    nb_quant_plan_destroy(p);
    nb_model_close(m);
    nb_recipe_fini(&r);
}

static void test_folders_hold_no_blocks(void **state)
{
    (void)state;
    struct nb_recipe r;
    struct nb_model *m = case_open(tiny_hf_write("floats", &(struct tiny_hf){0}));
    nb_recipe_init(&r, NULL);
    refuse(m, &r, nbtest_tmp("folder"), NB_ERR_UNSUPPORTED, "a folder holds f32, f16, bf16");
    r.type = "f16";
    struct nb_quant_plan *p = plan(m, &r, nbtest_tmp("folder"));
    assert_type(p, "blk.0.attn_q.weight", "f16");
    assert_type(p, "blk.0.attn_norm.weight", "f16");
    nb_quant_plan_destroy(p);
    r.type = "keep";
    p = plan(m, &r, nbtest_tmp("kept.gguf"));
    assert_type(p, "blk.0.attn_q.weight", "bf16");
    assert_type(p, "blk.0.attn_norm.weight", "f32");
    assert_int_equal(p->gguf_ftype, 32);
    nb_quant_plan_destroy(p);
    nb_recipe_fini(&r);
    nb_model_close(m);
}

static void test_refused(void **state)
{
    (void)state;
    struct nb_recipe r;
    struct nb_error err;
    struct nb_quant_plan *p;
    char dir[4096];
    (void)snprintf(dir, sizeof dir, "%s", tiny_hf_write("source", &(struct tiny_hf){0}));
    struct nb_model *m = case_open(dir);
    nb_recipe_init(&r, NULL);
    refuse(m, &r, dir, NB_ERR_ARG, "the output is the input");
    refuse(m, &r, tiny_path(dir, "model.safetensors"), NB_ERR_ARG, "the output is the input");
    r.type = "q9";
    refuse(m, &r, nbtest_tmp("x.gguf"), NB_ERR_ARG, "'q9' is neither a mix nor a number format");
    r.type = "i32";
    refuse(m, &r, nbtest_tmp("x.gguf"), NB_ERR_ARG, "'i32' is neither");
    r.type = "q8_0";
    r.output_type = "u8";
    refuse(m, &r, nbtest_tmp("x.gguf"), NB_ERR_ARG, "output type: 'u8' is no number format");
    r.output_type = NULL;
    const struct nb_quant_settings s = {
        .out = nbtest_tmp("x.gguf"), .recipe = &r, .max_ram = 1 << 20};
    assert_fails(nb_quant_plan_create(&p, m, &s, NULL, &err), NB_ERR_LIMIT, &err, "the budget is");
    assert_ok(nb_recipe_add_rule(&r, "attn(", "q8_0", &err), &err);
    refuse(m, &r, nbtest_tmp("x.gguf"), NB_ERR_FORMAT, "rule 'attn('");
    nb_recipe_fini(&r);
    nb_model_close(m);
}

NB_TEST_MAIN(cmocka_unit_test(test_mix), cmocka_unit_test(test_rules),
             cmocka_unit_test(test_fallbacks), cmocka_unit_test(test_folders_hold_no_blocks),
             cmocka_unit_test(test_refused))
