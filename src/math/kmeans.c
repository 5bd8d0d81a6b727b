/* math/kmeans.c: optimal k-means in one dimension.
 *
 * Dynamic programming over the sorted points (Wang and Song 2011): with G[m][i] the best value of
 * sum S1^2 / S0 over m runs of the first i points (S0, S1: sums of w and w x of a run),
 *     G[m][i] = max over j < i of G[m-1][j] + (S1[i] - S1[j])^2 / (S0[i] - S0[j]).
 * Maximising it minimises the squared error sum w x^2 - G, and the sum of squares itself, where most
 * digits would be lost, never enters. The best j rises with i, so divide and conquer fills a layer
 * in O(n log n) (Gronlund, Larsen, Mathiasen, Nielsen 2017): O(k n log n) time, 4 k n bytes. Of equal
 * candidates the smallest j wins. x is taken from its weighted median, and each prefix sum is rounded
 * once. The levels are means summed directly, then Lloyd's two conditions are applied until nothing
 * moves: that mends what rounding in the prefix sums may have misplaced, and never adds error.
 * Left out: SMAWK and the Lagrangian search, which win only for k in the hundreds.
 */
#include "math/math.h"

#include "math/dd.h"

#include <string.h>

#define MAX_SWEEPS 32

/* Owns: everything, through the allocator. Points with equal values merged, without weight dropped. */
struct points {
    double *x, *w;       /* (n); x from the median */
    double *s0, *s1;     /* (n + 1) prefix sums of w, w x */
    double *prev, *next; /* (n + 1) two layers of G */
    uint32_t *arg;       /* (k - 1, n + 1): the best j of layers 2..k */
    size_t n;
    double median;
};

static void points_free(struct points *p, const struct nb_allocator *a)
{
    nb_free(a, p->x);
    nb_free(a, p->w);
    nb_free(a, p->s0);
    nb_free(a, p->s1);
    nb_free(a, p->prev);
    nb_free(a, p->next);
    nb_free(a, p->arg);
}

static bool any_weight(const struct nb_kmeans *job)
{
    for (size_t i = 0; job->w != NULL && i < job->n; i++)
        if (job->w[i] > 0.0)
            return true;
    return false;
}

static bool points_load(struct points *p, const struct nb_kmeans *job, const struct nb_allocator *a)
{
    const bool weighted = any_weight(job); /* no weight at all: all alike */
    p->x = nb_alloc(a, job->n, sizeof *p->x);
    p->w = nb_alloc(a, job->n, sizeof *p->w);
    if (p->x == NULL || p->w == NULL)
        return false;
    for (size_t i = 0; i < job->n; i++) {
        const double w = weighted ? job->w[i] : 1.0;
        if (!(w > 0.0))
            continue;
        if (p->n > 0 && p->x[p->n - 1] == job->x[i]) {
            p->w[p->n - 1] += w;
            continue;
        }
        p->x[p->n] = job->x[i];
        p->w[p->n++] = w;
    }
    return true;
}

/* Subtracts the weighted median and forms the prefix sums. */
static bool points_sum(struct points *p, uint32_t k, const struct nb_allocator *a)
{
    p->s0 = nb_alloc(a, p->n + 1, sizeof *p->s0);
    p->s1 = nb_alloc(a, p->n + 1, sizeof *p->s1);
    p->prev = nb_alloc(a, p->n + 1, sizeof *p->prev);
    p->next = nb_alloc(a, p->n + 1, sizeof *p->next);
    size_t cells;
    if (!nb_mul_size(&cells, k > 1 ? k - 1 : 1, p->n + 1))
        return false;
    p->arg = nb_alloc(a, cells, sizeof *p->arg);
    if (p->s0 == NULL || p->s1 == NULL || p->prev == NULL || p->next == NULL || p->arg == NULL)
        return false;
    struct dd sum = {0.0, 0.0};
    p->s0[0] = p->s1[0] = 0.0;
    for (size_t i = 0; i < p->n; i++) {
        sum = dd_add(sum, (struct dd){p->w[i], 0.0});
        p->s0[i + 1] = sum.hi;
    }
    size_t mid = 0;
    while (mid + 1 < p->n && p->s0[mid + 1] < 0.5 * p->s0[p->n])
        mid++;
    p->median = p->x[mid];
    sum = (struct dd){0.0, 0.0};
    for (size_t i = 0; i < p->n; i++) {
        p->x[i] -= p->median;
        sum = dd_add(sum, (struct dd){p->w[i] * p->x[i], 0.0});
        p->s1[i + 1] = sum.hi;
    }
    return true;
}

/* Best j in [lo, hi] for the first i points; the value goes to next[i]. The mean of a run lies between
 * its ends: where the weights of a run are lost in the rounding of the prefix sums (they may be 0
 * there), this keeps the term near the truth, which is next to nothing. */
static uint32_t best_cut(const struct points *p, size_t i, size_t lo, size_t hi)
{
    const double s0 = p->s0[i], s1 = p->s1[i], top = p->x[i - 1];
    double best = -1.0;
    size_t at = lo;
    for (size_t j = lo; j <= hi; j++) {
        const double d = s1 - p->s1[j];
        const double q = d / (s0 - p->s0[j]), low = p->x[j];
        const double mean = !(q < top) ? top : q < low ? low : q;
        const double g = p->prev[j] + d * mean;
        if (g > best) {
            best = g;
            at = j;
        }
    }
    p->next[i] = best;
    return (uint32_t)at;
}

