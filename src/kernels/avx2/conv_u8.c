/* kernels/avx2/conv_u8.c: convolutions of 8-bit integers on AVX2.
 *
 * vpmaddubsw multiplies bytes, but saturates: 255 * 127 * 2 does not fit into 16 bits. So bytes are widened, and
 * vpmaddwd adds the products of two without loss; its 32 a cycle are what bounds the other way, too, which needs a
 * vpmaddwd for each vpmaddubsw. Nothing is widened in the innermost loop: what the windows of some outputs see is, once
 * for all panels, and a panel of weights once for all outputs, both into scratch:
 *
 *   x  (runs, span)       neighbours' windows overlap or touch, so runs of consecutive outputs lie in one stretch
 *   w  (runs, pairs, 16, 2)
 *
 * A pair is two elements of a run. Runs are cut to PAIRS of them; the sums wait in y meanwhile. Few outputs do not
 * pay for that: each widens what it meets.
 */
#include "kernels/tile.h"

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#define INLINE   static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline)) /* the caller's frame is large enough */

enum { ROWS = 6, LEAST_ROWS = 4, MOST_ROWS = 48, PAIRS = 192, HALF = 8, PAIR = 2 * NB_CONV_PANEL };

struct scratch {
    int16_t w[PAIRS * PAIR];
    uint16_t x[MOST_ROWS * 2 * PAIRS];
    size_t at[MOST_ROWS]; /* where a row's first run begins in x */
};

_Static_assert(sizeof(struct scratch) <= NB_CONV_U8_SCRATCH, "scratch of conv_s32_u8_s8");

/* Runs first..first + n, of each the pairs from..from + pairs. */
struct part {
    size_t first, n, from, pairs;
};

/* ---- widening ---- */

static void widen(uint16_t *to, const uint8_t *x, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((void *)(to + i),
                            _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)(x + i))));
    if (i + 8 <= n) {
        _mm_storeu_si128((void *)(to + i),
                         _mm_cvtepu8_epi16(_mm_loadl_epi64((const void *)(x + i))));
        i += 8;
    }
    for (; i < n; i++)
        to[i] = x[i];
}

/* A row's window begins behind the one before, within or right behind its run. */
INLINE bool follows(const uint8_t *const *x, size_t r, size_t len)
{
    const uintptr_t last = (uintptr_t)x[r - 1], at = (uintptr_t)x[r];
    return at >= last && at - last <= len;
}

/* Elements of x between two runs. */
static size_t put_x(struct scratch *s, const struct nb_conv_u8 *c, const struct part *p, size_t row,
                    size_t rows)
{
    const uint8_t *const *x = c->x + row;
    const size_t len = 2 * p->pairs;
    size_t span = 0;
    for (size_t r = 0; r < rows; r++) {
        if (r > 0)
            span += follows(x, r, len) ? (size_t)(x[r] - x[r - 1]) : len;
        s->at[r] = span;
    }
    span += len;
    for (size_t r = 0, end; r < rows; r = end) {
        for (end = r + 1; end < rows && follows(x, end, len);)
            end++;
        const size_t n = s->at[end - 1] - s->at[r] + len;
        for (size_t i = 0; i < p->n; i++)
            widen(s->x + i * span + s->at[r], x[r] + c->offset[p->first + i] + 2 * p->from, n);
    }
    return span;
}

/* Two pairs of eight outputs, from (8, 4) bytes. */
INLINE void put_pairs(int16_t *to, const int8_t *w, bool both)
{
    const __m256i apart = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    const __m256i v = _mm256_permute4x64_epi64(
        _mm256_shuffle_epi8(_mm256_loadu_si256((const void *)w), apart), 0xd8);
    _mm256_storeu_si256((void *)to, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(v)));
    if (both)
        _mm256_storeu_si256((void *)(to + PAIR),
                            _mm256_cvtepi8_epi16(_mm256_extracti128_si256(v, 1)));
}

/* w: the panel's first byte */
static void put_w(int16_t *to, const struct nb_conv_u8 *c, const struct part *p, const int8_t *w)
{
    const size_t quads = (c->len + 3) / 4;
    for (size_t run = p->first; run < p->first + p->n; run++) {
        const int8_t *at = w + (run * quads + p->from / 2) * 4 * NB_CONV_PANEL;
        for (size_t k = 0; k < p->pairs; k += 2, at += 4 * NB_CONV_PANEL) {
            const bool both = k + 1 < p->pairs;
            put_pairs(to, at, both);
            put_pairs(to + NB_CONV_PANEL, at + 4 * HALF, both);
            to += both ? 2 * PAIR : PAIR;
        }
    }
}

