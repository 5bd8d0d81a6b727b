/* numfmt/scale_search.c: scales and zero points (scale_search.h).
 *
 * Symmetric, mse: candidates from expanded to clipped in steps of 5 %, both signs where the levels are
 * not symmetric; the best three are refined by least squares (s = sum w x v / sum w v^2 for the levels v
 * that s gives). A scale whose store is coarse is not refined: every storable candidate is tried.
 * Exact: as s falls from infinity each value crosses the midpoints between levels one by one; after
 * sorting the n (levels - 1) crossings, two running sums give the least error of each interval. The
 * optimum over all scales is among them (the weighted form of what Hubara et al. 2020 and others search
 * on a lattice).
 * With a zero point: least squares in scale and offset for each candidate range; integer zero points are
 * tried on both sides of the offset found.
 * Sums run in 16 lanes and are combined in one order: the same bits everywhere.
 */
#include "numfmt/scale_search.h"

#include <math.h>
#include <string.h>

#include "math/math.h"
#include "numfmt/numfmt_internal.h"

#define RUN          64
#define LANES        16
#define STEP         0.95F
#define MAX_STEPS    256 /* the smallest floats do not get smaller */
#define BEST         3
#define REFINE       4
#define EXACT_EVENTS (1U << 22)
#define HIST_BINS    2048U

/* ---- names ---- */

static const char *const method_names[] = {
    [NB_SCALE_MSE] = "mse",
    [NB_SCALE_EXACT] = "exact",
    [NB_SCALE_ABSMAX] = "absmax",
    [NB_SCALE_MINMAX] = "minmax",
    [NB_SCALE_PERCENTILE] = "percentile",
    [NB_SCALE_ENTROPY] = "entropy",
    [NB_SCALE_ABSMEAN] = "absmean",
};

const char *nb_scale_method_name(enum nb_scale_method m)
{
    return method_names[m];
}

/* A number of at most nine digits with a point, "99.99". */
static bool parse_number(float *v, const char *s)
{
    double n = 0.0;
    double unit = 0.0;
    size_t len = 0;
    for (; *s != '\0' && len < 10; s++, len++) {
        if (*s == '.' && unit == 0.0) {
            unit = 1.0;
            continue;
        }
        if (*s < '0' || *s > '9')
            return false;
        n = n * 10.0 + (double)(*s - '0');
        unit *= 10.0;
    }
    *v = (float)(unit > 0.0 ? n / unit : n);
    return *s == '\0' && len > 0;
}

bool nb_scale_options_parse(struct nb_scale_options *o, const char *text)
{
    *o = (struct nb_scale_options){.method = NB_SCALE_MSE};
    for (size_t i = 0; i < NB_COUNTOF(method_names); i++) {
        const size_t n = strlen(method_names[i]);
        if (strncmp(method_names[i], text, n) != 0 || (text[n] != '\0' && text[n] != ':'))
            continue;
        o->method = (enum nb_scale_method)i;
        if (text[n] == '\0')
            return true;
        return o->method == NB_SCALE_PERCENTILE && parse_number(&o->percentile, text + n + 1) &&
               o->percentile > 0.0F && o->percentile <= 100.0F;
    }
    return false;
}

/* ---- stores ---- */

/* Positive FP8 E4M3: 7 exponent values of subnormals, then 2^(e - 7) (1 + m / 8), 0x7f is NaN. */
static float e4m3_value(uint32_t code)
{
    const uint32_t e = code >> 3 & 15U;
    const uint32_t m = code & 7U;
    if (e == 0)
        return (float)m * 0x1p-9F;
    return nb_f32_from_bits((e + 120U) << 23 | m << 20);
}

static uint32_t e4m3_code(float s)
{
    if (!(s > 0.0F))
        return 0;
    if (s >= 448.0F)
        return 0x7e;
    if (s < 0x1p-6F)
        return (uint32_t)nb_rne(s * 0x1p9F);
    const uint32_t u = nb_f32_bits(s) + 0x7ffffU + (nb_f32_bits(s) >> 20 & 1U);
    return (u >> 20) - (120U << 3);
}

static uint32_t e8m0_code(float s)
{
    const float root2 = 1.41421356F;
    const uint32_t e = nb_f32_bits(s) >> 23 & 255U;
    if (e == 0)
        return 0;
    const float mantissa = nb_f32_from_bits((nb_f32_bits(s) & 0x7fffffU) | 127U << 23);
    return NB_MIN(e + (mantissa > root2), 254U);
}

