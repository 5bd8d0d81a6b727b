/* kernels/avx2/conv_u8.c: convolutions of 8-bit integers on AVX2.
 *
 * vpmaddubsw multiplies bytes, but saturates: 255 * 127 * 2 does not fit into 16 bits. (Weights whose pairs stay
 * within 128 are safe, but few runs of weights with a scale per channel are.) So bytes are widened, the even ones of
 * a step and the odd ones apart, and vpmaddwd adds the two products of each without loss.
 * The image is widened once for all panels, weights for every four rows.
 */
#include "kernels/kernels.h"

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { ROWS = 4, PANELS = 1, STEPS = 96 };

/* Elements 0 and 2, and 1 and 3, of each step, in the halves of a word; eight more than are used are written. */
struct image {
    uint32_t even[ROWS][STEPS + 8], odd[ROWS][STEPS + 8];
};

struct sums {
    int32_t *y;
    size_t y_stride, n;
    bool fresh;
};

INLINE __m256i lanes_below(size_t n)
{
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const void *)(ones + 8 - (n < 8 ? n : 8)));
}

INLINE void put8(struct image *g, size_t r, size_t k, __m256i v)
{
    const __m256i even = _mm256_and_si256(v, _mm256_set1_epi16(0x00ff));
    _mm256_storeu_si256((void *)&g->even[r][k], even);
    _mm256_storeu_si256((void *)&g->odd[r][k], _mm256_srli_epi16(v, 8));
}

INLINE void put(struct image *g, size_t r, size_t k, const uint8_t *x, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        put8(g, r, k + i, _mm256_loadu_si256((const void *)(x + 4 * i)));
    if (i < n)
        put8(g, r, k + i, _mm256_maskload_epi32((const void *)(x + 4 * i), lanes_below(n - i)));
}

/* In place and in this order: compilers left to themselves spill sums. */
INLINE void add(__m256i *acc, __m256i t)
{
    __asm__ volatile("vpaddd %1, %0, %0" : "+x"(*acc) : "x"(t));
}

/* acc += the products of two elements of the image, at x, with those of eight outputs each of u and v */
INLINE void add_products(__m256i acc[2], const uint32_t *x, __m256i u, __m256i v)
{
    const __m256i t = _mm256_set1_epi32((int32_t)*x);
    add(&acc[0], _mm256_madd_epi16(t, u));
    add(&acc[1], _mm256_madd_epi16(t, v));
}

/* One step of each row; rows is a constant of at most ROWS. */
INLINE void step(__m256i acc[ROWS][2], size_t rows, const struct image *g, size_t k,
                 const int8_t *w, const int8_t *next)
{
    const void *a = w, *b = w + 32;
    _mm_prefetch((const void *)next, _MM_HINT_T0);
    __m256i u = _mm256_slli_epi16(_mm256_loadu_si256(a), 8);
    __m256i v = _mm256_slli_epi16(_mm256_loadu_si256(b), 8);
    u = _mm256_srai_epi16(u, 8);
    v = _mm256_srai_epi16(v, 8);
    for (size_t r = 0; r < rows; r++)
        add_products(acc[r], &g->even[r][k], u, v);
    u = _mm256_srai_epi16(_mm256_loadu_si256(a), 8);
    v = _mm256_srai_epi16(_mm256_loadu_si256(b), 8);
    for (size_t r = 0; r < rows; r++)
        add_products(acc[r], &g->odd[r][k], u, v);
}

/* A whole panel. */
INLINE void some_rows(const struct sums *s, size_t rows, const struct image *g, size_t n_steps,
                      const int8_t *w, const int8_t *next)
{
    __m256i acc[ROWS][2];
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < 2; i++)
            acc[r][i] = s->fresh ? _mm256_setzero_si256()
                                 : _mm256_loadu_si256((void *)(s->y + r * s->y_stride + 8 * i));
    size_t k = 0;
    for (; k + 2 <= n_steps; k += 2, w += 128, next += 128) {
        step(acc, rows, g, k, w, next);
        step(acc, rows, g, k + 1, w + 64, next + 64);
    }
    if (k < n_steps)
        step(acc, rows, g, k, w, next);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < 2; i++)
            _mm256_storeu_si256((void *)(s->y + r * s->y_stride + 8 * i), acc[r][i]);
}

static inline void whole_tile(const struct sums *s, size_t rows, const struct image *g,
                              size_t n_steps, const int8_t *w, const int8_t *next)
{
    switch (rows) {
    case 1:
        some_rows(s, 1, g, n_steps, w, next);
        return;
    case 2:
        some_rows(s, 2, g, n_steps, w, next);
        return;
    case 3:
        some_rows(s, 3, g, n_steps, w, next);
        return;
    default:
        some_rows(s, ROWS, g, n_steps, w, next);
        return;
    }
}

/* A panel of fewer outputs goes through a buffer: masked stores are slow. */
static __attribute__((noinline)) void
part_tile(const struct sums *s, size_t rows, const struct image *g, size_t n_steps, const int8_t *w)
{
    int32_t part[ROWS][NB_CONV_PANEL] = {{0}};
    const struct sums whole = {part[0], NB_CONV_PANEL, NB_CONV_PANEL, s->fresh};
    for (size_t r = 0; !s->fresh && r < rows; r++)
        memcpy(part[r], s->y + r * s->y_stride, s->n * sizeof **part);
    whole_tile(&whole, rows, g, n_steps, w, w);
    for (size_t r = 0; r < rows; r++)
        memcpy(s->y + r * s->y_stride, part[r], s->n * sizeof **part);
}

static inline void tile(const struct sums *s, size_t rows, const struct image *g, size_t n_steps,
                        const int8_t *w, size_t panel, const int8_t *next)
{
    (void)panel;
    if (s->n == NB_CONV_PANEL)
        whole_tile(s, rows, g, n_steps, w, next);
    else
        part_tile(s, rows, g, n_steps, w);
}

#define NB_FN(op) nb_##op##_avx2
#include "kernels/conv_u8.tmpl.h"
