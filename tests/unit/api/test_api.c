/* The public interface as a program outside sees it: the header's example, options that grow, every
 * entry point with an allocator that fails, outputs untouched by failures. */
#include "support/nbtest.h"

#include <math.h>
#include <stdio.h>

#include <nibble/nibble.h>

static nb_context *make_context(const struct nb_allocator *a)
{
    struct nb_context_options o;
    struct nb_error err;
    nb_context *ctx = NULL;
    nb_context_options_init(&o);
    o.threads = 2;
    if (a != NULL)
        o.allocator = *a;
    assert_ok(nb_context_create(&ctx, &o, &err), &err);
    return ctx;
}

static void test_example_of_the_header(void **state)
{
    (void)state;
    nb_context *ctx;
    struct nb_error err;
    struct nb_quant_options q;
    struct nb_quant_result r;
    const char *out = nbtest_tmp("example.gguf");
    nb_quant_options_init(&q);
    q.type = "q4_k_m";
    assert_ok(nb_context_create(&ctx, NULL, &err), &err);
    assert_ok(nb_quantize(ctx, nbtest_model("tiny-7m"), out, &q, &r, &err), &err);
    assert_string_equal(r.type, "q4_k_m");
    assert_int_equal(strlen(r.hash), 32);
    assert_true(r.snr_db > 15 && r.worst_snr_db > 15 && r.worst_tensor != NULL);
    size_t n;
    free(nbtest_read(out, &n));
    assert_int_equal(n, r.bytes);
    nb_quant_result_free(&r);
    nb_context_destroy(ctx);
}

static void test_array_example_of_the_header(void **state)
{
    (void)state;
    nb_context *ctx = make_context(NULL);
    struct nb_error err;
    float x[2][256];
    for (int i = 0; i < 512; i++)
        x[i / 256][i % 256] = (float)((i * 37) % 101) - 50.0F;
    const float first = x[0][0];
    struct nb_array_view view = {.x = &x[0][0], .n_dims = 2, .dims = {2, 256}};
    struct nb_array_options o;
    struct nb_array_stats stats;
    nb_array *q;
    nb_array_options_init(&o);
    o.type = "q4_k";
    assert_ok(nb_array_quantize(&q, ctx, &view, &o, &stats, &err), &err);
    assert_close(stats.bpw, 4.5, 0.0);
    assert_true(stats.sqnr_db > 20.0 && stats.elements == 512 && stats.bytes == 288);
    nb_array_dequantize(q, &x[0][0]);
    assert_close(x[0][0], first, stats.max_error);
    nb_array_destroy(q);
    nb_context_destroy(ctx);
}

