/* quant/calibrated.h: rounding with statistics of what flows through the model, block by block. */
#ifndef NB_QUANT_CALIBRATED_H
#define NB_QUANT_CALIBRATED_H

#include "quant/journal.h"
#include "quant/layer.h"
#include "quant/quant.h"

/* Rounds every weight that the plan's method can, in the order of the model, and leaves the bytes in the
 * journal: nb_quant_run takes them from there. Weights that are in the journal already are not rounded
 * again. reports: (plan->n), of those that were or had been rounded. NB_ERR_CANCELLED leaves a journal
 * that the same call goes on from. */
NB_CHECKED enum nb_status nb_calibrated_run(const struct nb_quant_plan *p, struct nb_journal *j,
                                            struct nb_layer_report *reports,
                                            struct nb_calibrated_times *times,
                                            struct nb_error *err);
/* The job that a journal must be of: recipe, text, and the weights that no entry of it stands for. */
NB_CHECKED enum nb_status nb_calibrated_job(const struct nb_quant_plan *p, struct nb_hash *out,
                                            struct nb_error *err);

#endif
