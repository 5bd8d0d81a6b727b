/* math/product.c: products of float rows with a symmetric or a triangular matrix, and quadratic forms, in
 * doubles.
 *
 * Rows are converted and packed, columns of the matrix are packed in chunks of NB_LA_DEPTH rows; where a
 * chunk lies below the diagonal its transpose is read.
 */
#include "math/linalg_internal.h"

#include "math/math.h"

#include <string.h>

#define COL_CHUNK  64  /* columns worked out together */
#define TIMES_ROWS 192 /* rows packed at a time, a multiple of 12 */
#define FORM_ROWS  96  /* likewise, per thread */
#define FORM_COLS  64  /* columns of a form worked out together */
#define FORM_DEPTH 64  /* rows of them packed at a time */
#define FORM_AHEAD 8   /* rows that are asked for before their turn */
#define LOSS_ROWS  4   /* chains of additions side by side */

enum { /* doubles */
       PACK_B = NB_LA_COLS * NB_LA_DEPTH,
       FORM_B = FORM_COLS * FORM_DEPTH
};

struct job {
    const struct nb_kernels *kernels;
    const struct nb_sym_product *p;
    double *g;      /* (rows, n) */
    double *loss;   /* (rows) */
    double *a;      /* packed rows: (panels, n, 12) */
    double *memory; /* (threads, ...) */
    size_t row0, rows;
    enum { WHOLE, UPPER, TRANSPOSED } part; /* of the matrix */
};

/* Rows [row, row + rows) in panels (n, 12), zeros beyond. */
static void pack_rows(const struct nb_sym_product *p, double *dst, size_t row, size_t rows)
{
    for (size_t r = 0; r < rows; r += NB_LA_ROWS, dst += p->n * NB_LA_ROWS)
        for (size_t i = 0; i < NB_LA_ROWS; i++) {
            const float *e = p->e + (row + NB_MIN(r + i, rows - 1)) * p->e_stride;
            for (size_t k = 0; k < p->n; k++)
                dst[k * NB_LA_ROWS + i] = r + i < rows ? (double)e[k] : 0.0;
        }
}

/* Element (lo, hi), lo <= hi. */
static inline double element(const struct nb_sym_product *p, size_t lo, size_t hi)
{
    return p->lower ? p->h[hi * p->n + lo] : p->h[lo * p->n + hi];
}

/* dst (depth, 8): rows [k0, k0 + depth) and columns [col, col + 8) of the whole matrix, zeros from n on. */
static void pack_whole(const struct nb_sym_product *p, double *dst, size_t col, size_t k0,
                       size_t depth)
{
    if (!p->lower && k0 + depth <= col && col + NB_LA_COLS <= p->n) {
        for (size_t k = 0; k < depth; k++)
            memcpy(dst + k * NB_LA_COLS, p->h + (k0 + k) * p->n + col, NB_LA_COLS * sizeof *dst);
        return;
    }
    for (size_t j = 0; j < NB_LA_COLS; j++)
        for (size_t k = 0; k < depth; k++) {
            const size_t lo = NB_MIN(k0 + k, col + j), hi = NB_MAX(k0 + k, col + j);
            dst[k * NB_LA_COLS + j] = hi < p->n ? element(p, lo, hi) : 0.0;
        }
}

/* The same of the upper triangle, what is above the diagonal times a factor. */
static void pack_triangle(const struct nb_sym_product *p, double *dst, size_t col, size_t k0,
                          size_t depth, double factor)
{
    for (size_t j = 0; j < NB_LA_COLS; j++)
        for (size_t k = 0; k < depth; k++) {
            const size_t at = col + j, row = k0 + k;
            const double v = at < p->n && row <= at ? element(p, row, at) : 0.0;
            dst[k * NB_LA_COLS + j] = row < at ? factor * v : v;
        }
}

static void pack_upper(const struct nb_sym_product *p, double *dst, size_t col, size_t k0,
                       size_t depth)
{
    if (k0 + depth <= col)
        pack_whole(p, dst, col, k0, depth);
    else
        pack_triangle(p, dst, col, k0, depth, 1.0);
}

/* Of the upper triangle transposed. */
static void pack_transposed(const struct nb_sym_product *p, double *dst, size_t col, size_t k0,
                            size_t depth)
{
    for (size_t j = 0; j < NB_LA_COLS; j++)
        for (size_t k = 0; k < depth; k++)
            dst[k * NB_LA_COLS + j] = col + j <= k0 + k ? p->h[(col + j) * p->n + k0 + k] : 0.0;
}

static inline void twice(double *restrict dst, const double *restrict src)
{
    for (size_t j = 0; j < NB_LA_COLS; j++)
        dst[j] = 2.0 * src[j];
}

/* dst (cols / 8, depth, 8): twice rows [k0, k0 + depth) and columns [col, col + cols), all above the diagonal; a
 * row of the matrix is read along. */
