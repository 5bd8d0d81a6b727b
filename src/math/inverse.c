/* math/inverse.c: the inverse of an upper triangular matrix, in place.
 *
 * V U = I, blocks of rows from the last to the first: a block of rows of U is minus the product of V's
 * block with the rows of U below it (a matrix product, parallel over columns), solved against V's square
 * on the diagonal. V's block of rows is packed first, since the result takes its place.
 * Golub & Van Loan, Matrix Computations, 4th ed., 3.1.
 */
#include "math/linalg_internal.h"

#include <string.h>

#define COL_CHUNK  64 /* columns to a thread at a time */
#define BLOCK_ROWS ((NB_LA_BLOCK + NB_LA_ROWS - 1) / NB_LA_ROWS * NB_LA_ROWS) /* whole panels */

enum { /* doubles of a thread's memory */
       PACK_B = NB_LA_COLS * NB_LA_DEPTH,
       SUMS = COL_CHUNK * BLOCK_ROWS,
       WORKER = PACK_B + SUMS
};

struct step {
    const struct nb_kernels *kernels;
    double *v;
    size_t n, row0, row1; /* the block of rows */
    double *a;      /* V[row0 + r, k], k = n-1 .. row1: chunks of NB_LA_DEPTH (panels, depth, 12) */
    double *t;      /* the square on the diagonal, transposed and negated */
    double *memory; /* (threads, WORKER) */
};

static size_t n_panels(const struct step *s)
{
    return (s->row1 - s->row0 + NB_LA_ROWS - 1) / NB_LA_ROWS;
}

static void pack_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct step *s = ctx;
    (void)worker;
    for (size_t c = begin; c < end; c++) {
        const size_t done = c * NB_LA_DEPTH, depth = NB_MIN(NB_LA_DEPTH, s->n - s->row1 - done);
        double *dst = s->a + done * n_panels(s) * NB_LA_ROWS;
        for (size_t r = s->row0; r < s->row1; r += NB_LA_ROWS, dst += depth * NB_LA_ROWS)
            nb_la_pack_rows_down(dst, s->v + r * s->n, s->n, NB_MIN(NB_LA_ROWS, s->row1 - r),
                                 s->n - 1 - done, depth);
    }
}

/* dst (depth, 8) = U[first - k, col .. col + 8), zeros below the diagonal and from col1 on. */
static void pack_columns(const struct step *s, double *dst, size_t col, size_t col1, size_t first,
                         size_t depth)
{
    for (size_t k = 0; k < depth; k++, dst += NB_LA_COLS) {
        const double *u = s->v + (first - k) * s->n;
        if (first - k <= col && col + NB_LA_COLS <= col1) {
            memcpy(dst, u + col, NB_LA_COLS * sizeof *dst);
            continue;
        }
        for (size_t j = 0; j < NB_LA_COLS; j++)
            dst[j] = col + j < col1 && col + j >= first - k ? u[col + j] : 0.0;
    }
}

/* The sums of columns [col0, col1) over the rows of U below the block: (panels of 8, BLOCK_ROWS, 8). */
static void sum_columns(const struct step *s, double *sums, double *b, size_t col0, size_t col1)
{
    memset(sums, 0, SUMS * sizeof *sums);
    for (size_t c = (s->n - col1) / NB_LA_DEPTH; c * NB_LA_DEPTH < s->n - s->row1; c++) {
        const size_t done = c * NB_LA_DEPTH, first = s->n - 1 - done;
        const size_t depth = NB_MIN(NB_LA_DEPTH, s->n - s->row1 - done);
        const size_t skip = first >= col1 ? first - (col1 - 1) : 0; /* rows of zeros */
        const double *a = s->a + done * n_panels(s) * NB_LA_ROWS + skip * NB_LA_ROWS;
        for (size_t q = col0; q < col1; q += NB_LA_COLS) {
            double *x = sums + (q - col0) * BLOCK_ROWS;
            pack_columns(s, b, q, col1, first - skip, depth - skip);
            for (size_t p = 0; p < n_panels(s); p++)
                s->kernels->tile_f64_f64_f64(x + p * NB_LA_ROWS * NB_LA_COLS, NB_LA_COLS,
                                             a + p * depth * NB_LA_ROWS, b, depth - skip);
        }
    }
}

