/* Figures of machine and process: plausible, not exact. */
#include "support/nbtest.h"

static void test_figures(void **state)
{
    (void)state;
    const uint64_t t = nb_clock_ns();
    assert_true(nb_clock_ns() >= t && t > 0);
    assert_in_range(nb_cpu_count(), 1, 100000);
    assert_true(nb_ram_total_bytes() > UINT64_C(1) << 24);
    assert_true(nb_ram_available_bytes() <= nb_ram_total_bytes());
    assert_true(nb_rss_peak_bytes() > 100000);
    assert_true(nb_rss_anon_bytes() > 0);
    assert_true(nb_rss_anon_bytes() <= nb_rss_peak_bytes());
}

static void test_anon_grows(void **state)
{
    (void)state;
    const size_t n = (size_t)32 << 20;
    const uint64_t before = nb_rss_anon_bytes();
    uint8_t *p = nb_alloc(NULL, n, 1);
    assert_non_null(p);
    memset(p, 1, n);
    assert_true(nb_rss_anon_bytes() >= before + n / 2);
    assert_true(nb_rss_peak_bytes() >= n);
    nb_free(NULL, p);
}

static void test_env(void **state)
{
    (void)state;
    setenv("NBTEST_VARIABLE", "x", 1);
    assert_string_equal(nb_env("NBTEST_VARIABLE"), "x");
    unsetenv("NBTEST_VARIABLE");
    assert_null(nb_env("NBTEST_VARIABLE"));
}

NB_TEST_MAIN(cmocka_unit_test(test_figures), cmocka_unit_test(test_anon_grows),
             cmocka_unit_test(test_env))
