/* kernels/act.h: the numbers of tanh and of the two GELUs that every ISA computes alike.
 *
 * tanh x, relative error below 1.6e-7 (tests/unit/kernels/test_act.c measures all of these):
 *   a = |x|;  a < SPLIT: z = a a,  a + (a z) T(z), T a minimax polynomial of degree 4
 *             else:      e = exp(-2a),  (1 - e) / (1 + e)
 *   and the sign of x.
 *
 * GELU by tanh (Hendrycks and Gimpel 2016): 0.5 x (1 + tanh u) = x / (1 + exp(-2u)), which loses no
 * digits where tanh is close to -1:
 *   z = x x;  p = fma(z, CUBE, LINEAR);  y = x / (1 + exp(x p))
 * Relative error below 2e-6 down to results of 1e-7 x; further out the error is below 1e-12 x.
 *
 * GELU: x Phi(x), Phi the normal distribution. With t = min(|x|, END) its tail 1 - Phi(t) is
 *   h = t t;  l = fma(t, t, -h);  e = exp(-0.5 h);  e = fma(e, -0.5 l, e)      exp(-t t / 2)
 *   i = 1 / (t + SHIFT);  s = (t - SHIFT) i;  q = (e i) G(s)
 * where G is the minimax polynomial of degree 9 of exp(t t / 2) (1 - Phi(t)) (t + SHIFT): relative error
 * 6.3e-8 once its coefficients are floats. y = x (x < 0 ? q : 1 - q). Relative error below 5e-7 down to
 * x = -13.2; there exp becomes 0 and so does y.
 *
 * erf x, relative error below 3e-7 (with tail(t) = 1 - Phi(t) as above):
 *   |x| <= ERF_SPLIT: z = x x, x P(z), P the Taylor series of erf x / x, whose next term is below 2e-8
 *   else:             1 - 2 tail(min(sqrt(2) |x|, END)) and the sign of x
 *
 * Derivatives (act_grad_f32, error below 2e-6), with s = 1 / (1 + exp(..)) of the function itself:
 *   SiLU          s fma(x, 1 - s, 1)
 *   GELU by tanh  fma(s (1 - s), x fma(z, -3 CUBE, -LINEAR), s), x no further out than END
 *   GELU          fma(x, PHI0 exp(-t t / 2), Phi(x)), likewise
 *   ReLU          0 < x ? 1 : 0, its square 2 max(0, x)
 */
#ifndef NB_KERNELS_ACT_H
#define NB_KERNELS_ACT_H

#define NB_TANH_SPLIT 0.625F
#define NB_TANH_T0    -0x1.555532p-2F
#define NB_TANH_T1    0x1.110726p-3F
#define NB_TANH_T2    -0x1.b83c58p-5F
#define NB_TANH_T3    0x1.52268cp-6F
#define NB_TANH_T4    -0x1.75e186p-8F

#define NB_GELU_LINEAR -0x1.988454p0F  /* -2 sqrt(2 / pi)   */
#define NB_GELU_CUBE   -0x1.2444f2p-4F /* LINEAR * 0.044715 */

#define NB_ERF_SPLIT 0.75F
#define NB_ERF_SQRT2 0x1.6a09e6p0F
#define NB_ERF_P0    0x1.20dd76p0F /* 2 / sqrt(pi); from here on times (-1)^k / (k! (2k + 1)) */
#define NB_ERF_P1    -0x1.812746p-2F
#define NB_ERF_P2    0x1.ce2f22p-4F
#define NB_ERF_P3    -0x1.b82ce4p-6F
#define NB_ERF_P4    0x1.565bcep-8F
#define NB_ERF_P5    -0x1.c02db4p-11F
#define NB_ERF_P6    0x1.f9a326p-14F
#define NB_ERF_P7    -0x1.f4d25cp-17F
#define NB_ERF_P8    0x1.b9e6cap-20F

#define NB_GELU_PHI0  0x1.988454p-2F /* 1 / sqrt(2 pi)     */
#define NB_GELU_END   14.0F
#define NB_GELU_SHIFT 3.5F
#define NB_GELU_G0    0x1.7d241ap-1F
#define NB_GELU_G1    -0x1.219150p-1F
#define NB_GELU_G2    0x1.42fec6p-2F
#define NB_GELU_G3    -0x1.db5a48p-4F
#define NB_GELU_G4    0x1.1d31dep-6F
#define NB_GELU_G5    0x1.a97c8cp-8F
#define NB_GELU_G6    -0x1.a08528p-9F
#define NB_GELU_G7    -0x1.03573cp-11F
#define NB_GELU_G8    0x1.be55ecp-12F
#define NB_GELU_G9    0x1.d8d90ap-14F

#endif
