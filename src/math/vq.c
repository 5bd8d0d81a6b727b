/* math/vq.c: a codebook of vectors for weighted squared error (Linde, Buzo, Gray 1980).
 *
 * The book grows from the mean: the cells of largest error are split along the axis on which they are
 * widest, with a few rounds of Lloyd's iteration after each doubling, then Lloyd's iteration runs until
 * it gains little: each vector to its nearest code word, each code word to the weighted mean of its
 * cell. A cell that runs empty takes one half of the worst cell. There is no chance in it, so there is
 * no seed; vectors are assigned in parallel, the members of a cell are summed in their order: the
 * same bits for any number of threads.
 * Left out: sampling of large inputs (the caller's), escape from local optima, trees over the book.
 */
#include "math/math.h"

#include <math.h>
#include <string.h>

#define SEARCH_GRAIN  2048 /* vectors */
#define CELL_GRAIN    16
#define GROW_SWEEPS   3 /* of Lloyd's iteration after each doubling */
#define DEFAULT_ITERS 50
#define DEFAULT_TOL   1e-4

/* What a cell of the partition holds. */
struct cell {
    double error;  /* sum of w (x - mean)^2 */
    double spread; /* standard deviation on the widest axis */
    uint32_t axis; /* the one with the largest weighted variance */
    bool taken;    /* split in this round */
};

/* Owns: the arrays from index on. */
struct book {
    struct nb_vq *job;
    const struct nb_allocator *a;
    uint32_t k;        /* code words so far */
    uint16_t *index;   /* (n) or the caller's */
    uint32_t *order;   /* (n) vectors by cell */
    uint32_t *start;   /* (k + 1) first of each cell in order */
    struct cell *cell; /* (k) */
    double *part;      /* (chunks) error of each chunk of vectors */
};

static float weight_at(const struct nb_vq *v, size_t i, uint32_t d)
{
    return v->n_w == 0 ? 1.0F : v->w[(i * v->dim + d) % v->n_w];
}

/* ---- cells ---- */

/* One axis of a cell: its mean, and sums about it in the order of the members. Where no member has a
 * weight on this axis all weigh alike, and count for nothing. */
static float axis_mean(const struct book *b, uint32_t c, uint32_t d, double *about,
                       double *variance)
{
    const struct nb_vq *v = b->job;
    const uint32_t *m = b->order + b->start[c];
    const size_t n = b->start[c + 1] - b->start[c];
    double s0 = 0.0, s1 = 0.0, plain = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double x = (double)v->x[(size_t)m[i] * v->dim + d];
        const double w = (double)weight_at(v, m[i], d);
        s0 += w;
        s1 += w * x;
        plain += x;
    }
    const double mean = s0 > 0.0 ? s1 / s0 : plain / (double)n;
    *about = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double t = (double)v->x[(size_t)m[i] * v->dim + d] - mean;
        *about += (double)weight_at(v, m[i], d) * (t * t);
    }
    *variance = s0 > 0.0 ? *about / s0 : 0.0;
    return (float)mean;
}

static void sum_cells(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct book *b = ctx;
    (void)worker;
    for (size_t c = begin; c < end; c++) {
        struct cell *cell = &b->cell[c];
        double widest = -1.0;
        *cell = (struct cell){.error = 0.0};
        if (b->start[c] == b->start[c + 1])
            continue;
        for (uint32_t d = 0; d < b->job->dim; d++) {
            double about, variance;
            b->job->codebook[c * b->job->dim + d] = axis_mean(b, (uint32_t)c, d, &about, &variance);
            cell->error += about;
            if (about > widest) {
                widest = about;
                cell->axis = d;
                cell->spread = sqrt(variance);
            }
        }
    }
}

/* Vectors by cell, in their order inside each. */
static void sort_members(struct book *b)
{
    const size_t n = b->job->n;
    memset(b->start, 0, ((size_t)b->k + 1) * sizeof *b->start);
    for (size_t i = 0; i < n; i++)
        b->start[b->index[i] + 1]++;
    for (uint32_t c = 0; c < b->k; c++)
        b->start[c + 1] += b->start[c];
    for (size_t i = 0; i < n; i++)
        b->order[b->start[b->index[i]]++] = (uint32_t)i;
    for (uint32_t c = b->k; c > 0; c--)
        b->start[c] = b->start[c - 1];
    b->start[0] = 0;
}

/* Cell `from` in two halves about its mean; the second is code word `to`. False: it has no width. */
static bool split(struct book *b, uint32_t from, uint32_t to)
{
    const uint32_t dim = b->job->dim;
    struct cell *cell = &b->cell[from];
    float *p = b->job->codebook + (size_t)from * dim, *q = b->job->codebook + (size_t)to * dim;
    const float mean = p[cell->axis];
    /* The mean of one half of a normal distribution lies 0.8 deviations from the centre. */
    const float half = (float)(0.8 * cell->spread);
    cell->taken = true;
    if (!(mean + half > mean - half))
        return false;
    memcpy(q, p, dim * sizeof *q);
    p[cell->axis] = mean - half;
    q[cell->axis] = mean + half;
    return true;
}