/* ---- a tile: up to six rows, sixteen or eight outputs ---- */

struct tile {
    int32_t *y;
    const int16_t *w;
    const uint16_t *x[ROWS];
    size_t y_stride, span, n_runs, pairs;
    bool fresh;
};

INLINE __m256i both(const uint16_t *x)
{
    int32_t two;
    memcpy(&two, x, sizeof two);
    return _mm256_set1_epi32(two);
}

/* In place: compilers left to themselves spill sums. */
INLINE void add(__m256i *acc, __m256i t)
{
    __asm__("vpaddd %1, %0, %0" : "+x"(*acc) : "x"(t));
}

INLINE __m256i begin(const struct tile *t, size_t r, size_t half)
{
    return t->fresh ? _mm256_setzero_si256()
                    : _mm256_loadu_si256((void *)(t->y + r * t->y_stride + HALF * half));
}

INLINE void end(const struct tile *t, size_t r, size_t half, __m256i acc)
{
    _mm256_storeu_si256((void *)(t->y + r * t->y_stride + HALF * half), acc);
}

#define BEGIN1(r)                                                                                  \
    const uint16_t *x##r = t->x[r];                                                                \
    __m256i a##r = begin(t, r, 0);
#define BEGIN2(r) BEGIN1(r) __m256i b##r = begin(t, r, 1);
#define ADD1(r)   add(&a##r, _mm256_madd_epi16(both(x##r + 2 * k), u));
#define ADD2(r)                                                                                    \
    z = both(x##r + 2 * k);                                                                        \
    add(&a##r, _mm256_madd_epi16(z, u));                                                           \
    add(&b##r, _mm256_madd_epi16(z, v));
#define NEXT(r) x##r += t->span;
#define END1(r) end(t, r, 0, a##r);
#define END2(r) END1(r) end(t, r, 1, b##r);

#define TILE(rows, EACH)                                                                           \
    NOINLINE void one_half_##rows(const struct tile *t)                                            \
    {                                                                                              \
        const int16_t *w = t->w;                                                                   \
        EACH(BEGIN1)                                                                               \
        for (size_t run = 0; run < t->n_runs; run++) {                                             \
            for (size_t k = 0; k < t->pairs; k++, w += PAIR) {                                     \
                const __m256i u = _mm256_load_si256((const void *)w);                              \
                EACH(ADD1)                                                                         \
            }                                                                                      \
            EACH(NEXT)                                                                             \
        }                                                                                          \
        EACH(END1)                                                                                 \
    }                                                                                              \
    NOINLINE void two_halves_##rows(const struct tile *t)                                          \
    {                                                                                              \
        const int16_t *w = t->w;                                                                   \
        EACH(BEGIN2)                                                                               \
        for (size_t run = 0; run < t->n_runs; run++) {                                             \
            for (size_t k = 0; k < t->pairs; k++, w += PAIR) {                                     \
                const __m256i u = _mm256_load_si256((const void *)w);                              \
                const __m256i v = _mm256_load_si256((const void *)(w + NB_CONV_PANEL));            \
                __m256i z;                                                                         \
                EACH(ADD2)                                                                         \
            }                                                                                      \
            EACH(NEXT)                                                                             \
        }                                                                                          \
        EACH(END2)                                                                                 \
    }

TILE(1, EACH1)
TILE(2, EACH2)
TILE(3, EACH3)
TILE(4, EACH4)
TILE(5, EACH5)
TILE(6, EACH6)

typedef void tile_fn(const struct tile *t);

static tile_fn *const tiles[ROWS][2] = {
    {one_half_1, two_halves_1}, {one_half_2, two_halves_2}, {one_half_3, two_halves_3},
    {one_half_4, two_halves_4}, {one_half_5, two_halves_5}, {one_half_6, two_halves_6},
};

/* Fewer outputs than a half or two go through a buffer: masked stores are slow. */
static void some_rows(struct tile *t, size_t rows, size_t n)
{
    tile_fn *f = tiles[rows - 1][n > HALF];
    if (n == HALF || n == NB_CONV_PANEL) {
        f(t);
        return;
    }
    int32_t part[ROWS][NB_CONV_PANEL] = {{0}}, *y = t->y;
    const size_t stride = t->y_stride;
    for (size_t r = 0; !t->fresh && r < rows; r++)
        memcpy(part[r], y + r * stride, n * sizeof *y);
    t->y = part[0];
    t->y_stride = NB_CONV_PANEL;
    f(t);
    t->y_stride = stride;
    for (size_t r = 0; r < rows; r++)
        memcpy(y + r * stride, part[r], n * sizeof *y);
}

/* ---- so few rows that nothing is widened before ---- */

struct sums {
    __m256i even[2], odd[2];
};

/* acc += the products of two bytes, widened, with those of eight outputs each */
INLINE void four(struct sums *s, const uint8_t *x, const int8_t *w)
{
    int32_t bytes;
    memcpy(&bytes, x, sizeof bytes);
    const __m256i z = _mm256_set1_epi32(bytes), even = _mm256_and_si256(z, _mm256_set1_epi16(0xff));
    const __m256i odd = _mm256_srli_epi16(z, 8);
    for (size_t h = 0; h < 2; h++) {
        const __m256i v = _mm256_loadu_si256((const void *)(w + 4 * HALF * h));
        const __m256i u = _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8);
        s->even[h] = _mm256_add_epi32(s->even[h], _mm256_madd_epi16(even, u));
        s->odd[h] = _mm256_add_epi32(s->odd[h], _mm256_madd_epi16(odd, _mm256_srai_epi16(v, 8)));
    }
}

static void one_row(const struct nb_conv_u8 *c, size_t row)
{
    const int8_t *w = c->w;
    for (size_t o = 0; o < c->n; o += NB_CONV_PANEL) {
        const size_t n = c->n - o < NB_CONV_PANEL ? c->n - o : NB_CONV_PANEL;
        const __m256i zero = _mm256_setzero_si256();
        struct sums s = {{zero, zero}, {zero, zero}};
        int32_t y[NB_CONV_PANEL];
        for (size_t run = 0; run < c->n_runs; run++)
            for (size_t k = 0; k < c->len; k += 4, w += 4 * NB_CONV_PANEL)
                four(&s, c->x[row] + c->offset[run] + k, w);
        for (size_t h = 0; h < 2; h++)
            _mm256_storeu_si256((void *)(y + HALF * h), _mm256_add_epi32(s.even[h], s.odd[h]));
        memcpy(c->y + row * c->y_stride + o, y, n * sizeof *y);
    }
}

/* ---- all of it ---- */

/* Parts of n that are as equal as can be, none greater than `most`. */
static size_t even_part(size_t n, size_t most)
{
    const size_t parts = (n + most - 1) / most;
    return (n + parts - 1) / parts;
}

static void panels(const struct nb_conv_u8 *c, const struct part *p, size_t row, size_t rows,
                   size_t span)
{
    struct scratch *s = c->scratch;
    const size_t panel = c->n_runs * ((c->len + 3) / 4) * 4 * NB_CONV_PANEL;
    struct tile t = {.w = s->w,
                     .y_stride = c->y_stride,
                     .span = span,
                     .n_runs = p->n,
                     .pairs = p->pairs,
                     .fresh = p->first == 0 && p->from == 0};
    for (size_t o = 0; o < c->n; o += NB_CONV_PANEL) {
        const size_t n = c->n - o < NB_CONV_PANEL ? c->n - o : NB_CONV_PANEL;
        put_w(s->w, c, p, c->w + o / NB_CONV_PANEL * panel);
        for (size_t r = 0; r < rows; r += ROWS) {
            const size_t m = rows - r < ROWS ? rows - r : ROWS;
            for (size_t i = 0; i < m; i++)
                t.x[i] = s->x + s->at[r + i];
            t.y = c->y + (row + r) * c->y_stride + o;
            some_rows(&t, m, n);
        }
    }
}

static void all_rows(const struct nb_conv_u8 *c, const struct part *p)
{
    for (size_t r = 0; r < c->n_rows; r += MOST_ROWS) {
        const size_t rows = c->n_rows - r < MOST_ROWS ? c->n_rows - r : MOST_ROWS;
        panels(c, p, r, rows, put_x(c->scratch, c, p, r, rows));
    }
}

void nb_conv_s32_u8_s8_avx2(const struct nb_conv_u8 *c)
{
    const size_t pairs = (c->len + 1) / 2;
    if (c->n_rows < LEAST_ROWS || c->n_runs == 0 || pairs == 0) {
        for (size_t r = 0; r < c->n_rows; r++)
            one_row(c, r);
        return;
    }
    if (pairs <= PAIRS) {
        const size_t some = even_part(c->n_runs, PAIRS / pairs);
        for (size_t i = 0; i < c->n_runs; i += some)
            all_rows(c, &(struct part){i, c->n_runs - i < some ? c->n_runs - i : some, 0, pairs});
        return;
    }
    const size_t some = 2 * even_part((pairs + 1) / 2, PAIRS / 2); /* fours stay whole */
    for (size_t i = 0; i < c->n_runs; i++)
        for (size_t k = 0; k < pairs; k += some)
            all_rows(c, &(struct part){i, 1, k, pairs - k < some ? pairs - k : some});
}
