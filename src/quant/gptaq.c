/* quant/gptaq.c: kgptq towards targets that make up for the input's mismatch: the input of a layer behind rounded
 * ones is not what the float model had (GPTAQ, Li et al. 2025, arXiv 2504.02692; mismatch.c says what is
 * different here). A job without a mismatch is refused: it would be kgptq.
 */
#include "quant/algo_internal.h"

static const struct nb_algo_params params = {
    .feedback = true,
    .damp = 0.01,
    .weigh = NB_WEIGH_SCHUR,
    .fit = NB_FIT_LATE,
    .order = NB_ORDER_AUTO,
    .polish = 4,
    .polish_damp = 0.01,
    .mismatch = 1.0,
};

static bool supports(const struct nb_coder *c)
{
    (void)c;
    return true;
}

static enum nb_status prepare(struct nb_prepared **out, const struct nb_algo_job *job,
                              struct nb_error *err)
{
    *out = NULL;
    if (job->mismatch == NULL)
        NB_FAIL(
            err, NB_ERR_UNSUPPORTED,
            "gptaq needs the mismatch between the float model's inputs and those of the rounded "
            "one, which this run does not measure; kgptq is the same without it");
    return nb_algo_prepare(out, job, &params, err);
}

const struct nb_algo nb_algo_gptaq = {
    .name = "gptaq",
    .summary = "kgptq, and the error that rounded layers before it made is made good",
    .needs = NB_NEEDS_H | NB_NEEDS_MISMATCH,
    .params = &params,
    .supports = supports,
    .prepare = prepare,
    .rows = nb_algo_rows,
    .destroy = nb_prepared_destroy,
};
