/* exp, log, pow, sin and cos against the C library in long double. */
#include "math/math.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* splitmix64: uniform bits */
static uint64_t state = 1;

static uint64_t next(void)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static double uniform(double lo, double hi)
{
    return lo + (hi - lo) * ((double)(next() >> 11) * 0x1p-53);
}

/* Positive, its logarithm uniform. The draws are separate statements: their order is part of the test. */
static double spread(int lo_exp, int hi_exp)
{
    const double m = uniform(1.0, 2.0);
    return ldexp(m, (int)uniform(lo_exp, hi_exp));
}

/* Either sign. */
static double spread2(int lo_exp, int hi_exp)
{
    const double m = spread(lo_exp, hi_exp);
    return m * uniform(-1.0, 1.0);
}

/* Distance of got from the exact value in units of the last place of a double. */
static double ulps(double got, long double exact)
{
    if (isinf(got) || isinf((double)exact) || isnan(got))
        return got == (double)exact ? 0.0 : INFINITY;
    int e;
    (void)frexpl(exact, &e);
    const int lowest = -1074;
    const int ulp_exp = exact == 0.0L || e - 53 < lowest ? lowest : e - 53;
    return (double)(fabsl((long double)got - exact) / ldexpl(1.0L, ulp_exp));
}

static double worst(double (*f)(double), long double (*exact)(long double), double (*draw)(void))
{
    double most = 0.0;
    for (int i = 0; i < 50000; i++) {
        const double x = draw();
        const double u = ulps(f(x), exact((long double)x));
        most = u > most ? u : most;
    }
    return most;
}

static double draw_exp(void)
{
    return uniform(-750.0, 715.0);
}

static double draw_small(void)
{
    return spread2(-60, 3);
}

static double draw_log(void)
{
    return spread(-1074, 1023);
}

static double draw_near_one(void)
{
    return 1.0 + spread2(-50, -1);
}

static double draw_angle(void)
{
    return spread2(-30, 29);
}

/* Near a multiple of pi/2, where the reduction cancels most. */
static double draw_multiple(void)
{
    const double n = floor(uniform(1.0, 6.0e8));
    return n * 1.57079632679489661923;
}

static void test_exp(void **unused)
{
    (void)unused;
    assert_true(worst(nb_exp, expl, draw_exp) < 1.0);
    assert_true(worst(nb_exp, expl, draw_small) < 1.0);
    assert_true(nb_exp(0.0) == 1.0 && nb_exp(-0.0) == 1.0);
    assert_true(nb_exp(INFINITY) == (double)INFINITY && nb_exp(-INFINITY) == 0.0);
    assert_true(nb_exp(710.0) == (double)INFINITY && nb_exp(-746.0) == 0.0);
    assert_true(nb_exp(709.78) < (double)INFINITY && nb_exp(-745.0) > 0.0);
    assert_true(isnan(nb_exp(NAN)));
}

static void test_log(void **unused)
{
    (void)unused;
    assert_true(worst(nb_log, logl, draw_log) < 1.0);
    assert_true(worst(nb_log, logl, draw_near_one) < 1.0);
    assert_true(nb_log(1.0) == 0.0);
    assert_true(nb_log(0.0) == -(double)INFINITY && nb_log(INFINITY) == (double)INFINITY);
    assert_true(isnan(nb_log(-1.0)) && isnan(nb_log(NAN)));
}

static void test_trig(void **unused)
{
    (void)unused;
    assert_true(worst(nb_sin, sinl, draw_angle) < 1.0);
    assert_true(worst(nb_cos, cosl, draw_angle) < 1.0);
    assert_true(worst(nb_sin, sinl, draw_multiple) < 1.0);
    assert_true(worst(nb_cos, cosl, draw_multiple) < 1.0);
    assert_true(nb_sin(0.0) == 0.0 && nb_cos(0.0) == 1.0);
    assert_true(signbit(nb_sin(-0.0)));
    assert_true(isnan(nb_sin(INFINITY)) && isnan(nb_cos(NAN)) && isnan(nb_sin(0x1.8p30)));
}

static void test_pow(void **unused)
{
    (void)unused;
    double most = 0.0;
    for (int i = 0; i < 50000; i++) {
        const double x = i % 2 ? spread(-1000, 1000) : uniform(0.5, 2.0);
        const double y = spread2(-10, 9);
        const double u = ulps(nb_pow(x, y), powl((long double)x, (long double)y));
        most = u > most ? u : most;
    }
    assert_true(most < 2.0);
    assert_true(nb_pow(2.0, 10.0) == 1024.0 && nb_pow(10000.0, 0.0) == 1.0);
    assert_true(nb_pow(0.0, 2.0) == 0.0 && nb_pow(0.0, -1.0) == (double)INFINITY);
    assert_true(nb_pow(1.0, INFINITY) == 1.0 && nb_pow(2.0, INFINITY) == (double)INFINITY);
    assert_true(nb_pow(0.5, INFINITY) == 0.0 && isnan(nb_pow(-1.0, 0.5)));
    assert_true(nb_pow(0x1.0000000000001p0, 0x1p60) ==
                nb_exp(0x1p60 * nb_log(0x1.0000000000001p0)));
}

/* The bits, so that another compiler or CPU that differs is seen. */
static void test_bits(void **unused)
{
    (void)unused;
    uint64_t h = 0;
    state = 7;
    for (int i = 0; i < 20000; i++) {
        double v[5];
        v[0] = nb_exp(draw_exp());
        v[1] = nb_log(draw_log());
        v[2] = nb_sin(draw_angle());
        v[3] = nb_cos(draw_angle());
        const double base = spread(-9, 9);
        v[4] = nb_pow(base, uniform(-9.0, 9.0));
        for (size_t j = 0; j < sizeof v / sizeof v[0]; j++) {
            uint64_t u;
            memcpy(&u, &v[j], sizeof u);
            h = (h ^ u) * 0x9e3779b97f4a7c15ULL;
            h ^= h >> 29;
        }
    }
    assert_int_equal(h, UINT64_C(0x6da28b0f96d983d8));
}

static void test_sum(void **unused)
{
    (void)unused;
    double x[37], lane[16] = {0};
    for (int i = 0; i < 37; i++) {
        x[i] = uniform(-1e3, 1e3);
        lane[i % 16] += x[i];
    }
    for (int half = 8; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lane[l] = lane[l] + lane[l + half];
    assert_true(nb_sum_f64(x, 37) == lane[0]);
    assert_true(nb_sum_f64(x, 0) == 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp), cmocka_unit_test(test_log),  cmocka_unit_test(test_trig),
        cmocka_unit_test(test_pow), cmocka_unit_test(test_bits), cmocka_unit_test(test_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
