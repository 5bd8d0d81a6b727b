/* kernels/neon/enc_min.c: enc_q4_1_f32 and enc_q5_1_f32 from the common template. */
#define NB_LANES_NEON
#define NB_LANES_NAME(op) nb_##op##_neon
#include "kernels/kernels.h"

#include "kernels/enc_min.tmpl.h"
