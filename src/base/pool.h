/* base/pool.h: one thread pool, passed in.
 *
 * Work is cut by n and grain only, never by the number of threads; which thread runs a chunk is not
 * determined, so chunks must not depend on each other, and partial sums are combined by the caller
 * in chunk order. Workers spin briefly, then sleep on a futex-backed condition.
 */
#ifndef NB_BASE_POOL_H
#define NB_BASE_POOL_H

#include "base/alloc.h"

struct nb_pool;

/* n_threads 0: one per core the process may run on. The caller's thread works too. */
NB_CHECKED enum nb_status nb_pool_create(struct nb_pool **pool, unsigned n_threads,
                                         const struct nb_allocator *a, struct nb_error *err);
void nb_pool_destroy(struct nb_pool *pool);
unsigned nb_pool_threads(const struct nb_pool *pool); /* 1 for NULL */

/* fn(ctx, begin, end, worker): items [begin, end), at most grain of them; worker < nb_pool_threads,
 * for scratch only. Returns when all are done. pool == NULL runs inline. Not reentrant. */
typedef void nb_pool_fn(void *ctx, size_t begin, size_t end, unsigned worker);
void nb_pool_for(struct nb_pool *pool, size_t n, size_t grain, nb_pool_fn *fn, void *ctx);

#endif
