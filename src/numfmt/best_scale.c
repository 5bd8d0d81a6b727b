/* numfmt/best_scale.c: the exact breakpoint search for grids with few levels (ternary above all).
 *
 * As 1 / d grows from 0 the nearest code of x leaves 0 and changes by one whenever x / d passes
 * k - 1/2, that is at 1 / d = (k - 1/2) / |x|. Between two such points the codes q are fixed and least
 * squares gives d = S(w x q) / S(w q q), which lowers the squared error by S(w x q)^2 / S(w q q). The
 * best d with its nearest codes lies in one of these intervals; so sorting the points and keeping both
 * sums up to date finds it: n log n, no trial steps. For codes -1, 0, 1 this is the threshold on |x| of
 * ternary weight networks (Li, Zhang, Liu, arXiv 1605.04711, where it is only estimated).
 */
#include "numfmt/best_scale.h"

#include "numfmt/numfmt_internal.h"

/* Which element, and which change of its code: in the lowest bits of a sort key. */
enum { INDEX_BITS = 8, STEP_BITS = 2, TAG_BITS = INDEX_BITS + STEP_BITS };

/* Largest first. Shell's sort, gaps by Ciura: in place, and fast at this size. */
static void sort_down(uint64_t *key, size_t n)
{
    static const size_t gaps[] = {132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < NB_COUNTOF(gaps); g++) {
        const size_t gap = gaps[g];
        for (size_t i = gap; i < n; i++) {
            const uint64_t k = key[i];
            size_t j = i;
            for (; j >= gap && key[j - gap] < k; j -= gap)
                key[j] = key[j - gap];
            key[j] = k;
        }
    }
}

/* The points of one sign of d, the smallest 1 / d first: by |x| / (2 k - 1), whose last bits give way to
 * the tag. */
static size_t list_points(uint64_t *key, const float *x, uint32_t n, int32_t below, int32_t above)
{
    size_t count = 0;
    for (uint32_t i = 0; i < n; i++) {
        const double size = x[i] < 0.0F ? -(double)x[i] : (double)x[i];
        const int32_t codes = x[i] == 0.0F ? 0 : x[i] < 0.0F ? below : above;
        for (int32_t k = 1; k <= codes; k++) {
            const double at = size / (2 * k - 1);
            uint64_t bits;
            memcpy(&bits, &at, sizeof bits);
            key[count++] = bits >> TAG_BITS << TAG_BITS | (uint64_t)(k - 1) << INDEX_BITS | i;
        }
    }
    sort_down(key, count);
    return count;
}

struct best {
    double d, gain;
};

/* Codes down to -below and up to above for a positive d. */
static struct best search(const float *x, const float *w, uint32_t n, int32_t below, int32_t above)
{
    uint64_t key[NB_NUMFMT_MAX_BLOCK];
    struct best best = {0.0, 0.0};
    double lx = 0.0;
    double l2 = 0.0;
    const size_t count = list_points(key, x, n, below, above);
    for (size_t p = 0; p < count; p++) {
        const uint32_t i = key[p] & ((1U << INDEX_BITS) - 1U);
        const double step = (double)(key[p] >> INDEX_BITS & ((1U << STEP_BITS) - 1U)); /* k - 1 */
        const double wi = w != NULL ? (double)w[i] : 1.0;
        lx += wi * (x[i] < 0.0F ? -(double)x[i] : (double)x[i]);
        l2 += wi * (2.0 * step + 1.0); /* k k - (k - 1) (k - 1) */
        if (lx * lx > best.gain * l2) {
            best.d = lx / l2;
            best.gain = lx * best.d;
        }
    }
    return best;
}

double nb_best_scale(const float *x, const float *w, uint32_t n, int32_t lo, int32_t hi)
{
    const struct best up = search(x, w, n, -lo, hi);
    if (lo == -hi)
        return up.d;
    const struct best down = search(x, w, n, hi, -lo);
    return down.gain > up.gain ? -down.d : up.d;
}
