/* kernels/scores.tmpl.h: many dot products of short rows (attention's scores), over sixteen lanes.
 *
 * The canonical sum has sixteen lanes of its own, whose tree costs as much as the products where rows are
 * short. Here rows of w are the lanes: sixteen of them are transposed into scratch, and lane l of the
 * canonical sum is a chain over elements l, l + 16, .. of all of them at once. Chains are made in the order
 * of the tree's leaves (0, 8, 4, 12, 2, ..), so that an addition of whole vectors takes the place of a
 * shuffle, and what waits for its other half fits a few registers. Before the include: v16.h, NB_FN, and
 * if there is one SCORES_TRANSPOSE(dst, src, stride): 8 x 8 floats to rows of 16.
 */
#include "kernels/kernels.h"
#include "kernels/tile.h"

#define ROWS   16U
#define LEAVES 8U /* pairs of chains, l and l + 8 */

#ifndef SCORES_PIN
#define SCORES_PIN(v)
#endif

/* w (n, k), n <= ROWS, to t (k, ROWS); absent rows are 0. */
static void transpose_rows(float *t, const float *w, size_t n, size_t k)
{
    size_t done = 0;
#ifdef SCORES_TRANSPOSE
    if (n == ROWS)
        for (; done + 8 <= k; done += 8) {
            SCORES_TRANSPOSE(t + done * ROWS, w + done, k);
            SCORES_TRANSPOSE(t + done * ROWS + 8, w + 8 * k + done, k);
        }
#endif
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = done; i < k; i++)
            t[i * ROWS + r] = r < n ? w[r * k + i] : 0.0F;
}

#define COLUMN(c)                                                                                  \
    const float *x##c = x + (c) * x_stride;                                                        \
    struct v16 s##c = v16_set1(0.0F), u##c = v16_set1(0.0F);
#define LOWER(c) s##c = v16_fma(v16_set1(x##c[i]), v, s##c);
#define UPPER(c) u##c = v16_fma(v16_set1(x##c[i + 8]), v, u##c);
#define PAIR(c)  s##c = v16_add(s##c, u##c);
#define JOIN(c)  s##c = v16_add(waits[level][c], s##c);
#define WAIT(c)  waits[level][c] = s##c;
#define PUT(c)                                                                                     \
    if (n == ROWS)                                                                                 \
        v16_store(y + (c) * y_stride, s##c);                                                       \
    else                                                                                           \
        v16_store_n(y + (c) * y_stride, s##c, n);

/* y of n rows and as many columns as EACH names. k a constant where that helps. */
#define COLUMNS(name, EACH)                                                                        \
    static inline __attribute__((always_inline)) void name(                                       \
        float *y, size_t y_stride, const float *t, size_t n, const float *x, size_t x_stride,      \
        size_t k)                                                                                  \
    {                                                                                              \
        static const uint8_t order[LEAVES] = {0, 4, 2, 6, 1, 5, 3, 7};                             \
        struct v16 waits[4][3];                                                                    \
        for (size_t leaf = 0; leaf < LEAVES; leaf++) {                                             \
            EACH(COLUMN)                                                                           \
            for (size_t i = order[leaf]; i < k; i += 16) {                                         \
                struct v16 v = v16_load(t + i * ROWS);                                             \
                SCORES_PIN(v);                                                                     \
                EACH(LOWER)                                                                        \
                if (i + 8 >= k)                                                                    \
                    break;                                                                         \
                v = v16_load(t + (i + 8) * ROWS);                                                  \
                SCORES_PIN(v);                                                                     \
                EACH(UPPER)                                                                        \
            }                                                                                      \
            EACH(PAIR)                                                                             \
            size_t level = 0;                                                                      \
            for (; leaf >> level & 1U; level++) {                                                  \
                EACH(JOIN)                                                                         \
            }                                                                                      \
            if (leaf + 1 < LEAVES) {                                                               \
                EACH(WAIT)                                                                         \
            } else {                                                                               \
                EACH(PUT)                                                                          \
            }                                                                                      \
        }                                                                                          \
    }

COLUMNS(one_column, EACH1)
COLUMNS(three_columns, EACH3)

/* All columns; k a constant in the usual head sizes, whose loops are then unrolled. */
static inline __attribute__((always_inline)) void all_columns(float *y, size_t y_stride,
                                                              const float *t, size_t n,
                                                              const float *x, size_t x_stride,
                                                              size_t n_cols, size_t k)
{
    size_t c = 0;
    for (; c + 3 <= n_cols; c += 3)
        three_columns(y + c * y_stride, y_stride, t, n, x + c * x_stride, x_stride, k);
    for (; c < n_cols; c++)
        one_column(y + c * y_stride, y_stride, t, n, x + c * x_stride, x_stride, k);
}

void NB_FN(scores_f32_f32_f32)(float *y, size_t y_stride, const float *w, size_t n_rows,
                               const float *x, size_t x_stride, size_t n_cols, size_t k,
                               float *scratch)
{
    for (size_t r = 0; r < n_rows; r += ROWS) {
        const size_t n = n_rows - r < ROWS ? n_rows - r : ROWS;
        transpose_rows(scratch, w + r * k, n, k);
        if (k == 64)
            all_columns(y + r, y_stride, scratch, n, x, x_stride, n_cols, 64);
        else
            all_columns(y + r, y_stride, scratch, n, x, x_stride, n_cols, k);
    }
}
