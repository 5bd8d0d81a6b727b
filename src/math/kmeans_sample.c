/* math/kmeans_sample.c: a large weighted sample as few points, in front of the optimal k-means.
 *
 * Up to SORT_MAX values are sorted and equal ones merged. More go into a histogram over the upper 22
 * bits of the float (sign, exponent, 13 bits of mantissa): a cell is 2^-13 of its value wide, and
 * every f16 or bf16 number is the lower end of a cell of its own, so those stay exact. It takes one
 * pass and 64 MB whatever the size. If more than NB_KMEANS_POINTS values (cells) remain, neighbours
 * are merged while the squared error inside a point stays below a bound, which bisection sets to the
 * least that leaves few enough points. Bounding the error, not the weight, keeps outliers apart.
 * Price: an optimum over points cuts between points only. At most k - 1 points lie across a cut of
 * the true optimum; on 2^20 Gaussians (f32) the cost at k = 16 rises by 1e-8 of itself.
 */
#include "math/math.h"

#include <string.h>

#define SORT_MAX   (1u << 18)
#define CELL_BITS  22
#define N_CELLS    ((size_t)1 << CELL_BITS)
#define BISECTIONS 40

/* Ascending with the value: the sign bit flipped for positive numbers, all bits for negative. */
static uint32_t key_of(float x)
{
    const uint32_t u = nb_f32_bits(x);
    return u & 0x80000000U ? ~u : u | 0x80000000U;
}

static float value_of(uint32_t key)
{
    return nb_f32_from_bits(key & 0x80000000U ? key & 0x7fffffffU : ~key);
}

/* ---- sorting: least significant digit first, stable ---- */

struct item {
    uint32_t key;
    float w;
};

static void radix_pass(struct item *dst, const struct item *src, size_t n, unsigned shift)
{
    uint32_t start[256] = {0}, sum = 0;
    for (size_t i = 0; i < n; i++)
        start[src[i].key >> shift & 255]++;
    for (size_t d = 0; d < 256; d++) {
        const uint32_t count = start[d];
        start[d] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++)
        dst[start[src[i].key >> shift & 255]++] = src[i];
}

static float weight_of(const float *w, size_t n_w, size_t i)
{
    return n_w == 0 ? 1.0F : w[i % n_w];
}

/* Points of the distinct values. p has room for n. */
static bool load_sorted(struct nb_kmeans_points *p, const float *x, size_t n, const float *w,
                        size_t n_w, const struct nb_allocator *a)
{
    struct item *items = nb_alloc(a, n, sizeof *items), *other = nb_alloc(a, n, sizeof *other);
    size_t m = 0;
    if (items != NULL && other != NULL) {
        for (size_t i = 0; i < n; i++) {
            const float v = weight_of(w, n_w, i);
            if (v > 0.0F)
                items[m++] = (struct item){key_of(x[i] + 0.0F), v}; /* -0 becomes 0 */
        }
        for (unsigned shift = 0; shift < 32; shift += 16) {
            radix_pass(other, items, m, shift);
            radix_pass(items, other, m, shift + 8);
        }
        for (size_t i = 0; i < m; i++) {
            if (i == 0 || items[i].key != items[i - 1].key) {
                p->x[p->n] = (double)value_of(items[i].key);
                p->w[p->n++] = 0.0;
            }
            p->w[p->n - 1] += (double)items[i].w;
        }
    }
    const bool ok = items != NULL && other != NULL;
    nb_free(a, items);
    nb_free(a, other);
    return ok;
}

/* ---- the histogram ---- */

struct cell {
    double w,
        wx; /* wx: of the distances from the cell's lower end (the higher, of negative values) */
};

static float cell_base(size_t cell)
{
    const uint32_t key = (uint32_t)cell << (32 - CELL_BITS);
    return value_of(key & 0x80000000U ? key : key | ((1u << (32 - CELL_BITS)) - 1));
}

static void count_cells(struct cell *cells, const float *x, size_t n, const float *w, size_t n_w)
{
    size_t column = 0;
    for (size_t i = 0; i < n; i++) {
        const float v = n_w == 0 ? 1.0F : w[column];
        column = column + 1 < n_w ? column + 1 : 0;
        if (!(v > 0.0F))
            continue;
        const float y = x[i] + 0.0F;
        const size_t c = key_of(y) >> (32 - CELL_BITS);
        cells[c].w += (double)v;
        cells[c].wx += (double)v * ((double)y - (double)cell_base(c));
    }
}

