/* kernels/gemm_f32.tmpl.h: float matrix product; every output keeps its sixteen lanes in a struct v16.
 *
 * An ISA brings v16.h, NB_FN(op), and the block of outputs that fits its registers, ROWS x COLS.
 */
#include "kernels/kernels.h"

static void corner(float *y, size_t y_stride, const float *w, const float *x, size_t x_stride,
                   size_t k)
{
    struct v16 acc[ROWS][COLS], a[ROWS];
    const size_t whole = k & ~(size_t)15, rest = k & 15;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < COLS; c++)
            acc[r][c] = v16_set1(0.0F);
    for (size_t i = 0; i < whole; i += 16) {
        for (size_t r = 0; r < ROWS; r++)
            a[r] = v16_load(w + r * k + i);
        for (size_t c = 0; c < COLS; c++) {
            const struct v16 b = v16_load(x + c * x_stride + i);
            for (size_t r = 0; r < ROWS; r++)
                acc[r][c] = v16_fma(a[r], b, acc[r][c]);
        }
    }
    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < COLS; c++) {
            if (rest) {
                const struct v16 v = v16_load_n(w + r * k + whole, rest);
                const struct v16 b = v16_load_n(x + c * x_stride + whole, rest);
                acc[r][c] = v16_keep_n(v16_fma(v, b, acc[r][c]), acc[r][c], rest);
            }
            y[c * y_stride + r] = v16_sum(acc[r][c]);
        }
}

void NB_FN(gemm_f32_f32_f32)(float *y, size_t y_stride, const float *w, size_t n_rows,
                             const float *x, size_t x_stride, size_t n_cols, size_t k)
{
    const size_t rows = n_rows - n_rows % ROWS, cols = n_cols - n_cols % COLS;
    for (size_t c = 0; c < cols; c += COLS) /* these columns stay in the cache */
        for (size_t r = 0; r < rows; r += ROWS)
            corner(y + c * y_stride + r, y_stride, w + r * k, x + c * x_stride, x_stride, k);
    for (size_t c = 0; c < n_cols; c++)
        for (size_t r = c < cols ? rows : 0; r < n_rows; r++)
            y[c * y_stride + r] = NB_FN(dot_f32_f32)(w + r * k, x + c * x_stride, k);
}
