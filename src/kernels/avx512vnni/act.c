/* kernels/avx512vnni/act.c: the activation functions on AVX-512. */
#include "kernels/avx512vnni/v16.h"

#define NB_FN(op) nb_##op##_avx512vnni
#include "kernels/act.tmpl.h"
