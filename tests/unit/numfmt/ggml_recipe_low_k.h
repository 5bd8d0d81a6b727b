/* ggml_recipe_low_k.h: ggml's own encoders of q2_k and q3_k, as ggml_recipe.h has the others. */
#ifndef NB_TESTS_GGML_RECIPE_LOW_K_H
#define NB_TESTS_GGML_RECIPE_LOW_K_H

#include "unit/numfmt/ggml_recipe.h"

/* QP or plain rounding: sixteen scales or minima to 4 bits; returns the step. */
static float recipe_q2_k_codes(int16_t *out, const float *v, const float *sum_w)
{
    int codes[16];
    float step;
    if (sum_w != NULL) {
        step = recipe_qp(16, 15, v, sum_w, codes);
    } else {
        float max = 0.0F;
        for (int j = 0; j < 16; j++)
            max = v[j] > max ? v[j] : max;
        const float inv = max > 0.0F ? 15.0F / max : 0.0F;
        for (int j = 0; j < 16; j++)
            codes[j] = nb_rne(inv * v[j]);
        step = max / 15.0F;
    }
    for (int j = 0; j < 16; j++)
        out[j] = (int16_t)codes[j];
    return recipe_f16(step);
}

static void recipe_q2_k(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    for (size_t at = 0; at < n; at += 256, x += 256, dst += 84) {
        struct nb_grid g;
        int found[16][16];
        int8_t codes[256];
        float scale[16];
        float low[16];
        float sum_w[16];
        const float sigma2 = recipe_square_sum(x, 256) / 256.0F;
        for (size_t j = 0; j < 16; j++) {
            const float *v = x + 16 * j;
            float w[16];
            sum_w[j] = 0.0F;
            for (size_t i = 0; i < 16; i++) {
                w[i] = qw == NULL ? fabsf(v[i]) : qw[at + 16 * j + i] * sqrtf(sigma2 + v[i] * v[i]);
                sum_w[j] += w[i];
            }
            const struct recipe_range range = qw == NULL
                                                  ? (struct recipe_range){-0.5F, 0.1F, 15, true}
                                                  : (struct recipe_range){-0.9F, 0.05F, 36, false};
            scale[j] = recipe_qk(16, 3, v, w, found[j], &low[j], range);
        }
        memset(&g, 0, sizeof g);
        g.d = recipe_q2_k_codes(g.scale_code, scale, qw != NULL ? sum_w : NULL);
        g.dmin = recipe_q2_k_codes(g.min_code, low, qw != NULL ? sum_w : NULL);
        for (size_t i = 0; i < 256; i++) {
            const float d = g.d * (float)g.scale_code[i / 16];
            const float m = g.dmin * (float)g.min_code[i / 16];
            codes[i] = (int8_t)(d == 0.0F ? found[i / 16][i % 16]
                                          : recipe_clamp(nb_rne((x[i] + m) / d), 0, 3));
        }
        nb_numfmt_q2_k.pack(dst, &g, codes);
    }
}

/* Q3: a symmetric scale by coordinate descent over the codes; weights x squared. */
static float recipe_q3(const float *x, int *codes)
{
    const float peak = recipe_peak(x, 16);
    float lx = 0.0F;
    float l2 = 0.0F;
    memset(codes, 0, 16 * sizeof *codes);
    if (fabsf(peak) < 1e-15F)
        return 0.0F;
    for (int i = 0; i < 16; i++) {
        codes[i] = recipe_clamp(nb_rne(-4.0F / peak * x[i]), -4, 3);
        lx += x[i] * x[i] * x[i] * (float)codes[i];
        l2 += x[i] * x[i] * (float)(codes[i] * codes[i]);
    }
    for (int sweep = 0; sweep < 5; sweep++) {
        int changed = 0;
        for (int i = 0; i < 16; i++) {
            const float w = x[i] * x[i];
            float lx1 = lx - w * x[i] * (float)codes[i];
            float l21 = l2 - w * (float)(codes[i] * codes[i]);
            if (!(lx1 > 0.0F))
                continue;
            const int l = recipe_clamp(nb_rne(x[i] * l21 / lx1), -4, 3);
            if (l == codes[i])
                continue;
            lx1 += w * x[i] * (float)l;
            l21 += w * (float)(l * l);
            if (l21 > 0.0F && lx1 * lx1 * l2 > lx * lx * l21) {
                codes[i] = l;
                lx = lx1;
                l2 = l21;
                changed++;
            }
        }
        if (changed == 0)
            break;
    }
    return l2 > 0.0F ? lx / l2 : 0.0F;
}

static void recipe_q3_k(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    for (size_t at = 0; at < n; at += 256, x += 256, dst += 110) {
        struct nb_grid g;
        int found[16][16];
        int8_t codes[256];
        float scale[16];
        float sum_w[16];
        int sc[16] = {0};
        const float sigma2 = 2.0F * recipe_square_sum(x, 256) / 256.0F;
        for (size_t j = 0; j < 16; j++) {
            const float *v = x + 16 * j;
            float w[16];
            sum_w[j] = 0.0F;
            for (size_t i = 0; qw != NULL && i < 16; i++) {
                w[i] = qw[at + 16 * j + i] * sqrtf(sigma2 + v[i] * v[i]);
                sum_w[j] += w[i];
            }
            scale[j] = qw == NULL ? recipe_q3(v, found[j]) : recipe_qx(16, 4, v, w, found[j]);
        }
        memset(&g, 0, sizeof g);
        if (qw != NULL) {
            g.d = recipe_f16(recipe_qx(16, 32, scale, sum_w, sc));
        } else {
            const float peak = recipe_peak(scale, 16);
            const float inv = peak != 0.0F ? -32.0F / peak : 0.0F;
            for (size_t j = 0; j < 16; j++)
                sc[j] = recipe_clamp(nb_rne(inv * scale[j]), -32, 31);
            g.d = inv != 0.0F ? recipe_f16(1.0F / inv) : 0.0F;
        }
        for (size_t j = 0; j < 16; j++)
            g.scale_code[j] = (int16_t)sc[j];
        for (size_t i = 0; i < 256; i++) {
            const float d = g.d * (float)g.scale_code[i / 16];
            codes[i] =
                (int8_t)(d == 0.0F ? found[i / 16][i % 16] : recipe_clamp(nb_rne(x[i] / d), -4, 3));
        }
        nb_numfmt_q3_k.pack(dst, &g, codes);
    }
}

#endif
