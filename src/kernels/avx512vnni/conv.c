/* kernels/avx512vnni/conv.c: convolutions of single channels on AVX-512. */
#include "kernels/avx512vnni/v16.h"

#define NB_FN(op) nb_##op##_avx512vnni
#include "kernels/conv.tmpl.h"