static void pack_twice(const struct nb_sym_product *p, double *dst, size_t col, size_t cols,
                       size_t k0, size_t depth)
{
    const size_t panel = depth * NB_LA_COLS;
    for (size_t k = 0; k < depth && !p->lower; k++) {
        const double *h = p->h + (k0 + k) * p->n + col;
        for (size_t c = 0; c < cols; c += NB_LA_COLS) {
            __builtin_prefetch(h + FORM_AHEAD * p->n + c);
            twice(dst + c / NB_LA_COLS * panel + k * NB_LA_COLS, h + c);
        }
    }
    for (size_t c = 0; c < cols && p->lower; c++) {
        const double *h = p->h + (col + c) * p->n + k0;
        for (size_t k = 0; k < depth; k++)
            dst[c / NB_LA_COLS * panel + k * NB_LA_COLS + c % NB_LA_COLS] = 2.0 * h[k];
    }
}

/* Adds the products of one chunk to rows of g that a panel holds. */
static void add_tile(const struct job *j, double *g, size_t rows, size_t cols, const double *a,
                     const double *b, size_t depth)
{
    double edge[NB_LA_ROWS * NB_LA_COLS] = {0};
    const size_t n = j->p->n;
    if (rows == NB_LA_ROWS && cols == NB_LA_COLS) {
        j->kernels->tile_f64_f64_f64(g, n, a, b, depth);
        return;
    }
    for (size_t r = 0; r < rows; r++)
        memcpy(edge + r * NB_LA_COLS, g + r * n, cols * sizeof *g);
    j->kernels->tile_f64_f64_f64(edge, NB_LA_COLS, a, b, depth);
    for (size_t r = 0; r < rows; r++)
        memcpy(g + r * n, edge + r * NB_LA_COLS, cols * sizeof *g);
}

static void times_columns(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    const size_t n = j->p->n;
    double *b = j->memory + (size_t)worker * PACK_B;
    void (*const pack)(const struct nb_sym_product *, double *, size_t, size_t, size_t) =
        j->part == WHOLE ? pack_whole : (j->part == UPPER ? pack_upper : pack_transposed);
    for (size_t r = 0; r < j->rows; r++)
        memset(j->g + (j->row0 + r) * n + begin, 0, (end - begin) * sizeof *j->g);
    for (size_t k0 = 0; k0 < n; k0 += NB_LA_DEPTH) {
        const size_t depth = NB_MIN(NB_LA_DEPTH, n - k0);
        for (size_t c = begin; c < end; c += NB_LA_COLS) {
            if ((j->part == UPPER && k0 >= c + NB_LA_COLS) ||
                (j->part == TRANSPOSED && k0 + depth <= c))
                continue; /* zeros */
            pack(j->p, b, c, k0, depth);
            for (size_t r = 0; r < j->rows; r += NB_LA_ROWS)
                add_tile(j, j->g + (j->row0 + r) * n + c, NB_MIN(NB_LA_ROWS, j->rows - r),
                         NB_MIN(NB_LA_COLS, end - c), j->a + r * n + k0 * NB_LA_ROWS, b, depth);
        }
    }
}

static enum nb_status times(struct job *j, struct nb_pool *pool, const struct nb_allocator *a,
                            struct nb_error *err)
{
    const struct nb_sym_product *p = j->p;
    if (p->n == 0 || p->rows == 0)
        return NB_OK;
    const size_t rows = NB_MIN(TIMES_ROWS, (p->rows + NB_LA_ROWS - 1) / NB_LA_ROWS * NB_LA_ROWS);
    j->kernels = nb_kernels_get();
    j->a = nb_alloc(a, p->n * sizeof *j->a, rows);
    j->memory = nb_alloc(a, (size_t)nb_pool_threads(pool) * PACK_B, sizeof *j->memory);
    const bool ok = j->a != NULL && j->memory != NULL;
    for (; ok && j->row0 < p->rows; j->row0 += j->rows) {
        j->rows = NB_MIN(rows, p->rows - j->row0);
        pack_rows(p, j->a, j->row0, j->rows);
        nb_pool_for(pool, p->n, COL_CHUNK, times_columns, j);
    }
    nb_free(a, j->a);
    nb_free(a, j->memory);
    if (!ok)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for a product of %zu columns", p->n);
    return NB_OK;
}

enum nb_status nb_sym_times(double *g, const struct nb_sym_product *p, struct nb_pool *pool,
                            const struct nb_allocator *a, struct nb_error *err)
{
    return times(&(struct job){.p = p, .g = g, .part = WHOLE}, pool, a, err);
}

enum nb_status nb_tri_times(double *g, const struct nb_sym_product *p, bool transposed,
                            struct nb_pool *pool, const struct nb_allocator *a,
                            struct nb_error *err)
{
    struct job j = {.p = p, .g = g, .part = transposed ? TRANSPOSED : UPPER};
    return times(&j, pool, a, err);
}

/* b (cols / 8, depth, 8), filled up: twice rows [k0, k0 + depth), above the diagonal. */
static void pack_above(const struct nb_sym_product *p, double *b, size_t col, size_t cols,
                       size_t k0, size_t depth)
{
    const size_t whole = cols - cols % NB_LA_COLS;
    pack_twice(p, b, col, whole, k0, depth);
    if (whole < cols)
        pack_triangle(p, b + whole * depth, col + whole, k0, depth, 2.0);
}

