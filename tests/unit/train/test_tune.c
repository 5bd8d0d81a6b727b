/* Tuning: predictions held out come closer, never further; the same bits for any pool; what is refused. */
#include "train/tune.h"
#include "support/tiny_llama.h"

#define CTX    16
#define TOKENS (CTX * 40)

static struct nb_error err;
static uint32_t tokens[TOKENS];

/* A model and the same one in 8 bits with its norms put out. The struct must not move. */
struct pair {
    struct tiny f, q;
    struct nb_tune_job job;
};

static void put_out(struct tiny *t)
{
    for (size_t i = 0; i < t->w.n; i++)
        if (t->items[i].t.shape.n == 1) {
            const size_t n = (size_t)t->items[i].t.shape.dim[0];
            float *x = nb_arena_alloc(&t->arena, n, sizeof *x);
            memcpy(x, t->items[i].t.data, n * sizeof *x);
            for (size_t j = 0; j < n; j++)
                x[j] *= 1.0F + 0.15F * (float)nb_rng_normal(&t->rng);
            t->items[i].t.data = (const uint8_t *)x;
        }
}

static void pair_init(struct pair *p)
{
    tiny_init(&p->f, tiny_hparams(), &nb_numfmt_f32);
    tiny_init(&p->q, tiny_hparams(), &nb_numfmt_q8_0);
    put_out(&p->q);
    p->q.w.hp.arch = p->f.w.hp.arch;
    for (size_t i = 0; i < TOKENS; i++)
        tokens[i] = (uint32_t)((i * i * 13 + i / 3) % p->f.w.hp.n_vocab);
    p->job = (struct nb_tune_job){.teacher = &p->f.w,
                                  .student = &p->q.w,
                                  .tokens = tokens,
                                  .n_tokens = TOKENS,
                                  .bos = 1,
                                  .ctx = CTX,
                                  .epochs = 3,
                                  .rate = 1e-2};
}

static void pair_fini(struct pair *p)
{
    tiny_fini(&p->f);
    tiny_fini(&p->q);
}

static struct nb_tune *tune(const struct nb_tune_job *job)
{
    struct nb_tune *t;
    assert_ok(nb_tune_run(&t, job, NULL, &err), &err);
    return t;
}

static void test_falls(void **state)
{
    struct pair p;
    (void)state;
    if (getenv("NB_SLOW") != NULL) /* test_bits runs the same there, shorter */
        skip();
    pair_init(&p);
    p.job.batch = 1;
    struct nb_tune *t = tune(&p.job);
    print_message("KL %.5f -> %.5f, step %u of %u\n", t->kl_before, t->kl_after, t->kept_step,
                  t->steps);
    assert_int_equal(t->n, 3 * 2 + 1);
    assert_int_equal(t->steps, 3 * 36);
    assert_true(t->kl_before > 0.0);
    assert_true(t->kl_after < 0.5 * t->kl_before);
    assert_true(t->kept_step > 0);
    nb_tune_destroy(t);
    pair_fini(&p);
}

/* Steps far too long: the start is kept. */
static void test_keeps(void **state)
{
    struct pair p;
    (void)state;
    pair_init(&p);
    p.job.rate = 30.0;
    struct nb_tune *t = tune(&p.job);
    assert_int_equal(t->kept_step, 0);
    assert_true(t->kl_after == t->kl_before);
    for (size_t i = 0; i < t->n; i++) {
        const struct nb_weight *w = nb_weights_find(&p.q.w, t->items[i].name);
        assert_non_null(w);
        assert_memory_equal(t->items[i].value, w->t.data, t->items[i].n * sizeof(float));
    }
    nb_tune_destroy(t);
    pair_fini(&p);
}

static void test_bits(void **state)
{
    struct pair p;
    (void)state;
    pair_init(&p);
    struct nb_tune *want = tune(&p.job);
    for (unsigned threads = 2; threads <= 7; threads += 5) {
        assert_ok(nb_pool_create(&p.job.pool, threads, NULL, &err), &err);
        struct nb_tune *got = tune(&p.job);
        assert_true(got->kl_before == want->kl_before && got->kl_after == want->kl_after);
        for (size_t i = 0; i < want->n; i++)
            assert_bits_array(got->items[i].value, want->items[i].value, want->items[i].n);
        nb_tune_destroy(got);
        nb_pool_destroy(p.job.pool);
    }
    nb_tune_destroy(want);
    pair_fini(&p);
}

static enum nb_status body(void *ctx, const struct nb_allocator *a)
{
    struct nb_tune *t;
    struct nb_error e;
    const enum nb_status st = nb_tune_run(&t, ctx, a, &e);
    nb_tune_destroy(t);
    return st;
}

static void test_refused(void **state)
{
    struct pair p;
    struct nb_tune *t;
    (void)state;
    pair_init(&p);
    p.job.epochs = 1;
    p.job.chunks = 10;
    assert_true(nbtest_oom(body, &p.job) > 20);
    p.job.chunks = 9;
    assert_fails(nb_tune_run(&t, &p.job, NULL, &err), NB_ERR_ARG, &err, "wants 10 windows");
    assert_null(t);
    p.q.w.hp.n_vocab++;
    assert_fails(nb_tune_run(&t, &p.job, NULL, &err), NB_ERR_ARG, &err, "two models of one kind");
    pair_fini(&p);
}

NB_TEST_MAIN(cmocka_unit_test(test_falls), cmocka_unit_test(test_keeps),
             cmocka_unit_test(test_bits), cmocka_unit_test(test_refused))
