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

/* What point i costs. Whole numbers: sums are exact. */
static float cost_of(const struct nb_iq_grid *g, int32_t i, const float *cost)
{
    float sum = 0.0F;
    for (uint32_t j = 0; j < g->dim; j++)
        sum += cost[g->digit[g->value[(uint32_t)i * g->dim + j] - g->level[0]] * g->dim + j];
    return sum;
}

static void test_nearest(void **state)
{
    (void)state;
    uint32_t seed = 8;
    for (size_t k = 0; k < NB_COUNTOF(grids); k++) {
        const struct nb_iq_grid *g = grids[k];
        for (int trial = 0; trial < 400; trial++) {
            float cost[NB_IQ_MAX_DIM * NB_IQ_MAX_LEVELS];
            for (int j = 0; j < g->dim * g->base; j++)
                cost[j] = (float)(golden_next(&seed) >> 20) - 1000.0F;
            float best = 0.0F;
            float least = INFINITY;
            for (int32_t i = 0; i < g->n; i++)
                least = fminf(least, cost_of(g, i, cost));
            const int32_t at = nb_iq_nearest(g, cost, &best);
            assert_in_range(at, 0, g->n - 1);
            assert_bits(best, least);
            assert_bits(cost_of(g, at, cost), least);
        }
    }
}

/* Error of row x stored as these codes. */
static double row_error(const float *x, const float *w, float inv, const int8_t *codes)
{
    double sum = 0.0;
    for (int j = 0; j < 8; j++) {
        const double e = (double)x[j] - (double)codes[j] / (double)inv;
        sum += (double)w[j] * e * e;
    }
    return sum;
}

/* Any of the g->n points at elements at.. of codes, signs as in x or with one of them flipped. */
static double best_by_hand(const struct nb_iq_grid *g, const float *x, const float *w, float inv,
                           bool flip)
{
    double best = INFINITY;
    for (int32_t i = 0; i < g->n; i++) {
        double sum = 0.0;
        double price = INFINITY;
        for (int j = 0; j < g->dim; j++) {
            const double v = g->value[i * g->dim + j] / (double)inv;
            const double a = fabs((double)x[j]);
            sum += (double)w[j] * (a - v) * (a - v);
            price = fmin(price, 4.0 * (double)w[j] * a * v);
        }
        best = fmin(best, flip ? sum + price : sum);
    }
    return best;
}

static double best_row(const struct nb_iq_grid *g, const float *x, const float *w, float inv)
{
    int minus = 0;
    for (int j = 0; j < 8; j++)
        minus += x[j] < 0.0F;
    const bool odd = g->even && minus % 2 != 0;
    if (g->dim == 8)
        return best_by_hand(g, x, w, inv, odd);
    const double a = best_by_hand(g, x, w, inv, false);
    const double b = best_by_hand(g, x + 4, w + 4, inv, false);
    if (!odd)
        return a + b;
    return fmin(best_by_hand(g, x, w, inv, true) + b, a + best_by_hand(g, x + 4, w + 4, inv, true));
}

/* The kernel against looking at every point and every sign that may flip. */
static void test_round(void **state)
{
    (void)state;
    enum { ROWS = 61 };
    uint32_t seed = 5;
    float x[8 * ROWS];
    float w[8 * ROWS];
    float inv[ROWS];
    int8_t codes[8 * ROWS];
    golden_values(x, NB_COUNTOF(x), 3);
    for (size_t k = 0; k + 1 < NB_COUNTOF(grids); k++) {
        const struct nb_iq_grid *g = grids[k];
        for (size_t i = 0; i < NB_COUNTOF(w); i++)
            w[i] = (float)(golden_next(&seed) >> 24) / 64.0F;
        for (size_t i = 0; i < ROWS; i++)
            inv[i] = (float)g->level[g->base - 1] * (0.4F + (float)(i % 10) / 10.0F);
        nb_kernels_get()->round_iq_f32(codes, g, x, w, inv, ROWS);
        for (size_t i = 0; i < ROWS; i++) {
            int minus = 0;
            for (size_t j = 8 * i; j < 8 * i + 8; j++)
                minus += codes[j] < 0;
            assert_true(!g->even || minus % 2 == 0);
            const double want = best_row(g, x + 8 * i, w + 8 * i, inv[i]);
            assert_close(row_error(x + 8 * i, w + 8 * i, inv[i], codes + 8 * i), want,
                         1e-4 * (want + 1e-3));
        }
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_points), cmocka_unit_test(test_nearest),
             cmocka_unit_test(test_round))
