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

/* One stream, in calls of at most `call` tokens. */
static void sum_tokens(double *h, bool lower, double *c, const struct nb_outer_options *o,
                       const struct nb_outer_tokens *all, size_t call)
{
    struct nb_error err;
    struct nb_outer *sums;
    assert_ok(nb_outer_create(&sums, o, NULL, &err), &err);
    nb_outer_begin(sums, h, lower, c);
    for (size_t t = 0; t < all->n_tokens; t += call) {
        struct nb_outer_tokens part = *all;
        part.n_tokens = NB_MIN(call, all->n_tokens - t);
        part.x += t * all->x_stride;
        if (c != NULL)
            part.y += t * all->y_stride;
        nb_outer_add(sums, &part);
    }
    nb_outer_end(sums);
    nb_outer_destroy(sums);
}

/* h (n, n) += sum of x x^T, upper triangle, and c (n_y, n) += sum of y x^T, a chunk ending with each call. */
static void plain_sums(double *h, double *c, size_t n, size_t n_y, const struct nb_outer_tokens *v,
                       size_t call)
{
    size_t end;
    for (size_t begin = 0; begin < v->n_tokens; begin = end) {
        end = NB_MIN(NB_MIN((begin / call + 1) * call, v->n_tokens),
                     begin + NB_SYM_CHUNK - begin % call % NB_SYM_CHUNK);
        for (size_t i = 0; i < n + n_y; i++)
            for (size_t j = i < n ? i : 0; j < n; j++) {
                float s = 0.0F;
                for (size_t t = begin; t < end; t++)
                    s = fmaf(i < n ? v->x[t * v->x_stride + i] : v->y[t * v->y_stride + i - n],
                             v->x[t * v->x_stride + j], s);
                *(i < n ? &h[i * n + j] : &c[(i - n) * n + j]) += (double)s;
            }
    }
}

static void test_sums_of_outer_products(void **state)
{
    (void)state;
    static const struct {
        size_t n, n_y, tokens, call, threads;
    } cases[] = {{1, 1, 1, 1, 1},        {5, 17, 300, 7, 1},     {12, 0, 256, 256, 1},
                 {16, 3, 257, 256, 2},   {47, 48, 100, 33, 1},   {48, 49, 513, 512, 1},
                 {49, 0, 1100, 1100, 3}, {100, 49, 40, 40, 1},   {49, 100, 1100, 300, 1},
                 {161, 97, 256, 50, 1},  {193, 193, 300, 64, 1}, {1030, 13, 7, 7, 1},
                 {13, 1030, 260, 9, 5},  {500, 230, 30, 11, 1}};
    struct nb_error err;
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        const size_t n = cases[i].n, n_y = cases[i].n_y, tokens = cases[i].tokens;
        const size_t x_stride = n + i % 4, y_stride = n_y + i % 3;
        float *x = normals(i + 1, tokens * x_stride), *y = normals(i + 77, tokens * y_stride + 1);
        double *h = symmetric(i, n, 1.0), *h_want = copy(h, n * n);
        double *c = doubles(n_y * n + 1), *c_want = doubles(n_y * n + 1);
        struct nb_pool *pool;
        for (size_t e = 0; e <= n_y * n; e++)
            c[e] = c_want[e] = (double)e;
        assert_ok(nb_pool_create(&pool, (unsigned)cases[i].threads, NULL, &err), &err);
        const struct nb_outer_options o = {n, n_y, tokens, pool};
        const struct nb_outer_tokens t = {x, y, x_stride, y_stride, tokens};
        sum_tokens(h, false, n_y > 0 ? c : NULL, &o, &t, cases[i].call);
        plain_sums(h_want, c_want, n, n_y, &t, cases[i].call);
        assert_memory_equal(h, h_want, n * n * sizeof *h);
        assert_memory_equal(c, c_want, (n_y * n + 1) * sizeof *c);
        assert_marks(h, n);
        nb_pool_destroy(pool);
        free(x);
        free(y);
        free(h);
        free(c);
        free(h_want);
        free(c_want);
    }
}

