/* kernels/neon/round_iq.c: round_iq_f32 from the common template. */
#define NB_LANES_NEON
#define NB_LANES_NAME(op) nb_##op##_neon
#include "kernels/round_iq.tmpl.h"
