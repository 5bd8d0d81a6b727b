/* Picking tokens: the rules one by one, ties, broken logits, the same draw everywhere. */
#include <math.h>

#include "run/run.h"
#include "support/nbtest.h"

#define VOCAB 50

static struct nb_error err;

static struct nb_sampler_options plain(void)
{
    struct nb_sampler_options o;
    nb_sampler_options_init(&o);
    o.temperature = 1.0F;
    o.top_k = 0;
    o.top_p = 1.0F;
    o.min_p = 0.0F;
    return o;
}

static struct nb_sampler *make(const struct nb_sampler_options *o, uint32_t n_vocab)
{
    struct nb_sampler *s;
    assert_ok(nb_sampler_create(&s, o, n_vocab, NULL, &err), &err);
    return s;
}

/* How often each of VOCAB tokens is picked in n draws. */
static void count(uint32_t *counts, const struct nb_sampler_options *o, const float *logits, int n)
{
    struct nb_sampler *s = make(o, VOCAB);
    memset(counts, 0, VOCAB * sizeof *counts);
    for (int i = 0; i < n; i++) {
        const uint32_t t = nb_sampler_pick(s, logits);
        assert_true(t < VOCAB);
        counts[t]++;
    }
    nb_sampler_destroy(s);
}

/* logits whose probabilities are 1/2, 1/4, 1/8 ... from token 7 on, wrapping round */
static void halving(float *logits)
{
    for (uint32_t i = 0; i < VOCAB; i++)
        logits[(i + 7) % VOCAB] = -0.6931472F * (float)i;
}

static uint32_t distinct(const uint32_t *counts)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < VOCAB; i++)
        n += counts[i] != 0;
    return n;
}

static void test_greedy(void **state)
{
    (void)state;
    struct nb_sampler_options o = plain();
    float logits[VOCAB] = {0};
    o.temperature = 0.0F;
    struct nb_sampler *s = make(&o, VOCAB);
    assert_int_equal(nb_sampler_pick(s, logits), 0); /* a tie: the lower id */
    logits[31] = logits[12] = 2.0F;
    assert_int_equal(nb_sampler_pick(s, logits), 12);
    logits[40] = NAN;
    logits[31] = 3.0F;
    assert_int_equal(nb_sampler_pick(s, logits), 31);
    logits[5] = INFINITY;
    assert_int_equal(nb_sampler_pick(s, logits), 5);
    for (int i = 0; i < VOCAB; i++)
        logits[i] = i % 2 ? NAN : -INFINITY;
    assert_int_equal(nb_sampler_pick(s, logits), 0);
    nb_sampler_destroy(s);
}

static void test_distribution(void **state)
{
    (void)state;
    struct nb_sampler_options o = plain();
    float logits[VOCAB];
    uint32_t counts[VOCAB];
    halving(logits);
    count(counts, &o, logits, 20000);
    assert_close(counts[7] / 20000.0, 0.5, 0.015);
    assert_close(counts[8] / 20000.0, 0.25, 0.015);
    assert_close(counts[10] / 20000.0, 0.0625, 0.01);
    o.temperature = 0.5F; /* probabilities squared: 3/4, 3/16 */
    count(counts, &o, logits, 20000);
    assert_close(counts[7] / 20000.0, 0.75, 0.015);
    assert_close(counts[8] / 20000.0, 0.1875, 0.015);
    o.temperature = 1e-6F;
    count(counts, &o, logits, 100);
    assert_int_equal(counts[7], 100);
}

static void test_cuts(void **state)
{
    (void)state;
    float logits[VOCAB];
    uint32_t counts[VOCAB];
    halving(logits);
    struct nb_sampler_options o = plain();
    o.top_k = 3;
    count(counts, &o, logits, 2000);
    assert_int_equal(distinct(counts), 3);
    assert_true(counts[7] && counts[8] && counts[9]);
    o = plain();
    o.top_p = 0.8F; /* 1/2 + 1/4 < 0.8: a third token is needed */
    count(counts, &o, logits, 2000);
    assert_int_equal(distinct(counts), 3);
    o.top_p = 0.7F;
    count(counts, &o, logits, 2000);
    assert_int_equal(distinct(counts), 2);
    o.top_p = 0.001F; /* the best always stays */
    count(counts, &o, logits, 200);
    assert_int_equal(counts[7], 200);
    o = plain();
    o.min_p = 0.2F; /* 1/4 of the best stays, 1/8 goes */
    count(counts, &o, logits, 2000);
    assert_int_equal(distinct(counts), 3);
    o.min_p = 1.0F;
    count(counts, &o, logits, 200);
    assert_int_equal(counts[7], 200);
    o = plain();
    o.top_k = 2; /* of these, top-p counts anew: 2/3 is enough */
    o.top_p = 0.6F;
    count(counts, &o, logits, 500);
    assert_int_equal(counts[7], 500);
}

