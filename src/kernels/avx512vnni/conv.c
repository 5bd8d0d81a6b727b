/* kernels/avx512vnni/conv.c: convolutions of floats on AVX-512: eight rows of two panels are sixteen registers. */
#include "kernels/avx512vnni/v16.h"

#define NB_FN(op)      nb_##op##_avx512vnni
#define CONV_ROWS      8
#define CONV_PAIR_ROWS 8
#include "kernels/conv.tmpl.h"
