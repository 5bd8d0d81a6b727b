/* math/math.h: double arithmetic whose bits are the same everywhere.
 *
 * exp, log, sin, cos are our own (argument reduction and polynomials in plain double operations, no
 * libm), error below 2 ulp over the ranges stated; no fma is used.
 */
#ifndef NB_MATH_MATH_H
#define NB_MATH_MATH_H

#include <stddef.h>
#include <stdint.h>

double nb_exp(double x);           /* all x; overflow to infinity, underflow to 0        */
double nb_log(double x);           /* x > 0; -inf at 0, NaN below                        */
double nb_pow(double x, double y); /* x > 0: exp(y * log x) in double-double, 2 ulp; x = 0 too */
double nb_sin(double x);           /* |x| <= 2^30, NaN beyond                           */
double nb_cos(double x);

/* Sum in the canonical order: 16 lanes, then the tree 8-4-2-1. */
double nb_sum_f64(const double *x, size_t n);

#endif