/* What an array consists of: blocks, or a grid's codes and tables. */
static void test_array_parts(void **state)
{
    (void)state;
    static const struct {
        const char *type, *names[3], *types[3];
        uint64_t bytes[3];
    } want[] = {
        {"q8_0", {"blocks"}, {"q8_0"}, {2 * 96 / 32 * 34}},
        {"int4_g32", {"codes", "scales"}, {"u8", "f16"}, {96, 12}},
        {"vq3_k16_t", {"codes", "levels"}, {"u8", "f32"}, {32, 192}},
    };
    nb_context *ctx = make_context(NULL);
    float x[2][96];
    for (int i = 0; i < 192; i++)
        x[i / 96][i % 96] = (float)(i * i % 97);
    const struct nb_array_view view = {.x = &x[0][0], .n_dims = 2, .dims = {2, 96}};
    for (size_t k = 0; k < NB_COUNTOF(want); k++) {
        struct nb_error err;
        struct nb_array_options o;
        struct nb_array_stats stats;
        struct nb_array_part part;
        nb_array *q;
        uint64_t sum = 0, foretold = 0;
        size_t n = 0;
        nb_array_options_init(&o);
        o.type = want[k].type;
        assert_ok(nb_array_quantize(&q, ctx, &view, &o, &stats, &err), &err);
        for (; nb_array_part(q, n, &part) == NB_OK; n++) {
            assert_true(n < 3);
            assert_string_equal(part.name, want[k].names[n]);
            assert_string_equal(part.type, want[k].types[n]);
            assert_int_equal(part.bytes, want[k].bytes[n]);
            assert_non_null(part.data);
            sum += part.bytes;
        }
        assert_true(n == 3 || want[k].names[n] == NULL);
        assert_int_equal(nb_array_part(q, n, &part), NB_ERR_NOT_FOUND);
        assert_int_equal(sum, stats.bytes);
        assert_ok(nb_array_bytes(o.type, view.dims, 2, &foretold, &err), &err);
        assert_int_equal(foretold, stats.bytes);
        /* Saved and read again. */
        const char *path = nbtest_tmp(k == 0 ? "array.gguf" : "array.safetensors");
        float y[192], z[192];
        nb_array *again;
        assert_ok(nb_array_save(q, path, 1, &err), &err);
        assert_ok(nb_array_read(&again, ctx, path, &err), &err);
        nb_array_info(again, &part);
        assert_string_equal(part.type, want[k].type);
        assert_true(part.n_dims == 2 && part.dims[0] == 2 && part.dims[1] == 96);
        assert_int_equal(part.bytes, stats.bytes);
        nb_array_dequantize(q, y);
        nb_array_dequantize(again, z);
        assert_memory_equal(y, z, sizeof y);
        nb_array_destroy(again);
        nb_array_destroy(q);
    }
    nb_context_destroy(ctx);
}

static void test_array_arguments(void **state)
{
    (void)state;
    nb_context *ctx = make_context(NULL);
    struct nb_error err;
    float x[64] = {0}, w[64] = {0};
    uint64_t bytes = 0;
    struct nb_array_view view = {.x = x, .n_dims = 2, .dims = {2, 32}};
    struct nb_array_options o;
    nb_array *q = NULL;
    nb_array_options_init(&o);
    assert_fails(nb_array_quantize(&q, ctx, &view, &o, NULL, &err), NB_ERR_ARG, &err, "type");
    o.type = "q9_z";
    assert_fails(nb_array_quantize(&q, ctx, &view, &o, NULL, &err), NB_ERR_ARG, &err, "q9_z");
    o.type = "i8";
    assert_fails(nb_array_quantize(&q, ctx, &view, &o, NULL, &err), NB_ERR_UNSUPPORTED, &err,
                 "storage type");
    o.type = "q4_k";
    assert_fails(nb_array_quantize(&q, ctx, &view, &o, NULL, &err), NB_ERR_FORMAT, &err,
                 "32 elements is no multiple of the 256 in a q4_k block");
    o.type = "q8_0";
    o.n_importance = 32;
    assert_fails(nb_array_quantize(&q, ctx, &view, &o, NULL, &err), NB_ERR_ARG, &err, "NULL");
    o.importance = w;
    o.n_importance = 33;
    assert_fails(nb_array_quantize(&q, ctx, &view, &o, NULL, &err), NB_ERR_ARG, &err,
                 "each of 32 columns, or of 64 numbers");
    o.n_importance = 64;
    w[40] = -1.0F;
    assert_fails(nb_array_quantize(&q, ctx, &view, &o, NULL, &err), NB_ERR_NUMERIC, &err,
                 "importance 40 is -1");
    w[40] = 0.0F;
    x[37] = NAN;
    assert_fails(nb_array_quantize(&q, ctx, &view, &o, NULL, &err), NB_ERR_NUMERIC, &err,
                 "row 1, column 5 is NaN");
    view.n_dims = 9;
    assert_fails(nb_array_quantize(&q, ctx, &view, &o, NULL, &err), NB_ERR_ARG, &err, "at most 8");
    assert_null(q);
    assert_ok(nb_array_bytes("q4_0", view.dims, 2, &bytes, &err), &err);
    assert_int_equal(bytes, 36);
    assert_fails(nb_array_bytes("q4_0", NULL, 1, &bytes, &err), NB_ERR_ARG, &err, "dimensions");
    nb_context_destroy(ctx);
}

