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

/* R = Q (signs, then a Hadamard matrix); or, where R shall map the vector of ones to itself,
 * R = F Q D (F Q)^T with signs F and D. Owns: all. */
struct nb_rotation {
    struct nb_hadamard q;
    int8_t *signs, *flip; /* (q.n) D, F; NULL: R = Q */
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

/* ---- what transforms that scale have in common: transform_apply.c ---- */
/* fn sees rows [row, row + n) of a weight through the view, in order. NB_ERR_NOMEM, or fn's. */
typedef void nb_view_rows_fn(void *ctx, size_t row, size_t n, const float *x);
NB_CHECKED enum nb_status nb_view_each(struct nb_view *v, size_t weight, nb_view_rows_fn *fn,
                                       void *ctx, struct nb_pool *pool, struct nb_error *err);
/* Is a reader of a site rounded? Routers are not. */
bool nb_view_is_rounded(const struct nb_view *v, size_t weight);
/* Largest magnitudes, (n_mat, n_scales): of the columns of a site's readers that are rounded; of the rows
 * that make its values. 0 where all are. */
NB_CHECKED enum nb_status nb_site_column_amax(struct nb_view *v, const struct nb_site *s,
                                              double *amax, struct nb_pool *pool,
                                              struct nb_error *err);
NB_CHECKED enum nb_status nb_site_row_amax(struct nb_view *v, const struct nb_site *s, double *amax,
                                           struct nb_pool *pool, struct nb_error *err);
/* A statistic of the inputs (n_mat, n) for each scale (n_mat, n_scales): inputs that share one count by
 * their largest, their mean or their root mean square. False: not known. */
bool nb_site_stat(const struct nb_transform_job *job, const struct nb_site *s,
                  enum nb_site_stat which, double *out);

/* One scaling transform. choose: the scales of a site, (n_mat, n_scales), and the parameter that made
 * them; NB_CHOSEN when they are to be applied. */
enum nb_choice { NB_CHOSEN, NB_IDLE, NB_UNKNOWN };
struct nb_scaling {
    const char *name;
    unsigned kinds; /* where the job names none */
    bool rows_only; /* sites whose values rows make, not norms */
    enum nb_status (*choose)(struct nb_view *v, const struct nb_transform_job *job,
                             const struct nb_site *site, double *s, double *parameter,
                             enum nb_choice *choice, struct nb_error *err);
};
NB_CHECKED enum nb_status nb_scaling_apply(const struct nb_scaling *how, struct nb_view *v,
                                           const struct nb_transform_job *job,
                                           struct nb_transform_report *report,
                                           struct nb_error *err);

#endif
