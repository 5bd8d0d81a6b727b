/* numfmt/iq_grid.c: the codebook tables, and exact search in them.
 *
 * The search splits a tuple into halves. The costs of all half tuples are sums of few numbers; points
 * are sorted by their second half, so those that share it are a run, and a run is looked at only if
 * its second half with the cheapest first half could still win. So the nearest point is exact, under
 * any weights, for about the price of looking through a list of the rounded tuple's neighbours.
 *
 * Sums of four costs are always (a + b) + (c + d): rounding is monotone, so the least of the sums is the
 * sum of the least, bit for bit, and bounds are safe.
 */
#include "numfmt/iq_grid.h"

#include "base/base.h"

#include "iq_grids.inc"

#define INLINE static inline __attribute__((always_inline))

enum { PAD = 4 }; /* floats after a table that vector loops may write */

int32_t nb_iq_index(const struct nb_iq_grid *grid, const int8_t *value)
{
    int32_t code = 0;
    for (int32_t j = grid->dim - 1; j >= 0; j--)
        code = code * grid->base + grid->digit[(value[j] - grid->level[0]) & 63];
    return grid->index[code];
}

/* Half a tuple is two parts: pairs of digits of base 3, or single digits of base 8. */
enum { MAX_PART = 9 };

struct part {
    float cost[MAX_PART + 3];
    float least;     /* of cost */
    uint32_t choice; /* its code */
};

struct half {
    float cost[NB_IQ_MAX_HALF + PAD];
    float least;
};

INLINE float less(float a, float b)
{
    return a < b ? a : b;
}

INLINE void make_part(struct part *p, const float *cost, uint32_t q, uint32_t base, uint32_t dim)
{
    const uint32_t n = base == 3 ? 9 : base;
    for (uint32_t c = 0; c < n; c++)
        p->cost[c] = base == 3 ? cost[c % 3 * dim + 2 * q] + cost[c / 3 * dim + 2 * q + 1]
                               : cost[c * dim + q];
    for (uint32_t c = n; c < MAX_PART + 3; c++) /* what vector loops read beyond */
        p->cost[c] = 0.0F;
    p->least = p->cost[0];
    p->choice = 0;
    for (uint32_t c = 1; c < n; c++) {
        p->choice = p->cost[c] < p->least ? c : p->choice;
        p->least = less(p->cost[c], p->least);
    }
}

/* Rows of 9 are written as 12: the next row mends what the last one spilt. */
INLINE void make_half(struct half *h, const struct part *a, const struct part *b, uint32_t base)
{
    const uint32_t n = base == 3 ? 9 : base;
    const uint32_t wide = base == 3 ? 12 : base;
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t i = 0; i < wide; i++)
            h->cost[k * n + i] = a->cost[i] + b->cost[k];
    h->least = a->least + b->least;
}

struct found {
    float cost;
    int32_t at;
};

/* The points with second half c. */
INLINE void look(struct found *best, const struct nb_iq_grid *grid, const struct half *low,
                 const struct half *high, uint32_t c)
{
    for (uint32_t i = grid->start[c]; i < grid->start[c + 1]; i++) {
        const float e = high->cost[c] + low->cost[grid->low[i]];
        if (best->at < 0 || e < best->cost) {
            best->cost = e;
            best->at = (int32_t)i;
        }
    }
}

INLINE int32_t search(const struct nb_iq_grid *grid, const float *cost, uint32_t base, uint32_t dim,
                      float *least)
{
    const uint32_t n = base == 3 ? 9 : base;
    struct part part[4];
    struct half low;
    struct half high;
    for (uint32_t q = 0; q < 4; q++)
        make_part(&part[q], cost, q, base, dim);
    const uint32_t first = part[2].choice + n * part[3].choice;
    const int32_t at = grid->index[part[0].choice + n * part[1].choice + n * n * first];
    if (at >= 0) { /* the cheapest digits are a point */
        *least = (part[2].least + part[3].least) + (part[0].least + part[1].least);
        return at;
    }
    make_half(&low, &part[0], &part[1], base);
    make_half(&high, &part[2], &part[3], base);
    struct found best = {0.0F, -1};
    look(&best, grid, &low, &high, first); /* a bound that spares most of the others */
    for (uint32_t k = 0; k < n; k++) {
        if (best.at >= 0 && (part[2].least + part[3].cost[k]) + low.least >= best.cost)
            continue;
        for (uint32_t c = k * n; c < k * n + n; c++)
            if (best.at < 0 || high.cost[c] + low.least < best.cost)
                look(&best, grid, &low, &high, c);
    }
    *least = best.cost;
    return best.at;
}

int32_t nb_iq_nearest(const struct nb_iq_grid *grid, const float *cost, float *best)
{
    return grid->base == 3 ? search(grid, cost, 3, 8, best) : search(grid, cost, 8, 4, best);
}
