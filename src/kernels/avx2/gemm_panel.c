/* kernels/avx2/gemm_panel.c: packed float matrix product; half of the lanes of 4 rows x 3 columns take 12
 * registers, and 12 fma per 7 loads. */
#include "kernels/avx2/panel_finish.h"
#include "kernels/kernels.h"
#include "kernels/panel.h"

/* Where the results of the first panel go. */
struct panel_end {
    float *y;
    size_t y_stride;
};

/* Loads once, uses three times: without this gcc makes every fma load its operand again. */
static inline __m256 load(const float *p)
{
    __m256 v = _mm256_loadu_ps(p);
    __asm__("" : "+x"(v));
    return v;
}

/* y NULL: the sums go to acc. Otherwise they are of the upper half, and with the lower, which lies before acc,
 * make y. */
static inline void half(float *acc, const float *w, const float *x, size_t n, bool fresh,
                        const float *next, float *y, size_t y_stride)
{
    __m256 a0, a1, a2, b0, b1, b2, c0, c1, c2, d0, d1, d2;
    a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = d0 = d1 = d2 = _mm256_setzero_ps();
    if (!fresh) {
        a0 = load(acc), b0 = load(acc + 8), c0 = load(acc + 16), d0 = load(acc + 24);
        a1 = load(acc + 32), b1 = load(acc + 40), c1 = load(acc + 48), d1 = load(acc + 56);
        a2 = load(acc + 64), b2 = load(acc + 72), c2 = load(acc + 80), d2 = load(acc + 88);
    }
    for (size_t i = 0; i < n; i++, w += 32, x += 24, next += 12) {
        _mm_prefetch((const void *)next, _MM_HINT_T0);
        const __m256 p = load(x), q = load(x + 8), r = load(x + 16);
        __m256 t = load(w);
        a0 = _mm256_fmadd_ps(t, p, a0);
        a1 = _mm256_fmadd_ps(t, q, a1);
        a2 = _mm256_fmadd_ps(t, r, a2);
        t = load(w + 8);
        b0 = _mm256_fmadd_ps(t, p, b0);
        b1 = _mm256_fmadd_ps(t, q, b1);
        b2 = _mm256_fmadd_ps(t, r, b2);
        t = load(w + 16);
        c0 = _mm256_fmadd_ps(t, p, c0);
        c1 = _mm256_fmadd_ps(t, q, c1);
        c2 = _mm256_fmadd_ps(t, r, c2);
        t = load(w + 24);
        d0 = _mm256_fmadd_ps(t, p, d0);
        d1 = _mm256_fmadd_ps(t, q, d1);
        d2 = _mm256_fmadd_ps(t, r, d2);
    }
    if (y == NULL) {
        store_column(acc, a0, b0, c0, d0);
        store_column(acc + 32, a1, b1, c1, d1);
        store_column(acc + 64, a2, b2, c2, d2);
        return;
    }
    const __m256 sums[12] = {a0, b0, c0, d0, a1, b1, c1, d1, a2, b2, c2, d2};
    __m256 v[12];
    for (size_t i = 0; i < 12; i++)
        v[i] = _mm256_add_ps(_mm256_loadu_ps(acc - NB_PANEL_SUMS + 8 * i), sums[i]);
    finish_sums(y, y_stride, v);
}

static inline void pass(float *acc, const float *w, size_t w_stride, size_t panels, const float *x,
                        size_t n, bool fresh, const float *next)
{
    for (size_t p = 0; p < panels; p++)
        half(acc + p * 2 * NB_PANEL_SUMS, w + p * w_stride, x, n, fresh, next + p * n * 12, NULL,
             0);
}

static inline void end(const struct panel_end *e, float *acc, const float *w, size_t w_stride,
                       size_t panels, const float *x, size_t n, bool fresh, const float *next)
{
    for (size_t p = 0; p < panels; p++)
        half(acc + p * 2 * NB_PANEL_SUMS, w + p * w_stride, x, n, fresh, next + p * n * 12,
             e->y + p * NB_PANEL_ROWS, e->y_stride);
}

#define PASS_ENDS
#define NB_FN(op) nb_##op##_avx2
#include "kernels/gemm_panel.tmpl.h"