static void test_plan_is_what_quantize_does(void **state)
{
    (void)state;
    nb_context *ctx = make_context(NULL);
    struct nb_error err;
    struct nb_quant_options q;
    struct nb_quant_result plan, done;
    const char *out = nbtest_tmp("planned.gguf");
    const struct nb_type_rule rule = {"ffn_down", "q8_0"};
    nb_quant_options_init(&q);
    q.type = "q4_0";
    q.rules = &rule;
    q.n_rules = 1;
    assert_ok(nb_plan(ctx, nbtest_model("tiny-7m"), out, &q, &plan, &err), &err);
    assert_false(nb_path_exists(out));
    assert_ok(nb_quantize(ctx, nbtest_model("tiny-7m"), out, &q, &done, &err), &err);
    assert_int_equal(plan.bytes, done.bytes);
    assert_int_equal(plan.n_tensors, done.n_tensors);
    for (size_t i = 0; i < plan.n_tensors; i++) {
        assert_string_equal(plan.tensors[i].type, done.tensors[i].type);
        assert_int_equal(plan.tensors[i].bytes, done.tensors[i].bytes);
        if (strstr(plan.tensors[i].name, "ffn_down") != NULL)
            assert_string_equal(plan.tensors[i].type, "q8_0");
    }
    /* The recipe of the output, read back, makes the same file. */
    struct nb_quant_options again;
    struct nb_quant_result twin;
    nb_quant_options_init(&again);
    again.recipe = done.recipe;
    assert_ok(
        nb_quantize(ctx, nbtest_model("tiny-7m"), nbtest_tmp("twin.gguf"), &again, &twin, &err),
        &err);
    assert_string_equal(twin.hash, done.hash);
    nb_quant_result_free(&twin);
    nb_quant_result_free(&done);
    nb_quant_result_free(&plan);
    nb_context_destroy(ctx);
}

static void test_options_that_grow(void **state)
{
    (void)state;
    struct nb_error err;
    nb_context *ctx = NULL;
    struct {
        struct nb_context_options o;
        uint64_t later[4];
    } newer = {.later = {0}};
    nb_context_options_init(&newer.o);
    newer.o.size = sizeof newer; /* a newer program, nothing new used */
    assert_ok(nb_context_create(&ctx, &newer.o, &err), &err);
    nb_context_destroy(ctx);
    newer.later[2] = 1; /* something new used */
    assert_fails(nb_context_create(&ctx, &newer.o, &err), NB_ERR_VERSION, &err, "knows");
    newer.o.size = 2;
    assert_fails(nb_context_create(&ctx, &newer.o, &err), NB_ERR_ARG, &err, "init");
    struct nb_context_options older;
    nb_context_options_init(&older);
    older.size =
        offsetof(struct nb_context_options, allocator); /* an older program: rest is default */
    older.allocator.alloc = NULL;
    assert_ok(nb_context_create(&ctx, &older, &err), &err);
    nb_context_destroy(ctx);
}

static void test_lists(void **state)
{
    (void)state;
    static const char *const kinds[] = {"formats", "types", "architectures", "containers",
                                        "kernels"};
    struct nb_list_item item;
    for (size_t k = 0; k < NB_COUNTOF(kinds); k++) {
        size_t n = 0;
        while (nb_list(kinds[k], n, &item) == NB_OK) {
            assert_non_null(item.name);
            assert_non_null(item.summary);
            n++;
        }
        assert_true(n > 0);
        assert_int_equal(nb_list(kinds[k], n, &item), NB_ERR_NOT_FOUND);
    }
    assert_int_equal(nb_list("nonsense", 0, &item), NB_ERR_ARG);
}

