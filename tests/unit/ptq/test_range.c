/* Ranges of activations from what was seen, and their grids. */
#include <math.h>

#include "ptq/ptq_internal.h"
#include "support/nbtest.h"

#define BINS 4096
static double above[BINS], below[BINS];

/* x uniform in 0 .. 4 with one outlier at 64; no negative numbers. */
static struct nb_seen uniform(void)
{
    memset(above, 0, sizeof above);
    for (size_t i = 0; i < 256; i++)
        above[i] = 1e6;
    above[BINS - 1] = 1.0;
    return (struct nb_seen){.any = true,
                            .least = 0.0,
                            .greatest = 64.0,
                            .low = 0.0,
                            .high = 5.0,
                            .above = {64.0 / BINS, above, BINS}};
}

/* Both signs, the density of a normal distribution of deviation 1 within 8. */
static struct nb_seen normal(void)
{
    for (size_t i = 0; i < BINS; i++) {
        const double x = 8.0 * ((double)i + 0.5) / BINS;
        above[i] = below[i] = floor(1e6 * exp(-0.5 * x * x));
    }
    return (struct nb_seen){.any = true,
                            .least = -8.0,
                            .greatest = 8.0,
                            .low = -4.0,
                            .high = 4.0,
                            .above = {8.0 / BINS, above, BINS},
                            .below = {8.0 / BINS, below, BINS}};
}

static void test_rules(void **state)
{
    (void)state;
    const struct nb_seen s = uniform();
    struct nb_ptq_options o = {.range = NB_PTQ_MINMAX};
    assert_close(nb_ptq_bounds(&s, &o, false).high, 64.0, 0.0);
    o.range = NB_PTQ_MOVING;
    assert_close(nb_ptq_bounds(&s, &o, false).high, 5.0, 0.0);
    o.range = NB_PTQ_PERCENTILE;
    o.percentile = 99.9; /* 128,000 beyond at each end: within a bin */
    assert_close(nb_ptq_bounds(&s, &o, false).high, 4.0, 64.0 / BINS);
    o.range = NB_PTQ_MSE; /* the outlier costs less than a coarse grid would */
    assert_true(nb_ptq_bounds(&s, &o, false).high < 8.0);
    o.range = NB_PTQ_ENTROPY; /* equal counts lose nothing when they are merged */
    assert_close(nb_ptq_bounds(&s, &o, false).high, 64.0, 0.0);
    assert_close(nb_ptq_bounds(&s, &o, false).low, 0.0, 0.0);
}

static void test_normal(void **state)
{
    (void)state;
    const struct nb_seen s = normal();
    struct nb_ptq_options o = {.range = NB_PTQ_MSE};
    const struct nb_ptq_bounds b = nb_ptq_bounds(&s, &o, true);
    /* the least error of 8 bits for a normal distribution is near 3.9 deviations */
    assert_true(b.high > 3.4 && b.high < 4.5);
    assert_close(b.low, -b.high, 1e-12);
    o.range = NB_PTQ_ENTROPY;
    assert_true(nb_ptq_bounds(&s, &o, true).high < 7.0);
    for (int r = 0; r < NB_N_PTQ_RANGES; r++) {
        o.range = (enum nb_ptq_range)r;
        const struct nb_ptq_bounds any = nb_ptq_bounds(&s, &o, false);
        assert_true(any.low >= -8.0 && any.low <= 0.0 && any.high <= 8.0 && any.high > 2.0);
    }
}

static void test_grids(void **state)
{
    (void)state;
    const struct nb_ptq_grid u = nb_ptq_unsigned((struct nb_ptq_bounds){-1.0, 3.0});
    assert_close((double)u.scale, 4.0 / 255.0, 1e-8);
    assert_int_equal(u.zero, 64); /* -1 is level 0 within half a step */
    const struct nb_ptq_grid r = nb_ptq_unsigned((struct nb_ptq_bounds){0.0, 6.0});
    assert_int_equal(r.zero, 0);
    assert_true((double)r.scale * 255.0 <= 6.0 + 1e-6); /* a clip at 6 is the grid's end */
    const struct nb_ptq_grid s = nb_ptq_signed((struct nb_ptq_bounds){-2.54, 1.0});
    assert_close((double)s.scale, 0.02, 1e-8);
    assert_int_equal(s.zero, 0);
    assert_close((double)nb_ptq_unsigned((struct nb_ptq_bounds){0.0, 0.0}).scale, 1.0, 0.0);
    assert_close((double)nb_ptq_signed((struct nb_ptq_bounds){0.0, 0.0}).scale, 1.0, 0.0);
}

NB_TEST_MAIN(cmocka_unit_test(test_rules), cmocka_unit_test(test_normal),
             cmocka_unit_test(test_grids))
