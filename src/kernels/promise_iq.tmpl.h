/* kernels/promise_iq.tmpl.h: what the scale d of an IQ block promises, by parabolas, a d a lane.
 *
 * Sub-blocks and parabolas are walked in index order, so the sums are the same bits for any lanes.
 */
#include "kernels/kernels.h"
#include "kernels/lanes.h"

#include <math.h>

/* The least error of sub-block i. */
NB_LANES_INLINE vf promise_sub(const struct nb_iq_lines *u, uint32_t i, vf d, vf inv)
{
    vf best = vf_set(INFINITY);
    for (uint32_t k = 0; k < u->n; k++) {
        const vf vertex = vf_set(u->vertex[k][i]);
        const vf code = vf_code(vertex * inv - 0.5F, 0.0F, 15.0F);
        const vf off = (d * (code + 0.5F)) * u->unit - vertex;
        best = vf_min((off * off) * u->bend[k][i] + u->least[k][i], best);
    }
    return best;
}

void NB_LANES_NAME(promise_iq_f32)(float *error, const struct nb_iq_lines *u, const float *d,
                                   const float *inv, size_t n)
{
    for (size_t at = 0; at < n; at += LANES) {
        const size_t used = n - at < LANES ? n - at : LANES;
        float d_lane[LANES];
        float inv_lane[LANES];
        float sum_lane[LANES];
        for (size_t l = 0; l < LANES; l++) {
            d_lane[l] = d[at + (l < used ? l : used - 1)];
            inv_lane[l] = inv[at + (l < used ? l : used - 1)];
        }
        vf sum = vf_set(0.0F);
        for (uint32_t i = 0; i < u->n_subs; i++)
            sum += promise_sub(u, i, vf_load(d_lane), vf_load(inv_lane));
        vf_store(sum_lane, sum);
        memcpy(error + at, sum_lane, used * sizeof *error);
    }
}
