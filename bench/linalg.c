/* bench/linalg.c: what the dense linear algebra reaches of the processor's peak.
 *
 *   bench-linalg [THREADS] [N ...]
 *
 * For each n (default 512 1536): sums of outer products of 8192 tokens in windows of 1024, H alone and then
 * with cross moments of at most 512 rows; Cholesky, inverse, products and
 * quadratic forms of 512 rows, feedback of a block of 128 columns, Hadamard transforms. Multiply-adds
 * per second of wall time, and per second of processor time (the figure to trust on a shared machine;
 * one thread is most exact), both beside the peak that a loop in registers reaches here, floats
 * or doubles. Best of several runs.
 */
#include "kernels/kernels.h"
#include "math/linalg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TOKENS = 8192, WINDOW = 1024, ROWS = 512, BLOCK = 128, RUNS = 7 };

struct bench {
    struct nb_pool *pool;
    size_t n;
    double *h, *v, *u, *g;
    float *x, *w, *f;
};

static double cpu_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void *memory(size_t n)
{
    void *p = calloc(n, 1);
    if (p == NULL) {
        fprintf(stderr, "bench-linalg: no memory for %zu bytes\n", n);
        exit(1);
    }
    return p;
}

static void must(enum nb_status st, const struct nb_error *err)
{
    if (st != NB_OK) {
        fprintf(stderr, "bench-linalg: %s\n", err->message);
        exit(1);
    }
}

/* As a calibration does: window by window; y is part of x. */
static void add_windows(struct bench *b, size_t n_y)
{
    struct nb_error err;
    struct nb_outer *o;
    const struct nb_outer_options options = {b->n, n_y, TOKENS, b->pool};
    must(nb_outer_create(&o, &options, NULL, &err), &err);
    nb_outer_begin(o, b->h, false, n_y > 0 ? b->g : NULL);
    for (size_t t = 0; t < TOKENS; t += WINDOW) {
        const struct nb_outer_tokens tokens = {b->x + t * b->n, b->x + t * b->n, b->n, b->n,
                                               WINDOW};
        nb_outer_add(o, &tokens);
    }
    nb_outer_end(o);
    nb_outer_destroy(o);
}

static void accumulate(struct bench *b)
{
    add_windows(b, 0);
}

static void accumulate_both(struct bench *b)
{
    add_windows(b, NB_MIN(b->n, ROWS));
}

static void factor(struct bench *b)
{
    struct nb_error err;
    must(nb_chol_reverse(b->v, b->n, b->pool, NULL, NULL, &err), &err);
}

static void invert(struct bench *b)
{
    struct nb_error err;
    must(nb_tri_inverse(b->u, b->n, b->pool, NULL, &err), &err);
}

static void times(struct bench *b)
{
    struct nb_error err;
    const struct nb_sym_product p = {b->h, b->n, b->x, b->n, ROWS, false};
    must(nb_sym_times(b->g, &p, b->pool, NULL, &err), &err);
}

static void form(struct bench *b)
{
    struct nb_error err;
    double total;
    const struct nb_sym_product p = {b->h, b->n, b->x, b->n, ROWS, false};
    must(nb_quad_form(&total, NULL, &p, b->pool, NULL, &err), &err);
}

static void feed_rows(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct bench *b = ctx;
    (void)worker;
    nb_gemm_sub_f32(b->w + begin * b->n, b->n, b->x + begin * BLOCK, BLOCK, b->f, b->n, end - begin,
                    BLOCK, b->n);
}

static void feed(struct bench *b)
{
    nb_pool_for(b->pool, ROWS, 64, feed_rows, b);
}

static void rotate(struct bench *b)
{
    struct nb_error err;
    struct nb_hadamard q;
    must(nb_hadamard_init(&q, b->n, 1, NULL, &err), &err);
    must(nb_hadamard_rows(&q, b->w, b->n, ROWS, false, b->pool, &err), &err);
    nb_hadamard_fini(&q);
}

