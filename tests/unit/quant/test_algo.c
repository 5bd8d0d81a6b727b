/* Error feedback against what is known of it: its loss, its closed form, its other names. */
#include "algo_case.h"

static struct nb_algo_params params_of(const char *algo)
{
    return *nb_algo_find(algo)->params;
}

/* sum D_i (t_i - q_i)^2 = tr(E H E^T) with H damped, in any order of columns, for any format. Targets are
 * floats, and at 6 bits their rounding is a 10^-4th of an error: that is what the two differ by. */
static void test_loss_is_sum_of_pivots(void **state)
{
    static const char *const types[] = {"q4_k", "q2_k", "q6_k", "iq4_xs", "q4_0"};
    (void)state;
    for (size_t t = 0; t < NB_COUNTOF(types); t++)
        for (int order = NB_ORDER_NONE; order <= NB_ORDER_FULL; order++) {
            struct algo_case c;
            case_init(&c, 30, 512, 7 + t);
            struct nb_algo_params q = params_of("gptq");
            q.order = (enum nb_algo_order)order;
            q.fit = order == NB_ORDER_FULL ? NB_FIT_STATIC : NB_FIT_LATE;
            struct outcome o = case_run(&c, "gptq", types[t], &(struct how){.params = &q});
            const double lambda = 0.01 * o.facts.mean_h;
            const double loss = plain_loss(&c, c.w, o.values, lambda);
            assert_close(o.sums.feedback / loss, 1.0, 1e-5);
            assert_close(o.sums.loss / plain_loss(&c, c.w, o.values, 0.0), 1.0, 1e-6);
            assert_int_equal(o.sums.n_rows, c.rows);
            outcome_fini(&o);
            case_fini(&c);
        }
}

static void test_words_lose_sum_of_pivots(void **state)
{
    static const char *const types[] = {"iq2_xs", "iq3_s", "iq1_s"};
    (void)state;
    for (size_t t = 0; t < NB_COUNTOF(types); t++) {
        struct algo_case c;
        case_init(&c, 10, 512, 70 + t);
        struct outcome o = case_run(&c, "ldlq", types[t], NULL);
        const double loss = plain_loss(&c, c.w, o.values, 0.01 * o.facts.mean_h);
        assert_close(o.sums.feedback / loss, 1.0, 2e-6);
        outcome_fini(&o);
        case_fini(&c);
    }
}

/* Columns that have nothing to do with each other pass nothing on. */
static void test_diagonal_is_rtn(void **state)
{
    static const char *const types[] = {"q4_k", "q3_k", "q2_k", "q4_0", "iq4_xs", "iq2_xs"};
    (void)state;
    for (size_t t = 0; t < NB_COUNTOF(types); t++) {
        struct algo_case c;
        case_init(&c, 12, 512, 20 + t);
        for (size_t i = 0; i < c.n; i++)
            for (size_t j = 0; j < c.n; j++)
                c.h[i * c.n + j] = i == j ? exp2((double)(i % 9)) : 0.0; /* exact pivots */
        struct nb_algo_params q = params_of("kgptq");
        q.damp = 0.0;
        q.fit = NB_FIT_START;
        q.polish = 0;
        struct outcome a = case_run(&c, "kgptq", types[t], &(struct how){.params = &q});
        struct outcome b = case_run(&c, "rtn", types[t], NULL);
        assert_same_records(&c, &a, &b);
        assert_close(a.facts.mean_d, a.facts.mean_h, 1e-9 * a.facts.mean_h);
        outcome_fini(&a);
        outcome_fini(&b);
        case_fini(&c);
    }
}

