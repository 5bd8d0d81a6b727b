/* numfmt/refit_f16.c: the best scale in half precision for one block of q4_0, q5_0 or iq4_nl.
 *
 * A scale fixes the codes, and these the scale of least squares; where codes change from scale to scale the
 * error has many minima. So the search starts from scales 1 % apart, of both signs, keeps what least squares
 * makes of the most promising, and tries the halves around the best. It ends below any scale that pays
 * (for a Gaussian source the best is about 1.5 rms / rms of levels).
 */
#include "numfmt/refit_f16.h"

#include <math.h>

enum { ROUNDS = 10 };   /* of sixteen scales at most, for either sign      */
#define FIRST   1.45F   /* times the scale that clips nothing              */
#define LAST    1.5F    /* times rms / highest level                       */
#define APART   0.9872F /* from scale to scale                             */
#define APART16 0.8137F /* its 16th power                                  */

static void set_scales(struct nb_trials *t, const float *scale)
{
    for (size_t k = 0; k < NB_TRIALS; k++) {
        t->scale[k] = scale[k];
        t->inv[k] = nb_inverse(scale[k]);
    }
}

/* What least squares makes of scales from `first` to `last`: the best at each place. */
static void climb_down(const struct nb_refit_f16 *r, struct nb_trials *t, float first, float last,
                       float *best, float *gain)
{
    float scale[NB_TRIALS];
    scale[0] = first;
    for (size_t k = 1; k < NB_TRIALS; k++)
        scale[k] = scale[k - 1] * APART;
    for (int round = 0; round < ROUNDS && fabsf(scale[0]) > last; round++) {
        struct nb_trial_sums s;
        set_scales(t, scale);
        r->sums(&s, t);
        for (size_t k = 0; k < NB_TRIALS; k++) {
            const bool any = s.ll[k] > 0.0F;
            const float v = s.lx[k] / (any ? s.ll[k] : 1.0F);
            const float g = any ? s.lx[k] * v : 0.0F;
            const bool better = g > gain[k];
            best[k] = better ? v : best[k];
            gain[k] = better ? g : gain[k];
            scale[k] *= APART16;
        }
    }
}

/* The best of sixteen as they are. */
static void try_exactly(const struct nb_refit_f16 *r, struct nb_trials *t, const float *scale,
                        float *best, float *least)
{
    float error[NB_TRIALS];
    set_scales(t, scale);
    r->error(error, t);
    for (size_t k = 0; k < NB_TRIALS; k++)
        if (error[k] < *least) {
            *least = error[k];
            *best = scale[k];
        }
}

float nb_refit_f16(const struct nb_refit_f16 *r, float old, const float *x, const float *importance)
{
    float w[NB_REFIT_F16_MAX];
    float scale[NB_TRIALS] = {0.0F};
    float gain[NB_TRIALS] = {0.0F};
    float amax = 0.0F;
    float energy = 0.0F;
    float weight = 0.0F;
    float best = 0.0F;
    float least = INFINITY;
    struct nb_trials t = {
        .x = x, .w = w, .n = r->n, .lo = r->lo, .hi = r->hi, .n_trials = NB_TRIALS};
    nb_numfmt_weights(w, importance, r->n);
    for (uint32_t i = 0; i < r->n; i++) {
        amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
        energy += w[i] * x[i] * x[i];
        weight += w[i];
    }
    const float first = FIRST * amax / r->hi;
    const float last = LAST * sqrtf(energy / weight) / r->hi;
    climb_down(r, &t, first, last, scale, gain);
    climb_down(r, &t, -first, last, scale, gain);
    for (size_t k = 0; k < NB_TRIALS; k++)
        scale[k] = nb_via_f16(scale[k]);
    try_exactly(r, &t, scale, &best, &least);
    const int32_t middle = nb_f32_to_f16(best) & 0x7fff;
    for (int32_t k = 0; k < NB_TRIALS; k++) {
        const int32_t h = NB_MIN(NB_MAX(middle + k - NB_TRIALS / 2, 0), 0x7bff);
        scale[k] = best < 0.0F ? -nb_f16_to_f32((uint16_t)h) : nb_f16_to_f32((uint16_t)h);
    }
    scale[NB_TRIALS / 2] = old; /* in place of the best itself */
    try_exactly(r, &t, scale, &best, &least);
    return best;
}
