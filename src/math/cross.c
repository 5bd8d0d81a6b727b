/* math/cross.c: sums of outer products of two different vectors, C += A^T B.
 *
 * As sym.c: a batch of tokens is packed into panels of 12 and 16 columns; C is cut into squares, and the
 * chunks of the batch are added to a square one after the other.
 */
#include "math/linalg.h"

#include "kernels/kernels.h"

#include <string.h>

#define BATCH  1024 /* tokens packed at a time, a multiple of NB_SYM_CHUNK */
#define SQUARE 96   /* columns, whole panels of either kind */
#define A_COLS NB_OUTER_ROWS
#define B_COLS NB_OUTER_COLS

struct job {
    const struct nb_kernels *kernels;
    double *c;
    size_t rows, cols;
    const struct nb_cross_tokens *tokens;
    size_t first, n_tokens; /* of the batch */
    float *a;               /* (row panels, n_tokens, 12) */
    float *b;               /* (column panels, n_tokens, 16) */
};

/* Columns [at, at + width) of the batch, zeros beyond n. */
static void pack(float *dst, const float *x, size_t stride, size_t n_tokens, size_t at,
                 size_t width, size_t n)
{
    const size_t have = at >= n ? 0 : NB_MIN(width, n - at);
    for (size_t t = 0; t < n_tokens; t++, dst += width) {
        memcpy(dst, x + t * stride + (have > 0 ? at : 0), have * sizeof *dst);
        memset(dst + have, 0, (width - have) * sizeof *dst);
    }
}

static void pack_a(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    (void)worker;
    for (size_t p = begin; p < end; p++)
        pack(j->a + p * A_COLS * j->n_tokens, j->tokens->a + j->first * j->tokens->a_stride,
             j->tokens->a_stride, j->n_tokens, p * A_COLS, A_COLS, j->rows);
}

static void pack_b(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    (void)worker;
    for (size_t p = begin; p < end; p++)
        pack(j->b + p * B_COLS * j->n_tokens, j->tokens->b + j->first * j->tokens->b_stride,
             j->tokens->b_stride, j->n_tokens, p * B_COLS, B_COLS, j->cols);
}

/* One chunk added to rows [r, r + 12), columns [c, c + 16). */
static void add_tile(const struct job *j, size_t r, size_t c, size_t t, size_t n_tokens)
{
    const float *a = j->a + r * j->n_tokens + t * A_COLS;
    const float *b = j->b + c * j->n_tokens + t * B_COLS;
    double edge[A_COLS * B_COLS] = {0};
    double *to = j->c + r * j->cols + c;
    if (r + A_COLS <= j->rows && c + B_COLS <= j->cols) {
        j->kernels->outer_f64_f32_f32(to, j->cols, a, b, n_tokens);
        return;
    }
    const size_t rows = NB_MIN(A_COLS, j->rows - r), cols = NB_MIN(B_COLS, j->cols - c);
    for (size_t i = 0; i < rows; i++)
        memcpy(edge + i * B_COLS, to + i * j->cols, cols * sizeof *edge);
    j->kernels->outer_f64_f32_f32(edge, B_COLS, a, b, n_tokens);
    for (size_t i = 0; i < rows; i++)
        memcpy(to + i * j->cols, edge + i * B_COLS, cols * sizeof *edge);
}

static void add_squares(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    const size_t across = (j->cols + SQUARE - 1) / SQUARE;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        const size_t row = i / across * SQUARE, col = i % across * SQUARE;
        for (size_t t = 0; t < j->n_tokens; t += NB_SYM_CHUNK)
            for (size_t c = col; c < NB_MIN(col + SQUARE, j->cols); c += B_COLS)
                for (size_t r = row; r < NB_MIN(row + SQUARE, j->rows); r += A_COLS)
                    add_tile(j, r, c, t, NB_MIN(NB_SYM_CHUNK, j->n_tokens - t));
    }
}

enum nb_status nb_cross_accumulate(double *c, size_t rows, size_t cols,
                                   const struct nb_cross_tokens *tokens, struct nb_pool *pool,
                                   const struct nb_allocator *a, struct nb_error *err)
{
    const size_t batch = NB_MIN(tokens->n_tokens, BATCH);
    const size_t a_panels = (rows + A_COLS - 1) / A_COLS, b_panels = (cols + B_COLS - 1) / B_COLS;
    struct job j = {
        .kernels = nb_kernels_get(), .c = c, .rows = rows, .cols = cols, .tokens = tokens};
    if (batch == 0)
        return NB_OK;
    j.a = nb_alloc(a, batch * A_COLS * sizeof *j.a, a_panels);
    j.b = nb_alloc(a, batch * B_COLS * sizeof *j.b, b_panels);
    const bool ok = j.a != NULL && j.b != NULL;
    for (; ok && j.first < tokens->n_tokens; j.first += j.n_tokens) {
        j.n_tokens = NB_MIN(batch, tokens->n_tokens - j.first);
        nb_pool_for(pool, a_panels, 8, pack_a, &j);
        nb_pool_for(pool, b_panels, 8, pack_b, &j);
        nb_pool_for(pool, ((rows + SQUARE - 1) / SQUARE) * ((cols + SQUARE - 1) / SQUARE), 1,
                    add_squares, &j);
    }
    nb_free(a, j.a);
    nb_free(a, j.b);
    if (!ok)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory to pack %zu tokens of %zu and %zu numbers", batch,
                rows, cols);
    return NB_OK;
}
