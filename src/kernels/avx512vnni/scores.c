/* kernels/avx512vnni/scores.c: many dot products of short rows on AVX-512. */
#include "kernels/avx2/transpose.h"
#include "kernels/avx512vnni/v16.h"

#define NB_FN(op)                          nb_##op##_avx512vnni
#define SCORES_TRANSPOSE(dst, src, stride) transpose_8x8(dst, 16, src, stride)
#include "kernels/scores.tmpl.h"
