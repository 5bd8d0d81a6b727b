/* kernels/avx512vnni/gemm_panel.c: packed float matrix product; half of the lanes of two rows fill a register:
 * 8 rows x 3 columns take 12, two panels at once. */
#include "kernels/avx2/panel_finish.h"
#include "kernels/kernels.h"
#include "kernels/panel.h"

#include <immintrin.h>

/* Loads once, uses three times: without this gcc makes every fma load its operand again. */
static inline __m512 load(const float *p)
{
    __m512 v = _mm512_loadu_ps(p);
    __asm__("" : "+v"(v));
    return v;
}

/* The same half of the lanes of a column, for two rows. */
static inline __m512 twice(const float *x)
{
    const __m256d v = _mm256_loadu_pd((const void *)x);
    return _mm512_castpd_ps(_mm512_broadcast_f64x4(v));
}

/* acc (3 columns, 4 rows, 8) is 2 registers a column. */
static inline void both(float *acc, const float *w, const float *v, const float *x, size_t n,
                        bool fresh, const float *next)
{
    float *acc2 = acc + 2 * NB_PANEL_SUMS;
    __m512 s[NB_PANEL_COLS][4];
    for (size_t c = 0; c < NB_PANEL_COLS; c++)
        for (size_t i = 0; i < 4; i++)
            s[c][i] = fresh ? _mm512_setzero_ps()
                            : _mm512_loadu_ps((i < 2 ? acc : acc2) + 32 * c + i % 2 * 16);
    for (size_t i = 0; i < n; i++, w += 32, v += 32, x += 24, next += 24) {
        const __m512 a = load(w), b = load(w + 16), d = load(v), e = load(v + 16);
        _mm_prefetch((const void *)next, _MM_HINT_T0);
        _mm_prefetch((const void *)(next + 12), _MM_HINT_T0);
        for (size_t c = 0; c < NB_PANEL_COLS; c++) {
            const __m512 t = twice(x + 8 * c);
            s[c][0] = _mm512_fmadd_ps(a, t, s[c][0]);
            s[c][1] = _mm512_fmadd_ps(b, t, s[c][1]);
            s[c][2] = _mm512_fmadd_ps(d, t, s[c][2]);
            s[c][3] = _mm512_fmadd_ps(e, t, s[c][3]);
        }
    }
    for (size_t c = 0; c < NB_PANEL_COLS; c++)
        for (size_t i = 0; i < 4; i++)
            _mm512_storeu_ps((i < 2 ? acc : acc2) + 32 * c + i % 2 * 16, s[c][i]);
}

static inline void one(float *acc, const float *w, const float *x, size_t n, bool fresh)
{
    __m512 s[NB_PANEL_COLS][2];
    for (size_t c = 0; c < NB_PANEL_COLS; c++)
        for (size_t i = 0; i < 2; i++)
            s[c][i] = fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(acc + 32 * c + 16 * i);
    for (size_t i = 0; i < n; i++, w += 32, x += 24)
        for (size_t c = 0; c < NB_PANEL_COLS; c++) {
            const __m512 t = twice(x + 8 * c);
            s[c][0] = _mm512_fmadd_ps(_mm512_loadu_ps(w), t, s[c][0]);
            s[c][1] = _mm512_fmadd_ps(_mm512_loadu_ps(w + 16), t, s[c][1]);
        }
    for (size_t c = 0; c < NB_PANEL_COLS; c++)
        for (size_t i = 0; i < 2; i++)
            _mm512_storeu_ps(acc + 32 * c + 16 * i, s[c][i]);
}

static inline void pass(float *acc, const float *w, size_t w_stride, size_t panels, const float *x,
                        size_t n, bool fresh, const float *next)
{
    if (panels == 2)
        both(acc, w, w + w_stride, x, n, fresh, next);
    else
        one(acc, w, x, n, fresh);
}

#define NB_FN(op) nb_##op##_avx512vnni
#include "kernels/gemm_panel.tmpl.h"
