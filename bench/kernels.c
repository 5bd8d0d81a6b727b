/* bench/kernels.c: what the kernels reach of this machine's limits, with all threads.
 *
 *   bench-kernels [THREADS] [MiB]
 *
 * Matrices of MiB (default 128, more than the caches hold) are multiplied by one token and compared
 * with the speed of reading memory; products of many tokens are counted in operations. Best of several
 * runs. For one thread and data in the cache: checkkern --bench.
 */
#include "base/pool.h"
#include "base/rng.h"
#include "base/sys.h"
#include "kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { K = 4096, RUNS = 9, GRAIN = 64, TOKENS = 128, OUTPUTS = 1024 };

struct job {
    const struct nb_kernels *kernels;
    uint8_t *w;
    size_t row_bytes;
    nb_gemv_q_fn *gemv;
    struct nb_q8 x;
    const float *xf;
    struct nb_tile tile;
    float *y;
    uint64_t *sink;
    uint8_t *scratch; /* of each worker */
};

static void *memory(size_t n)
{
    void *p = aligned_alloc(64, (n + 63) / 64 * 64);
    if (!p) {
        fprintf(stderr, "bench-kernels: no memory for %zu bytes\n", n);
        exit(1);
    }
    memset(p, 1, n);
    return p;
}

static void do_read(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    j->sink[8 * worker] +=
        j->kernels->xor_u64(j->w + begin * j->row_bytes, (end - begin) * j->row_bytes);
}

static void do_gemv(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    (void)worker;
    j->gemv(j->y + begin, j->w + begin * j->row_bytes, j->row_bytes, end - begin, K, &j->x);
}

static void do_tile(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        j->kernels->gemm_f32_tile_q8(j->y + i * 8 * TOKENS, 8, &j->tile, K, &j->x, TOKENS);
}

static void do_gemm(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    (void)worker;
    j->kernels->gemm_f32_f32_f32(j->y + begin, 1024, (const float *)(const void *)j->w + begin * K,
                                 end - begin, j->xf, K, TOKENS, K);
}

/* Windows of K bytes, and as many outputs as the float product has. */
static void do_conv(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct job *j = ctx;
    const uint8_t *x[TOKENS];
    for (size_t i = begin; i < end; i++)
        x[i] = (const uint8_t *)j->x.q + i * K;
    j->kernels->conv_s32_u8_s8(
        &(struct nb_conv_u8){.y = (int32_t *)(void *)j->y + begin * OUTPUTS,
                             .x = x + begin,
                             .offset = &(size_t){0},
                             .w = (const int8_t *)j->w,
                             .scratch = j->scratch + worker * NB_CONV_U8_SCRATCH,
                             .y_stride = OUTPUTS,
                             .n_rows = end - begin,
                             .n_runs = 1,
                             .len = K,
                             .n = OUTPUTS});
}

/* Of a usual size: sums of tiny values are subnormal and slow. */
static float *floats(size_t n)
{
    float *p = memory(n * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = 0.01F;
    return p;
}

/* Seconds of the best run. */
static double best(struct nb_pool *pool, size_t n, size_t grain, nb_pool_fn *fn, struct job *j)
{
    double least = 1e9;
    for (int i = 0; i < RUNS; i++) {
        const uint64_t t0 = nb_clock_ns();
        nb_pool_for(pool, n, grain, fn, j);
        const double t = (double)(nb_clock_ns() - t0) * 1e-9;
        least = t < least ? t : least;
    }
    return least;
}

static void bench_gemv(struct nb_pool *pool, struct job *j, size_t bytes)
{
    const struct {
        const char *name;
        nb_gemv_q_fn *gemv;
        size_t row_bytes;
    } of[] = {
        {"gemv_f32_q8_0_q8", j->kernels->gemv_f32_q8_0_q8, K / 32 * 34},
        {"gemv_f32_q4_0_q8", j->kernels->gemv_f32_q4_0_q8, K / 32 * 18},
        {"gemv_f32_q4_k_q8", j->kernels->gemv_f32_q4_k_q8, K / 256 * 144},
        {"gemv_f32_q6_k_q8", j->kernels->gemv_f32_q6_k_q8, K / 256 * 210},
    };
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        j->gemv = of[i].gemv;
        j->row_bytes = of[i].row_bytes;
        const size_t rows = bytes / j->row_bytes;
        const double read =
            best(pool, rows, GRAIN, do_read, j); /* beside it: shared machines drift */
        const double t = best(pool, rows, GRAIN, do_gemv, j);
        const double gbs = (double)(rows * j->row_bytes) * 1e-9 / t;
        printf("%-18s %8.2f GB/s  %5.2f of reading (%.2f)\n", of[i].name, gbs, read / t,
               gbs * t / read);
    }
}

