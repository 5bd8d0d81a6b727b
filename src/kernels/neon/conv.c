/* kernels/neon/conv.c: convolutions of single channels on NEON. */
#include "kernels/neon/v16.h"

#define NB_FN(op) nb_##op##_neon
#include "kernels/conv.tmpl.h"
