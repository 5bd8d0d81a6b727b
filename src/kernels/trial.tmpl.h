/* kernels/trial.tmpl.h: trial scales and offsets of one sub-block of weights, a trial a lane.
 *
 * Each trial walks the elements in index order, so the sums are the same bits for any lanes.
 */
#include "kernels/enc_nl.h"
#include "kernels/kernels.h"

/* The trials from number `at` on. */
struct trial_lanes {
    vf scale, inv, offset;
};

NB_LANES_INLINE struct trial_lanes trial_load(const struct nb_trials *t, size_t at)
{
    return (struct trial_lanes){vf_load(t->scale + at), vf_load(t->inv + at),
                                vf_load(t->offset + at)};
}

void NB_LANES_NAME(trial_error_f32)(float *error, const struct nb_trials *t)
{
    for (size_t at = 0; at < t->n_trials; at += LANES) {
        const struct trial_lanes by = trial_load(t, at);
        vf sum = vf_set(0.0F);
        for (size_t i = 0; i < t->n; i++) {
            const vf x = vf_set(t->x[i]);
            const vf q = vf_code((x - by.offset) * by.inv, t->lo, t->hi);
            const vf off = x - (by.scale * q + by.offset);
            sum += off * t->w[i] * off;
        }
        vf_store(error + at, sum);
    }
}

void NB_LANES_NAME(trial_error_nl_f32)(float *error, const struct nb_trials *t)
{
    for (size_t at = 0; at < t->n_trials; at += LANES) {
        const struct trial_lanes by = trial_load(t, at);
        vf sum = vf_set(0.0F);
        for (size_t i = 0; i < t->n; i++) {
            const vf x = vf_set(t->x[i]);
            const vf off = x - by.scale * nl_nearest(x * by.inv);
            sum += off * t->w[i] * off;
        }
        vf_store(error + at, sum);
    }
}

/* What codes come to. */
struct trial_acc {
    vf l, ll, lx;
};

NB_LANES_INLINE void trial_add(struct trial_acc *a, vf q, float x, float w)
{
    const vf wq = q * w;
    a->l += wq;
    a->ll += wq * q;
    a->lx += wq * x;
}

NB_LANES_INLINE void trial_store(struct nb_trial_sums *sums, size_t at, const struct trial_acc *a)
{
    vf_store(sums->l + at, a->l);
    vf_store(sums->ll + at, a->ll);
    vf_store(sums->lx + at, a->lx);
}

void NB_LANES_NAME(trial_sums_f32)(struct nb_trial_sums *sums, const struct nb_trials *t)
{
    for (size_t at = 0; at < t->n_trials; at += LANES) {
        const struct trial_lanes by = trial_load(t, at);
        struct trial_acc a = {vf_set(0.0F), vf_set(0.0F), vf_set(0.0F)};
        for (size_t i = 0; i < t->n; i++) {
            const vf q = vf_code((vf_set(t->x[i]) - by.offset) * by.inv, t->lo, t->hi);
            trial_add(&a, q, t->x[i], t->w[i]);
        }
        trial_store(sums, at, &a);
    }
}

void NB_LANES_NAME(trial_sums_nl_f32)(struct nb_trial_sums *sums, const struct nb_trials *t)
{
    for (size_t at = 0; at < t->n_trials; at += LANES) {
        const struct trial_lanes by = trial_load(t, at);
        struct trial_acc a = {vf_set(0.0F), vf_set(0.0F), vf_set(0.0F)};
        for (size_t i = 0; i < t->n; i++)
            trial_add(&a, nl_nearest(vf_set(t->x[i]) * by.inv), t->x[i], t->w[i]);
        trial_store(sums, at, &a);
    }
}
