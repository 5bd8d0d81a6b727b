/* math/exp_log.c: exp, log and pow in double from + - * / alone, so the bits are the same everywhere.
 *
 * exp: x = n ln 2 + r, |r| <= 0.347, Taylor series to r^13. log: x = 2^k m, s = (m - 1) / (m + 1),
 * log m = 2 atanh s. pow: the same series in double-double. Errors below 1 ulp (exp, log), 2 (pow).
 * Not here: the exact rounding of subnormal results (one more rounding), errno, exceptions.
 */
#include "math/math.h"

#include "math/dd.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define LN2_HI      0x1.62e42feep-1 /* 32 bits: n * LN2_HI is exact */
#define LN2_LO      0x1.a39ef35793c76p-33
#define LOG2E       0x1.71547652b82fep+0
#define ROUND_MAGIC 0x1.8p52 /* adding it rounds to an integer, to nearest even */

static double from_bits(uint64_t u)
{
    double d;
    memcpy(&d, &u, sizeof d);
    return d;
}

static uint64_t to_bits(double d)
{
    uint64_t u;
    memcpy(&u, &d, sizeof u);
    return u;
}

/* 2^n, n in -1022..1023 */
static double pow2(int n)
{
    return from_bits((uint64_t)(n + 1023) << 52);
}

double nb_exp(double x)
{
    /* 1/k!, k = 2..13 */
    static const double c[] = {1.0 / 2,       1.0 / 6,        1.0 / 24,        1.0 / 120,
                               1.0 / 720,     1.0 / 5040,     1.0 / 40320,     1.0 / 362880,
                               1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
    if (x != x)
        return x;
    if (x > 709.8)
        return (double)INFINITY;
    if (x < -745.2)
        return 0.0;
    const double nd = (x * LOG2E + ROUND_MAGIC) - ROUND_MAGIC;
    const int n = (int)nd;
    const double hi = x - nd * LN2_HI; /* exact */
    const double lo = nd * LN2_LO;
    const double r = hi - lo;
    const double r_lo = (hi - r) - lo;
    double q = c[11];
    for (int i = 10; i >= 0; i--)
        q = q * r + c[i];
    /* exp(r + r_lo) = 1 + (r + (r^2 q + r_lo (1 + r))) */
    const double y = 1.0 + (r + (r * r * q + (r_lo + r_lo * r)));
    const int half = n / 2; /* two steps, for results near the ends of the range */
    return y * pow2(half) * pow2(n - half);
}

/* x = 2^k * m with m in [sqrt(1/2), sqrt 2); x positive and finite. */
static double split(double x, int *k)
{
    int e = 0;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        e = -54;
    }
    const uint64_t u = to_bits(x);
    e += (int)(u >> 52) - 1023;
    double m = from_bits((u & 0xfffffffffffffULL) | 0x3ff0000000000000ULL);
    if (m > 0x1.6a09e667f3bcdp0) {
        m *= 0.5;
        e++;
    }
    *k = e;
    return m;
}

/* The values of log where there is no series. */
static bool log_special(double x, double *y)
{
    if (x > 0.0 && x < (double)INFINITY)
        return false;
    *y = x != x || x > 0.0 ? x : x == 0.0 ? -(double)INFINITY : (double)NAN;
    return true;
}

double nb_log(double x)
{
    double y;
    if (log_special(x, &y))
        return y;
    int k;
    const double f = split(x, &k) - 1.0;
    const double s = f / (2.0 + f);
    const double z = s * s;
    double r = 0.0; /* 2 z / 3 + 2 z^2 / 5 + ... */
    for (int i = 11; i >= 1; i--)
        r = z * (r + 2.0 / (2 * i + 1));
    /* 2 atanh s = f - (f^2 / 2 - s (f^2 / 2 + r)): f is exact, the rest is small */
    const double hf = 0.5 * f * f;
    const double kd = (double)k;
    return kd * LN2_HI - ((hf - (s * (hf + r) + kd * LN2_LO)) - f);
}

/* log x to about 100 bits. */
static struct dd log_dd(double x)
{
    int k;
    const double m = split(x, &k);
    const struct dd one_m = dd_two_sum(1.0, m);
    const struct dd s = dd_div((struct dd){m - 1.0, 0.0}, one_m);
    const struct dd z = dd_mul(s, s);
    struct dd p = {0.0, 0.0};
    for (int i = 20; i >= 0; i--) {
        const struct dd c = dd_div((struct dd){2.0, 0.0}, (struct dd){2.0 * i + 1.0, 0.0});
        p = dd_add(dd_mul(p, z), c);
    }
    const struct dd l = dd_mul(s, p);
    const struct dd kh = {(double)k * LN2_HI, 0.0};
    return dd_add(dd_add(kh, dd_two_prod((double)k, LN2_LO)), l);
}

double nb_pow(double x, double y)
{
    if (y == 0.0 || x == 1.0)
        return 1.0;
    if (x != x || y != y || x < 0.0)
        return (double)NAN;
    const double rough = y * nb_log(x); /* infinite for x = 0 or infinity, or y infinite */
    if (rough > 720.0)
        return (double)INFINITY;
    if (rough < -760.0)
        return 0.0;
    if (y > 0x1p900 || y < -0x1p900) /* x is 1 in all but name: |log x| >= 2^-53 */
        return nb_exp(rough);
    const struct dd l = log_dd(x);
    const struct dd p = dd_mul(l, (struct dd){y, 0.0});
    const double e = nb_exp(p.hi);
    return e < (double)INFINITY ? e + e * p.lo : e;
}