static void test_panels_change_no_bit(void **state)
{
    static const char *const types[] = {"q4_k", "q3_k", "q4_0", "iq2_xs"};
    static const uint32_t lazy[] = {1, 16, 32, 96, 256, 1000};
    (void)state;
    for (size_t t = 0; t < NB_COUNTOF(types); t++) {
        struct algo_case c;
        case_init(&c, 26, 768, 40 + t);
        struct outcome a = case_run(&c, "kgptq", types[t], NULL);
        for (size_t k = 0; k < NB_COUNTOF(lazy); k++) {
            struct nb_algo_params q = params_of("kgptq");
            q.lazy = lazy[k];
            struct outcome b = case_run(&c, "kgptq", types[t], &(struct how){.params = &q});
            assert_same_records(&c, &a, &b);
            outcome_fini(&b);
        }
        outcome_fini(&a);
        case_fini(&c);
    }
}

static void test_equal_rows(void **state)
{
    struct algo_case c;
    struct outcome o;
    (void)state;
    case_init(&c, 60, 256, 3);
    for (size_t r = 1; r < c.rows; r++)
        memcpy(c.w + r * c.n, c.w, c.n * sizeof *c.w);
    o = case_run(&c, "kgptq", "q4_k", &(struct how){.held = true});
    for (size_t r = 1; r < c.rows; r++)
        assert_memory_equal(o.records + r * o.record_bytes, o.records, o.record_bytes);
    outcome_fini(&o);
    case_fini(&c);
}

static void test_threads_change_no_bit(void **state)
{
    static const unsigned threads[] = {2, 7};
    static const char *const types[] = {"q4_k", "iq3_s"};
    struct nb_error err;
    struct algo_case c;
    (void)state;
    case_init(&c, 200, 256, 4);
    for (size_t t = 0; t < NB_COUNTOF(types); t++) {
        struct outcome a = case_run(&c, "kgptq", types[t], &(struct how){.held = true});
        for (size_t k = 0; k < NB_COUNTOF(threads); k++) {
            struct nb_pool *pool;
            assert_ok(nb_pool_create(&pool, threads[k], NULL, &err), &err);
            struct outcome b =
                case_run(&c, "kgptq", types[t], &(struct how){.held = true, .pool = pool});
            assert_same_records(&c, &a, &b);
            assert_memory_equal(&a.sums, &b.sums, sizeof a.sums);
            assert_memory_equal(&a.facts, &b.facts, sizeof a.facts);
            outcome_fini(&b);
            nb_pool_destroy(pool);
        }
        outcome_fini(&a);
    }
    case_fini(&c);
}

/* Rows are independent: a slab in two calls is the slab in one. */
static void test_slabs_change_no_bit(void **state)
{
    struct algo_case c, upper;
    (void)state;
    case_init(&c, 50, 256, 5);
    upper = c;
    upper.rows = 17;
    struct outcome a = case_run(&c, "kgptq", "q3_k", NULL);
    struct outcome b = case_run(&upper, "kgptq", "q3_k", NULL);
    assert_memory_equal(a.records, b.records, upper.rows * a.record_bytes);
    outcome_fini(&a);
    outcome_fini(&b);
    case_fini(&c);
}

/* ---- statistics that are not as they should be ---- */

static void test_dead_columns(void **state)
{
    struct algo_case c;
    (void)state;
    case_init(&c, 10, 256, 6);
    for (size_t d = 0; d < c.n; d += 3)
        for (size_t i = 0; i < c.n; i++)
            c.h[d * c.n + i] = c.h[i * c.n + d] = 0.0;
    struct outcome o = case_run(&c, "kgptq", "q6_k", NULL);
    assert_int_equal(o.facts.n_dead, (c.n + 2) / 3);
    for (size_t r = 0; r < c.rows; r++) /* rounded plainly: within what 6 bits allow */
        for (size_t d = 0; d < c.n; d += 3)
            assert_true(fabsf(o.values[r * c.n + d] - c.w[r * c.n + d]) < 0.35F);
    outcome_fini(&o);
    memset(c.h, 0, c.n * c.n * sizeof *c.h);
    o = case_run(&c, "kgptq", "q6_k", NULL); /* an expert that no token reached */
    assert_int_equal(o.facts.n_dead, c.n);
    struct outcome plain = case_run(&c, "rtn", "q6_k", NULL);
    for (size_t i = 0; i < c.rows * c.n; i++)
        assert_true(fabsf(o.values[i] - c.w[i]) < 0.35F);
    outcome_fini(&plain);
    outcome_fini(&o);
    case_fini(&c);
}

