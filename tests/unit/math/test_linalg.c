/* Dense linear algebra: against loops written from the definitions, bit for bit where those state the
 * order of the sums, and against the identities that a factor or an inverse must fulfil. */
#include "math/linalg.h"
#include "support/nbtest.h"

#include <math.h>
#include <stdio.h>

static const size_t sizes[] = {1,  2,  3,  7,  8,  9,   12,  15,  16,  17,
                               31, 47, 48, 49, 70, 128, 129, 256, 300, 513};

static float *normals(uint64_t seed, size_t n)
{
    struct nb_rng rng = {.seed = seed};
    float *x = malloc((n + 1) * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)nb_rng_normal(&rng);
    return x;
}

static double *doubles(size_t n)
{
    double *x = malloc((n + 1) * sizeof *x);
    assert_non_null(x);
    return x;
}

static double *copy(const double *x, size_t n)
{
    double *y = doubles(n);
    memcpy(y, x, n * sizeof *y);
    return y;
}

/* Correlated tokens plus a ridge; below the diagonal a mark. */
#define MARK 12345.0
static double *symmetric(uint64_t seed, size_t n, double ridge)
{
    double *h = doubles(n * n), *base = doubles(n * 8);
    struct nb_rng rng = {.seed = seed};
    for (size_t i = 0; i < n * 8; i++)
        base[i] = nb_rng_normal(&rng);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double s = i == j ? ridge * (1.0 + nb_rng_unit(&rng)) : 0.0;
            for (size_t k = 0; k < 8; k++)
                s += base[i * 8 + k] * base[j * 8 + k];
            h[i * n + j] = j >= i ? s : MARK;
        }
    free(base);
    return h;
}

static void assert_marks(const double *h, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            assert_true(h[i * n + j] == MARK);
}

/* ---- sums of outer products ---- */

static void plain_sum(double *h, size_t n, const struct nb_sym_tokens *x)
{
    for (size_t t0 = 0; t0 < x->n_tokens; t0 += NB_SYM_CHUNK)
        for (size_t i = 0; i < n; i++)
            for (size_t j = i; j < n; j++) {
                float s = 0.0F;
                for (size_t t = t0; t < x->n_tokens && t < t0 + NB_SYM_CHUNK; t++) {
                    const float *row = x->x + t * x->x_stride;
                    s = fmaf(x->weight ? x->weight[t] * row[i] : row[i], row[j], s);
                }
                h[i * n + j] += (double)s;
            }
}

static void test_sum_of_outer_products(void **state)
{
    (void)state;
    static const struct {
        size_t n, tokens;
        bool weighted;
    } cases[] = {{1, 1, false},     {5, 300, true},  {12, 256, false},  {16, 257, true},
                 {47, 100, false},  {48, 513, true}, {49, 1100, false}, {100, 40, true},
                 {161, 256, false}, {1030, 7, true}};
    struct nb_error err;
    for (size_t c = 0; c < NB_COUNTOF(cases); c++) {
        const size_t n = cases[c].n, stride = n + c % 4;
        float *x = normals(c + 1, cases[c].tokens * stride), *w = normals(c + 77, cases[c].tokens);
        const struct nb_sym_tokens t = {
            x, stride, cases[c].tokens, cases[c].weighted ? w : NULL, false, NULL};
        double *h = symmetric(c, n, 1.0), *want = copy(h, n * n);
        assert_ok(nb_sym_accumulate(h, n, &t, NULL, NULL, &err), &err);
        plain_sum(want, n, &t);
        assert_memory_equal(h, want, n * n * sizeof *h);
        assert_marks(h, n);
        free(x);
        free(w);
        free(h);
        free(want);
    }
}

