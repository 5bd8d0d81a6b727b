/* kernels/ref/enc_iq4_nl.c: enc_iq4_nl_f32 from the common template. */
#define NB_LANES_REF
#define NB_LANES_NAME(op) nb_##op##_ref
#include "kernels/kernels.h"

#include "kernels/enc_iq4_nl.tmpl.h"
