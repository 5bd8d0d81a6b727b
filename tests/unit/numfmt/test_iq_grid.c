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

/* What point i costs; flip NULL: no sign may change. Whole numbers: sums are exact. */
static float cost_of(const struct nb_iq_grid *g, int32_t i, const float *cost, const float *flip)
{
    float sum = 0.0F;
    float cheapest = INFINITY;
    for (uint32_t j = 0; j < g->dim; j++) {
        const uint32_t d = g->digit[g->value[(uint32_t)i * g->dim + j] - g->level[0]];
        sum += cost[d * g->dim + j];
        if (flip != NULL)
            cheapest = fminf(cheapest, flip[d * g->dim + j]);
    }
    return flip != NULL ? sum + cheapest : sum;
}

static void test_nearest(void **state)
{
    (void)state;
    uint32_t seed = 8;
    for (size_t k = 0; k < NB_COUNTOF(grids); k++) {
        const struct nb_iq_grid *g = grids[k];
        for (int trial = 0; trial < 400; trial++) {
            float cost[NB_IQ_MAX_DIM * NB_IQ_MAX_LEVELS];
            float flip[NB_IQ_MAX_DIM * NB_IQ_MAX_LEVELS];
            for (int j = 0; j < g->dim; j++) {
                const float price = (float)(golden_next(&seed) >> 24);
                for (int d = 0; d < g->base; d++) {
                    cost[d * g->dim + j] = (float)(golden_next(&seed) >> 20) - 1000.0F;
                    flip[d * g->dim + j] = price * (float)(d + 1);
                }
            }
            float best = 0.0F;
            float least[2] = {INFINITY, INFINITY};
            for (int32_t i = 0; i < g->n; i++) {
                least[0] = fminf(least[0], cost_of(g, i, cost, NULL));
                least[1] = fminf(least[1], cost_of(g, i, cost, flip));
            }
            int32_t at = nb_iq_nearest(g, cost, &best);
            assert_in_range(at, 0, g->n - 1);
            assert_bits(best, least[0]);
            assert_bits(cost_of(g, at, cost, NULL), least[0]);
            at = nb_iq_nearest_flip(g, cost, flip, &best);
            assert_in_range(at, 0, g->n - 1);
            assert_bits(best, least[1]);
            assert_bits(cost_of(g, at, cost, flip), least[1]);
        }
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_points), cmocka_unit_test(test_nearest))
