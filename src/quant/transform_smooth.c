/* quant/transform_smooth.c: outliers of activations moved into the weights (SmoothQuant, Xiao et al. 2023,
 * arXiv:2211.10438).
 *
 *   s_j = amax(x_j)^alpha / amax(W_:j)^(1 - alpha),   x_j / s_j,   W_:j s_j
 *
 * For formats of few bits on both sides. As published at what norms feed; amax below 1e-5 counts as that.
 * With a loss alpha is searched for each site, and a site that nothing improves stays as it is.
 */
#include "quant/transform_internal.h"

#include <math.h>

#include "math/math.h"

#define FLOOR       1e-5
#define ALPHA       0.5
#define GRID_FIRST  0.3 /* alphas tried */
#define GRID_STEP   0.05
#define GRID_ALPHAS 14

static void scales(double *s, const double *x, const double *w, size_t n, double alpha)
{
    for (size_t k = 0; k < n; k++) {
        const double a = nb_pow(fmax(x[k], FLOOR), alpha);
        s[k] = fmax(a / nb_pow(fmax(w[k], FLOOR), 1.0 - alpha), FLOOR);
    }
}

/* The alpha of least loss; 0: none is better than no scales. */
static enum nb_status search(struct nb_view *v, const struct nb_transform_job *job,
                             const struct nb_site *site, const double *x, const double *w,
                             double *s, double *alpha, struct nb_error *err)
{
    const size_t n = site->n_mat * site->n_scales;
    double best, loss;
    NB_TRY(job->loss(job->loss_ctx, v, site, NULL, &best, err));
    *alpha = 0.0;
    for (size_t k = 0; k < GRID_ALPHAS; k++) {
        const double a = GRID_FIRST + GRID_STEP * (double)k;
        scales(s, x, w, n, a);
        NB_TRY(job->loss(job->loss_ctx, v, site, s, &loss, err));
        if (loss < best) {
            best = loss;
            *alpha = a;
        }
    }
    return NB_OK;
}

static enum nb_status choose_alpha(struct nb_view *v, const struct nb_transform_job *job,
                                   const struct nb_site *site, double *x, double *s,
                                   double *parameter, enum nb_choice *choice, struct nb_error *err)
{
    const size_t n = site->n_mat * site->n_scales;
    double *w = x + n;
    if (!nb_site_stat(job, site, NB_STAT_AMAX, x))
        return NB_OK;
    NB_TRY(nb_site_column_amax(v, site, w, job->pool, err));
    *parameter = job->alpha > 0.0 ? job->alpha : ALPHA;
    if (job->alpha <= 0.0 && job->loss != NULL)
        NB_TRY(search(v, job, site, x, w, s, parameter, err));
    *choice = *parameter > 0.0 ? NB_CHOSEN : NB_IDLE;
    scales(s, x, w, n, *parameter);
    return NB_OK;
}

static enum nb_status choose(struct nb_view *v, const struct nb_transform_job *job,
                             const struct nb_site *site, double *s, double *parameter,
                             enum nb_choice *choice, struct nb_error *err)
{
    double *x = nb_alloc(v->a, 2 * site->n_mat * site->n_scales, sizeof *x);
    if (x == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    const enum nb_status st = choose_alpha(v, job, site, x, s, parameter, choice, err);
    nb_free(v->a, x);
    return st;
}

static const struct nb_scaling scaling = {
    .name = "smooth",
    .kinds = 1U << NB_SITE_ATTN_IN | 1U << NB_SITE_FFN_IN,
    .choose = choose,
};

static enum nb_status apply(struct nb_view *v, const struct nb_transform_job *job,
                            struct nb_transform_report *report, struct nb_error *err)
{
    if (!(job->alpha >= 0.0 && job->alpha <= 1.0))
        NB_FAIL(err, NB_ERR_ARG, "'smooth': alpha is %g, expected 0 to 1", job->alpha);
    return nb_scaling_apply(&scaling, v, job, report, err);
}

const struct nb_transform nb_transform_smooth = {
    .name = "smooth",
    .summary = "outliers of activations into the weights behind norms (SmoothQuant)",
    .stats = 1U << NB_STAT_AMAX,
    .apply = apply,
};
