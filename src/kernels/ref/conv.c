/* kernels/ref/conv.c: convolutions, and what follows one. */
#include "kernels/kernels.h"

#include <math.h>

static float between(float x, float low, float high)
{
    x = x < low ? low : x;
    return high < x ? high : x;
}

static void put(const struct nb_conv_f32 *c, size_t r, size_t i, float s)
{
    const size_t at = r * c->y_stride + i;
    if (c->add)
        s += c->add[at];
    s = between(s, c->low, c->high);
    c->y[at] = c->hardswish ? s * between(s * (1.0F / 6.0F) + 0.5F, 0.0F, 1.0F) : s;
}

void nb_conv_f32_f32_f32_ref(const struct nb_conv_f32 *c)
{
    const size_t panel = c->n_runs * c->len * NB_CONV_PANEL;
    for (size_t r = 0; r < c->n_rows; r++)
        for (size_t i = 0; i < c->n; i++) {
            const float *w = c->w + i / NB_CONV_PANEL * panel + i % NB_CONV_PANEL;
            float s = c->bias[i];
            for (size_t k = 0; k < c->n_runs; k++)
                for (size_t j = 0; j < c->len; j++, w += NB_CONV_PANEL)
                    s = fmaf(c->x[r][c->offset[k] + j], *w, s);
            put(c, r, i, s);
        }
}

void nb_dwconv_f32_f32_f32_ref(const struct nb_conv_f32 *c)
{
    for (size_t r = 0; r < c->n_rows; r++)
        for (size_t i = 0; i < c->n; i++) {
            float s = c->bias[i];
            for (size_t k = 0; k < c->n_runs; k++)
                s = fmaf(c->x[r][c->offset[k] + i], c->w[k * c->n + i], s);
            put(c, r, i, s);
        }
}
