/* math/trig.c: sine and cosine in double from + - * alone.
 *
 * Argument reduction by Cody and Waite: pi/2 in four parts, three of 23 bits so that n * part is
 * exact for n < 2^30, summed with their errors; then Taylor series on |r| <= pi/4. Errors below 1 ulp
 * for |x| <= 2^30; beyond that, and for infinities, NaN.
 */
#include "math/math.h"

#include "math/dd.h"

#include <math.h>

#define RANGE       0x1p30
#define ROUND_MAGIC 0x1.8p52
#define TWO_OVER_PI 0x1.45f306dc9c883p-1

/* x = quadrant * pi/2 + r */
static struct dd reduce(double x, unsigned *quadrant)
{
    static const double part[] = {0x1.921fb4p+0, 0x1.4442dp-24, 0x1.846988p-48,
                                  0x1.8cc51701b839ap-72};
    const double n = (x * TWO_OVER_PI + ROUND_MAGIC) - ROUND_MAGIC;
    struct dd r = {x - n * part[0], 0.0}; /* exact */
    for (int i = 1; i < 4; i++) {
        const struct dd t = dd_two_sum(r.hi, -n * part[i]);
        r = dd_quick_sum(t.hi, t.lo + r.lo);
    }
    *quadrant = (unsigned)(int64_t)n & 3U;
    return r;
}

static double sin_series(struct dd r)
{
    /* (-1)^k / (2k + 1)!, k = 1..8 */
    static const double c[] = {-1.0 / 6,
                               1.0 / 120,
                               -1.0 / 5040,
                               1.0 / 362880,
                               -1.0 / 39916800,
                               1.0 / 6227020800.0,
                               -1.0 / 1307674368000.0,
                               1.0 / 355687428096000.0};
    const double z = r.hi * r.hi;
    double q = c[7];
    for (int i = 6; i >= 0; i--)
        q = q * z + c[i];
    return r.hi + (r.hi * z * q + (r.lo - 0.5 * z * r.lo));
}

static double cos_series(struct dd r)
{
    /* (-1)^k / (2k)!, k = 2..9 */
    static const double c[] = {1.0 / 24,
                               -1.0 / 720,
                               1.0 / 40320,
                               -1.0 / 3628800,
                               1.0 / 479001600.0,
                               -1.0 / 87178291200.0,
                               1.0 / 20922789888000.0,
                               -1.0 / 6402373705728000.0};
    const double z = r.hi * r.hi;
    double q = c[7];
    for (int i = 6; i >= 0; i--)
        q = q * z + c[i];
    const double hz = 0.5 * z, w = 1.0 - hz;
    return w + (((1.0 - w) - hz) + (z * z * q - r.hi * r.lo));
}

static double sin_quadrant(struct dd r, unsigned quadrant)
{
    const double v = quadrant & 1U ? cos_series(r) : sin_series(r);
    return quadrant & 2U ? -v : v;
}

double nb_sin(double x)
{
    unsigned quadrant;
    if (!(x >= -RANGE && x <= RANGE))
        return (double)NAN;
    if (x == 0.0)
        return x; /* keeps -0 */
    const struct dd r = reduce(x, &quadrant);
    return sin_quadrant(r, quadrant);
}

double nb_cos(double x)
{
    unsigned quadrant;
    if (!(x >= -RANGE && x <= RANGE))
        return (double)NAN;
    const struct dd r = reduce(x, &quadrant);
    return sin_quadrant(r, quadrant + 1U);
}
