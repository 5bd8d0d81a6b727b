/* kernels/avx2/scores.c: many dot products of short rows on AVX2. */
#include "kernels/avx2/transpose.h"
#include "kernels/avx2/v16.h"

#define NB_FN(op)                          nb_##op##_avx2
#define SCORES_TRANSPOSE(dst, src, stride) transpose_8x8(dst, 16, src, stride)
#define SCORES_PIN(x)                      __asm__("" : "+x"((x).a), "+x"((x).b))
#include "kernels/scores.tmpl.h"
