/* kernels/wsum.tmpl.h: sums of weighted rows (attention's values), over sixteen lanes.
 *
 * Each output is one chain of fma over the rows, in their order. Four outputs rows go through the
 * values together: 4 chains of sixteen lanes hide the latency of fma, and a row of values is loaded
 * once for four. A row alone takes four vectors of its columns together.
 */
#include "kernels/kernels.h"

#define STEP 16

/* n_lanes columns of four output rows; n_lanes == STEP: the whole vector. */
static inline void four_rows(float *y, size_t d, const float *p, size_t p_stride, const float *v,
                             size_t n, size_t n_lanes)
{
    const bool whole = n_lanes == STEP;
    const float *p1 = p + p_stride, *p2 = p1 + p_stride, *p3 = p2 + p_stride;
    float *y1 = y + d, *y2 = y1 + d, *y3 = y2 + d;
    struct v16 a0 = whole ? v16_load(y) : v16_load_n(y, n_lanes);
    struct v16 a1 = whole ? v16_load(y1) : v16_load_n(y1, n_lanes);
    struct v16 a2 = whole ? v16_load(y2) : v16_load_n(y2, n_lanes);
    struct v16 a3 = whole ? v16_load(y3) : v16_load_n(y3, n_lanes);
    for (size_t j = 0; j < n; j++) {
        const struct v16 x = whole ? v16_load(v + j * d) : v16_load_n(v + j * d, n_lanes);
        a0 = v16_fma(v16_set1(p[j]), x, a0);
        a1 = v16_fma(v16_set1(p1[j]), x, a1);
        a2 = v16_fma(v16_set1(p2[j]), x, a2);
        a3 = v16_fma(v16_set1(p3[j]), x, a3);
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
static inline void wide_row(float *y, size_t d, const float *p, const float *v, size_t n)
{
    struct v16 a0 = v16_load(y), a1 = v16_load(y + STEP);
    struct v16 a2 = v16_load(y + 2 * STEP), a3 = v16_load(y + 3 * STEP);
    for (size_t j = 0; j < n; j++, v += d) {
        const struct v16 w = v16_set1(p[j]);
        a0 = v16_fma(w, v16_load(v), a0);
        a1 = v16_fma(w, v16_load(v + STEP), a1);
        a2 = v16_fma(w, v16_load(v + 2 * STEP), a2);
        a3 = v16_fma(w, v16_load(v + 3 * STEP), a3);
    }
    v16_store(y, a0);
    v16_store(y + STEP, a1);
    v16_store(y + 2 * STEP, a2);
    v16_store(y + 3 * STEP, a3);
}

static inline void narrow_row(float *y, size_t d, const float *p, const float *v, size_t n,
                              size_t n_lanes)
{
    struct v16 a = v16_load_n(y, n_lanes);
    for (size_t j = 0; j < n; j++)
        a = v16_fma(v16_set1(p[j]), v16_load_n(v + j * d, n_lanes), a);
    v16_store_n(y, a, n_lanes);
}

void NB_FN(wsum_f32_f32_f32)(float *y, const float *p, size_t p_stride, size_t n_rows,
                             const float *v, size_t n, size_t d)
{
    size_t r = 0;
    for (; r + 4 <= n_rows; r += 4, y += 4 * d, p += 4 * p_stride) {
        size_t i = 0;
        for (; i + STEP <= d; i += STEP)
            four_rows(y + i, d, p, p_stride, v + i, n, STEP);
        if (i < d)
            four_rows(y + i, d, p, p_stride, v + i, n, d - i);
    }
    for (; r < n_rows; r++, y += d, p += p_stride) {
        size_t i = 0;
        for (; i + 4 * STEP <= d; i += 4 * STEP)
            wide_row(y + i, d, p, v + i, n);
        for (; i < d; i += STEP)
            narrow_row(y + i, d, p, v + i, n, d - i < STEP ? d - i : STEP);
    }
}
