/* kernels/wsum.tmpl.h: sums of weighted rows (attention's values, products with a transposed matrix), over
 * sixteen lanes.
 *
 * Each output is one chain of fma over the rows, in their order. Six output rows, or
 * four, go through the values together: chains of sixteen lanes that hide the latency of fma, and a row of
 * values is loaded once for all. A row alone takes four vectors of its columns together.
 */
#include "kernels/kernels.h"
#include "kernels/tile.h"

#define STEP 16

#define ROW(r)                                                                                     \
    const float *p##r = w->p + (row + (r)) * w->p_stride;                                          \
    float *y##r = w->y + (row + (r)) * w->y_stride + i;                                            \
    struct v16 s##r = whole ? v16_load(y##r) : v16_load_n(y##r, n_lanes);
#define ADD(r) s##r = v16_fma(v16_set1(p##r[at]), x, s##r);
#define PUT(r)                                                                                     \
    if (whole)                                                                                     \
        v16_store(y##r, s##r);                                                                     \
    else                                                                                           \
        v16_store_n(y##r, s##r, n_lanes);

/* n_lanes columns of as many output rows as EACH names; n_lanes == STEP: the whole vector. */
#define ROWS_TOGETHER(name, EACH)                                                                  \
    static inline void name(const struct nb_wsum *w, size_t row, size_t i, size_t n_lanes)         \
    {                                                                                              \
        const bool whole = n_lanes == STEP;                                                        \
        const size_t step = w->p_step, v_stride = w->v_stride;                                     \
        const float *v = w->v + i;                                                                 \
        EACH(ROW)                                                                                  \
        for (size_t j = 0, at = 0; j < w->n; j++, at += step, v += v_stride) {                     \
            const struct v16 x = whole ? v16_load(v) : v16_load_n(v, n_lanes);                     \
            EACH(ADD)                                                                              \
        }                                                                                          \
        EACH(PUT)                                                                                  \
    }

ROWS_TOGETHER(six_rows, EACH6)
ROWS_TOGETHER(four_rows, EACH4)

typedef void rows_fn(const struct nb_wsum *w, size_t row, size_t i, size_t n_lanes);

static inline void all_columns(rows_fn *rows, const struct nb_wsum *w, size_t row)
{
    size_t i = 0;
    for (; i + STEP <= w->d; i += STEP)
        rows(w, row, i, STEP);
    if (i < w->d)
        rows(w, row, i, w->d - i);
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
    for (; r + 6 <= w->n_rows; r += 6)
        all_columns(six_rows, w, r);
    for (; r + 4 <= w->n_rows; r += 4)
        all_columns(four_rows, w, r);
    for (; r < w->n_rows; r++) {
        size_t i = 0;
        for (; i + 4 * STEP <= w->d; i += 4 * STEP)
            wide_row(w, r, i);
        for (; i < w->d; i += STEP)
            narrow_row(w, r, i, w->d - i < STEP ? w->d - i : STEP);
    }
}
