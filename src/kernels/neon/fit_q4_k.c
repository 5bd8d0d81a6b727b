/* kernels/neon/fit_q4_k.c: fit_q4_k_f32 from the common template. */
#define NB_LANES_NEON
#define NB_LANES_NAME(op) nb_##op##_neon
#include "kernels/kernels.h"

#include "kernels/fit_q4_k.tmpl.h"
