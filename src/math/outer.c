/* math/outer.c: sums of outer products over a stream of tokens, H += X^T X and C += Y^T X.
 *
 * Tokens are packed as they come, chunk by chunk, into panels of 12 columns of the one side and of 16 of the
 * other, so that a kernel walks through both with unit stride; x lies in both kinds, once for H and C
 * together. When the panels are full, or the stream ends, they are added: the results (of H one
 * triangle) are cut into squares, and a copy of a square stays in the cache while the chunks are added to
 * it one after the other. So a result goes through the cache once for all tokens that the panels hold.
 */
#include "math/linalg.h"

#include "kernels/kernels.h"

#include <string.h>

#define CHUNK  NB_SYM_CHUNK
#define CHUNKS 4                       /* in the panels: more of them fall out of the cache  */
#define GROUP  48                      /* columns: whole panels of either kind               */
#define PANELS ((size_t)CHUNK * GROUP) /* floats of a group's panels in a chunk              */
#define SQUARE (2 * GROUP)             /* columns of a square, where each thread has at least */
#define SHARE  8                       /* so many; else GROUP                                */
#define A_COLS NB_OUTER_ROWS
#define B_COLS NB_OUTER_COLS

/* Vectors of the stream that are packed now. */
struct side {
    const float *x;
    size_t stride, n, groups;
};

struct nb_outer {
    const struct nb_allocator *a;
    const struct nb_kernels *kernels;
    struct nb_pool *pool;
    struct side x, y;
    size_t square;             /* columns of a square, whole groups */
    size_t capacity, n_chunks; /* of the panels; in use */
    uint16_t length[CHUNKS];   /* tokens of each */
    size_t first;              /* chunk of the tokens that are packed now */
    double *h, *c;             /* (x.n, x.n), (y.n, x.n) or NULL: the sums */
    bool lower;                /* the triangle of h that counts */
    double *squares;           /* (threads, square, square) */
    float *panels; /* (capacity, x.groups by A_COLS, x.groups by B_COLS, y.groups by A_COLS) */
};

static size_t groups_of(size_t n)
{
    return n / GROUP + (n % GROUP != 0);
}

static size_t chunk_floats(const struct nb_outer *o)
{
    return (2 * o->x.groups + o->y.groups) * PANELS;
}

static size_t squares_of(size_t n, size_t n_y, size_t square)
{
    const size_t across = (n + square - 1) / square, down = (n_y + square - 1) / square;
    return across * (across + 1) / 2 + down * across;
}

/* ---- panels ---- */

/* GROUP columns of some tokens, of which `have` are there, into panels of A_COLS, and at b (NULL: none) of
 * B_COLS too; zeros beyond. Token by token: a line of x is read once, though rows whose distance is a
 * power of two throw each other out of the cache. */
static inline void pack_group(float *a, float *b, const float *x, size_t stride, size_t have,
                              size_t n_tokens)
{
    float row[GROUP] = {0};
    for (size_t t = 0; t < n_tokens; t++, x += stride) {
        const float *v = x;
        if (have < GROUP) {
            memcpy(row, x, have * sizeof *x);
            v = row;
        }
        for (size_t i = 0; i < GROUP / A_COLS; i++)
            memcpy(a + (i * CHUNK + t) * A_COLS, v + i * A_COLS, A_COLS * sizeof *a);
        for (size_t i = 0; b != NULL && i < GROUP / B_COLS; i++)
            memcpy(b + (i * CHUNK + t) * B_COLS, v + i * B_COLS, B_COLS * sizeof *b);
    }
}

/* Groups, those of x and then those of y, of one chunk after the other. */
static void pack_groups(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_outer *o = ctx;
    const size_t groups = o->x.groups + (o->c != NULL ? o->y.groups : 0);
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        const size_t chunk = o->first + i / groups, g = i % groups;
        const bool of_x = g < o->x.groups;
        const struct side *s = of_x ? &o->x : &o->y;
        const size_t col = (of_x ? g : g - o->x.groups) * GROUP, have = NB_MIN(GROUP, s->n - col);
        const float *x = s->x + i / groups * CHUNK * s->stride + col;
        float *a = o->panels + chunk * chunk_floats(o) + (of_x ? g : g + o->x.groups) * PANELS;
        if (of_x)
            pack_group(a, a + o->x.groups * PANELS, x, s->stride, have, o->length[chunk]);
        else
            pack_group(a, NULL, x, s->stride, have, o->length[chunk]);
    }
}

