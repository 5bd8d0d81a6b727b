/* kernels/neon/fit_q5_k.c: fit_q5_k_f32 from the common template. */
#define NB_LANES_NEON
#define MK_FIT nb_fit_q5_k_f32_neon
#define MK_TOP 31.0F
#include "kernels/kernels.h"

#include "kernels/fit_min_k.tmpl.h"
