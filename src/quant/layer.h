/* quant/layer.h: one weight rounded by an algorithm: statistics in, journal entry out. */
#ifndef NB_QUANT_LAYER_H
#define NB_QUANT_LAYER_H

#include "calib/stats.h"
#include "quant/algo.h"
#include "quant/choose.h"
#include "quant/journal.h"
#include "quant/quant.h"

/* What is known of a weight that was rounded: stored with it in the journal. */
struct nb_layer_report {
    struct nb_algo_facts facts; /* of the first matrix, means over all where there are experts */
    struct nb_algo_sums sums;
    uint64_t n_thin; /* matrices whose input has fewer tokens than columns: experts */
    double seconds, prepare_seconds;
    const char *method;              /* what rounded it; static */
    double candidate[NB_CANDIDATES]; /* method auto: logarithms of their losses; 0 if not tried */
};

/* Prepared statistics of one input, for all the weights that read it. Owns: prepared, thin. */
struct nb_layer_input {
    const struct nb_algo *algo;
    struct nb_algo_params params;
    struct nb_algo_layout layout;
    const struct nb_hessian *h; /* whose it is */
    struct nb_prepared *prepared;
    double seconds; /* that preparing took */
};
void nb_layer_input_fini(struct nb_layer_input *in);

/* What the layer shall approximate instead of W: W - W m + r. Borrowed by a job. */
struct nb_layer_shift {
    float *m; /* (n, n), or NULL                  */
    float *r; /* (rows of the weight, n), or NULL */
};

/* Borrows: all but what is noted. */
struct nb_layer_job {
    const struct nb_quant_plan *plan;
    size_t weight; /* index in the plan and the model */
    const struct nb_algo *algo;
    const struct nb_algo_params *params; /* NULL: the algorithm's own */
    /* Second moments of a matrix' input, and of its held-out twin (may be NULL or without tokens). */
    const struct nb_hessian *const *h, *const *held; /* (n_mat) */
    struct nb_layer_input *input; /* of the last weight: taken over where it fits, else replaced */
    const struct nb_layer_shift *shift; /* NULL: W itself; of a weight of one matrix only */
    const float *w;                     /* rows as floats, (rows, cols); NULL: read slab by slab */
};

/* Rounds the weight. records: the stored bytes as the driver writes them, rows then what they share
 * (plan bytes of the tensor). */
NB_CHECKED enum nb_status nb_layer_round(const struct nb_layer_job *job, uint8_t *records,
                                         struct nb_layer_report *report, struct nb_error *err);

void nb_layer_to_numbers(const struct nb_layer_report *r, double number[NB_JOURNAL_NUMBERS]);
void nb_layer_from_numbers(struct nb_layer_report *r, const double number[NB_JOURNAL_NUMBERS]);

/* Decodes records to floats (rows, cols). */
void nb_layer_decode(const struct nb_plan_tensor *t, const uint8_t *records, float *w,
                     struct nb_pool *pool);

#endif