/* ---- squares ---- */

/* A square of H or C. */
struct square {
    double *out; /* (rows, x.n), of which it begins at */
    size_t rows, row, col;
    const float *a;                  /* panels of row, in the first chunk */
    enum { ALL, UPPER, LOWER } part; /* that counts */
};

static struct square square_at(const struct nb_outer *o, size_t i)
{
    size_t across = (o->x.n + o->square - 1) / o->square, row = 0;
    struct square s = {.out = o->h, .rows = o->x.n, .a = o->panels};
    if (i >= across * (across + 1) / 2) {
        i -= across * (across + 1) / 2;
        s = (struct square){.out = o->c, .rows = o->y.n, .a = o->panels + 2 * o->x.groups * PANELS};
        s.row = i / across * o->square;
        s.col = i % across * o->square;
    } else {
        for (; i >= across; across--, row++)
            i -= across;
        s.row = (o->lower ? row + i : row) * o->square;
        s.col = (o->lower ? row : row + i) * o->square;
        if (i == 0)
            s.part = o->lower ? LOWER : UPPER;
    }
    s.a += s.row * CHUNK;
    return s;
}

static void move_square(const struct nb_outer *o, const struct square *s, double *copy, bool in)
{
    for (size_t i = 0; i < o->square && s->row + i < s->rows; i++) {
        const size_t begin = s->part == UPPER ? i : 0, most = NB_MIN(o->square, o->x.n - s->col);
        const size_t end = s->part == LOWER ? NB_MIN(most, i + 1) : most;
        double *at = s->out + (s->row + i) * o->x.n + s->col + begin;
        double *own = copy + i * o->square + begin;
        if (begin < end)
            memcpy(in ? own : at, in ? at : own, (end - begin) * sizeof *own);
    }
}

/* What waits, added to a square in a copy whose rows are close together. */
static void add_square(const struct nb_outer *o, const struct square *s, double *copy)
{
    const size_t square = o->square, rows = NB_MIN(square, s->rows - s->row);
    const float *a = s->a, *b = o->panels + o->x.groups * PANELS + s->col * CHUNK;
    if (s->part != ALL || rows < square || s->col + square > o->x.n)
        memset(copy, 0, square * square * sizeof *copy);
    move_square(o, s, copy, true);
    for (size_t i = 0; i < o->n_chunks; i++, a += chunk_floats(o), b += chunk_floats(o))
        for (size_t c = 0; c < square && s->col + c < o->x.n; c += B_COLS) {
            const size_t begin = s->part == LOWER ? c / A_COLS * A_COLS : 0;
            const size_t end = s->part == UPPER ? NB_MIN(c + B_COLS, rows) : rows;
            for (size_t r = begin; r < end; r += A_COLS)
                o->kernels->outer_f64_f32_f32(copy + r * square + c, square, a + r * CHUNK,
                                              b + c * CHUNK, o->length[i]);
        }
    move_square(o, s, copy, false);
}

static void add_squares(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct nb_outer *o = ctx;
    for (size_t i = begin; i < end; i++) {
        const struct square s = square_at(o, i);
        add_square(o, &s, o->squares + worker * o->square * o->square);
    }
}

/* ---- streams ---- */

static size_t choose_square(const struct nb_outer_options *o)
{
    const size_t threads = nb_pool_threads(o->pool);
    return squares_of(o->n, o->n_y, SQUARE) < SHARE * threads ? GROUP : SQUARE;
}

