/* numfmt/sym_k.c: what q3_k and q6_k share: sixteen sub-blocks of 16 whose signed integer scales multiply one
 * d, value = (d * scale) * code; and the search that fits one sub-block again.
 */
#include "numfmt/sym_k.h"

#include <math.h>

enum { SUB = NB_SYM_K_SUB, SUBS = NB_SYM_K_SUBS };

int32_t nb_sym_k_round(const struct nb_sym_k *k, const struct nb_grid *g, uint32_t i, float x,
                       float *value)
{
    const float scale = g->scale[i / SUB];
    const int32_t code = nb_code(x, nb_inverse(scale), k->lo, k->hi);
    *value = scale * (float)code;
    return code;
}

/* d is frozen: every integer scale there is. */
void nb_sym_k_refit(const struct nb_sym_k *k, struct nb_grid *g, uint32_t s, const float *x,
                    const float *importance)
{
    float w[SUB];
    float error[NB_TRIALS];
    float best = INFINITY;
    struct nb_trials t = {
        .x = x, .w = w, .n = SUB, .lo = k->lo, .hi = k->hi, .n_trials = NB_TRIALS};
    nb_numfmt_weights(w, importance, SUB);
    for (int32_t c = -k->top_scale - 1; c <= k->top_scale; c += NB_TRIALS) {
        for (int32_t i = 0; i < NB_TRIALS; i++) {
            t.scale[i] = g->d * (float)(c + i);
            t.inv[i] = nb_inverse(t.scale[i]);
        }
        nb_kernels_get()->trial_error_f32(error, &t);
        for (int32_t i = 0; i < NB_TRIALS; i++)
            if (error[i] < best) {
                best = error[i];
                g->scale_code[s] = (int16_t)(c + i);
            }
    }
    g->scale[s] = g->d * (float)g->scale_code[s];
}

void nb_sym_k_values(const struct nb_grid *g, const int8_t *codes, float *dst)
{
    for (size_t s = 0; s < SUBS; s++)
        for (size_t i = s * SUB; i < (s + 1) * SUB; i++)
            dst[i] = g->scale[s] * (float)codes[i];
}
