/* kernels/neon/fit_iq4_xs.c: fit_iq4_xs_f32 from the common template. */
#define NB_LANES_NEON
#define NB_LANES_NAME(op) nb_##op##_neon
#include "kernels/kernels.h"

#include "kernels/fit_iq4_xs.tmpl.h"