static void test_sum_does_not_depend_on_cuts(void **state)
{
    (void)state;
    const size_t n = 75, tokens = 3000;
    struct nb_error err;
    float *x = normals(3, n * tokens);
    double *whole = doubles(n * n), *parts = doubles(n * n);
    memset(whole, 0, n * n * sizeof *whole);
    memset(parts, 0, n * n * sizeof *parts);
    struct nb_sym_tokens t = {x, n, tokens, NULL, false, NULL};
    assert_ok(nb_sym_accumulate(whole, n, &t, NULL, NULL, &err), &err);
    static const size_t cuts[] = {256, 512, 1536, 3000 - 2304};
    for (size_t i = 0; i < NB_COUNTOF(cuts); i++, t.x += t.n_tokens * n) {
        t.n_tokens = cuts[i];
        assert_ok(nb_sym_accumulate(parts, n, &t, NULL, NULL, &err), &err);
    }
    assert_memory_equal(whole, parts, n * n * sizeof *whole);
    t.n_tokens = 0;
    assert_ok(nb_sym_accumulate(parts, n, &t, NULL, NULL, &err), &err);
    t.x_stride = n - 1;
    assert_fails(nb_sym_accumulate(parts, n, &t, NULL, NULL, &err), NB_ERR_ARG, &err, "74 apart");
    free(x);
    free(whole);
    free(parts);
}

static void test_sum_of_two_sides(void **state)
{
    (void)state;
    static const struct {
        size_t rows, cols, tokens;
    } cases[] = {{1, 1, 1},      {5, 17, 300},    {48, 48, 256},   {49, 100, 257},
                 {100, 49, 513}, {1030, 13, 600}, {13, 1030, 600}, {97, 193, 1100}};
    struct nb_outer_memory memory = {NULL, 0}; /* of calls that want less and more */
    struct nb_error err;
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        const size_t rows = cases[i].rows, cols = cases[i].cols, n = cases[i].tokens;
        float *a = normals(i, n * (rows + 1)), *b = normals(i + 50, n * (cols + 2));
        const struct nb_cross_tokens t = {a, b, rows + 1, cols + 2, n, &memory};
        double *c = doubles(rows * cols), *want = doubles(rows * cols);
        for (size_t e = 0; e < rows * cols; e++)
            c[e] = want[e] = (double)e;
        assert_ok(nb_cross_accumulate(c, rows, cols, &t, NULL, NULL, &err), &err);
        for (size_t t0 = 0; t0 < n; t0 += NB_SYM_CHUNK)
            for (size_t e = 0; e < rows * cols; e++) {
                float s = 0.0F;
                for (size_t k = t0; k < n && k < t0 + NB_SYM_CHUNK; k++)
                    s = fmaf(a[k * (rows + 1) + e / cols], b[k * (cols + 2) + e % cols], s);
                want[e] += (double)s;
            }
        assert_memory_equal(c, want, rows * cols * sizeof *c);
        free(a);
        free(b);
        free(c);
        free(want);
    }
    nb_outer_memory_fini(&memory, NULL);
    const struct nb_cross_tokens narrow = {NULL, NULL, 2, 3, 1, NULL};
    assert_fails(nb_cross_accumulate(NULL, 3, 3, &narrow, NULL, NULL, &err), NB_ERR_ARG, &err,
                 "rows 2 and 3 apart");
}

/* Two matrices in one square: each as it would be alone, and read alike. */
static void test_lower_triangle(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 5, 47, 48, 61, 130, 1030};
    struct nb_error err;
    for (size_t c = 0; c < NB_COUNTOF(widths); c++) {
        const size_t n = widths[c], tokens = 300, m = 15;
        float *x = normals(c, tokens * n), *y = normals(c + 9, tokens * n);
        double *pair = doubles((n + 1) * n), *h = doubles(n * n), *held = doubles(n * n);
        double *g = doubles(m * n), *want = doubles(m * n), loss, alone;
        memset(pair, 0, (n + 1) * n * sizeof *pair);
        memset(h, 0, n * n * sizeof *h);
        memset(held, 0, n * n * sizeof *held);
        const struct nb_sym_tokens first = {x, n, tokens, NULL, false, NULL};
        const struct nb_sym_tokens second = {y, n, tokens, NULL, true, NULL};
        const struct nb_sym_tokens plain = {y, n, tokens, NULL, false, NULL};
        assert_ok(nb_sym_accumulate(pair, n, &first, NULL, NULL, &err), &err);
        assert_ok(nb_sym_accumulate(pair + n, n, &second, NULL, NULL, &err), &err);
        assert_ok(nb_sym_accumulate(h, n, &first, NULL, NULL, &err), &err);
        assert_ok(nb_sym_accumulate(held, n, &plain, NULL, NULL, &err), &err);
        for (size_t i = 0; i < n; i++)
            for (size_t j = i; j < n; j++) {
                assert_true(pair[i * n + j] == h[i * n + j]);
                assert_true(pair[n + j * n + i] == held[i * n + j]);
            }
        const struct nb_sym_product a = {pair + n, n, x, n, m, true};
        const struct nb_sym_product b = {held, n, x, n, m, false};
        assert_ok(nb_sym_times(g, &a, NULL, NULL, &err), &err);
        assert_ok(nb_sym_times(want, &b, NULL, NULL, &err), &err);
        assert_memory_equal(g, want, m * n * sizeof *g);
        assert_ok(nb_quad_form(&loss, NULL, &a, NULL, NULL, &err), &err);
        assert_ok(nb_quad_form(&alone, NULL, &b, NULL, NULL, &err), &err);
        assert_true(loss == alone);
        free(x);
        free(y);
        free(pair);
        free(h);
        free(held);
        free(g);
        free(want);
    }
}

