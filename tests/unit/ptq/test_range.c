/* Ranges of activations from what was seen, and their grids. */
#include <math.h>

#include "ptq/ptq_internal.h"
#include "support/nbtest.h"

#define BINS 4096
static double above[BINS], below[BINS];
static const struct nb_ptq_codes u8 = {NB_ONNX_UINT8, 0, 255, false},
                                 s8 = {NB_ONNX_INT8, -128, 127, true},
                                 u16 = {NB_ONNX_UINT16, 0, 65535, false},
                                 s16 = {NB_ONNX_INT16, -32768, 32767, true};

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
    assert_close(nb_ptq_bounds(&s, &o, u8).high, 64.0, 0.0);
    o.range = NB_PTQ_MOVING;
    assert_close(nb_ptq_bounds(&s, &o, u8).high, 5.0, 0.0);
    o.range = NB_PTQ_PERCENTILE;
    o.percentile = 99.9; /* 128,000 beyond at each end: within a bin */
    assert_close(nb_ptq_bounds(&s, &o, u8).high, 4.0, 64.0 / BINS);
    o.range = NB_PTQ_MSE; /* the outlier costs less than a coarse grid would */
    assert_true(nb_ptq_bounds(&s, &o, u8).high < 8.0);
    o.range = NB_PTQ_ENTROPY; /* equal counts lose nothing when they are merged */
    assert_close(nb_ptq_bounds(&s, &o, u8).high, 64.0, 0.0);
    assert_close(nb_ptq_bounds(&s, &o, u8).low, 0.0, 0.0);
}

static void test_normal(void **state)
{
    (void)state;
    const struct nb_seen s = normal();
    struct nb_ptq_options o = {.range = NB_PTQ_MSE};
    const struct nb_ptq_bounds b = nb_ptq_bounds(&s, &o, s8);
    /* the least error of 8 bits for a normal distribution is near 3.9 deviations */
    assert_true(b.high > 3.4 && b.high < 4.5);
    assert_close(b.low, -b.high, 1e-12);
    o.range = NB_PTQ_ENTROPY;
    assert_true(nb_ptq_bounds(&s, &o, s8).high < 7.0);
    for (int r = 0; r < NB_N_PTQ_RANGES; r++) {
        o.range = (enum nb_ptq_range)r;
        const struct nb_ptq_bounds any = nb_ptq_bounds(&s, &o, u8);
        assert_true(any.low >= -8.0 && any.low <= 0.0 && any.high <= 8.0 && any.high > 2.0);
    }
}

static void test_grids(void **state)
{
    (void)state;
    const struct nb_ptq_grid u = nb_ptq_fit((struct nb_ptq_bounds){-1.0, 3.0}, u8);
    assert_close((double)u.scale, 4.0 / 255.0, 1e-8);
    assert_int_equal(u.zero, 64); /* -1 is level 0 within half a step */
    const struct nb_ptq_grid r = nb_ptq_fit((struct nb_ptq_bounds){0.0, 6.0}, u8);
    assert_int_equal(r.zero, 0);
    assert_true((double)r.scale * 255.0 <= 6.0 + 1e-6); /* a clip at 6 is the grid's end */
    const struct nb_ptq_grid s = nb_ptq_fit((struct nb_ptq_bounds){-2.54, 1.0}, s8);
    assert_close((double)s.scale, 0.02, 1e-8);
    assert_int_equal(s.zero, 0);
    assert_close((double)nb_ptq_fit((struct nb_ptq_bounds){0.0, 0.0}, u8).scale, 1.0, 0.0);
    assert_close((double)nb_ptq_fit((struct nb_ptq_bounds){0.0, 0.0}, s8).scale, 1.0, 0.0);
}

/* Steps that bins do not resolve: what clips costs more than it gains; grids of 16 bits. */
static void test_wide(void **state)
{
    (void)state;
    const struct nb_seen s = normal();
    struct nb_ptq_options o = {.range = NB_PTQ_MSE};
    const double high = nb_ptq_bounds(&s, &o, s16).high; /* the last that was counted: 5.26 */
    assert_true(high > 5.0 && high < 5.5 && nb_ptq_bounds(&s, &o, u16).high > 5.0);
    o.range = NB_PTQ_ENTROPY;
    assert_close(nb_ptq_bounds(&s, &o, u16).high, 8.0, 0.0);
    const struct nb_ptq_grid u = nb_ptq_fit((struct nb_ptq_bounds){-1.0, 3.0}, u16);
    assert_close((double)u.scale, 4.0 / 65535.0, 1e-10);
    assert_int_equal(u.zero, 16384);
    assert_int_equal(u.high, 65535);
    const struct nb_ptq_grid i = nb_ptq_fit((struct nb_ptq_bounds){-1.0, 3.0}, s16);
    assert_close((double)i.scale, 3.0 / 32767.0, 1e-10);
    assert_int_equal(i.zero, 0);
    assert_int_equal(i.low, -32768);
}

NB_TEST_MAIN(cmocka_unit_test(test_rules), cmocka_unit_test(test_normal),
             cmocka_unit_test(test_grids), cmocka_unit_test(test_wide))
