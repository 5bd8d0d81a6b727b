/* kernels/avx2/enc_min.c: enc_q4_1_f32 and enc_q5_1_f32 from the common template. */
#define NB_LANES_AVX2
#define NB_LANES_NAME(op) nb_##op##_avx2
#include "kernels/kernels.h"

#include "kernels/enc_min.tmpl.h"