static void test_missing_arguments(void **state)
{
    (void)state;
    nb_context *ctx = make_context(NULL);
    struct nb_error err;
    struct nb_eval_options eo;
    struct nb_eval_result er;
    struct nb_model_info info;
    nb_eval_options_init(&eo);
    assert_fails(nb_evaluate(ctx, nbtest_model("tiny-7m"), &eo, &er, &err), NB_ERR_ARG, &err,
                 "text");
    assert_fails(nb_inspect(ctx, NULL, 0, &info, &err), NB_ERR_ARG, &err, "model");
    assert_fails(nb_inspect(ctx, nbtest_tmp("nothing"), 0, &info, &err), NB_ERR_NOT_FOUND, &err,
                 "nothing");
    eo.text = nbtest_data("evaluation.txt");
    eo.kv_type = "q4_0";
    assert_fails(nb_evaluate(ctx, nbtest_model("tiny-7m"), &eo, &er, &err), NB_ERR_ARG, &err,
                 "q4_0");
    nb_context_destroy(ctx);
}

static void test_generation_is_repeatable(void **state)
{
    (void)state;
    nb_context *ctx = make_context(NULL);
    struct nb_error err;
    struct nb_generate_options o;
    nb_generator *g;
    char said[2][512];
    nb_generate_options_init(&o);
    o.ctx = 48;
    for (int run = 0; run < 2; run++) {
        size_t len = 0;
        assert_ok(nb_generator_create(&g, ctx, nbtest_model("tiny-7m"), &o, &err), &err);
        assert_ok(nb_generator_feed(g, "Once upon a time", 16, 0, 1, &err), &err);
        for (int i = 0; i < 16; i++) {
            uint32_t token;
            const char *text;
            size_t n;
            int32_t end;
            assert_ok(nb_generator_next(g, &token, &text, &n, &end, &err), &err);
            assert_true(len + n < sizeof said[run]);
            memcpy(said[run] + len, text, n);
            len += n;
        }
        said[run][len] = '\0';
        assert_true(len > 8);
        nb_generator_destroy(g);
    }
    assert_string_equal(said[0], said[1]);
    nb_context_destroy(ctx);
}

static void test_context_full(void **state)
{
    (void)state;
    nb_context *ctx = make_context(NULL);
    struct nb_error err;
    struct nb_generate_options o;
    nb_generator *g;
    nb_generate_options_init(&o);
    o.ctx = 4;
    assert_ok(nb_generator_create(&g, ctx, nbtest_model("tiny-7m"), &o, &err), &err);
    assert_fails(nb_generator_feed(g, "one two three four five six", 27, 0, 1, &err), NB_ERR_LIMIT,
                 &err, "room");
    assert_int_equal(nb_generator_position(g), 0);
    nb_generator_destroy(g);
    nb_context_destroy(ctx);
}

/* ---- allocators that fail ---- */
static enum nb_status oom_inspect(void *ctx, const struct nb_allocator *a)
{
    struct nb_context_options o;
    struct nb_model_info info;
    nb_context *c;
    (void)ctx;
    nb_context_options_init(&o);
    o.allocator = *a;
    o.threads = 1;
    enum nb_status st = nb_context_create(&c, &o, NULL);
    if (st != NB_OK)
        return st;
    st = nb_inspect(c, nbtest_model("tiny-7m"), 0, &info, NULL);
    if (st == NB_OK)
        nb_model_info_free(&info);
    nb_context_destroy(c);
    return st;
}

static void test_inspect_out_of_memory(void **state)
{
    (void)state;
    assert_true(nbtest_oom(oom_inspect, NULL) > 20);
}

/* The tokenizer alone makes thousands of allocations: a sample of failing ones is enough for the
 * calls that open a model and then do long work. */
static void sample_oom(enum nb_status (*body)(const struct nb_allocator *a))
{
    struct nbtest_alloc x;
    nbtest_alloc_init(&x, 0);
    assert_int_equal(body(&x.a), NB_OK);
    assert_int_equal(x.live, 0);
    const size_t n = x.n_allocs;
    const size_t step = n / 12 + 1;
    for (size_t k = 1; k <= n; k += k + step < n - 4 ? step : 1) {
        nbtest_alloc_init(&x, k);
        assert_int_equal(body(&x.a), NB_ERR_NOMEM);
        assert_int_equal(x.live, 0);
    }
}

