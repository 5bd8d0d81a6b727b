/* quant/transformed.h: a model as transforms leave it, to be used like one that was opened.
 *
 * What has changed lies in f32 in a temporary file without a name, mapped; all else is the model's own. So
 * the plan, the driver, calibration and sessions take it as it is, and memory stays what it was.
 */
#ifndef NB_QUANT_TRANSFORMED_H
#define NB_QUANT_TRANSFORMED_H

#include "quant/quant.h"
#include "quant/transform.h"

/* Borrows: all. */
struct nb_transformed_job {
    struct nb_model *model; /* settled for a session where inputs are looked at (nb_model_settle) */
    const char *names;      /* of transforms, in this order, with commas between                 */
    const struct nb_windows
        *windows; /* of text, for those that look at inputs; NULL: none                */
    const struct nb_quant_plan *
        plan; /* of the model as it is: if its method wants a transform of its own, that comes last, its
                  loss measured with that method's plain rounding to the planned formats; NULL: none */
    struct nb_transform_job
        options;        /* alpha, ratios, seed ...; stat and loss are set here               */
    const char *folder; /* of the temporary file, best the output's; NULL: $TMPDIR or /tmp   */
    struct nb_pool *pool;
    const struct nb_log *log;
    const struct nb_progress *progress;
    const struct nb_allocator *a;
};

struct
    nb_transformed; /* Owns: the temporary files, tables. Borrows: the model, which must outlive it. */

/* Are these names of transforms? NB_ERR_ARG names the first that is not. */
NB_CHECKED enum nb_status nb_transforms_check(const char *names, struct nb_error *err);
/* NB_ERR_UNSUPPORTED: the model cannot carry one of them, and why; NB_ERR_ARG: no such transform, or one
 * that looks at inputs without text. */
NB_CHECKED enum nb_status nb_transformed_open(struct nb_transformed **out,
                                              const struct nb_transformed_job *job,
                                              struct nb_error *err);
void nb_transformed_close(struct nb_transformed *t);
/* Lives as long as t; not to be closed. */
struct nb_model *nb_transformed_model(struct nb_transformed *t);

/* ---- statistics of a model's sites: what transforms ask for ---- */
struct nb_site_stats;
/* Runs the float model over the windows that are not held out, at most max_tokens (0: all), and looks at
 * the sites' inputs. The same bits for any pool. */
NB_CHECKED enum nb_status nb_site_stats_collect(struct nb_site_stats **out, const struct nb_view *v,
                                                const struct nb_transformed_job *job,
                                                uint64_t max_tokens, struct nb_error *err);
void nb_site_stats_destroy(struct nb_site_stats *s);
nb_site_stat_fn nb_site_stats_get; /* ctx: a nb_site_stats */

/* ---- the loss of a site, measured (transform_measure.c) ---- */
struct
    nb_site_loss; /* Borrows: the view, the job, which has windows and a plan with an algorithm. */
NB_CHECKED enum nb_status nb_site_loss_create(struct nb_site_loss **out, const struct nb_view *v,
                                              const struct nb_transformed_job *job,
                                              struct nb_error *err);
void nb_site_loss_destroy(struct nb_site_loss *k);
/* ctx: a nb_site_loss. Sites in the order of their blocks. The same bits for any pool. */
nb_site_loss_fn nb_site_loss_measure;
/* Memory it takes on a model with these sites (n), beside a session of one block. */
uint64_t nb_site_loss_bytes(const struct nb_quant_plan *p, const struct nb_site *sites, size_t n);

#endif