/* sums (rows, FORM_COLS), of columns [c, c + cols): packed rows `a` times what lies in and twice what lies above the
 * diagonal, k ascending. */
static void form_columns(const struct job *j, double *sums, const double *a, double *b, size_t rows,
                         size_t c, size_t cols)
{
    const size_t n = j->p->n;
    memset(sums, 0, rows * FORM_COLS * sizeof *sums);
    for (size_t k0 = 0; k0 < c; k0 += FORM_DEPTH) {
        const size_t depth = NB_MIN(FORM_DEPTH, c - k0);
        pack_above(j->p, b, c, cols, k0, depth);
        for (size_t i = 0; i < cols; i += NB_LA_COLS)
            for (size_t r = 0; r < rows; r += NB_LA_ROWS)
                j->kernels->tile_f64_f64_f64(sums + r * FORM_COLS + i, FORM_COLS,
                                             a + r * n + k0 * NB_LA_ROWS, b + i * depth, depth);
    }
    for (size_t i = 0; i < cols; i += NB_LA_COLS) {
        const size_t tile = NB_MIN(NB_LA_COLS, cols - i);
        pack_above(j->p, b, c + i, tile, c, i);
        pack_triangle(j->p, b + i * NB_LA_COLS, c + i, c + i, tile, 2.0);
        for (size_t r = 0; r < rows; r += NB_LA_ROWS)
            j->kernels->tile_f64_f64_f64(sums + r * FORM_COLS + i, FORM_COLS,
                                         a + r * n + c * NB_LA_ROWS, b, i + tile);
    }
}

/* Rows of a worker, in whole panels. */
static size_t form_rows_at_once(const struct nb_sym_product *p)
{
    return NB_MIN(FORM_ROWS, (p->rows + NB_LA_ROWS - 1) / NB_LA_ROWS * NB_LA_ROWS);
}

static size_t form_memory(const struct nb_sym_product *p) /* doubles of a worker */
{
    return form_rows_at_once(p) * (p->n + FORM_COLS) + FORM_B;
}

/* Some rows' shares of columns [c, c + cols), each a chain of additions of its own. sums (n_rows, FORM_COLS) */
static void add_losses(const struct job *j, size_t row, size_t n_rows, const double *sums, size_t c,
                       size_t cols)
{
    const float *e = j->p->e + row * j->p->e_stride + c;
    double loss[LOSS_ROWS] = {0};
    memcpy(loss, j->loss + row, n_rows * sizeof *loss);
    for (size_t i = 0; i < cols; i++)
        for (size_t r = 0; r < n_rows; r++)
            loss[r] += (double)e[r * j->p->e_stride + i] * sums[r * FORM_COLS + i];
    memcpy(j->loss + row, loss, n_rows * sizeof *loss);
}

/* Losses of rows [begin, end): sum_j e_j (sum_{k <= j} e_k M_kj), j ascending. */
static void form_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    const size_t n = j->p->n, rows = end - begin, most = form_rows_at_once(j->p);
    const size_t padded = (rows + NB_LA_ROWS - 1) / NB_LA_ROWS * NB_LA_ROWS;
    double *b = j->memory + (size_t)worker * form_memory(j->p);
    double *sums = b + FORM_B, *a = sums + most * FORM_COLS;
    pack_rows(j->p, a, begin, rows);
    memset(j->loss + begin, 0, rows * sizeof *j->loss);
    for (size_t c = 0; c < n; c += FORM_COLS) {
        const size_t cols = NB_MIN(FORM_COLS, n - c);
        form_columns(j, sums, a, b, padded, c, cols);
        for (size_t r = 0; r < rows; r += LOSS_ROWS)
            add_losses(j, begin + r, NB_MIN(LOSS_ROWS, rows - r), sums + r * FORM_COLS, c, cols);
    }
}

enum nb_status nb_quad_form(double *total, double *loss, const struct nb_sym_product *p,
                            struct nb_pool *pool, const struct nb_allocator *a,
                            struct nb_error *err)
{
    struct job j = {.kernels = nb_kernels_get(), .p = p};
    *total = 0.0;
    if (p->n == 0 || p->rows == 0)
        return NB_OK;
    double *own = loss == NULL ? nb_alloc(a, p->rows, sizeof *own) : NULL;
    j.loss = loss == NULL ? own : loss;
    j.memory = nb_alloc(a, form_memory(p) * sizeof *j.memory, nb_pool_threads(pool));
    const bool ok = j.loss != NULL && j.memory != NULL;
    if (ok) {
        nb_pool_for(pool, p->rows, FORM_ROWS, form_rows, &j);
        *total = nb_sum_f64(j.loss, p->rows);
    }
    nb_free(a, own);
    nb_free(a, j.memory);
    if (!ok)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for a quadratic form of %zu columns", p->n);
    return NB_OK;
}

void nb_gemm_sub_f32(float *w, size_t w_stride, const float *e, size_t e_stride, const float *u,
                     size_t u_stride, size_t rows, size_t b, size_t n)
{
    nb_kernels_get()->gemmsub_f32_f32_f32(w, w_stride, e, e_stride, u, u_stride, rows, b, n);
}
