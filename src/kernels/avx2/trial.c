/* kernels/avx2/trial.c: trial_error_f32, trial_sums_f32 and their nl kin from the common template. */
#define NB_LANES_AVX2
#define NB_LANES_NAME(op) nb_##op##_avx2
#include "kernels/trial.tmpl.h"
