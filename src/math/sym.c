/* math/sym.c: sums of outer products, H += X^T X.
 *
 * A batch of tokens is packed twice, into panels of 12 and of 16 columns, so that a kernel walks through
 * both with unit stride. The upper triangle is cut into squares of panels; a copy of a square of H stays
 * in the cache while the chunks of the batch are added to it one after the other.
 */
#include "math/linalg.h"

#include "kernels/kernels.h"

#include <string.h>

#define GROUP  48          /* columns: whole panels of either kind */
#define SQUARE (2 * GROUP) /* columns of the largest square */
#define A_COLS NB_OUTER_ROWS
#define B_COLS NB_OUTER_COLS

struct job {
    const struct nb_kernels *kernels;
    double *h;
    size_t n, square;
    const float *x; /* the batch: (n_tokens, n) */
    size_t x_stride, n_tokens;
    const float *weight;
    float *a;       /* (panels, n_tokens, 12) */
    float *b;       /* (panels, n_tokens, 16) */
    double *memory; /* (threads, square, square) */
};

/* Tokens packed at a time, a multiple of NB_SYM_CHUNK: many where H is far larger than the cache, few
 * where fresh memory for the panels would cost more. */
static size_t batch_of(size_t n)
{
    return n < 2048 ? 512 : 1024;
}

/* Columns [c, c + GROUP) of all tokens, zeros beyond n. Token by token: a line of x is read once, though
 * rows whose distance is a power of two throw each other out of the cache. */
static void pack_group(const struct job *j, size_t c)
{
    const size_t have = NB_MIN(GROUP, j->n - c), n_tokens = j->n_tokens;
    float row[GROUP] = {0};
    float *a = j->a + c * n_tokens, *b = j->b + c * n_tokens;
    for (size_t t = 0; t < n_tokens; t++, a += A_COLS, b += B_COLS) {
        const float *x = j->x + t * j->x_stride + c;
        if (have < GROUP) {
            memcpy(row, x, have * sizeof *x);
            x = row;
        }
        for (size_t i = 0; i < GROUP / B_COLS; i++)
            memcpy(b + i * B_COLS * n_tokens, x + i * B_COLS, B_COLS * sizeof *b);
        if (j->weight != NULL) {
            for (size_t i = 0; i < GROUP; i++)
                row[i] = j->weight[t] * x[i];
            x = row;
        }
        for (size_t i = 0; i < GROUP / A_COLS; i++)
            memcpy(a + i * A_COLS * n_tokens, x + i * A_COLS, A_COLS * sizeof *a);
    }
}

static void pack_groups(void *ctx, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    for (size_t g = begin; g < end; g++)
        pack_group(ctx, g * GROUP);
}

/* The part of a square's row that counts: columns [*first, the value returned) of the square. */
static size_t counting(const struct job *j, size_t row, size_t col, size_t i, size_t *first)
{
    *first = row + i > col ? row + i - col : 0;
    return row + i >= j->n ? 0 : NB_MIN(j->square, j->n - col);
}

/* The batch added to the square at (row, col), in a copy whose rows are close together. */
static void add_square(const struct job *j, double *s, size_t row, size_t col)
{
    const size_t n = j->n, square = j->square;
    memset(s, 0, square * square * sizeof *s);
    for (size_t i = 0; i < square; i++) {
        size_t first;
        const size_t end = counting(j, row, col, i, &first);
        if (first < end)
            memcpy(s + i * square + first, j->h + (row + i) * n + col + first,
                   (end - first) * sizeof *s);
    }
    for (size_t t = 0; t < j->n_tokens; t += NB_SYM_CHUNK) {
        const size_t n_tokens = NB_MIN(NB_SYM_CHUNK, j->n_tokens - t);
        for (size_t c = 0; c < square && col + c < n; c += B_COLS)
            for (size_t r = 0; r < square && row + r < NB_MIN(col + c + B_COLS, n); r += A_COLS)
                j->kernels->outer_f64_f32_f32(
                    s + r * square + c, square, j->a + (row + r) * j->n_tokens + t * A_COLS,
                    j->b + (col + c) * j->n_tokens + t * B_COLS, n_tokens);
    }
    for (size_t i = 0; i < square; i++) {
        size_t first;
        const size_t end = counting(j, row, col, i, &first);
        if (first < end)
            memcpy(j->h + (row + i) * n + col + first, s + i * square + first,
                   (end - first) * sizeof *s);
    }
}

/* Square number i of the upper triangle, counted along its rows. */
static void add_squares(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    double *s = j->memory + worker * j->square * j->square;
    for (size_t i = begin; i < end; i++) {
        size_t row = 0, left = i, across = (j->n + j->square - 1) / j->square;
        for (; left >= across; across--, row++)
            left -= across;
        add_square(j, s, row * j->square, (row + left) * j->square);
    }
}

enum nb_status nb_sym_accumulate(double *h, size_t n, const struct nb_sym_tokens *tokens,
                                 struct nb_pool *pool, const struct nb_allocator *a,
                                 struct nb_error *err)
{
    if (n == 0 || tokens->x_stride < n)
        NB_FAIL(err, NB_ERR_ARG, "tokens of %zu numbers, rows %zu apart", n, tokens->x_stride);
    if (tokens->n_tokens == 0)
        return NB_OK;
    const size_t batch = NB_MIN(tokens->n_tokens, batch_of(n)), n_groups = (n + GROUP - 1) / GROUP;
    struct job j = {.kernels = nb_kernels_get(), .h = h, .n = n, .x_stride = tokens->x_stride};
    j.square = n < 1024 ? GROUP : SQUARE; /* enough of them for many threads */
    const size_t across = (n + j.square - 1) / j.square;
    j.a = nb_alloc(a, batch * GROUP * sizeof *j.a, n_groups);
    j.b = nb_alloc(a, batch * GROUP * sizeof *j.b, n_groups);
    j.memory = nb_alloc(a, j.square * j.square * sizeof *j.memory, nb_pool_threads(pool));
    const bool ok = j.a != NULL && j.b != NULL && j.memory != NULL;
    for (size_t t = 0; ok && t < tokens->n_tokens; t += j.n_tokens) {
        j.n_tokens = NB_MIN(batch, tokens->n_tokens - t);
        j.x = tokens->x + t * tokens->x_stride;
        j.weight = tokens->weight ? tokens->weight + t : NULL;
        nb_pool_for(pool, n_groups, 1, pack_groups, &j);
        nb_pool_for(pool, across * (across + 1) / 2, 1, add_squares, &j);
    }
    nb_free(a, j.a);
    nb_free(a, j.b);
    nb_free(a, j.memory);
    if (!ok)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory to pack %zu tokens of %zu numbers", batch, n);
    return NB_OK;
}

void nb_sym_mirror(double *h, size_t n)
{
    const size_t block = 32;
    for (size_t i0 = 0; i0 < n; i0 += block)
        for (size_t j0 = i0; j0 < n; j0 += block)
            for (size_t i = i0; i < NB_MIN(i0 + block, n); i++)
                for (size_t j = NB_MAX(j0, i + 1); j < NB_MIN(j0 + block, n); j++)
                    h[j * n + i] = h[i * n + j];
}

/* (i, j) and (n-1-j, n-1-i) change places; the antidiagonal stays. */
void nb_sym_flip(double *h, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n - 1 - i; j++) {
            double *p = h + i * n + j, *q = h + (n - 1 - j) * n + (n - 1 - i);
            const double x = *p;
            *p = *q;
            *q = x;
        }
}
