/* kernels/avx2/conv.c: convolutions of floats on AVX2: six rows of sixteen outputs are twelve registers. */
#include "kernels/avx2/v8.h"

#define NB_FN(op)      nb_##op##_avx2
#define CONV_ROWS      6
#define CONV_PAIR_ROWS 2
#define CONV_HALF
#include "kernels/conv.tmpl.h"
