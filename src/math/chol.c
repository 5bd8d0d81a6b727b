/* math/chol.c: Cholesky from the last row up, H = V V^T with V upper triangular, and what follows from it.
 *
 * Blocks of columns, from the last to the first, looking back: a block first takes off the products of
 * the columns to its right, for all its rows at once (a matrix product, parallel over rows), then its
 * square on the diagonal is factored (the same in blocks of 16), then the rows above are solved against
 * that square. Each element sees its products in the same order whatever the blocks are.
 * After Golub & Van Loan, Matrix Computations, 4th ed., 4.2; rows in reverse.
 * Left out: pivoting, updates, band matrices.
 */
#include "math/linalg_internal.h"

#include <math.h>
#include <string.h>

#define INNER     16 /* columns of the blocks inside a square on the diagonal */
#define ROW_CHUNK 48 /* rows to a thread at a time */

enum { /* doubles of a thread's memory */
       PACK_A = ROW_CHUNK * NB_LA_DEPTH,
       SOLVE_X = NB_LA_BLOCK * NB_LA_COLS,
       WORKER = PACK_A + SOLVE_X
};

struct step {
    const struct nb_kernels *kernels;
    double *h;
    size_t n;
    size_t row0, col0, col1,
        end;        /* rows [row0, col1), columns [col0, col1), sums over [col1, end) */
    double *b;      /* -V[col, k], k descending: chunks of NB_LA_DEPTH (panels, depth, 8) */
    double *t;      /* (width, width) the square on the diagonal, transposed */
    double *memory; /* (threads, WORKER) */
};

void nb_la_pack_rows_down(double *dst, const double *src, size_t stride, size_t rows, size_t first,
                          size_t depth)
{
    for (size_t r = rows; r < NB_LA_ROWS; r++)
        for (size_t k = 0; k < depth; k++)
            dst[k * NB_LA_ROWS + r] = 0.0;
    if (rows < NB_LA_ROWS) {
        for (size_t r = 0; r < rows; r++)
            for (size_t k = 0; k < depth; k++)
                dst[k * NB_LA_ROWS + r] = src[r * stride + first - k];
        return;
    }
    for (size_t k = 0; k < depth; k++, dst += NB_LA_ROWS)
        for (size_t r = 0; r < NB_LA_ROWS; r++)
            dst[r] = src[r * stride + first - k];
}

void nb_la_transpose_triangle(double *t, const double *v, size_t n, size_t b, double factor)
{
    for (size_t i = 0; i < b; i++)
        for (size_t j = i; j < b; j++)
            t[j * b + i] = factor * v[i * n + j];
}

/* Chunk number c of the sums: how long, and the first (largest) index of its terms. */
static size_t chunk_of(const struct step *s, size_t c, size_t *first)
{
    const size_t depth = s->end - s->col1, done = c * NB_LA_DEPTH;
    *first = s->end - 1 - done;
    return NB_MIN(NB_LA_DEPTH, depth - done);
}

static size_t padded_width(const struct step *s)
{
    return (s->col1 - s->col0 + NB_LA_COLS - 1) / NB_LA_COLS * NB_LA_COLS;
}

static void pack_columns(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct step *s = ctx;
    const size_t width = s->col1 - s->col0, padded = padded_width(s);
    (void)worker;
    for (size_t c = begin; c < end; c++) {
        size_t first;
        const size_t depth = chunk_of(s, c, &first);
        double *dst = s->b + c * NB_LA_DEPTH * padded;
        for (size_t q = 0; q < padded; q += NB_LA_COLS, dst += depth * NB_LA_COLS)
            for (size_t i = 0; i < NB_LA_COLS; i++) {
                const double *row = s->h + (s->col0 + NB_MIN(q + i, width - 1)) * s->n + first;
                for (size_t k = 0; k < depth; k++)
                    dst[k * NB_LA_COLS + i] = q + i < width ? -*(row - k) : 0.0;
            }
    }
}

/* Rows [r, r + 12) and columns [c, c + 8) of H, no row from row1 on; a, b: packed panels. */
static void update_tile(const struct step *s, size_t r, size_t c, size_t row1, const double *a,
                        const double *b, size_t depth)
{
    double edge[NB_LA_ROWS * NB_LA_COLS] = {0};
    double *h = s->h + r * s->n + c;
    if (r + NB_LA_ROWS <= row1 && r + NB_LA_ROWS - 1 <= c && c + NB_LA_COLS <= s->col1) {
        s->kernels->tile_f64_f64_f64(h, s->n, a, b, depth);
        return;
    }
    const size_t rows = NB_MIN(NB_LA_ROWS, row1 - r), cols = NB_MIN(NB_LA_COLS, s->col1 - c);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = r + i > c ? r + i - c : 0; j < cols; j++)
            edge[i * NB_LA_COLS + j] = h[i * s->n + j];
    s->kernels->tile_f64_f64_f64(edge, NB_LA_COLS, a, b, depth);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = r + i > c ? r + i - c : 0; j < cols; j++)
            h[i * s->n + j] = edge[i * NB_LA_COLS + j];
}

