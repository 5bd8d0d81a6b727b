/* kernels/linalg.tmpl.h: the inner loops of dense linear algebra.
 *
 * Each output is one chain of fma, so the number of outputs kept in registers is free: ROWS of them
 * (6 or 12) times a vector of columns, a register being sixteen floats or eight doubles. Six rows of two
 * AVX registers, or twelve of one AVX-512 register, are 12 independent chains, more than the
 * latency of fma times the number of its pipes.
 *
 * An ISA brings v16.h, d8.h, NB_FN(op), ROWS, and PIN(x), which keeps the compiler from loading a vector
 * again at each use (empty where it does not).
 */
#include "kernels/tile.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)
#define EACH_ROW    JOIN(EACH, ROWS)

/* ---- h (12, 16) += (double)(a^T b), a (n, 12), b (n, 16) ---- */

#define OUTER_ZERO(r) struct v16 s##r = v16_set1(0.0F);
#define OUTER_STEP(r) s##r = v16_fma(v16_set1(a[r]), x, s##r);
#define OUTER_ADD(r)  d8_add_v16(h + (r) * h_stride, s##r);
#define OUTER_NEAR(r)                                                                              \
    __builtin_prefetch(h + (r) * h_stride, 1);                                                     \
    __builtin_prefetch(h + (r) * h_stride + 8, 1);

static void outer_rows(double *h, size_t h_stride, const float *a, const float *b, size_t n)
{
    EACH_ROW(OUTER_NEAR)
    EACH_ROW(OUTER_ZERO)
    for (size_t k = 0; k < n; k++, a += NB_OUTER_ROWS, b += NB_OUTER_COLS) {
        struct v16 x = v16_load(b);
        PIN(x);
        EACH_ROW(OUTER_STEP)
    }
    EACH_ROW(OUTER_ADD)
}

void NB_FN(outer_f64_f32_f32)(double *h, size_t h_stride, const float *a, const float *b, size_t n)
{
    for (size_t r = 0; r < NB_OUTER_ROWS; r += ROWS)
        outer_rows(h + r * h_stride, h_stride, a + r, b, n);
}

/* ---- c (12, 8) += a^T b, a (n, 12), b (n, 8), doubles ---- */

#define TILE_LOAD(r)  struct d8 s##r = d8_load(c + (r) * c_stride);
#define TILE_STEP(r)  s##r = d8_fma(d8_set1(a[r]), x, s##r);
#define TILE_STORE(r) d8_store(c + (r) * c_stride, s##r);

static void tile_rows(double *c, size_t c_stride, const double *a, const double *b, size_t n)
{
    EACH_ROW(TILE_LOAD)
    for (size_t k = 0; k < n; k++, a += NB_TILE64_ROWS, b += NB_TILE64_COLS) {
        struct d8 x = d8_load(b);
        PIN(x);
        EACH_ROW(TILE_STEP)
    }
    EACH_ROW(TILE_STORE)
}

void NB_FN(tile_f64_f64_f64)(double *c, size_t c_stride, const double *a, const double *b, size_t n)
{
    for (size_t r = 0; r < NB_TILE64_ROWS; r += ROWS)
        tile_rows(c + r * c_stride, c_stride, a + r, b, n);
}

/* ---- x (n, 8) := t^-1 x, t triangular, from its last row up ---- */

void NB_FN(solve_f64_f64)(double *x, const double *t, size_t n)
{
    for (size_t j = n; j-- > 0;) {
        const double *row = t + j * n;
        const struct d8 v = d8_div(d8_load(x + j * 8), d8_set1(row[j])), m = d8_neg(v);
        d8_store(x + j * 8, v);
        for (size_t i = 0; i < j; i++)
            d8_store(x + i * 8, d8_fma(d8_set1(row[i]), m, d8_load(x + i * 8)));
    }
}

/* ---- w (rows, n) -= e (rows, b) u (b, n), floats ---- */

#define DEPTH 48 /* rows of u packed at a time: 3 KiB */

#define SUB_LOAD(r)                                                                                \
    struct v16 s##r = v16_load_n(w + (r) * w_stride, n_lanes);                                     \
    const float *e##r = e + (r) * e_stride;
#define SUB_LOAD16(r)                                                                              \
    struct v16 s##r = v16_load(w + (r) * w_stride);                                                \
    const float *e##r = e + (r) * e_stride;
#define SUB_STEP(r)    s##r = v16_fma(v16_set1(e##r[k]), x, s##r);
#define SUB_STORE(r)   v16_store_n(w + (r) * w_stride, s##r, n_lanes);
#define SUB_STORE16(r) v16_store(w + (r) * w_stride, s##r);

/* u (b, 16) packed and negated; whole: n_lanes is 16 */
#define SUB_FN(name, EACH, LOAD, STORE)                                                            \
    static void name(float *w, size_t w_stride, const float *e, size_t e_stride, const float *u,   \
                     size_t b, size_t n_lanes)                                                     \
    {                                                                                              \
        (void)n_lanes;                                                                             \
        EACH(LOAD)                                                                                 \
        for (size_t k = 0; k < b; k++, u += 16) {                                                  \
            struct v16 x = v16_load(u);                                                            \
            PIN(x);                                                                                \
            EACH(SUB_STEP)                                                                         \
        }                                                                                          \
        EACH(STORE)                                                                                \
    }
SUB_FN(sub_rows, EACH_ROW, SUB_LOAD16, SUB_STORE16)
SUB_FN(sub_4, EACH4, SUB_LOAD16, SUB_STORE16)
SUB_FN(sub_1, EACH1, SUB_LOAD16, SUB_STORE16)
SUB_FN(sub_edge_4, EACH4, SUB_LOAD, SUB_STORE)
SUB_FN(sub_edge_1, EACH1, SUB_LOAD, SUB_STORE)

/* Sixteen columns, or fewer at the edge. */
static void sub_strip(float *w, size_t w_stride, const float *e, size_t e_stride, const float *u,
                      size_t rows, size_t b, size_t n_lanes)
{
    const bool whole = n_lanes == 16;
    size_t r = 0;
    for (; whole && r + ROWS <= rows; r += ROWS)
        sub_rows(w + r * w_stride, w_stride, e + r * e_stride, e_stride, u, b, n_lanes);
    for (; r + 4 <= rows; r += 4)
        (whole ? sub_4 : sub_edge_4)(w + r * w_stride, w_stride, e + r * e_stride, e_stride, u, b,
                                     n_lanes);
    for (; r < rows; r++)
        (whole ? sub_1 : sub_edge_1)(w + r * w_stride, w_stride, e + r * e_stride, e_stride, u, b,
                                     n_lanes);
}

void NB_FN(gemmsub_f32_f32_f32)(float *w, size_t w_stride, const float *e, size_t e_stride,
                                const float *u, size_t u_stride, size_t rows, size_t b, size_t n)
{
    float strip[DEPTH * 16];
    for (size_t k = 0; k < b; k += DEPTH) {
        const size_t depth = b - k < DEPTH ? b - k : DEPTH;
        for (size_t j = 0; j < n; j += 16) {
            const size_t n_lanes = n - j < 16 ? n - j : 16;
            for (size_t i = 0; i < depth; i++) {
                const float *p = u + (k + i) * u_stride + j;
                v16_store(strip + i * 16, v16_neg(n_lanes == 16 ? v16_load(p)
                                                                : v16_load_n(p, n_lanes)));
            }
            sub_strip(w + j, w_stride, e + k, e_stride, strip, rows, depth, n_lanes);
        }
    }
}
