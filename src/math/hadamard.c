/* math/hadamard.c: orthonormal Hadamard transforms of any length.
 *
 * Powers of two by the fast Walsh-Hadamard transform. Other orders K from quadratic residues (Paley, On
 * orthogonal matrices, J. Math. Phys. 12, 1933), chi being the quadratic character of a field of q
 * elements, Q[i, j] = chi(i - j):
 *   q = K - 1 prime, 3 mod 4:    A = I + S, S = (0 1; -1 Q)
 *   q = K / 2 - 1, 1 mod 4:      A = C (x) (1 1; 1 -1) + I (x) (1 -1; -1 -1), C = (0 1; 1 Q)
 * where q is a prime or, in the second, the square of one. Sums are plain additions in a fixed order.
 * Left out: other constructions (the first order that is missed is 92), transforms of complex numbers.
 */
#include "math/linalg.h"

#include <math.h>
#include <string.h>

#define MAX_BASE NB_HADAMARD_MAX_BASE
#define COLUMNS  16   /* columns transformed together */
#define GRAIN    8192 /* numbers to a thread at a time, at least */

/* ---- the quadratic character ---- */

/* A field of p or p^2 elements; element x of the latter is x % p + (x / p) t, t^2 = nonresidue. */
struct field {
    uint32_t p, q, nonresidue;
    bool square[MAX_BASE]; /* residues mod p that are squares */
};

static bool is_prime(uint32_t x)
{
    for (uint32_t d = 2; d * d <= x; d++)
        if (x % d == 0)
            return false;
    return x > 1;
}

/* false: q is neither an odd prime nor the square of one. */
static bool make_field(struct field *f, uint32_t q)
{
    memset(f, 0, sizeof *f);
    f->q = q;
    f->p = q;
    for (uint32_t r = 3; r * r <= q; r += 2)
        if (r * r == q)
            f->p = r;
    if (f->p % 2 == 0 || !is_prime(f->p))
        return false;
    for (uint32_t i = 1; i < f->p; i++)
        f->square[i * i % f->p] = true;
    for (f->nonresidue = 2; f->nonresidue < f->p && f->square[f->nonresidue];)
        f->nonresidue++;
    return true;
}

/* chi(x - y): 0, 1, -1. In the square of a field the character of a + b t is that of its norm,
 * a^2 - nonresidue b^2. */
static int character(const struct field *f, uint32_t x, uint32_t y)
{
    const uint32_t p = f->p, a = (x % p + p - y % p) % p, b = (x / p + p - y / p) % p;
    const uint32_t norm = f->p == f->q ? a : (a * a + (p - f->nonresidue) * (b * b % p)) % p;
    if (x == y)
        return 0;
    return f->square[norm] ? 1 : -1;
}

/* ---- Hadamard matrices ---- */

/* Which of Paley's constructions gives order k: 0 none. */
static int construction(struct field *f, uint32_t k)
{
    if (k % 4 == 0 && make_field(f, k - 1) && f->p == f->q)
        return 1;
    if (k % 4 == 0 && (k / 2 - 1) % 4 == 1 && make_field(f, k / 2 - 1))
        return 2;
    return 0;
}

/* Row i, column j of the matrices S (edge -1) and C (edge 1). */
static int bordered(const struct field *f, uint32_t i, uint32_t j, int edge)
{
    if (i == 0 || j == 0)
        return i == j ? 0 : j == 0 ? edge : 1;
    return character(f, i - 1, j - 1);
}

static int element(const struct field *f, int kind, uint32_t i, uint32_t j)
{
    if (kind == 1)
        return (i == j) + bordered(f, i, j, -1);
    const int c = bordered(f, i / 2, j / 2, 1), both = i % 2 && j % 2;
    if (i / 2 != j / 2)
        return both ? -c : c;
    return i % 2 || j % 2 ? -1 : 1;
}

static bool make_matrix(struct nb_hadamard *q, const struct field *f, int kind)
{
    const uint32_t k = q->base;
    q->matrix = nb_alloc(q->a, (size_t)2 * k * k, sizeof *q->matrix);
    for (uint32_t i = 0; q->matrix != NULL && i < k; i++)
        for (uint32_t j = 0; j < k; j++) {
            const double x = element(f, kind, i, j);
            q->matrix[i * k + j] = x;
            q->matrix[(k + j) * k + i] = x;
        }
    return q->matrix != NULL;
}

