/* Observing a running model: each edge once, held-out windows apart, experts by their tokens, the same bits for
 * any threads and batch. */
#include "calib/calib.h"
#include "calib/observer.h"
#include "dialect/dialect.h"
#include "support/tiny_llama.h"

#define CTX     48
#define WINDOWS 12
#define TOKENS  (CTX * WINDOWS)
#define ALL     ((1U << NB_STAT_COUNT) - 1)

static struct nb_error err;
static uint32_t tokens[TOKENS];

static void fill(uint32_t n_vocab)
{
    for (uint32_t i = 0; i < TOKENS; i++)
        tokens[i] = (i * 37 + i / 11 + 11) % n_vocab;
}

static struct nb_collect_job job_of(const struct nb_weights *w, struct nb_pool *pool)
{
    return (struct nb_collect_job){.w = w,
                                   .tokens = tokens,
                                   .n_tokens = TOKENS,
                                   .bos = 1,
                                   .ctx = CTX,
                                   .pool = pool,
                                   .held_every = 10};
}

static struct nb_stats *collect(const struct nb_weights *w, const struct nb_stats_options *o,
                                struct nb_pool *pool)
{
    struct nb_stats *s;
    const struct nb_collect_job job = job_of(w, pool);
    assert_ok(nb_stats_create(&s, o, NULL, &err), &err);
    assert_ok(nb_stats_collect(s, &job, &err), &err);
    return s;
}

/* ---- against a tap of the test's own ---- */
struct seen {
    const char *name;
    size_t k, n;
    float x[TOKENS * 128];
};
static struct seen seen;

static void on_tap(void *ctx, const struct nb_tap *tap)
{
    struct seen *s = ctx;
    if (strcmp(tap->weight, s->name) != 0)
        return;
    s->k = tap->k;
    assert_true((s->n + tap->n_tokens) * tap->k <= NB_COUNTOF(s->x));
    memcpy(s->x + s->n * tap->k, tap->x, tap->n_tokens * tap->k * sizeof *s->x);
    s->n += tap->n_tokens;
}

static void see(const struct nb_weights *w, const char *name, bool held)
{
    const struct nb_session_options o = {.n_ctx = CTX, .kv_type = &nb_numfmt_f32};
    struct nb_session *s;
    seen.name = name;
    seen.n = 0;
    assert_ok(nb_session_create(&s, w, &o, NULL, &err), &err);
    nb_session_tap(s, on_tap, &seen);
    for (size_t i = 0; i < WINDOWS; i++) {
        uint32_t window[CTX];
        if ((i % 10 == 9) != held)
            continue;
        memcpy(window, tokens + i * CTX, sizeof window);
        window[0] = 1;
        nb_session_rewind(s, 0);
        assert_ok(nb_session_eval(s, window, CTX, NULL, CTX, &err), &err);
    }
    nb_session_destroy(s);
}

static void check_hessian(const struct nb_stats *s, const char *name, enum nb_stats_set set)
{
    const struct nb_hessian *h = nb_stats_hessian(s, name, 0, set);
    struct nb_hessian *want;
    assert_non_null(h);
    assert_int_equal(h->n, seen.k);
    assert_true(h->tokens == (double)seen.n);
    assert_ok(nb_hessian_create(&want, seen.k, NULL, &err), &err);
    assert_ok(nb_hessian_add(want, seen.x, seen.n, NULL, &err), &err);
    assert_memory_equal(want->h, h->h, seen.k * seen.k * sizeof *h->h);
    nb_hessian_destroy(want);
}

