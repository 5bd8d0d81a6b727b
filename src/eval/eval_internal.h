/* eval/eval_internal.h: what the files of this room share. */
#ifndef NB_EVAL_EVAL_INTERNAL_H
#define NB_EVAL_EVAL_INTERNAL_H

#include "eval/eval.h"

/* -log p(next), nats, of logits z (n), in the fixed order of sums; NaN if a logit is not finite. */
double nb_row_nll(const float *z, uint32_t n, uint32_t next);

#endif
