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

/* The codes of one sub-block on a trial scale; returns their weighted squared error. */
static float trial_error(const struct nb_sym_k *k, const float *x, const float *w, float scale)
{
    const float inv = nb_inverse(scale);
    float sum = 0.0F;
    for (uint32_t i = 0; i < SUB; i++) {
        const float diff = x[i] - scale * (float)nb_code(x[i], inv, k->lo, k->hi);
        sum += w[i] * diff * diff;
    }
    return sum;
}

/* d is frozen: integer scales around those that put the largest weight on the last code of either
 * side, from a fifth (few codes: a half) smaller to as much larger. */
void nb_sym_k_refit(const struct nb_sym_k *k, struct nb_grid *g, uint32_t s, const float *x,
                    const float *importance)
{
    float w[SUB];
    float amax = 0.0F;
    float best = INFINITY;
    const float top = (float)k->top_scale;
    nb_numfmt_weights(w, importance, SUB);
    for (uint32_t i = 0; i < SUB; i++) {
        const float a = x[i] < 0.0F ? -x[i] : x[i];
        amax = a > amax ? a : amax;
    }
    const int32_t middle = nb_code(amax * (2.0F / (k->hi - k->lo)), nb_inverse(g->d), -top, top);
    const int32_t size = middle < 0 ? -middle : middle;
    const int32_t step = 1 + size / k->steps;
    for (int32_t c = size - 10 * step; c <= size + 10 * step; c += step) {
        for (int32_t sign = -1; sign <= 1; sign += 2) {
            const int32_t code = sign * NB_MIN(NB_MAX(c, 0), k->top_scale);
            const float e = trial_error(k, x, w, g->d * (float)code);
            if (e < best) {
                best = e;
                g->scale_code[s] = (int16_t)code;
            }
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