/* ---- factors ---- */

/* The textbook's loop, sums as linalg.h states them. */
static size_t plain_chol(double *h, size_t n)
{
    for (size_t j = n; j-- > 0;)
        for (size_t i = j + 1; i-- > 0;) {
            double s = h[i * n + j];
            for (size_t k = n; k-- > j + 1;)
                s = fma(-h[i * n + k], h[j * n + k], s);
            if (i == j && !(s > 0.0))
                return j;
            h[i * n + j] = i == j ? sqrt(s) : s / h[j * n + j];
        }
    return n;
}

static void plain_inverse(double *v, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        for (size_t i = j; i-- > 0;) {
            double s = 0.0;
            for (size_t k = j; k > i; k--)
                s = fma(v[i * n + k], k == j ? 1.0 / v[j * n + j] : v[n * n + k], s);
            v[n * n + i] = -s / v[i * n + i]; /* row n: the column at hand */
        }
        for (size_t i = 0; i < j; i++)
            v[(n + 1 + i) * n + j] = v[n * n + i];
    }
}

static void check_factor(size_t n, double ridge)
{
    struct nb_error err;
    double *h = symmetric(n, n, ridge), *v = copy(h, n * n), *want = copy(h, n * n);
    size_t pivot = 99999;
    assert_ok(nb_chol_reverse(v, n, NULL, &pivot, NULL, &err), &err);
    assert_int_equal(pivot, n);
    assert_int_equal(plain_chol(want, n), n);
    assert_memory_equal(v, want, n * n * sizeof *v); /* bits, and the marks */
    double top = 0.0, worst = 0.0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++) {
            double s = 0.0;
            for (size_t k = j; k < n; k++)
                s += v[i * n + k] * v[j * n + k];
            worst = fmax(worst, fabs(s - h[i * n + j]));
            top = fmax(top, fabs(h[i * n + j]));
        }
    assert_true(worst <= 1e-12 * top);

    double *room = doubles((2 * n + 1) * n); /* V, a row, U above its diagonal */
    memcpy(room, v, n * n * sizeof *v);
    plain_inverse(room, n);
    double *u = copy(v, n * n);
    assert_ok(nb_tri_inverse(u, n, NULL, NULL, &err), &err);
    assert_marks(u, n);
    for (size_t i = 0; i < n; i++) {
        assert_true(u[i * n + i] == 1.0 / v[i * n + i]);
        assert_memory_equal(u + i * n + i + 1, room + (n + 1 + i) * n + i + 1,
                            (n - 1 - i) * sizeof *u);
    }
    for (size_t i = 0; i < n && ridge >= 1.0; i++)
        for (size_t j = i; j < n; j++) {
            double s = 0.0;
            for (size_t k = i; k <= j; k++)
                s += u[i * n + k] * v[k * n + j];
            assert_close(s, i == j ? 1.0 : 0.0, 1e-10);
        }
    free(h);
    free(v);
    free(want);
    free(u);
    free(room);
}

static void test_factor_and_inverse(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 70; n++)
        check_factor(n, 1.0);
    for (size_t i = 0; i < NB_COUNTOF(sizes); i++)
        check_factor(sizes[i], 1.0);
}

