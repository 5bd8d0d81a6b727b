/* kernels/ref/enc_fp4.c: enc_mxfp4_f32 and enc_nvfp4_f32 from the common template. */
#define NB_LANES_REF
#define NB_LANES_NAME(op) nb_##op##_ref
#include "kernels/kernels.h"

#include "kernels/enc_fp4.tmpl.h"