/* The cell of largest error not split yet; false: all others are points. */
static bool worst_cell(const struct book *b, uint32_t n, uint32_t *worst)
{
    double most = 0.0;
    for (uint32_t c = 0; c < n; c++) {
        if (b->cell[c].taken || !(b->cell[c].error > most))
            continue;
        most = b->cell[c].error;
        *worst = c;
    }
    return most > 0.0;
}

static void refill_empty(struct book *b)
{
    uint32_t worst;
    for (uint32_t c = 0; c < b->k; c++) {
        if (b->start[c] != b->start[c + 1])
            continue;
        while (worst_cell(b, b->k, &worst) && !split(b, worst, c))
            continue;
    }
}

/* Code words to the means of their cells. */
static void update(struct book *b)
{
    sort_members(b);
    nb_pool_for(b->job->pool, b->k, CELL_GRAIN, sum_cells, b);
    refill_empty(b);
}

/* ---- vectors ---- */

static void search_chunk(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct book *b = ctx;
    const struct nb_vq *v = b->job;
    (void)worker;
    const struct nb_vq_search s = {
        .codebook = v->codebook, .k = b->k, .dim = v->dim, .x = v->x, .w = v->w, .n_w = v->n_w};
    b->part[begin / SEARCH_GRAIN] = nb_vq_nearest(&s, begin, end, b->index + begin);
}

/* Every vector to its nearest code word; the error they leave. */
static double search_all(struct book *b)
{
    const size_t n = b->job->n;
    nb_pool_for(b->job->pool, n, SEARCH_GRAIN, search_chunk, b);
    return nb_sum_f64(b->part, (n + SEARCH_GRAIN - 1) / SEARCH_GRAIN);
}

/* ---- growing ---- */

/* Up to twice as many code words, at most job->k. False: nothing could be split. */
static bool grow(struct book *b)
{
    const uint32_t old = b->k, want = NB_MIN(b->job->k - old, old);
    uint32_t worst, made = 0;
    for (uint32_t c = 0; c < old; c++)
        b->cell[c].taken = false;
    while (made < want && worst_cell(b, old, &worst))
        made += split(b, worst, old + made);
    b->k = old + made;
    return made > 0;
}

static void train(struct book *b)
{
    struct nb_vq *v = b->job;
    const uint32_t iters = v->max_iters > 0 ? v->max_iters : DEFAULT_ITERS;
    const double tol = v->tol > 0.0 ? v->tol : DEFAULT_TOL;
    memset(b->index, 0, v->n * sizeof *b->index);
    b->k = 1;
    update(b);
    while (b->k < v->k && grow(b)) {
        for (int i = 0; i < GROW_SWEEPS; i++) {
            (void)search_all(b);
            update(b);
        }
    }
    v->error = search_all(b);
    for (v->n_iters = 0; v->n_iters < iters && v->error > 0.0; v->n_iters++) {
        const double before = v->error;
        update(b);
        v->error = search_all(b);
        if (!(v->error < before * (1.0 - tol)))
            break;
    }
    v->n_codes = b->k;
    for (size_t i = (size_t)b->k * v->dim; i < (size_t)v->k * v->dim; i++)
        v->codebook[i] = v->codebook[i - v->dim];
}

enum nb_status nb_vq_train(struct nb_vq *v, const struct nb_allocator *a, struct nb_error *err)
{
    if (v->dim < 1 || v->dim > NB_VQ_MAX_DIM || v->k < 1 || v->k > NB_VQ_MAX_CODES)
        NB_FAIL(err, NB_ERR_ARG, "%u code words of dimension %u: expected 1 to %d of 1 to %d", v->k,
                v->dim, NB_VQ_MAX_CODES, NB_VQ_MAX_DIM);
    if (v->n == 0 || v->n > UINT32_MAX - 1)
        NB_FAIL(err, NB_ERR_ARG, "a codebook from %zu vectors: expected 1 to 2^32 - 2", v->n);
    const size_t chunks = (v->n + SEARCH_GRAIN - 1) / SEARCH_GRAIN;
    struct book b = {.job = v, .a = a, .index = v->index};
    if (b.index == NULL)
        b.index = nb_alloc(a, v->n, sizeof *b.index);
    b.order = nb_alloc(a, v->n, sizeof *b.order);
    b.start = nb_alloc(a, (size_t)v->k + 1, sizeof *b.start);
    b.cell = nb_alloc_zero(a, v->k, sizeof *b.cell);
    b.part = nb_alloc(a, chunks, sizeof *b.part);
    const bool ok =
        b.index != NULL && b.order != NULL && b.start != NULL && b.cell != NULL && b.part != NULL;
    if (ok)
        train(&b);
    if (b.index != v->index)
        nb_free(a, b.index);
    nb_free(a, b.order);
    nb_free(a, b.start);
    nb_free(a, b.cell);
    nb_free(a, b.part);
    if (!ok)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for a codebook of %zu vectors", v->n);
    return NB_OK;
}
