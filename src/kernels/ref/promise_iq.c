/* kernels/ref/promise_iq.c: promise_iq_f32 from the common template. */
#define NB_LANES_REF
#define NB_LANES_NAME(op) nb_##op##_ref
#include "kernels/promise_iq.tmpl.h"
