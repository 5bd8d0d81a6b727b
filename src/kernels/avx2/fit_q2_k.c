/* kernels/avx2/fit_q2_k.c: fit_q2_k_f32 from the common template. */
#define NB_LANES_AVX2
#define NB_LANES_NAME(op) nb_##op##_avx2
#include "kernels/kernels.h"

#include "kernels/fit_q2_k.tmpl.h"