uint32_t nb_scale_code(enum nb_scale_store store, float scale2, float s)
{
    if (store == NB_SCALE_F16)
        return nb_f32_to_f16(s > NB_F16_MAX ? NB_F16_MAX : s < -NB_F16_MAX ? -NB_F16_MAX : s);
    if (store == NB_SCALE_BF16)
        return nb_f32_to_bf16(s);
    if (store == NB_SCALE_E8M0)
        return e8m0_code(s);
    if (store == NB_SCALE_E4M3)
        return e4m3_code(s * nb_inverse(scale2));
    if (store == NB_SCALE_U8)
        return (uint32_t)nb_code(s, nb_inverse(scale2), 0.0F, 255.0F);
    return nb_f32_bits(s);
}

float nb_scale_value(enum nb_scale_store store, float scale2, uint32_t code)
{
    if (store == NB_SCALE_F16)
        return nb_f16_to_f32((uint16_t)code);
    if (store == NB_SCALE_BF16)
        return nb_bf16_to_f32((uint16_t)code);
    if (store == NB_SCALE_E8M0)
        return code == 0 ? 0x1p-127F : nb_f32_from_bits(code << 23);
    if (store == NB_SCALE_E4M3)
        return e4m3_value(code) * scale2;
    if (store == NB_SCALE_U8)
        return (float)code * scale2;
    return store == NB_SCALE_NONE ? 1.0F : nb_f32_from_bits(code);
}

static float stored(const struct nb_scale_problem *p, float s)
{
    return nb_scale_value(p->store, p->scale2, nb_scale_code(p->store, p->scale2, s));
}

static bool is_coarse(const struct nb_scale_problem *p)
{
    return p->store == NB_SCALE_E8M0 || p->store == NB_SCALE_E4M3 || p->store == NB_SCALE_U8;
}

static bool is_signed(const struct nb_scale_problem *p)
{
    return !is_coarse(p) && p->store != NB_SCALE_NONE && !p->positive;
}

/* ---- sums ---- */

/* Values and weights padded to whole runs, and what does not change from candidate to candidate. */
struct data {
    const struct nb_scale_problem *p;
    float *x, *w; /* (n), weight 0 beyond the problem's */
    float *events;
    size_t n;
    float max_abs, min, max;
    double sw, sx, sxx;
};

/* sum w v, sum w v^2, sum w x v */
struct sums {
    double v, vv, xv;
};

static float tree(const float *a)
{
    float b[8];
    for (size_t i = 0; i < 8; i++)
        b[i] = a[i] + a[i + 8];
    return ((b[0] + b[4]) + (b[2] + b[6])) + ((b[1] + b[5]) + (b[3] + b[7]));
}

