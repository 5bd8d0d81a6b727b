/* numfmt/scale_range.c: ranges by rules that other tools use: percentile, entropy, mean magnitude.
 *
 * Entropy: 8-bit calibration by Kullback-Leibler divergence (Migacz 2017), the tail's mass added to the last
 * bin, groups spread over their bins that are not empty.
 */
#include <math.h>
#include <string.h>

#include "math/math.h"
#include "numfmt/scale_internal.h"

static void histogram(const struct nb_scale_data *d, double *bins)
{
    memset(bins, 0, NB_SCALE_BINS * sizeof *bins);
    for (size_t i = 0; i < d->p->n; i++) {
        const float a = fabsf(d->x[i]) * (float)NB_SCALE_BINS * nb_inverse(d->max_abs);
        const uint32_t k = (uint32_t)a;
        bins[NB_MIN(k, NB_SCALE_BINS - 1)] += (double)d->w[i];
    }
}

float nb_scale_percentile_range(const struct nb_scale_data *d)
{
    double *bins = (double *)(void *)d->events;
    const float share = d->p->how.percentile > 0.0F ? d->p->how.percentile : 99.99F;
    double sum = 0.0;
    histogram(d, bins);
    for (uint32_t k = 0; k < NB_SCALE_BINS; k++) {
        sum += bins[k];
        if (sum >= d->sw * (double)share / 100.0)
            return d->max_abs * (float)(k + 1) / (float)NB_SCALE_BINS;
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

float nb_scale_entropy_range(const struct nb_scale_data *d)
{
    double *bins = (double *)(void *)d->events;
    const uint32_t levels = NB_MAX(d->p->levels->n / 2, 2U);
    histogram(d, bins);
    double tail = 0.0;
    double best = INFINITY;
    uint32_t top = NB_SCALE_BINS;
    bins[0] = bins[1]; /* zeros say nothing about the range */
    for (uint32_t n = NB_SCALE_BINS; n >= NB_MAX(levels, NB_SCALE_BINS / 16); n--) {
        const double kl = divergence(bins, n, levels, tail);
        if (kl < best) {
            best = kl;
            top = n;
        }
        tail += bins[n - 1];
    }
    return d->max_abs * (float)top / (float)NB_SCALE_BINS;
}

float nb_scale_absmean(const struct nb_scale_data *d)
{
    double sum = 0.0;
    for (size_t i = 0; i < d->p->n; i++)
        sum += (double)d->w[i] * fabs((double)d->x[i]);
    return (float)(sum / (d->sw > 0.0 ? d->sw : 1.0));
}
