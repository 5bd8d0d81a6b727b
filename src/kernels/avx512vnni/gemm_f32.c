/* kernels/avx512vnni/gemm_f32.c: 4 x 5 outputs take 20 of the 32 registers. */
#include "kernels/avx512vnni/v16.h"

#define NB_FN(op) nb_##op##_avx512vnni
#define ROWS      4
#define COLS      5
#include "kernels/gemm_f32.tmpl.h"
