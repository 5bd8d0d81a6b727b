/* A random decoder against plain doubles, and against itself: however the work is cut, the same bits. */
#include "support/tiny_llama.h"

#define N 45 /* tokens of a test */

static struct nb_error err;

static void make_tokens(uint32_t *tokens, size_t n, uint32_t n_vocab)
{
    for (size_t i = 0; i < n; i++)
        tokens[i] = (uint32_t)((i * i * 31 + i * 7 + 3) % n_vocab);
}

static struct nb_session *open_session(const struct tiny *t, const struct nb_session_options *o)
{
    struct nb_session *s;
    assert_ok(nb_session_create(&s, &t->w, o, NULL, &err), &err);
    return s;
}

/* All logits of N tokens, in calls of the sizes given (0 ends; the rest in one call). malloc-ed. */
static float *logits_of(const struct tiny *t, const struct nb_session_options *o,
                        const size_t *calls)
{
    const size_t v = t->w.hp.n_vocab;
    uint32_t tokens[N];
    float *out = malloc(N * v * sizeof *out);
    struct nb_session *s = open_session(t, o);
    make_tokens(tokens, N, t->w.hp.n_vocab);
    for (size_t at = 0; at < N;) {
        size_t n = N - at;
        if (calls && *calls) { /* apart: NB_MIN evaluates its arguments twice */
            n = NB_MIN(*calls, n);
            calls++;
        }
        assert_ok(nb_session_eval(s, tokens + at, n, out + at * v, 0, &err), &err);
        at += n;
        assert_int_equal(nb_session_position(s), at);
    }
    nb_session_destroy(s);
    return out;
}

static void check_reference(struct nb_hparams hp, double tolerance)
{
    struct tiny t;
    uint32_t tokens[N];
    tiny_init(&t, hp, &nb_numfmt_f32);
    const struct nb_session_options o = {.kv_type = &nb_numfmt_f32};
    const size_t n = N * (size_t)hp.n_vocab;
    double *want = malloc(n * sizeof *want);
    make_tokens(tokens, N, hp.n_vocab);
    tiny_reference(&t, tokens, N, want);
    float *got = logits_of(&t, &o, NULL);
    for (size_t i = 0; i < n; i++)
        assert_close((double)got[i], want[i], tolerance);
    free(want);
    free(got);
    tiny_fini(&t);
}

static void test_reference(void **state)
{
    (void)state;
    struct nb_hparams hp = tiny_hparams();
    check_reference(hp, 2e-4);
    hp.tied = false;
    check_reference(hp, 2e-4);
    hp.bias_q = hp.bias_k = hp.bias_v = true;
    check_reference(hp, 2e-4);
    hp.bias_o = hp.bias_mlp = true;
    check_reference(hp, 2e-4);
    hp.rope.dim = 16; /* half of each head keeps its place */
    check_reference(hp, 2e-4);
    hp.n_kv_heads = hp.n_heads;
    check_reference(hp, 2e-4);
    hp.n_kv_heads = 1;
    check_reference(hp, 2e-4);
}

static void test_rope_scaling(void **state)
{
    (void)state;
    struct nb_hparams hp = tiny_hparams();
    hp.rope.scaling = NB_ROPE_LINEAR;
    hp.rope.factor = 4.0F;
    check_reference(hp, 2e-4);
    hp.rope.scaling = NB_ROPE_LLAMA3;
    hp.rope.low_freq = 1.0F;
    hp.rope.high_freq = 4.0F;
    hp.rope.ctx_orig = 32;
    check_reference(hp, 2e-4);
    hp.rope.scaling = NB_ROPE_YARN;
    hp.rope.attention = 1.5F;
    check_reference(hp, 2e-4);
}

/* The session's context chooses the side; a longer one turns all positions otherwise. */
static void test_rope_context(void **state)
{
    (void)state;
    struct nb_hparams hp = tiny_hparams();
    hp.rope.scaling = NB_ROPE_LONGROPE;
    hp.rope.short_mscale = 1.25F;
    for (uint32_t i = 0; i < hp.rope.dim / 2; i++) {
        hp.rope.short_factor[i] = 1.0F + 0.1F * (float)i;
        hp.rope.long_factor[i] = 1.0F + (float)i;
    }
    hp.rope.ctx_orig = hp.n_ctx_train; /* which is what a session gets that names none */
    check_reference(hp, 2e-4);
    hp.rope.ctx_orig--;
    check_reference(hp, 2e-4);
    hp.rope.scaling = NB_ROPE_DYNAMIC;
    hp.rope.factor = 2.0F;
    hp.rope.ctx_train = hp.n_ctx_train / 2;
    check_reference(hp, 2e-4);
}

