/* kernels/neon/conv.c: convolutions of floats on NEON: six rows of sixteen outputs are 24 registers. */
#include "kernels/neon/v8.h"

#define NB_FN(op)      nb_##op##_neon
#define CONV_ROWS      6
#define CONV_PAIR_ROWS 2
#define CONV_HALF
#include "kernels/conv.tmpl.h"
