/* Optimal k-means: against every choice of runs, against Lloyd-Max, and the sample in front of it. */
#include "math/math.h"
#include "support/nbtest.h"

#include <math.h>
#include <stdio.h>

#define MANY 262144 /* above it the sample goes through the histogram */

static double run_cost(const double *x, const double *w, size_t begin, size_t end)
{
    double s0 = 0.0, s1 = 0.0, cost = 0.0;
    for (size_t i = begin; i < end; i++) {
        s0 += w[i];
        s1 += w[i] * x[i];
    }
    for (size_t i = begin; i < end && s0 > 0.0; i++)
        cost += w[i] * (x[i] - s1 / s0) * (x[i] - s1 / s0);
    return cost;
}

/* Least cost of [begin, n) in at most k runs, by trying every end of the first. */
static double brute(const double *x, const double *w, size_t begin, size_t n, uint32_t k)
{
    if (begin == n)
        return 0.0;
    double best = run_cost(x, w, begin, n);
    for (size_t end = begin + 1; end < n && k > 1; end++)
        best = fmin(best, run_cost(x, w, begin, end) + brute(x, w, end, n, k - 1));
    return best;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The levels ascend, each index is the nearest, the cost is what the indices cost. */
static void check_result(const struct nb_kmeans *j)
{
    double cost = 0.0;
    for (uint32_t m = 1; m < j->k; m++)
        assert_true(m < j->n_levels ? j->levels[m] > j->levels[m - 1]
                                    : j->levels[m] == j->levels[m - 1]);
    for (size_t i = 0; i < j->n; i++) {
        const double d = fabs(j->x[i] - j->levels[j->assign[i]]);
        for (uint32_t m = 0; m < j->n_levels; m++)
            assert_true(d <= fabs(j->x[i] - j->levels[m]));
        cost += (j->w == NULL ? 1.0 : j->w[i]) * d * d;
    }
    assert_close(cost, j->cost, 1e-12 * cost);
}

static void test_no_choice_of_runs_is_better(void **state)
{
    (void)state;
    struct nb_rng rng = {.seed = 1};
    for (int round = 0; round < 400; round++) {
        double x[11], w[11], levels[6];
        uint8_t index[11];
        struct nb_error err;
        const size_t n = 1 + (size_t)(nb_rng_u64(&rng) % 11);
        const double shift = round % 3 == 0 ? 1e6 : 0.0; /* the median must take this away */
        for (size_t i = 0; i < n; i++) {
            /* Few different values now and then: repeats, and less values than levels. */
            x[i] = shift + (round % 4 == 0 ? (double)(nb_rng_u64(&rng) % 4) : nb_rng_normal(&rng));
            w[i] = round % 5 == 0 ? 1.0 : (double)(nb_rng_u64(&rng) % 7) + (round % 2) * 0.25;
        }
        qsort(x, n, sizeof x[0], by_value);
        double total = 0.0;
        for (size_t i = 0; i < n; i++)
            total += w[i];
        struct nb_kmeans j = {.x = x,
                              .w = total > 0.0 ? w : NULL,
                              .n = n,
                              .k = 1 + (uint32_t)(round % 6),
                              .levels = levels,
                              .assign = index};
        static const double ones[11] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
        assert_ok(nb_kmeans_levels(&j, NULL, &err), &err);
        check_result(&j);
        assert_close(j.cost, brute(x, j.w == NULL ? ones : w, 0, n, j.k), 1e-9);
    }
}

/* The normal density on a fine grid: Lloyd and Max's quantizers (Max 1960). */
static void test_gaussian_gives_lloyd_max(void **state)
{
    (void)state;
    static const struct {
        uint32_t k;
        double mse, positive[8];
    } known[] = {
        {2, 0.363380, {0.7979}},
        {4, 0.117482, {0.4528, 1.5104}},
        {8, 0.034548, {0.2451, 0.7560, 1.3439, 2.1519}},
        {16, 0.009501, {0.1284, 0.3880, 0.6568, 0.9423, 1.2562, 1.6180, 2.0690, 2.7326}},
        {32, 0.002505, {0}},
        {64, 0.000644, {0}},
        {256, 4.117e-5, {0}}, /* 4.31 dB above 2^-16 */
    };
    const size_t n = 64000; /* step 2.5e-4 over +-8, none at 0 */
    double *x = malloc(n * sizeof *x), *w = malloc(n * sizeof *w), levels[256], sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        x[i] = ((double)i - 31999.5) * 2.5e-4;
        w[i] = exp(-0.5 * x[i] * x[i]);
        sum += w[i];
    }
    for (size_t c = 0; c < NB_COUNTOF(known); c++) {
        struct nb_error err;
        struct nb_kmeans j = {.x = x, .w = w, .n = n, .k = known[c].k, .levels = levels};
        assert_ok(nb_kmeans_levels(&j, NULL, &err), &err);
        assert_int_equal(j.n_levels, known[c].k);
        /* A sum over a grid of step h lacks the h^2 / 12 inside its cells. */
        assert_close(j.cost / sum + 6.25e-8 / 12.0, known[c].mse,
                     known[c].mse < 1e-4 ? 5e-8 : 1e-6);
        /* A cut stands at a multiple of the step, and a level follows it. */
        for (uint32_t m = 0; m < known[c].k / 2 && known[c].positive[0] > 0.0; m++) {
            assert_close(levels[known[c].k / 2 + m], known[c].positive[m], 4e-4);
            assert_close(levels[known[c].k / 2 - 1 - m], -known[c].positive[m], 4e-4);
        }
    }
    free(x);
    free(w);
}