static void bench_products(struct nb_pool *pool, struct job *j)
{
    static const struct {
        const char *name;
        int8_t lo, hi;
        bool has_min;
    } range[] = {{"codes 0..15, with minima", 0, 15, true},
                 {"codes 0..15", 0, 15, false},
                 {"codes -8..7", -8, 7, false},
                 {"codes -32..31", -32, 31, false},
                 {"codes -128..127", 0, 0, false}};
    for (size_t i = 0; i < sizeof range / sizeof range[0]; i++) {
        j->tile.code_min = range[i].lo;
        j->tile.code_max = range[i].hi;
        j->tile.min = range[i].has_min ? j->tile.scale : NULL;
        j->tile.sub = range[i].lo == -32 ? 16 : 32;
        const double t = best(pool, 128, 4, do_tile, j);
        printf("%-18s %8.1f GOP/s   %s\n", "gemm_f32_tile_q8",
               2.0 * 128 * 8 * TOKENS * K * 1e-9 / t, range[i].name);
    }
    const double c = best(pool, TOKENS, 32, do_conv, j);
    printf("%-18s %8.1f GOP/s\n", "conv_s32_u8_s8", 2.0 * OUTPUTS * TOKENS * K * 1e-9 / c);
    const double t = best(pool, 1024, 32, do_gemm, j);
    printf("%-18s %8.1f GFLOP/s\n", "gemm_f32_f32_f32", 2.0 * 1024 * TOKENS * K * 1e-9 / t);
}

int main(int argc, char **argv)
{
    const unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : nb_cpu_count();
    const size_t bytes = (size_t)(argc > 2 ? atoi(argv[2]) : 128) << 20;
    struct nb_pool *pool;
    struct nb_error err;
    if (nb_pool_create(&pool, threads, NULL, &err) != NB_OK) {
        fprintf(stderr, "bench-kernels: %s\n", err.message);
        return 1;
    }
    int8_t *q = memory((size_t)TOKENS * K);
    float *d = floats((size_t)TOKENS * K / 32);
    int16_t *sum16 = memory(TOKENS * K / 16 * sizeof *sum16);
    float *xf = floats((size_t)TOKENS * K), *scale = floats(K / 16 * 8);
    struct nb_rng rng = {.seed = 1};
    struct job j = {.kernels = nb_kernels_get(),
                    .w = memory(bytes),
                    .x = {q, d, sum16},
                    .xf = xf,
                    .y = memory((size_t)1024 * TOKENS * sizeof(float) + bytes / 500),
                    .sink = memory((size_t)threads * 64),
                    .scratch = memory(threads * NB_CONV_U8_SCRATCH)};
    for (size_t i = 0; i < bytes; i += 8)
        memcpy(j.w + i, &(uint64_t){nb_rng_u64(&rng) & 0x0f3f0f3f0f3f0f3fULL}, 8);
    int8_t *codes = memory(K * 8);
    j.tile = (struct nb_tile){.codes = codes, .scale = scale, .sub = 32};
    printf("%u threads, %s, %zu MiB, k = %d, %d tokens\n", nb_pool_threads(pool),
           nb_isa_name(nb_isa_used()), bytes >> 20, K, TOKENS);
    bench_gemv(pool, &j, bytes);
    for (size_t i = 0; i < (size_t)1024 * K; i++)
        memcpy(j.w + i * sizeof(float), &xf[0], sizeof(float));
    bench_products(pool, &j);
    nb_pool_destroy(pool);
    return 0;
}
