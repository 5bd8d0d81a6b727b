/* eval/net_score.c: top-k, cross entropy; signal to quantization noise, cosine. */
#include "eval/net_score.h"

#include <math.h>

#include "math/math.h"

#define LEAST 1e-7 /* a probability counts as so much at least                  */
#define SLACK 1e-3 /* how far from 1 the sum of a distribution of floats may be */

size_t nb_class_place(const double *scores, size_t n, size_t i)
{
    const double v = scores[i];
    size_t place = 0;
    if (isnan(v))
        return n;
    for (size_t k = 0; k < n; k++)
        place += scores[k] > v || (k < i && scores[k] == v);
    return place;
}

/* Rounding to a grid moves each score by half a step, a 1 by a whole one: the largest code may be below it. */
static bool is_distribution(const struct nb_class_score *s, const double *scores, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        if (!(scores[i] >= 0.0 && scores[i] <= 1.0 + SLACK))
            return false;
        sum += scores[i];
    }
    return fabs(sum - 1.0) <= SLACK + s->step * (1.0 + 0.5 * (double)n);
}

void nb_class_score_add(struct nb_class_score *s, const double *scores, size_t n, size_t label)
{
    const size_t place = nb_class_place(scores, n, label);
    s->n++;
    s->n_right += place == 0;
    s->n_right_top += place < s->top && place < n;
    if (!is_distribution(s, scores, n))
        return;
    s->n_distributions++;
    s->nll -= nb_log(NB_MAX(scores[label], NB_MAX(0.5 * s->step, LEAST)));
}

double nb_class_score_loss(const struct nb_class_score *s)
{
    return s->n > 0 && s->n_distributions == s->n ? s->nll / (double)s->n : (double)NAN;
}

/* n: all are NaN */
static size_t largest(const double *x, size_t n)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (!isnan(x[i]) && (best == n || x[i] > x[best]))
            best = i;
    return best;
}

void nb_agreement_add(struct nb_agreement *a, const double *x, const double *y, size_t n,
                      size_t row)
{
    for (size_t i = 0; i < n; i++) {
        const double d = x[i] - y[i];
        a->signal += x[i] * x[i];
        a->other += y[i] * y[i];
        a->dot += x[i] * y[i];
        a->noise += d * d;
        if (!isnan(a->most) && !(fabs(d) <= a->most)) /* a NaN stays */
            a->most = fabs(d);
    }
    a->n += n;
    for (size_t i = 0; row > 0 && i + row <= n; i += row) {
        a->n_rows++;
        a->n_same += largest(x + i, row) == largest(y + i, row);
    }
}

double nb_agreement_sqnr(const struct nb_agreement *a)
{
    if (a->n == 0)
        return (double)NAN;
    return a->noise == 0.0 ? (double)INFINITY : 10.0 * log10(a->signal / a->noise);
}

double nb_agreement_cosine(const struct nb_agreement *a)
{
    if (a->signal == 0.0 || a->other == 0.0)
        return a->signal == a->other ? 1.0 : 0.0;
    return a->dot / (sqrt(a->signal) * sqrt(a->other));
}
