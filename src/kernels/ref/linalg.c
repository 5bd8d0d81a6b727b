/* kernels/ref/linalg.c: the inner loops of dense linear algebra. */
#include "kernels/kernels.h"

#include <math.h>

void nb_outer_f64_f32_f32_ref(double *h, size_t h_stride, const float *a, const float *b, size_t n)
{
    for (size_t r = 0; r < NB_OUTER_ROWS; r++)
        for (size_t c = 0; c < NB_OUTER_COLS; c++) {
            float s = 0.0F;
            for (size_t k = 0; k < n; k++)
                s = fmaf(a[k * NB_OUTER_ROWS + r], b[k * NB_OUTER_COLS + c], s);
            h[r * h_stride + c] += (double)s;
        }
}

void nb_tile_f64_f64_f64_ref(double *c, size_t c_stride, const double *a, const double *b, size_t n)
{
    for (size_t k = 0; k < n; k++, a += NB_TILE64_ROWS, b += NB_TILE64_COLS)
        for (size_t r = 0; r < NB_TILE64_ROWS; r++)
            for (size_t j = 0; j < NB_TILE64_COLS; j++)
                c[r * c_stride + j] = fma(a[r], b[j], c[r * c_stride + j]);
}

void nb_solve_f64_f64_ref(double *x, const double *t, size_t n)
{
    for (size_t j = n; j-- > 0;)
        for (size_t l = 0; l < 8; l++) {
            x[j * 8 + l] /= t[j * n + j];
            for (size_t i = 0; i < j; i++)
                x[i * 8 + l] = fma(-t[j * n + i], x[j * 8 + l], x[i * 8 + l]);
        }
}

void nb_gemmsub_f32_f32_f32_ref(float *w, size_t w_stride, const float *e, size_t e_stride,
                                const float *u, size_t u_stride, size_t rows, size_t b, size_t n)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < b; k++)
            for (size_t j = 0; j < n; j++)
                w[r * w_stride + j] =
                    fmaf(-e[r * e_stride + k], u[k * u_stride + j], w[r * w_stride + j]);
}