static void test_penalty(void **state)
{
    (void)state;
    struct nb_sampler_options o = plain();
    float logits[VOCAB] = {[3] = 4.0F, [4] = 3.0F, [5] = 2.5F};
    o.temperature = 0.0F;
    o.repeat_penalty = 1.5F;
    o.repeat_last = 2;
    struct nb_sampler *s = make(&o, VOCAB);
    assert_int_equal(nb_sampler_pick(s, logits), 3);
    nb_sampler_accept(s, 3); /* 4 / 1.5 = 2.67 */
    nb_sampler_accept(s, 3); /* twice seen, once punished */
    assert_int_equal(nb_sampler_pick(s, logits), 4);
    nb_sampler_accept(s, 4); /* 2 */
    assert_int_equal(nb_sampler_pick(s, logits), 3);
    nb_sampler_accept(s, 9); /* 3 is forgotten */
    assert_int_equal(nb_sampler_pick(s, logits), 3);
    nb_sampler_accept(s, VOCAB); /* outside: ignored */
    for (int i = 0; i < VOCAB; i++)
        logits[i] = i == 9 ? -1.0F : -1.2F; /* negative: multiplied */
    assert_int_equal(nb_sampler_pick(s, logits), 0);
    nb_sampler_destroy(s);
}

/* The first tokens of a seed, as they are on every machine. */
static void test_seed(void **state)
{
    (void)state;
    static const uint32_t want[8] = {7, 11, 8, 7, 9, 7, 7, 9};
    struct nb_sampler_options o;
    float logits[VOCAB];
    nb_sampler_options_init(&o);
    o.temperature = 1.5F;
    halving(logits);
    struct nb_sampler *a = make(&o, VOCAB), *b = make(&o, VOCAB);
    for (int i = 0; i < 8; i++) {
        const uint32_t t = nb_sampler_pick(a, logits);
        assert_int_equal(t, nb_sampler_pick(b, logits));
        assert_int_equal(t, want[i]);
    }
    nb_sampler_destroy(b);
    o.seed++;
    b = make(&o, VOCAB);
    int differ = 0;
    for (int i = 0; i < 50; i++)
        differ += nb_sampler_pick(a, logits) != nb_sampler_pick(b, logits);
    assert_true(differ > 5);
    nb_sampler_destroy(a);
    nb_sampler_destroy(b);
}

static void test_errors(void **state)
{
    (void)state;
    struct nb_sampler *s;
    struct nb_sampler_options o = plain();
    assert_fails(nb_sampler_create(&s, &o, 0, NULL, &err), NB_ERR_ARG, &err, "vocabulary");
    o.temperature = -0.1F;
    assert_fails(nb_sampler_create(&s, &o, 5, NULL, &err), NB_ERR_ARG, &err, "temperature -0.1");
    o = plain();
    o.top_p = 0.0F;
    assert_fails(nb_sampler_create(&s, &o, 5, NULL, &err), NB_ERR_ARG, &err, "top-p");
    o = plain();
    o.min_p = 1.1F;
    assert_fails(nb_sampler_create(&s, &o, 5, NULL, &err), NB_ERR_ARG, &err, "min-p");
    o = plain();
    o.repeat_penalty = NAN;
    assert_fails(nb_sampler_create(&s, &o, 5, NULL, &err), NB_ERR_ARG, &err, "penalty");
    assert_null(s);
    nb_sampler_destroy(NULL);
}

static enum nb_status create_once(void *ctx, const struct nb_allocator *a)
{
    struct nb_sampler *s;
    NB_TRY(nb_sampler_create(&s, ctx, VOCAB, a, &err));
    nb_sampler_destroy(s);
    return NB_OK;
}

static void test_memory(void **state)
{
    (void)state;
    struct nb_sampler_options o = plain();
    float logits[VOCAB];
    struct nbtest_alloc counter;
    struct nb_sampler *s;
    assert_int_equal(nbtest_oom(create_once, &o), 5);
    nbtest_alloc_init(&counter, 0);
    assert_ok(nb_sampler_create(&s, &o, VOCAB, &counter.a, &err), &err);
    halving(logits);
    const size_t before = counter.n_allocs;
    for (int i = 0; i < 100; i++)
        nb_sampler_accept(s, nb_sampler_pick(s, logits));
    assert_int_equal(counter.n_allocs, before);
    nb_sampler_destroy(s);
    assert_int_equal(counter.live, 0);
}

NB_TEST_MAIN(cmocka_unit_test(test_greedy), cmocka_unit_test(test_distribution),
             cmocka_unit_test(test_cuts), cmocka_unit_test(test_penalty),
             cmocka_unit_test(test_seed), cmocka_unit_test(test_errors),
             cmocka_unit_test(test_memory))
