/* H = X X^T: what is added is what is there, shard by shard, and only sums that are finite pass. */
#include "calib/calib.h"
#include "calib/hessian.h"
#include "support/nbtest.h"

#include <math.h>

#define N      37
#define TOKENS 700

static struct nb_error err;
static float x[TOKENS * N];

/* Small whole numbers: sums of their products are exact in float. */
static void fill_whole(void)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < TOKENS * N; i++) {
        state = state * 1664525U + 1013904223U;
        x[i] = (float)((int32_t)(state >> 24) % 17 - 8);
    }
}

static struct nb_hessian *make(size_t n)
{
    struct nb_hessian *h;
    assert_ok(nb_hessian_create(&h, n, NULL, &err), &err);
    return h;
}

static void test_whole_numbers(void **state)
{
    (void)state;
    struct nb_hessian *h = make(N), *a = make(N), *b = make(N);
    fill_whole();
    assert_ok(nb_hessian_add(h, x, TOKENS, NULL, &err), &err);
    assert_true(h->tokens == TOKENS);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            double want = 0.0;
            for (size_t t = 0; t < TOKENS; t++)
                want += (double)x[t * N + i] * (double)x[t * N + j];
            assert_true(h->h[i * N + j] == (j >= i ? want : 0.0));
        }
    /* Any shards, merged in any order, are the same sum. */
    assert_ok(nb_hessian_add(a, x, 300, NULL, &err), &err);
    assert_ok(nb_hessian_add(b, x + 300 * N, 1, NULL, &err), &err);
    assert_ok(nb_hessian_add(b, x + 301 * N, TOKENS - 301, NULL, &err), &err);
    assert_ok(nb_hessian_merge(b, a, &err), &err);
    assert_true(b->tokens == TOKENS);
    assert_memory_equal(b->h, h->h, N * N * sizeof *h->h);
    nb_hessian_mirror(h);
    double diag[N];
    nb_hessian_diag(h, diag);
    double sum = 0.0;
    for (size_t i = 0; i < N; i++) {
        sum += diag[i];
        for (size_t j = 0; j < N; j++)
            assert_true(h->h[i * N + j] == h->h[j * N + i]);
    }
    assert_close(nb_hessian_mean_diag(h), sum / N, 1e-9 * sum);
    nb_hessian_destroy(a);
    nb_hessian_destroy(b);
    nb_hessian_destroy(h);
}

/* Two in one square are what each is alone. */
static void test_pair(void **state)
{
    (void)state;
    struct nb_hessian *first, *second, *a = make(N), *b = make(N);
    double da[N], db[N];
    fill_whole();
    assert_ok(nb_hessian_create_pair(&first, &second, N, NULL, &err), &err);
    assert_ok(nb_hessian_add(first, x, 300, NULL, &err), &err);
    assert_ok(nb_hessian_add(second, x + 300 * N, 400, NULL, &err), &err);
    assert_ok(nb_hessian_add(a, x, 300, NULL, &err), &err);
    assert_ok(nb_hessian_add(b, x + 300 * N, 400, NULL, &err), &err);
    for (size_t i = 0; i < N; i++)
        for (size_t j = i; j < N; j++) {
            assert_true(*nb_hessian_at(first, i, j) == a->h[i * N + j]);
            assert_true(*nb_hessian_at(second, i, j) == b->h[i * N + j]);
        }
    nb_hessian_diag(second, da);
    nb_hessian_diag(b, db);
    assert_memory_equal(da, db, sizeof da);
    assert_true(nb_hessian_mean_diag(second) == nb_hessian_mean_diag(b));
    assert_ok(nb_hessian_merge(first, second, &err), &err);
    assert_ok(nb_hessian_merge(a, b, &err), &err);
    assert_true(*nb_hessian_at(first, 3, 30) == *nb_hessian_at(a, 3, 30));
    assert_ok(nb_hessian_check(second, "w", &err), &err);
    *nb_hessian_at(second, 2, 5) = (double)NAN;
    assert_ok(nb_hessian_check(first, "w", &err), &err);
    assert_fails(nb_hessian_check(second, "w", &err), NB_ERR_NUMERIC, &err, "'w' is not finite");
    nb_hessian_destroy(second);
    nb_hessian_destroy(first);
    nb_hessian_destroy(a);
    nb_hessian_destroy(b);
}

/* v^T H v is a sum of squares. */
static void test_positive(void **state)
{
    (void)state;
    struct nb_hessian *h = make(N);
    uint32_t s = 7;
    for (size_t i = 0; i < TOKENS * N; i++) {
        s = s * 1664525U + 1013904223U;
        x[i] = (float)(s >> 8) * 0x1p-23F - 1.0F;
    }
    assert_ok(nb_hessian_add(h, x, TOKENS, NULL, &err), &err);
    nb_hessian_mirror(h);
    for (int round = 0; round < 20; round++) {
        double v[N], form = 0.0, want = 0.0;
        for (size_t i = 0; i < N; i++) {
            s = s * 1664525U + 1013904223U;
            v[i] = (double)(s >> 8) * 0x1p-23 - 1.0;
        }
        for (size_t i = 0; i < N; i++)
            for (size_t j = 0; j < N; j++)
                form += v[i] * h->h[i * N + j] * v[j];
        for (size_t t = 0; t < TOKENS; t++) {
            double y = 0.0;
            for (size_t i = 0; i < N; i++)
                y += v[i] * (double)x[t * N + i];
            want += y * y;
        }
        assert_close(form, want, 1e-5 * want);
        assert_true(form > 0.0);
    }
    nb_hessian_destroy(h);
}

