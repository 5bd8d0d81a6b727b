/* kernels/ref/vec.c: conversions and element-wise operations. base/half.h specifies the conversions. */
#include "kernels/ref/ref.h"

void nb_cvt_f32_f16_ref(float *dst, const uint16_t *src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = nb_f16_to_f32(src[i]);
}

void nb_cvt_f16_f32_ref(uint16_t *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = nb_f32_to_f16(src[i]);
}

void nb_cvt_f32_bf16_ref(float *dst, const uint16_t *src, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t u = (uint32_t)src[i]
                           << 16; /* bits, so that a signaling NaN stays as it is */
        memcpy(dst + i, &u, sizeof u);
    }
}

void nb_cvt_bf16_f32_ref(uint16_t *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = nb_f32_to_bf16(src[i]);
}

void nb_add_f32_ref(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

void nb_axpy_f32_f32_ref(float *y, float a, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = fmaf(a, x[i], y[i]);
}

void nb_axpy_f32_f16_ref(float *y, float a, const uint16_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = fmaf(a, nb_f16_to_f32(x[i]), y[i]);
}

void nb_wsum_f32_f32_f32_ref(const struct nb_wsum *w)
{
    for (size_t r = 0; r < w->n_rows; r++)
        for (size_t j = 0; j < w->n; j++)
            nb_axpy_f32_f32_ref(w->y + r * w->y_stride, w->p[r * w->p_stride + j * w->p_step],
                                w->v + j * w->v_stride, w->d);
}
