/* kernels/neon/fit_q4_k.c: fit_q4_k_f32 from the common template. */
#define NB_LANES_NEON
#define MK_FIT nb_fit_q4_k_f32_neon
#define MK_TOP 15.0F
#include "kernels/kernels.h"

#include "kernels/fit_min_k.tmpl.h"
