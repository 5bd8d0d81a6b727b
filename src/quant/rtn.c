/* quant/rtn.c: rounding to nearest: every block by itself, its scales fitted with H_ii as the weight of errors
 * (an imatrix). What the others are compared with.
 */
#include "quant/algo_internal.h"

static const struct nb_algo_params params = {
    .damp = 0.01,
    .weigh = NB_WEIGH_DIAG,
};

const struct nb_algo nb_algo_rtn = {
    .name = "rtn",
    .summary = "rounds every block by itself, scales weighted by the diagonal of H",
    .needs = NB_NEEDS_DIAG,
    .params = &params,
};
