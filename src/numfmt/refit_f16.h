/* numfmt/refit_f16.h: a block's only scale, found again: see refit_f16.c. Internal to the room. */
#ifndef NB_NUMFMT_REFIT_F16_H
#define NB_NUMFMT_REFIT_F16_H

#include "numfmt/numfmt_internal.h"

#define NB_REFIT_F16_MAX 32

struct nb_refit_f16 {
    uint32_t n;
    float lo, hi; /* codes; hi: the end that the largest magnitude is put on */
    nb_trial_sums_f32_fn *sums;
    nb_trial_error_f32_fn *error;
};

/* As f16 gives it back, no worse than the old one. x, importance: (n), importance may be NULL. */
float nb_refit_f16(const struct nb_refit_f16 *r, float old, const float *x,
                   const float *importance);

#endif
