/* Collecting: the sums are those of the activations, for any threads, and each edge is summed once. */
#include "calib/calib.h"
#include "dialect/dialect.h"
#include "support/tiny_llama.h"

#define TOKENS 70
#define CTX    32

static struct nb_error err;
static uint32_t tokens[TOKENS];

static struct nb_calib *collect(const struct tiny *t, struct nb_pool *pool, bool head,
                                uint32_t chunks)
{
    struct nb_calib *c;
    for (uint32_t i = 0; i < TOKENS; i++)
        tokens[i] = (i * 37 + 11) % t->w.hp.n_vocab;
    assert_ok(nb_calib_create(&c, NULL, &err), &err);
    const struct nb_collect_job job = {.w = &t->w,
                                       .tokens = tokens,
                                       .n_tokens = TOKENS,
                                       .bos = 1,
                                       .ctx = CTX,
                                       .chunks = chunks,
                                       .head = head,
                                       .pool = pool};
    assert_ok(nb_calib_collect(c, &job, &err), &err);
    return c;
}

/* What a tap of its own sees, summed plainly. */
struct seen {
    const char *name;
    double sum[128];
    size_t tokens;
};

static void on_tap(void *ctx, const struct nb_tap *tap)
{
    struct seen *s = ctx;
    if (strcmp(tap->weight, s->name) != 0)
        return;
    s->tokens += tap->n_tokens;
    for (size_t i = 0; i < tap->n_tokens * tap->k; i++)
        s->sum[i % tap->k] += (double)tap->x[i] * (double)tap->x[i];
}

static void test_sums(void **state)
{
    (void)state;
    static const char *const names[] = {"blk.0.attn_q.weight", "blk.1.attn_output.weight",
                                        "blk.2.ffn_down.weight", "token_embd.weight"};
    struct tiny t;
    tiny_init(&t, tiny_hparams(), &nb_numfmt_f16);
    struct nb_calib *c = collect(&t, NULL, true, 0);
    float *logits = malloc(sizeof *logits * CTX * t.w.hp.n_vocab);
    assert_int_equal(c->n, 3 * 7 + 1);
    assert_int_equal(c->chunk_count, 2); /* 70 tokens are two windows of 32 */
    assert_int_equal(c->chunk_size, CTX);
    for (size_t k = 0; k < NB_COUNTOF(names); k++) {
        struct seen seen = {.name = names[k]};
        struct nb_session *s;
        const struct nb_session_options o = {.n_ctx = CTX, .kv_type = &nb_numfmt_f32};
        assert_ok(nb_session_create(&s, &t.w, &o, NULL, &err), &err);
        nb_session_tap(s, on_tap, &seen);
        for (size_t w = 0; w < 2; w++) {
            uint32_t window[CTX];
            memcpy(window, tokens + w * CTX, sizeof window);
            window[0] = 1; /* begin of text */
            nb_session_rewind(s, 0);
            assert_ok(nb_session_eval(s, window, CTX, logits, 0, &err), &err);
        }
        nb_session_destroy(s);
        const struct nb_moment *m = nb_calib_find(c, names[k]);
        assert_non_null(m);
        assert_int_equal(seen.tokens, 2 * CTX);
        assert_true(m->count[0] == 2.0 * CTX);
        assert_memory_equal(m->sum, seen.sum, m->cols * sizeof *m->sum);
    }
    /* q, k, v and gate, up read the same values. */
    const struct nb_moment *q = nb_calib_find(c, "blk.1.attn_q.weight");
    const struct nb_moment *v = nb_calib_find(c, "blk.1.attn_v.weight");
    const struct nb_moment *up = nb_calib_find(c, "blk.1.ffn_up.weight");
    const struct nb_moment *gate = nb_calib_find(c, "blk.1.ffn_gate.weight");
    assert_memory_equal(q->sum, v->sum, q->cols * sizeof *q->sum);
    assert_memory_equal(up->sum, gate->sum, up->cols * sizeof *up->sum);
    assert_true(memcmp(q->sum, up->sum, q->cols * sizeof *q->sum) != 0);
    free(logits);
    nb_calib_destroy(c);
    tiny_fini(&t);
}

