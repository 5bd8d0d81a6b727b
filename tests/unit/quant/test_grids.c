/* General grids through the whole way: a folder in, a folder of parts out, read back; damaged files. */
#include <math.h>

#include "unit/quant/quant_case.h"

static const char *const types[] = {
    "int4_g32_asym", "int3_g16_fz", "int8_c",    "int8_t_asym", "ternary_t",
    "nf4_g32_dq",    "mxfp6_e2m3",  "mxint8",    "nvfp4_e2m1",  "fp8_e4m3_b128",
    "cb3_t",         "cb2_c",       "vq4_k16_t", "vq2_k64_c",   "pot4_g32",
};

struct outcome {
    struct nb_quant_report report;
    double snr_db[64];
};

static void run_with(struct outcome *o, const char *source, const char *out, const char *type,
                     unsigned threads)
{
    struct nb_error err;
    struct nb_recipe r;
    struct nb_quant_plan *p;
    struct nb_pool *pool;
    nb_recipe_init(&r, NULL);
    r.type = type;
    struct nb_model *m = case_open(source);
    assert_ok(nb_pool_create(&pool, threads, NULL, &err), &err);
    const struct nb_quant_settings s = {.out = out, .recipe = &r, .overwrite = true, .pool = pool};
    assert_ok(nb_quant_plan_create(&p, m, &s, NULL, &err), &err);
    o->report = (struct nb_quant_report){.snr_db = o->snr_db};
    assert_ok(nb_quant_run(p, &o->report, &err), &err);
    nb_quant_plan_destroy(p);
    nb_pool_destroy(pool);
    nb_model_close(m);
    nb_recipe_fini(&r);
}

/* What is read back is what was written: the same hash, the same numbers. */
static void check_type(const char *source, const char *type)
{
    struct outcome o, again, floats;
    struct nb_hash h;
    struct nb_error err;
    const char *out = nbtest_tmp(type), *copy = nbtest_tmp("copy"), *f32 = nbtest_tmp("f32.gguf");
    run_with(&o, source, out, type, 1);
    assert_true(isfinite(o.report.total_snr_db) && o.report.total_snr_db > 3.0);
    struct nb_model *m = case_open(out);
    const struct nb_weight *q = nb_weights_find(&m->w, "blk.0.attn_q.weight");
    assert_string_equal(q->t.type->name, type);
    assert_ok(nb_model_hash(m, NULL, &h, &err), &err);
    assert_memory_equal(&h, &o.report.out_hash, sizeof h);
    nb_model_close(m);
    run_with(&again, source, out, type, 7);
    assert_memory_equal(&again.report.out_hash, &h, sizeof h);
    run_with(&again, out, copy, "keep", 2);
    assert_true(isinf(again.report.total_snr_db));
    assert_memory_equal(&again.report.out_hash, &h, sizeof h);
    assert_memory_equal(&again.report.source_hash, &h, sizeof h);
    run_with(&floats, out, f32, "f32", 2); /* canonical rows again, as plain floats */
    assert_true(isinf(floats.report.total_snr_db));
    assert_memory_equal(&floats.report.source_hash, &h, sizeof h);
}

static void test_folders(void **state)
{
    (void)state;
    char source[4096];
    snprintf(source, sizeof source, "%s", tiny_hf_write("grids", &(struct tiny_hf){0}));
    for (size_t i = 0; i < NB_COUNTOF(types); i++)
        check_type(source, types[i]);
}

static void test_refused(void **state)
{
    (void)state;
    struct nb_error err;
    struct nb_recipe r;
    struct nb_quant_plan *p;
    struct nb_model *m = case_open(tiny_hf_write("refuse", &(struct tiny_hf){0}));
    nb_recipe_init(&r, NULL);
    r.type = "int4_g32";
    assert_fails(case_plan(&p, m, &r, nbtest_tmp("x.gguf"), &err), NB_ERR_UNSUPPORTED, &err,
                 "GGUF has no type for int4_g32");
    r.scale_search = "percentile:101";
    assert_fails(case_plan(&p, m, &r, nbtest_tmp("x"), &err), NB_ERR_ARG, &err, "percentile:101");
    nb_recipe_fini(&r);
    nb_model_close(m);
}

/* One text of the file's header by another of the same length. */
static void damage(const char *dir, const char *from, const char *to, const char *message)
{
    char path[4096];
    struct nb_model *m;
    struct nb_error err;
    size_t n, at = 0;
    assert_int_equal(strlen(from), strlen(to));
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    uint8_t *bytes = nbtest_read(path, &n);
    while (at + strlen(from) <= n && memcmp(bytes + at, from, strlen(from)) != 0)
        at++;
    assert_true(at + strlen(from) <= n);
    memcpy(bytes + at, to, strlen(to));
    nbtest_write(path, bytes, n);
    assert_int_not_equal(nb_model_open(&m, dir, NULL, NULL, &err), NB_OK);
    if (strstr(err.message, message) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", err.message, message);
    memcpy(bytes + at, from, strlen(from));
    nbtest_write(path, bytes, n);
    free(bytes);
    assert_ok(nb_model_open(&m, dir, NULL, NULL, &err), &err);
    nb_model_close(m);
}

static void test_damaged(void **state)
{
    (void)state;
    struct outcome o;
    const char *dir = nbtest_tmp("damaged");
    run_with(&o, tiny_hf_write("whole", &(struct tiny_hf){0}), dir, "int4_g32_asym", 1);
    damage(dir, "q_proj.weight\":\"int4_g32_asym", "q_proj.weight\":\"int4_g99_asym",
           "no general grid");
    damage(dir, "q_proj.weight\":\"int4_g32_asym", "q_proj.weight\":\"int5_g32_asym", "expected");
    damage(dir, "q_proj.weight.scales", "q_proj.weight.scalez", "scales are missing");
    damage(dir, "nibble.type.model.layers.0.self_attn.q", "nibble.tipe.model.layers.0.self_attn.q",
           "to say how");
}

/* Memory that runs out while rows are encoded is an error, and never a tensor of something else. */
static void test_out_of_memory(void **state)
{
    (void)state;
    struct nb_error err;
    struct nb_recipe r;
    struct nb_quant_plan *p;
    struct nbtest_alloc mem;
    char out[4096];
    snprintf(out, sizeof out, "%s", nbtest_tmp("oom-out"));
    struct nb_model *m = case_open(tiny_hf_write("oom", &(struct tiny_hf){0}));
    nb_recipe_init(&r, NULL);
    r.type = "int4_g32";
    nbtest_alloc_init(&mem, 0);
    const struct nb_quant_settings s = {.out = out, .recipe = &r};
    assert_ok(nb_quant_plan_create(&p, m, &s, &mem.a, &err), &err);
    const size_t before = mem.n_allocs;
    struct nb_quant_report report = {0};
    enum nb_status st = NB_ERR_NOMEM;
    size_t tries = 0;
    for (size_t k = 1; st != NB_OK; k += 5, tries++) {
        mem.n_allocs = before;
        mem.fail_at = before + k;
        st = nb_quant_run(p, &report, &err);
        assert_true(st == NB_OK || st == NB_ERR_NOMEM);
        assert_int_equal(nb_path_exists(out), st == NB_OK);
    }
    assert_true(tries > 20);
    mem.fail_at = 0;
    nb_quant_plan_destroy(p);
    assert_int_equal(mem.live, 0);
    nb_recipe_fini(&r);
    nb_model_close(m);
}

NB_TEST_MAIN(cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_folders),
             cmocka_unit_test(test_refused), cmocka_unit_test(test_damaged))
