/* kernels/avx2/wsum.c: sums of weighted rows on AVX2. */
#include "kernels/avx2/v16.h"

#define NB_FN(op) nb_##op##_avx2
#include "kernels/wsum.tmpl.h"
