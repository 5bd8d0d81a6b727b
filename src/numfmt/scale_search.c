/* numfmt/scale_search.c: scales of symmetric grids (scale_search.h).
 *
 * mse: the outermost value on each of the outer levels, then candidates clipped in steps of 5 %, of both
 * signs where the levels are not symmetric; the best three are refined by least squares (s = sum w x v /
 * sum w v^2 for the levels v that s gives). A scale whose store is coarse is not refined: every storable
 * candidate is tried. Sums run in 16 lanes and are combined in one order: the same bits everywhere.
 */
#include <math.h>

#include "numfmt/scale_internal.h"

#define LANES 16
#define BEST  3

/* ---- sums ---- */

static float tree(const float *a)
{
    float b[8];
    for (size_t i = 0; i < 8; i++)
        b[i] = a[i] + a[i + 8];
    return ((b[0] + b[4]) + (b[2] + b[6])) + ((b[1] + b[5]) + (b[3] + b[7]));
}

/* v = level(x * inv + shift) - shift for all x, summed up. */
struct nb_scale_sums nb_scale_sums(const struct nb_scale_data *d, float inv, float shift)
{
    struct nb_scale_sums s = {0.0, 0.0, 0.0};
    for (size_t at = 0; at < d->n; at += NB_SCALE_RUN) {
        float t[NB_SCALE_RUN];
        float v[NB_SCALE_RUN];
        float a[LANES] = {0.0F};
        float b[LANES] = {0.0F};
        float c[LANES] = {0.0F};
        for (size_t i = 0; i < NB_SCALE_RUN; i++)
            t[i] = d->x[at + i] * inv + shift;
        d->p->levels->snap(d->p->levels, t, v, NB_SCALE_RUN);
        for (size_t i = 0; i < NB_SCALE_RUN; i += LANES)
            for (size_t l = 0; l < LANES; l++) {
                const float q = v[i + l] - shift;
                const float wq = d->w[at + i + l] * q;
                a[l] += wq;
                b[l] += wq * q;
                c[l] += wq * d->x[at + i + l];
            }
        s.v += (double)tree(a);
        s.vv += (double)tree(b);
        s.xv += (double)tree(c);
    }
    return s;
}

static void gather(struct nb_scale_data *d, const struct nb_scale_problem *p)
{
    const size_t n = (p->n + NB_SCALE_RUN - 1) / NB_SCALE_RUN * NB_SCALE_RUN;
    *d = (struct nb_scale_data){.p = p, .n = n, .min = INFINITY, .max = -INFINITY};
    d->x = p->scratch;
    d->w = p->scratch + n;
    d->events = p->scratch + 2 * n;
    for (size_t i = 0; i < n; i++) {
        const bool real = i < p->n;
        const float x = real ? p->x[i] : 0.0F;
        const float w = !real ? 0.0F : p->w == NULL ? 1.0F : p->w[i];
        d->x[i] = x;
        d->w[i] = w;
        if (!real)
            continue;
        d->min = x < d->min ? x : d->min;
        d->max = x > d->max ? x : d->max;
        d->sw += (double)w;
        d->sx += (double)w * (double)x;
        d->sxx += (double)w * (double)x * (double)x;
    }
    d->max_abs = d->max > -d->min ? d->max : -d->min;
}

float nb_level_at(const struct nb_levels *lv, uint32_t k)
{
    return lv->uniform ? lv->lo + (float)k : lv->value[k];
}

static double rms_of_levels(const struct nb_levels *lv)
{
    double sum = 0.0;
    for (uint32_t k = 0; k < lv->n; k++) {
        const double v = (double)nb_level_at(lv, k);
        sum += v * v;
    }
    return sqrt(sum / lv->n);
}

static float largest_level(const struct nb_levels *lv)
{
    return lv->hi > -lv->lo ? lv->hi : -lv->lo;
}

/* ---- symmetric ---- */