static void test_sums(void **state)
{
    (void)state;
    static const char *const names[] = {"blk.0.attn_q.weight", "blk.1.attn_output.weight"};
    const struct nb_stats_options o = {.kinds = ALL, .held_out = true};
    struct tiny t;
    tiny_init(&t, tiny_hparams(), &nb_numfmt_f16);
    fill(t.w.hp.n_vocab);
    struct nb_stats *s = collect(&t.w, &o, NULL);
    assert_int_equal(nb_stats_n_edges(s), 3 * 4);
    for (size_t k = 0; k < NB_COUNTOF(names); k++) {
        struct nb_stats_summary sum;
        double lo = 0.0, hi = 0.0, squares = 0.0;
        see(&t.w, names[k], true);
        assert_int_equal(seen.n, CTX);
        check_hessian(s, names[k], NB_STATS_HELD);
        see(&t.w, names[k], false);
        assert_int_equal(seen.n, 11 * CTX);
        check_hessian(s, names[k], NB_STATS_TRAIN);
        for (size_t i = 0; i < seen.n * seen.k; i++) {
            const double v = (double)seen.x[i];
            lo = NB_MIN(lo, v);
            hi = NB_MAX(hi, v);
            squares += v * v;
        }
        const size_t edge = nb_stats_edge_of(s, names[k]);
        assert_ok(nb_stats_summarize(s, edge, true, NULL, &sum, &err), &err);
        assert_true(sum.lo == lo && sum.hi == hi);
        assert_close(sum.rms * sum.rms, squares / (double)(seen.n * seen.k), 1e-9 * squares);
        assert_true(sum.tokens == 11.0 * CTX && sum.held == CTX);
        assert_true(sum.n_mat == 1 && sum.cols == seen.k && sum.gain_db > 0.0);
    }
    /* Readers of the same value share its edge. */
    assert_int_equal(nb_stats_edge_of(s, "blk.1.attn_q.weight"),
                     nb_stats_edge_of(s, "blk.1.attn_v.weight"));
    assert_int_equal(nb_stats_edge_of(s, "blk.1.ffn_gate.weight"),
                     nb_stats_edge_of(s, "blk.1.ffn_up.weight"));
    assert_true(nb_stats_edge_of(s, "blk.1.ffn_up.weight") !=
                nb_stats_edge_of(s, "blk.1.attn_q.weight"));
    assert_ptr_equal(nb_stats_hessian(s, "blk.1.attn_q.weight", 0, NB_STATS_TRAIN),
                     nb_stats_hessian(s, "blk.1.attn_k.weight", 0, NB_STATS_TRAIN));
    assert_true(nb_stats_edge_of(s, "none") == SIZE_MAX);
    assert_null(nb_stats_hessian(s, "none", 0, NB_STATS_TRAIN));
    assert_null(nb_stats_hessian(s, "blk.1.attn_q.weight", 1, NB_STATS_TRAIN));
    struct nb_hessian *h = nb_stats_take_hessian(s, "blk.1.attn_q.weight", 0, NB_STATS_HELD);
    assert_non_null(h);
    assert_null(nb_stats_hessian(s, "blk.1.attn_k.weight", 0, NB_STATS_HELD));
    nb_hessian_destroy(h);
    nb_stats_destroy(s);
    tiny_fini(&t);
}

/* Only what is asked for is kept: a block's inputs at a time. */
static void test_chosen_weights(void **state)
{
    (void)state;
    static const char *const names[] = {"blk.1.attn_k.weight", "blk.1.ffn_down.weight"};
    const struct nb_stats_options o = {
        .kinds = NB_STAT_BIT(hessian), .weights = names, .n_weights = 2};
    struct tiny t;
    tiny_init(&t, tiny_hparams(), &nb_numfmt_f16);
    fill(t.w.hp.n_vocab);
    struct nb_stats *s = collect(&t.w, &o, NULL);
    assert_int_equal(nb_stats_n_edges(s), 2);
    assert_true(nb_stats_edge_of(s, "blk.1.attn_q.weight") == SIZE_MAX);
    see(&t.w, names[0], false);
    check_hessian(s, names[0], NB_STATS_TRAIN);
    assert_null(nb_stats_hessian(s, names[0], 0, NB_STATS_HELD));
    struct nb_calib *c;
    assert_ok(nb_calib_create(&c, NULL, &err), &err);
    assert_fails(nb_stats_moments(s, c, &err), NB_ERR_ARG, &err, "no moments");
    nb_calib_destroy(c);
    nb_stats_destroy(s);
    tiny_fini(&t);
}

/* ---- observers on their own ---- */

static void observe(const struct nb_observer *o, void *state, const float *x, size_t rows,
                    size_t cols)
{
    const struct nb_observed v = {.x = x, .cols = cols, .n_rows = rows};
    assert_ok(o->add(state, &v, &err), &err);
}

static void save_all(const struct nb_observer *o, const void *state, double *dst, size_t room)
{
    const struct nb_stored is = o->stored(state);
    assert_true(is.rows * is.cols <= room);
    for (size_t i = 0; i < is.rows * is.cols; i++) /* one by one: `first` counts */
        o->save(state, i, 1, &dst[i]);
}

