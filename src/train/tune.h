/* train/tune.h: tunes what a quantized model can still change at no cost of size, its norms and biases, so that
 * its predictions come close to those of the float model.
 *
 * The loss is KL(float || quantized) over windows of text, its gradient by the way back through the quantized
 * weights as they decode (run/backward.h); steps are Adam's (Kingma and Ba 2015). A part of the windows is held
 * out: what serves them best is kept, the start included, so that tuning never makes those worse. The same
 * bits for any thread count and CPU.
 */
#ifndef NB_TRAIN_TUNE_H
#define NB_TRAIN_TUNE_H

#include "base/base.h"
#include "run/run.h"

struct nb_tune_job {
    const struct nb_weights *teacher,
        *student;           /* one architecture, one vocabulary                */
    const uint32_t *tokens; /* (n_tokens), the text without a begin-of-text token           */
    size_t n_tokens;
    int64_t bos;     /* put in place of each window's first token; -1: the model wants none  */
    uint32_t ctx;    /* tokens of a window                                                   */
    uint32_t chunks; /* windows at most; 0: as many as the text fills. Every tenth is held out */
    uint32_t epochs; /* 0: 2 */
    uint32_t batch;  /* windows of a step; 0: 4 */
    double
        rate; /* of the first step, as a part of a vector's root mean square; 0: 2e-3; falls to 0 */
    struct nb_pool *pool;
    const struct nb_progress *progress; /* may be NULL; unit "tokens" */
};

/* A vector as it was tuned. */
struct nb_tuned {
    const char *name;
    float *value; /* (n) */
    size_t n;
};

/* Owns: everything. */
struct nb_tune {
    const struct nb_allocator *a;
    struct nb_arena arena;
    struct nb_tuned *items; /* in the order of the graph */
    size_t n;
    double kl_before, kl_after; /* mean over the windows held out */
    uint32_t steps, kept_step;  /* taken; the one whose values are kept, 0: the start */
};

/* NB_ERR_ARG: models that do not match, or a text of less than 10 windows; NB_ERR_UNSUPPORTED: an operator
 * without gradient; NB_ERR_NUMERIC: predictions that are no numbers; NB_ERR_CANCELLED. */
NB_CHECKED enum nb_status nb_tune_run(struct nb_tune **out, const struct nb_tune_job *job,
                                      const struct nb_allocator *a, struct nb_error *err);
void nb_tune_destroy(struct nb_tune *t);

#endif
