/* Hidden states in memory, on disk and partly each: the same bits; passes through parts of a model. */
#include "calib/acts.h"

#include "support/tiny_llama.h"

#define WINDOWS 5
#define CTX     12

static struct nb_error err;

static struct nb_acts *store(size_t width, uint64_t max_bytes)
{
    struct nb_acts *s;
    const struct nb_acts_options o = {.n_windows = WINDOWS,
                                      .ctx = CTX,
                                      .width = width,
                                      .max_bytes = max_bytes,
                                      .folder = nbtest_tmpdir()};
    assert_ok(nb_acts_create(&s, &o, NULL, &err), &err);
    return s;
}

static void test_store(void **state)
{
    (void)state;
    enum { WIDTH = 7, FLOATS = CTX * WIDTH, BYTES = FLOATS * 4 };
    static const uint64_t budgets[] = {UINT64_MAX, WINDOWS * BYTES, 2 * BYTES + 1, BYTES - 1, 0};
    static const uint64_t spilled[] = {0, 0, 3 * BYTES, WINDOWS * BYTES, WINDOWS * BYTES};
    for (size_t k = 0; k < NB_COUNTOF(budgets); k++) {
        struct nb_acts *s = store(WIDTH, budgets[k]);
        float x[FLOATS], y[FLOATS], *z;
        uint64_t all, in_memory;
        const struct nb_acts_options o = {WINDOWS, CTX, WIDTH, budgets[k], NULL};
        assert_true(nb_acts_bytes(&o, &all, &in_memory));
        assert_int_equal(all, WINDOWS * BYTES);
        assert_int_equal(in_memory, all - spilled[k] + 2 * BYTES);
        assert_int_equal(nb_acts_spilled_bytes(s), spilled[k]);
        assert_int_equal(nb_acts_windows(s), WINDOWS);
        assert_ok(nb_acts_read(s, 4, y, &err), &err);
        assert_true(y[0] == 0.0F && y[FLOATS - 1] == 0.0F);
        for (size_t w = 0; w < WINDOWS; w++) {
            for (size_t i = 0; i < FLOATS; i++)
                x[i] = (float)(w * 1000 + i);
            assert_ok(nb_acts_write(s, w, x, &err), &err);
        }
        for (size_t w = WINDOWS; w-- > 0;) {
            assert_ok(nb_acts_get(s, w, &z, &err), &err);
            for (size_t i = 0; i < FLOATS; i++)
                assert_true(z[i] == (float)(w * 1000 + i));
            z[5] = -1.0F;
            assert_ok(nb_acts_put(s, w, z, &err), &err);
        }
        for (size_t w = 0; w < WINDOWS; w++) {
            assert_ok(nb_acts_read(s, w, y, &err), &err);
            assert_true(y[5] == -1.0F && y[6] == (float)(w * 1000 + 6));
        }
        assert_fails(nb_acts_read(s, WINDOWS, y, &err), NB_ERR_ARG, &err, "there are 5 windows");
        nb_acts_destroy(s);
    }
    nb_acts_destroy(NULL);
}

static void test_limits(void **state)
{
    (void)state;
    struct nb_acts *s;
    uint64_t all, in_memory;
    struct nb_acts_options o = {.n_windows = 1U << 31, .ctx = 1U << 20, .width = 4096};
    o.folder = nbtest_tmpdir();
    assert_false(nb_acts_bytes(&o, &all, &in_memory));
    assert_fails(nb_acts_create(&s, &o, NULL, &err), NB_ERR_LIMIT, &err, "are too many");
    assert_null(s);
    o = (struct nb_acts_options){.n_windows = 0, .ctx = 2, .width = 4};
    assert_fails(nb_acts_create(&s, &o, NULL, &err), NB_ERR_LIMIT, &err, "are none");
    o = (struct nb_acts_options){.n_windows = 1U << 30, .ctx = 1024, .width = 1024};
    o.folder = nbtest_tmpdir();
    assert_fails(nb_acts_create(&s, &o, NULL, &err), NB_ERR_LIMIT, &err, "does not fit in");
    assert_null(s);
}

static enum nb_status create_once(void *ctx, const struct nb_allocator *a)
{
    struct nb_acts *s;
    const struct nb_acts_options o = {
        .n_windows = 4, .ctx = 8, .width = 16, .max_bytes = 1024, .folder = nbtest_tmpdir()};
    (void)ctx;
    NB_TRY(nb_acts_create(&s, &o, a, &err));
    nb_acts_destroy(s);
    return NB_OK;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(nbtest_oom(create_once, NULL) >= 5);
}

/* ---- passes ---- */

struct seen {
    size_t windows, taps, last;
    uint64_t done, total, stop;
};

static void on_window(void *ctx, size_t window)
{
    struct seen *seen = ctx;
    seen->windows++;
    seen->last = window;
}

static void on_tap(void *ctx, const struct nb_tap *tap)
{
    struct seen *seen = ctx;
    assert_int_equal(tap->n_tokens, CTX);
    seen->taps++;
}

static int on_progress(void *ctx, const char *what, uint64_t done, uint64_t total, const char *unit)
{
    struct seen *seen = ctx;
    assert_string_equal(what, "block");
    assert_string_equal(unit, "tokens");
    seen->done = done;
    seen->total = total;
    return seen->stop != 0 && done >= seen->stop;
}

static struct nb_session *session(const struct tiny *t, struct nb_model_part part)
{
    struct nb_session *s;
    const struct nb_session_options o = {
        .n_ctx = CTX, .kv_type = &nb_numfmt_f32, .float_activations = true, .part = part};
    assert_ok(nb_session_create(&s, &t->w, &o, NULL, &err), &err);
    return s;
}