static void test_ill_conditioned(void **state)
{
    (void)state;
    static const size_t some[] = {5, 16, 40, 130, 257};
    for (size_t i = 0; i < NB_COUNTOF(some); i++)
        check_factor(some[i], 1e-9);
}

static void test_not_positive_definite(void **state)
{
    (void)state;
    struct nb_error err;
    char text[64];
    for (size_t i = 0; i < NB_COUNTOF(sizes); i++) {
        const size_t n = sizes[i], bad = n * 2 / 3;
        for (int kind = 0; kind < 3; kind++) {
            double *h = symmetric(n, n, 1.0);
            h[bad * n + bad] = kind == 0 ? -1e-3 : kind == 1 ? 0.0 : nan("");
            size_t pivot = n;
            snprintf(text, sizeof text, "pivot %zu is", bad);
            assert_fails(nb_chol_reverse(h, n, NULL, &pivot, NULL, &err), NB_ERR_NUMERIC, &err,
                         text);
            assert_int_equal(pivot, bad);
            assert_marks(h, n);
            free(h);
        }
    }
    double v[4] = {1.0, 2.0, 0.0, 0.0};
    assert_fails(nb_tri_inverse(v, 2, NULL, NULL, &err), NB_ERR_NUMERIC, &err, "element 1");
}

static void test_mirror(void **state)
{
    (void)state;
    for (size_t n = 1; n < 70; n += 17) {
        double *h = symmetric(n, n, 1.0);
        nb_sym_mirror(h, n);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                assert_true(h[i * n + j] == h[j * n + i] && h[i * n + j] != MARK);
        free(h);
    }
}

/* ---- feedback and losses ---- */

static void test_feedback(void **state)
{
    (void)state;
    const size_t rows = 13, b = 70, n = 41;
    float *w = normals(1, rows * (n + 1)), *e = normals(2, rows * b), *u = normals(3, b * (n + 2));
    float *want = normals(1, rows * (n + 1));
    nb_gemm_sub_f32(w, n + 1, e, b, u, n + 2, rows, b, n);
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < n; j++)
            for (size_t k = 0; k < b; k++)
                want[r * (n + 1) + j] =
                    fmaf(-e[r * b + k], u[k * (n + 2) + j], want[r * (n + 1) + j]);
    assert_bits_array(w, want, rows * (n + 1) - 1);
    free(w);
    free(e);
    free(u);
    free(want);
}

static void test_products_with_a_symmetric_matrix(void **state)
{
    (void)state;
    static const size_t rows[] = {1, 11, 12, 30, 200};
    struct nb_error err;
    for (size_t c = 0; c < NB_COUNTOF(sizes); c++) {
        const size_t n = sizes[c], m = rows[c % NB_COUNTOF(rows)];
        double *h = symmetric(c, n, 1.0), *g = doubles(m * n), *loss = doubles(m);
        float *e = normals(c + 5, m * (n + 3));
        const struct nb_sym_product p = {h, n, e, n + 3, m, false};
        double total, again, sum = 0.0;
        assert_ok(nb_sym_times(g, &p, NULL, NULL, &err), &err);
        assert_ok(nb_quad_form(&total, loss, &p, NULL, NULL, &err), &err);
        assert_ok(nb_quad_form(&again, NULL, &p, NULL, NULL, &err), &err);
        assert_true(total == again);
        for (size_t r = 0; r < m; r++) {
            double q = 0.0;
            for (size_t j = 0; j < n; j++) {
                double s = 0.0;
                for (size_t k = 0; k < n; k++)
                    s = fma((double)e[r * (n + 3) + k], h[NB_MIN(k, j) * n + NB_MAX(k, j)], s);
                assert_true(s == g[r * n + j]);
                q += s * (double)e[r * (n + 3) + j];
            }
            assert_close(q, loss[r], 1e-11 * fabs(q));
            sum += q;
        }
        assert_close(total, sum, 1e-11 * fabs(sum));
        free(h);
        free(g);
        free(loss);
        free(e);
    }
}

