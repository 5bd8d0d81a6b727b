/* quant/transform_internal.h: what the files of the view share.
 *
 *   W' = diag(row_post) Rr^T diag(row_pre) W diag(col_pre) Rc diag(col_post)
 *
 * Any sequence of scalings with one rotation on each side has this form: what came before the rotation is
 * its pre, what comes after its post. Rotations repeat along runs of their size.
 */
#ifndef NB_QUANT_TRANSFORM_INTERNAL_H
#define NB_QUANT_TRANSFORM_INTERNAL_H

#include "math/linalg.h"
#include "quant/transform.h"

/* R = Q (signs, then a Hadamard matrix); or, where R shall map the vector of ones to itself, R = Q D Q^T
 * with signs D of its own, +1 where Q^T has something of the ones. Owns: q, signs. */
struct nb_rotation {
    struct nb_hadamard q;
    int8_t *signs;  /* (q.n), NULL: R = Q                                      */
    bool transpose; /* with signs: R = Q^T D Q, where that is the better mixed */
};

/* Scales and a rotation of one side of a matrix. NULL: ones, none. */
struct nb_side {
    double *pre, *post; /* (mats * cols), or (rows) */
    const struct nb_rotation *turn;
    size_t first, count; /* rows that are rotated; of columns all are */
};

/* A weight under the view. Of a vector only vec counts. */
struct nb_viewed {
    struct nb_side col, row;
    double *vec; /* (n) a changed vector, in the arena; NULL: as the model has it */
    float *held; /* (rows, cols) owned; NULL: not held */
};

/* Owns: items, arena. Borrows: model. */
struct nb_view {
    const struct nb_allocator *a;
    const struct nb_model *m;
    struct nb_arena arena;
    struct nb_viewed *items; /* (m->w.n) */
    struct nb_site *sites;
    size_t n_sites;
    struct nb_rotation stream, heads; /* q.n 0: none yet */
};

/* transform_view.c */
/* The values of a vector, to be changed. NULL: no memory. */
double *nb_view_vector(struct nb_view *v, size_t i);
/* Multiplies columns by s (n_s), which repeats; rows [first, first + n) by s (n). */
NB_CHECKED enum nb_status nb_view_scale_columns(struct nb_view *v, size_t i, const double *s,
                                                size_t n_s, struct nb_error *err);
NB_CHECKED enum nb_status nb_view_scale_rows(struct nb_view *v, size_t i, size_t first,
                                             const double *s, size_t n, struct nb_error *err);
/* Rotates columns, rows [first, first + n); their bias is the caller's business. */
void nb_view_turn_columns(struct nb_view *v, size_t i, const struct nb_rotation *r);
void nb_view_turn_rows(struct nb_view *v, size_t i, size_t first, size_t n,
                       const struct nb_rotation *r);

/* transform_turn.c */
NB_CHECKED enum nb_status nb_rotation_init(struct nb_rotation *r, size_t n, uint64_t seed,
                                           bool keep_ones, const struct nb_allocator *a,
                                           struct nb_error *err);
void nb_rotation_fini(struct nb_rotation *r, const struct nb_allocator *a);
/* Runs of r->q.n numbers along x (count), each x := R^T x, which for a row is x R. */
void nb_rotation_apply(const struct nb_rotation *r, double *x, size_t count);

#endif