static void test_threads(void **state)
{
    (void)state;
    struct tiny t;
    struct nb_pool *pool;
    tiny_init(&t, tiny_hparams(), &nb_numfmt_f16);
    struct nb_calib *a = collect(&t, NULL, false, 0);
    assert_int_equal(a->n, 3 * 7); /* without the head */
    assert_ok(nb_pool_create(&pool, 3, NULL, &err), &err);
    struct nb_calib *b = collect(&t, pool, false, 0), *one = collect(&t, pool, false, 1);
    for (size_t i = 0; i < a->n; i++) {
        assert_string_equal(a->items[i].name, b->items[i].name);
        assert_memory_equal(a->items[i].sum, b->items[i].sum, a->items[i].cols * sizeof(double));
        assert_true(one->items[i].count[0] == CTX);
    }
    nb_calib_destroy(one);
    nb_calib_destroy(b);
    nb_calib_destroy(a);
    nb_pool_destroy(pool);
    tiny_fini(&t);
}

/* ---- experts ---- */

/* What a tap of its own sees of one expert. */
struct expert_seen {
    const char *name;
    size_t expert, tokens, edges;
    double sum[128];
};

static void on_expert_tap(void *ctx, const struct nb_tap *tap)
{
    struct expert_seen *s = ctx;
    if (strcmp(tap->weight, s->name) != 0)
        return;
    assert_non_null(tap->ids);
    assert_in_range(tap->k, 1, 128);
    for (size_t i = 0; i < tap->n_tokens * tap->n_ids; i++) {
        const float *x = tap->x + (tap->per_id ? i : i / tap->n_ids) * tap->k;
        if (tap->ids[i] != s->expert)
            continue;
        s->tokens++;
        for (size_t j = 0; j < tap->k; j++)
            s->sum[j] += (double)x[j] * (double)x[j];
    }
}

static struct nb_calib *collect_experts(const struct nb_model *m, bool all)
{
    struct nb_calib *c;
    assert_ok(nb_calib_create(&c, NULL, &err), &err);
    const struct nb_collect_job job = {.w = &m->w,
                                       .tokens = tokens,
                                       .n_tokens = TOKENS,
                                       .bos = -1,
                                       .ctx = CTX,
                                       .chunks = 1,
                                       .all_experts = all};
    assert_ok(nb_calib_collect(c, &job, &err), &err);
    return c;
}

static void run_experts(const struct nb_model *m, bool all, struct expert_seen *seen, float *logits)
{
    struct nb_session *s;
    const struct nb_session_options o = {
        .n_ctx = CTX, .kv_type = &nb_numfmt_f32, .float_activations = true, .all_experts = all};
    assert_ok(nb_session_create(&s, &m->w, &o, NULL, &err), &err);
    nb_session_tap(s, on_expert_tap, seen);
    assert_ok(nb_session_eval(s, tokens, CTX, logits, 0, &err), &err);
    nb_session_destroy(s);
}