static void test_products_with_a_triangle(void **state)
{
    (void)state;
    struct nb_error err;
    for (size_t c = 0; c < NB_COUNTOF(sizes); c++) {
        const size_t n = sizes[c], m = c % 2 == 0 ? 5 : 203;
        double *u = symmetric(c, n, 1.0), *g = doubles(m * n); /* marks below the diagonal */
        float *e = normals(c + 5, m * n);
        const struct nb_sym_product p = {u, n, e, n, m, false};
        for (int transposed = 0; transposed < 2; transposed++) {
            assert_ok(nb_tri_times(g, &p, transposed != 0, NULL, NULL, &err), &err);
            for (size_t r = 0; r < m; r++)
                for (size_t j = 0; j < n; j++) {
                    double s = 0.0;
                    for (size_t k = transposed ? j : 0; k < (transposed ? n : j + 1); k++)
                        s = fma((double)e[r * n + k], transposed ? u[j * n + k] : u[k * n + j], s);
                    assert_true(s == g[r * n + j]);
                }
        }
        free(u);
        free(g);
        free(e);
    }
}

/* ---- threads, memory ---- */

static uint64_t all(struct nb_pool *pool, const struct nb_allocator *a, enum nb_status *st)
{
    enum { N = 391, ROWS = 150, TOKENS = 700 };
    struct nb_error err;
    float *x = normals(1, (size_t)TOKENS * N);
    double *h = doubles((size_t)N * N), *g = doubles((size_t)ROWS * N), *v = doubles((size_t)N * N);
    double total = 0.0;
    const struct nb_sym_tokens t = {x, N, TOKENS, x, false, NULL};
    const struct nb_sym_product p = {h, N, x, N, ROWS, false};
    memset(h, 0, sizeof *h * N * N);
    for (size_t i = 0; i < N; i++)
        h[i * (N + 1)] = 5000.0;
    *st = nb_sym_accumulate(h, N, &t, pool, a, &err);
    memcpy(v, h, sizeof *h * N * N);
    if (*st == NB_OK)
        *st = nb_chol_reverse(v, N, pool, NULL, a, &err);
    if (*st == NB_OK)
        *st = nb_tri_inverse(v, N, pool, a, &err);
    if (*st == NB_OK)
        *st = nb_sym_times(g, &p, pool, a, &err);
    if (*st == NB_OK)
        *st = nb_quad_form(&total, NULL, &p, pool, a, &err);
    uint64_t hash = 0;
    if (*st == NB_OK)
        hash = nb_hash_bytes(h, sizeof *h * N * N).lo ^ nb_hash_bytes(v, sizeof *v * N * N).hi ^
               nb_hash_bytes(g, sizeof *g * ROWS * N).lo ^ nb_hash_bytes(&total, sizeof total).hi;
    free(x);
    free(h);
    free(g);
    free(v);
    return hash;
}

static void test_any_number_of_threads(void **state)
{
    (void)state;
    enum nb_status st;
    const uint64_t alone = all(NULL, NULL, &st);
    assert_int_equal(st, NB_OK);
    for (unsigned threads = 1; threads <= 5; threads += 2) {
        struct nb_pool *pool;
        struct nb_error err;
        assert_ok(nb_pool_create(&pool, threads, NULL, &err), &err);
        assert_true(all(pool, NULL, &st) == alone);
        nb_pool_destroy(pool);
    }
}

static enum nb_status oom_body(void *ctx, const struct nb_allocator *a)
{
    enum nb_status st;
    (void)ctx;
    (void)all(NULL, a, &st);
    return st;
}

static void test_memory_runs_out(void **state)
{
    (void)state;
    assert_int_equal(nbtest_oom(oom_body, NULL), 11);
}

NB_TEST_MAIN(cmocka_unit_test(test_sum_of_outer_products),
             cmocka_unit_test(test_sum_does_not_depend_on_cuts),
             cmocka_unit_test(test_sum_of_two_sides), cmocka_unit_test(test_lower_triangle),
             cmocka_unit_test(test_factor_and_inverse), cmocka_unit_test(test_ill_conditioned),
             cmocka_unit_test(test_not_positive_definite), cmocka_unit_test(test_mirror),
             cmocka_unit_test(test_feedback),
             cmocka_unit_test(test_products_with_a_symmetric_matrix),
             cmocka_unit_test(test_products_with_a_triangle),
             cmocka_unit_test(test_any_number_of_threads), cmocka_unit_test(test_memory_runs_out))
