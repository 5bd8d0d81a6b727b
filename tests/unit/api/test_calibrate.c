/* Calibration through the public interface: results, arguments, nothing left behind by failures. */
#include "support/nbtest.h"

#include <stdio.h>

#include <nibble/nibble.h>

static struct nb_error err;
static const char *texts[2];

static nb_context *make_context(const struct nb_allocator *a, struct nb_progress progress)
{
    struct nb_context_options o;
    nb_context *ctx = NULL;
    nb_context_options_init(&o);
    o.threads = a != NULL ? 1 : 2;
    o.progress = progress;
    if (a != NULL)
        o.allocator = *a;
    return nb_context_create(&ctx, &o, NULL) == NB_OK ? ctx : NULL;
}

static struct nb_calibrate_options options(void)
{
    struct nb_calibrate_options o;
    nb_calibrate_options_init(&o);
    texts[0] = nbtest_data("README.md");
    texts[1] = nbtest_data("evaluation.txt");
    o.texts = texts;
    o.n_texts = 2;
    o.ctx = 16;
    o.chunks = 3;
    return o;
}

static void test_results(void **state)
{
    (void)state;
    nb_context *ctx = make_context(NULL, (struct nb_progress){.fn = NULL});
    struct nb_calibrate_options o = options();
    struct nb_calibrate_result one, two;
    const char *a = nbtest_tmp("a.gguf"), *b = nbtest_tmp("b.dat"), *sum = nbtest_tmp("sum.gguf");
    const char *both[] = {a, b};
    size_t n;
    assert_ok(nb_calibrate(ctx, nbtest_model("tiny-7m"), a, &o, &one, &err), &err);
    assert_int_equal(one.tokens, 48);
    assert_int_equal(one.ctx, 16);
    assert_int_equal(one.chunks, 3);
    assert_int_equal(one.weights, 42);
    assert_int_equal(strlen(one.hash), 32);
    free(nbtest_read(a, &n));
    assert_int_equal(n, one.bytes);
    o.format = "dat";
    o.head = 1;
    assert_ok(nb_calibrate(ctx, nbtest_model("tiny-7m"), b, &o, &two, &err), &err);
    assert_int_equal(two.weights, 43);
    assert_true(strcmp(one.hash, two.hash) != 0);
    o.format = NULL;
    assert_ok(nb_calibrate_merge(ctx, both, 2, sum, &o, &two, &err), &err);
    assert_int_equal(two.weights, 43);
    assert_int_equal(two.ctx, 16);
    nb_context_destroy(ctx);
}

static void test_stats(void **state)
{
    (void)state;
    nb_context *ctx = make_context(NULL, (struct nb_progress){.fn = NULL});
    const char *out = nbtest_tmp("stats.gguf"), *sum = nbtest_tmp("both.gguf");
    const char *both[] = {out, out};
    struct nb_calibrate_options o = options();
    struct nb_calibrate_result r;
    struct nb_stats_info info;
    o.chunks = 0;
    o.tokens = 16 * 20;
    o.hold_out = 1;
    o.stats = "hessian,range";
    assert_ok(nb_calibrate(ctx, nbtest_model("tiny-7m"), out, &o, &r, &err), &err);
    assert_string_equal(r.stats, "moments,range,hessian");
    assert_int_equal(r.chunks, 18);
    assert_int_equal(r.held_chunks, 2);
    assert_ok(nb_calibrate_merge(ctx, both, 2, sum, &o, &r, &err), &err);
    assert_int_equal(r.tokens, 2 * 18 * 16);
    assert_ok(nb_inspect_stats(ctx, sum, &info, &err), &err);
    assert_string_equal(info.stats, "moments,range,hessian");
    assert_int_equal(info.n_edges, 24);
    assert_int_equal(info.n_texts, 2);
    assert_string_equal(info.texts[1], "evaluation.txt");
    assert_string_equal(info.edges[0].weight, "blk.0.attn_q.weight");
    assert_true(info.edges[0].n_weights == 3 && info.edges[0].tokens == 2.0 * 18 * 16);
    assert_true(info.edges[0].held == 64.0 && info.edges[0].lo < 0.0 && info.edges[0].hi > 0.0);
    nb_stats_info_free(&info);
    nb_stats_info_free(&info); /* nothing is left to free */
    assert_fails(nb_inspect_stats(ctx, nbtest_model("tiny-7m"), &info, &err), NB_ERR_UNSUPPORTED,
                 &err, "neither statistics");
    assert_fails(nb_inspect_stats(ctx, NULL, &info, &err), NB_ERR_ARG, &err, "a file");
    o.overwrite = 1;
    o.chunks = 3;
    assert_fails(nb_calibrate(ctx, nbtest_model("tiny-7m"), out, &o, &r, &err), NB_ERR_ARG, &err,
                 "give one of them");
    o.chunks = 0;
    o.max_ram = 1000000;
    assert_fails(nb_calibrate(ctx, nbtest_model("tiny-7m"), out, &o, &r, &err), NB_ERR_LIMIT, &err,
                 "more than the 1 MB");
    nb_context_destroy(ctx);
}

static enum nb_status inspect_body(void *file, const struct nb_allocator *a)
{
    struct nb_stats_info info;
    nb_context *ctx = make_context(a, (struct nb_progress){.fn = NULL});
    if (ctx == NULL)
        return NB_ERR_NOMEM;
    const enum nb_status st = nb_inspect_stats(ctx, file, &info, NULL);
    if (st == NB_OK)
        nb_stats_info_free(&info);
    nb_context_destroy(ctx);
    return st;
}

