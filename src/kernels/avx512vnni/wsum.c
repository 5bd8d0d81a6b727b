/* kernels/avx512vnni/wsum.c: sums of weighted rows on AVX-512. */
#include "kernels/avx512vnni/v16.h"

#define NB_FN(op) nb_##op##_avx512vnni
#include "kernels/wsum.tmpl.h"