/* Multiply-adds per second of one thread, in registers. */
static double peak(void)
{
    float sink;
    double best = 0.0;
    for (int i = 0; i < 20; i++) {
        const double t0 = cpu_seconds(), ops = nb_kernels_get()->peak_f32(1000000, &sink);
        const double rate = ops / 2.0 / (cpu_seconds() - t0);
        best = rate > best ? rate : best;
    }
    return best;
}

static void measure(struct bench *b, const char *name, double work, void (*fn)(struct bench *),
                    double top)
{
    double wall = 1e9, cpu = 1e9;
    const size_t square = b->n * b->n * sizeof(double);
    for (int i = 0; i < RUNS; i++) {
        memcpy(b->v, b->h, fn == factor ? square : 0);
        memcpy(b->u, b->v, fn == invert ? square : 0);
        const double c0 = cpu_seconds();
        const uint64_t t0 = nb_clock_ns();
        fn(b);
        const double t = (double)(nb_clock_ns() - t0) * 1e-9, c = cpu_seconds() - c0;
        wall = t < wall ? t : wall;
        cpu = c < cpu ? c : cpu;
        if (t > 5.0)
            break;
    }
    printf("%-12s n %5zu %9.4f s %8.1f GMAC/s  per processor second %6.1f  of peak %4.0f %%\n",
           name, b->n, wall, work * 1e-9 / wall, work * 1e-9 / cpu, 100.0 * work / cpu / top);
}

static void run(struct nb_pool *pool, size_t n, double top)
{
    const size_t tokens = TOKENS > ROWS ? TOKENS : ROWS;
    const double d = (double)n;
    struct nb_rng rng = {.seed = n};
    struct bench b = {.pool = pool, .n = n};
    b.h = memory(n * n * sizeof *b.h);
    b.v = memory(n * n * sizeof *b.v);
    b.u = memory(n * n * sizeof *b.u);
    b.g = memory(n * ROWS * sizeof *b.g);
    b.x = memory((n * tokens + ROWS * BLOCK) * sizeof *b.x);
    b.w = memory(n * ROWS * sizeof *b.w);
    b.f = memory(n * BLOCK * sizeof *b.f);
    for (size_t i = 0; i < n * tokens + ROWS * BLOCK; i++)
        b.x[i] = (float)nb_rng_unit(&rng) - 0.5F;
    for (size_t i = 0; i < n * BLOCK; i++)
        b.f[i] = b.x[i] * 0.01F;
    for (size_t i = 0; i < n * ROWS; i++)
        b.w[i] = b.x[i];
    measure(&b, "accumulate", TOKENS * d * (d + 1) / 2, accumulate, top);
    measure(&b, "and cross", TOKENS * d * ((d + 1) / 2 + NB_MIN(d, ROWS)), accumulate_both, top);
    for (size_t i = 0; i < n; i++)
        b.h[i * (n + 1)] += 1e3;
    measure(&b, "cholesky", d * d * d / 6, factor, top / 2);
    measure(&b, "inverse", d * d * d / 6, invert, top / 2);
    measure(&b, "times", ROWS * d * d, times, top / 2);
    measure(&b, "loss", ROWS * d * d / 2, form, top / 2);
    measure(&b, "feedback", (double)ROWS * BLOCK * d, feed, top);
    measure(&b, "hadamard", ROWS * d, rotate, top);
    free(b.h);
    free(b.v);
    free(b.u);
    free(b.g);
    free(b.x);
    free(b.w);
    free(b.f);
}

int main(int argc, char **argv)
{
    const unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : nb_cpu_count();
    struct nb_pool *pool;
    struct nb_error err;
    must(nb_pool_create(&pool, threads, NULL, &err), &err);
    const double top = peak();
    printf("%u threads, %s, peak of one %.1f GMAC/s in floats\n", threads,
           nb_isa_name(nb_isa_used()), top * 1e-9);
    for (int i = 2; i < argc; i++)
        run(pool, (size_t)atoi(argv[i]), top);
    for (size_t n = 512; n <= 1536 && argc <= 2; n += 1024)
        run(pool, n, top);
    nb_pool_destroy(pool);
    return 0;
}
