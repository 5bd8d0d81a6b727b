/* kernels/avx2/act.c: the activation functions on AVX2. */
#include "kernels/avx2/v16.h"

#define NB_FN(op) nb_##op##_avx2
#include "kernels/act.tmpl.h"
