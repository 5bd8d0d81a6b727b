/* kernels/ref/trial.c: trial_error_f32, trial_error_nl_f32 and trial_sums_f32 from the common template. */
#define NB_LANES_REF
#define NB_LANES_NAME(op) nb_##op##_ref
#include "kernels/trial.tmpl.h"
