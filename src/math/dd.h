/* math/dd.h: a number as the unevaluated sum of two doubles (Dekker 1971, Knuth 4.2.2), without fma. */
#ifndef NB_MATH_DD_H
#define NB_MATH_DD_H

struct dd {
    double hi, lo;
};

static inline struct dd dd_two_sum(double a, double b)
{
    const double s = a + b;
    const double t = s - a;
    return (struct dd){s, (a - (s - t)) + (b - t)};
}

/* |a| >= |b| or a == 0 */
static inline struct dd dd_quick_sum(double a, double b)
{
    const double s = a + b;
    return (struct dd){s, b - (s - a)};
}

/* Exact below 2^996 in magnitude. */
static inline struct dd dd_two_prod(double a, double b)
{
    const double split = 0x1.0000002p27; /* 2^27 + 1 */
    const double ta = split * a, tb = split * b;
    const double ah = ta - (ta - a), bh = tb - (tb - b);
    const double al = a - ah, bl = b - bh;
    const double p = a * b;
    return (struct dd){p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
}

static inline struct dd dd_add(struct dd a, struct dd b)
{
    const struct dd s = dd_two_sum(a.hi, b.hi);
    return dd_quick_sum(s.hi, s.lo + (a.lo + b.lo));
}

static inline struct dd dd_mul(struct dd a, struct dd b)
{
    const struct dd p = dd_two_prod(a.hi, b.hi);
    return dd_quick_sum(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}

static inline struct dd dd_div(struct dd a, struct dd b)
{
    const double q = a.hi / b.hi;
    const struct dd p = dd_two_prod(q, b.hi);
    const double rest = (((a.hi - p.hi) - p.lo) + a.lo) - q * b.lo;
    return dd_quick_sum(q, rest / b.hi);
}

#endif