static struct nb_hparams wide_hparams(void)
{
    struct nb_hparams hp = tiny_hparams();
    hp.n_layers = 2;
    hp.n_embd = hp.n_ff = 256;
    hp.head_dim = hp.rope.dim = 64;
    hp.n_vocab = 301;
    return hp;
}

static const char *const formats[] = {"f32", "f16", "bf16", "q8_0", "q6_k", "q4_k", "q4_0"};

/* One call, single tokens, uneven calls, small batches, float activations. */
static void test_split(void **state)
{
    (void)state;
    static const size_t ones[N + 1] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                       1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                       1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const size_t uneven[] = {3, 13, 2, 1, 8, 0};
    for (size_t f = 0; f < NB_COUNTOF(formats); f++)
        for (int floats = 0; floats < 2; floats++) {
            struct tiny t;
            tiny_init(&t, wide_hparams(), nb_numfmt_find(formats[f]));
            struct nb_session_options o = {.float_activations = floats != 0};
            const size_t n = N * (size_t)t.w.hp.n_vocab;
            float *whole = logits_of(&t, &o, NULL), *single = logits_of(&t, &o, ones);
            float *parts = logits_of(&t, &o, uneven);
            o.n_batch = 7;
            float *sevens = logits_of(&t, &o, NULL);
            assert_bits_array(single, whole, n);
            assert_bits_array(parts, whole, n);
            assert_bits_array(sevens, whole, n);
            free(whole), free(single), free(parts), free(sevens);
            tiny_fini(&t);
        }
}

static void test_threads(void **state)
{
    (void)state;
    for (size_t f = 0; f < NB_COUNTOF(formats); f++) {
        struct tiny t;
        tiny_init(&t, wide_hparams(), nb_numfmt_find(formats[f]));
        const size_t n = N * (size_t)t.w.hp.n_vocab;
        struct nb_session_options o = {0};
        float *want = logits_of(&t, &o, NULL);
        for (unsigned threads = 2; threads <= 7; threads += 5) {
            static const size_t calls[] = {20, 1, 0};
            assert_ok(nb_pool_create(&o.pool, threads, NULL, &err), &err);
            float *got = logits_of(&t, &o, calls);
            assert_bits_array(got, want, n);
            free(got);
            nb_pool_destroy(o.pool);
            o.pool = NULL;
        }
        free(want);
        tiny_fini(&t);
    }
}

/* The logits of one model in every format, as they are on every machine, ISA and compiler. Only a change
 * of the arithmetic of kernels or operators may change this number. */
static void test_golden_bits(void **state)
{
    (void)state;
    uint64_t hash = NB_FNV_SEED;
    for (size_t f = 0; f < NB_COUNTOF(formats); f++) {
        struct tiny t;
        tiny_init_packed(&t, wide_hparams(), nb_numfmt_find(formats[f]), true);
        const struct nb_session_options o = {0};
        float *x = logits_of(&t, &o, NULL);
        for (size_t i = 0; i < N * (size_t)t.w.hp.n_vocab; i++) {
            uint8_t le[4];
            assert_true(isfinite(x[i]));
            nb_store_u32(le, nb_f32_bits(x[i]));
            hash = nb_fnv1a64(le, sizeof le, hash);
        }
        free(x);
        tiny_fini(&t);
    }
    assert_int_equal(hash, UINT64_C(0x936c004f3dae4f39));
}

/* Integer products are close to the products of the same weights as floats. */
static void test_integer_products(void **state)
{
    (void)state;
    for (size_t f = 3; f < NB_COUNTOF(formats); f++) {
        struct tiny t;
        tiny_init(&t, wide_hparams(), nb_numfmt_find(formats[f]));
        const size_t n = N * (size_t)t.w.hp.n_vocab;
        uint32_t tokens[N];
        double *want = malloc(n * sizeof *want), diff = 0.0, sum = 0.0, worst = 0.0;
        make_tokens(tokens, N, t.w.hp.n_vocab);
        tiny_reference(&t, tokens, N, want);
        struct nb_session_options o = {.kv_type = &nb_numfmt_f32, .float_activations = true};
        float *floats = logits_of(&t, &o, NULL);
        o.float_activations = false;
        float *ints = logits_of(&t, &o, NULL);
        for (size_t i = 0; i < n; i++) {
            const double d = (double)ints[i] - want[i];
            worst = NB_MAX(worst, fabs((double)floats[i] - want[i]));
            diff += d * d;
            sum += want[i] * want[i];
        }
        assert_true(worst < 1e-3);                    /* floats: rounding only  */
        assert_true(diff > 0.0 && diff < 2e-3 * sum); /* 8-bit activations */
        free(want), free(floats), free(ints);
        tiny_fini(&t);
    }
}

