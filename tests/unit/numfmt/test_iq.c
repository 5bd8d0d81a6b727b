/* numfmt/iq2_xxs.c and its four relatives: every point of a codebook is stored and found again, and signs
 * that are stored in seven bits are even. */
#include "support/nbtest.h"

#include "golden.h"
#include "numfmt/iq.h"

static const struct {
    const struct nb_numfmt *f;
    const struct nb_iq_grid *grid;
} formats[] = {{&nb_numfmt_iq2_xxs, &nb_iq_grid_iq2_xxs},
               {&nb_numfmt_iq2_xs, &nb_iq_grid_iq2_xs},
               {&nb_numfmt_iq2_s, &nb_iq_grid_iq2_s},
               {&nb_numfmt_iq3_xxs, &nb_iq_grid_iq3_xxs},
               {&nb_numfmt_iq3_s, &nb_iq_grid_iq3_s}};

static int n_minus(const int8_t *codes)
{
    int n = 0;
    for (int j = 0; j < 8; j++)
        n += codes[j] < 0;
    return n;
}

/* A block of points, the first of them number `at`, with signs that the format can hold. */
static void make_codes(int8_t codes[256], const struct nb_iq_grid *grid, uint32_t at,
                       uint32_t *seed)
{
    for (uint32_t i = 0; i < 256; i += grid->dim) {
        const uint32_t point = (at + i / grid->dim) % grid->n;
        nb_iq_signed(codes + i, grid->value + (size_t)point * grid->dim, golden_next(seed) >> 24,
                     grid->dim);
    }
    for (uint32_t i = 0; i < 256 && grid->even; i += 8)
        if (n_minus(codes + i) % 2 != 0)
            codes[i] = (int8_t)-codes[i];
}

/* Stored and read, a block of points is the same; rounding its values finds the same points, without and
 * with weights. */
static void test_points_stay(void **state)
{
    (void)state;
    uint32_t seed = 1;
    for (size_t k = 0; k < NB_COUNTOF(formats); k++) {
        const struct nb_numfmt *f = formats[k].f;
        const struct nb_iq_grid *grid = formats[k].grid;
        for (uint32_t at = 0; at < grid->n; at += 256U / grid->dim) {
            struct nb_grid g = {.d = 0.015625F};
            struct nb_grid read;
            int8_t codes[256];
            int8_t found[256];
            uint8_t raw[NB_NUMFMT_MAX_BLOCK];
            float y[256];
            float w[256];
            float values[8];
            for (uint32_t s = 0; s < 256 / f->sub; s++)
                g.scale_code[s] = (int16_t)(golden_next(&seed) >> 28);
            for (uint32_t i = 0; i < 256; i++)
                w[i] = 0.01F + (float)(golden_next(&seed) >> 24);
            make_codes(codes, grid, at, &seed);
            f->pack(raw, &g, codes);
            f->unpack(&read, found, raw);
            assert_memory_equal(found, codes, sizeof codes);
            f->decode(raw, y, 256);
            for (uint32_t i = 0; i < 256; i += f->dim) {
                f->round_vec(&read, i, y + i, NULL, found + i, values);
                assert_memory_equal(values, y + i, f->dim * sizeof *values);
                assert_memory_equal(found + i, codes + i, f->dim);
                f->round_vec(&read, i, y + i, w + i, found + i, values);
                assert_memory_equal(found + i, codes + i, f->dim);
            }
        }
    }
}

static void test_signs_are_even(void **state)
{
    (void)state;
    static float x[4096];
    static uint8_t raw[4096];
    struct nb_error err;
    golden_values(x, NB_COUNTOF(x), 77);
    for (size_t k = 0; k < NB_COUNTOF(formats); k++) {
        const struct nb_numfmt *f = formats[k].f;
        int odd = 0;
        assert_ok(nb_numfmt_encode(f, raw, x, NULL, NB_COUNTOF(x), &err), &err);
        for (size_t b = 0; b < NB_COUNTOF(x) / 256; b++) {
            struct nb_grid g;
            int8_t codes[256];
            f->unpack(&g, codes, raw + b * f->block_bytes);
            for (size_t i = 0; i < 256; i += 8)
                odd += n_minus(codes + i) % 2;
        }
        assert_true(formats[k].grid->even ? odd == 0 : odd > 0);
    }
}

/* A flipped sign is the cheapest one: where one value of eight is tiny and the signs are odd, it gives way. */
static void test_cheapest_sign_gives_way(void **state)
{
    (void)state;
    for (size_t k = 0; k < NB_COUNTOF(formats); k++) {
        const struct nb_numfmt *f = formats[k].f;
        struct nb_grid g = {.d = 1.0F};
        for (int j = 0; j < 8 && formats[k].grid->even; j++) {
            float x[8] = {9.0F, 9.0F, 9.0F, 9.0F, 9.0F, 9.0F, 9.0F, 9.0F};
            float values[8];
            int8_t codes[8];
            g.scale[0] = 1.0F;
            x[j] = 0.5F;
            x[(j + 3) % 8] = -9.0F;
            f->round_vec(&g, 0, x, NULL, codes, values);
            for (int i = 0; i < 8; i++)
                assert_true((values[i] < 0.0F) == (i == j || i == (j + 3) % 8));
        }
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_points_stay), cmocka_unit_test(test_signs_are_even),
             cmocka_unit_test(test_cheapest_sign_gives_way))
