/* base/rng.c: random numbers that are the same bits everywhere.
 *
 * u64: SplitMix64 (Steele, Lea, Flood 2014), its state computed from the counter; the seed passes the
 * finaliser first, so that neighbouring seeds give unrelated streams.
 * normal: the inverse of the normal distribution function, algorithm AS 241 (Wichura 1988), relative
 * error about 1e-15. It takes +, -, *, /, sqrt and a logarithm; libm's log differs between systems, so
 * the logarithm is our own: ln(m * 2^e) = e ln 2 + 2 artanh((m - 1) / (m + 1)), a short odd series.
 */
#include "base/rng.h"

#include <math.h>
#include <string.h>

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t nb_rng_u64(struct nb_rng *rng)
{
    const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
    return mix(mix(rng->seed + golden) + golden * ++rng->counter);
}

double nb_rng_unit(struct nb_rng *rng)
{
    return (double)(nb_rng_u64(rng) >> 11) * 0x1p-53;
}

/* Natural logarithm of a positive normal number. m in [sqrt(1/2), sqrt(2)), so |s| < 0.1716 and the
 * first term left out is below s^23 / 23 < 2e-19. */
static double ln(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    int e = (int)(u >> 52) - 1023;
    u = (u & UINT64_C(0xfffffffffffff)) | UINT64_C(1023) << 52;
    double m;
    memcpy(&m, &u, sizeof m);
    if (m >= 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    const double s = (m - 1.0) / (m + 1.0), s2 = s * s;
    double sum = 0.0;
    for (int k = 21; k >= 1; k -= 2)
        sum = sum * s2 + 1.0 / k;
    return (double)e * 0.6931471805599453094 + 2.0 * s * sum;
}

/* c[0] + c[1] x + ... + c[7] x^7 */
static double poly7(const double c[8], double x)
{
    double y = c[7];
    for (int i = 6; i >= 0; i--)
        y = y * x + c[i];
    return y;
}

/* AS 241, routine PPND16: |p - 1/2| <= 0.425; then two ranges of r = sqrt(-ln(tail)). */
static double normal_quantile(double p)
{
    static const double a[8] = {3.3871328727963666080e0,  1.3314166789178437745e+2,
                                1.9715909503065514427e+3, 1.3731693765509461125e+4,
                                4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                3.3430575583588128105e+4, 2.5090809287301226727e+3};
    static const double b[8] = {1.0,
                                4.2313330701600911252e+1,
                                6.8718700749205790830e+2,
                                5.3941960214247511077e+3,
                                2.1213794301586595867e+4,
                                3.9307895800092710610e+4,
                                2.8729085735721942674e+4,
                                5.2264952788528545610e+3};
    static const double c[8] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                                5.76949722146069140550e0,  3.64784832476320460504e0,
                                1.27045825245236838258e0,  2.41780725177450611770e-1,
                                2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double d[8] = {1.0,
                                2.05319162663775882187e0,
                                1.67638483018380384940e0,
                                6.89767334985100004550e-1,
                                1.48103976427480074590e-1,
                                1.51986665636164571966e-2,
                                5.47593808499534494600e-4,
                                1.05075007164441684324e-9};
    static const double e[8] = {6.65790464350110377720e0,  5.46378491116411436990e0,
                                1.78482653991729133580e0,  2.96560571828504891230e-1,
                                2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                2.71155556874348757815e-5, 2.01033439929228813265e-7};
    static const double f[8] = {1.0,
                                5.99832206555887937690e-1,
                                1.36929880922735805310e-1,
                                1.48753612908506148525e-2,
                                7.86869131145613259100e-4,
                                1.84631831751005468180e-5,
                                1.42151175831644588870e-7,
                                2.04426310338993978564e-15};
    const double q = p - 0.5;
    if (q >= -0.425 && q <= 0.425) {
        const double r = 0.180625 - q * q;
        return q * poly7(a, r) / poly7(b, r);
    }
    double r = sqrt(-ln(q < 0.0 ? p : 1.0 - p));
    if (r <= 5.0) {
        r -= 1.6;
        r = poly7(c, r) / poly7(d, r);
    } else {
        r -= 5.0;
        r = poly7(e, r) / poly7(f, r);
    }
    return q < 0.0 ? -r : r;
}

double nb_rng_normal(struct nb_rng *rng)
{
    /* The middle of one of 2^52 equal cells: exact, never 0 or 1. */
    return normal_quantile(((double)(nb_rng_u64(rng) >> 12) + 0.5) * 0x1p-52);
}
