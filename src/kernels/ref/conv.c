/* kernels/ref/conv.c: convolutions of single channels, and what follows a convolution. */
#include "kernels/kernels.h"

#include <math.h>

void nb_dwconv_f32_f32_f32_ref(const struct nb_dwconv *d)
{
    for (size_t r = 0; r < d->n_rows; r++)
        for (size_t i = 0; i < d->n; i++) {
            float s = d->bias[i];
            for (size_t t = 0; t < d->n_taps; t++)
                s = fmaf(d->x[r * d->n_taps + t][i], d->w[t * d->n + i], s);
            d->y[r * d->y_stride + i] = s;
        }
}

void nb_clip_f32_ref(float *y, const float *x, size_t n, float low, float high)
{
    for (size_t i = 0; i < n; i++) {
        const float a = x[i] < low ? low : x[i];
        y[i] = high < a ? high : a;
    }
}
