/* Windows: all of them in order, or a budget's worth spread evenly over texts of different lengths. */
#include "calib/corpus.h"
#include "support/nbtest.h"

static struct nb_error err;
static uint32_t tokens[1];

static size_t windows(struct nb_window **w, const size_t *lengths, size_t n, uint32_t ctx,
                      uint64_t budget, uint32_t held)
{
    struct nb_corpus_text texts[8];
    size_t count;
    for (size_t i = 0; i < n; i++)
        texts[i] = (struct nb_corpus_text){tokens, lengths[i]};
    const struct nb_corpus_plan plan = {texts, n, ctx, budget, held};
    assert_ok(nb_corpus_windows(w, &count, &plan, NULL, &err), &err);
    for (size_t i = 0; i < count; i++) {
        assert_true((*w)[i].offset + ctx <= lengths[(*w)[i].text]);
        assert_true(
            i == 0 || (*w)[i].text > (*w)[i - 1].text ||
            ((*w)[i].text == (*w)[i - 1].text && (*w)[i].offset >= (*w)[i - 1].offset + ctx));
        assert_int_equal((*w)[i].held_out, held > 0 && i % held == held - 1);
    }
    return count;
}

static void test_all(void **state)
{
    (void)state;
    static const size_t lengths[] = {35, 9, 20};
    struct nb_window *w;
    assert_int_equal(windows(&w, lengths, 3, 10, 0, 0), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(w[i].text, i < 3 ? 0 : 2);
        assert_int_equal(w[i].offset, 10 * (i < 3 ? i : i - 3));
    }
    nb_free(NULL, w);
    assert_int_equal(windows(&w, lengths, 3, 10, 50, 2), 5); /* the budget is enough */
    assert_int_equal(w[2].offset, 20);
    nb_free(NULL, w);
}

static void test_budget(void **state)
{
    (void)state;
    /* 100, 50 and 10 windows: 16 of 160 are 10, 5, 1. */
    static const size_t lengths[] = {1000, 500, 100};
    struct nb_window *w;
    size_t got[3] = {0};
    assert_int_equal(windows(&w, lengths, 3, 10, 169, 10), 16);
    for (size_t i = 0; i < 16; i++)
        got[w[i].text]++;
    assert_int_equal(got[0], 10);
    assert_int_equal(got[1], 5);
    assert_int_equal(got[2], 1);
    for (size_t i = 0; i < 10; i++) /* 100 tokens apart, in the middle of their stretch */
        assert_int_equal(w[i].offset, 100 * i + 45);
    assert_int_equal(w[15].offset, 45);
    nb_free(NULL, w);
}

static void test_remainders(void **state)
{
    (void)state;
    /* Shares 0.6, 0.6, 1.8: the third's rest is the largest, then the first's. */
    static const size_t lengths[] = {20, 20, 60};
    struct nb_window *w;
    assert_int_equal(windows(&w, lengths, 3, 10, 30, 0), 3);
    assert_int_equal(w[0].text, 0);
    assert_int_equal(w[1].text, 2);
    assert_int_equal(w[2].text, 2);
    nb_free(NULL, w);
    assert_int_equal(windows(&w, lengths, 3, 10, 1, 0), 1); /* one window at least */
    nb_free(NULL, w);
    for (uint64_t budget = 10; budget < 110; budget++) {
        const size_t n = windows(&w, lengths, 3, 10, budget, 3);
        assert_int_equal(n, NB_MIN(budget / 10, 10));
        nb_free(NULL, w);
    }
}

static void test_refused(void **state)
{
    (void)state;
    const struct nb_corpus_text text = {tokens, 9};
    struct nb_corpus_plan plan = {&text, 1, 10, 0, 0};
    struct nb_window *w;
    size_t n;
    assert_fails(nb_corpus_windows(&w, &n, &plan, NULL, &err), NB_ERR_ARG, &err,
                 "none of 1 texts fills a window of 10 tokens");
    plan.ctx = 0;
    assert_fails(nb_corpus_windows(&w, &n, &plan, NULL, &err), NB_ERR_ARG, &err, "of 0 tokens");
    plan = (struct nb_corpus_plan){&text, 0, 1, 0, 0};
    assert_fails(nb_corpus_windows(&w, &n, &plan, NULL, &err), NB_ERR_ARG, &err, "of 0 texts");
    assert_null(w);
}

static enum nb_status oom_body(void *ctx, const struct nb_allocator *a)
{
    const struct nb_corpus_text text = {tokens, 90};
    const struct nb_corpus_plan plan = {&text, 1, 10, 50, 0};
    struct nb_window *w;
    size_t n;
    (void)ctx;
    const enum nb_status st = nb_corpus_windows(&w, &n, &plan, a, NULL);
    nb_free(a, w);
    return st;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_int_equal(nbtest_oom(oom_body, NULL), 2);
}

NB_TEST_MAIN(cmocka_unit_test(test_all), cmocka_unit_test(test_budget),
             cmocka_unit_test(test_remainders), cmocka_unit_test(test_refused),
             cmocka_unit_test(test_out_of_memory))