static void test_inspect_out_of_memory(void **state)
{
    (void)state;
    char file[4096];
    nb_context *ctx = make_context(NULL, (struct nb_progress){.fn = NULL});
    struct nb_calibrate_options o = options();
    struct nb_calibrate_result r;
    (void)snprintf(file, sizeof file, "%s", nbtest_tmp("oom-stats.gguf"));
    o.chunks = 1;
    o.stats = "moments,moving";
    assert_ok(nb_calibrate(ctx, nbtest_model("tiny-7m"), file, &o, &r, &err), &err);
    nb_context_destroy(ctx);
    assert_true(nbtest_oom(inspect_body, file) > 50);
}

static void test_arguments(void **state)
{
    (void)state;
    nb_context *ctx = make_context(NULL, (struct nb_progress){.fn = NULL});
    const char *out = nbtest_tmp("bad.gguf"), *model = nbtest_model("tiny-7m");
    struct nb_calibrate_options o = options();
    struct nb_calibrate_result r;
    assert_fails(nb_calibrate(ctx, model, NULL, &o, &r, &err), NB_ERR_ARG, &err, "a target");
    assert_fails(nb_calibrate(ctx, model, out, NULL, &r, &err), NB_ERR_ARG, &err, "a text");
    assert_fails(nb_calibrate(ctx, NULL, out, &o, &r, &err), NB_ERR_ARG, &err, "a model");
    assert_fails(nb_calibrate_merge(ctx, NULL, 0, out, &o, &r, &err), NB_ERR_ARG, &err, "files");
    o.n_texts = 0;
    assert_fails(nb_calibrate(ctx, model, out, &o, &r, &err), NB_ERR_ARG, &err, "a text");
    o = options();
    o.format = "npz";
    assert_fails(nb_calibrate(ctx, model, out, &o, &r, &err), NB_ERR_ARG, &err, "'npz'");
    o.format = NULL;
    o.ctx = 1000000;
    assert_fails(nb_calibrate(ctx, model, out, &o, &r, &err), NB_ERR_ARG, &err, "one window");
    o.size = 2;
    assert_fails(nb_calibrate(ctx, model, out, &o, &r, &err), NB_ERR_ARG, &err, "init");
    o = options();
    nbtest_write(out, "taken", 5);
    assert_fails(nb_calibrate(ctx, model, out, &o, &r, &err), NB_ERR_EXISTS, &err, "bad.gguf");
    nb_context_destroy(ctx);
}

static int stop(void *ctx, const char *what, uint64_t done, uint64_t total, const char *unit)
{
    (void)ctx, (void)what, (void)unit;
    return 2 * done > total;
}

static void test_cancelled(void **state)
{
    (void)state;
    nb_context *ctx = make_context(NULL, (struct nb_progress){.fn = stop});
    struct nb_calibrate_options o = options();
    struct nb_calibrate_result r;
    const char *out = nbtest_tmp("cancelled.gguf");
    assert_fails(nb_calibrate(ctx, nbtest_model("tiny-7m"), out, &o, &r, &err), NB_ERR_CANCELLED,
                 &err, "cancelled");
    assert_false(nb_path_exists(out));
    nb_context_destroy(ctx);
}

/* ---- out of memory: a sample of failing allocations, for a tokenizer makes thousands ---- */

static enum nb_status calibrate_and_quantize(const struct nb_allocator *a)
{
    const char *out = nbtest_tmp("oom.gguf"), *model = nbtest_tmp("oom-q.gguf");
    struct nb_calibrate_options o = options();
    struct nb_calibrate_result r;
    struct nb_quant_options q;
    struct nb_quant_result qr;
    nb_context *ctx = make_context(a, (struct nb_progress){.fn = NULL});
    if (ctx == NULL)
        return NB_ERR_NOMEM;
    nb_quant_options_init(&q);
    q.type = "q8_0";
    q.imatrix = out;
    q.overwrite = o.overwrite = 1;
    o.chunks = 1;
    enum nb_status st = nb_calibrate(ctx, nbtest_model("tiny-7m"), out, &o, &r, NULL);
    if (st == NB_OK) {
        st = nb_plan(ctx, nbtest_model("tiny-7m"), model, &q, &qr, NULL);
        if (st == NB_OK) {
            assert_int_equal(qr.n_weighted, 42);
            assert_string_equal(qr.imatrix_hash, r.hash);
            nb_quant_result_free(&qr);
        }
    } else {
        assert_false(nb_path_exists(nbtest_tmp("oom.gguf.partial")));
    }
    nb_context_destroy(ctx);
    return st;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct nbtest_alloc x;
    nbtest_alloc_init(&x, 0);
    assert_int_equal(calibrate_and_quantize(&x.a), NB_OK);
    assert_int_equal(x.live, 0);
    const size_t n = x.n_allocs, step = n / 16 + 1;
    for (size_t k = 1; k <= n; k += k + step < n - 4 ? step : 1) {
        nbtest_alloc_init(&x, k);
        assert_int_equal(calibrate_and_quantize(&x.a), NB_ERR_NOMEM);
        assert_int_equal(x.live, 0);
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_results), cmocka_unit_test(test_stats),
             cmocka_unit_test(test_inspect_out_of_memory), cmocka_unit_test(test_arguments),
             cmocka_unit_test(test_cancelled), cmocka_unit_test(test_out_of_memory))
