/* kernels/ref/trial.c: trial_error_f32, trial_sums_f32 and their nl kin from the common template. */
#define NB_LANES_REF
#define NB_LANES_NAME(op) nb_##op##_ref
#include "kernels/trial.tmpl.h"
