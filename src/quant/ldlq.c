/* quant/ldlq.c: block LDLQ for formats whose code words hold several columns (iq2, iq3, vector codebooks): LDLQ
 * (Chee et al. 2023, arXiv 2307.13304) in steps of a code word, as in QuIP# (Tseng et al. 2024, arXiv 2402.04396).
 * A word is rounded as a whole, its errors weighed by the diagonal of its Schur complement.
 */
#include "quant/algo_internal.h"

static const struct nb_algo_params params = {
    .feedback = true,
    .damp = 0.01,
    .weigh = NB_WEIGH_SCHUR,
    .fit = NB_FIT_LATE,
    .order = NB_ORDER_LAYOUT,
};

static bool supports(const struct nb_coder *c)
{
    return c->dim > 1;
}

const struct nb_algo nb_algo_ldlq = {
    .name = "ldlq",
    .summary = "block LDL feedback for vector formats, word by word",
    .needs = NB_NEEDS_H,
    .params = &params,
    .supports = supports,
};
