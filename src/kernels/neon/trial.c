/* kernels/neon/trial.c: trial_error_f32, trial_error_nl_f32 and trial_sums_f32 from the common template. */
#define NB_LANES_NEON
#define NB_LANES_NAME(op) nb_##op##_neon
#include "kernels/trial.tmpl.h"
