/* kernels/avx512vnni/conv_u8.c: convolutions of 8-bit integers with vpdpbusd, which adds four products of bytes,
 * exactly: twelve positions of two panels take 24 of the 32 registers. */
#include "kernels/tile.h"

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#define INLINE   static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline)) /* the caller's frame is large enough */

enum { ROWS = 12, PANELS = 2, STEPS = 64 };

struct image {
    int32_t four[ROWS][STEPS];
};

struct sums {
    int32_t *y;
    size_t y_stride, n;
    bool fresh;
};

INLINE __mmask16 lanes_below(size_t n)
{
    return (__mmask16)(n < 16 ? (1U << n) - 1U : 0xffffU);
}

INLINE void put(struct image *g, size_t r, size_t k, const uint8_t *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 m = lanes_below(n - i);
        _mm512_mask_storeu_epi32(&g->four[r][k + i], m, _mm512_maskz_loadu_epi32(m, x + 4 * i));
    }
}

INLINE __m512i begin(const struct sums *s, size_t r, size_t p)
{
    if (s->fresh)
        return _mm512_setzero_si512();
    return _mm512_maskz_loadu_epi32(lanes_below(s->n - 16 * p), s->y + r * s->y_stride + 16 * p);
}

INLINE void end(const struct sums *s, size_t r, size_t p, __m512i acc)
{
    _mm512_mask_storeu_epi32(s->y + r * s->y_stride + 16 * p, lanes_below(s->n - 16 * p), acc);
}

/* acc += products, in this order, without spills */
INLINE void add(__m512i *acc, __m512i x, __m512i w)
{
    *acc = _mm512_dpbusd_epi32(*acc, x, w);
    __asm__ volatile("" : "+v"(*acc));
}

#define BEGIN1(r) __m512i a##r = begin(s, r, 0);
#define BEGIN2(r) BEGIN1(r) __m512i b##r = begin(s, r, 1);
#define ADD1(r)   add(&a##r, _mm512_set1_epi32(g->four[r][k]), u);
#define ADD2(r)                                                                                    \
    x = _mm512_set1_epi32(g->four[r][k]);                                                          \
    add(&a##r, x, u);                                                                              \
    add(&b##r, x, v);
#define END1(r) end(s, r, 0, a##r);
#define END2(r) END1(r) end(s, r, 1, b##r);

/* One panel, and two that lie `panel` bytes apart, times as many rows as EACH names. */
#define ROWS_TOGETHER(rows, EACH)                                                                  \
    NOINLINE void one_panel_##rows(const struct sums *s, const struct image *g, size_t n,          \
                                   const int8_t *w)                                                \
    {                                                                                              \
        EACH(BEGIN1)                                                                               \
        for (size_t k = 0; k < n; k++) {                                                           \
            const __m512i u = _mm512_loadu_si512(w + 64 * k);                                      \
            EACH(ADD1)                                                                             \
        }                                                                                          \
        EACH(END1)                                                                                 \
    }                                                                                              \
    NOINLINE void two_panels_##rows(const struct sums *s, const struct image *g, size_t n,         \
                                    const int8_t *w, size_t panel, const int8_t *next)             \
    {                                                                                              \
        EACH(BEGIN2)                                                                               \
        for (size_t k = 0; k < n; k++) {                                                           \
            const __m512i u = _mm512_loadu_si512(w + 64 * k);                                      \
            const __m512i v = _mm512_loadu_si512(w + panel + 64 * k);                              \
            __m512i x;                                                                             \
            _mm_prefetch((const void *)(next + 64 * k), _MM_HINT_T0);                              \
            _mm_prefetch((const void *)(next + panel + 64 * k), _MM_HINT_T0);                      \
            EACH(ADD2)                                                                             \
        }                                                                                          \
        EACH(END2)                                                                                 \
    }

ROWS_TOGETHER(1, EACH1)
ROWS_TOGETHER(2, EACH2)
ROWS_TOGETHER(3, EACH3)
ROWS_TOGETHER(4, EACH4)
ROWS_TOGETHER(5, EACH5)
ROWS_TOGETHER(6, EACH6)
ROWS_TOGETHER(7, EACH7)
ROWS_TOGETHER(8, EACH8)
ROWS_TOGETHER(9, EACH9)
ROWS_TOGETHER(10, EACH10)
ROWS_TOGETHER(11, EACH11)
ROWS_TOGETHER(12, EACH12)

#define CASE(rows)                                                                                 \
    case rows:                                                                                     \
        if (s->n > NB_CONV_PANEL)                                                                  \
            two_panels_##rows(s, g, n_steps, w, panel, next);                                      \
        else                                                                                       \
            one_panel_##rows(s, g, n_steps, w);                                                    \
        return;

static inline void tile(const struct sums *s, size_t n_rows, const struct image *g, size_t n_steps,
                        const int8_t *w, size_t panel, const int8_t *next)
{
    switch (n_rows) {
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
        CASE(5)
        CASE(6)
        CASE(7)
        CASE(8)
        CASE(9)
        CASE(10)
        CASE(11)
        CASE(12)
    default:
        return;
    }
}

#define NB_FN(op) nb_##op##_avx512vnni
#include "kernels/conv_u8.tmpl.h"