static enum nb_status quantize_with(const struct nb_allocator *a)
{
    struct nb_context_options o;
    struct nb_quant_options q;
    struct nb_quant_result r;
    nb_context *c;
    const char *out = nbtest_tmp("oom.gguf");
    nb_context_options_init(&o);
    o.allocator = *a;
    o.threads = 1;
    enum nb_status st = nb_context_create(&c, &o, NULL);
    if (st != NB_OK)
        return st;
    nb_quant_options_init(&q);
    q.type = "q8_0";
    st = nb_quantize(c, nbtest_model("tiny-7m"), out, &q, &r, NULL);
    if (st == NB_OK) {
        nb_quant_result_free(&r);
        assert_int_equal(remove(out), 0);
    } else {
        assert_false(nb_path_exists(out));
        assert_false(nb_path_exists(nbtest_tmp("oom.gguf.partial")));
    }
    nb_context_destroy(c);
    return st;
}

static void test_quantize_out_of_memory(void **state)
{
    (void)state;
    sample_oom(quantize_with);
}

static enum nb_status evaluate_with(const struct nb_allocator *a)
{
    struct nb_context_options o;
    struct nb_eval_options e;
    struct nb_eval_result r;
    nb_context *c;
    nb_context_options_init(&o);
    o.allocator = *a;
    o.threads = 1;
    enum nb_status st = nb_context_create(&c, &o, NULL);
    if (st != NB_OK)
        return st;
    nb_eval_options_init(&e);
    e.text = nbtest_data("README.md");
    e.ctx = 8;
    e.chunks = 1;
    st = nb_evaluate(c, nbtest_model("tiny-7m"), &e, &r, NULL);
    nb_context_destroy(c);
    return st;
}

static void test_evaluate_out_of_memory(void **state)
{
    (void)state;
    sample_oom(evaluate_with);
}

static enum nb_status array_with(const struct nb_allocator *a)
{
    static const char head[] = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 64), }";
    struct nb_context_options o;
    struct nb_array_options q;
    nb_context *c;
    uint8_t file[10 + sizeof head - 1 + 128] = "\x93NUMPY\x01";
    file[8] = sizeof head - 1;
    memcpy(file + 10, head, sizeof head - 1);
    for (size_t i = 0; i < 128; i++)
        file[10 + sizeof head - 1 + i] = (uint8_t)(i * i);
    nbtest_write(nbtest_tmp("in.npy"), file, sizeof file);
    nb_context_options_init(&o);
    o.allocator = *a;
    o.threads = 1;
    enum nb_status st = nb_context_create(&c, &o, NULL);
    if (st != NB_OK)
        return st;
    nb_array_options_init(&q);
    q.type = "q8_0";
    const struct nb_array_files files = {
        .in = nbtest_tmp("in.npy"), .out = nbtest_tmp("out.gguf"), .overwrite = 1};
    st = nb_array_quantize_file(c, &files, &q, NULL, NULL);
    nb_context_destroy(c);
    return st;
}

static void test_array_out_of_memory(void **state)
{
    (void)state;
    sample_oom(array_with);
}

NB_TEST_MAIN(cmocka_unit_test(test_example_of_the_header),
             cmocka_unit_test(test_array_example_of_the_header), cmocka_unit_test(test_array_parts),
             cmocka_unit_test(test_array_arguments), cmocka_unit_test(test_array_out_of_memory),
             cmocka_unit_test(test_plan_is_what_quantize_does),
             cmocka_unit_test(test_options_that_grow), cmocka_unit_test(test_lists),
             cmocka_unit_test(test_missing_arguments),
             cmocka_unit_test(test_generation_is_repeatable), cmocka_unit_test(test_context_full),
             cmocka_unit_test(test_inspect_out_of_memory),
             cmocka_unit_test(test_quantize_out_of_memory),
             cmocka_unit_test(test_evaluate_out_of_memory))
