/* kernels/dotprod/gemv.c: block matrix times vector with the dot product of ARMv8.2. */
#include <arm_neon.h>

#define NB_FN(op) nb_##op##_dotprod

static inline int32x4_t dot16(int32x4_t acc, int8x16_t w, int8x16_t x)
{
    return vdotq_s32(acc, w, x);
}

#include "kernels/neon_gemv.tmpl.h"

#include "kernels/neon_gemv_nl.tmpl.h"