static void run_pass(const struct tiny *t, struct nb_model_part part, struct nb_pass p,
                     struct seen *seen)
{
    const struct nb_progress progress = {seen, on_progress};
    *seen = (struct seen){0};
    p.session = session(t, part);
    p.ctx = CTX;
    p.end = WINDOWS;
    p.window = on_window;
    p.window_ctx = seen;
    p.progress = &progress;
    p.what = "block";
    nb_session_tap(p.session, on_tap, seen);
    assert_ok(nb_pass_run(&p, &err), &err);
    assert_int_equal(seen->windows, WINDOWS);
    assert_int_equal(seen->last, WINDOWS - 1);
    assert_int_equal(seen->done, WINDOWS * CTX);
    assert_int_equal(seen->total, WINDOWS * CTX);
    nb_session_destroy(p.session);
}

/* Embedding, blocks, what the head reads; in place, and from one store to another. */
static void hidden_states(const struct tiny *t, const uint32_t *tokens, uint64_t max_bytes,
                          float *out)
{
    const size_t embd = t->w.hp.n_embd;
    const uint32_t n = t->w.hp.n_layers;
    struct nb_acts *a = store(embd, max_bytes), *b = store(embd, max_bytes);
    struct seen seen;
    run_pass(t, (struct nb_model_part){.to_hidden = true},
             (struct nb_pass){.tokens = tokens, .out = a}, &seen);
    assert_int_equal(seen.taps, 0);
    for (uint32_t i = 0; i < n; i++) {
        const struct nb_model_part part = {
            .from_hidden = true, .to_hidden = true, .first_block = i, .n_blocks = 1};
        run_pass(t, part, (struct nb_pass){.in = a}, &seen); /* only to be tapped */
        assert_int_equal(seen.taps, WINDOWS * 7);
        run_pass(t, part, (struct nb_pass){.in = a, .out = i == 1 ? b : a}, &seen);
        if (i == 1) {
            struct nb_acts *swap = a;
            a = b;
            b = swap;
        }
    }
    const struct nb_model_part tail = {.from_hidden = true, .first_block = n, .hidden = true};
    struct nb_model_part head = tail;
    head.hidden = false;
    run_pass(t, head, (struct nb_pass){.in = a}, &seen);
    assert_int_equal(seen.taps, WINDOWS);
    run_pass(t, tail, (struct nb_pass){.in = a, .out = b}, &seen);
    for (size_t w = 0; w < WINDOWS; w++)
        assert_ok(nb_acts_read(b, w, out + w * CTX * embd, &err), &err);
    nb_acts_destroy(a);
    nb_acts_destroy(b);
}

static void test_passes(void **state)
{
    (void)state;
    struct tiny t;
    uint32_t tokens[WINDOWS * CTX];
    tiny_init(&t, tiny_hparams(), &nb_numfmt_f16);
    const size_t embd = t.w.hp.n_embd, n = WINDOWS * CTX * embd;
    const uint64_t budgets[] = {UINT64_MAX, 2 * CTX * embd * 4, 0};
    float *want = malloc(n * sizeof *want), *got = malloc(n * sizeof *got);
    struct nb_session *s = session(&t, (struct nb_model_part){.hidden = true});
    for (uint32_t i = 0; i < WINDOWS * CTX; i++)
        tokens[i] = (i * 37 + 11) % t.w.hp.n_vocab;
    for (size_t w = 0; w < WINDOWS; w++) {
        nb_session_rewind(s, 0);
        assert_ok(nb_session_eval(s, tokens + w * CTX, CTX, want + w * CTX * embd, 0, &err), &err);
    }
    nb_session_destroy(s);
    for (size_t k = 0; k < NB_COUNTOF(budgets); k++) {
        hidden_states(&t, tokens, budgets[k], got);
        assert_bits_array(got, want, n);
    }
    free(want), free(got);
    tiny_fini(&t);
}

static void test_pass_errors(void **state)
{
    (void)state;
    struct tiny t;
    struct seen seen = {.stop = 2 * CTX};
    const struct nb_progress progress = {&seen, on_progress};
    uint32_t tokens[WINDOWS * CTX] = {0};
    tiny_init(&t, tiny_hparams(), &nb_numfmt_f16);
    struct nb_acts *a = store(t.w.hp.n_embd, UINT64_MAX), *b = store(3, UINT64_MAX);
    struct nb_pass p = {.session = session(&t, (struct nb_model_part){.to_hidden = true}),
                        .tokens = tokens,
                        .out = b,
                        .ctx = CTX,
                        .end = WINDOWS,
                        .what = "block",
                        .progress = &progress};
    assert_fails(nb_pass_run(&p, &err), NB_ERR_ARG, &err, "64 values a token; kept are 3");
    p.out = a;
    p.end++;
    assert_fails(nb_pass_run(&p, &err), NB_ERR_ARG, &err, "kept are 5 of 12");
    p.end--;
    p.in = a;
    assert_fails(nb_pass_run(&p, &err), NB_ERR_ARG, &err, "tokens or with hidden");
    p.in = NULL;
    assert_fails(nb_pass_run(&p, &err), NB_ERR_CANCELLED, &err, "block: cancelled");
    assert_int_equal(seen.done, 2 * CTX);
    nb_session_destroy(p.session);
    nb_acts_destroy(a);
    nb_acts_destroy(b);
    tiny_fini(&t);
}

NB_TEST_MAIN(cmocka_unit_test(test_store), cmocka_unit_test(test_limits),
             cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_passes),
             cmocka_unit_test(test_pass_errors))
