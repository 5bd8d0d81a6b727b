/* base/pool.c: one job at a time, its chunks claimed one by one.
 *
 * `remaining` is the whole protocol: the caller fills in the job and stores the number of chunks;
 * whoever takes it from r to r - 1 owns chunk n_chunks - r, and only then reads the job's fields. The
 * job cannot change under its owner, since the caller waits until every chunk is finished. A worker
 * that comes late finds 0 and goes back to sleep: nobody waits for a wake-up.
 *
 * Threads watch for some microseconds before they sleep: between two matrix products of a decoder
 * there is less time than a wake-up takes.
 */
#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "base/sys.h"

#define SPIN_NS     30000
#define MAX_THREADS 1024
#define MAX_CHUNKS  ((size_t)1 << 30)

struct worker {
    struct nb_pool *pool;
    pthread_t thread;
    unsigned index;
};

struct nb_pool {
    const struct nb_allocator *a;
    struct worker *workers; /* (n_threads - 1) */
    unsigned n_threads, n_started;

    /* The job. Written by the caller before remaining is stored. */
    nb_pool_fn *fn;
    void *ctx;
    size_t n, grain, n_chunks;

    /* Each on a line of its own: they are hammered from all sides. */
    _Alignas(64) atomic_size_t remaining; /* chunks not yet claimed  */
    _Alignas(64) atomic_size_t pending;   /* chunks not yet finished */
    _Alignas(64) atomic_uint n_sleeping;
    atomic_bool caller_sleeps, stop;

    pthread_mutex_t lock;
    pthread_cond_t work, done;
};

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb"); /* some tens of cycles; yield is free on most cores */
#endif
}

/* Runs chunks until none is left to claim. */
static void run_chunks(struct nb_pool *p, unsigned worker)
{
    size_t r = atomic_load_explicit(&p->remaining, memory_order_relaxed);
    while (r != 0) {
        if (!atomic_compare_exchange_weak_explicit(&p->remaining, &r, r - 1, memory_order_acquire,
                                                   memory_order_relaxed))
            continue;
        const size_t begin = (p->n_chunks - r) * p->grain;
        const size_t end = p->n - begin < p->grain ? p->n : begin + p->grain;
        p->fn(p->ctx, begin, end, worker);
        /* Sequentially consistent, as is the caller's side: either the caller sees 0, or we see that
         * it sleeps. */
        if (atomic_fetch_sub(&p->pending, 1) == 1 && atomic_load(&p->caller_sleeps)) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
        r = atomic_load_explicit(&p->remaining, memory_order_relaxed);
    }
}

/* Watches until *word is zero (or not) for SPIN_NS at most. */
static bool spin_until(atomic_size_t *word, bool zero)
{
    const uint64_t begin = nb_clock_ns();
    do {
        for (int i = 0; i < 32; i++) {
            if ((atomic_load_explicit(word, memory_order_acquire) == 0) == zero)
                return true;
            pause_cpu();
        }
    } while (nb_clock_ns() - begin < SPIN_NS);
    return false;
}

static void *worker_main(void *arg)
{
    const struct worker *w = arg;
    struct nb_pool *p = w->pool;
    for (;;) {
        if (!spin_until(&p->remaining, false)) {
            pthread_mutex_lock(&p->lock);
            atomic_fetch_add(&p->n_sleeping, 1);
            while (atomic_load(&p->remaining) == 0 && !atomic_load(&p->stop))
                pthread_cond_wait(&p->work, &p->lock);
            atomic_fetch_sub(&p->n_sleeping, 1);
            pthread_mutex_unlock(&p->lock);
        }
        if (atomic_load(&p->stop))
            return NULL;
        run_chunks(p, w->index);
    }
}

static void run_job(struct nb_pool *p, size_t n, size_t grain, nb_pool_fn *fn, void *ctx)
{
    const size_t n_chunks = n / grain + (n % grain != 0);
    p->fn = fn;
    p->ctx = ctx;
    p->n = n;
    p->grain = grain;
    p->n_chunks = n_chunks;
    atomic_store_explicit(&p->pending, n_chunks, memory_order_relaxed);
    atomic_store(&p->remaining, n_chunks);
    if (atomic_load(&p->n_sleeping) != 0) {
        pthread_mutex_lock(&p->lock);
        const size_t sleeping = atomic_load(&p->n_sleeping);
        if (n_chunks - 1 >= sleeping)
            pthread_cond_broadcast(&p->work);
        else
            for (size_t i = 0; i < n_chunks - 1; i++)
                pthread_cond_signal(&p->work);
        pthread_mutex_unlock(&p->lock);
    }
    run_chunks(p, 0);
    if (spin_until(&p->pending, true))
        return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->caller_sleeps, true);
    while (atomic_load(&p->pending) != 0)
        pthread_cond_wait(&p->done, &p->lock);
    atomic_store(&p->caller_sleeps, false);
    pthread_mutex_unlock(&p->lock);
}

void nb_pool_for(struct nb_pool *pool, size_t n, size_t grain, nb_pool_fn *fn, void *ctx)
{
    if (grain == 0)
        grain = 1;
    if (nb_pool_threads(pool) == 1 || n <= grain || n / grain >= MAX_CHUNKS) {
        for (size_t begin = 0; begin < n; begin += NB_MIN(grain, n - begin))
            fn(ctx, begin, begin + NB_MIN(grain, n - begin), 0);
        return;
    }
    run_job(pool, n, grain, fn, ctx);
}

unsigned nb_pool_threads(const struct nb_pool *pool)
{
    return pool == NULL ? 1 : pool->n_threads;
}

void nb_pool_destroy(struct nb_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->stop, true);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->n_started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    nb_free(pool->a, pool->workers);
    nb_free(pool->a, pool);
}

/* The workers take no signals: those of the process go to threads that know what to do. */
static int start_workers(struct nb_pool *p)
{
    sigset_t all, old;
    int rc = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (unsigned i = 0; i + 1 < p->n_threads && rc == 0; i++) {
        struct worker *w = &p->workers[i];
        w->pool = p;
        w->index = i + 1;
        rc = pthread_create(&w->thread, NULL, worker_main, w);
        p->n_started += rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

enum nb_status nb_pool_create(struct nb_pool **pool, unsigned n_threads,
                              const struct nb_allocator *a, struct nb_error *err)
{
    if (n_threads == 0)
        n_threads = NB_MIN(nb_cpu_count(), (unsigned)MAX_THREADS);
    if (n_threads > MAX_THREADS)
        NB_FAIL(err, NB_ERR_ARG, "%u threads asked for, at most %d are possible", n_threads,
                MAX_THREADS);
    struct nb_pool *p = nb_alloc_zero(a, 1, sizeof *p);
    if (p == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for the thread pool");
    p->a = a;
    p->n_threads = n_threads;
    p->workers = nb_alloc_zero(a, n_threads, sizeof *p->workers);
    if (p->workers == NULL) {
        nb_free(a, p);
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %u threads", n_threads);
    }
    atomic_init(&p->remaining, 0);
    atomic_init(&p->pending, 0);
    atomic_init(&p->n_sleeping, 0);
    atomic_init(&p->caller_sleeps, false);
    atomic_init(&p->stop, false);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->done, NULL);
    const int rc = start_workers(p);
    if (rc != 0) {
        const unsigned started = p->n_started;
        nb_pool_destroy(p);
        NB_FAIL(err, NB_ERR_LIMIT, "cannot start thread %u of %u: %s", started + 2, n_threads,
                strerror(rc));
    }
    *pool = p;
    return NB_OK;
}
