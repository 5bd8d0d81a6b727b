/* quant/kgptq.c: the whole chain, for any format: columns ordered within the layout, errors fed back, scales
 * fitted to the moving targets with the weights that errors have under feedback (D_i), each sub-block's again
 * at its turn, and coordinate descent with least squares of the scales at the end (feedback.c, polish_rows.c).
 */
#include "quant/algo_internal.h"

static const struct nb_algo_params params = {
    .feedback = true,
    .damp = 0.01,
    .weigh = NB_WEIGH_SCHUR,
    .fit = NB_FIT_LATE,
    .order = NB_ORDER_LAYOUT,
    .polish = 4,
    .polish_damp = 0.01,
};

static bool supports(const struct nb_coder *c)
{
    (void)c;
    return true;
}

static enum nb_status prepare(struct nb_prepared **out, const struct nb_algo_job *job,
                              struct nb_error *err)
{
    return nb_algo_prepare(out, job, &params, err);
}

const struct nb_algo nb_algo_kgptq = {
    .name = "kgptq",
    .summary = "ordered feedback, weighted scales fitted late, polish: the best there is",
    .needs = NB_NEEDS_H,
    .params = &params,
    .supports = supports,
    .prepare = prepare,
    .rows = nb_algo_rows,
    .destroy = nb_prepared_destroy,
};
