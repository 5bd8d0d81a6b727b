/* kernels/avx2/gemm_f32.c: float matrix product; every output keeps its sixteen lanes in two registers.
 *
 * 2 rows x 3 columns of outputs take 12 registers, and 12 fma per 10 loads. Edges use dot.
 */
#include "kernels/avx2/v16.h"
#include "kernels/kernels.h"

#define ROWS 2
#define COLS 3

/* Loads once, uses twice: without this gcc makes every fma load its operand again. */
static inline __m256 load(const float *p)
{
    __m256 v = _mm256_loadu_ps(p);
    __asm__("" : "+x"(v));
    return v;
}

/* acc[r][c] += w[r] x[c] over n columns, n a multiple of 16. */
static inline void block(struct v16 acc[ROWS][COLS], const float *w, size_t w_stride,
                         const float *x, size_t x_stride, size_t n)
{
    struct v16 a0 = acc[0][0], a1 = acc[0][1], a2 = acc[0][2];
    struct v16 b0 = acc[1][0], b1 = acc[1][1], b2 = acc[1][2];
    const float *v = w + w_stride, *x1 = x + x_stride, *x2 = x + 2 * x_stride;
    for (size_t i = 0; i < n; i += 16) {
        __m256 p = load(w + i), q = load(v + i), t = load(x + i);
        a0.a = _mm256_fmadd_ps(p, t, a0.a);
        b0.a = _mm256_fmadd_ps(q, t, b0.a);
        t = load(x1 + i);
        a1.a = _mm256_fmadd_ps(p, t, a1.a);
        b1.a = _mm256_fmadd_ps(q, t, b1.a);
        t = load(x2 + i);
        a2.a = _mm256_fmadd_ps(p, t, a2.a);
        b2.a = _mm256_fmadd_ps(q, t, b2.a);
        p = load(w + i + 8);
        q = load(v + i + 8);
        t = load(x + i + 8);
        a0.b = _mm256_fmadd_ps(p, t, a0.b);
        b0.b = _mm256_fmadd_ps(q, t, b0.b);
        t = load(x1 + i + 8);
        a1.b = _mm256_fmadd_ps(p, t, a1.b);
        b1.b = _mm256_fmadd_ps(q, t, b1.b);
        t = load(x2 + i + 8);
        a2.b = _mm256_fmadd_ps(p, t, a2.b);
        b2.b = _mm256_fmadd_ps(q, t, b2.b);
    }
    acc[0][0] = a0;
    acc[0][1] = a1;
    acc[0][2] = a2;
    acc[1][0] = b0;
    acc[1][1] = b1;
    acc[1][2] = b2;
}

/* Four sums of lanes, each in the order of v16_sum. */
static inline __m128 sum4(struct v16 p, struct v16 q, struct v16 r, struct v16 s)
{
    const __m256 p8 = _mm256_add_ps(p.a, p.b), q8 = _mm256_add_ps(q.a, q.b);
    const __m256 r8 = _mm256_add_ps(r.a, r.b), s8 = _mm256_add_ps(s.a, s.b);
    const __m256 pr =
        _mm256_add_ps(_mm256_permute2f128_ps(p8, r8, 0x20), _mm256_permute2f128_ps(p8, r8, 0x31));
    const __m256 qs =
        _mm256_add_ps(_mm256_permute2f128_ps(q8, s8, 0x20), _mm256_permute2f128_ps(q8, s8, 0x31));
    /* p0+p2 q0+q2 p1+p3 q1+q3 | r, s the same */
    const __m256 t = _mm256_add_ps(_mm256_unpacklo_ps(pr, qs), _mm256_unpackhi_ps(pr, qs));
    const __m128 lo = _mm256_castps256_ps128(t), hi = _mm256_extractf128_ps(t, 1);
    return _mm_add_ps(_mm_movelh_ps(lo, hi), _mm_movehl_ps(hi, lo));
}

static void corner(float *y, size_t y_stride, const float *w, const float *x, size_t x_stride,
                   size_t k)
{
    struct v16 acc[ROWS][COLS];
    const size_t whole = k & ~(size_t)15, rest = k & 15;
    for (size_t i = 0; i < ROWS * COLS; i++)
        acc[i / COLS][i % COLS] = v16_set1(0.0F);
    block(acc, w, k, x, x_stride, whole);
    for (size_t i = 0; rest && i < ROWS * COLS; i++) {
        const size_t r = i / COLS, c = i % COLS;
        const struct v16 a = v16_load_n(w + r * k + whole, rest);
        const struct v16 b = v16_load_n(x + c * x_stride + whole, rest);
        acc[r][c] = v16_keep_n(v16_fma(a, b, acc[r][c]), acc[r][c], rest);
    }
    const __m128 s = sum4(acc[0][0], acc[1][0], acc[0][1], acc[1][1]);
    _mm_storel_pi((__m64 *)(void *)y, s);
    _mm_storeh_pi((__m64 *)(void *)(y + y_stride), s);
    y[2 * y_stride] = v16_sum(acc[0][2]);
    y[2 * y_stride + 1] = v16_sum(acc[1][2]);
}

void nb_gemm_f32_f32_f32_avx2(float *y, size_t y_stride, const float *w, size_t n_rows,
                              const float *x, size_t x_stride, size_t n_cols, size_t k)
{
    const size_t rows = n_rows - n_rows % ROWS, cols = n_cols - n_cols % COLS;
    for (size_t c = 0; c < cols; c += COLS) /* three columns stay in the cache */
        for (size_t r = 0; r < rows; r += ROWS)
            corner(y + c * y_stride + r, y_stride, w + r * k, x + c * x_stride, x_stride, k);
    for (size_t c = 0; c < n_cols; c++)
        for (size_t r = c < cols ? rows : 0; r < n_rows; r++)
            y[c * y_stride + r] = nb_dot_f32_f32_avx2(w + r * k, x + c * x_stride, k);
}
