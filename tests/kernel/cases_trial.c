/* Inputs of trial_error_f32, trial_error_nl_f32 and trial_sums_f32. */
#include "cases.h"

#include <string.h>

size_t trial_count(void)
{
    return (size_t)33 * 4 * PAT_COUNT;
}

/* n: elements; rows: trials; variant: with offsets */
void trial_case(struct kase *c, size_t i)
{
    c->n = i % 33;
    c->rows = i / 33 % 2 == 0 ? 8 : 16;
    c->variant = (unsigned)(i / 66 % 2);
    c->pattern = (enum pattern)(i / (33 * (size_t)4) % PAT_COUNT);
    c->shift = i % 3;
}

static float unit(struct work *w)
{
    return (float)(work_next(w) >> 40) * 0x1p-24F;
}

/* Finite: NaN and infinity never get here. */
static float tame(float v, float top)
{
    return v - v != 0.0F ? 1.0F : v > top ? top : v < -top ? -top : v;
}

static void setup(struct work *w, const struct kase *c)
{
    float *x = floats(w, 0, c->n, c);
    float *weight = work_place(w, 1, c->n * sizeof *weight, c->shift * sizeof *weight);
    struct nb_trials *t = work_place(w, 2, sizeof *t, 0);
    memset(t, 0, sizeof *t);
    for (size_t i = 0; i < c->n; i++) {
        x[i] = tame(x[i], 0x1p40F);
        weight[i] = work_next(w) % 8 == 0 ? 0.0F : unit(w);
    }
    t->x = x;
    t->w = weight;
    t->n = c->n;
    t->n_trials = c->rows;
    t->lo = c->variant == 0 ? -32.0F : 0.0F;
    t->hi = c->variant == 0 ? 31.0F : 15.0F;
    for (size_t k = 0; k < c->rows; k++) {
        t->scale[k] = k % 5 == 4 ? 0.0F : (unit(w) - 0.5F) * 0.25F;
        t->inv[k] = t->scale[k] == 0.0F ? 0.0F : 1.0F / t->scale[k];
        t->offset[k] = c->variant == 0 ? 0.0F : -unit(w);
    }
}

void setup_trial(struct work *w, const struct kase *c)
{
    setup(w, c);
    float *error = work_place(w, 3, c->rows * sizeof *error, c->shift * sizeof *error);
    memset(error, 0x5a, c->rows * sizeof *error);
    work_add_out(w, error, c->rows * sizeof *error, true);
}

void setup_trial_sums(struct work *w, const struct kase *c)
{
    setup(w, c);
    struct nb_trial_sums *sums = work_place(w, 3, sizeof *sums, 0);
    memset(sums, 0, sizeof *sums);
    work_add_out(w, sums, sizeof *sums, true);
}

void call_trial_error(void (*fn)(void), struct work *w, const struct kase *c)
{
    (void)c;
    ((nb_trial_error_f32_fn *)fn)(w->p[3], w->p[2]);
}

void call_trial_sums(void (*fn)(void), struct work *w, const struct kase *c)
{
    (void)c;
    ((nb_trial_sums_f32_fn *)fn)(w->p[3], w->p[2]);
}
