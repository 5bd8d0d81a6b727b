/* math/outer.c: sums of outer products, H += X^T X and C += A^T B.
 *
 * A batch of tokens is packed twice, into panels of 12 columns of the one side and of 16 of the other, so
 * that a kernel walks through both with unit stride. The result (of H: its upper triangle) is cut into
 * squares of panels; a copy of a square stays in the cache while the chunks of the batch are added to it
 * one after the other.
 */
#include "math/linalg.h"

#include "kernels/kernels.h"

#include <string.h>

#define GROUP  48          /* columns: whole panels of either kind */
#define SQUARE (2 * GROUP) /* columns of the largest square */
#define A_COLS NB_OUTER_ROWS
#define B_COLS NB_OUTER_COLS

/* Vectors of one side. */
struct side {
    const float *x; /* of the batch's first token */
    size_t stride, n;
    float *panel; /* (panels, n_tokens, columns of a panel) */
};

struct job {
    const struct nb_kernels *kernels;
    double *out; /* (a.n, b.n) */
    struct side a, b;
    bool upper, lower;   /* both sides are the same; one triangle counts */
    const float *weight; /* of side a's tokens, or NULL */
    size_t n_tokens;     /* of the batch */
    size_t square;
    double *memory; /* (threads, square, square) */
};

/* Tokens packed at a time, a multiple of NB_SYM_CHUNK: many where the result is far larger than the cache,
 * few where fresh memory for the panels would cost more. */
static size_t batch_of(size_t rows, size_t cols)
{
    return rows + cols < 4096 ? 512 : 1024;
}

static size_t groups_of(const struct side *s)
{
    return (s->n + GROUP - 1) / GROUP;
}

/* Columns [c, c + GROUP) of all tokens in panels of some columns, zeros beyond n. Token by token: a line
 * of x is read once, though rows whose distance is a power of two throw each other out of the cache. */
static inline void pack_group(const struct side *s, const float *weight, size_t n_tokens, size_t c,
                              size_t cols)
{
    const size_t have = NB_MIN(GROUP, s->n - c);
    float row[GROUP] = {0};
    float *p = s->panel + c * n_tokens;
    for (size_t t = 0; t < n_tokens; t++, p += cols) {
        const float *x = s->x + t * s->stride + c;
        if (have < GROUP) {
            memcpy(row, x, have * sizeof *x);
            x = row;
        }
        if (weight != NULL) {
            for (size_t i = 0; i < GROUP; i++)
                row[i] = weight[t] * x[i];
            x = row;
        }
        for (size_t i = 0; i < GROUP / cols; i++)
            memcpy(p + i * cols * n_tokens, x + i * cols, cols * sizeof *p);
    }
}

static void pack_groups(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    const size_t n_a = groups_of(&j->a);
    (void)worker;
    for (size_t g = begin; g < end; g++)
        if (g < n_a)
            pack_group(&j->a, j->weight, j->n_tokens, g * GROUP, A_COLS);
        else
            pack_group(&j->b, NULL, j->n_tokens, (g - n_a) * GROUP, B_COLS);
}

/* The part of a square's row that counts: columns [*first, the value returned) of the square. */
static size_t counting(const struct job *j, size_t row, size_t col, size_t i, size_t *first)
{
    const size_t end = row + i >= j->a.n ? 0 : NB_MIN(j->square, j->b.n - col);
    *first = j->upper && row + i > col ? row + i - col : 0;
    return j->lower && row == col ? NB_MIN(end, i + 1) : end;
}

static void move_square(const struct job *j, double *s, size_t row, size_t col, bool in)
{
    for (size_t i = 0; i < j->square; i++) {
        size_t first;
        const size_t end = counting(j, row, col, i, &first);
        if (first >= end)
            continue;
        double *at = j->out + (row + i) * j->b.n + col + first, *copy = s + i * j->square + first;
        memcpy(in ? copy : at, in ? at : copy, (end - first) * sizeof *s);
    }
}

/* The batch added to the square at (row, col), in a copy whose rows are close together. */
static void add_square(const struct job *j, double *s, size_t row, size_t col)
{
    const size_t square = j->square, n_tokens = j->n_tokens;
    memset(s, 0, square * square * sizeof *s);
    move_square(j, s, row, col, true);
    for (size_t t = 0; t < n_tokens; t += NB_SYM_CHUNK)
        for (size_t c = 0; c < square && col + c < j->b.n; c += B_COLS) {
            const size_t end = j->upper ? NB_MIN(col + c + B_COLS, j->a.n) : j->a.n;
            const size_t begin = j->lower && row == col ? c / A_COLS * A_COLS : 0;
            for (size_t r = begin; r < square && row + r < end; r += A_COLS)
                j->kernels->outer_f64_f32_f32(s + r * square + c, square,
                                              j->a.panel + (row + r) * n_tokens + t * A_COLS,
                                              j->b.panel + (col + c) * n_tokens + t * B_COLS,
                                              NB_MIN(NB_SYM_CHUNK, n_tokens - t));
        }
    move_square(j, s, row, col, false);
}

