/* kernels/conv.tmpl.h: convolutions of floats, and what follows one, over vectors of outputs.
 *
 * Every output is one chain of fma over what its window reads, in order. A tile is a few outputs of the image (rows)
 * times the lanes of a vector: enough chains to hide the latency of fma, a vector of weights is loaded once for all
 * rows, an element of x once for all lanes. Rows are dealt out to tiles evenly, so that a tile of one row, which
 * waits for itself, is rare; a row alone takes several panels together.
 *
 * An instance defines CONV_ROWS, the rows of a tile of one panel that fill its registers (6 or 8), CONV_PAIR_ROWS,
 * those of a tile of two panels (2 where only so few rows make two worth while, or 8), and CONV_HALF if it has
 * struct v8 (eight lanes, for up to eight outputs left).
 */
#include "kernels/kernels.h"
#include "kernels/tile.h"

#define STEP NB_CONV_PANEL

/* ---- what follows ---- */

#define ALWAYS static inline __attribute__((always_inline))

/* Where a tile goes, and what is done to it on the way. */
struct follow {
    float *y;
    const float *add; /* NULL: nothing */
    size_t stride;
    bool hardswish;
};

ALWAYS struct follow follow_of(const struct nb_conv_f32 *c, size_t row, size_t i)
{
    const size_t at = row * c->y_stride + i;
    return (struct follow){c->y + at, c->add ? c->add + at : NULL, c->y_stride, c->hardswish};
}

#define FOLLOW(V, lanes)                                                                           \
    ALWAYS struct V V##_get(const float *p, size_t n)                                              \
    {                                                                                              \
        return n == (lanes) ? V##_load(p) : V##_load_n(p, n);                                      \
    }                                                                                              \
    ALWAYS struct V V##_between(struct V x, struct V low, struct V high)                           \
    {                                                                                              \
        return V##_min(high, V##_max(low, x));                                                     \
    }                                                                                              \
    /* A row of n outputs; f moves on to the next. */                                              \
    ALWAYS void V##_put(struct follow *f, struct V s, struct V low, struct V high, size_t n)       \
    {                                                                                              \
        if (f->add) {                                                                              \
            s = V##_add(s, V##_get(f->add, n));                                                    \
            f->add += f->stride;                                                                   \
        }                                                                                          \
        s = V##_between(s, low, high);                                                             \
        if (f->hardswish) {                                                                        \
            const struct V a = V##_add(V##_mul(s, V##_set1(1.0F / 6.0F)), V##_set1(0.5F));         \
            s = V##_mul(s, V##_between(a, V##_set1(0.0F), V##_set1(1.0F)));                        \
        }                                                                                          \
        if (n == (lanes))                                                                          \
            V##_store(f->y, s);                                                                    \
        else                                                                                       \
            V##_store_n(f->y, s, n);                                                               \
        f->y += f->stride;                                                                         \
    }

/* ---- tiles: n outputs from i on, of R rows ---- */

#define BEGIN_ROW(r) s##r = b,
#define AT_RUN(r)    *x##r = c->x[row + (r)] + at,

#define PUT_TILE(V, R)                                                                             \
    do {                                                                                           \
        struct follow f = follow_of(c, row, i);                                                    \
        const struct V low = V##_set1(c->low), high = V##_set1(c->high);                           \
        EACH##R(PUT_##V)                                                                           \
    } while (0)
#define PUT_v8(r)  v8_put(&f, s##r, low, high, n);
#define PUT_v16(r) v16_put(&f, s##r, low, high, n);

#define CONV_TILE(V, lanes, R)                                                                     \
    ALWAYS void V##_conv##R(const struct nb_conv_f32 *c, size_t row, size_t i, size_t n)           \
    {                                                                                              \
        const size_t panel = c->n_runs * c->len * STEP;                                            \
        const float *w = c->w + i / STEP * panel;                                                  \
        const struct V b = V##_get(c->bias + i, n);                                                \
        struct V EACH##R(BEGIN_ROW) v;                                                             \
        for (size_t k = 0; k < c->n_runs; k++) {                                                   \
            const size_t at = c->offset[k];                                                        \
            const float EACH##R(AT_RUN) *end = w + c->len * STEP;                                  \
            for (size_t j = 0; w < end; j++, w += STEP) {                                          \
                v = V##_load(w);                                                                   \
                EACH##R(CONV_##V)                                                                  \
            }                                                                                      \
        }                                                                                          \
        PUT_TILE(V, R);                                                                            \
    }

#define DWCONV_TILE(V, lanes, R)                                                                   \
    ALWAYS void V##_dwconv##R(const struct nb_conv_f32 *c, size_t row, size_t i, size_t n)         \
    {                                                                                              \
        const float *w = c->w + i;                                                                 \
        const struct V b = V##_get(c->bias + i, n);                                                \
        struct V EACH##R(BEGIN_ROW) v;                                                             \
        const float EACH##R(AT_CHANNEL) *const end = w + c->n_runs * c->n;                         \
        for (const size_t *offset = c->offset; w < end; offset++, w += c->n) {                     \
            const size_t at = *offset;                                                             \
            v = V##_get(w, n);                                                                     \
            EACH##R(DWCONV_##V)                                                                    \
        }                                                                                          \
        PUT_TILE(V, R);                                                                            \
    }
