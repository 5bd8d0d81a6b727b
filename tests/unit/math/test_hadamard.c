/* Hadamard transforms: the matrices are orthogonal, exactly; the transforms are those matrices. */
#include "math/linalg.h"
#include "support/nbtest.h"

#include <math.h>

static float *normals(uint64_t seed, size_t n)
{
    struct nb_rng rng = {.seed = seed};
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)nb_rng_normal(&rng);
    return x;
}

/* Elements are +1 and -1, the second matrix is the transpose, rows are orthogonal. */
static void check_matrix(const struct nb_hadamard *q)
{
    const size_t k = q->base;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++) {
            double s = 0.0;
            assert_true(fabs(q->matrix[i * k + j]) == 1.0);
            assert_true(q->matrix[i * k + j] == q->matrix[(k + j) * k + i]);
            for (size_t c = 0; c < k; c++)
                s += q->matrix[i * k + c] * q->matrix[j * k + c];
            assert_true(s == (i == j ? (double)k : 0.0));
        }
}

static void test_every_base(void **state)
{
    (void)state;
    struct nb_error err;
    size_t found = 0;
    for (size_t odd = 3; 4 * odd <= NB_HADAMARD_MAX_BASE; odd += 2) {
        struct nb_hadamard q;
        assert_ok(nb_hadamard_init(&q, odd * 1024, 0, NULL, &err), &err);
        assert_int_equal(q.order, q.base > 1 ? odd * 1024 : 1024);
        if (odd < 23) {
            assert_int_equal(q.base % (4 * odd), 0);
            assert_int_equal(q.base, 4 * odd);
        }
        found += q.base > 1;
        if (q.base > 1)
            check_matrix(&q);
        nb_hadamard_fini(&q);
    }
    assert_true(found >= 20);
}

static const struct {
    size_t n, order;
} lengths[] = {{1, 1},     {2, 2},     {6, 2},     {12, 12},   {64, 64},  {24, 24},
               {20, 20},   {28, 28},   {36, 36},   {44, 44},   {52, 52},  {60, 60},
               {15, 1},    {92, 4},    {120, 120}, {104, 104}, {68, 68},  {76, 76},
               {100, 100}, {256, 256}, {576, 576}, {960, 960}, {368, 16}, {148, 148}};

static void test_the_transform_is_its_matrix(void **state)
{
    (void)state;
    struct nb_error err;
    for (size_t l = 0; l < NB_COUNTOF(lengths); l++) {
        const size_t n = lengths[l].n;
        struct nb_hadamard q;
        assert_ok(nb_hadamard_init(&q, n, l % 3, NULL, &err), &err);
        assert_int_equal(q.order, lengths[l].order);
        double *m = calloc(n * n, sizeof *m); /* rows: the transforms of unit vectors */
        assert_non_null(m);
        for (size_t i = 0; i < n; i++) {
            m[i * n + i] = 1.0;
            nb_hadamard_f64(&q, m + i * n, false);
        }
        const double size = 1.0 / sqrt((double)q.order);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                double s = 0.0;
                assert_close(fabs(m[i * n + j]), i / q.order == j / q.order ? size : 0.0, 1e-15);
                for (size_t k = 0; k < n; k++)
                    s += m[i * n + k] * m[j * n + k];
                assert_close(s, i == j ? 1.0 : 0.0, 1e-13);
            }
        float *x = normals(l, n);
        double *y = calloc(n, sizeof *y), before = 0.0, after = 0.0;
        for (size_t i = 0; i < n; i++)
            y[i] = (double)x[i];
        nb_hadamard_f64(&q, y, false);
        for (size_t j = 0; j < n; j++) {
            double s = 0.0;
            for (size_t i = 0; i < n; i++)
                s += (double)x[i] * m[i * n + j];
            assert_close(y[j], s, 1e-12);
            before += (double)x[j] * (double)x[j];
            after += y[j] * y[j];
        }
        assert_close(before, after, 1e-13 * before);
        nb_hadamard_f64(&q, y, true);
        for (size_t i = 0; i < n; i++)
            assert_close(y[i], (double)x[i], 1e-14 * 30.0);
        free(x);
        free(y);
        free(m);
        nb_hadamard_fini(&q);
    }
}

