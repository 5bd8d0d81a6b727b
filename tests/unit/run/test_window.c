/* Layers with a window keep a ring of positions: the same logits, less memory, rewinding within reason. */
#include "support/tiny_llama.h"

#define N      90 /* tokens of a test */
#define WINDOW 13

static struct nb_error err;

static struct nb_hparams windowed_hparams(void)
{
    struct nb_hparams hp = tiny_hparams();
    hp.window = WINDOW;
    nb_layers_add(&hp.windowed, 0);
    nb_layers_add(&hp.windowed, 2);
    return hp;
}

static struct nb_session *open_session(const struct tiny *t, uint32_t n_batch)
{
    const struct nb_session_options o = {.n_batch = n_batch, .kv_type = &nb_numfmt_f32};
    struct nb_session *s;
    assert_ok(nb_session_create(&s, &t->w, &o, NULL, &err), &err);
    return s;
}

static void make_tokens(uint32_t tokens[N], const struct tiny *t)
{
    for (size_t i = 0; i < N; i++)
        tokens[i] = (uint32_t)((i * i * 31 + i * 7 + 3) % t->w.hp.n_vocab);
}

static void eval(struct nb_session *s, const uint32_t *tokens, size_t n, float *logits)
{
    assert_ok(nb_session_eval(s, tokens, n, logits, logits ? 0 : n, &err), &err);
}

static void test_reference(void **state)
{
    (void)state;
    struct tiny t;
    uint32_t tokens[N];
    tiny_init(&t, windowed_hparams(), &nb_numfmt_f32);
    const size_t n = N * (size_t)t.w.hp.n_vocab;
    double *want = malloc(n * sizeof *want);
    float *got = malloc(n * sizeof *got), *again = malloc(n * sizeof *again);
    make_tokens(tokens, &t);
    tiny_reference(&t, tokens, N, want);
    struct nb_session *s = open_session(&t, 0); /* no ring is shorter than the context */
    eval(s, tokens, N, got);
    nb_session_destroy(s);
    for (size_t i = 0; i < n; i++)
        assert_close((double)got[i], want[i], 2e-4);
    for (uint32_t batch = 1; batch < 40; batch += 6) {
        s = open_session(&t, batch);
        eval(s, tokens, N, again);
        assert_bits_array(again, got, n);
        nb_session_destroy(s);
    }
    free(want), free(got), free(again);
    tiny_fini(&t);
}

static void test_memory(void **state)
{
    (void)state;
    struct tiny t;
    struct nb_session_memory m;
    tiny_init(&t, windowed_hparams(), &nb_numfmt_f32);
    struct nb_session *s = open_session(&t, 11);
    nb_session_memory(s, &m);
    const uint64_t position = 2 * sizeof(float) * t.w.hp.n_kv_heads * t.w.hp.head_dim;
    assert_int_equal(m.kv_bytes, position * (2 * (WINDOW + 11) + t.w.hp.n_ctx_train));
    nb_session_destroy(s);
    tiny_fini(&t);
}

static void test_rewind(void **state)
{
    (void)state;
    struct tiny t;
    uint32_t tokens[N], other[8] = {5, 4, 3, 2, 1, 0, 9, 8};
    tiny_init(&t, windowed_hparams(), &nb_numfmt_f32);
    const size_t v = t.w.hp.n_vocab;
    float *want = malloc(N * v * sizeof *want), *got = malloc(N * v * sizeof *got);
    make_tokens(tokens, &t);
    struct nb_session *s = open_session(&t, 8);
    eval(s, tokens, N, want);
    assert_int_equal(nb_session_rewind(s, 0), 0);
    eval(s, tokens, 50, NULL);
    eval(s, other, 8, NULL);
    assert_int_equal(nb_session_rewind(s, 50), 50); /* a batch back: all it needs is there */
    eval(s, tokens + 50, N - 50, got);
    assert_bits_array(got, want + 50 * v, (N - 50) * v);
    assert_int_equal(nb_session_rewind(s, N - 8), N - 8);
    assert_int_equal(nb_session_rewind(s, N - 9), N - 9); /* the ring has one position to spare */
    eval(s, tokens + N - 9, 9, got);
    assert_bits_array(got, want + (N - 9) * v, 9 * v);
    assert_int_equal(nb_session_rewind(s, N - 10), 0); /* its window is gone */
    assert_int_equal(nb_session_position(s), 0);
    eval(s, tokens, 20, NULL);
    assert_int_equal(nb_session_rewind(s, 3), 3); /* nothing was overwritten yet */
    eval(s, tokens + 3, N - 3, got);
    assert_bits_array(got, want + 3 * v, (N - 3) * v);
    nb_session_destroy(s);
    free(want), free(got);
    tiny_fini(&t);
}

NB_TEST_MAIN(cmocka_unit_test(test_reference), cmocka_unit_test(test_memory),
             cmocka_unit_test(test_rewind))
