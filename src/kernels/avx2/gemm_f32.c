/* kernels/avx2/gemm_f32.c: float matrix product; half of the lanes of 4 rows x 3 columns of outputs take 12
 * registers, and 12 fma per 7 loads; the first half waits in memory for the second. Edges use dot.
 */
#include "kernels/avx2/panel_finish.h"
#include "kernels/avx2/v16.h"
#include "kernels/kernels.h"

#define ROWS 4
#define COLS 3
#define SUMS (ROWS * COLS)

/* Loads once, uses three times: without this gcc makes every fma load its operand again. */
static inline __m256 load(const float *p)
{
    __m256 v = _mm256_loadu_ps(p);
    __asm__("" : "+x"(v));
    return v;
}

/* A corner of y = x w^T: w (ROWS, k), x (COLS, x_stride). */
struct corner {
    float *y;
    size_t y_stride;
    const float *w, *x;
    size_t k, x_stride;
};

/* Half of the lanes over the columns at, at + 16, .. below end. lo NULL: to sums; else the other half, with which
 * they make y. */
static inline void half(const struct corner *j, float *sums, const float *lo, size_t at, size_t end)
{
    const float *w = j->w, *w1 = w + j->k, *w2 = w1 + j->k, *w3 = w2 + j->k;
    const float *x = j->x, *x1 = x + j->x_stride, *x2 = x1 + j->x_stride;
    __m256 a0, a1, a2, b0, b1, b2, c0, c1, c2, d0, d1, d2;
    a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = d0 = d1 = d2 = _mm256_setzero_ps();
    for (; at < end; at += 16) {
        const __m256 p = load(x + at), q = load(x1 + at), r = load(x2 + at);
        __m256 t = load(w + at);
        a0 = _mm256_fmadd_ps(t, p, a0);
        a1 = _mm256_fmadd_ps(t, q, a1);
        a2 = _mm256_fmadd_ps(t, r, a2);
        t = load(w1 + at);
        b0 = _mm256_fmadd_ps(t, p, b0);
        b1 = _mm256_fmadd_ps(t, q, b1);
        b2 = _mm256_fmadd_ps(t, r, b2);
        t = load(w2 + at);
        c0 = _mm256_fmadd_ps(t, p, c0);
        c1 = _mm256_fmadd_ps(t, q, c1);
        c2 = _mm256_fmadd_ps(t, r, c2);
        t = load(w3 + at);
        d0 = _mm256_fmadd_ps(t, p, d0);
        d1 = _mm256_fmadd_ps(t, q, d1);
        d2 = _mm256_fmadd_ps(t, r, d2);
    }
    if (lo == NULL) {
        store_column(sums, a0, b0, c0, d0);
        store_column(sums + 32, a1, b1, c1, d1);
        store_column(sums + 64, a2, b2, c2, d2);
        return;
    }
    const __m256 hi[SUMS] = {a0, b0, c0, d0, a1, b1, c1, d1, a2, b2, c2, d2};
    __m256 v[SUMS];
    for (size_t i = 0; i < SUMS; i++)
        v[i] = _mm256_add_ps(_mm256_loadu_ps(lo + 8 * i), hi[i]);
    finish_sums(j->y, j->y_stride, v);
}

/* Columns [at, at + n) to a half that they do not fill, n <= 8; lanes beyond keep their sum. */
static void rest_of(const struct corner *j, float *sums, size_t at, size_t n)
{
    const __m256i mask = v16_mask(n, 0);
    for (size_t i = 0; i < SUMS; i++) {
        const __m256 a = _mm256_maskload_ps(j->w + i % ROWS * j->k + at, mask);
        const __m256 b = _mm256_maskload_ps(j->x + i / ROWS * j->x_stride + at, mask);
        const __m256 s = _mm256_fmadd_ps(a, b, _mm256_loadu_ps(sums + 8 * i));
        _mm256_maskstore_ps(sums + 8 * i, mask, s);
    }
}

static void corner(const struct corner *j)
{
    const size_t rest = j->k % 16, whole = j->k - rest;
    float lo[8 * SUMS], hi[8 * SUMS];
    half(j, lo, NULL, 0, whole);
    if (rest == 0) {
        half(j, NULL, lo, 8, whole);
        return;
    }
    half(j, hi, NULL, 8, whole);
    rest_of(j, lo, whole, rest < 8 ? rest : 8);
    if (rest > 8)
        rest_of(j, hi, whole + 8, rest - 8);
    finish(j->y, j->y_stride, lo, hi);
}

void nb_gemm_f32_f32_f32_avx2(float *y, size_t y_stride, const float *w, size_t n_rows,
                              const float *x, size_t x_stride, size_t n_cols, size_t k)
{
    const size_t rows = n_rows - n_rows % ROWS, cols = n_cols - n_cols % COLS;
    for (size_t c = 0; c < cols; c += COLS) /* three columns stay in the cache */
        for (size_t r = 0; r < rows; r += ROWS)
            corner(&(struct corner){y + c * y_stride + r, y_stride, w + r * k, x + c * x_stride, k,
                                    x_stride});
    for (size_t c = 0; c < n_cols; c++)
        for (size_t r = c < cols ? rows : 0; r < n_rows; r++)
            y[c * y_stride + r] = nb_dot_f32_f32_avx2(w + r * k, x + c * x_stride, k);
}
