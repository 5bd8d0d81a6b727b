/* numfmt/best_scale.c: what the exact search finds is what trying every assignment of codes finds; models
 * that are ternary already come back bit for bit. */
#include "support/nbtest.h"

#include "golden.h"
#include "numfmt/best_scale.h"
#include "numfmt/numfmt.h"

#include <math.h>

enum { N = 6 };

/* By how much d, its codes the nearest ones, lowers S(w x x). */
static double gain_of(const float *x, const float *w, double d, int lo, int hi)
{
    double gain = 0.0;
    for (size_t i = 0; i < N; i++) {
        const double q = d == 0.0 ? 0.0 : fmin(fmax(nearbyint((double)x[i] / d), lo), hi);
        const double e = (double)x[i] - d * q;
        gain += (double)w[i] * ((double)x[i] * (double)x[i] - e * e);
    }
    return gain;
}

/* The best of all assignments, each with its least squares scale. */
static double best_gain(const float *x, const float *w, int lo, int hi)
{
    const int levels = hi - lo + 1;
    const int all = (int)pow(levels, N);
    double best = 0.0;
    for (int a = 0; a < all; a++) {
        double lx = 0.0;
        double l2 = 0.0;
        for (int i = 0, rest = a; i < N; i++, rest /= levels) {
            const double q = rest % levels + lo;
            lx += (double)w[i] * q * (double)x[i];
            l2 += (double)w[i] * q * q;
        }
        best = l2 > 0.0 ? fmax(best, lx * lx / l2) : best;
    }
    return best;
}

static void test_exact(void **state)
{
    (void)state;
    const int tops[] = {1, 2};
    float x[N];
    float w[N];
    for (uint32_t trial = 0; trial < 300; trial++) {
        golden_values(x, N, trial);
        golden_values(w, N, trial + 1000);
        for (size_t i = 0; i < N; i++) {
            w[i] = trial % 3 == 0 ? 1.0F : w[i] * w[i] + 0.001F;
            x[i] = trial % 5 == 0 ? roundf(2.0F * x[i]) : x[i]; /* ties and zeros */
        }
        for (size_t t = 0; t < NB_COUNTOF(tops); t++) {
            const double d = nb_best_scale(x, trial % 3 == 0 ? NULL : w, N, -1, tops[t]);
            const double want = best_gain(x, w, -1, tops[t]);
            const double got = gain_of(x, w, d, -1, tops[t]);
            assert_true(fabs(got - want) <= 1e-12 * (1.0 + want));
        }
    }
    memset(x, 0, sizeof x);
    assert_true(nb_best_scale(x, NULL, N, -1, 1) == 0.0);
    assert_true(nb_best_scale(x, NULL, N, -1, 2) == 0.0);
}

static void test_ternary_models(void **state)
{
    (void)state;
    static float x[1024];
    static float y[1024];
    static float w[1024];
    static uint8_t raw[1024];
    const struct nb_numfmt *const formats[] = {&nb_numfmt_tq1_0, &nb_numfmt_tq2_0, &nb_numfmt_q2_0};
    uint32_t seed = 9;
    for (size_t k = 0; k < NB_COUNTOF(formats); k++) {
        struct nb_error err;
        for (size_t i = 0; i < 1024; i++) {
            const float d = i < 256 ? 1.0F : i < 512 ? 0x1.9p-7F : 0x1.ffcp3F; /* f16 values */
            const uint32_t pick = golden_next(&seed) >> 24;
            x[i] = pick < 100 ? 0.0F : pick < 180 ? -d : d;
            w[i] = (float)(1 + pick % 7);
        }
        memset(x + 768, 0, 256 * sizeof *x);
        for (int with = 0; with < 2; with++) {
            assert_ok(nb_numfmt_encode(formats[k], raw, x, with ? w : NULL, 1024, &err), &err);
            nb_numfmt_decode(formats[k], raw, y, 1024);
            for (size_t i = 0; i < 1024; i++)
                assert_true(x[i] == y[i]);
        }
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_exact), cmocka_unit_test(test_ternary_models))