static void test_moving(void **state)
{
    (void)state;
    static const float a[] = {1, -2, 3, 0.5F}, b[] = {-10, 4, 2, 8};
    const struct nb_observer *o = &nb_observer_moving;
    uint64_t memory[32] = {0}; /* aligned */
    double got[3];
    assert_true(o->state_bytes <= sizeof memory);
    assert_ok(o->init(memory, 2, NULL, &err), &err);
    o->window(memory);
    observe(o, memory, a, 1, 2); /* a window in two calls */
    observe(o, memory, a + 2, 1, 2);
    o->window(memory);
    observe(o, memory, b, 2, 2);
    assert_ok(o->settle(memory, NULL, "w", &err), &err);
    save_all(o, memory, got, 3);
    assert_close(got[0], -2.0 + 0.01 * (-10.0 + 2.0), 1e-12);
    assert_close(got[1], 3.0 + 0.01 * (8.0 - 3.0), 1e-12);
    assert_true(got[2] == 2.0);
    o->fini(memory);
}

/* Counts do not depend on the order, and merging equals one run over both. */
static void test_histogram(void **state)
{
    (void)state;
    enum { N = 4000 };
    static float x[N];
    static double one[2 * 16384], two[2 * 16384];
    const struct nb_observer *o = &nb_observer_histogram;
    uint64_t a[32] = {0}, b[32] = {0}, c[32] = {0};
    assert_true(o->state_bytes <= sizeof a);
    uint32_t s = 3;
    for (size_t i = 0; i < N; i++) {
        s = s * 1664525U + 1013904223U;
        x[i] = ((float)(s >> 8) * 0x1p-23F - 1.0F) * (i == 3000 ? 900.0F : 3.0F);
    }
    x[17] = 0.0F;
    assert_ok(o->init(a, 1, NULL, &err), &err);
    assert_ok(o->init(b, 1, NULL, &err), &err);
    assert_ok(o->init(c, 1, NULL, &err), &err);
    observe(o, a, x, N, 1);
    observe(o, c, x + 2500, N - 2500, 1);
    observe(o, b, x, 2500, 1);
    assert_ok(o->merge(b, c, &err), &err);
    const struct nb_stored is = o->stored(a), same = o->stored(b);
    assert_int_equal(is.cols, same.cols);
    assert_true(is.rows == 2 && is.cols <= 16384);
    save_all(o, a, one, NB_COUNTOF(one));
    save_all(o, b, two, NB_COUNTOF(two));
    assert_memory_equal(one, two, 2 * is.cols * sizeof *one);
    /* Bin by bin what a count over the values gives. */
    double total = 0.0, most = 0.0;
    for (size_t i = 0; i < N; i++)
        most = NB_MAX(most, (double)fabsf(x[i]));
    assert_true(one[is.cols - 1] > most && one[is.cols - 1] - one[0] <= most);
    for (size_t k = 0; k < is.cols; k++) {
        size_t n = 0;
        for (size_t i = 0; k < 100 && i < N; i++) {
            const double v = (double)fabsf(x[i]);
            n += v >= one[k] - one[0] && v < one[k];
        }
        if (k < 100)
            assert_true(one[is.cols + k] == (double)n);
        total += one[is.cols + k];
    }
    assert_true(total == (double)N);
    o->fini(a);
    o->fini(b);
    o->fini(c);
}

static void test_not_finite(void **state)
{
    (void)state;
    static const float bad[] = {1.0F, NAN, 2.0F}, huge[] = {1.0F, INFINITY, 2.0F};
    for (size_t k = 0; k < NB_STAT_COUNT; k++)
        for (int i = 0; i < 2; i++) {
            uint64_t memory[32] = {0};
            assert_ok(nb_observers[k]->init(memory, 3, NULL, &err), &err);
            observe(nb_observers[k], memory, i == 0 ? bad : huge, 1, 3);
            assert_fails(nb_observers[k]->settle(memory, NULL, "w.q", &err), NB_ERR_NUMERIC, &err,
                         "the input of 'w.q' is not finite");
            nb_observers[k]->fini(memory);
        }
}

static void test_kinds(void **state)
{
    (void)state;
    unsigned kinds;
    assert_ok(nb_stats_parse_kinds(&kinds, "hessian,range", &err), &err);
    assert_int_equal(kinds, NB_STAT_BIT(hessian) | NB_STAT_BIT(range));
    assert_ok(nb_stats_parse_kinds(&kinds, "moments", &err), &err);
    assert_fails(nb_stats_parse_kinds(&kinds, "moments,", &err), NB_ERR_ARG, &err, "statistic ''");
    assert_fails(nb_stats_parse_kinds(&kinds, "ranges", &err), NB_ERR_ARG, &err,
                 "no statistic 'ranges'; expected some of moments");
    for (size_t k = 0; k < NB_STAT_COUNT; k++) { /* all are listed in the message */
        assert_non_null(strstr(err.message, nb_observers[k]->name));
        assert_ok(nb_stats_parse_kinds(&kinds, nb_observers[k]->name, NULL), NULL);
        assert_int_equal(kinds, 1U << k);
    }
}

