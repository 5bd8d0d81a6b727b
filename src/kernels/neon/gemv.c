/* kernels/neon/gemv.c: block matrix times vector on the base NEON of ARMv8. */
#include <arm_neon.h>

#define NB_FN(op) nb_##op##_neon

/* Two products of a byte fit 16 bits: 2 * 128 * 127 = 32512 (x is never -128). */
static inline int32x4_t dot16(int32x4_t acc, int8x16_t w, int8x16_t x)
{
    const int16x8_t p = vmull_s8(vget_low_s8(w), vget_low_s8(x));
    return vpadalq_s16(acc, vmlal_s8(p, vget_high_s8(w), vget_high_s8(x)));
}

#include "kernels/neon_gemv.tmpl.h"

#include "kernels/neon_gemv_nl.tmpl.h"