/* What the error falls by against storing zeros, for the scale s as it is: s (2 sum xv - s sum vv). */
static double gain(const struct nb_scale_data *d, float s, struct nb_scale_sums *out)
{
    const struct nb_scale_sums a = nb_scale_sums(d, nb_inverse(s), 0.0F);
    if (out != NULL)
        *out = a;
    return (double)s * (2.0 * a.xv - (double)s * a.vv);
}

struct candidates {
    float scale[BEST];
    double gain[BEST];
};

static void keep(struct candidates *c, float s, double g)
{
    size_t at = BEST;
    while (at > 0 && g > c->gain[at - 1])
        at--;
    if (at == BEST)
        return;
    for (size_t k = BEST - 1; k > at; k--) {
        c->scale[k] = c->scale[k - 1];
        c->gain[k] = c->gain[k - 1];
    }
    c->scale[at] = s;
    c->gain[at] = g;
}

float nb_scale_refine(const struct nb_scale_data *d, float s, double *best)
{
    float top = nb_scale_stored(d->p, s);
    struct nb_scale_sums a;
    *best = gain(d, top, &a);
    for (int turn = 0; turn < NB_SCALE_TURNS && a.vv > 0.0; turn++) {
        const float next = nb_scale_stored(d->p, (float)(a.xv / a.vv));
        const double g = gain(d, next, &a);
        if (!(g > *best))
            break;
        *best = g;
        top = next;
    }
    return top;
}

/* The smallest scale of a sign that clips nothing. */
float nb_scale_full(const struct nb_scale_data *d, bool negative)
{
    const struct nb_levels *lv = d->p->levels;
    const float above = d->max > 0.0F ? d->max / (negative ? -lv->lo : lv->hi) : 0.0F;
    const float below = d->min < 0.0F ? d->min / (negative ? -lv->hi : lv->lo) : 0.0F;
    return above > below ? above : below;
}

/* Below any scale that pays: the best one for a Gaussian source is 1.2, 1.5, 1.9 and 2.3 times
 * rms / rms of levels at 2, 4, 6 and 8 bits, for longer tails more. */
static float smallest_scale(const struct nb_scale_data *d, float full)
{
    const double rms = sqrt(d->sxx / (d->sw > 0.0 ? d->sw : 1.0));
    const double share = d->p->levels->n > 100 ? 1.8 : d->p->levels->n > 16 ? 1.4 : 0.8;
    const float low =
        (float)((d->p->levels->uniform ? share : 0.8) * rms / rms_of_levels(d->p->levels));
    return low < 0.6F * full ? low : 0.6F * full;
}

static float coarse_search(const struct nb_scale_data *d, float low, float high)
{
    const struct nb_scale_problem *p = d->p;
    const uint32_t first = nb_scale_code(p->store, p->scale2, low);
    const uint32_t last = nb_scale_code(p->store, p->scale2, high);
    float best = 0.0F;
    double top = -INFINITY;
    for (uint32_t c = first > 0 ? first - 1 : 0; c <= last + 1; c++) {
        if (c > (p->store == NB_SCALE_E4M3 ? 0x7eU : p->store == NB_SCALE_E8M0 ? 254U : 255U))
            break;
        const float s = nb_scale_value(p->store, p->scale2, c);
        const double g = gain(d, s, NULL);
        if (g > top) {
            top = g;
            best = s;
        }
    }
    return best;
}

static void try_scale(const struct nb_scale_data *d, struct candidates *c, float s)
{
    struct nb_scale_sums a;
    (void)gain(d, s, &a);
    const bool up = s > 0.0F ? a.xv > 0.0 : a.xv < 0.0;
    keep(c, s, a.vv > 0.0 && up ? a.xv * a.xv / a.vv : 0.0);
}

/* All candidates of one sign. Expanded: the outermost value on each level that is not too far in, which
 * also finds a grid again on which the values lie already. Clipped: a geometric row. */