/* One large number is spread evenly; signs differ with the seed. */
static void test_outliers_and_signs(void **state)
{
    (void)state;
    struct nb_error err;
    struct nb_hadamard q, r;
    float x[1536] = {0};
    assert_ok(nb_hadamard_init(&q, 1536, 7, NULL, &err), &err);
    assert_ok(nb_hadamard_init(&r, 1536, 8, NULL, &err), &err);
    assert_int_equal(q.base, 12);
    size_t differ = 0, minus = 0;
    for (size_t i = 0; i < 1536; i++) {
        differ += q.sign[i] != r.sign[i];
        minus += q.sign[i] < 0.0;
    }
    assert_in_range(differ, 700, 836);
    assert_in_range(minus, 700, 836);
    x[77] = 100.0F;
    assert_ok(nb_hadamard_rows(&q, x, 1536, 1, false, NULL, &err), &err);
    for (size_t i = 0; i < 1536; i++)
        assert_close(fabs((double)x[i]), 100.0 / sqrt(1536.0), 1e-6);
    nb_hadamard_fini(&q);
    nb_hadamard_fini(&r);
}

static void test_rows_and_columns(void **state)
{
    (void)state;
    enum { N = 120, M = 50, STRIDE = 123 };
    struct nb_error err;
    struct nb_hadamard q;
    struct nb_pool *pool;
    assert_ok(nb_pool_create(&pool, 3, NULL, &err), &err);
    assert_ok(nb_hadamard_init(&q, N, 5, NULL, &err), &err);
    for (int inverse = 0; inverse < 2; inverse++) {
        float *x = normals(1, (size_t)M * STRIDE), *t = normals(2, (size_t)N * STRIDE);
        float *keep = normals(1, (size_t)M * STRIDE);
        for (size_t i = 0; i < N; i++)
            for (size_t r = 0; r < M; r++)
                t[i * STRIDE + r] = x[r * STRIDE + i];
        assert_ok(nb_hadamard_rows(&q, x, STRIDE, M, inverse, pool, &err), &err);
        assert_ok(nb_hadamard_columns(&q, t, STRIDE, M, inverse, pool, &err), &err);
        for (size_t r = 0; r < M; r++) {
            assert_bits_array(x + r * STRIDE + N, keep + r * STRIDE + N, STRIDE - N);
            for (size_t i = 0; i < N; i++)
                assert_bits(t[i * STRIDE + r], x[r * STRIDE + i]);
        }
        assert_ok(nb_hadamard_rows(&q, x, STRIDE, M, !inverse, NULL, &err), &err);
        for (size_t r = 0; r < M; r++)
            for (size_t i = 0; i < N; i++)
                assert_close((double)x[r * STRIDE + i], (double)keep[r * STRIDE + i], 1e-6);
        free(x);
        free(t);
        free(keep);
    }
    nb_hadamard_fini(&q);
    nb_pool_destroy(pool);
}

static enum nb_status oom_body(void *ctx, const struct nb_allocator *a)
{
    struct nb_error err;
    struct nb_hadamard q;
    enum nb_status st = nb_hadamard_init(&q, 12, 3, a, &err);
    if (st == NB_OK) {
        st = nb_hadamard_rows(&q, ctx, 12, 1, false, NULL, &err);
        nb_hadamard_fini(&q);
    }
    return st;
}

static void test_arguments_and_memory(void **state)
{
    (void)state;
    float x[12] = {1.0F};
    struct nb_error err;
    struct nb_hadamard q;
    assert_fails(nb_hadamard_init(&q, 0, 0, NULL, &err), NB_ERR_ARG, &err, "0 numbers");
    assert_int_equal(nbtest_oom(oom_body, x), 3);
}

NB_TEST_MAIN(cmocka_unit_test(test_every_base), cmocka_unit_test(test_the_transform_is_its_matrix),
             cmocka_unit_test(test_outliers_and_signs), cmocka_unit_test(test_rows_and_columns),
             cmocka_unit_test(test_arguments_and_memory))