#define AT_CHANNEL(r) *x##r = c->x[row + (r)] + i,

#define CONV_v8(r)    s##r = v8_fma(v8_set1(x##r[j]), v, s##r);
#define CONV_v16(r)   s##r = v16_fma(v16_set1(x##r[j]), v, s##r);
#define DWCONV_v8(r)  s##r = v8_fma(v8_get(x##r + at, n), v, s##r);
#define DWCONV_v16(r) s##r = v16_fma(v16_get(x##r + at, n), v, s##r);

/* Two panels. */
#define PAIR_TILE(V, lanes, R)                                                                     \
    ALWAYS void V##_pair##R(const struct nb_conv_f32 *c, size_t row, size_t i, size_t n)           \
    {                                                                                              \
        const size_t panel = c->n_runs * c->len * STEP;                                            \
        const float *w = c->w + i / STEP * panel;                                                  \
        struct V EACH##R(BEGIN_PAIR) v0, v1, x;                                                    \
        for (size_t k = 0; k < c->n_runs; k++) {                                                   \
            const size_t at = c->offset[k];                                                        \
            const float EACH##R(AT_RUN) *end = w + c->len * STEP;                                  \
            for (size_t j = 0; w < end; j++, w += STEP) {                                          \
                v0 = V##_load(w);                                                                  \
                v1 = V##_load(w + panel);                                                          \
                EACH##R(CONV_PAIR)                                                                 \
            }                                                                                      \
        }                                                                                          \
        struct follow f = follow_of(c, row, i), g = follow_of(c, row, i + STEP);                   \
        const struct V low = V##_set1(c->low), high = V##_set1(c->high);                           \
        (void)n;                                                                                   \
        EACH##R(PUT_PAIR)                                                                          \
    }
#define BEGIN_PAIR(r) s##r = v16_load(c->bias + i), t##r = v16_load(c->bias + i + STEP),
#define CONV_PAIR(r)                                                                               \
    x = v16_set1(x##r[j]);                                                                         \
    s##r = v16_fma(x, v0, s##r);                                                                   \
    t##r = v16_fma(x, v1, t##r);
#define PUT_PAIR(r)                                                                                \
    v16_put(&f, s##r, low, high, STEP);                                                            \
    v16_put(&g, t##r, low, high, STEP);

#define CASE(V, op, R)                                                                             \
    case R:                                                                                        \
        V##_##op##R(c, row, i, n);                                                                 \
        break;
#define CASES2(V, op) CASE(V, op, 1) CASE(V, op, 2)
#define CASES6(V, op)                                                                              \
    CASE(V, op, 1) CASE(V, op, 2) CASE(V, op, 3) CASE(V, op, 4) CASE(V, op, 5) CASE(V, op, 6)
#define CASES8(V, op)          CASES6(V, op) CASE(V, op, 7) CASE(V, op, 8)
#define TILES2(V, lanes, TILE) TILE(V, lanes, 1) TILE(V, lanes, 2)
#define TILES6(V, lanes, TILE) TILE(V, lanes, 1) TILE(V, lanes, 2) TILE(V, lanes, 3) \
                               TILE(V, lanes, 4) TILE(V, lanes, 5) TILE(V, lanes, 6)
#define TILES8(V, lanes, TILE) TILES6(V, lanes, TILE) TILE(V, lanes, 7) TILE(V, lanes, 8)

/* `rows` rows from `row` on, at most as many as the largest tile has. Whole vectors, which most are, apart: there all
 * about n is known. */
#define SOME(V, op, lanes, most)                                                                   \
    ALWAYS void V##_##op##_any(const struct nb_conv_f32 *c, size_t row, size_t rows, size_t i,     \
                               size_t n)                                                           \
    {                                                                                              \
        switch (rows) {                                                                            \
            CASES##most(V, op)                                                                     \
        default:                                                                                   \
            break;                                                                                 \
        }                                                                                          \
    }                                                                                              \
    static void V##_##op##_whole(const struct nb_conv_f32 *c, size_t row, size_t rows, size_t i)   \
    {                                                                                              \
        V##_##op##_any(c, row, rows, i, lanes);                                                    \
    }                                                                                              \
    static void V##_##op##_part(const struct nb_conv_f32 *c, size_t row, size_t rows, size_t i,    \
                                size_t n)                                                          \
    {                                                                                              \
        V##_##op##_any(c, row, rows, i, n);                                                        \
    }                                                                                              \
    ALWAYS void V##_##op##_some(const struct nb_conv_f32 *c, size_t row, size_t rows, size_t i,    \
                                size_t n)                                                          \
    {                                                                                              \
        if (n == (lanes))                                                                          \
            V##_##op##_whole(c, row, rows, i);                                                     \
        else                                                                                       \
            V##_##op##_part(c, row, rows, i, n);                                                   \
    }

