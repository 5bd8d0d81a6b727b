/* measure/limits.c: bandwidth and arithmetic peaks of this machine. */
#include "measure/measure.h"

#include <string.h>

#include "kernels/kernels.h"

#define BUFFER_BYTES (UINT64_C(512) << 20)
#define CHUNK_BYTES  (UINT64_C(1) << 20)
#define READ_ROUNDS  5
#define PEAK_ROUNDS  7
#define PEAK_STEPS   400000U

struct read_job {
    const uint8_t *data;
    uint64_t *sums; /* (chunks): keeps the reads alive */
};

static void fill(void *ctx, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    uint8_t *data = ctx;
    memset(data + begin, 1, end - begin);
}

static void read_chunks(void *ctx, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    const struct read_job *j = ctx;
    const struct nb_kernels *k = nb_kernels_get();
    for (size_t c = begin; c < end; c++)
        j->sums[c] = k->xor_u64(j->data + c * CHUNK_BYTES, CHUNK_BYTES);
}

static enum nb_status measure_read(double *bytes_s, struct nb_pool *pool,
                                   const struct nb_allocator *a, struct nb_error *err)
{
    const size_t chunks = (size_t)(BUFFER_BYTES / CHUNK_BYTES);
    uint8_t *data = nb_alloc(a, (size_t)BUFFER_BYTES, 1);
    uint64_t *sums = nb_alloc(a, chunks, sizeof *sums);
    enum nb_status st = NB_OK;
    if (data == NULL || sums == NULL) {
        st = NB_ERROR(err, NB_ERR_NOMEM,
                      "no memory for a buffer of %llu bytes to measure the bandwidth",
                      (unsigned long long)BUFFER_BYTES);
        goto out;
    }
    nb_pool_for(pool, (size_t)BUFFER_BYTES, (size_t)CHUNK_BYTES, fill, data);
    struct read_job job = {data, sums};
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < READ_ROUNDS; round++) {
        const uint64_t t0 = nb_clock_ns();
        nb_pool_for(pool, chunks, 4, read_chunks, &job);
        best = NB_MIN(best, nb_clock_ns() - t0);
    }
    *bytes_s = (double)BUFFER_BYTES / ((double)best * 1e-9);
out:
    nb_free(a, sums);
    nb_free(a, data);
    return st;
}

struct peak_job {
    double *ops; /* (threads) */
    float *sink; /* (threads) */
    bool integer;
};

static void spin(void *ctx, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    const struct peak_job *j = ctx;
    const struct nb_kernels *k = nb_kernels_get();
    for (size_t i = begin; i < end; i++)
        j->ops[i] = (j->integer ? k->peak_s8 : k->peak_f32)(PEAK_STEPS, &j->sink[i]);
}

static double measure_peak(struct peak_job *job, struct nb_pool *pool, bool integer)
{
    const size_t n = nb_pool_threads(pool);
    uint64_t best = UINT64_MAX;
    double ops = 0;
    job->integer = integer;
    for (int round = 0; round < PEAK_ROUNDS; round++) {
        const uint64_t t0 = nb_clock_ns();
        nb_pool_for(pool, n, 1, spin, job);
        best = NB_MIN(best, nb_clock_ns() - t0);
    }
    for (size_t i = 0; i < n; i++)
        ops += job->ops[i];
    return ops / ((double)best * 1e-9);
}

enum nb_status nb_limits_measure(struct nb_limits *out, struct nb_pool *pool,
                                 const struct nb_allocator *a, struct nb_error *err)
{
    const size_t n = nb_pool_threads(pool);
    struct peak_job job = {.ops = nb_alloc_zero(a, n, sizeof *job.ops),
                           .sink = nb_alloc_zero(a, n, sizeof *job.sink)};
    enum nb_status st = NB_OK;
    if (job.ops == NULL || job.sink == NULL)
        st = NB_ERROR(err, NB_ERR_NOMEM, "no memory to measure the peaks");
    if (st == NB_OK)
        st = measure_read(&out->read_bandwidth, pool, a, err);
    if (st == NB_OK) {
        out->float_ops = measure_peak(&job, pool, false);
        out->int_ops = measure_peak(&job, pool, true);
    }
    nb_free(a, job.sink);
    nb_free(a, job.ops);
    return st;
}