static void do_columns(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct step *s = ctx;
    double *b = s->memory + (size_t)worker * WORKER, *sums = b + PACK_B;
    const size_t col0 = s->row1 + begin, col1 = s->row1 + end, rows = s->row1 - s->row0;
    sum_columns(s, sums, b, col0, col1);
    for (size_t q = col0; q < col1; q += NB_LA_COLS) {
        double *x = sums + (q - col0) * BLOCK_ROWS, *u = s->v + s->row0 * s->n + q;
        s->kernels->solve_f64_f64(x, s->t, rows);
        for (size_t r = 0; r < rows; r++)
            memcpy(u + r * s->n, x + r * NB_LA_COLS, NB_MIN(NB_LA_COLS, col1 - q) * sizeof *u);
    }
}

/* The square on the diagonal: minus the solution for minus the unit matrix against the negated square,
 * so that the sums start from the same zeros as elsewhere. */
static void do_square(const struct step *s)
{
    double *x = s->memory;
    const size_t rows = s->row1 - s->row0;
    for (size_t q = 0; q < rows; q += NB_LA_COLS) {
        memset(x, 0, rows * NB_LA_COLS * sizeof *x);
        for (size_t j = q; j < NB_MIN(q + NB_LA_COLS, rows); j++)
            x[j * NB_LA_COLS + j - q] = -1.0;
        s->kernels->solve_f64_f64(x, s->t, rows);
        for (size_t j = q; j < NB_MIN(q + NB_LA_COLS, rows); j++)
            for (size_t i = 0; i <= j; i++)
                s->v[(s->row0 + i) * s->n + s->row0 + j] = x[i * NB_LA_COLS + j - q];
    }
}

enum nb_status nb_tri_inverse(double *v, size_t n, struct nb_pool *pool,
                              const struct nb_allocator *a, struct nb_error *err)
{
    struct step s = {.kernels = nb_kernels_get(), .v = v, .n = n};
    for (size_t j = 0; j < n; j++)
        if (v[j * n + j] == 0.0 || v[j * n + j] != v[j * n + j])
            NB_FAIL(err, NB_ERR_NUMERIC,
                    "triangular matrix of %zu rows: element %zu of the diagonal is %g", n, j,
                    v[j * n + j]);
    const size_t threads = nb_pool_threads(pool);
    s.a = nb_alloc(a, (n + 1) * sizeof *s.a, BLOCK_ROWS);
    s.t = nb_alloc(a, (size_t)NB_LA_BLOCK * NB_LA_BLOCK, sizeof *s.t);
    s.memory = nb_alloc(a, threads * WORKER, sizeof *s.memory);
    const bool ok = s.a != NULL && s.t != NULL && s.memory != NULL;
    for (s.row1 = n; ok && s.row1 > 0; s.row1 = s.row0) {
        s.row0 = s.row1 > NB_LA_BLOCK ? s.row1 - NB_LA_BLOCK : 0;
        const size_t below = n - s.row1;
        nb_la_transpose_triangle(s.t, v + s.row0 * n + s.row0, n, s.row1 - s.row0, -1.0);
        nb_pool_for(pool, (below + NB_LA_DEPTH - 1) / NB_LA_DEPTH, 1, pack_rows, &s);
        nb_pool_for(pool, below, COL_CHUNK, do_columns, &s);
        do_square(&s);
    }
    nb_free(a, s.a);
    nb_free(a, s.t);
    nb_free(a, s.memory);
    if (!ok)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for the inverse of %zu rows", n);
    return NB_OK;
}
