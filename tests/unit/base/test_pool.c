/* Pool: every item once, the same chunks and the same bits for any number of threads. */
#include "support/nbtest.h"

struct job {
    size_t grain;
    unsigned n_threads;
    uint8_t *seen;  /* (n) */
    float *partial; /* (chunks) */
    const float *x; /* (n) */
    size_t n;
    bool bad;
};

static void visit(void *ctx, size_t begin, size_t end, unsigned worker)
{
    struct job *job = ctx;
    if (begin % job->grain != 0 || end <= begin || end - begin > job->grain || end > job->n ||
        (end != job->n && end - begin != job->grain) || worker >= job->n_threads)
        job->bad = true;
    float sum = 0;
    for (size_t i = begin; i < end; i++) {
        job->seen[i]++;
        sum += job->x[i];
    }
    job->partial[begin / job->grain] = sum;
}

#define N_MAX 3000

static void test_every_item_once_and_same_bits(void **state)
{
    (void)state;
    static const unsigned threads[] = {1, 2, 7};
    static const size_t sizes[] = {0, 1, 2, 63, 64, 65, 1000, N_MAX};
    static float x[N_MAX];
    struct nb_rng rng = {1, 0};
    for (size_t i = 0; i < N_MAX; i++)
        x[i] = (float)nb_rng_normal(&rng);
    for (size_t s = 0; s < NB_COUNTOF(sizes); s++)
        for (size_t grain = 1; grain < 200; grain = grain * 5 + 2) {
            uint32_t first = 0;
            for (size_t t = 0; t < NB_COUNTOF(threads); t++) {
                struct nb_pool *pool;
                struct nb_error err;
                static uint8_t seen[N_MAX];
                static float partial[N_MAX];
                assert_ok(nb_pool_create(&pool, threads[t], NULL, &err), &err);
                assert_int_equal(nb_pool_threads(pool), threads[t]);
                memset(seen, 0, sizeof seen);
                struct job job = {grain, threads[t], seen, partial, x, sizes[s], false};
                nb_pool_for(pool, sizes[s], grain, visit, &job);
                assert_false(job.bad);
                float sum = 0;
                for (size_t i = 0; i < sizes[s]; i++)
                    assert_int_equal(seen[i], 1);
                for (size_t c = 0; c * grain < sizes[s]; c++)
                    sum += partial[c];
                if (t == 0)
                    first = nb_f32_bits(sum);
                assert_int_equal(nb_f32_bits(sum), first);
                nb_pool_destroy(pool);
            }
        }
}

static void test_no_pool(void **state)
{
    (void)state;
    uint8_t seen[100] = {0};
    float x[100] = {0}, partial[100];
    struct job job = {7, 1, seen, partial, x, 100, false};
    assert_int_equal(nb_pool_threads(NULL), 1);
    nb_pool_for(NULL, 100, 7, visit, &job);
    assert_false(job.bad);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
    nb_pool_destroy(NULL);
}

static void add_one(void *ctx, size_t begin, size_t end, unsigned worker)
{
    (void)worker;
    uint32_t *count = ctx;
    for (size_t i = begin; i < end; i++)
        count[i]++;
}

/* Thousands of short jobs back to back: late workers, sleeping and spinning, must never run a chunk of
 * a finished job or lose one. */
static void test_many_short_jobs(void **state)
{
    (void)state;
    struct nb_pool *pool;
    struct nb_error err;
    uint32_t count[16] = {0};
    assert_ok(nb_pool_create(&pool, 4, NULL, &err), &err);
    for (uint32_t round = 0; round < 4000; round++) {
        nb_pool_for(pool, 16, 1 + round % 5, add_one, count);
        if (round % 500 == 0) { /* long enough that workers go to sleep */
            const uint64_t begin = nb_clock_ns();
            while (nb_clock_ns() - begin < 300000)
                ;
        }
        for (size_t i = 0; i < 16; i++)
            if (count[i] != round + 1)
                fail_msg("round %u item %zu: %u", (unsigned)round, i, (unsigned)count[i]);
    }
    nb_pool_destroy(pool);
}

static enum nb_status create(void *ctx, const struct nb_allocator *a)
{
    (void)ctx;
    struct nb_pool *pool;
    NB_TRY(nb_pool_create(&pool, 3, a, NULL));
    nb_pool_destroy(pool);
    return NB_OK;
}

static void test_creation(void **state)
{
    (void)state;
    struct nb_pool *pool = NULL;
    struct nb_error err;
    assert_int_equal(nbtest_oom(create, NULL), 2);
    assert_fails(nb_pool_create(&pool, 100000, NULL, &err), NB_ERR_ARG, &err, "100000 threads");
    assert_ok(nb_pool_create(&pool, 0, NULL, &err), &err);
    assert_int_equal(nb_pool_threads(pool), nb_cpu_count());
    nb_pool_destroy(pool);
}

/* The job loop allocates nothing. */
static void test_no_allocation_per_job(void **state)
{
    (void)state;
    struct nbtest_alloc x;
    struct nb_pool *pool;
    struct nb_error err;
    uint32_t count[64] = {0};
    nbtest_alloc_init(&x, 0);
    assert_ok(nb_pool_create(&pool, 2, &x.a, &err), &err);
    const size_t before = x.n_allocs;
    nb_pool_for(pool, 64, 4, add_one, count);
    assert_int_equal(x.n_allocs, before);
    nb_pool_destroy(pool);
    assert_int_equal(x.live, 0);
}

NB_TEST_MAIN(cmocka_unit_test(test_every_item_once_and_same_bits), cmocka_unit_test(test_no_pool),
             cmocka_unit_test(test_many_short_jobs), cmocka_unit_test(test_creation),
             cmocka_unit_test(test_no_allocation_per_job))