/* An expert's sums are of the tokens that came to it; when all come to all, the model says the same. */
static void test_experts(void **state)
{
    (void)state;
    static const char *const names[] = {"blk.0.ffn_gate_exps.weight", "blk.1.ffn_down_exps.weight"};
    enum { E = 8, USED = 3, VOCAB = 96 };
    static float few[CTX * VOCAB], all[CTX * VOCAB];
    struct nb_model *m;
    for (uint32_t i = 0; i < TOKENS; i++)
        tokens[i] = (i * 37 + 11) % VOCAB;
    assert_ok(nb_model_open(&m, nbtest_root("tests/golden/archs/qwen3-moe"), NULL, NULL, &err),
              &err);
    struct nb_calib *c = collect_experts(m, false), *d = collect_experts(m, true);
    for (size_t k = 0; k < NB_COUNTOF(names); k++) {
        const struct nb_moment *a = nb_calib_find(c, names[k]), *b = nb_calib_find(d, names[k]);
        assert_int_equal(a->n_mat, E);
        double n = 0.0;
        for (size_t e = 0; e < E; e++) {
            struct expert_seen seen = {.name = names[k], .expert = e};
            run_experts(m, false, &seen, few);
            assert_true(a->count[e] == (double)seen.tokens);
            assert_memory_equal(a->sum + e * a->cols, seen.sum, a->cols * sizeof *a->sum);
            n += a->count[e];
            seen = (struct expert_seen){.name = names[k], .expert = e};
            run_experts(m, true, &seen, all);
            assert_int_equal(seen.tokens, CTX);
            assert_true(b->count[e] == CTX && b->chosen[e] == a->count[e]);
            assert_memory_equal(b->sum + e * b->cols, seen.sum, b->cols * sizeof *b->sum);
            assert_bits_array(few, all, CTX * VOCAB);
        }
        assert_true(n == (double)(USED * CTX));
        assert_null(a->chosen);
    }
    assert_int_equal(nb_calib_find(c, "blk.0.ffn_gate_inp.weight")->n_mat, 1);
    nb_calib_destroy(c);
    nb_calib_destroy(d);
    nb_model_close(m);
}

static int stop(void *ctx, const char *what, uint64_t done, uint64_t total, const char *unit)
{
    (void)what;
    assert_int_equal(total, 64);
    assert_string_equal(unit, "tokens");
    *(uint64_t *)ctx = done;
    return done > CTX;
}

static void test_refused(void **state)
{
    (void)state;
    struct tiny t;
    struct nb_calib *c;
    uint64_t done = 0;
    tiny_init(&t, tiny_hparams(), &nb_numfmt_f16);
    assert_ok(nb_calib_create(&c, NULL, &err), &err);
    const struct nb_progress progress = {.ctx = &done, .fn = stop};
    struct nb_collect_job job = {.w = &t.w, .tokens = tokens, .n_tokens = 70, .bos = -1, .ctx = 80};
    assert_fails(nb_calib_collect(c, &job, &err), NB_ERR_ARG, &err,
                 "70 tokens, fewer than one window of 80");
    job.ctx = 0;
    assert_fails(nb_calib_collect(c, &job, &err), NB_ERR_ARG, &err, "a window of 0 tokens");
    job.ctx = CTX;
    job.progress = &progress;
    assert_fails(nb_calib_collect(c, &job, &err), NB_ERR_CANCELLED, &err, "cancelled");
    assert_int_equal(done, 64);
    tokens[3] = 5000;
    assert_fails(nb_calib_collect(c, &job, &err), NB_ERR_ARG, &err, "token 3 is 5000");
    tokens[3] = 0;
    nb_calib_destroy(c);
    tiny_fini(&t);
}

static enum nb_status oom_body(void *ctx, const struct nb_allocator *a)
{
    const struct tiny *t = ctx;
    struct nb_calib *c;
    NB_TRY(nb_calib_create(&c, a, NULL));
    const struct nb_collect_job job = {
        .w = &t->w, .tokens = tokens, .n_tokens = CTX, .bos = -1, .ctx = CTX, .head = true};
    const enum nb_status st = nb_calib_collect(c, &job, NULL);
    nb_calib_destroy(c);
    return st;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct tiny t;
    tiny_init(&t, tiny_hparams(), &nb_numfmt_f16);
    assert_true(nbtest_oom(oom_body, &t) > 8);
    tiny_fini(&t);
}

NB_TEST_MAIN(cmocka_unit_test(test_sums), cmocka_unit_test(test_threads),
             cmocka_unit_test(test_experts), cmocka_unit_test(test_refused),
             cmocka_unit_test(test_out_of_memory))