/* One column at a time gives a diagonal. */
static void test_unit_vectors(void **state)
{
    (void)state;
    struct nb_hessian *h = make(N);
    memset(x, 0, sizeof x);
    for (size_t t = 0; t < TOKENS; t++)
        x[t * N + t % N] = (float)(1 + t % N);
    assert_ok(nb_hessian_add(h, x, TOKENS, NULL, &err), &err);
    for (size_t i = 0; i < N; i++)
        for (size_t j = i; j < N; j++) {
            const size_t times = TOKENS / N + (i < TOKENS % N);
            assert_true(h->h[i * N + j] ==
                        (i == j ? (double)times * (double)(i + 1) * (double)(i + 1) : 0.0));
        }
    nb_hessian_destroy(h);
}

static void test_threads(void **state)
{
    (void)state;
    static const unsigned threads[] = {2, 7};
    struct nb_hessian *h = make(N);
    for (size_t i = 0; i < TOKENS * N; i++)
        x[i] = 0.37F * (float)(i % 101) - 17.1F;
    assert_ok(nb_hessian_add(h, x, TOKENS, NULL, &err), &err);
    for (size_t k = 0; k < NB_COUNTOF(threads); k++) {
        struct nb_hessian *other = make(N);
        struct nb_pool *pool;
        assert_ok(nb_pool_create(&pool, threads[k], NULL, &err), &err);
        assert_ok(nb_hessian_add(other, x, TOKENS, pool, &err), &err);
        assert_memory_equal(other->h, h->h, N * N * sizeof *h->h);
        nb_pool_destroy(pool);
        nb_hessian_destroy(other);
    }
    nb_hessian_destroy(h);
}

static void test_refused(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, 1e20F};
    struct nb_hessian *h = make(N), *other = make(N + 1), *none;
    assert_fails(nb_hessian_create(&none, 0, NULL, &err), NB_ERR_ARG, &err, "0 columns");
    assert_fails(nb_hessian_create(&none, SIZE_MAX / 2, NULL, &err), NB_ERR_NOMEM, &err, "memory");
    assert_null(none);
    assert_true(nb_hessian_bytes(4096) == UINT64_C(134217728));
    assert_true(nb_hessian_bytes(SIZE_MAX / 2) == UINT64_MAX);
    assert_fails(nb_hessian_merge(h, other, &err), NB_ERR_FORMAT, &err,
                 "of 38 columns does not add to one of 37");
    assert_ok(nb_hessian_check(h, "w", &err), &err);
    for (size_t i = 0; i < NB_COUNTOF(bad); i++) {
        struct nb_hessian *k = make(N);
        memset(x, 0, sizeof x);
        x[5 * N + 11] = bad[i];
        assert_ok(nb_hessian_add(k, x, 8, NULL, &err), &err);
        assert_fails(nb_hessian_check(k, "blk.0.attn_q.weight", &err), NB_ERR_NUMERIC, &err,
                     "'blk.0.attn_q.weight' is not finite");
        nb_hessian_destroy(k);
    }
    nb_hessian_destroy(other);
    nb_hessian_destroy(h);
    nb_hessian_destroy(NULL);
}

static void test_importance(void **state)
{
    (void)state;
    struct nb_hessian *h[2] = {make(N), make(N)}, *odd = make(N + 1);
    struct nb_calib *c;
    float means[N];
    fill_whole();
    assert_ok(nb_hessian_add(h[0], x, 100, NULL, &err), &err);
    assert_ok(nb_hessian_add(h[1], x, 200, NULL, &err), &err);
    assert_ok(nb_calib_create(&c, NULL, &err), &err);
    const struct nb_hessian *both[2] = {h[0], h[1]}, *wrong[2] = {h[0], odd};
    assert_ok(nb_calib_add_hessian(c, "exps", both, 2, &err), &err);
    assert_fails(nb_calib_add_hessian(c, "other", wrong, 2, &err), NB_ERR_FORMAT, &err,
                 "a matrix of 38 columns beside one of 37");
    assert_fails(nb_calib_add_hessian(c, "exps", both, 2, &err), NB_ERR_EXISTS, &err, "exps");
    const struct nb_moment *m = nb_calib_find(c, "exps");
    assert_true(m->count[0] == 100.0 && m->count[1] == 200.0);
    nb_moment_means(m, N, N, means);
    for (size_t j = 0; j < N; j++)
        assert_bits(means[j], (float)(h[1]->h[j * N + j] / 200.0));
    nb_calib_destroy(c);
    for (size_t i = 0; i < 2; i++)
        nb_hessian_destroy(h[i]);
    nb_hessian_destroy(odd);
}

NB_TEST_MAIN(cmocka_unit_test(test_whole_numbers), cmocka_unit_test(test_pair),
             cmocka_unit_test(test_positive), cmocka_unit_test(test_unit_vectors),
             cmocka_unit_test(test_threads), cmocka_unit_test(test_refused),
             cmocka_unit_test(test_importance))