/* ---- experts ---- */

struct expert_seen {
    const char *name;
    size_t n[64], k;
    float x[64][CTX * 64];
};
static struct expert_seen experts;

static void on_expert_tap(void *ctx, const struct nb_tap *tap)
{
    struct expert_seen *s = ctx;
    if (strcmp(tap->weight, s->name) != 0)
        return;
    s->k = tap->k;
    for (size_t i = 0; i < tap->n_tokens * tap->n_ids; i++) {
        const uint32_t e = tap->ids[i];
        assert_true((s->n[e] + 1) * tap->k <= CTX * 64);
        memcpy(s->x[e] + s->n[e]++ * tap->k, tap->x + (tap->per_id ? i : i / tap->n_ids) * tap->k,
               tap->k * sizeof(float));
    }
}

static void test_experts(void **state)
{
    (void)state;
    static const char *const names[] = {"blk.0.ffn_gate_exps.weight", "blk.1.ffn_down_exps.weight"};
    const struct nb_stats_options o = {.kinds = ALL};
    struct nb_model *m;
    struct nb_stats *s;
    assert_ok(nb_model_open(&m, nbtest_root("tests/golden/archs/qwen3-moe"), NULL, NULL, &err),
              &err);
    fill(m->w.hp.n_vocab);
    struct nb_collect_job job = job_of(&m->w, NULL);
    job.bos = -1;
    job.chunks = 1;
    assert_ok(nb_stats_create(&s, &o, NULL, &err), &err);
    assert_ok(nb_stats_collect(s, &job, &err), &err);
    for (size_t k = 0; k < NB_COUNTOF(names); k++) {
        const struct nb_session_options so = {
            .n_ctx = CTX, .kv_type = &nb_numfmt_f32, .float_activations = true};
        struct nb_session *session;
        memset(&experts, 0, sizeof experts);
        experts.name = names[k];
        assert_ok(nb_session_create(&session, &m->w, &so, NULL, &err), &err);
        nb_session_tap(session, on_expert_tap, &experts);
        assert_ok(nb_session_eval(session, tokens, CTX, NULL, CTX, &err), &err);
        nb_session_destroy(session);
        const size_t n_mat = nb_stats_matrices(s, names[k]);
        assert_int_equal(n_mat, 8);
        for (size_t e = 0; e < n_mat; e++) {
            const struct nb_hessian *h = nb_stats_hessian(s, names[k], e, NB_STATS_TRAIN);
            struct nb_hessian *want;
            assert_true(h->tokens == (double)experts.n[e]);
            assert_ok(nb_hessian_create(&want, experts.k, NULL, &err), &err);
            assert_ok(nb_hessian_add(want, experts.x[e], experts.n[e], NULL, &err), &err);
            assert_memory_equal(want->h, h->h, experts.k * experts.k * sizeof *h->h);
            assert_true(want->tokens == h->tokens);
            nb_hessian_destroy(want);
        }
    }
    assert_int_equal(nb_stats_matrices(s, "blk.0.ffn_gate_inp.weight"), 1);
    nb_stats_destroy(s);
    nb_model_close(m);
}

static enum nb_status oom_body(void *ctx, const struct nb_allocator *a)
{
    const struct tiny *t = ctx;
    const struct nb_stats_options o = {.kinds = ALL, .held_out = true};
    struct nb_collect_job job = job_of(&t->w, NULL);
    struct nb_stats *s;
    job.chunks = 2;
    job.held_every = 2;
    NB_TRY(nb_stats_create(&s, &o, a, NULL));
    const enum nb_status st = nb_stats_collect(s, &job, NULL);
    nb_stats_destroy(s);
    return st;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct tiny t;
    tiny_init(&t, tiny_hparams(), &nb_numfmt_f16);
    assert_true(nbtest_oom(oom_body, &t) > 100);
    tiny_fini(&t);
}

NB_TEST_MAIN(cmocka_unit_test(test_sums), cmocka_unit_test(test_chosen_weights),
             cmocka_unit_test(test_moving), cmocka_unit_test(test_histogram),
             cmocka_unit_test(test_not_finite), cmocka_unit_test(test_kinds),
             cmocka_unit_test(test_experts), cmocka_unit_test(test_out_of_memory))
