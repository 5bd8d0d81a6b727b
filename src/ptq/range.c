/* ptq/range.c: from what was seen of an activation to the range of its grid.
 *
 * percentile: of the elements, counted from both ends alike. mse: the least squared error over shrunken ranges, elements
 * counted at the middles of their bins. entropy: the least divergence between the elements and what the grid makes
 * of them (Migacz, 8-bit inference with TensorRT, 2017), the first bin counted as the second, and tails in the last; a
 * symmetric range takes magnitudes; with more levels than bins nothing is clipped. Zero is always in the range and exactly a level.
 */
#include <math.h>
#include <string.h>

#include "ptq/ptq_internal.h"

#define STEPS 100 /* candidates of a search */

static double total_of(const struct nb_ptq_histogram *h)
{
    double n = 0.0;
    for (size_t i = 0; i < h->n && h->count != NULL; i++)
        n += h->count[i];
    return n;
}

/* The bound beyond which `tail` elements lie, at most. */
static double bound(const struct nb_ptq_histogram *h, double tail)
{
    double left = 0.0;
    for (size_t i = h->count != NULL ? h->n : 0; i > 0; i--) {
        left += h->count[i - 1];
        if (left > tail)
            return h->width * (double)i;
    }
    return 0.0;
}

static struct nb_ptq_bounds percentile(const struct nb_seen *s, double percent)
{
    const double n = total_of(&s->above) + total_of(&s->below);
    const double tail = n * (1.0 - percent / 100.0) / 2.0;
    return (struct nb_ptq_bounds){NB_MAX(-bound(&s->below, tail), s->least),
                                  NB_MIN(bound(&s->above, tail), s->greatest)};
}

/* Squared error of magnitudes on steps of `step` up to `most`; on steps that bins do not resolve as of any uniform noise. */
static double error_of(const struct nb_ptq_histogram *h, double step, double most)
{
    double sum = 0.0;
    for (size_t i = 0; i < h->n && h->count != NULL; i++) {
        const double x = h->width * ((double)i + 0.5);
        const double q = NB_MIN(nearbyint(x / step) * step, most);
        if (h->count[i] == 0.0)
            continue;
        sum += h->count[i] * (step < h->width && x < most ? step * step / 12.0 : (x - q) * (x - q));
    }
    return sum;
}

/* Both ends shrink alike: what clips costs more than it gains on either side, or on both. */
static struct nb_ptq_bounds least_error(const struct nb_seen *s, struct nb_ptq_codes c)
{
    struct nb_ptq_bounds best = {s->least, s->greatest};
    double least = INFINITY;
    for (int i = 0; i < STEPS; i++) {
        const double share = 1.0 - (double)i / (double)STEPS;
        double low = s->least * share, high = s->greatest * share;
        if (c.symmetric) {
            high = NB_MAX(-low, high);
            low = -high;
        }
        const double step = (high - low) / (double)(c.symmetric ? 2 * c.high : c.high - c.low);
        if (!(step > 0.0))
            break;
        const double e = error_of(&s->above, step, high) + error_of(&s->below, step, -low);
        if (e < least) {
            least = e;
            best = (struct nb_ptq_bounds){low, high};
        }
    }
    return best;
}

/* Divergence of bins [0, n) with everything beyond in the last, from the same merged into `levels` groups and spread
 * over the bins that are not empty. */
static double divergence(const struct nb_ptq_histogram *h, size_t n, size_t levels)
{
    double beyond = 0.0, total = 0.0, kl = 0.0;
    for (size_t i = 0; i < h->n; i++) {
        total += h->count[i];
        beyond += i >= n ? h->count[i] : 0.0;
    }
    for (size_t g = 0; g < levels; g++) {
        const size_t begin = g * n / levels, end = (g + 1) * n / levels;
        double sum = 0.0, used = 0.0;
        for (size_t i = begin; i < end; i++) {
            const double p = h->count[i] + (i + 1 == n ? beyond : 0.0);
            sum += h->count[i];
            used += p > 0.0;
        }
        for (size_t i = begin; i < end; i++) {
            const double p = h->count[i] + (i + 1 == n ? beyond : 0.0);
            const double q = NB_MAX(sum, 1e-4) / used;
            if (p > 0.0)
                kl += p / total *
                      log(p / total / (q / (total - beyond > 0.0 ? total - beyond : 1.0)));
        }
    }
    return kl;
}

/* Of one sign, coarsened to at most 2048 bins first. */
static double entropy_bound(const struct nb_ptq_histogram *h, size_t levels, struct nb_arena *tmp)
{
    size_t per = 1;
    if (h->count == NULL || total_of(h) == 0.0)
        return 0.0;
    while (h->n > 2048 * per)
        per *= 2;
    const size_t n = (h->n + per - 1) / per;
    double *count = nb_arena_alloc(tmp, n, sizeof *count); /* zeros */
    if (count == NULL || n <= levels)
        return h->width * (double)h->n;
    for (size_t i = 0; i < h->n; i++)
        count[i / per] += h->count[i];
    count[0] = count[1]; /* zeros, after a ReLU half of all, are exact on any grid */
    const struct nb_ptq_histogram c = {h->width * (double)per, count, n};
    double least = INFINITY;
    size_t best = n;
    for (size_t i = levels; i <= n; i++) {
        const double d = divergence(&c, i, levels);
        if (d <= least) {
            least = d;
            best = i;
        }
    }
    return c.width * (double)best;
}

static struct nb_ptq_bounds entropy(const struct nb_seen *s, struct nb_ptq_codes c)
{
    struct nb_arena tmp;
    nb_arena_init(&tmp, NULL, 0);
    const bool both = total_of(&s->below) > 0.0 && s->least < 0.0;
    const size_t all = (size_t)(c.high - c.low), levels = both ? all / 2 + 1 : all;
    const struct nb_ptq_bounds b = {NB_MAX(-entropy_bound(&s->below, levels, &tmp), s->least),
                                    NB_MIN(entropy_bound(&s->above, levels, &tmp), s->greatest)};
    nb_arena_fini(&tmp);
    return b;
}

struct nb_ptq_bounds nb_ptq_bounds(const struct nb_seen *s, const struct nb_ptq_options *o,
                                   struct nb_ptq_codes c)
{
    struct nb_ptq_bounds b = {s->least, s->greatest};
    if (o->range == NB_PTQ_MOVING)
        b = (struct nb_ptq_bounds){s->low, s->high};
    else if (o->range == NB_PTQ_PERCENTILE)
        b = percentile(s, o->percentile > 0.0 ? o->percentile : 99.999);
    else if (o->range == NB_PTQ_MSE)
        b = least_error(s, c);
    else if (o->range == NB_PTQ_ENTROPY)
        b = entropy(s, c);
    return (struct nb_ptq_bounds){NB_MIN(b.low, 0.0), NB_MAX(b.high, 0.0)};
}

const char *nb_ptq_range_name(enum nb_ptq_range r)
{
    static const char *const names[NB_N_PTQ_RANGES] = {"minmax", "moving", "percentile", "mse",
                                                       "entropy"};
    return names[r];
}

const char *nb_ptq_format_name(enum nb_ptq_format f)
{
    static const char *const names[NB_N_PTQ_FORMATS] = {"qdq", "qoperator", "float"};
    return names[f];
}

const char *nb_ptq_profile_name(enum nb_ptq_profile p)
{
    static const char *const names[NB_N_PTQ_PROFILES] = {"ort-cpu", "openvino", "tensorrt", "qnn"};
    return names[p];
}