static bool load_cells(struct nb_kmeans_points *p, const float *x, size_t n, const float *w,
                       size_t n_w, const struct nb_allocator *a)
{
    struct cell *cells = nb_alloc_zero(a, N_CELLS, sizeof *cells);
    if (cells == NULL)
        return false;
    count_cells(cells, x, n, w, n_w);
    size_t used = 0;
    for (size_t c = 0; c < N_CELLS; c++)
        used += cells[c].w > 0.0;
    p->x = nb_alloc(a, used + 1, sizeof *p->x);
    p->w = nb_alloc(a, used + 1, sizeof *p->w);
    const bool ok = p->x != NULL && p->w != NULL;
    for (size_t c = 0; ok && c < N_CELLS; c++) {
        if (!(cells[c].w > 0.0))
            continue;
        p->x[p->n] = (double)cell_base(c) + cells[c].wx / cells[c].w;
        p->w[p->n++] = cells[c].w;
    }
    nb_free(a, cells);
    return ok;
}

/* ---- merging ---- */

/* Greedy: a point takes neighbours while the error inside it stays <= bound. Returns the number of
 * points; fills `to` (which may be `from`) unless NULL. */
static size_t merge(const struct nb_kmeans_points *from, double bound, struct nb_kmeans_points *to)
{
    size_t n = 0;
    double w = from->w[0], mean = from->x[0], in = 0.0, within = 0.0;
    for (size_t i = 1; i <= from->n; i++) {
        if (i < from->n) {
            /* Two groups into one: the error inside grows by w v / (w + v) (mean - x)^2. */
            const double v = from->w[i], d = from->x[i] - mean, sum = w + v;
            const double grown = in + w * v / sum * (d * d);
            if (grown <= bound) {
                mean += d * (v / sum);
                w = sum;
                in = grown;
                continue;
            }
        }
        within += in;
        const double out_x = mean, out_w = w;
        if (i < from->n) {
            mean = from->x[i];
            w = from->w[i];
            in = 0.0;
        }
        if (to != NULL) {
            to->x[n] = out_x;
            to->w[n] = out_w;
        }
        n++;
    }
    if (to != NULL) {
        to->within = within;
        to->n = n;
    }
    return n;
}

static void limit_points(struct nb_kmeans_points *p)
{
    if (p->n <= NB_KMEANS_POINTS)
        return;
    const double range = p->x[p->n - 1] - p->x[0];
    double weight = 0.0;
    for (size_t i = 0; i < p->n; i++)
        weight += p->w[i];
    double hi = weight * range * range; /* one point */
    double lo = 0.0;
    /* The bound spans many powers of ten: from above in steps of 2^-8, then bisect. */
    for (double b = hi; merge(p, b, NULL) <= NB_KMEANS_POINTS; b *= 0x1p-8) {
        hi = b;
        lo = b * 0x1p-8;
    }
    for (int i = 0; i < BISECTIONS && hi - lo > 1e-3 * hi; i++) {
        const double middle = 0.5 * (lo + hi);
        if (merge(p, middle, NULL) <= NB_KMEANS_POINTS)
            hi = middle;
        else
            lo = middle;
    }
    merge(p, hi, p);
}

enum nb_status nb_kmeans_sample(struct nb_kmeans_points *p, const float *x, size_t n,
                                const float *w, size_t n_w, const struct nb_allocator *a)
{
    bool ok = true;
    *p = (struct nb_kmeans_points){.n = 0};
    if (n == 0)
        return NB_OK;
    if (n <= SORT_MAX) {
        p->x = nb_alloc(a, n, sizeof *p->x);
        p->w = nb_alloc(a, n, sizeof *p->w);
        ok = p->x != NULL && p->w != NULL && load_sorted(p, x, n, w, n_w, a);
    } else {
        ok = load_cells(p, x, n, w, n_w, a);
    }
    if (!ok) {
        nb_kmeans_points_fini(p, a);
        return NB_ERR_NOMEM;
    }
    limit_points(p);
    return NB_OK;
}

void nb_kmeans_points_fini(struct nb_kmeans_points *p, const struct nb_allocator *a)
{
    nb_free(a, p->x);
    nb_free(a, p->w);
    *p = (struct nb_kmeans_points){.n = 0};
}
