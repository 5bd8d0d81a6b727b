/* kernels/avx2/round_iq.c: round_iq_f32 from the common template. */
#define NB_LANES_AVX2
#define NB_LANES_NAME(op) nb_##op##_avx2
#include "kernels/round_iq.tmpl.h"