/* Into calls or streams of whole chunks, and by what the panels hold. */
static void test_sums_do_not_depend_on_cuts(void **state)
{
    (void)state;
    enum { N = 75, TOKENS = 3000 };
    static const size_t calls[] = {TOKENS, 256, 1024, 2816}, held[] = {0, 1, 700, TOKENS, 1 << 20};
    struct nb_error err;
    float *x = normals(3, (size_t)N * TOKENS);
    const struct nb_outer_tokens t = {x, x, N, N, TOKENS};
    double *whole = doubles((size_t)2 * N * N), *parts = doubles((size_t)2 * N * N);
    memset(whole, 0, (size_t)2 * N * N * sizeof *whole);
    plain_sums(whole, whole + N * N, N, N, &t, TOKENS);
    for (size_t i = 0; i < NB_COUNTOF(calls) * NB_COUNTOF(held); i++) {
        const struct nb_outer_options o = {N, N, held[i / NB_COUNTOF(calls)], NULL};
        memset(parts, 0, (size_t)2 * N * N * sizeof *parts);
        sum_tokens(parts, false, parts + N * N, &o, &t, calls[i % NB_COUNTOF(calls)]);
        assert_memory_equal(whole, parts, (size_t)2 * N * N * sizeof *whole);
    }
    const struct nb_outer_options o = {N, N, 512, NULL};
    struct nb_outer *sums;
    memset(parts, 0, (size_t)2 * N * N * sizeof *parts);
    assert_ok(nb_outer_create(&sums, &o, NULL, &err), &err);
    for (size_t at = 0; at < TOKENS; at += 768) {
        const struct nb_outer_tokens part = {x + at * N, x + at * N, N, N,
                                             NB_MIN(768, TOKENS - at)};
        nb_outer_begin(sums, parts, false, parts + N * N);
        nb_outer_add(sums, &part);
        nb_outer_end(sums);
    }
    nb_outer_end(sums);
    nb_outer_destroy(sums);
    assert_memory_equal(whole, parts, (size_t)2 * N * N * sizeof *whole);
    free(x);
    free(whole);
    free(parts);
}

static void test_memory_of_sums(void **state)
{
    (void)state;
    struct nb_error err;
    struct nb_outer *sums;
    struct nb_outer_options o = {.n = 480, .n_y = 96, .n_tokens = 1 << 20};
    const uint64_t square = UINT64_C(96) * 96 * 8;
    assert_true(nb_outer_bytes(&o) == UINT64_C(1024) * 4 * (2 * 480 + 96) + square);
    o.n_tokens = 300; /* two chunks */
    assert_true(nb_outer_bytes(&o) == UINT64_C(512) * 4 * (2 * 480 + 96) + square);
    o.n = SIZE_MAX / 2;
    assert_true(nb_outer_bytes(&o) == UINT64_MAX);
    assert_fails(nb_outer_create(&sums, &o, NULL, &err), NB_ERR_NOMEM, &err, "no memory to pack");
    assert_null(sums);
    o.n = 0;
    assert_fails(nb_outer_create(&sums, &o, NULL, &err), NB_ERR_ARG, &err, "0 numbers");
    nb_outer_destroy(NULL);
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
        const struct nb_outer_options o = {.n = n, .n_tokens = tokens};
        const struct nb_outer_tokens first = {.x = x, .x_stride = n, .n_tokens = tokens};
        const struct nb_outer_tokens second = {.x = y, .x_stride = n, .n_tokens = tokens};
        sum_tokens(pair, false, NULL, &o, &first, tokens);
        sum_tokens(pair + n, true, NULL, &o, &second, tokens);
        sum_tokens(h, false, NULL, &o, &first, tokens);
        sum_tokens(held, false, NULL, &o, &second, tokens);
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
    double *c = doubles((size_t)ROWS * N);
    double total = 0.0;
    const struct nb_outer_options o = {N, ROWS, TOKENS, pool};
    const struct nb_outer_tokens t = {x, x, N, N, TOKENS};
    struct nb_outer *sums;
    const struct nb_sym_product p = {h, N, x, N, ROWS, false};
    memset(h, 0, sizeof *h * N * N);
    for (size_t i = 0; i < N; i++)
        h[i * (N + 1)] = 5000.0;
    memset(c, 0, sizeof *c * ROWS * N);
    *st = nb_outer_create(&sums, &o, a, &err);
    if (*st == NB_OK) {
        nb_outer_begin(sums, h, false, c);
        nb_outer_add(sums, &t);
        nb_outer_end(sums);
        nb_outer_destroy(sums);
    }
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
               nb_hash_bytes(g, sizeof *g * ROWS * N).lo ^ nb_hash_bytes(&total, sizeof total).hi ^
               nb_hash_bytes(c, sizeof *c * ROWS * N).hi;
    free(x);
    free(h);
    free(g);
    free(v);
    free(c);
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
    assert_int_equal(nbtest_oom(oom_body, NULL), 13);
}

NB_TEST_MAIN(cmocka_unit_test(test_sums_of_outer_products),
             cmocka_unit_test(test_sums_do_not_depend_on_cuts),
             cmocka_unit_test(test_memory_of_sums), cmocka_unit_test(test_lower_triangle),
             cmocka_unit_test(test_factor_and_inverse), cmocka_unit_test(test_ill_conditioned),
             cmocka_unit_test(test_not_positive_definite), cmocka_unit_test(test_mirror),
             cmocka_unit_test(test_feedback),
             cmocka_unit_test(test_products_with_a_symmetric_matrix),
             cmocka_unit_test(test_products_with_a_triangle),
             cmocka_unit_test(test_any_number_of_threads), cmocka_unit_test(test_memory_runs_out))
