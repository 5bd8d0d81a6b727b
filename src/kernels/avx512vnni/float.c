/* kernels/avx512vnni/float.c: the float kernels on AVX-512. */
#include "kernels/avx512vnni/v16.h"

#define NB_FN(op) nb_##op##_avx512vnni
#include "kernels/float.tmpl.h"
