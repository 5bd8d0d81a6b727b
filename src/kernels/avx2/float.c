/* kernels/avx2/float.c: the float kernels on AVX2. */
#include "kernels/avx2/v16.h"

#define NB_FN(op) nb_##op##_avx2
#include "kernels/float.tmpl.h"