/* Points [first, last] of a layer whose best cuts lie in [lo, hi]. */
static void fill(const struct points *p, uint32_t *arg, size_t first, size_t last, size_t lo,
                 size_t hi)
{
    while (first <= last) {
        const size_t mid = first + (last - first) / 2;
        arg[mid] = best_cut(p, mid, lo, NB_MIN(hi, mid - 1));
        if (mid > first)
            fill(p, arg, first, mid - 1, lo, arg[mid]);
        lo = arg[mid];
        first = mid + 1;
    }
}

/* ends: (k), ends[m] is one past the last point of run m. n > k. */
static void best_runs(struct points *p, uint32_t k, uint32_t *ends)
{
    const size_t n = p->n;
    p->prev[0] = 0.0;
    for (size_t i = 1; i <= n; i++)
        p->prev[i] = p->s1[i] * p->s1[i] / p->s0[i];
    for (uint32_t m = 2; m <= k; m++) {
        /* Each run holds a point: m - 1 before the cut, k - m behind i. */
        const size_t last = n - (k - m);
        fill(p, p->arg + (size_t)(m - 2) * (n + 1), m == k ? n : m, last, m - 1, last - 1);
        double *swap = p->prev;
        p->prev = p->next;
        p->next = swap;
    }
    ends[k - 1] = (uint32_t)n;
    for (uint32_t m = k - 1; m > 0; m--)
        ends[m - 1] = p->arg[(size_t)(m - 1) * (n + 1) + ends[m]];
}

/* Means of the runs. They are taken from the run's first point, so that a run of close values far
 * from the median keeps its digits. */
static void run_means(const struct points *p, uint32_t k, const uint32_t *ends, double *levels)
{
    size_t i = 0;
    for (uint32_t m = 0; m < k; m++) {
        const double first = p->x[i];
        double sum = 0.0, weight = 0.0;
        for (; i < ends[m]; i++) {
            sum += p->w[i] * (p->x[i] - first);
            weight += p->w[i];
        }
        levels[m] = first + sum / weight;
    }
}

/* Moves the ends to the middles between levels; false if none moved. No run is emptied. */
static bool move_ends(const struct points *p, uint32_t k, uint32_t *ends, const double *levels)
{
    bool moved = false;
    for (uint32_t m = 0; m + 1 < k; m++) {
        const double middle = 0.5 * (levels[m] + levels[m + 1]);
        const uint32_t begin = m == 0 ? 0 : ends[m - 1];
        uint32_t end = ends[m];
        while (end > begin + 1 && p->x[end - 1] > middle)
            end--;
        while (end + 1 < ends[m + 1] && p->x[end] < middle)
            end++;
        moved |= end != ends[m];
        ends[m] = end;
    }
    return moved;
}

static void find_levels(struct points *p, uint32_t k, double *levels)
{
    uint32_t ends[NB_KMEANS_MAX];
    best_runs(p, k, ends);
    run_means(p, k, ends, levels);
    for (int i = 0; i < MAX_SWEEPS && move_ends(p, k, ends, levels); i++)
        run_means(p, k, ends, levels);
    for (uint32_t m = 0; m < k; m++)
        levels[m] += p->median;
}

/* The nearest level of each point, the lower one of two; the error they leave. */
static void assign(struct nb_kmeans *job)
{
    uint32_t m = 0;
    double cost = 0.0;
    for (size_t i = 0; i < job->n; i++) {
        const double x = job->x[i];
        while (m + 1 < job->n_levels && job->levels[m + 1] - x < x - job->levels[m])
            m++;
        const double d = x - job->levels[m];
        cost += (job->w == NULL ? 1.0 : job->w[i]) * (d * d);
        if (job->assign != NULL)
            job->assign[i] = (uint8_t)m;
    }
    job->cost = cost;
}

enum nb_status nb_kmeans_levels(struct nb_kmeans *job, const struct nb_allocator *a,
                                struct nb_error *err)
{
    struct points p = {.n = 0};
    if (job->n == 0 || job->n > UINT32_MAX - 1 || job->k == 0 || job->k > NB_KMEANS_MAX)
        NB_FAIL(err, NB_ERR_ARG, "%u levels of %zu values: expected 1 to %d levels, a value",
                job->k, job->n, NB_KMEANS_MAX);
    bool ok = points_load(&p, job, a);
    if (ok && p.n > job->k) {
        job->n_levels = job->k;
        ok = points_sum(&p, job->k, a);
        if (ok)
            find_levels(&p, job->k, job->levels);
    } else if (ok) {
        job->n_levels = (uint32_t)p.n; /* a level for each value */
        memcpy(job->levels, p.x, p.n * sizeof *p.x);
    }
    points_free(&p, a);
    if (!ok)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %u levels of %zu values", job->k, job->n);
    for (uint32_t m = job->n_levels; m < job->k; m++)
        job->levels[m] = job->levels[job->n_levels - 1];
    assign(job);
    return NB_OK;
}
