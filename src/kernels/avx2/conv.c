/* kernels/avx2/conv.c: convolutions of single channels on AVX2. */
#include "kernels/avx2/v16.h"

#define NB_FN(op) nb_##op##_avx2
#include "kernels/conv.tmpl.h"