static void try_sign(const struct nb_scale_data *d, struct candidates *c, float sign, float expand)
{
    const struct nb_levels *lv = d->p->levels;
    const float full = nb_scale_full(d, sign < 0.0F);
    const float low = smallest_scale(d, full);
    for (uint32_t k = lv->n; k-- > 0 && nb_level_at(lv, k) * expand >= lv->hi;)
        try_scale(d, c, sign * full * (lv->hi / nb_level_at(lv, k)));
    float s = full * NB_SCALE_STEP;
    for (int turn = 0; turn < NB_SCALE_MAX_STEPS && s >= low; turn++, s *= NB_SCALE_STEP)
        try_scale(d, c, sign * s);
}

float nb_scale_mse(const struct nb_scale_data *d)
{
    const struct nb_scale_problem *p = d->p;
    /* Where levels lie far apart at the ends it pays to leave the last ones unused. */
    const float far = p->levels->uniform ? 1.25F : 2.0F;
    const float expand = p->how.max_expand > 0.0F ? p->how.max_expand : far;
    struct candidates c = {{0.0F}, {-INFINITY, -INFINITY, -INFINITY}};
    if (nb_scale_is_coarse(p)) {
        const float full = nb_scale_full(d, false);
        return coarse_search(d, smallest_scale(d, full), expand * full);
    }
    try_sign(d, &c, 1.0F, expand);
    if (nb_scale_is_signed(p) && p->levels->lo != -p->levels->hi)
        try_sign(d, &c, -1.0F, expand);
    float best = 0.0F;
    double top = -INFINITY;
    for (size_t k = 0; k < BEST && c.gain[k] >= 0.0; k++) {
        double g;
        const float s = nb_scale_refine(d, c.scale[k], &g);
        if (g > top) {
            top = g;
            best = s;
        }
    }
    return best;
}

/* The scale at which values up to a magnitude of `range` are not clipped. */
static float by_range(const struct nb_scale_data *d, float range)
{
    if (d->p->store != NB_SCALE_E8M0)
        return nb_scale_full(d, false) * (range / d->max_abs);
    /* The rule of the OCP MX specification: floor(log2 range) - floor(log2 largest). */
    const uint32_t top = nb_f32_bits(largest_level(d->p->levels)) >> 23;
    const uint32_t e = nb_f32_bits(range) >> 23;
    return e + 127U > top ? nb_f32_from_bits((e + 127U - top) << 23) : 0x1p-126F;
}

static float symmetric(const struct nb_scale_data *d)
{
    const enum nb_scale_method m = d->p->how.method;
    if (m == NB_SCALE_EXACT)
        return nb_scale_exact(d);
    if (m == NB_SCALE_MSE)
        return nb_scale_mse(d);
    const float s = m == NB_SCALE_PERCENTILE ? by_range(d, nb_scale_percentile_range(d))
                    : m == NB_SCALE_ENTROPY  ? by_range(d, nb_scale_entropy_range(d))
                    : m == NB_SCALE_ABSMEAN  ? nb_scale_absmean(d)
                                             : by_range(d, d->max_abs);
    return nb_scale_stored(d->p, s);
}

/* ---- the door ---- */

size_t nb_scale_scratch_floats(const struct nb_levels *levels, size_t n,
                               const struct nb_scale_options *how)
{
    const size_t padded = (n + NB_SCALE_RUN - 1) / NB_SCALE_RUN * NB_SCALE_RUN;
    size_t more = 0;
    if (how->method == NB_SCALE_EXACT && nb_scale_exact_fits(levels, n))
        more = 3 * n * levels->n;
    if (how->method == NB_SCALE_PERCENTILE || how->method == NB_SCALE_ENTROPY)
        more = 2 * NB_SCALE_BINS;
    return 2 * padded + more;
}

struct nb_scale nb_scale_search(const struct nb_scale_problem *p)
{
    struct nb_scale_data d;
    gather(&d, p);
    if (!(d.max_abs > 0.0F))
        return (struct nb_scale){nb_scale_stored(p, 0.0F), 0.0F};
    if (!(d.sw > 0.0)) { /* nothing matters: treat all alike */
        struct nb_scale_problem even = *p;
        even.w = NULL;
        return nb_scale_search(&even);
    }
    if (p->zero != NB_ZERO_NONE)
        return nb_scale_affine(&d);
    return (struct nb_scale){symmetric(&d), 0.0F};
}