/* Takes the products of the columns right of the block off rows [begin, end) + row0. */
static void update_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct step *s = ctx;
    double *a = s->memory + (size_t)worker * WORKER;
    const size_t padded = padded_width(s), row0 = s->row0 + begin, row1 = s->row0 + end;
    const size_t n_chunks = (s->end - s->col1 + NB_LA_DEPTH - 1) / NB_LA_DEPTH;
    for (size_t c = 0; c < n_chunks; c++) {
        size_t first;
        const size_t depth = chunk_of(s, c, &first);
        const double *b = s->b + c * NB_LA_DEPTH * padded;
        for (size_t r = row0; r < row1; r += NB_LA_ROWS) {
            nb_la_pack_rows_down(a, s->h + r * s->n, s->n, NB_MIN(NB_LA_ROWS, row1 - r), first,
                                 depth);
            for (size_t q = 0; q < padded; q += NB_LA_COLS)
                if (r < s->col0 + q + NB_LA_COLS) /* not all below the diagonal */
                    update_tile(s, r, s->col0 + q, row1, a, b + q * depth, depth);
        }
    }
}

/* Solves rows [begin, end) + row0 against the square on the diagonal. */
static void solve_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct step *s = ctx;
    double *x = s->memory + (size_t)worker * WORKER + PACK_A;
    const size_t width = s->col1 - s->col0;
    for (size_t r = begin; r < end; r += NB_LA_COLS) {
        const size_t rows = NB_MIN(NB_LA_COLS, end - r);
        double *h = s->h + (s->row0 + r) * s->n + s->col0;
        if (rows < NB_LA_COLS)
            memset(x, 0, width * NB_LA_COLS * sizeof *x);
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < width; j++)
                x[j * NB_LA_COLS + i] = h[i * s->n + j];
        s->kernels->solve_f64_f64(x, s->t, width);
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < width; j++)
                h[i * s->n + j] = x[j * NB_LA_COLS + i];
    }
}

/* A square of few columns. Returns the index of a pivot that is not positive, or n. */
static size_t factor_plain(double *h, size_t n, size_t begin, size_t end)
{
    for (size_t j = end; j-- > begin;) {
        double *col = h + j; /* col[i * n]: row i */
        if (!(col[j * n] > 0.0))
            return j;
        col[j * n] = sqrt(col[j * n]);
        for (size_t i = begin; i < j; i++)
            col[i * n] /= col[j * n];
        for (size_t i = begin; i < j; i++)
            for (size_t k = i; k < j; k++)
                h[i * n + k] = fma(-col[i * n], col[k * n], h[i * n + k]);
    }
    return n;
}

/* The square on the diagonal of *outer, serially, in blocks of INNER; overwrites b, t and the memory of
 * thread 0. */
static size_t factor_square(const struct step *outer)
{
    const size_t begin = outer->col0;
    struct step s = *outer;
    s.row0 = begin;
    s.end = outer->col1;
    for (size_t col1 = outer->col1; col1 > begin; col1 = s.col0) {
        s.col1 = col1;
        s.col0 = col1 - begin > INNER ? col1 - INNER : begin;
        if (s.end > s.col1) {
            pack_columns(&s, 0, 1, 0); /* NB_LA_BLOCK terms are one chunk */
            update_rows(&s, 0, s.col1 - s.row0, 0);
        }
        const size_t pivot = factor_plain(s.h, s.n, s.col0, s.col1);
        if (pivot < s.n)
            return pivot;
        if (s.col0 > begin) {
            nb_la_transpose_triangle(s.t, s.h + s.col0 * s.n + s.col0, s.n, s.col1 - s.col0, 1.0);
            solve_rows(&s, 0, s.col0 - begin, 0);
        }
    }
    return outer->n;
}

/* One block of columns. Returns as factor_plain. */
static size_t factor_block(struct step *s, struct nb_pool *pool)
{
    const size_t n_chunks = (s->end - s->col1 + NB_LA_DEPTH - 1) / NB_LA_DEPTH;
    nb_pool_for(pool, n_chunks, 1, pack_columns, s);
    if (n_chunks > 0)
        nb_pool_for(pool, s->col1, ROW_CHUNK, update_rows, s);
    const size_t pivot = factor_square(s);
    if (pivot < s->n)
        return pivot;
    nb_la_transpose_triangle(s->t, s->h + s->col0 * s->n + s->col0, s->n, s->col1 - s->col0, 1.0);
    nb_pool_for(pool, s->col0, ROW_CHUNK, solve_rows, s);
    return s->n;
}

enum nb_status nb_chol_reverse(double *h, size_t n, struct nb_pool *pool, size_t *pivot,
                               const struct nb_allocator *a, struct nb_error *err)
{
    const size_t panel = n + NB_LA_BLOCK, square = NB_LA_BLOCK * NB_LA_BLOCK;
    const size_t threads = nb_pool_threads(pool);
    struct step s = {.kernels = nb_kernels_get(), .h = h, .n = n, .end = n};
    s.b = nb_alloc(a, panel * sizeof *s.b, NB_LA_BLOCK);
    s.t = nb_alloc(a, square, sizeof *s.t);
    s.memory = nb_alloc(a, threads * WORKER, sizeof *s.memory);
    const bool ok = s.b != NULL && s.t != NULL && s.memory != NULL;
    size_t bad = n;
    for (size_t col1 = n; ok && bad == n && col1 > 0; col1 = s.col0) {
        s.col1 = col1;
        s.col0 = col1 > NB_LA_BLOCK ? col1 - NB_LA_BLOCK : 0;
        bad = factor_block(&s, pool);
    }
    nb_free(a, s.b);
    nb_free(a, s.t);
    nb_free(a, s.memory);
    if (pivot != NULL)
        *pivot = bad;
    if (!ok)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for the Cholesky factor of %zu rows", n);
    if (bad < n)
        NB_FAIL(err, NB_ERR_NUMERIC, "matrix of %zu rows: pivot %zu is %g, expected more than 0", n,
                bad, h[bad * n + bad]);
    return NB_OK;
}
