/* kernels/neon/gemm_f32.c: 2 x 2 outputs take 16 of the 32 registers, their operands 12. */
#include "kernels/neon/v16.h"

#define NB_FN(op) nb_##op##_neon
#define ROWS      2
#define COLS      2
#include "kernels/gemm_f32.tmpl.h"
