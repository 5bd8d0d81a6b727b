/* api/api.h: what the files of this room share: the context, options, results.
 *
 * Public functions check arguments, call a room, and copy what it gave into the public structs. No
 * algorithm lives here.
 */
#ifndef NB_API_API_H
#define NB_API_API_H

#include "base/base.h"
#include "dialect/dialect.h"
#include "run/run.h"

#include <nibble/nibble.h>

/* Owns: the pool. */
struct nb_context {
    struct nb_allocator allocator;
    struct nb_log log;
    struct nb_progress progress;
    struct nb_pool *pool;
};

/* Copies a caller's versioned options over defaults: `known` is this library's size, `given` the
 * caller's options->size. Unknown fields must be zero. */
NB_CHECKED enum nb_status nb_options_copy(void *dst, size_t known, const void *src, uint32_t given,
                                          const char *what, struct nb_error *err);

/* "f16" or "f32"; NULL is f16. */
NB_CHECKED enum nb_status nb_kv_type_find(const struct nb_numfmt **out, const char *name,
                                          struct nb_error *err);

/* A session on an opened model, whose weights are brought into the form a session takes. */
NB_CHECKED enum nb_status nb_open_session(struct nb_session **out, struct nb_model *m,
                                          const struct nb_session_options *o,
                                          const struct nb_allocator *a, struct nb_error *err);
/* An opened model with a session on it. Owns: both. */
struct nb_runner {
    struct nb_model *model;
    struct nb_session *session;
};
NB_CHECKED enum nb_status nb_runner_open(struct nb_runner *r, nb_context *ctx, const char *path,
                                         const struct nb_session_options *o, struct nb_error *err);
void nb_runner_close(struct nb_runner *r);

/* The type most bytes of the quantizable weights have, or the mix a recipe names. Static or model's. */
const char *nb_model_type_name(const struct nb_model *m);
int32_t nb_model_runs(const struct nb_model *m); /* enum nb_runs */
/* Bits per weight over all tensors, and over those of decoder blocks. */
void nb_model_bpw(const struct nb_model *m, double *all, double *layers);

/* Scores n opened models side by side; ref may be NULL. results (n). */
NB_CHECKED enum nb_status nb_evaluate_models(nb_context *ctx, struct nb_model *const *models,
                                             size_t n, struct nb_model *ref,
                                             const struct nb_eval_options *o,
                                             struct nb_eval_result *results, struct nb_error *err);

#endif