/* Of two equal cuts the same one every time: bits that another compiler or CPU must reproduce. */
static void test_same_bits_everywhere(void **state)
{
    (void)state;
    double x[2000], w[2000], levels[24];
    struct nb_rng rng = {.seed = 9};
    struct nb_error err;
    uint64_t h = 0;
    for (size_t i = 0; i < 2000; i++) {
        x[i] = (i == 0 ? -3.0 : x[i - 1]) + nb_rng_unit(&rng) * 0.01;
        w[i] = nb_rng_unit(&rng);
    }
    struct nb_kmeans j = {.x = x, .w = w, .n = 2000, .k = 24, .levels = levels};
    assert_ok(nb_kmeans_levels(&j, NULL, &err), &err);
    for (size_t m = 0; m < 24; m++) {
        uint64_t u;
        memcpy(&u, &levels[m], sizeof u);
        h = (h ^ u) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    assert_int_equal(h, UINT64_C(0x93eb6b470d9fa857));
}

/* One value far out must not cost the others their digits. */
static void test_outlier_keeps_the_rest_sharp(void **state)
{
    (void)state;
    double x[101], levels[3];
    struct nb_error err;
    for (size_t i = 0; i < 100; i++)
        x[i] = i < 50 ? -1.0 - 1e-3 * (double)(50 - i) : 1.0 + 1e-3 * (double)(i - 49);
    x[100] = 1e7;
    struct nb_kmeans j = {.x = x, .n = 101, .k = 3, .levels = levels};
    assert_ok(nb_kmeans_levels(&j, NULL, &err), &err);
    assert_close(levels[0], -1.0255, 1e-12);
    assert_close(levels[1], 1.0255, 1e-12);
    assert_true(levels[2] == 1e7);
}

static void test_arguments_and_memory(void **state)
{
    (void)state;
    double x[2] = {1, 2}, levels[4];
    struct nb_error err;
    struct nb_kmeans j = {.x = x, .n = 0, .k = 4, .levels = levels};
    assert_fails(nb_kmeans_levels(&j, NULL, &err), NB_ERR_ARG, &err, "expected 1 to 256 levels");
    j.n = 2;
    j.k = 257;
    assert_fails(nb_kmeans_levels(&j, NULL, &err), NB_ERR_ARG, &err, "257 levels");
    j.k = 4;
    assert_ok(nb_kmeans_levels(&j, NULL, &err), &err);
    assert_true(j.n_levels == 2 && levels[1] == 2.0 && levels[3] == 2.0 && j.cost == 0.0);
}

static enum nb_status oom_body(void *ctx, const struct nb_allocator *a)
{
    const float *x = ctx;
    struct nb_kmeans_points p;
    struct nb_error err;
    double levels[4];
    enum nb_status st = nb_kmeans_sample(&p, x, 300, NULL, 0, a);
    if (st != NB_OK)
        return st;
    struct nb_kmeans j = {.x = p.x, .w = p.w, .n = p.n, .k = 4, .levels = levels};
    st = nb_kmeans_levels(&j, a, &err);
    nb_kmeans_points_fini(&p, a);
    return st;
}

static void test_memory_may_fail(void **state)
{
    (void)state;
    float x[300];
    struct nb_rng rng = {.seed = 3};
    for (size_t i = 0; i < 300; i++)
        x[i] = (float)nb_rng_normal(&rng);
    assert_true(nbtest_oom(oom_body, x) >= 10);
}

/* ---- the sample ---- */

/* Every value a point of its own, with the weight of all its copies. */
static void check_exact(const float *x, size_t n, const float *w, size_t n_w)
{
    struct nb_kmeans_points p;
    assert_int_equal(nb_kmeans_sample(&p, x, n, w, n_w, NULL), NB_OK);
    assert_true(p.within == 0.0 && p.n <= NB_KMEANS_POINTS);
    double *sums = calloc(p.n, sizeof *sums);
    for (size_t i = 0; i < n; i++) {
        const double v = n_w == 0 ? 1.0 : (double)w[i % n_w];
        if (!(v > 0.0))
            continue;
        size_t lo = 0, hi = p.n;
        while (hi - lo > 1) {
            const size_t mid = (lo + hi) / 2;
            *(p.x[mid] <= (double)x[i] ? &lo : &hi) = mid;
        }
        assert_true(p.x[lo] == (double)x[i]);
        sums[lo] += v;
    }
    for (size_t i = 0; i < p.n; i++) {
        assert_true(i == 0 || p.x[i] > p.x[i - 1]);
        assert_true(sums[i] > 0.0);
        assert_close(p.w[i], sums[i], 1e-12 * sums[i]);
    }
    free(sums);
    nb_kmeans_points_fini(&p, NULL);
}

static void test_half_floats_are_exact_at_any_size(void **state)
{
    (void)state;
    const size_t n = MANY + 5000;
    float *x = malloc(n * sizeof *x), w[7] = {1, 0, 2.5F, 3, 0.125F, 1, 9};
    struct nb_rng rng = {.seed = 5};
    for (int bf16 = 0; bf16 < 2; bf16++) {
        for (size_t i = 0; i < n; i++) {
            const float v = (float)nb_rng_normal(&rng) * (i % 9 == 0 ? 1e-6F : 1.0F);
            x[i] = bf16 ? nb_bf16_to_f32(nb_f32_to_bf16(v)) : nb_f16_to_f32(nb_f32_to_f16(v));
        }
        x[7] = -0.0F;
        x[8] = 0.0F;
        check_exact(x, n, NULL, 0);
        check_exact(x, n, w, 7);
        check_exact(x, 5000, w, 7); /* sorted */
    }
    free(x);
}

static void test_binned_floats_cost_next_to_nothing(void **state)
{
    (void)state;
    const size_t n = 4 * MANY;
    float *x = malloc(n * sizeof *x);
    double *y = malloc(n * sizeof *y), levels[16], again[16], cost[2] = {0};
    struct nb_rng rng = {.seed = 6};
    struct nb_kmeans_points p;
    struct nb_error err;
    for (size_t i = 0; i < n; i++)
        x[i] = (float)nb_rng_normal(&rng);
    x[3] = 60.0F; /* outliers stay values of their own */
    x[4] = -45.0F;
    assert_int_equal(nb_kmeans_sample(&p, x, n, NULL, 0, NULL), NB_OK);
    assert_true(p.n <= NB_KMEANS_POINTS && p.n > NB_KMEANS_POINTS / 2);
    assert_true(p.x[0] == -45.0 && p.x[p.n - 1] == 60.0 && p.within > 0.0);
    struct nb_kmeans j = {.x = p.x, .w = p.w, .n = p.n, .k = 16, .levels = levels};
    assert_ok(nb_kmeans_levels(&j, NULL, &err), &err);
    /* The optimum over all values. */
    for (size_t i = 0; i < n; i++)
        y[i] = (double)x[i];
    qsort(y, n, sizeof *y, by_value);
    struct nb_kmeans all = {.x = y, .n = n, .k = 16, .levels = again};
    assert_ok(nb_kmeans_levels(&all, NULL, &err), &err);
    for (size_t i = 0, m = 0; i < n; i++) {
        while (m + 1 < 16 && levels[m + 1] - y[i] < y[i] - levels[m])
            m++;
        cost[0] += (y[i] - levels[m]) * (y[i] - levels[m]);
    }
    cost[1] = all.cost;
    print_message("cost %.9g of 2^20 values, %.9g of %zu points, ratio - 1 = %.2g\n", cost[1],
                  cost[0], p.n, cost[0] / cost[1] - 1.0);
    assert_true(cost[0] <= cost[1] * (1.0 + 1e-6) && cost[0] >= cost[1] * (1.0 - 1e-12));
    nb_kmeans_points_fini(&p, NULL);
    free(x);
    free(y);
}

static void test_sample_without_weight(void **state)
{
    (void)state;
    struct nb_kmeans_points p;
    const float x[3] = {1, 2, 3}, w[1] = {0};
    assert_int_equal(nb_kmeans_sample(&p, x, 3, w, 1, NULL), NB_OK);
    assert_int_equal(p.n, 0);
    nb_kmeans_points_fini(&p, NULL);
    assert_int_equal(nb_kmeans_sample(&p, NULL, 0, NULL, 0, NULL), NB_OK);
}

NB_TEST_MAIN(cmocka_unit_test(test_no_choice_of_runs_is_better),
             cmocka_unit_test(test_gaussian_gives_lloyd_max),
             cmocka_unit_test(test_same_bits_everywhere),
             cmocka_unit_test(test_outlier_keeps_the_rest_sharp),
             cmocka_unit_test(test_arguments_and_memory), cmocka_unit_test(test_memory_may_fail),
             cmocka_unit_test(test_half_floats_are_exact_at_any_size),
             cmocka_unit_test(test_binned_floats_cost_next_to_nothing),
             cmocka_unit_test(test_sample_without_weight))
