/* quant/transform_awq.c: columns that meet large inputs are scaled up before rounding (AWQ, Lin et al. 2023,
 * arXiv:2306.00978).
 *
 *   s_j = mean |x_j|^r, then s / sqrt(max s min s);   the r of least loss, r = k / n, k < n
 *
 * With the caller's loss as published: 20 ratios, each measured. Without one the loss is a closed form, so
 * that 200 ratios cost what one pass over some rows costs: a column's error is that of a uniform grid
 * whose step follows from the largest scaled weight of its group,
 *   sum over rows, groups, columns of (E x_j^2 / s_j^2) min(step^2 / 12, (w_j s_j)^2)
 * (the second where a weight rounds to zero). The root mean square of x_j stands in for its mean magnitude
 * where only that is known. Inputs that are always 0 keep a scale of 1.
 *
 * With grouped queries attention's output is scaled too, heads that share v alike; the authors' program leaves
 * it out then. It measures the errors of q, k, v at attention's output, those of gate and up at the block's; here, as
 * in the paper's formula, each layer's own output counts. Not here: the clip search, which is no exact rewrite but
 * a choice of ranges (awq.c).
 */
#include "quant/transform_internal.h"

#include <math.h>
#include <string.h>

#include "math/math.h"

#define FLOOR        1e-4 /* of a scale, before it is normalized */
#define RATIOS       20
#define RATIOS_FREE  200
#define GROUP        128
#define BITS         4
#define SAMPLED_ROWS 64 /* of a matrix, evenly apart */

/* s of one matrix from x (n), magnitudes of its inputs. */
static void scales(double *s, const double *x, size_t n, double ratio)
{
    double low = INFINITY, high = 0.0;
    for (size_t k = 0; k < n; k++) {
        s[k] = fmax(nb_pow(x[k], ratio), FLOOR);
        low = x[k] > 0.0 ? fmin(low, s[k]) : low;
        high = x[k] > 0.0 ? fmax(high, s[k]) : high;
    }
    const double middle = sqrt(low) * sqrt(high);
    for (size_t k = 0; k < n; k++)
        s[k] = x[k] > 0.0 ? s[k] / middle : 1.0;
}

static void all_scales(double *s, const double *x, const struct nb_site *site, double ratio)
{
    for (size_t m = 0; m < site->n_mat; m++)
        scales(s + m * site->n_scales, x + m * site->n_scales, site->n_scales, ratio);
}

/* ---- the closed form ---- */

/* Rows of the readers of a site. Owns: w. Borrows: the rest. */
struct sample {
    const struct nb_site *site;
    const double *x, *moment; /* (n_mat, n_scales) magnitudes; mean squares of the inputs */
    float *w;                 /* (n_mat, cap, n) */
    size_t *n_rows;           /* (n_mat) */
    size_t cap, every, mat_rows;
    size_t group, n_ratios, mat;
    double steps; /* of a grid from -amax to amax */
    double *loss; /* (n_ratios) of matrix mat */
    double *work; /* (n_ratios, n_scales + n) */
    bool apart;
};

static void keep_rows(void *ctx, size_t row, size_t n, const float *x)
{
    struct sample *p = ctx;
    for (size_t k = 0; k < n; k++, x += p->site->n) {
        const size_t mat = p->apart ? (row + k) / p->mat_rows : 0;
        if ((row + k) % p->every != 0 || p->n_rows[mat] == p->cap)
            continue;
        memcpy(p->w + (mat * p->cap + p->n_rows[mat]++) * p->site->n, x, p->site->n * sizeof *x);
    }
}

/* A group of a row under scales s. */
static double group_loss(const struct sample *p, const float *w, const double *s,
                         const double *cost, size_t n)
{
    double amax = 0.0, loss = 0.0;
    for (size_t j = 0; j < n; j++)
        amax = fmax(amax, fabs((double)w[j]) * s[j]);
    const double step = amax / p->steps, noise = step * step / 12.0;
    for (size_t j = 0; j < n; j++) {
        const double v = (double)w[j] * s[j];
        loss += cost[j] * fmin(noise, v * v);
    }
    return loss;
}