static bool sizes(const struct nb_outer_options *o, size_t *chunks, size_t *panels, size_t *squares)
{
    const size_t square = choose_square(o), wanted = (NB_MAX(o->n_tokens, 1) - 1) / CHUNK + 1;
    size_t groups, chunk;
    if (!nb_add_size(&groups, groups_of(o->n), groups_of(o->n)) ||
        !nb_add_size(&groups, groups, groups_of(o->n_y)) ||
        !nb_mul_size(&chunk, groups, PANELS * sizeof(float)))
        return false;
    *chunks = NB_MIN(wanted, CHUNKS);
    return nb_mul_size(panels, *chunks, chunk) &&
           nb_mul_size(squares, nb_pool_threads(o->pool), square * square * sizeof(double));
}

uint64_t nb_outer_bytes(const struct nb_outer_options *o)
{
    size_t chunks, panels, squares, bytes;
    return sizes(o, &chunks, &panels, &squares) && nb_add_size(&bytes, panels, squares)
               ? bytes
               : UINT64_MAX;
}

enum nb_status nb_outer_create(struct nb_outer **out, const struct nb_outer_options *options,
                               const struct nb_allocator *a, struct nb_error *err)
{
    size_t chunks = 0, panels = 0, squares = 0;
    *out = NULL;
    if (options->n == 0)
        NB_FAIL(err, NB_ERR_ARG, "sums of tokens of 0 numbers");
    const bool fits = sizes(options, &chunks, &panels, &squares);
    struct nb_outer *o = fits ? nb_alloc_zero(a, 1, sizeof *o) : NULL;
    if (o != NULL) {
        o->a = a;
        o->kernels = nb_kernels_get();
        o->pool = options->pool;
        o->x = (struct side){.n = options->n, .groups = groups_of(options->n)};
        o->y = (struct side){.n = options->n_y, .groups = groups_of(options->n_y)};
        o->capacity = chunks;
        o->square = choose_square(options);
        o->panels = nb_alloc(a, panels, 1);
        o->squares = nb_alloc(a, squares, 1);
    }
    if (o == NULL || o->panels == NULL || o->squares == NULL) {
        nb_outer_destroy(o);
        NB_FAIL(err, NB_ERR_NOMEM, "no memory to pack %zu tokens of %zu and %zu numbers",
                chunks * CHUNK, options->n, options->n_y);
    }
    *out = o;
    return NB_OK;
}

void nb_outer_destroy(struct nb_outer *o)
{
    if (o == NULL)
        return;
    nb_free(o->a, o->squares);
    nb_free(o->a, o->panels);
    nb_free(o->a, o);
}

void nb_outer_begin(struct nb_outer *o, double *h, bool lower, double *c)
{
    nb_assert(o->n_chunks == 0 && (c == NULL || o->y.n > 0));
    o->h = h;
    o->lower = lower;
    o->c = c;
}

void nb_outer_add(struct nb_outer *o, const struct nb_outer_tokens *tokens)
{
    const size_t groups = o->x.groups + (o->c != NULL ? o->y.groups : 0);
    nb_assert(tokens->x_stride >= o->x.n && (o->c == NULL || tokens->y_stride >= o->y.n));
    o->x.stride = tokens->x_stride;
    o->y.stride = tokens->y_stride;
    for (size_t t = 0; t < tokens->n_tokens;) {
        o->first = o->n_chunks;
        o->x.x = tokens->x + t * o->x.stride;
        if (o->c != NULL)
            o->y.x = tokens->y + t * o->y.stride;
        for (; t < tokens->n_tokens && o->n_chunks < o->capacity; t += CHUNK)
            o->length[o->n_chunks++] = (uint16_t)NB_MIN(CHUNK, tokens->n_tokens - t);
        nb_pool_for(o->pool, (o->n_chunks - o->first) * groups, 1, pack_groups, o);
        if (o->n_chunks == o->capacity)
            nb_outer_end(o);
    }
}

void nb_outer_end(struct nb_outer *o)
{
    const size_t n_y = o->c != NULL ? o->y.n : 0;
    if (o->n_chunks > 0)
        nb_pool_for(o->pool, squares_of(o->x.n, n_y, o->square), 1, add_squares, o);
    o->n_chunks = 0;
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