/* Square number i, counted along the rows of squares; of a triangle alone where one counts. */
static void add_squares(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    const bool triangle = j->upper || j->lower;
    double *s = j->memory + worker * j->square * j->square;
    for (size_t i = begin; i < end; i++) {
        size_t row = 0, left = i, across = (j->b.n + j->square - 1) / j->square;
        for (; left >= across; across -= triangle, row++)
            left -= across;
        const size_t col = triangle ? row + left : left;
        add_square(j, s, (j->lower ? col : row) * j->square, (j->lower ? row : col) * j->square);
    }
}

void nb_outer_memory_fini(struct nb_outer_memory *m, const struct nb_allocator *a)
{
    nb_free(a, m->p);
    *m = (struct nb_outer_memory){NULL, 0};
}

static void *at_least(struct nb_outer_memory *m, size_t bytes, const struct nb_allocator *a)
{
    if (m->bytes < bytes) {
        nb_outer_memory_fini(m, a);
        m->p = nb_alloc(a, bytes, 1);
        m->bytes = m->p != NULL ? bytes : 0;
    }
    return m->p;
}

/* Panels for a batch, and a square for each thread. */
static bool take_memory(struct job *j, size_t batch, size_t threads, struct nb_outer_memory *m,
                        const struct nb_allocator *a)
{
    size_t n_a, n_b, squares, bytes;
    if (!nb_mul_size(&n_a, groups_of(&j->a), batch * GROUP * sizeof(float)) ||
        !nb_mul_size(&n_b, groups_of(&j->b), batch * GROUP * sizeof(float)) ||
        !nb_mul_size(&squares, threads, j->square * j->square * sizeof(double)) ||
        !nb_add_size(&bytes, n_a, n_b) || !nb_add_size(&bytes, bytes, squares))
        return false;
    uint8_t *p = at_least(m, bytes, a);
    if (p == NULL)
        return false;
    j->memory = (void *)p;
    j->a.panel = (void *)(p + squares);
    j->b.panel = (void *)(p + squares + n_a);
    return true;
}

static enum nb_status accumulate(struct job *j, size_t n_tokens, struct nb_outer_memory *shared,
                                 struct nb_pool *pool, const struct nb_allocator *a,
                                 struct nb_error *err)
{
    const size_t batch = NB_MIN(n_tokens, batch_of(j->a.n, j->b.n));
    const size_t n_a = groups_of(&j->a), n_b = groups_of(&j->b);
    struct nb_outer_memory own = {NULL, 0};
    if (n_tokens == 0)
        return NB_OK;
    j->kernels = nb_kernels_get();
    j->square =
        NB_MIN(j->a.n, j->b.n) < 1024 ? GROUP : SQUARE; /* enough of them for many threads */
    const size_t down = (j->a.n + j->square - 1) / j->square;
    const size_t across = (j->b.n + j->square - 1) / j->square;
    if (!take_memory(j, batch, nb_pool_threads(pool), shared != NULL ? shared : &own, a))
        NB_FAIL(err, NB_ERR_NOMEM, "no memory to pack %zu tokens of %zu and %zu numbers", batch,
                j->a.n, j->b.n);
    for (size_t t = 0; t < n_tokens; t += batch) {
        j->n_tokens = NB_MIN(batch, n_tokens - t);
        nb_pool_for(pool, n_a + n_b, 1, pack_groups, j);
        nb_pool_for(pool, j->upper || j->lower ? across * (across + 1) / 2 : down * across, 1,
                    add_squares, j);
        j->a.x += batch * j->a.stride;
        j->b.x += batch * j->b.stride;
        if (j->weight != NULL)
            j->weight += batch;
    }
    nb_outer_memory_fini(&own, a);
    return NB_OK;
}

enum nb_status nb_sym_accumulate(double *h, size_t n, const struct nb_sym_tokens *tokens,
                                 struct nb_pool *pool, const struct nb_allocator *a,
                                 struct nb_error *err)
{
    const struct side side = {.x = tokens->x, .stride = tokens->x_stride, .n = n};
    struct job j = {.out = h,
                    .a = side,
                    .b = side,
                    .upper = !tokens->lower,
                    .lower = tokens->lower,
                    .weight = tokens->weight};
    if (tokens->lower && tokens->weight != NULL)
        NB_FAIL(err, NB_ERR_ARG, "weighted tokens are summed in the upper triangle only");
    if (n == 0 || tokens->x_stride < n)
        NB_FAIL(err, NB_ERR_ARG, "tokens of %zu numbers, rows %zu apart", n, tokens->x_stride);
    return accumulate(&j, tokens->n_tokens, tokens->memory, pool, a, err);
}

enum nb_status nb_cross_accumulate(double *c, size_t rows, size_t cols,
                                   const struct nb_cross_tokens *tokens, struct nb_pool *pool,
                                   const struct nb_allocator *a, struct nb_error *err)
{
    struct job j = {.out = c,
                    .a = {.x = tokens->a, .stride = tokens->a_stride, .n = rows},
                    .b = {.x = tokens->b, .stride = tokens->b_stride, .n = cols}};
    if (rows == 0 || cols == 0 || tokens->a_stride < rows || tokens->b_stride < cols)
        NB_FAIL(err, NB_ERR_ARG, "tokens of %zu and %zu numbers, rows %zu and %zu apart", rows,
                cols, tokens->a_stride, tokens->b_stride);
    return accumulate(&j, tokens->n_tokens, tokens->memory, pool, a, err);
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
