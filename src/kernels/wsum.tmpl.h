/* kernels/wsum.tmpl.h: sums of weighted rows (attention's values, products with a transposed matrix), over
 * sixteen lanes.
 *
 * Each output is one chain of fma over the rows, in their order. Four output rows go through the
 * values together: 4 chains of sixteen lanes hide the latency of fma, and a row of values is loaded
 * once for four. A row alone takes four vectors of its columns together.
 */
#include "kernels/kernels.h"

#define STEP 16

/* n_lanes columns of four output rows; n_lanes == STEP: the whole vector. */
static inline void four_rows(const struct nb_wsum *w, size_t r, size_t i, size_t n_lanes)
{
    const bool whole = n_lanes == STEP;
    const size_t step = w->p_step, v_stride = w->v_stride;
    const float *p = w->p + r * w->p_stride, *p1 = p + w->p_stride;
    const float *p2 = p1 + w->p_stride, *p3 = p2 + w->p_stride, *v = w->v + i;
    float *y = w->y + r * w->y_stride + i, *y1 = y + w->y_stride;
    float *y2 = y1 + w->y_stride, *y3 = y2 + w->y_stride;
    struct v16 a0 = whole ? v16_load(y) : v16_load_n(y, n_lanes);
    struct v16 a1 = whole ? v16_load(y1) : v16_load_n(y1, n_lanes);
    struct v16 a2 = whole ? v16_load(y2) : v16_load_n(y2, n_lanes);
    struct v16 a3 = whole ? v16_load(y3) : v16_load_n(y3, n_lanes);
    for (size_t j = 0, at = 0; j < w->n; j++, at += step) {
        const struct v16 x =
            whole ? v16_load(v + j * v_stride) : v16_load_n(v + j * v_stride, n_lanes);
        a0 = v16_fma(v16_set1(p[at]), x, a0);
        a1 = v16_fma(v16_set1(p1[at]), x, a1);
        a2 = v16_fma(v16_set1(p2[at]), x, a2);
        a3 = v16_fma(v16_set1(p3[at]), x, a3);
    }
    if (whole) {
        v16_store(y, a0);
        v16_store(y1, a1);
        v16_store(y2, a2);
        v16_store(y3, a3);
    } else {
        v16_store_n(y, a0, n_lanes);
        v16_store_n(y1, a1, n_lanes);
        v16_store_n(y2, a2, n_lanes);
        v16_store_n(y3, a3, n_lanes);
    }
}

/* 4 * STEP columns of one output row. */
static inline void wide_row(const struct nb_wsum *w, size_t r, size_t i)
{
    const float *p = w->p + r * w->p_stride, *v = w->v + i;
    float *y = w->y + r * w->y_stride + i;
    struct v16 a0 = v16_load(y), a1 = v16_load(y + STEP);
    struct v16 a2 = v16_load(y + 2 * STEP), a3 = v16_load(y + 3 * STEP);
    for (size_t j = 0; j < w->n; j++, v += w->v_stride) {
        const struct v16 c = v16_set1(p[j * w->p_step]);
        a0 = v16_fma(c, v16_load(v), a0);
        a1 = v16_fma(c, v16_load(v + STEP), a1);
        a2 = v16_fma(c, v16_load(v + 2 * STEP), a2);
        a3 = v16_fma(c, v16_load(v + 3 * STEP), a3);
    }
    v16_store(y, a0);
    v16_store(y + STEP, a1);
    v16_store(y + 2 * STEP, a2);
    v16_store(y + 3 * STEP, a3);
}

static inline void narrow_row(const struct nb_wsum *w, size_t r, size_t i, size_t n_lanes)
{
    const float *p = w->p + r * w->p_stride, *v = w->v + i;
    float *y = w->y + r * w->y_stride + i;
    struct v16 a = v16_load_n(y, n_lanes);
    for (size_t j = 0; j < w->n; j++)
        a = v16_fma(v16_set1(p[j * w->p_step]), v16_load_n(v + j * w->v_stride, n_lanes), a);
    v16_store_n(y, a, n_lanes);
}

void NB_FN(wsum_f32_f32_f32)(const struct nb_wsum *w)
{
    size_t r = 0;
    for (; r + 4 <= w->n_rows; r += 4) {
        size_t i = 0;
        for (; i + STEP <= w->d; i += STEP)
            four_rows(w, r, i, STEP);
        if (i < w->d)
            four_rows(w, r, i, w->d - i);
    }
    for (; r < w->n_rows; r++) {
        size_t i = 0;
        for (; i + 4 * STEP <= w->d; i += 4 * STEP)
            wide_row(w, r, i);
        for (; i < w->d; i += STEP)
            narrow_row(w, r, i, w->d - i < STEP ? w->d - i : STEP);
    }
}
