/* kernels/ref/fit_q4_k.c: fit_q4_k_f32 from the common template. */
#define NB_LANES_REF
#define NB_LANES_NAME(op) nb_##op##_ref
#include "kernels/kernels.h"

#include "kernels/fit_q4_k.tmpl.h"