static void ratio_losses(void *ctx, size_t begin, size_t end, unsigned worker)
{
    const struct sample *p = ctx;
    const size_t n = p->site->n, at = p->mat * p->site->n_scales;
    (void)worker;
    for (size_t k = begin; k < end; k++) {
        double *tied = p->work + k * (p->site->n_scales + 2 * n);
        double *s = tied + p->site->n_scales, *cost = s + n;
        scales(tied, p->x + at, p->site->n_scales, (double)k / (double)p->n_ratios);
        for (size_t j = 0; j < n; j++) {
            const size_t i = nb_site_scale(p->site, j);
            s[j] = tied[i];
            cost[j] = p->moment[at + i] / (s[j] * s[j]);
        }
        p->loss[k] = 0.0;
        for (size_t r = 0; r < p->n_rows[p->mat]; r++)
            for (size_t j = 0; j < n; j += p->group)
                p->loss[k] += group_loss(p, p->w + (p->mat * p->cap + r) * n + j, s + j, cost + j,
                                         NB_MIN(p->group, n - j));
    }
}

static enum nb_status sample_rows(struct nb_view *v, const struct nb_transform_job *job,
                                  struct sample *p, struct nb_error *err)
{
    const struct nb_site *site = p->site;
    for (size_t r = 0; r < site->n_readers; r++) {
        const size_t i = site->readers[r];
        const size_t rows = (size_t)nb_shape_rows(&v->m->w.items[i].t.shape);
        p->mat_rows = rows / (p->apart ? site->n_mat : 1);
        p->every = NB_MAX(p->mat_rows / SAMPLED_ROWS, 1);
        if (!nb_view_is_rounded(v, i))
            continue;
        for (size_t m = 0; m < site->n_mat; m++) /* room for this reader's */
            nb_assert(p->n_rows[m] + SAMPLED_ROWS <= p->cap);
        NB_TRY(nb_view_each(v, i, keep_rows, p, job->pool, err));
    }
    return NB_OK;
}

static size_t least(const double *loss, size_t n)
{
    size_t best = 0;
    for (size_t k = 1; k < n; k++)
        if (loss[k] < loss[best])
            best = k;
    return best;
}

static enum nb_status closed_form(struct nb_view *v, const struct nb_transform_job *job,
                                  struct sample *p, double *s, double *ratio, struct nb_error *err)
{
    const struct nb_site *site = p->site;
    NB_TRY(sample_rows(v, job, p, err));
    for (p->mat = 0; p->mat < site->n_mat; p->mat++) {
        nb_pool_for(job->pool, p->n_ratios, 4, ratio_losses, p);
        const double best = (double)least(p->loss, p->n_ratios) / (double)p->n_ratios;
        scales(s + p->mat * site->n_scales, p->x + p->mat * site->n_scales, site->n_scales, best);
        *ratio += best / (double)site->n_mat;
    }
    return NB_OK;
}

