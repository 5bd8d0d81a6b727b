/* Embeddings through the public interface: pooling against the hidden states of a session, lengths, texts
 * that are too long, comparison of two models, arguments, memory. */
#include "dialect/dialect.h"
#include "run/run.h"
#include "support/nbtest.h"

#include <math.h>
#include <nibble/nibble.h>
#include <stdio.h>
#include <string.h>

#define TEXT "Once upon a time there was a house by the sea."

static struct nb_error err;

static nb_context *make_context(const struct nb_allocator *a)
{
    struct nb_context_options o;
    nb_context *ctx = NULL;
    nb_context_options_init(&o);
    o.threads = 1;
    if (a != NULL)
        o.allocator = *a;
    return nb_context_create(&ctx, &o, NULL) == NB_OK ? ctx : NULL;
}

/* Hidden states of TEXT (*n, *width), by a session of our own. */
static float *hidden_states(size_t *n, size_t *width)
{
    struct nb_model *m;
    struct nb_session *s;
    struct nb_ids ids;
    assert_ok(nb_model_open(&m, nbtest_model("tiny-7m"), NULL, NULL, &err), &err);
    nb_ids_init(&ids, NULL);
    assert_ok(nb_tokenizer_encode(m->tokenizer, &ids, TEXT, strlen(TEXT), NB_ENCODE_ADD, &err),
              &err);
    const struct nb_session_options o = {.hidden = true, .n_ctx = 64};
    assert_ok(nb_session_create(&s, &m->w, &o, NULL, &err), &err);
    *n = ids.n;
    *width = nb_session_width(s);
    assert_int_equal(*width, m->w.hp.n_embd);
    float *h = nb_alloc(NULL, *n * *width, sizeof *h);
    assert_non_null(h);
    assert_ok(nb_session_eval(s, (const uint32_t *)ids.data, ids.n, h, 0, &err), &err);
    nb_session_destroy(s);
    nb_ids_fini(&ids);
    nb_model_close(m);
    return h;
}

static void embed(const char *pooling, bool raw, uint32_t ctx_tokens, const char *text, float *out,
                  uint32_t *n_tokens)
{
    nb_context *ctx = make_context(NULL);
    struct nb_embed_options o;
    nb_embedder *e;
    nb_embed_options_init(&o);
    o.pooling = pooling;
    o.raw = raw;
    o.ctx = ctx_tokens;
    assert_ok(nb_embedder_create(&e, ctx, nbtest_model("tiny-7m"), &o, &err), &err);
    assert_string_equal(nb_embedder_pooling(e), pooling != NULL ? pooling : "last");
    assert_ok(nb_embedder_embed(e, text, strlen(text), out, n_tokens, &err), &err);
    nb_embedder_destroy(e);
    nb_context_destroy(ctx);
}

static void test_pooling(void **state)
{
    (void)state;
    static const char *const names[] = {"mean", "cls", "last"};
    size_t n, width;
    float *h = hidden_states(&n, &width);
    float *raw = nb_alloc(NULL, width, sizeof *raw), *unit = nb_alloc(NULL, width, sizeof *unit);
    assert_true(n > 5 && raw != NULL && unit != NULL);
    for (size_t p = 0; p < 3; p++) {
        uint32_t used;
        double length = 0.0;
        embed(names[p], true, 0, TEXT, raw, &used);
        assert_int_equal(used, n);
        embed(names[p], false, 0, TEXT, unit, NULL);
        for (size_t i = 0; i < width; i++) {
            double want = (double)h[(p == 2 ? n - 1 : 0) * width + i];
            for (size_t t = 1; p == 0 && t < n; t++)
                want += (double)h[t * width + i];
            want /= p == 0 ? (double)n : 1.0;
            assert_true(fabs((double)raw[i] - want) <= 1e-6 * (1.0 + fabs(want)));
            length += (double)raw[i] * (double)raw[i];
        }
        for (size_t i = 0; i < width; i++)
            assert_true(fabs((double)unit[i] - (double)raw[i] / sqrt(length)) < 1e-6);
    }
    embed(NULL, true, 0, TEXT, unit, NULL); /* a decoder's last */
    assert_memory_equal(raw, unit, width * sizeof *raw);
    nb_free(NULL, raw);
    nb_free(NULL, unit);
    nb_free(NULL, h);
}

static void test_long_text(void **state)
{
    (void)state;
    float a[256], b[256];
    uint32_t n;
    embed("cls", false, 4, TEXT, a, &n);
    assert_int_equal(n, 4);
    embed("cls", false, 0, TEXT, b, &n); /* the first token sees nothing behind it */
    assert_memory_equal(a, b, sizeof a);
}

