/* kernels/ref/round_iq.c: round_iq_f32 from the common template. */
#define NB_LANES_REF
#define NB_LANES_NAME(op) nb_##op##_ref
#include "kernels/round_iq.tmpl.h"
