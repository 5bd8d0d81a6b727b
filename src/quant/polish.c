/* quant/polish.c: coordinate descent and least squares of scales under H, from rounding to nearest, without
 * any factorization (polish_rows.c, polish_scales.c). Most of the gain at a fraction of the memory traffic.
 */
#include "quant/algo_internal.h"

static const struct nb_algo_params params = {
    .damp = 0.01,
    .weigh = NB_WEIGH_DIAG,
    .polish = 4,
    .polish_damp = 0.01,
};

const struct nb_algo nb_algo_polish = {
    .name = "polish",
    .summary = "rounding to nearest, then coordinate descent and least squares of scales",
    .needs = NB_NEEDS_H,
    .params = &params,
};