static void test_compare(void **state)
{
    (void)state;
    static const char pairs[] = "a cat sat\ta cat was sitting\r\n\nshares fell\nshares rose\n";
    const char *model = nbtest_model("tiny-7m");
    char path[4096];
    struct nb_embed_compare_result r;
    nb_context *ctx = make_context(NULL);
    (void)snprintf(path, sizeof path, "%s", nbtest_tmp("pairs"));
    nbtest_write(path, pairs, sizeof pairs - 1);
    assert_ok(nb_embed_compare(ctx, model, model, path, NULL, &r, &err), &err);
    assert_int_equal(r.pairs, 2);
    assert_int_equal(r.texts, 4);
    assert_true(r.error_max < 1e-9 && fabs(r.cosine_min - 1.0) < 1e-9 && r.spearman > 0.999);
    assert_true(r.reference_mean > 0.0 && r.reference_mean < 1.0);
    nbtest_write(path, "one line\n", 9);
    assert_fails(nb_embed_compare(ctx, model, model, path, NULL, &r, &err), NB_ERR_ARG, &err,
                 "no pair");
    nb_context_destroy(ctx);
}

static int stop(void *ctx, const char *what, uint64_t done, uint64_t total, const char *unit)
{
    (void)what;
    (void)unit;
    assert_true(done <= total);
    return ++*(int *)ctx > 1;
}

static void test_cancelled(void **state)
{
    (void)state;
    const char *model = nbtest_model("tiny-7m");
    struct nb_context_options o;
    struct nb_embed_compare_result r;
    nb_context *ctx;
    char path[4096];
    int calls = 0;
    (void)snprintf(path, sizeof path, "%s", nbtest_tmp("stopped"));
    nbtest_write(path, "a\tb\nc\td\n", 8);
    nb_context_options_init(&o);
    o.progress = (struct nb_progress){.fn = stop, .ctx = &calls};
    assert_ok(nb_context_create(&ctx, &o, &err), &err);
    assert_fails(nb_embed_compare(ctx, model, model, path, NULL, &r, &err), NB_ERR_CANCELLED, &err,
                 "cancelled");
    assert_int_equal(calls, 2);
    nb_context_destroy(ctx);
}

static void test_arguments(void **state)
{
    (void)state;
    nb_context *ctx = make_context(NULL);
    struct nb_embed_options o;
    nb_embedder *e;
    float v[256];
    nb_embed_options_init(&o);
    assert_fails(nb_embedder_create(&e, NULL, "x", &o, &err), NB_ERR_ARG, &err, "context");
    assert_fails(nb_embedder_create(&e, ctx, "/no/such/model", &o, &err), NB_ERR_NOT_FOUND, &err,
                 "/no/such/model");
    o.pooling = "max";
    assert_fails(nb_embedder_create(&e, ctx, nbtest_model("tiny-7m"), &o, &err), NB_ERR_ARG, &err,
                 "mean, cls or last");
    o.pooling = NULL;
    assert_ok(nb_embedder_create(&e, ctx, nbtest_model("tiny-7m"), &o, &err), &err);
    assert_int_equal(nb_embedder_width(e), 256);
    assert_fails(nb_embedder_embed(e, "", 0, v, NULL, &err), NB_ERR_ARG, &err, "without tokens");
    nb_embedder_destroy(e);
    nb_embedder_destroy(NULL);
    nb_context_destroy(ctx);
}

static enum nb_status oom_embed(const struct nb_allocator *a)
{
    nb_context *ctx = make_context(a);
    nb_embedder *e;
    float v[256];
    if (ctx == NULL)
        return NB_ERR_NOMEM;
    enum nb_status st = nb_embedder_create(&e, ctx, nbtest_model("tiny-7m"), NULL, &err);
    if (st == NB_OK) {
        st = nb_embedder_embed(e, TEXT, strlen(TEXT), v, NULL, &err);
        nb_embedder_destroy(e);
    }
    nb_context_destroy(ctx);
    return st;
}

/* Opening a model makes thousands of allocations: some of them, and the last ones. */
static void test_out_of_memory(void **state)
{
    (void)state;
    struct nbtest_alloc x;
    nbtest_alloc_init(&x, 0);
    assert_int_equal(oom_embed(&x.a), NB_OK);
    const size_t n = x.n_allocs;
    for (size_t k = 1; k <= n; k += k + n / 12 < n - 6 ? n / 12 : 1) {
        nbtest_alloc_init(&x, k);
        assert_int_equal(oom_embed(&x.a), NB_ERR_NOMEM);
        assert_int_equal(x.live, 0);
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_pooling), cmocka_unit_test(test_long_text),
             cmocka_unit_test(test_compare), cmocka_unit_test(test_cancelled),
             cmocka_unit_test(test_arguments), cmocka_unit_test(test_out_of_memory))
