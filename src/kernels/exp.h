/* kernels/exp.h: the numbers of the one exp in f32 that every ISA computes alike.
 *
 *   n = round(x log2 e),  r = x - n ln 2 (in two parts),  exp x = 2^n (1 + r + r^2 q(r))
 *
 * With t = fma(x, log2 e, 1.5 * 2^23) the low bits of t hold n. All steps are one fma each:
 *   n = t - 1.5 * 2^23;  r = fma(n, -LN2_HI, x);  r = fma(n, -LN2_LO, r)
 *   p = C6;  p = fma(p, r, C5) ... fma(p, r, C2);  p = fma(p, r, 1);  p = fma(p, r, 1)
 *   result = bits(p) + (bits(t) << 23)
 * q is the minimax polynomial of degree 4 on |r| <= 0.3466: relative error 3.1e-9, with rounding below
 * 1 ulp. exp(0) is exactly 1. Above HI the result is infinity, below LO (where it would be subnormal)
 * it is 0; NaN stays NaN.
 */
#ifndef NB_KERNELS_EXP_H
#define NB_KERNELS_EXP_H

#define NB_EXP_HI     0x1.62e42ep6f  /* the last x whose exp is finite */
#define NB_EXP_LO     -0x1.5d589cp6f /* the last x whose exp is normal */
#define NB_EXP_LOG2E  0x1.715476p0f
#define NB_EXP_MAGIC  0x1.8p23f
#define NB_EXP_LN2_HI 0x1.62e4p-1f /* 15 bits: n * LN2_HI is exact */
#define NB_EXP_LN2_LO 0x1.7f7d1cp-20f
#define NB_EXP_C2     0x1.fffffcp-2f
#define NB_EXP_C3     0x1.555492p-3f
#define NB_EXP_C4     0x1.5558f2p-5f
#define NB_EXP_C5     0x1.1239e0p-7f
#define NB_EXP_C6     0x1.6a243ap-10f

#endif
