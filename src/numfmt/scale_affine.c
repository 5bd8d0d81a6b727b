/* numfmt/scale_affine.c: a scale and a zero point together.
 *
 * Least squares in scale and offset for each candidate range, from expanded to clipped; integer zero points are
 * tried on both sides of the offset found.
 */
#include <math.h>

#include "numfmt/scale_internal.h"

static float stored_zero(const struct nb_scale_problem *p, float z)
{
    if (p->zero == NB_ZERO_F16)
        return nb_via_f16(z);
    z = z < p->levels->lo ? p->levels->lo : z > p->levels->hi ? p->levels->hi : z;
    return (float)nb_rne(z);
}

/* The weighted error of a scale and a zero as they are. */
static double affine_error(const struct nb_scale_data *d, struct nb_scale s,
                           struct nb_scale_sums *out)
{
    const struct nb_scale_sums a = nb_scale_sums(d, nb_inverse(s.scale), s.zero);
    if (out != NULL)
        *out = a;
    return d->sxx - (double)s.scale * (2.0 * a.xv - (double)s.scale * a.vv);
}

struct affine_best {
    struct nb_scale s;
    double error;
};

static void consider(const struct nb_scale_data *d, struct affine_best *b, float scale, float zero,
                     struct nb_scale_sums *a)
{
    const struct nb_scale s = {nb_scale_stored(d->p, scale), stored_zero(d->p, zero)};
    const double e = affine_error(d, s, a);
    if (e < b->error) {
        b->error = e;
        b->s = s;
    }
}

/* From a start: least squares in scale and offset, then again with the new levels. a.v are sums of
 * level - zero. */
static void settle_float(const struct nb_scale_data *d, struct affine_best *b, float scale,
                         float zero)
{
    for (int turn = 0; turn < NB_SCALE_TURNS; turn++) {
        struct nb_scale_sums a;
        const float z = stored_zero(d->p, zero);
        const double before = b->error;
        consider(d, b, scale, zero, &a);
        const double det = d->sw * a.vv - a.v * a.v;
        if (!(det > 1e-9 * d->sw * a.vv) || (turn > 1 && !(b->error < before)))
            return;
        const double s = (d->sw * a.xv - d->sx * a.v) / det;
        const double offset = (d->sx - s * a.v) / d->sw; /* x ~ s (level - z) + offset */
        if (!(s > 0.0))
            return;
        scale = (float)s;
        zero = (float)((double)z - offset / s);
    }
}

static void settle_int(const struct nb_scale_data *d, struct affine_best *b, float scale,
                       float zero)
{
    const float low = floorf(stored_zero(d->p, zero) > zero ? stored_zero(d->p, zero) - 1.0F
                                                            : stored_zero(d->p, zero));
    for (int above = 0; above < 2; above++) {
        const float z = low + (float)above; /* stored_zero keeps it among the levels */
        float s = scale;
        for (int turn = 0; turn < 3; turn++) {
            struct nb_scale_sums a;
            const double before = b->error;
            consider(d, b, s, z, &a);
            if (!(a.vv > 0.0) || !(a.xv > 0.0) || (turn > 0 && !(b->error < before)))
                break;
            s = (float)(a.xv / a.vv);
        }
    }
}

static struct nb_scale affine_range(const struct nb_scale_data *d, float min, float max)
{
    const struct nb_levels *lv = d->p->levels;
    if (d->p->zero == NB_ZERO_INT) {
        min = min > 0.0F ? 0.0F : min;
        max = max < 0.0F ? 0.0F : max;
    }
    const float s = nb_scale_stored(d->p, (max - min) / (lv->hi - lv->lo));
    return (struct nb_scale){s, stored_zero(d->p, lv->lo - min * nb_inverse(s))};
}

/* All values alike: one level holds them. */
static struct nb_scale constant(const struct nb_scale_data *d)
{
    const float lo = d->p->levels->lo;
    const float zero = d->p->zero == NB_ZERO_F16 ? lo - 1.0F : lo; /* level - zero is 1 */
    const float level = d->p->zero == NB_ZERO_F16 ? 1.0F
                        : d->max > 0.0F           ? d->p->levels->hi - lo
                                                  : lo - d->p->levels->hi;
    struct nb_scale s = {nb_scale_stored(d->p, d->max / level), zero};
    if (d->p->zero == NB_ZERO_INT && d->max < 0.0F)
        s.zero = d->p->levels->hi;
    return s;
}

static void settle(const struct nb_scale_data *d, struct affine_best *b, float scale, float zero)
{
    if (d->p->zero == NB_ZERO_INT)
        settle_int(d, b, scale, zero);
    else
        settle_float(d, b, scale, zero);
}

/* The smallest value on one level, the largest `used` levels on: outer levels are left unused. This also
 * finds a grid again on which the values lie already. */
static void try_expanded(const struct nb_scale_data *d, struct affine_best *b, float used)
{
    const struct nb_levels *lv = d->p->levels;
    const float scale = (d->max - d->min) / used;
    const float first = lv->lo + floorf(0.5F * (lv->hi - lv->lo - used));
    settle(d, b, scale, first - d->min * nb_inverse(scale));
}

/* Levels over a range r, which lies the more around the mean the more values it clips. */
static void try_clipped(const struct nb_scale_data *d, struct affine_best *b, float r)
{
    const struct nb_levels *lv = d->p->levels;
    const float t = r / (d->max - d->min);
    const float mean = (float)(d->sx / d->sw);
    const float centre = t * 0.5F * (d->min + d->max) + (1.0F - t) * mean;
    const float scale = r / (lv->hi - lv->lo);
    settle(d, b, scale, lv->lo - (centre - 0.5F * r) * nb_inverse(scale));
}

struct nb_scale nb_scale_affine(const struct nb_scale_data *d)
{
    const struct nb_scale_problem *p = d->p;
    const float steps = p->levels->hi - p->levels->lo;
    const float expand = p->how.max_expand > 0.0F ? p->how.max_expand : 1.2F;
    const float step = p->how.method == NB_SCALE_EXACT ? 0.975F : NB_SCALE_STEP;
    if (d->min == d->max)
        return constant(d);
    if (p->how.method != NB_SCALE_MSE && p->how.method != NB_SCALE_EXACT) {
        const float cut = p->how.method == NB_SCALE_PERCENTILE ? nb_scale_percentile_range(d)
                          : p->how.method == NB_SCALE_ENTROPY  ? nb_scale_entropy_range(d)
                                                               : d->max_abs;
        return affine_range(d, d->min > -cut ? d->min : -cut, d->max < cut ? d->max : cut);
    }
    const double mean = d->sx / d->sw;
    const double sigma = sqrt(NB_MAX(d->sxx / d->sw - mean * mean, 0.0));
    const float span = d->max - d->min;
    const double low = NB_MIN(0.55 * (double)span, 2.6 * sigma); /* a uniform source: 3.5 sigma */
    struct affine_best b = {affine_range(d, d->min, d->max), INFINITY};
    b.error = affine_error(d, b.s, NULL);
    for (float used = steps; used * expand >= steps && used > 0.0F; used -= 1.0F)
        try_expanded(d, &b, used);
    float r = span * step;
    for (int turn = 0; turn < NB_SCALE_MAX_STEPS && (double)r >= low; turn++, r *= step)
        try_clipped(d, &b, r);
    return b.s;
}
