/* kernels/ref/fit_q2_k.c: fit_q2_k_f32 from the common template. */
#define NB_LANES_REF
#define NB_LANES_NAME(op) nb_##op##_ref
#include "kernels/kernels.h"

#include "kernels/fit_q2_k.tmpl.h"
