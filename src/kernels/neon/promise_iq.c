/* kernels/neon/promise_iq.c: promise_iq_f32 from the common template. */
#define NB_LANES_NEON
#define NB_LANES_NAME(op) nb_##op##_neon
#include "kernels/promise_iq.tmpl.h"
