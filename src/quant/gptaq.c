/* quant/gptaq.c: kgptq towards targets that make up for the input's mismatch: the input of a layer behind rounded
 * ones is not what the float model had (GPTAQ, Li et al. 2025, arXiv 2504.02692; mismatch.c says what is
 * different here). Without a mismatch it would be kgptq.
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

const struct nb_algo nb_algo_gptaq = {
    .name = "gptaq",
    .summary = "kgptq, and the error that rounded layers before it made is made good",
    .needs = NB_NEEDS_H | NB_NEEDS_MISMATCH,
    .params = &params,
};
