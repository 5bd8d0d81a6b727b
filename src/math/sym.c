/* math/sym.c: sums of outer products, H += X^T X.
 *
 * A batch of tokens is packed twice, into panels of 12 and of 16 columns, so that a kernel walks through
 * both with unit stride. The upper triangle is cut into squares of panels; a square of H stays in the
 * cache while the chunks of the batch are added to it one after the other.
 */
#include "math/linalg.h"

#include "kernels/kernels.h"

#include <string.h>

#define BATCH  1024 /* tokens packed at a time, a multiple of NB_SYM_CHUNK */
#define GROUP  48   /* columns: whole panels of either kind */
#define A_COLS NB_OUTER_ROWS
#define B_COLS NB_OUTER_COLS

struct job {
    const struct nb_kernels *kernels;
    double *h;
    size_t n, square;
    const float *x; /* the batch: (n_tokens, n) */
    size_t x_stride, n_tokens;
    const float *weight;
    float *a; /* (panels, n_tokens, 12) */
    float *b; /* (panels, n_tokens, 16) */
};

/* Columns [c, c + width) of all tokens, zeros beyond n. */
static void pack_panel(const struct job *j, float *dst, size_t c, size_t width, const float *weight)
{
    const size_t have = c >= j->n ? 0 : NB_MIN(width, j->n - c);
    for (size_t t = 0; t < j->n_tokens; t++, dst += width) {
        const float *x = j->x + t * j->x_stride + c;
        size_t i = 0;
        if (have == width && weight == NULL) {
            memcpy(dst, x, width * sizeof *dst);
            continue;
        }
        for (; i < have; i++)
            dst[i] = weight ? weight[t] * x[i] : x[i];
        for (; i < width; i++)
            dst[i] = 0.0F;
    }
}

static void pack_groups(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    (void)worker;
    for (size_t g = begin; g < end; g++) {
        for (size_t c = g * GROUP; c < (g + 1) * GROUP; c += A_COLS)
            pack_panel(j, j->a + c * j->n_tokens, c, A_COLS, j->weight);
        for (size_t c = g * GROUP; c < (g + 1) * GROUP; c += B_COLS)
            pack_panel(j, j->b + c * j->n_tokens, c, B_COLS, NULL);
    }
}

/* One chunk added to rows [r, r + 12), columns [c, c + 16). */
static void add_tile(const struct job *j, size_t r, size_t c, size_t t, size_t n_tokens)
{
    const float *a = j->a + r * j->n_tokens + t * A_COLS;
    const float *b = j->b + c * j->n_tokens + t * B_COLS;
    double edge[A_COLS * B_COLS] = {0};
    double *h = j->h + r * j->n + c;
    if (r + A_COLS - 1 <= c && c + B_COLS <= j->n) {
        j->kernels->outer_f64_f32_f32(h, j->n, a, b, n_tokens);
        return;
    }
    const size_t rows = NB_MIN(A_COLS, j->n - r), cols = NB_MIN(B_COLS, j->n - c);
    for (size_t i = 0; i < rows; i++)
        for (size_t k = r + i > c ? r + i - c : 0; k < cols; k++)
            edge[i * B_COLS + k] = h[i * j->n + k];
    j->kernels->outer_f64_f32_f32(edge, B_COLS, a, b, n_tokens);
    for (size_t i = 0; i < rows; i++)
        for (size_t k = r + i > c ? r + i - c : 0; k < cols; k++)
            h[i * j->n + k] = edge[i * B_COLS + k];
}

static void add_square(const struct job *j, size_t row, size_t col)
{
    const size_t r1 = NB_MIN(row + j->square, j->n), c1 = NB_MIN(col + j->square, j->n);
    for (size_t t = 0; t < j->n_tokens; t += NB_SYM_CHUNK) {
        const size_t n_tokens = NB_MIN(NB_SYM_CHUNK, j->n_tokens - t);
        for (size_t c = col; c < c1; c += B_COLS)
            for (size_t r = row; r < r1 && r < c + B_COLS; r += A_COLS)
                add_tile(j, r, c, t, n_tokens);
    }
}

/* Square number i of the upper triangle, counted along its rows. */
static void add_squares(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        size_t row = 0, left = i, across = (j->n + j->square - 1) / j->square;
        for (; left >= across; across--, row++)
            left -= across;
        add_square(j, row * j->square, (row + left) * j->square);
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
    const size_t batch = NB_MIN(tokens->n_tokens, BATCH), n_groups = (n + GROUP - 1) / GROUP;
    struct job j = {.kernels = nb_kernels_get(), .h = h, .n = n, .x_stride = tokens->x_stride};
    j.square = n < 1024 ? GROUP : 2 * GROUP;
    const size_t across = (n + j.square - 1) / j.square;
    j.a = nb_alloc(a, batch * GROUP * sizeof *j.a, n_groups);
    j.b = nb_alloc(a, batch * GROUP * sizeof *j.b, n_groups);
    if (j.a != NULL && j.b != NULL)
        for (size_t t = 0; t < tokens->n_tokens; t += j.n_tokens) {
            j.n_tokens = NB_MIN(batch, tokens->n_tokens - t);
            j.x = tokens->x + t * tokens->x_stride;
            j.weight = tokens->weight ? tokens->weight + t : NULL;
            nb_pool_for(pool, n_groups, 1, pack_groups, &j);
            nb_pool_for(pool, across * (across + 1) / 2, 1, add_squares, &j);
        }
    const bool ok = j.a != NULL && j.b != NULL;
    nb_free(a, j.a);
    nb_free(a, j.b);
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
