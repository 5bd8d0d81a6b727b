/* quant/gptaq.c: kgptq towards targets that make up for the input's mismatch: the input x of a layer behind rounded
 * ones is not what the float model had, x' (GPTAQ, Li et al. 2025, arXiv 2504.02692).
 *
 * The paper passes triu(dX X^T U^T, 1) U, dX = x' - x, on inside the feedback, column by column, which leaves out
 * what falls on columns already rounded. Here the driver moves the targets by all of it first (staged.c: the
 * shift W C (H + lambda I)^-1), so that late scales and polish know of it too. The residual stream is not
 * in it, which is what kgptq under the driver has beyond that. Blocks with experts have no shift: kgptq.
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
};

const struct nb_algo nb_algo_gptaq = {
    .name = "gptaq",
    .summary = "kgptq, and the error that rounded layers before it made is made good",
    .needs = NB_NEEDS_H,
    .params = &params,
    .as_published = NB_PUBLISHED_INPUT_SHIFT,
};
