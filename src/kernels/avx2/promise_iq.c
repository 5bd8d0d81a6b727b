/* kernels/avx2/promise_iq.c: promise_iq_f32 from the common template. */
#define NB_LANES_AVX2
#define NB_LANES_NAME(op) nb_##op##_avx2
#include "kernels/promise_iq.tmpl.h"
