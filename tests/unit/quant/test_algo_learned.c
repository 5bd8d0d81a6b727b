/* Algorithms without feedback: adaround, hqq, awq, each against rounding to nearest on what it lowers. */
#include "unit/quant/algo_case.h"

#include <stdio.h>

enum { ROWS = 24, COLS = 256 };

/* adaround and polish start from the same scales; all learn from the same H. */
static void test_adaround(void **state)
{
    static const char *const types[] = {"q4_0",      "q4_k",    "iq4_nl",       "int4_g64_asym",
                                        "int3_g128", "nf4_g64", "int2_g64_asym"};
    (void)state;
    for (size_t t = 0; t < NB_COUNTOF(types); t++) {
        struct algo_case c;
        case_init(&c, ROWS, COLS, 40 + t);
        struct outcome o = case_run(&c, "adaround", types[t], NULL);
        struct outcome p = case_run(&c, "polish", types[t], NULL);
        print_message("%s: rounded to nearest 1, adaround %.3f, polish %.3f\n", types[t],
                      o.sums.loss / o.sums.rtn, p.sums.loss / p.sums.rtn);
        assert_true(o.sums.loss < 0.5 * o.sums.rtn);
        assert_close(o.sums.loss, plain_loss(&c, c.w, o.values, 0.0), 1e-4 * o.sums.loss);
        outcome_fini(&o);
        outcome_fini(&p);
        case_fini(&c);
    }
}

/* No row is worse than rounded to nearest, each by itself. */
static void test_adaround_rows(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        struct algo_case c;
        case_init(&c, 1, COLS, 70 + seed);
        struct outcome o = case_run(&c, "adaround", "int3_g128", NULL);
        assert_true(o.sums.loss <= o.sums.rtn);
        outcome_fini(&o);
        case_fini(&c);
    }
}

/* Weights on the grid stay where they are. */
static void test_adaround_exact(void **state)
{
    (void)state;
    struct algo_case c;
    case_init(&c, 2, COLS, 90);
    for (size_t i = 0; i < 2 * COLS; i++)
        c.w[i] = (float)((int)(i * 7 % 16) - 8) * 0.125F;
    struct outcome o = case_run(&c, "adaround", "q4_0", NULL);
    assert_bits_array(o.values, c.w, 2 * COLS);
    outcome_fini(&o);
    case_fini(&c);
}

static double norm07(const struct algo_case *c, const float *y)
{
    double sum = 0.0;
    for (size_t i = 0; i < c->rows * c->n; i++)
        sum += pow(fabs((double)c->w[i] - (double)y[i]), 0.7);
    return sum;
}

/* Heavy tails: hqq has less of |error|^0.7 than ranges, and a search by squared error has less loss than hqq. */
static void test_hqq(void **state)
{
    static const char *const types[] = {"int4_g64_fz", "int3_g64_fz", "int2_g64_fz"};
    (void)state;
    for (size_t t = 0; t < NB_COUNTOF(types); t++) {
        struct algo_case c;
        case_init(&c, ROWS, COLS, 20 + t);
        for (size_t i = 0; i < c.rows * c.n; i++)
            c.w[i] = c.w[i] * c.w[i] * c.w[i] + 0.5F;
        const struct nb_algo *hqq = nb_algo_find("hqq");
        struct nb_error err;
        struct nb_algo minmax = *nb_algo_find("rtn");
        static const struct how usual;
        struct outcome range, half, search = case_run(&c, "rtn", types[t], NULL);
        minmax.scale_search = "minmax";
        outcome_init(&range, &c);
        outcome_init(&half, &c);
        assert_ok(case_try(&c, &minmax, nb_numfmt_find(types[t]), &usual, &range, &err), &err);
        assert_ok(case_try(&c, hqq, nb_numfmt_find(types[t]), &usual, &half, &err), &err);
        print_message("%s: |error|^0.7: range 1, hqq %.3f, search %.3f; loss: range 1, hqq %.3f, "
                      "search %.3f\n",
                      types[t], norm07(&c, half.values) / norm07(&c, range.values),
                      norm07(&c, search.values) / norm07(&c, range.values),
                      half.sums.loss / range.sums.loss, search.sums.loss / range.sums.loss);
        assert_true(norm07(&c, half.values) < norm07(&c, range.values));
        assert_true(search.sums.loss < half.sums.loss);
        outcome_fini(&range);
        outcome_fini(&half);
        outcome_fini(&search);
        case_fini(&c);
    }
}

/* With a diagonal H the loss of a group is all there is: clipping never loses to not clipping. */
static void test_clip(void **state)
{
    static const char *const types[] = {"int4_g128_asym", "int3_g64", "q4_0"};
    (void)state;
    for (size_t t = 0; t < NB_COUNTOF(types); t++) {
        struct algo_case c;
        static const struct how usual;
        struct nb_error err;
        case_init(&c, ROWS, COLS, 30 + t);
        for (size_t i = 0; i < COLS; i++)
            for (size_t j = i + 1; j < COLS; j++)
                c.h[i * COLS + j] = 0.0;
        struct nb_algo minmax = *nb_algo_find("rtn");
        struct nb_algo_params plain = *minmax.params;
        plain.weigh = NB_WEIGH_NONE;
        minmax.scale_search = "minmax";
        const struct how how = {.params = &plain};
        struct outcome range, clip;
        outcome_init(&range, &c);
        outcome_init(&clip, &c);
        assert_ok(case_try(&c, &minmax, nb_numfmt_find(types[t]), &how, &range, &err), &err);
        assert_ok(case_try(&c, nb_algo_find("awq"), nb_numfmt_find(types[t]), &usual, &clip, &err),
                  &err);
        struct outcome query;
        const struct how as_query = {.role = NB_ROLE_ATTN_Q};
        outcome_init(&query, &c);
        assert_ok(
            case_try(&c, nb_algo_find("awq"), nb_numfmt_find(types[t]), &as_query, &query, &err),
            &err);
        assert_same_records(&c, &range, &query); /* unclipped */
        outcome_fini(&query);
        print_message("%s: ranges 1, clipped %.3f\n", types[t], clip.sums.loss / range.sums.loss);
        assert_true(clip.sums.loss <= range.sums.loss * (1.0 + 1e-6));
        outcome_fini(&range);
        outcome_fini(&clip);
        case_fini(&c);
    }
}

static enum nb_status all_three(void *ctx, const struct nb_allocator *a)
{
    static const char *const names[] = {"adaround", "hqq", "awq"};
    const struct algo_case *c = ctx;
    for (size_t i = 0; i < NB_COUNTOF(names); i++) {
        const struct how how = {.a = a};
        struct outcome o;
        struct nb_error err;
        outcome_init(&o, c);
        const enum nb_status st =
            case_try(c, nb_algo_find(names[i]), nb_numfmt_find("int4_g64_fz"), &how, &o, &err);
        outcome_fini(&o);
        if (st != NB_OK)
            return st;
    }
    return NB_OK;
}

static void test_memory(void **state)
{
    struct algo_case c;
    (void)state;
    case_init(&c, 2, 64, 1);
    assert_true(nbtest_oom(all_three, &c) > 20);
    case_fini(&c);
}

NB_TEST_MAIN(cmocka_unit_test(test_adaround), cmocka_unit_test(test_adaround_rows),
             cmocka_unit_test(test_adaround_exact), cmocka_unit_test(test_hqq),
             cmocka_unit_test(test_clip), cmocka_unit_test(test_memory))
