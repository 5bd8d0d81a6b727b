/* quant/transform_equalize.c: the same range for the rows that make a value and the columns that read it
 * (cross-layer equalization, Nagel et al. 2019, arXiv:1906.04721), and bias correction (the same, 4.2).
 *
 *   s_i = sqrt(r1_i r2_i) / r2_i,   r1_i = amax(W1_i:), r2_i = amax(W2_:i);   W1_i: / s_i, W2_:i s_i
 *
 * For formats whose rows or columns share a scale. The paper iterates over a chain of layers until s is 1;
 * in a transformer no pair (v and output, up and down) shares a channel with another pair, so that one
 * round is the fixed point. Heads that share v share s. Biases are not absorbed: no ReLU stands between.
 */
#include "quant/transform_internal.h"

#include <math.h>

#include "math/math.h"

static enum nb_status choose_ranges(struct nb_view *v, const struct nb_transform_job *job,
                                    const struct nb_site *site, double *r1, double *s,
                                    struct nb_error *err)
{
    const size_t n = site->n_mat * site->n_scales;
    double *r2 = r1 + n;
    NB_TRY(nb_site_row_amax(v, site, r1, job->pool, err));
    NB_TRY(nb_site_column_amax(v, site, r2, job->pool, err));
    for (size_t k = 0; k < n; k++) { /* a channel that is 0 on either side stays */
        const double ratio = r1[k] > 0.0 && r2[k] > 0.0 ? r1[k] / r2[k] : 1.0;
        /* squared: a factor 1 / s of what is read is 1 / sqrt(s) of the rows: r1 / sqrt(s) = r2 s */
        s[k] = site->squared ? nb_pow(ratio, 2.0 / 3.0) : sqrt(ratio);
    }
    return NB_OK;
}

static enum nb_status choose(struct nb_view *v, const struct nb_transform_job *job,
                             const struct nb_site *site, double *s, double *parameter,
                             enum nb_choice *choice, struct nb_error *err)
{
    const size_t n = site->n_mat * site->n_scales;
    double *r1 = nb_alloc(v->a, 2 * n, sizeof *r1);
    if (r1 == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    const enum nb_status st = choose_ranges(v, job, site, r1, s, err);
    nb_free(v->a, r1);
    *choice = NB_CHOSEN;
    *parameter = 0.0;
    for (size_t k = 0; k < n && st == NB_OK; k++)
        *parameter = fmax(*parameter, fmax(s[k], 1.0 / s[k])); /* the largest change */
    return st;
}

static const struct nb_scaling scaling = {
    .name = "equalize",
    .kinds = 1U << NB_SITE_ATTN_OUT | 1U << NB_SITE_FFN_DOWN | 1U << NB_SITE_EXPERT_DOWN |
             1U << NB_SITE_SHARED_DOWN,
    .rows_only = true,
    .choose = choose,
};

static enum nb_status apply(struct nb_view *v, const struct nb_transform_job *job,
                            struct nb_transform_report *report, struct nb_error *err)
{
    return nb_scaling_apply(&scaling, v, job, report, err);
}

const struct nb_transform nb_transform_equalize = {
    .name = "equalize",
    .summary = "equal ranges of v's rows and output's columns, of up's and down's; needs no data",
    .apply = apply,
};
