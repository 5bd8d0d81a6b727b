/* ggml_recipe_4bit.h: the published behaviour of ggml's encoders of the 4-bit table formats, as in
 * ggml_recipe.h.
 */
#ifndef NB_TESTS_GGML_RECIPE_4BIT_H
#define NB_TESTS_GGML_RECIPE_4BIT_H

#include "ggml_recipe.h"
#include "kernels/fp4.h"
#include "kernels/nl.h"

/* Scale search on the table; its codes are not kept. w NULL: x squared. */
static float recipe_nl_scale(const float *x, const float *w)
{
    const float peak = recipe_peak(x, 32);
    float scale = 0.0F;
    float best = 0.0F;
    if (fabsf(peak) < 1e-15F)
        return 0.0F;
    for (int step = 0; step < 16; step++) {
        /* The first one puts the peak where the table has no value; the original does so, too. */
        const float inv = step == 0 ? 1.0F / (peak / 127.0F) : (float)(step - 8 - 127) / peak;
        float qx = 0.0F;
        float q2 = 0.0F;
        for (size_t i = 0; i < 32; i++) {
            const float q = (float)nb_nl_values[nb_nl_nearest(inv * x[i])];
            const float wi = w != NULL ? w[i] : x[i] * x[i];
            qx += wi * q * x[i];
            q2 += wi * q * q;
        }
        if (q2 > 0.0F && (step == 0 || qx * qx > best * q2)) {
            scale = qx / q2;
            best = scale * qx;
        }
    }
    return scale;
}

static void recipe_nl_codes(int8_t *codes, const float *x, float scale)
{
    const float inv = scale != 0.0F ? 1.0F / scale : 0.0F;
    for (size_t i = 0; i < 32; i++)
        codes[i] = nb_nl_values[nb_nl_nearest(inv * x[i])];
}

/* n: one row, blocks of `block`; NULL if there is no importance. */
static const float *recipe_nl_weights(float *w, const float *x, const float *qw, size_t block)
{
    if (qw == NULL)
        return NULL;
    const float sigma2 = 2.0F * recipe_square_sum(x, block) / (float)block;
    for (size_t i = 0; i < block; i++)
        w[i] = qw[i] * sqrtf(sigma2 + x[i] * x[i]);
    return w;
}

static void recipe_iq4_nl(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    for (size_t at = 0; at < n; at += 32, dst += 18) {
        float w[32];
        int8_t codes[32];
        const float scale =
            recipe_nl_scale(x + at, recipe_nl_weights(w, x + at, qw != NULL ? qw + at : NULL, 32));
        const struct nb_grid g = {.d = recipe_f16(scale)};
        recipe_nl_codes(codes, x + at, scale);
        nb_numfmt_iq4_nl.pack(dst, &g, codes);
    }
}

static void recipe_iq4_xs(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    for (size_t at = 0; at < n; at += 256, dst += 136) {
        struct nb_grid g;
        float w[256];
        float scale[8];
        int8_t codes[256];
        const float *weight = recipe_nl_weights(w, x + at, qw != NULL ? qw + at : NULL, 256);
        for (size_t j = 0; j < 8; j++)
            scale[j] = recipe_nl_scale(x + at + 32 * j, weight != NULL ? weight + 32 * j : NULL);
        memset(&g, 0, sizeof g);
        const float d = -recipe_peak(scale, 8) / 32.0F;
        const float inv = d != 0.0F ? 1.0F / d : 0.0F;
        g.d = recipe_f16(d);
        for (size_t j = 0; j < 8; j++) {
            g.scale_code[j] = (int16_t)recipe_clamp(nb_rne(inv * scale[j]), -32, 31);
            recipe_nl_codes(codes + 32 * j, x + at + 32 * j, d * (float)g.scale_code[j]);
        }
        nb_numfmt_iq4_xs.pack(dst, &g, codes);
    }
}

/* Nibble of the value nearest to x under this scale, the first of equals. */
static unsigned recipe_fp4_nearest(float x, float scale)
{
    unsigned found = 0;
    for (unsigned i = 1; i < 16; i++)
        if (fabsf((float)nb_fp4_values[i] * scale - x) <
            fabsf((float)nb_fp4_values[found] * scale - x))
            found = i;
    return found;
}

static void recipe_fp4_nibbles(uint8_t *qs, const float *x, size_t n, float scale)
{
    for (size_t i = 0; i < n / 2; i++)
        qs[i] = (uint8_t)(recipe_fp4_nearest(x[i], scale) | recipe_fp4_nearest(x[i + n / 2], scale)
                                                                << 4);
}

static void recipe_mxfp4(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    (void)qw;
    for (size_t at = 0; at < n; at += 32, dst += 17) {
        const float amax = fabsf(recipe_peak(x + at, 32));
        const int e = amax > 0.0F ? NB_MAX(ilogbf(amax) - 2 + 127, 0) : 0;
        dst[0] = (uint8_t)e;
        recipe_fp4_nibbles(dst + 1, x + at, 32, ldexpf(1.0F, e - 128));
    }
}

/* To E4M3, halves upwards; what would need the highest exponent becomes the largest number. */
static uint8_t recipe_e4m3(float x)
{
    if (!(x > 0.0F))
        return 0;
    if (x < 0x1p-6F)
        return (uint8_t)NB_MIN((int)(x * 512.0F + 0.5F), 8);
    if (x > 448.0F)
        return 0x7e;
    const uint32_t code = ((nb_f32_bits(x) + (1U << 19)) >> 20) - 960U;
    return (uint8_t)(code >= 0x78U ? 0x7eU : code);
}

static void recipe_nvfp4(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    (void)qw;
    for (size_t at = 0; at < n; at += 64, dst += 36) {
        for (size_t s = 0; s < 4; s++) {
            const float *sub = x + at + 16 * s;
            dst[s] = recipe_e4m3(fabsf(recipe_peak(sub, 16)) / 6.0F);
            recipe_fp4_nibbles(dst + 4 + 8 * s, sub, 16, 0.5F * nb_e4m3_value(dst[s]));
        }
    }
}

#endif
