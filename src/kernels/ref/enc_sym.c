/* kernels/ref/enc_sym.c: enc_q8_0_f32, enc_q4_0_f32 and enc_q5_0_f32 from the common template. */
#define NB_LANES_REF
#define NB_LANES_NAME(op) nb_##op##_ref
#include "kernels/kernels.h"

#include "kernels/enc_sym.tmpl.h"