static void test_kv_type(void **state)
{
    (void)state;
    struct tiny t;
    tiny_init(&t, tiny_hparams(), &nb_numfmt_f32);
    const size_t n = N * (size_t)t.w.hp.n_vocab;
    struct nb_session_options o = {.kv_type = &nb_numfmt_f32};
    struct nb_session_memory m32, m16;
    float *wide = logits_of(&t, &o, NULL);
    o.kv_type = NULL; /* f16 */
    float *half = logits_of(&t, &o, NULL);
    double worst = 0.0;
    for (size_t i = 0; i < n; i++)
        worst = NB_MAX(worst, fabs((double)wide[i] - (double)half[i]));
    assert_true(worst > 0.0 && worst < 0.02);
    struct nb_session *s = open_session(&t, &o);
    nb_session_memory(s, &m16);
    nb_session_destroy(s);
    o.kv_type = &nb_numfmt_f32;
    s = open_session(&t, &o);
    nb_session_memory(s, &m32);
    nb_session_destroy(s);
    assert_int_equal(m16.kv_bytes, 3 * 2 * 2 * 96 * 32 * 2);
    assert_int_equal(m32.kv_bytes, 2 * m16.kv_bytes);
    assert_int_equal(m16.weight_bytes % 4, 0);
    assert_true(m16.weight_bytes > 0 && m16.activation_bytes > 0 && m16.scratch_bytes > 0);
    free(wide), free(half);
    tiny_fini(&t);
}

static void test_halves(void **state)
{
    (void)state;
    struct nb_hparams hp = tiny_hparams();
    hp.bias_q = hp.bias_k = true;
    for (size_t f = 0; f < 4; f++) {
        struct tiny a, b;
        tiny_init(&a, hp, nb_numfmt_find(formats[f]));
        tiny_init(&b, hp, nb_numfmt_find(formats[f]));
        /* biases are one row in memory: permute their elements as rows of one */
        for (size_t i = 0; i < b.w.n; i++)
            if (b.items[i].t.shape.n == 1 && strstr(b.items[i].t.name, ".bias"))
                b.items[i].t.shape = nb_shape_2(b.items[i].t.shape.dim[0], 1);
        tiny_to_halves(&b);
        for (size_t i = 0; i < b.w.n; i++)
            if (strstr(b.items[i].t.name, ".bias"))
                b.items[i].t.shape = nb_shape_1(b.items[i].t.shape.dim[0]);
        const struct nb_session_options o = {0};
        float *x = logits_of(&a, &o, NULL), *y = logits_of(&b, &o, NULL);
        assert_bits_array(x, y, N * (size_t)hp.n_vocab);
        free(x), free(y);
        tiny_fini(&a);
        tiny_fini(&b);
    }
}

static void test_rewind(void **state)
{
    (void)state;
    struct tiny t;
    tiny_init(&t, tiny_hparams(), &nb_numfmt_q8_0);
    const size_t v = t.w.hp.n_vocab;
    const struct nb_session_options o = {0};
    struct nb_session *s = open_session(&t, &o);
    uint32_t tokens[N], other[] = {9, 8, 7, 6, 5};
    float *want = logits_of(&t, &o, NULL), *got = malloc(N * v * sizeof *got);
    make_tokens(tokens, N, t.w.hp.n_vocab);
    assert_ok(nb_session_eval(s, tokens, 10, NULL, 10, &err), &err);
    assert_ok(nb_session_eval(s, other, 5, NULL, 5, &err), &err);
    nb_session_rewind(s, 10);
    nb_session_rewind(s, 99); /* forward: nothing to forget */
    assert_int_equal(nb_session_position(s), 10);
    assert_ok(nb_session_eval(s, tokens + 10, N - 10, got, 0, &err), &err);
    assert_bits_array(got, want + 10 * v, (N - 10) * v);
    nb_session_rewind(s, 0);
    /* only the last rows wanted, over several batches */
    assert_ok(nb_session_eval(s, tokens, N, got, N - 3, &err), &err);
    assert_bits_array(got, want + (N - 3) * v, 3 * v);
    nb_session_destroy(s);
    free(want), free(got);
    tiny_fini(&t);
}