static enum nb_status choose_free(struct nb_view *v, const struct nb_transform_job *job,
                                  const struct nb_site *site, const double *x, double *s,
                                  double *ratio, struct nb_error *err)
{
    const size_t n_mat = site->n_mat, n_s = site->n_scales;
    const uint32_t bits = job->bits != 0 ? job->bits : BITS;
    struct sample p = {.site = site, .x = x, .apart = n_mat > 1};
    p.group = job->group != 0 ? job->group : GROUP;
    p.n_ratios = job->n_ratios != 0 ? job->n_ratios : RATIOS_FREE;
    p.steps = (ldexp(1.0, (int)bits) - 1.0) / 2.0;
    p.cap = 2 * SAMPLED_ROWS * site->n_readers; /* as rows / every may be twice that */
    double *moment = nb_alloc(v->a, n_mat * n_s, sizeof *moment);
    p.w = nb_alloc(v->a, n_mat * p.cap * site->n, sizeof *p.w);
    p.n_rows = nb_alloc_zero(v->a, n_mat, sizeof *p.n_rows);
    p.loss = nb_alloc(v->a, p.n_ratios, sizeof *p.loss);
    p.work = nb_alloc(v->a, p.n_ratios * (n_s + 2 * site->n), sizeof *p.work);
    p.moment = moment;
    enum nb_status st = NB_OK;
    if (moment == NULL || p.w == NULL || p.n_rows == NULL || p.loss == NULL || p.work == NULL)
        st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory for %zu ratios", p.n_ratios);
    if (st == NB_OK && !nb_site_stat(job, site, NB_STAT_RMS, moment))
        memcpy(moment, x, n_mat * n_s * sizeof *moment);
    for (size_t k = 0; k < n_mat * n_s && st == NB_OK; k++)
        moment[k] *= moment[k];
    if (st == NB_OK)
        st = closed_form(v, job, &p, s, ratio, err);
    nb_free(v->a, moment);
    nb_free(v->a, p.w);
    nb_free(v->a, p.n_rows);
    nb_free(v->a, p.loss);
    nb_free(v->a, p.work);
    return st;
}

/* ---- the measured loss ---- */

static enum nb_status choose_measured(struct nb_view *v, const struct nb_transform_job *job,
                                      const struct nb_site *site, const double *x, double *s,
                                      double *ratio, struct nb_error *err)
{
    const uint32_t n = job->n_ratios != 0 ? job->n_ratios : RATIOS;
    double best = INFINITY, loss;
    for (uint32_t k = 0; k < n; k++) {
        const double r = (double)k / (double)n;
        all_scales(s, x, site, r);
        NB_TRY(job->loss(job->loss_ctx, v, site, k == 0 ? NULL : s, &loss, err));
        if (loss < best) {
            best = loss;
            *ratio = r;
        }
    }
    all_scales(s, x, site, *ratio);
    return NB_OK;
}

/* ---- the transform ---- */

static enum nb_status choose(struct nb_view *v, const struct nb_transform_job *job,
                             const struct nb_site *site, double *s, double *parameter,
                             enum nb_choice *choice, struct nb_error *err)
{
    double *x = nb_alloc(v->a, site->n_mat * site->n_scales, sizeof *x);
    if (x == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    enum nb_status st = NB_OK;
    if (nb_site_stat(job, site, NB_STAT_MEAN_ABS, x) || nb_site_stat(job, site, NB_STAT_RMS, x)) {
        st = job->loss != NULL ? choose_measured(v, job, site, x, s, parameter, err)
                               : choose_free(v, job, site, x, s, parameter, err);
        *choice = *parameter > 0.0 ? NB_CHOSEN : NB_IDLE; /* a ratio of 0: all scales are 1 */
    }
    nb_free(v->a, x);
    return st;
}

static const struct nb_scaling scaling = {
    .name = "awq",
    .kinds = (1U << NB_N_SITE_KINDS) - 1 - (1U << NB_SITE_HEAD),
    .choose = choose,
};

static enum nb_status apply(struct nb_view *v, const struct nb_transform_job *job,
                            struct nb_transform_report *report, struct nb_error *err)
{
    if (job->bits > 16)
        NB_FAIL(err, NB_ERR_ARG, "'awq': codes of %u bits, expected at most 16", job->bits);
    return nb_scaling_apply(&scaling, v, job, report, err);
}

const struct nb_transform nb_transform_awq = {
    .name = "awq",
    .summary = "columns that meet large inputs scaled up before rounding (AWQ)",
    .stats = 1U << NB_STAT_MEAN_ABS | 1U << NB_STAT_RMS,
    .apply = apply,
};