/* All rows, as evenly as can be. */
#define ROWS(V, op, most)                                                                          \
    static void V##_##op##_rows(const struct nb_conv_f32 *c, size_t i, size_t n)                   \
    {                                                                                              \
        const size_t n_tiles = (c->n_rows + (most)-1) / (most);                                    \
        if (n_tiles == 0)                                                                          \
            return;                                                                                \
        const size_t least = c->n_rows / n_tiles, more = c->n_rows % n_tiles;                      \
        for (size_t t = 0, row = 0; t < n_tiles; t++) {                                            \
            const size_t rows = least + (t < more ? 1 : 0);                                        \
            V##_##op##_some(c, row, rows, i, n);                                                   \
            row += rows;                                                                           \
        }                                                                                          \
    }

#define KERNELS(V, lanes, most)                                                                    \
    TILES##most(V, lanes, CONV_TILE) SOME(V, conv, lanes, most) ROWS(V, conv, most)
#define SINGLES(V, lanes, most)                                                                    \
    TILES##most(V, lanes, DWCONV_TILE) SOME(V, dwconv, lanes, most)
#define PAIRS(V, lanes, most)                                                                      \
    TILES##most(V, lanes, PAIR_TILE) SOME(V, pair, 2 * (lanes), most) ROWS(V, pair, most)
#define SPREAD(M, ...) M(__VA_ARGS__)

FOLLOW(v16, 16)
SPREAD(KERNELS, v16, 16, CONV_ROWS)
SPREAD(SINGLES, v16, 16, CONV_ROWS)
SPREAD(PAIRS, v16, 16, CONV_PAIR_ROWS)
#ifdef CONV_HALF
FOLLOW(v8, 8)
KERNELS(v8, 8, 8)
SPREAD(SINGLES, v8, 8, CONV_ROWS)
#endif

/* Four panels of one row, from i on. */
static void four_panels(const struct nb_conv_f32 *c, size_t i)
{
    const size_t panel = c->n_runs * c->len * STEP;
    const float *w = c->w + i / STEP * panel, *b = c->bias + i;
    struct v16 s0 = v16_load(b), s1 = v16_load(b + STEP);
    struct v16 s2 = v16_load(b + 2 * STEP), s3 = v16_load(b + 3 * STEP);
    for (size_t k = 0; k < c->n_runs; k++) {
        const float *x = c->x[0] + c->offset[k];
        for (size_t j = 0; j < c->len; j++, w += STEP) {
            const struct v16 v = v16_set1(x[j]);
            s0 = v16_fma(v, v16_load(w), s0);
            s1 = v16_fma(v, v16_load(w + panel), s1);
            s2 = v16_fma(v, v16_load(w + 2 * panel), s2);
            s3 = v16_fma(v, v16_load(w + 3 * panel), s3);
        }
    }
    const struct v16 low = v16_set1(c->low), high = v16_set1(c->high);
    struct follow f = follow_of(c, 0, i);
    f.stride = STEP;
    v16_put(&f, s0, low, high, STEP);
    v16_put(&f, s1, low, high, STEP);
    v16_put(&f, s2, low, high, STEP);
    v16_put(&f, s3, low, high, STEP);
}

void NB_FN(conv_f32_f32_f32)(const struct nb_conv_f32 *c)
{
    size_t i = 0;
    if (c->n_rows == 1)
        for (; i + 4 * STEP <= c->n; i += 4 * STEP)
            four_panels(c, i);
    if (c->n_rows <= 2 || CONV_PAIR_ROWS > 2)
        for (; i + 2 * STEP <= c->n; i += 2 * STEP)
            v16_pair_rows(c, i, 2 * STEP);
    for (; i + STEP <= c->n; i += STEP)
        v16_conv_rows(c, i, STEP);
    if (i == c->n)
        return;
#ifdef CONV_HALF
    if (c->n - i <= STEP / 2) {
        v8_conv_rows(c, i, c->n - i);
        return;
    }
#endif
    v16_conv_rows(c, i, c->n - i);
}

/* What follows of a row of channels is near what came before: rows outside, channels inside. */
void NB_FN(dwconv_f32_f32_f32)(const struct nb_conv_f32 *c)
{
    for (size_t row = 0; row < c->n_rows; row += CONV_ROWS) {
        const size_t rows = c->n_rows - row < CONV_ROWS ? c->n_rows - row : CONV_ROWS;
        size_t i = 0;
        for (; i + STEP <= c->n; i += STEP)
            v16_dwconv_whole(c, row, rows, i);
        if (i == c->n)
            continue;
#ifdef CONV_HALF
        if (c->n - i <= STEP / 2) {
            v8_dwconv_some(c, row, rows, i, c->n - i);
            continue;
        }
#endif
        v16_dwconv_part(c, row, rows, i, c->n - i);
    }
}