/* v = level(x * inv + shift) - shift for all x, summed up. */
static struct sums sum_up(const struct data *d, float inv, float shift)
{
    struct sums s = {0.0, 0.0, 0.0};
    for (size_t at = 0; at < d->n; at += RUN) {
        float t[RUN];
        float v[RUN];
        float a[LANES] = {0.0F};
        float b[LANES] = {0.0F};
        float c[LANES] = {0.0F};
        for (size_t i = 0; i < RUN; i++)
            t[i] = d->x[at + i] * inv + shift;
        d->p->levels->snap(d->p->levels, t, v, RUN);
        for (size_t i = 0; i < RUN; i += LANES)
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

static void gather(struct data *d, const struct nb_scale_problem *p)
{
    const size_t n = (p->n + RUN - 1) / RUN * RUN;
    *d = (struct data){.p = p, .n = n, .min = INFINITY, .max = -INFINITY};
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

static float level_at(const struct nb_levels *lv, uint32_t k)
{
    return lv->uniform ? lv->lo + (float)k : lv->value[k];
}

static double rms_of_levels(const struct nb_levels *lv)
{
    double sum = 0.0;
    for (uint32_t k = 0; k < lv->n; k++) {
        const double v = (double)level_at(lv, k);
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
static double gain(const struct data *d, float s, struct sums *out)
{
    const struct sums a = sum_up(d, nb_inverse(s), 0.0F);
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

static float refine(const struct data *d, float s, double *best)
{
    float top = stored(d->p, s);
    struct sums a;
    *best = gain(d, top, &a);
    for (int turn = 0; turn < REFINE && a.vv > 0.0; turn++) {
        const float next = stored(d->p, (float)(a.xv / a.vv));
        const double g = gain(d, next, &a);
        if (!(g > *best))
            break;
        *best = g;
        top = next;
    }
    return top;
}

/* The smallest scale of a sign that clips nothing. */
static float full_scale(const struct data *d, bool negative)
{
    const struct nb_levels *lv = d->p->levels;
    const float above = d->max > 0.0F ? d->max / (negative ? -lv->lo : lv->hi) : 0.0F;
    const float below = d->min < 0.0F ? d->min / (negative ? -lv->hi : lv->lo) : 0.0F;
    return above > below ? above : below;
}

/* Below any scale that pays: the best one for a Gaussian source is 1.2, 1.5, 1.9 and 2.3 times
 * rms / rms of levels at 2, 4, 6 and 8 bits, for longer tails more. */
static float smallest_scale(const struct data *d, float full)
{
    const double rms = sqrt(d->sxx / (d->sw > 0.0 ? d->sw : 1.0));
    const double share = d->p->levels->n > 100 ? 1.8 : d->p->levels->n > 16 ? 1.4 : 0.8;
    const float low =
        (float)((d->p->levels->uniform ? share : 0.8) * rms / rms_of_levels(d->p->levels));
    return low < 0.6F * full ? low : 0.6F * full;
}

static float coarse_search(const struct data *d, float low, float high)
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

static void try_scale(const struct data *d, struct candidates *c, float s)
{
    struct sums a;
    (void)gain(d, s, &a);
    const bool up = s > 0.0F ? a.xv > 0.0 : a.xv < 0.0;
    keep(c, s, a.vv > 0.0 && up ? a.xv * a.xv / a.vv : 0.0);
}

/* All candidates of one sign. Expanded: the outermost value on each level that is not too far in, which
 * also finds a grid again on which the values lie already. Clipped: a geometric row. */
static void try_sign(const struct data *d, struct candidates *c, float sign, float expand)
{
    const struct nb_levels *lv = d->p->levels;
    const float full = full_scale(d, sign < 0.0F);
    const float low = smallest_scale(d, full);
    for (uint32_t k = lv->n; k-- > 0 && level_at(lv, k) * expand >= lv->hi;)
        try_scale(d, c, sign * full * (lv->hi / level_at(lv, k)));
    float s = full * STEP;
    for (int turn = 0; turn < MAX_STEPS && s >= low; turn++, s *= STEP)
        try_scale(d, c, sign * s);
}

static float mse_search(const struct data *d)
{
    const struct nb_scale_problem *p = d->p;
    /* Where levels lie far apart at the ends it pays to leave the last ones unused. */
    const float far = p->levels->uniform ? 1.25F : 2.0F;
    const float expand = p->how.max_expand > 0.0F ? p->how.max_expand : far;
    struct candidates c = {{0.0F}, {-INFINITY, -INFINITY, -INFINITY}};
    if (is_coarse(p)) {
        const float full = full_scale(d, false);
        return coarse_search(d, smallest_scale(d, full), expand * full);
    }
    try_sign(d, &c, 1.0F, expand);
    if (is_signed(p) && p->levels->lo != -p->levels->hi)
        try_sign(d, &c, -1.0F, expand);
    float best = 0.0F;
    double top = -INFINITY;
    for (size_t k = 0; k < BEST && c.gain[k] >= 0.0; k++) {
        double g;
        const float s = refine(d, c.scale[k], &g);
        if (g > top) {
            top = g;
            best = s;
        }
    }
    return best;
}

/* ---- exact ---- */

/* At 1 / s = at a value moves on to its next level. */
struct event {
    float at, xv, vv;
};

static void sift(struct event *e, size_t i, size_t n)
{
    const struct event moved = e[i];
    for (size_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && e[child + 1].at > e[child].at)
            child++;
        if (!(e[child].at > moved.at))
            break;
        e[i] = e[child];
        i = child;
    }
    e[i] = moved;
}

static void sort_events(struct event *e, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(e, i, n);
    for (size_t end = n; end > 1; end--) {
        const struct event top = e[0];
        e[0] = e[end - 1];
        e[end - 1] = top;
        sift(e, 0, end - 1);
    }
}

/* Crossings of x as 1 / s grows, onto the levels above (x > 0) or below. */
static size_t add_events(const struct nb_levels *lv, float x, float w, struct event *e)
{
    size_t n = 0;
    for (uint32_t k = 1; k < lv->n; k++) {
        const float below = level_at(lv, k - 1);
        const float above = level_at(lv, k);
        const float mid = 0.5F * below + 0.5F * above;
        if (mid == 0.0F || (mid > 0.0F) != (x > 0.0F))
            continue;
        const float from = x > 0.0F ? below : above;
        const float to = x > 0.0F ? above : below;
        e[n].at = mid / x;
        e[n].xv = w * x * (to - from);
        e[n++].vv = w * (to * to - from * from);
    }
    return n;
}

/* The best 1 / s > 0 for x times sign. */
static float exact_one_sign(const struct data *d, float sign, double *top)
{
    const struct nb_levels *lv = d->p->levels;
    struct event *e = (struct event *)(void *)d->events;
    size_t n = 0;
    double xv = 0.0;
    double vv = 0.0;
    float best = 0.0F;
    for (size_t i = 0; i < d->p->n; i++) {
        const float x = sign * d->x[i];
        const float tiny = x < 0.0F ? -1e-30F : 1e-30F;
        float v;
        lv->snap(lv, &tiny, &v, 1);
        xv += (double)(d->w[i] * x * v);
        vv += (double)(d->w[i] * v * v);
        if (x != 0.0F && d->w[i] > 0.0F)
            n += add_events(lv, x, d->w[i], e + n);
    }
    sort_events(e, n);
    for (size_t i = 0; i <= n; i++) {
        if (xv > 0.0 && vv > 0.0 && (i == n || i == 0 || e[i].at > e[i - 1].at) &&
            xv * xv / vv > *top) {
            *top = xv * xv / vv;
            best = (float)(xv / vv);
        }
        if (i < n) {
            xv += (double)e[i].xv;
            vv += (double)e[i].vv;
        }
    }
    return sign * best;
}

static bool exact_fits(const struct nb_levels *lv, size_t n)
{
    return n * lv->n <= EXACT_EVENTS;
}

static float exact_search(const struct data *d)
{
    const struct nb_levels *lv = d->p->levels;
    double top = 0.0;
    double g;
    if (is_coarse(d->p) || !exact_fits(lv, d->p->n))
        return mse_search(d); /* coarse stores: it tries every storable scale anyway */
    float s = exact_one_sign(d, 1.0F, &top);
    if (is_signed(d->p) && lv->lo != -lv->hi) {
        const float other = exact_one_sign(d, -1.0F, &top);
        s = other != 0.0F ? other : s;
    }
    return refine(d, s, &g);
}

/* ---- ranges from a histogram of magnitudes ---- */

static void histogram(const struct data *d, double *bins)
{
    memset(bins, 0, HIST_BINS * sizeof *bins);
    for (size_t i = 0; i < d->p->n; i++) {
        const float a = fabsf(d->x[i]) * (float)HIST_BINS * nb_inverse(d->max_abs);
        const uint32_t k = (uint32_t)a;
        bins[NB_MIN(k, HIST_BINS - 1)] += (double)d->w[i];
    }
}

static float percentile_range(const struct data *d)
{
    double *bins = (double *)(void *)d->events;
    const float share = d->p->how.percentile > 0.0F ? d->p->how.percentile : 99.99F;
    double sum = 0.0;
    histogram(d, bins);
    for (uint32_t k = 0; k < HIST_BINS; k++) {
        sum += bins[k];
        if (sum >= d->sw * (double)share / 100.0)
            return d->max_abs * (float)(k + 1) / (float)HIST_BINS;
    }
    return d->max_abs;
}

/* KL(P || Q) of the first n bins, the rest added to the last, against `levels` merged groups. */
static double divergence(const double *bins, uint32_t n, uint32_t levels, double tail)
{
    double sum = 0.0;
    double total = tail;
    for (uint32_t k = 0; k < n; k++)
        total += bins[k];
    for (uint32_t g = 0; g < levels; g++) {
        const uint32_t from = (uint32_t)((uint64_t)g * n / levels);
        const uint32_t to = (uint32_t)((uint64_t)(g + 1) * n / levels);
        double mass = 0.0;
        uint32_t filled = 0;
        for (uint32_t k = from; k < to; k++) {
            mass += bins[k];
            filled += bins[k] > 0.0;
        }
        for (uint32_t k = from; k < to; k++) {
            const double p = (bins[k] + (k + 1 == n ? tail : 0.0)) / total;
            if (p > 0.0 && mass > 0.0 && bins[k] > 0.0)
                sum += p * nb_log(p / (mass / filled / (total - tail)));
            else if (p > 0.0)
                sum += p * 10.0; /* mass that the clipped range cannot hold */
        }
    }
    return sum;
}

static float entropy_range(const struct data *d)
{
    double *bins = (double *)(void *)d->events;
    const uint32_t levels = NB_MAX(d->p->levels->n / 2, 2U);
    histogram(d, bins);
    double tail = 0.0;
    double best = INFINITY;
    uint32_t top = HIST_BINS;
    bins[0] = bins[1]; /* zeros say nothing about the range */
    for (uint32_t n = HIST_BINS; n >= NB_MAX(levels, HIST_BINS / 16); n--) {
        const double kl = divergence(bins, n, levels, tail);
        if (kl < best) {
            best = kl;
            top = n;
        }
        tail += bins[n - 1];
    }
    return d->max_abs * (float)top / (float)HIST_BINS;
}

static float absmean(const struct data *d)
{
    double sum = 0.0;
    for (size_t i = 0; i < d->p->n; i++)
        sum += (double)d->w[i] * fabs((double)d->x[i]);
    return (float)(sum / (d->sw > 0.0 ? d->sw : 1.0));
}

/* The scale at which values up to a magnitude of `range` are not clipped. */
static float by_range(const struct data *d, float range)
{
    if (d->p->store != NB_SCALE_E8M0)
        return full_scale(d, false) * (range / d->max_abs);
    /* The rule of the OCP MX specification: floor(log2 range) - floor(log2 largest). */
    const uint32_t top = nb_f32_bits(largest_level(d->p->levels)) >> 23;
    const uint32_t e = nb_f32_bits(range) >> 23;
    return e + 127U > top ? nb_f32_from_bits((e + 127U - top) << 23) : 0x1p-126F;
}

static float symmetric(const struct data *d)
{
    const enum nb_scale_method m = d->p->how.method;
    if (m == NB_SCALE_EXACT)
        return exact_search(d);
    if (m == NB_SCALE_MSE)
        return mse_search(d);
    const float s = m == NB_SCALE_PERCENTILE ? by_range(d, percentile_range(d))
                    : m == NB_SCALE_ENTROPY  ? by_range(d, entropy_range(d))
                    : m == NB_SCALE_ABSMEAN  ? absmean(d)
                                             : by_range(d, d->max_abs);
    return stored(d->p, s);
}

/* ---- with a zero point ---- */

static float stored_zero(const struct nb_scale_problem *p, float z)
{
    if (p->zero == NB_ZERO_F16)
        return nb_via_f16(z);
    z = z < p->levels->lo ? p->levels->lo : z > p->levels->hi ? p->levels->hi : z;
    return (float)nb_rne(z);
}

/* The weighted error of a scale and a zero as they are. */
static double affine_error(const struct data *d, struct nb_scale s, struct sums *out)
{
    const struct sums a = sum_up(d, nb_inverse(s.scale), s.zero);
    if (out != NULL)
        *out = a;
    return d->sxx - (double)s.scale * (2.0 * a.xv - (double)s.scale * a.vv);
}

struct affine_best {
    struct nb_scale s;
    double error;
};

static void consider(const struct data *d, struct affine_best *b, float scale, float zero,
                     struct sums *a)
{
    const struct nb_scale s = {stored(d->p, scale), stored_zero(d->p, zero)};
    const double e = affine_error(d, s, a);
    if (e < b->error) {
        b->error = e;
        b->s = s;
    }
}

/* From a start: least squares in scale and offset, then again with the new levels. a.v are sums of
 * level - zero. */
static void settle_float(const struct data *d, struct affine_best *b, float scale, float zero)
{
    for (int turn = 0; turn < REFINE; turn++) {
        struct sums a;
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

static void settle_int(const struct data *d, struct affine_best *b, float scale, float zero)
{
    const float low = floorf(stored_zero(d->p, zero) > zero ? stored_zero(d->p, zero) - 1.0F
                                                            : stored_zero(d->p, zero));
    for (int above = 0; above < 2; above++) {
        const float z = low + (float)above; /* stored_zero keeps it among the levels */
        float s = scale;
        for (int turn = 0; turn < 3; turn++) {
            struct sums a;
            const double before = b->error;
            consider(d, b, s, z, &a);
            if (!(a.vv > 0.0) || !(a.xv > 0.0) || (turn > 0 && !(b->error < before)))
                break;
            s = (float)(a.xv / a.vv);
        }
    }
}

static struct nb_scale affine_range(const struct data *d, float min, float max)
{
    const struct nb_levels *lv = d->p->levels;
    if (d->p->zero == NB_ZERO_INT) {
        min = min > 0.0F ? 0.0F : min;
        max = max < 0.0F ? 0.0F : max;
    }
    const float s = stored(d->p, (max - min) / (lv->hi - lv->lo));
    return (struct nb_scale){s, stored_zero(d->p, lv->lo - min * nb_inverse(s))};
}

/* All values alike: one level holds them. */
static struct nb_scale constant(const struct data *d)
{
    const float lo = d->p->levels->lo;
    const float zero = d->p->zero == NB_ZERO_F16 ? lo - 1.0F : lo; /* level - zero is 1 */
    const float level = d->p->zero == NB_ZERO_F16 ? 1.0F
                        : d->max > 0.0F           ? d->p->levels->hi - lo
                                                  : lo - d->p->levels->hi;
    struct nb_scale s = {stored(d->p, d->max / level), zero};
    if (d->p->zero == NB_ZERO_INT && d->max < 0.0F)
        s.zero = d->p->levels->hi;
    return s;
}

static void settle(const struct data *d, struct affine_best *b, float scale, float zero)
{
    if (d->p->zero == NB_ZERO_INT)
        settle_int(d, b, scale, zero);
    else
        settle_float(d, b, scale, zero);
}

/* The smallest value on one level, the largest `used` levels on: outer levels are left unused. This also
 * finds a grid again on which the values lie already. */
static void try_expanded(const struct data *d, struct affine_best *b, float used)
{
    const struct nb_levels *lv = d->p->levels;
    const float scale = (d->max - d->min) / used;
    const float first = lv->lo + floorf(0.5F * (lv->hi - lv->lo - used));
    settle(d, b, scale, first - d->min * nb_inverse(scale));
}

/* Levels over a range r, which lies the more around the mean the more values it clips. */
static void try_clipped(const struct data *d, struct affine_best *b, float r)
{
    const struct nb_levels *lv = d->p->levels;
    const float t = r / (d->max - d->min);
    const float mean = (float)(d->sx / d->sw);
    const float centre = t * 0.5F * (d->min + d->max) + (1.0F - t) * mean;
    const float scale = r / (lv->hi - lv->lo);
    settle(d, b, scale, lv->lo - (centre - 0.5F * r) * nb_inverse(scale));
}

static struct nb_scale affine(const struct data *d)
{
    const struct nb_scale_problem *p = d->p;
    const float steps = p->levels->hi - p->levels->lo;
    const float expand = p->how.max_expand > 0.0F ? p->how.max_expand : 1.2F;
    const float step = p->how.method == NB_SCALE_EXACT ? 0.975F : STEP;
    if (d->min == d->max)
        return constant(d);
    if (p->how.method != NB_SCALE_MSE && p->how.method != NB_SCALE_EXACT) {
        const float cut = p->how.method == NB_SCALE_PERCENTILE ? percentile_range(d)
                          : p->how.method == NB_SCALE_ENTROPY  ? entropy_range(d)
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
    for (int turn = 0; turn < MAX_STEPS && (double)r >= low; turn++, r *= step)
        try_clipped(d, &b, r);
    return b.s;
}

/* ---- the door ---- */

size_t nb_scale_scratch_floats(const struct nb_levels *levels, size_t n,
                               const struct nb_scale_options *how)
{
    const size_t padded = (n + RUN - 1) / RUN * RUN;
    size_t more = 0;
    if (how->method == NB_SCALE_EXACT && exact_fits(levels, n))
        more = 3 * n * levels->n;
    if (how->method == NB_SCALE_PERCENTILE || how->method == NB_SCALE_ENTROPY)
        more = 2 * HIST_BINS;
    return 2 * padded + more;
}

struct nb_scale nb_scale_search(const struct nb_scale_problem *p)
{
    struct data d;
    gather(&d, p);
    if (!(d.max_abs > 0.0F))
        return (struct nb_scale){stored(p, 0.0F), 0.0F};
    if (!(d.sw > 0.0)) { /* nothing matters: treat all alike */
        struct nb_scale_problem even = *p;
        even.w = NULL;
        return nb_scale_search(&even);
    }
    if (p->zero != NB_ZERO_NONE)
        return affine(&d);
    return (struct nb_scale){symmetric(&d), 0.0F};
}
