/* calib/observer.h: one statistic of an edge: what it sums, how two add up, what of it is stored.
 *
 * A state is of one edge, or of one matrix of it (per_matrix): the tokens that came to one expert. What is stored is a row of numbers for each
 * state, (rows, cols) of a type that holds them; nb_stats_write and nb_stats_read do the rest. Results depend on the values and
 * their order alone: not on threads, CPU, or the calls in which tokens arrive.
 */
#ifndef NB_CALIB_OBSERVER_H
#define NB_CALIB_OBSERVER_H

#include "base/base.h"
#include "numfmt/numfmt.h"

/* Some rows of a tap. Borrows: all. */
struct nb_observed {
    const float *x; /* (rows of the tap, cols) */
    size_t cols;
    const uint32_t *rows; /* (n_rows) which rows, ascending in time; NULL: the first n_rows */
    size_t n_rows;
    struct nb_pool *pool;
};

static inline const float *nb_observed_row(const struct nb_observed *v, size_t i)
{
    return v->x + (v->rows != NULL ? v->rows[i] : i) * v->cols;
}

/* Numbers as a file has them. */
struct nb_stored {
    const struct nb_numfmt *type; /* f32 or f64 */
    size_t rows, cols;
};

struct nb_observer {
    const char *name, *summary;
    bool per_matrix;    /* a state for each matrix; false: one for the edge */
    size_t state_bytes; /* zeros before init */
    enum nb_status (*init)(void *state, size_t cols, const struct nb_allocator *a,
                           struct nb_error *err);
    void (*fini)(void *state); /* also of zeros */
    enum nb_status (*add)(void *state, const struct nb_observed *v, struct nb_error *err);
    void (*window)(void *state); /* a window of text begins; may be NULL */
    /* Nothing more comes: adds what was put off; NB_ERR_NUMERIC if a value was not finite. */
    enum nb_status (*settle)(void *state, struct nb_pool *pool, const char *weight,
                             struct nb_error *err);
    enum nb_status (*merge)(void *state, const void *from, struct nb_error *err);
    /* What is stored of a settled state, and the numbers [first, first + n) of it. */
    struct nb_stored (*stored)(const void *state);
    void (*save)(const void *state, size_t first, size_t n, double *dst);
    /* The way back: NB_ERR_FORMAT if numbers laid out so cannot be a state for so many columns; then, after init,
     * the numbers [first, first + n), in order, NB_ERR_FORMAT for one that cannot be; then how many tokens
     * it was. */
    enum nb_status (*check)(const struct nb_stored *is, size_t cols, struct nb_error *err);
    enum nb_status (*load)(void *state, const struct nb_stored *is, size_t first, size_t n,
                           const double *src, struct nb_error *err);
    void (*tokens)(void *state, double tokens); /* may be NULL */
};

#define NB_OBSERVER(id) extern const struct nb_observer nb_observer_##id;
#include "calib/registry.inc"
#undef NB_OBSERVER
extern const struct nb_observer
    *const nb_observers[]; /* (NB_STAT_COUNT), in the order of enum nb_stat */

/* For check. */
NB_CHECKED enum nb_status nb_observer_shape(const struct nb_stored *is, size_t rows, size_t cols,
                                            struct nb_error *err);

#endif
