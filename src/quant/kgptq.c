/* quant/kgptq.c: the whole chain, for any format: columns ordered, errors fed back, scales fitted with the weights
 * that errors have under feedback (D_i), and coordinate descent with least squares of the scales at the end
 * (feedback.c, polish_rows.c).
 *
 * Formats whose blocks have inner scales, and code words of several columns, are ordered within the layout and
 * fitted late: their scales follow the moving targets. Where a block has one scale, taking all columns by
 * H_ii wins more than that (bench-layer, 1024 columns: int4_g128 -4.24 dB against -3.96, q4_0 -4.23 against
 * -4.13; the other way round q4_k -4.10 against -4.18, iq2_xs -3.67 against -3.80).
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

const struct nb_algo nb_algo_kgptq = {
    .name = "kgptq",
    .summary = "ordered feedback, weighted scales fitted late, polish: the best there is",
    .needs = NB_NEEDS_H,
    .params = &params,
};
