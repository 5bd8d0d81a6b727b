/* numfmt/iq_grid.c: the codebook tables, and exact search in them.
 *
 * The search splits a tuple into halves. The costs of all half tuples are sums of few numbers; points
 * are sorted by their second half, so those that share it are a run, and a run is looked at only if
 * its second half with the cheapest first half could still win. So the nearest point is exact, under any
 * weights, for about the price of looking through a list of the rounded tuple's neighbours.
 */
#include "numfmt/iq_grid.h"

#include <stddef.h>

#include "iq_grids.inc"

int32_t nb_iq_index(const struct nb_iq_grid *grid, const int8_t *value)
{
    int32_t code = 0;
    for (int32_t j = grid->dim - 1; j >= 0; j--)
        code = code * grid->base + grid->digit[(value[j] - grid->level[0]) & 63];
    return grid->index[code];
}

/* half_cost: (base^(dim / 2)), the sums over half a tuple. cost: (dim / 2, base). */
static void sum_half(float *half_cost, const float *cost, uint32_t digits, uint32_t base)
{
    uint32_t n = base;
    for (uint32_t d = 0; d < base; d++)
        half_cost[d] = cost[d];
    for (uint32_t j = 1; j < digits; j++) {
        for (uint32_t d = base; d-- > 0;)
            for (uint32_t i = 0; i < n; i++)
                half_cost[d * n + i] = half_cost[i] + cost[j * base + d];
        n *= base;
    }
}

int32_t nb_iq_nearest(const struct nb_iq_grid *grid, const float *cost, float *best)
{
    float low[NB_IQ_MAX_HALF];
    float high[NB_IQ_MAX_HALF];
    const uint32_t digits = grid->dim / 2U;
    sum_half(low, cost, digits, grid->base);
    sum_half(high, cost + (size_t)digits * grid->base, digits, grid->base);
    uint32_t first = 0;
    float least = low[0];
    for (uint32_t i = 0; i < grid->half; i++) {
        least = low[i] < least ? low[i] : least;
        first = high[i] < high[first] ? i : first;
    }
    int32_t at = -1;
    float min = 0.0F;
    /* The cheapest second half is looked at first: it sets a bound that spares most of the others. */
    for (uint32_t k = 0; k <= grid->half; k++) {
        const uint32_t h = k == 0 ? first : k - 1;
        if (at >= 0 && high[h] + least >= min)
            continue;
        for (uint32_t i = grid->start[h]; i < grid->start[h + 1]; i++) {
            const float c = high[h] + low[grid->low[i]];
            if (at < 0 || c < min) {
                min = c;
                at = (int32_t)i;
            }
        }
    }
    *best = min;
    return at;
}
