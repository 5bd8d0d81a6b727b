/* GPTQ by its other names: the closed form of two columns; LDLQ from the last column to the first (QuIP, arXiv
 * 2307.13304); Babai's nearest plane (arXiv 2507.18553). Each written here as its paper has it, in doubles. */
#include "algo_case.h"

#define TYPE "int4_c" /* a scale per row: a lattice */

/* As published, but with scales from the weights as they came, H not damped. */
static struct outcome run_gptq(const struct algo_case *c)
{
    struct nb_algo_params q = *nb_algo_find("gptq")->params;
    q.damp = 0.0;
    q.fit = NB_FIT_STATIC;
    return case_run(c, "gptq", TYPE, &(struct how){.params = &q});
}

static double clamped(double v)
{
    const double q = nearbyint(v);
    return q < -8.0 ? -8.0 : q > 7.0 ? 7.0 : q;
}

static void test_two_columns(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct algo_case c;
        case_init(&c, 1, 2, seed);
        struct outcome o = run_gptq(&c);
        int16_t codes[2];
        struct nb_grid *g = case_codes(&c, &o, TYPE, 0, codes);
        const double s = (double)g->scale[0];
        const double q1 = clamped((double)c.w[0] / s);
        const double target = (double)c.w[1] + c.h[1] / c.h[3] * ((double)c.w[0] - s * q1);
        assert_int_equal(codes[0], (int)q1);
        assert_int_equal(codes[1], (int)clamped(target / s));
        free(g);
        outcome_fini(&o);
        case_fini(&c);
    }
}

/* H = (L + I) D (L + I)^T, L strictly lower: l (n, n) with ones on its diagonal. */
static void ldl(double *l, const double *h, size_t n)
{
    double *d = calloc(n, sizeof *d);
    assert_non_null(d);
    for (size_t j = 0; j < n; j++) {
        d[j] = h[j * n + j];
        for (size_t k = 0; k < j; k++)
            d[j] -= l[j * n + k] * l[j * n + k] * d[k];
        l[j * n + j] = 1.0;
        for (size_t i = j + 1; i < n; i++) {
            double sum = h[i * n + j];
            for (size_t k = 0; k < j; k++)
                sum -= l[i * n + k] * l[j * n + k] * d[k];
            l[i * n + j] = sum / d[j];
        }
    }
    free(d);
}

/* W_k = Q(W_k + (W_{>k} - Q_{>k}) L_{>k, k}), k from last to first; both reversed to GPTQ's order. */
static void ldlq(double *q, const double *w, const double *h, size_t n, double s)
{
    double *l = calloc(n * n, sizeof *l);
    assert_non_null(l);
    ldl(l, h, n);
    for (size_t k = n; k-- > 0;) {
        double t = w[k];
        for (size_t i = k + 1; i < n; i++)
            t += (w[i] - s * q[i]) * l[i * n + k];
        q[k] = clamped(t / s);
    }
    free(l);
}

/* The point of the lattice {z s R} next to w R, H = R R^T with R lower: coordinate after coordinate from the last,
 * each time the nearest plane. */
static void babai(double *q, const double *w, const double *h, size_t n, double s)
{
    double *r = calloc(n * n, sizeof *r), *y = calloc(n, sizeof *y);
    assert_true(r != NULL && y != NULL);
    for (size_t j = 0; j < n; j++)
        for (size_t i = j; i < n; i++) {
            double sum = h[i * n + j];
            for (size_t k = 0; k < j; k++)
                sum -= r[i * n + k] * r[j * n + k];
            r[i * n + j] = i == j ? sqrt(sum) : sum / r[j * n + j];
        }
    for (size_t j = 0; j < n; j++)
        for (size_t i = j; i < n; i++)
            y[j] += w[i] * r[i * n + j];
    for (size_t k = n; k-- > 0;) { /* row k of R is the only one left that reaches coordinate k */
        q[k] = clamped(y[k] / (s * r[k * n + k]));
        for (size_t j = 0; j <= k; j++)
            y[j] -= s * q[k] * r[k * n + j];
    }
    free(r);
    free(y);
}

static void test_ldlq_and_babai(void **state)
{
    enum { ROWS = 40, N = 48 };
    struct algo_case c;
    double h[N * N], w[N], a[N], b[N];
    int16_t codes[N];
    (void)state;
    case_init(&c, ROWS, N, 11);
    struct outcome o = run_gptq(&c);
    for (size_t i = 0; i < N; i++) /* the other end first */
        for (size_t j = 0; j < N; j++)
            h[(N - 1 - i) * N + N - 1 - j] = c.h[NB_MIN(i, j) * N + NB_MAX(i, j)];
    for (size_t r = 0; r < ROWS; r++) {
        struct nb_grid *g = case_codes(&c, &o, TYPE, r, codes);
        for (size_t i = 0; i < N; i++)
            w[N - 1 - i] = (double)c.w[r * N + i];
        ldlq(a, w, h, N, (double)g->scale[0]);
        babai(b, w, h, N, (double)g->scale[0]);
        for (size_t i = 0; i < N; i++) {
            assert_int_equal(codes[i], (int)a[N - 1 - i]);
            assert_int_equal(codes[i], (int)b[N - 1 - i]);
        }
        free(g);
    }
    outcome_fini(&o);
    case_fini(&c);
}

NB_TEST_MAIN(cmocka_unit_test(test_two_columns), cmocka_unit_test(test_ldlq_and_babai))