static void test_no_allocation(void **state)
{
    (void)state;
    for (size_t f = 0; f < NB_COUNTOF(formats); f++) {
        struct tiny t;
        struct nbtest_alloc counter;
        struct nb_session *s;
        uint32_t tokens[N];
        tiny_init(&t, wide_hparams(), nb_numfmt_find(formats[f]));
        float *out = malloc(N * (size_t)t.w.hp.n_vocab * sizeof *out);
        nbtest_alloc_init(&counter, 0);
        const struct nb_session_options o = {.n_batch = 16};
        assert_ok(nb_session_create(&s, &t.w, &o, &counter.a, &err), &err);
        make_tokens(tokens, N, t.w.hp.n_vocab);
        const size_t before = counter.n_allocs;
        assert_ok(nb_session_eval(s, tokens, 40, out, 0, &err), &err);
        assert_ok(nb_session_eval(s, tokens, 1, out, 0, &err), &err);
        assert_int_equal(counter.n_allocs, before);
        nb_session_destroy(s);
        assert_int_equal(counter.live, 0);
        free(out);
        tiny_fini(&t);
    }
}

/* Learned positions end: a longer context is refused, a shorter one runs, step by step or not. */
static void test_positions(void **state)
{
    (void)state;
    static const size_t uneven[] = {1, 13, 2, 1, 8, 0};
    struct nb_hparams hp = tiny_hparams();
    struct tiny t;
    struct nb_session *none;
    hp.positions = true;
    hp.rope.dim = 0;
    check_reference(hp, 2e-4);
    tiny_init(&t, hp, &nb_numfmt_f32);
    const struct nb_session_options longer = {.n_ctx = hp.n_ctx_train + 1};
    const struct nb_session_options all = {.n_ctx = hp.n_ctx_train};
    assert_fails(nb_session_create(&none, &t.w, &longer, NULL, &err), NB_ERR_ARG, &err,
                 "97 positions; the model has 96");
    assert_null(none);
    float *once = logits_of(&t, &all, NULL), *steps = logits_of(&t, &all, uneven);
    assert_bits_array(once, steps, N * (size_t)hp.n_vocab);
    free(once), free(steps);
    tiny_fini(&t);
}

