/* numfmt/min_k.c: what q2_k, q4_k and q5_k share: value = (d * scale) * code - dmin * minimum, the twelve bytes
 * of 6-bit scales and minima (q4_k and q5_k), and the search that fits one sub-block again
 * (docs/formats/ggml-blocks.md).
 *
 *   j < 4: sc = s[j] & 63, m = s[j + 4] & 63;
 *   j >= 4: sc = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4, m = (s[j + 4] >> 4) | (s[j] >> 6) << 4
 */
#include "numfmt/min_k.h"

#include <math.h>

enum { SUBS = NB_MIN_K_SUBS, MAX_SUB = NB_MIN_K_SUB };

static void scales_of(uint8_t *sc, uint8_t *m, const uint8_t *s)
{
    for (size_t j = 0; j < 4; j++) {
        sc[j] = s[j] & 63;
        m[j] = s[j + 4] & 63;
        sc[j + 4] = (uint8_t)((s[j + 8] & 15) | (s[j] >> 6) << 4);
        m[j + 4] = (uint8_t)((s[j + 8] >> 4) | (s[j + 4] >> 6) << 4);
    }
}

void nb_min_k_derive(struct nb_grid *g, uint32_t s)
{
    g->scale[s] = g->d * (float)g->scale_code[s];
    g->offset[s] = -(g->dmin * (float)g->min_code[s]);
}

void nb_min_k_read(struct nb_grid *g, const uint8_t *p)
{
    uint8_t sc[SUBS];
    uint8_t m[SUBS];
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(p));
    g->dmin = nb_f16_to_f32(nb_load_u16(p + 2));
    scales_of(sc, m, p + 4);
    for (uint32_t s = 0; s < SUBS; s++) {
        g->scale_code[s] = sc[s];
        g->min_code[s] = m[s];
        nb_min_k_derive(g, s);
    }
}

void nb_min_k_write(uint8_t *p, const struct nb_grid *g)
{
    nb_store_u16(p, nb_f32_to_f16(g->d));
    nb_store_u16(p + 2, nb_f32_to_f16(g->dmin));
    for (size_t j = 0; j < 4; j++) {
        const unsigned sc_lo = (unsigned)g->scale_code[j];
        const unsigned sc_hi = (unsigned)g->scale_code[j + 4];
        const unsigned m_lo = (unsigned)g->min_code[j];
        const unsigned m_hi = (unsigned)g->min_code[j + 4];
        p[4 + j] = (uint8_t)(sc_lo | (sc_hi >> 4) << 6);
        p[8 + j] = (uint8_t)(m_lo | (m_hi >> 4) << 6);
        p[12 + j] = (uint8_t)((sc_hi & 15U) | (m_hi & 15U) << 4);
    }
}

int32_t nb_min_k_round(const struct nb_min_k *k, const struct nb_grid *g, uint32_t i, float x,
                       float *value)
{
    const uint32_t s = i / k->sub;
    const int32_t code = nb_code(x - g->offset[s], nb_inverse(g->scale[s]), 0.0F, k->top);
    *value = g->scale[s] * (float)code + g->offset[s];
    return code;
}

/* One sub-block to be fitted again. */
struct again {
    const struct nb_min_k *k;
    const float *x;
    float w[MAX_SUB];
    float dmin;
};

/* The weighted squared error of its codes on a trial grid. */
static float trial_error(const struct again *a, float scale, float offset)
{
    const float inv = nb_inverse(scale);
    float sum = 0.0F;
    for (uint32_t i = 0; i < a->k->sub; i++) {
        const float x = a->x[i];
        const float value = scale * (float)nb_code(x - offset, inv, 0.0F, a->k->top) + offset;
        sum += a->w[i] * (x - value) * (x - value);
    }
    return sum;
}

/* The best minimum for a scale: rounding and the weighted mean take turns until nothing moves. */
static int32_t settle_min(const struct again *a, float scale, int32_t m)
{
    const float inv = nb_inverse(scale);
    const float inv_dmin = nb_inverse(a->dmin);
    for (int turn = 0; turn < 4; turn++) {
        const float offset = -(a->dmin * (float)m);
        float sum = 0.0F;
        float sum_w = 0.0F;
        for (uint32_t i = 0; i < a->k->sub; i++) {
            const float x = a->x[i];
            const float level = scale * (float)nb_code(x - offset, inv, 0.0F, a->k->top);
            sum += a->w[i] * (level - x);
            sum_w += a->w[i];
        }
        const int32_t next = nb_code(sum / sum_w, inv_dmin, 0.0F, (float)a->k->scale_top);
        if (next == m)
            break;
        m = next;
    }
    return m;
}

/* d and dmin are frozen: integer scales around the one that spans the values (6-bit ones from a fifth
 * smaller to a fifth larger), each with the minima around its best. */
void nb_min_k_refit(const struct nb_min_k *k, struct nb_grid *g, uint32_t s, const float *x,
                    const float *importance)
{
    struct again a = {.k = k, .x = x, .dmin = g->dmin};
    float lo = 0.0F;
    float hi = x[0];
    float best = INFINITY;
    const float top = (float)k->scale_top;
    nb_numfmt_weights(a.w, importance, k->sub);
    for (uint32_t i = 0; i < k->sub; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    const int32_t first = nb_code(-lo, nb_inverse(g->dmin), 0.0F, top);
    const int32_t middle = nb_code((hi - lo) * (1.0F / k->top), nb_inverse(g->d), 0.0F, top);
    const int32_t step = 1 + middle / 30;
    for (int32_t c = middle - 5 * step; c <= middle + 5 * step; c += step) {
        const int32_t sc = NB_MIN(NB_MAX(c, 0), k->scale_top);
        const float scale = g->d * (float)sc;
        const int32_t low = settle_min(&a, scale, first);
        for (int32_t m = NB_MAX(low - 1, 0); m <= NB_MIN(low + 1, k->scale_top); m++) {
            const float e = trial_error(&a, scale, -(g->dmin * (float)m));
            if (e < best) {
                best = e;
                g->scale_code[s] = (int16_t)sc;
                g->min_code[s] = (int16_t)m;
            }
        }
    }
    nb_min_k_derive(g, s);
}

void nb_min_k_values(const struct nb_min_k *k, const struct nb_grid *g, const int8_t *codes,
                     float *dst)
{
    for (size_t s = 0; s < NB_MIN_K_BLOCK / k->sub; s++)
        for (size_t i = s * k->sub; i < (s + 1) * k->sub; i++)
            dst[i] = g->scale[s] * (float)codes[i] + g->offset[s];
}
