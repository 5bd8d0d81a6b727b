/* ggml_recipe_few.h: ggml's encoders for one and two bits (see ggml_recipe.h). They ignore importance. */
#ifndef NB_TESTS_GGML_RECIPE_FEW_H
#define NB_TESTS_GGML_RECIPE_FEW_H

#include "ggml_recipe.h"

static void recipe_q1_0(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    (void)qw;
    for (size_t at = 0; at < n; at += 128, dst += 18) {
        struct nb_grid g = {.d = 0.0F};
        int8_t codes[128];
        for (size_t i = 0; i < 128; i++) {
            g.d += fabsf(x[at + i]);
            codes[i] = x[at + i] >= 0.0F ? 1 : -1;
        }
        g.d /= 128.0F;
        nb_numfmt_q1_0.pack(dst, &g, codes);
    }
}

/* Scale by the largest magnitude, codes -1..top. */
static void recipe_by_max(const struct nb_numfmt *f, uint8_t *dst, const float *x, size_t n)
{
    for (size_t at = 0; at < n; at += f->block, dst += f->block_bytes) {
        struct nb_grid g = {.d = 0.0F};
        int8_t codes[256];
        g.d = fabsf(recipe_peak(x + at, (int)f->block));
        const float inv = g.d != 0.0F ? 1.0F / g.d : 0.0F;
        for (size_t i = 0; i < f->block; i++)
            codes[i] = (int8_t)recipe_clamp((int)roundf(x[at + i] * inv), -1, f->code_max);
        f->pack(dst, &g, codes);
    }
}

static void recipe_q2_0(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    (void)qw;
    recipe_by_max(&nb_numfmt_q2_0, dst, x, n);
}

static void recipe_tq1_0(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    (void)qw;
    recipe_by_max(&nb_numfmt_tq1_0, dst, x, n);
}

static void recipe_tq2_0(uint8_t *dst, const float *x, const float *qw, size_t n)
{
    (void)qw;
    recipe_by_max(&nb_numfmt_tq2_0, dst, x, n);
}

#endif