static void test_errors(void **state)
{
    (void)state;
    struct tiny t;
    tiny_init(&t, tiny_hparams(), &nb_numfmt_f32);
    const struct nb_session_options o = {.n_ctx = 8};
    struct nb_session *s = open_session(&t, &o), *none;
    uint32_t tokens[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    float *row = malloc(9 * t.w.hp.n_vocab * sizeof *row);
    assert_int_equal(nb_session_context(s), 8);
    assert_fails(nb_session_eval(s, tokens, 9, row, 0, &err), NB_ERR_LIMIT, &err, "context of 8");
    tokens[2] = t.w.hp.n_vocab;
    assert_fails(nb_session_eval(s, tokens, 4, row, 0, &err), NB_ERR_ARG, &err, "token 2 is 107");
    assert_fails(nb_session_eval(s, tokens, 2, row, 3, &err), NB_ERR_ARG, &err, "from token 3");
    assert_fails(nb_session_eval(s, tokens, 2, NULL, 1, &err), NB_ERR_ARG, &err, "no memory");
    assert_int_equal(nb_session_position(s), 0);
    assert_ok(nb_session_eval(s, tokens, 0, NULL, 0, &err), &err);
    tokens[2] = 3;
    assert_ok(nb_session_eval(s, tokens, 8, row, 7, &err), &err);
    assert_fails(nb_session_eval(s, tokens, 1, row, 0, &err), NB_ERR_LIMIT, &err, "position 8");
    nb_session_destroy(s);
    nb_session_destroy(NULL);
    free(row);

    struct nb_session_options bad = {.kv_type = &nb_numfmt_q8_0};
    assert_fails(nb_session_create(&none, &t.w, &bad, NULL, &err), NB_ERR_UNSUPPORTED, &err,
                 "q8_0");
    assert_null(none);
    t.items[3].t.shape.dim[0]++;
    assert_fails(nb_session_create(&none, &t.w, &o, NULL, &err), NB_ERR_FORMAT, &err,
                 "expected [64, 64]");
    t.items[3].t.shape.dim[0]--;
    t.items[3].t.bytes--;
    assert_fails(nb_session_create(&none, &t.w, &o, NULL, &err), NB_ERR_FORMAT, &err, "bytes");
    t.items[3].t.bytes++;
    t.w.hp.bias_q = true;
    assert_fails(nb_session_create(&none, &t.w, &o, NULL, &err), NB_ERR_NOT_FOUND, &err,
                 "'blk.0.attn_q.bias' is missing");
    t.w.hp.bias_q = false;
    t.w.hp.n_kv_heads = 3;
    assert_fails(nb_session_create(&none, &t.w, &o, NULL, &err), NB_ERR_FORMAT, &err, "kv heads");
    t.w.hp = (struct nb_hparams){.arch = &t.arch, .n_ctx_train = 4};
    assert_fails(nb_session_create(&none, &t.w, &o, NULL, &err), NB_ERR_FORMAT, &err, "may be 0");
    tiny_fini(&t);
}

static enum nb_status create_once(void *ctx, const struct nb_allocator *a)
{
    const struct tiny *t = ctx;
    const struct nb_session_options o = {.n_ctx = 16};
    struct nb_session *s;
    NB_TRY(nb_session_create(&s, &t->w, &o, a, &err));
    nb_session_destroy(s);
    return NB_OK;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct tiny t;
    struct nb_hparams hp = tiny_hparams();
    hp.n_layers = 1;
    tiny_init(&t, hp, &nb_numfmt_q8_0);
    assert_true(nbtest_oom(create_once, &t) > 8);
    tiny_fini(&t);
}

struct seen {
    size_t calls, rows, head_rows;
    double first;
    uint32_t gate;
};

static void on_tap(void *ctx, const struct nb_tap *tap)
{
    struct seen *seen = ctx;
    seen->calls++;
    if (strcmp(tap->weight, "blk.1.ffn_down.weight") == 0) {
        assert_int_equal(tap->k, 96);
        seen->rows += tap->n_tokens;
        seen->first = (double)tap->x[0];
    }
    if (strcmp(tap->weight, "blk.1.ffn_gate.weight") == 0)
        seen->gate = tap->edge;
    if (strcmp(tap->weight, "blk.1.ffn_up.weight") == 0) /* they read the same values */
        assert_int_equal(tap->edge, seen->gate);
    if (strcmp(tap->weight, "blk.1.attn_q.weight") == 0)
        assert_true(tap->edge != seen->gate);
    if (strcmp(tap->weight, "token_embd.weight") == 0)
        seen->head_rows += tap->n_tokens;
}

static void test_tap(void **state)
{
    (void)state;
    for (size_t f = 0; f < 4; f += 3) {
        struct tiny t;
        struct seen seen = {0};
        uint32_t tokens[20];
        tiny_init(&t, tiny_hparams(), nb_numfmt_find(formats[f]));
        const struct nb_session_options o = {.n_batch = 8};
        struct nb_session *s = open_session(&t, &o);
        float *row = malloc(2 * t.w.hp.n_vocab * sizeof *row);
        make_tokens(tokens, 20, t.w.hp.n_vocab);
        nb_session_tap(s, on_tap, &seen);
        assert_ok(nb_session_eval(s, tokens, 20, row, 18, &err), &err);
        assert_int_equal(seen.rows, 20);
        assert_int_equal(seen.head_rows, 2);
        assert_int_equal(seen.calls, 3 * 3 * 7 + 1); /* batches, layers, products; the head once */
        assert_true(seen.first != 0.0);
        nb_session_tap(s, NULL, NULL);
        assert_ok(nb_session_eval(s, tokens, 1, row, 0, &err), &err);
        assert_int_equal(seen.rows, 20);
        nb_session_destroy(s);
        free(row);
        tiny_fini(&t);
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_reference), cmocka_unit_test(test_rope_scaling),
             cmocka_unit_test(test_rope_context), cmocka_unit_test(test_split),
             cmocka_unit_test(test_threads), cmocka_unit_test(test_golden_bits),
             cmocka_unit_test(test_integer_products), cmocka_unit_test(test_kv_type),
             cmocka_unit_test(test_halves), cmocka_unit_test(test_rewind),
             cmocka_unit_test(test_no_allocation), cmocka_unit_test(test_positions),
             cmocka_unit_test(test_errors), cmocka_unit_test(test_out_of_memory),
             cmocka_unit_test(test_tap))
