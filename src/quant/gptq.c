/* quant/gptq.c: GPTQ as published (Frantar et al. 2023, arXiv 2210.17323): columns in their order, errors fed
 * back, each group's scales from the smallest and largest of its weights when its turn comes, unweighted,
 * 1 % damping, no act-order. For comparison; kgptq.c is what to use.
 *
 * In formats whose scales have no such rule (K-quants) their own search runs unweighted, as in IST's
 * toolkit. Losses are summed without the paper's factor 1/2.
 */
#include "quant/algo_internal.h"

static const struct nb_algo_params params = {
    .feedback = true,
    .damp = 0.01,
    .weigh = NB_WEIGH_NONE,
    .fit = NB_FIT_START,
    .order = NB_ORDER_NONE,
};

static bool supports(const struct nb_coder *c)
{
    return c->dim == 1;
}

const struct nb_algo nb_algo_gptq = {
    .name = "gptq",
    .summary = "GPTQ as published: error feedback, unweighted scales, columns in their order",
    .needs = NB_NEEDS_H,
    .params = &params,
    .scale_search = "minmax",
    .as_published = NB_PUBLISHED_NO_SHIFT,
    .supports = supports,
};
