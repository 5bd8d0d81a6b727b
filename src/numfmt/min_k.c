/* numfmt/min_k.c: what q4_k and q5_k share: the twelve bytes of 6-bit scales and minima, and the search
 * that fits one sub-block again (docs/formats/ggml-blocks.md).
 *
 *   j < 4: sc = s[j] & 63, m = s[j + 4] & 63;
 *   j >= 4: sc = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4, m = (s[j + 4] >> 4) | (s[j] >> 6) << 4
 */
#include "numfmt/min_k.h"

#include <math.h>

enum { SUB = NB_MIN_K_SUB, SUBS = NB_MIN_K_SUBS };

static void scales_of(uint8_t *sc, uint8_t *m, const uint8_t *s)
{
    for (size_t j = 0; j < 4; j++) {
        sc[j] = s[j] & 63;
        m[j] = s[j + 4] & 63;
        sc[j + 4] = (uint8_t)((s[j + 8] & 15) | (s[j] >> 6) << 4);
        m[j + 4] = (uint8_t)((s[j + 8] >> 4) | (s[j + 4] >> 6) << 4);
    }
}

static void derive(struct nb_grid *g, uint32_t s)
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
        derive(g, s);
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

int32_t nb_min_k_round(const struct nb_grid *g, uint32_t i, float x, float top, float *value)
{
    const uint32_t s = i / SUB;
    const int32_t code = nb_code(x - g->offset[s], nb_inverse(g->scale[s]), 0.0F, top);
    *value = g->scale[s] * (float)code + g->offset[s];
    return code;
}

/* The weighted squared error of one sub-block's codes on a trial grid. */
static float trial_error(const float *x, const float *w, float scale, float offset, float top)
{
    const float inv = nb_inverse(scale);
    float sum = 0.0F;
    for (uint32_t i = 0; i < SUB; i++) {
        const float value = scale * (float)nb_code(x[i] - offset, inv, 0.0F, top) + offset;
        sum += w[i] * (x[i] - value) * (x[i] - value);
    }
    return sum;
}

/* The best minimum for a scale: rounding and the weighted mean take turns until nothing moves. */
static int32_t settle_min(const struct nb_grid *g, const float *x, const float *w, float scale,
                          int32_t m, float top)
{
    const float inv = nb_inverse(scale);
    const float inv_dmin = nb_inverse(g->dmin);
    for (int turn = 0; turn < 4; turn++) {
        const float offset = -(g->dmin * (float)m);
        float sum = 0.0F;
        float sum_w = 0.0F;
        for (uint32_t i = 0; i < SUB; i++) {
            sum += w[i] * (scale * (float)nb_code(x[i] - offset, inv, 0.0F, top) - x[i]);
            sum_w += w[i];
        }
        const int32_t next = nb_code(sum / sum_w, inv_dmin, 0.0F, 63.0F);
        if (next == m)
            break;
        m = next;
    }
    return m;
}

/* d and dmin are frozen: integer scales around the one that spans the values, from a fifth smaller to
 * a fifth larger, each with the minima around its best. */
void nb_min_k_refit(struct nb_grid *g, uint32_t s, const float *x, const float *importance,
                    float top)
{
    float w[SUB];
    float lo = 0.0F;
    float hi = x[0];
    float best = INFINITY;
    nb_numfmt_weights(w, importance, SUB);
    for (uint32_t i = 0; i < SUB; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    const int32_t first = nb_code(-lo, nb_inverse(g->dmin), 0.0F, 63.0F);
    const int32_t middle = nb_code((hi - lo) * (1.0F / top), nb_inverse(g->d), 0.0F, 63.0F);
    const int32_t step = 1 + middle / 30;
    for (int32_t c = middle - 5 * step; c <= middle + 5 * step; c += step) {
        const int32_t sc = NB_MIN(NB_MAX(c, 0), 63);
        const float scale = g->d * (float)sc;
        const int32_t low = settle_min(g, x, w, scale, first, top);
        for (int32_t m = NB_MAX(low - 1, 0); m <= NB_MIN(low + 1, 63); m++) {
            const float e = trial_error(x, w, scale, -(g->dmin * (float)m), top);
            if (e < best) {
                best = e;
                g->scale_code[s] = (int16_t)sc;
                g->min_code[s] = (int16_t)m;
            }
        }
    }
    derive(g, s);
}

void nb_min_k_values(const struct nb_grid *g, const int8_t *codes, float *dst)
{
    for (size_t s = 0; s < SUBS; s++)
        for (size_t i = s * SUB; i < (s + 1) * SUB; i++)
            dst[i] = g->scale[s] * (float)codes[i] + g->offset[s];
}
