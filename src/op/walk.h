/* op/walk.h: elements of arrays that share one shape, each with strides of its own: broadcasting, transposing,
 * slicing.
 */
#ifndef NB_OP_WALK_H
#define NB_OP_WALK_H

#include "graph/graph.h"

#define NB_WALK_ARRAYS 4

/* Arrays are added one by one, then nb_walk_merge drops dimensions of 1 and joins those that all arrays cross
 * in one step. */
struct nb_walk {
    uint32_t rank, n_arrays;
    uint64_t dim[NB_VALUE_DIMS];
    int64_t stride[NB_WALK_ARRAYS][NB_VALUE_DIMS]; /* elements */
    int64_t start[NB_WALK_ARRAYS];                 /* of the first element */
};

void nb_walk_init(struct nb_walk *w, const struct nb_value *shape);
/* An array of v's dimensions, row-major; where it has 1 (or nothing, on the left), it is read again. */
void nb_walk_add(struct nb_walk *w, const struct nb_value *v);
/* An array of any strides (w->rank), first element at `start`. */
void nb_walk_add_strides(struct nb_walk *w, const int64_t *stride, int64_t start);
void nb_walk_merge(struct nb_walk *w); /* afterwards the rank is at least 1 */
uint64_t nb_walk_count(const struct nb_walk *w);

/* Elements [begin, end) in row-major order, as runs along the last dimension: n elements, from offset at[k] of
 * array k on, w->stride[k][w->rank - 1] apart. */
typedef void nb_walk_fn(void *ctx, size_t n, const int64_t at[NB_WALK_ARRAYS]);
void nb_walk_runs(const struct nb_walk *w, uint64_t begin, uint64_t end, nb_walk_fn *fn, void *ctx);

/* ---- copying ---- */

/* out (shape, contiguous) := src read by array 0 of w; elements of item bytes (1, 2, 4, 8). w is merged. */
void nb_walk_copy(const struct nb_walk *w, void *out, const void *src, size_t item,
                  struct nb_pool *pool);

#endif
