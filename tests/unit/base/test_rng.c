/* Random numbers: pure functions of seed and counter, the right distribution, the same bits on every
 * machine (a hash of many values). */
#include "support/nbtest.h"

#include <math.h>

static void test_counter_based(void **state)
{
    (void)state;
    struct nb_rng a = {1, 0}, b = {1, 0};
    uint64_t seen[100];
    for (int i = 0; i < 100; i++)
        seen[i] = nb_rng_u64(&a);
    b.counter = 57;
    assert_true(nb_rng_u64(&b) == seen[57]);
    struct nb_rng c = {2, 0};
    int same = 0;
    for (int i = 0; i < 100; i++) {
        const uint64_t v = nb_rng_u64(&c);
        for (int k = 0; k < 100; k++)
            same += v == seen[k];
    }
    assert_int_equal(same, 0);
}

static void test_unit(void **state)
{
    (void)state;
    struct nb_rng rng = {42, 0};
    double sum = 0;
    for (int i = 0; i < 200000; i++) {
        const double u = nb_rng_unit(&rng);
        assert_true(u >= 0 && u < 1);
        sum += u;
    }
    assert_close(sum / 200000, 0.5, 0.003);
}

static void test_normal_moments(void **state)
{
    (void)state;
    struct nb_rng rng = {7, 0};
    const int n = 400000;
    double m[5] = {0};
    for (int i = 0; i < n; i++) {
        const double x = nb_rng_normal(&rng);
        for (int k = 1; k < 5; k++)
            m[k] += pow(x, k) / n;
    }
    assert_int_equal(rng.counter, n); /* one value, one step */
    assert_close(m[1], 0, 0.008);
    assert_close(m[2], 1, 0.012);
    assert_close(m[3], 0, 0.03);
    assert_close(m[4], 3, 0.12);
}

/* The distribution function, from libm, must lead back to the uniform number the value came from:
 * the check of the 45 coefficients. */
static void test_normal_inverts_its_distribution(void **state)
{
    (void)state;
    double least = 0;
    for (uint64_t i = 0; i < 300000; i++) {
        struct nb_rng a = {3, i}, b = {3, i};
        const double x = nb_rng_normal(&a);
        const double p = ((double)(nb_rng_u64(&b) >> 12) + 0.5) * 0x1p-52;
        const double back = 0.5 * erfc(-x / sqrt(2.0));
        assert_close(back / p, 1, 4e-14);
        least = fmin(least, x);
    }
    assert_true(least < -4.2);
}

static void test_same_bits_everywhere(void **state)
{
    (void)state;
    uint64_t hash = NB_FNV_SEED;
    for (uint64_t seed = 0; seed < 4; seed++) {
        struct nb_rng rng = {seed, 0};
        for (int i = 0; i < 20000; i++) {
            const double x = nb_rng_normal(&rng), u = nb_rng_unit(&rng);
            hash = nb_fnv1a64(&x, sizeof x, hash);
            hash = nb_fnv1a64(&u, sizeof u, hash);
        }
    }
    if (hash != UINT64_C(0x30ece64c216fa831))
        fail_msg("hash of the values: %016llx", (unsigned long long)hash);
}

NB_TEST_MAIN(cmocka_unit_test(test_counter_based), cmocka_unit_test(test_unit),
             cmocka_unit_test(test_normal_moments),
             cmocka_unit_test(test_normal_inverts_its_distribution),
             cmocka_unit_test(test_same_bits_everywhere))
