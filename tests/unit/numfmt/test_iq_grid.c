/* numfmt/iq_grid.c: the codebooks hold together, and the search finds what looking at every point finds. */
#include "support/nbtest.h"

#include "golden.h"
#include "numfmt/iq_grid.h"

#include <math.h>

static const struct nb_iq_grid *const grids[] = {&nb_iq_grid_iq2_xxs, &nb_iq_grid_iq2_xs,
                                                 &nb_iq_grid_iq2_s,   &nb_iq_grid_iq3_xxs,
                                                 &nb_iq_grid_iq3_s,   &nb_iq_grid_iq1};

static void test_points(void **state)
{
    (void)state;
    const uint16_t n[] = {256, 512, 1024, 256, 512, 2048};
    for (size_t k = 0; k < NB_COUNTOF(grids); k++) {
        const struct nb_iq_grid *g = grids[k];
        assert_int_equal(g->n, n[k]);
        int32_t last = -1;
        for (int32_t i = 0; i < g->n; i++) {
            const int8_t *v = g->value + (size_t)i * g->dim;
            assert_int_equal(nb_iq_index(g, v), i);
            int32_t code = 0;
            for (uint32_t j = g->dim; j-- > 0;) {
                code = code * g->base + g->digit[v[j] - g->level[0]];
                assert_int_equal(g->level[g->digit[v[j] - g->level[0]]], v[j]);
            }
            assert_true(code > last);
            last = code;
            assert_int_equal(g->low[i], code % g->half);
            assert_true(g->start[code / g->half] <= i && i < g->start[code / g->half + 1]);
        }
        int32_t on = 0;
        for (int32_t c = 0; c < g->half * g->half; c++)
            on += g->index[c] >= 0;
        assert_int_equal(on, g->n);
    }
}

static void test_nearest(void **state)
{
    (void)state;
    uint32_t seed = 8;
    for (size_t k = 0; k < NB_COUNTOF(grids); k++) {
        const struct nb_iq_grid *g = grids[k];
        for (int trial = 0; trial < 200; trial++) {
            float cost[NB_IQ_MAX_DIM * NB_IQ_MAX_LEVELS];
            for (int j = 0; j < g->dim * g->base; j++)
                cost[j] = (float)(golden_next(&seed) >> 20) - 1000.0F; /* sums are exact */
            float least = INFINITY;
            for (int32_t i = 0; i < g->n; i++) {
                float sum = 0.0F;
                for (uint32_t j = 0; j < g->dim; j++)
                    sum += cost[j * g->base +
                                g->digit[g->value[(uint32_t)i * g->dim + j] - g->level[0]]];
                least = sum < least ? sum : least;
            }
            float best = 0.0F;
            const int32_t at = nb_iq_nearest(g, cost, &best);
            assert_in_range(at, 0, g->n - 1);
            assert_bits(best, least);
            float sum = 0.0F;
            for (uint32_t j = 0; j < g->dim; j++)
                sum +=
                    cost[j * g->base + g->digit[g->value[(uint32_t)at * g->dim + j] - g->level[0]]];
            assert_bits(sum, least);
        }
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_points), cmocka_unit_test(test_nearest))