static void test_damping_is_raised(void **state)
{
    struct algo_case c;
    (void)state;
    case_init(&c, 10, 256, 8);
    for (size_t i = 0; i < c.n; i++)
        c.h[i * c.n + i] *= 0.5; /* no sum of squares any more */
    struct nb_algo_params q = params_of("kgptq");
    q.damp = 0.001;
    struct outcome o = case_run(&c, "kgptq", "q4_k", &(struct how){.params = &q});
    assert_true(o.facts.n_damp > 0);
    assert_close(o.facts.damp, 0.001 * exp2((double)o.facts.n_damp), 1e-12);
    for (size_t i = 0; i < c.rows * c.n; i++)
        assert_true(isfinite(o.values[i]));
    outcome_fini(&o);
    case_fini(&c);
}

static void test_bad_statistics(void **state)
{
    struct algo_case c;
    struct nb_error err;
    struct outcome o;
    const struct how how = {.held = true};
    const struct nb_algo *algo = nb_algo_find("kgptq");
    const struct nb_numfmt *type = nb_numfmt_find("q4_k");
    (void)state;
    case_init(&c, 3, 256, 9);
    outcome_init(&o, &c);
    c.h[5 * c.n + 77] = (double)NAN;
    assert_fails(case_try(&c, algo, type, &how, &o, &err), NB_ERR_NUMERIC, &err,
                 "columns 5 and 77 is NaN");
    c.h[5 * c.n + 77] = 0.0;
    c.h[9 * c.n + 9] = -1.0;
    assert_fails(case_try(&c, algo, type, &how, &o, &err), NB_ERR_NUMERIC, &err,
                 "square of column 9");
    c.h[9 * c.n + 9] = 1e3;
    c.held[3 * c.n + 4] = (double)INFINITY;
    assert_fails(case_try(&c, algo, type, &how, &o, &err), NB_ERR_NUMERIC, &err, "held-out");
    c.held[3 * c.n + 4] = 0.0;
    c.w[c.n + 2] = INFINITY;
    assert_fails(case_try(&c, algo, type, &how, &o, &err), NB_ERR_NUMERIC, &err,
                 "row 1, column 2 is infinite");
    outcome_fini(&o);
    case_fini(&c);
}

struct oom {
    struct algo_case c;
    struct outcome o;
};

static enum nb_status run_oom(void *ctx, const struct nb_allocator *a)
{
    struct oom *x = ctx;
    struct nb_error err;
    return case_try(&x->c, nb_algo_find("kgptq"), nb_numfmt_find("q4_k"),
                    &(struct how){.a = a, .held = true}, &x->o, &err);
}

static void test_out_of_memory(void **state)
{
    struct oom x;
    (void)state;
    case_init(&x.c, 30, 256, 10);
    outcome_init(&x.o, &x.c);
    assert_true(nbtest_oom(run_oom, &x) > 20);
    outcome_fini(&x.o);
    case_fini(&x.c);
}

NB_TEST_MAIN(cmocka_unit_test(test_loss_is_sum_of_pivots),
             cmocka_unit_test(test_words_lose_sum_of_pivots),
             cmocka_unit_test(test_diagonal_is_rtn), cmocka_unit_test(test_panels_change_no_bit),
             cmocka_unit_test(test_equal_rows), cmocka_unit_test(test_threads_change_no_bit),
             cmocka_unit_test(test_slabs_change_no_bit), cmocka_unit_test(test_dead_columns),
             cmocka_unit_test(test_damping_is_raised), cmocka_unit_test(test_bad_statistics),
             cmocka_unit_test(test_out_of_memory))
