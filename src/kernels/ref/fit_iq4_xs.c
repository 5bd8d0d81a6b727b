/* kernels/ref/fit_iq4_xs.c: fit_iq4_xs_f32 from the common template. */
#define NB_LANES_REF
#define NB_LANES_NAME(op) nb_##op##_ref
#include "kernels/kernels.h"

#include "kernels/fit_iq4_xs.tmpl.h"