enum nb_status nb_hadamard_init(struct nb_hadamard *q, size_t n, uint64_t seed,
                                const struct nb_allocator *a, struct nb_error *err)
{
    const size_t two = n & (~n + 1), odd = n == 0 ? 0 : n / two;
    struct nb_rng rng = {.seed = seed};
    struct field f;
    int kind = 0;
    *q = (struct nb_hadamard){.n = n, .order = two, .base = 1, .a = a};
    if (n == 0)
        NB_FAIL(err, NB_ERR_ARG, "a Hadamard transform of 0 numbers");
    for (size_t k = 4 * odd; odd > 1 && kind == 0 && k <= MAX_BASE && n % k == 0; k *= 2) {
        kind = construction(&f, (uint32_t)k);
        q->base = kind ? (uint32_t)k : 1;
        q->order = kind ? n : two;
    }
    if (seed != 0)
        q->sign = nb_alloc(a, n, sizeof *q->sign);
    if ((seed != 0 && q->sign == NULL) || (kind != 0 && !make_matrix(q, &f, kind))) {
        nb_hadamard_fini(q);
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for a Hadamard transform of %zu numbers", n);
    }
    for (size_t i = 0; i < n && seed != 0; i++)
        q->sign[i] = nb_rng_u64(&rng) >> 63 ? -1.0 : 1.0;
    return NB_OK;
}

void nb_hadamard_fini(struct nb_hadamard *q)
{
    nb_free(q->a, q->matrix);
    nb_free(q->a, q->sign);
    q->matrix = NULL;
    q->sign = NULL;
}

/* ---- transforms ---- */

/* n a power of two */
static void walsh(double *x, size_t n)
{
    for (size_t half = 1; half < n; half *= 2)
        for (size_t i = 0; i < n; i += 2 * half)
            for (size_t j = i; j < i + half; j++) {
                const double a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
}

/* The vectors of K numbers `stride` apart times the (K, K) matrix. */
static void mix(double *x, const double *matrix, size_t k, size_t stride)
{
    double y[MAX_BASE];
    for (size_t i = 0; i < stride; i++) {
        memset(y, 0, k * sizeof *y);
        for (size_t r = 0; r < k; r++) {
            const double v = x[r * stride + i], *row = matrix + r * k;
            for (size_t c = 0; c < k; c++)
                y[c] += v * row[c]; /* exact: a change of sign */
        }
        for (size_t c = 0; c < k; c++)
            x[c * stride + i] = y[c];
    }
}

void nb_hadamard_f64(const struct nb_hadamard *q, double *x, bool inverse)
{
    const size_t two = q->order / q->base, k = q->base;
    const double scale = 1.0 / sqrt((double)q->order);
    for (size_t i = 0; i < q->n && q->sign && !inverse; i++)
        x[i] *= q->sign[i];
    for (size_t i = 0; i < q->n; i += two)
        walsh(x + i, two);
    if (k > 1)
        mix(x, q->matrix + (inverse ? k * k : 0), k, two);
    for (size_t i = 0; i < q->n; i++)
        x[i] *= q->sign && inverse ? scale * q->sign[i] : scale;
}

struct job {
    const struct nb_hadamard *q;
    float *x;
    size_t stride;
    bool inverse;
    double *memory; /* (threads, 1 or COLUMNS, n) */
};

static void do_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    const size_t n = j->q->n;
    double *y = j->memory + worker * n;
    for (size_t r = begin; r < end; r++) {
        float *x = j->x + r * j->stride;
        for (size_t i = 0; i < n; i++)
            y[i] = (double)x[i];
        nb_hadamard_f64(j->q, y, j->inverse);
        for (size_t i = 0; i < n; i++)
            x[i] = (float)y[i];
    }
}

static void do_columns(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    const size_t n = j->q->n;
    double *y = j->memory + worker * COLUMNS * n;
    for (size_t i = 0; i < n; i++)
        for (size_t c = begin; c < end; c++)
            y[(c - begin) * n + i] = (double)j->x[i * j->stride + c];
    for (size_t c = begin; c < end; c++)
        nb_hadamard_f64(j->q, y + (c - begin) * n, j->inverse);
    for (size_t i = 0; i < n; i++)
        for (size_t c = begin; c < end; c++)
            j->x[i * j->stride + c] = (float)y[(c - begin) * n + i];
}

static enum nb_status transform(struct job *j, size_t items, size_t grain, size_t each,
                                nb_pool_fn *fn, struct nb_pool *pool, struct nb_error *err)
{
    const size_t n = j->q->n;
    j->memory = nb_alloc(j->q->a, n * sizeof *j->memory, nb_pool_threads(pool) * each);
    if (j->memory == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "no memory for Hadamard transforms of %zu numbers", n);
    nb_pool_for(pool, items, grain, fn, j);
    nb_free(j->q->a, j->memory);
    return NB_OK;
}

enum nb_status nb_hadamard_rows(const struct nb_hadamard *q, float *x, size_t x_stride, size_t rows,
                                bool inverse, struct nb_pool *pool, struct nb_error *err)
{
    struct job j = {q, x, x_stride, inverse, NULL};
    return transform(&j, rows, 1 + GRAIN / q->n, 1, do_rows, pool, err);
}

enum nb_status nb_hadamard_columns(const struct nb_hadamard *q, float *x, size_t x_stride,
                                   size_t cols, bool inverse, struct nb_pool *pool,
                                   struct nb_error *err)
{
    struct job j = {q, x, x_stride, inverse, NULL};
    return transform(&j, cols, COLUMNS, COLUMNS, do_columns, pool, err);
}
