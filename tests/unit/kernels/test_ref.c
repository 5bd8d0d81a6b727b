/* The reference kernels against plain formulas in double: checkkern compares the others with them. */
#include "kernels/panel.h"
#include "kernels/ref/ref.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t state = 5;

static uint64_t next(void) /* splitmix64 */
{
    uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static float unit(void) /* -1..1 */
{
    return (float)((double)(int64_t)next() * 0x1p-63);
}

static void assert_close(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance))
        fail_msg("%.9g is not %.9g within %.3g", got, want, tolerance);
}

static void test_exp(void **unused)
{
    (void)unused;
    const uint32_t first[2] = {0, 0x80000000U};
    const float last[2] = {NB_EXP_HI, NB_EXP_LO};
    double most = 0.0;
    for (size_t s = 0; s < 2; s++)
        for (uint32_t u = first[s]; u <= nb_f32_bits(last[s]); u += 1021) {
            const double want = exp((double)nb_f32_from_bits(u));
            int e;
            (void)frexp(want, &e);
            const double ulps =
                fabs((double)ref_exp(nb_f32_from_bits(u)) - want) / ldexp(1.0, e - 24);
            most = ulps > most ? ulps : most;
        }
    assert_true(most < 1.0);
    assert_true(ref_exp(0.0F) == 1.0F && ref_exp(-0.0F) == 1.0F);
    assert_true(ref_exp(NB_EXP_HI) < INFINITY && ref_exp(NB_EXP_LO) >= 0x1p-126F);
    assert_true(ref_exp(88.73F) == INFINITY && ref_exp(INFINITY) == INFINITY);
    assert_true(ref_exp(-87.34F) == 0.0F && ref_exp(-INFINITY) == 0.0F);
    assert_true(isnan(ref_exp(NAN)));
}

static void test_dot(void **unused)
{
    (void)unused;
    float a[333], b[333];
    double want = 0.0, size = 0.0;
    for (size_t i = 0; i < 333; i++) {
        a[i] = unit();
        b[i] = unit();
        want += (double)a[i] * (double)b[i];
        size += fabs((double)a[i] * (double)b[i]);
    }
    assert_close((double)nb_dot_f32_f32_ref(a, b, 333), want, size * 333 * 0x1p-24);
    float y[4];
    nb_gemm_f32_f32_f32_ref(y, 2, a, 2, b, 50, 2, 40);
    assert_true(y[0] == nb_dot_f32_f32_ref(a, b, 40) &&
                y[3] == nb_dot_f32_f32_ref(a + 40, b + 50, 40));
}

/* Packed rows of 45 say what the rows say, and what fills them up changes no zero's sign. */
static void test_panel(void **unused)
{
    (void)unused;
    const size_t k = 45, n_rows = 5, n_cols = 4;
    float w[5 * 45], x[4 * 45], wp[2 * 4 * 48], xp[2 * 3 * 48], y[20], want[20], best[20];
    float sums[2 * 4 * NB_PANEL_SUMS];
    assert_int_equal(nb_panel_floats(n_rows, NB_PANEL_ROWS, k), 2 * 4 * 48);
    assert_int_equal(nb_panel_floats(n_cols, NB_PANEL_COLS, k), 2 * 3 * 48);
    assert_int_equal(nb_panel_scratch(n_cols), 2 * 4 * NB_PANEL_SUMS);
    for (size_t i = 0; i < n_rows * k; i++)
        w[i] = i / k == 2 ? -0x1p-100F : unit();
    for (size_t i = 0; i < n_cols * k; i++)
        x[i] = i / k == 1 ? 0x1p-100F : unit();
    for (size_t r = 0; r < n_rows; r += 4) {
        const float *rows[4];
        for (size_t i = 0; i < 4; i++)
            rows[i] = w + (r + i < n_rows ? r + i : r) * k;
        nb_panel_pack(wp + nb_panel_floats(r, 4, k), rows, r == 0 ? 4 : 1, 4, k, -0.0F);
    }
    for (size_t c = 0; c < n_cols; c += 3) {
        const float *cols[3];
        for (size_t i = 0; i < 3; i++)
            cols[i] = x + (c + i < n_cols ? c + i : c) * k;
        nb_panel_pack(xp + nb_panel_floats(c, 3, k), cols, c == 0 ? 3 : 1, 3, k, 0.0F);
    }
    for (size_t i = 0; i < 20; i++)
        want[i] = nb_dot_f32_f32_ref(w + i % n_rows * k, x + i / n_rows * k, k);
    nb_gemm_f32_f32p_f32p_ref(y, n_rows, wp, n_rows, xp, n_cols, k, sums);
    assert_memory_equal(y, want, sizeof y);
    nb_kernels_get()->gemm_f32_f32p_f32p(best, n_rows, wp, n_rows, xp, n_cols, k, sums);
    assert_memory_equal(best, want, sizeof best);
}

static void test_softmax(void **unused)
{
    (void)unused;
    float x[77], y[77], max;
    double sum = 0.0;
    for (size_t i = 0; i < 77; i++)
        x[i] = i % 5 == 0 ? -INFINITY : unit() * 20.0F;
    memcpy(y, x, sizeof x);
    nb_softmax_f32_ref(y, 77, 0.5F);
    for (size_t i = 0; i < 77; i++)
        sum += exp(0.5 * (double)x[i]);
    for (size_t i = 0; i < 77; i++)
        assert_close((double)y[i], exp(0.5 * (double)x[i]) / sum,
                     1e-6 * exp(0.5 * (double)x[i]) / sum);
    assert_true(y[0] == 0.0F);
    const double es = (double)nb_expsum_f32_ref(x, 77, &max);
    sum = 0.0;
    for (size_t i = 0; i < 77; i++)
        sum += exp((double)x[i] - (double)max);
    assert_close(es, sum, 1e-5 * sum);
    float masked[3] = {-INFINITY, -INFINITY, -INFINITY};
    assert_true(nb_expsum_f32_ref(masked, 3, &max) == 0.0F && max == -INFINITY);
    nb_softmax_f32_ref(masked, 3, 1.0F);
    assert_true(masked[0] == 0.0F && masked[1] == 0.0F && masked[2] == 0.0F);
    float bad[2] = {NAN, 1.0F};
    nb_softmax_f32_ref(bad, 2, 1.0F);
    assert_true(isnan(bad[0]) && isnan(bad[1]));
}

static void test_decoder_pieces(void **unused)
{
    (void)unused;
    float x[50], w[50], y[50], z[50], turned[50];
    double ss = 0.0;
    for (size_t i = 0; i < 50; i++) {
        x[i] = unit() * 30.0F;
        w[i] = unit();
        ss += (double)x[i] * (double)x[i];
    }
    nb_rmsnorm_f32_ref(y, x, w, 50, 1e-5F);
    for (size_t i = 0; i < 50; i++)
        assert_close((double)y[i], (double)x[i] / sqrt(ss / 50 + 1e-5) * (double)w[i], 1e-6);
    nb_glu_f32_ref(y, x, w, 50, NB_ACT_SILU);
    for (size_t i = 0; i < 50; i++)
        assert_close((double)y[i], (double)x[i] / (1.0 + exp(-(double)x[i])) * (double)w[i], 1e-5);
    x[0] = -200.0F; /* exp(200) is infinite: silu is -0 */
    nb_glu_f32_ref(y, x, w, 1, NB_ACT_SILU);
    assert_true(y[0] == 0.0F);
    float c[25], s[25];
    for (size_t i = 0; i < 25; i++) {
        c[i] = cosf((float)i);
        s[i] = sinf((float)i);
        turned[i] = x[2 * i]; /* the same pairs, in halves */
        turned[i + 25] = x[2 * i + 1];
    }
    nb_rope_f32_ref(y, x, c, s, 25, false);
    nb_rope_f32_ref(z, turned, c, s, 25, true);
    assert_memory_equal(y, z, sizeof y);
    assert_close((double)y[6], (double)x[6] * cos(3.0) - (double)x[7] * sin(3.0), 1e-5);
    assert_close((double)y[7], (double)x[6] * sin(3.0) + (double)x[7] * cos(3.0), 1e-5);
}

static void test_quant(void **unused)
{
    (void)unused;
    float x[32 * 5], d[5];
    int8_t q[32 * 5];
    int16_t sum16[10];
    for (size_t i = 0; i < 32 * 5; i++)
        x[i] = unit();
    memset(x + 32, 0, 32 * sizeof *x);
    for (size_t i = 64; i < 96; i++)
        x[i] = 1e-36F;
    x[100] = INFINITY;
    x[130] = -2.0F;
    nb_quant_q8_f32_ref(q, d, sum16, x, 32 * 5);
    for (size_t i = 0; i < 32; i++)
        assert_close((double)d[0] * q[i], (double)x[i], (double)d[0] * 0.501);
    int sum = 0;
    for (size_t i = 16; i < 32; i++)
        sum += q[i];
    assert_int_equal(sum16[1], sum);
    assert_true(d[1] == 0.0F && q[40] == 0 && d[2] == 0.0F && q[70] == 0);
    assert_true(isnan(d[3]) && q[100] == 0 && sum16[6] == 0);
    assert_true(d[4] == 2.0F / 127.0F && q[130] == -127);
}

enum { K = 512, ROWS = 8 };

/* Codes, scales and mins of a row of each format, by the formulas of the format's description. */
struct decoded {
    int code[K];
    double scale[K], min[K];
};

static double half(const uint8_t *p)
{
    return (double)nb_f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

static void decode_q8_0(struct decoded *r, const uint8_t *b)
{
    for (size_t i = 0; i < K; i++) {
        const uint8_t *p = b + i / 32 * 34;
        r->code[i] = (int8_t)p[2 + i % 32];
        r->scale[i] = half(p);
    }
}

static void decode_q4_0(struct decoded *r, const uint8_t *b)
{
    for (size_t i = 0; i < K; i++) {
        const uint8_t *p = b + i / 32 * 18;
        r->code[i] = (i % 32 < 16 ? p[2 + i % 16] % 16 : p[2 + i % 16] / 16) - 8;
        r->scale[i] = half(p);
    }
}

static void decode_q4_k(struct decoded *r, const uint8_t *b)
{
    for (size_t i = 0; i < K; i++) {
        const uint8_t *p = b + i / 256 * 144, *s = p + 4;
        const size_t in = i % 256, j = in / 32;
        const int sc = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        const int m = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
        const int byte = p[16 + in / 64 * 32 + in % 32];
        r->code[i] = j % 2 ? byte >> 4 : byte & 15;
        r->scale[i] = half(p) * sc;
        r->min[i] = -half(p + 2) * m;
    }
}

static void decode_q6_k(struct decoded *r, const uint8_t *b)
{
    for (size_t i = 0; i < K; i++) {
        const uint8_t *p = b + i / 256 * 210;
        const size_t in = i % 256, n = in / 128, g = in % 128 / 32, l = in % 32;
        const int ql = p[64 * n + 32 * (g % 2) + l], qh = p[128 + 32 * n + l];
        r->code[i] = ((g < 2 ? ql & 15 : ql >> 4) | (qh >> (2 * g) & 3) << 4) - 32;
        r->scale[i] = half(p + 208) * (int8_t)p[192 + in / 16];
    }
}

/* gemv on stored blocks, and on the same weights in a packed tile, which must agree to the bit. */
static void check_format(nb_gemv_q_fn *gemv, void (*decode)(struct decoded *, const uint8_t *),
                         size_t row_bytes, size_t block, const size_t halves[2], uint32_t sub,
                         bool has_min)
{
    static uint8_t w[ROWS * K * 2];
    static struct decoded row[ROWS];
    static int8_t codes[K * ROWS], q[K];
    static float scale[K / 16 * ROWS], min[K / 16 * ROWS], d[K / 32], x[K], y[ROWS], z[ROWS];
    static int16_t sum16[K / 16];
    for (size_t i = 0; i < ROWS * row_bytes; i++)
        w[i] = (uint8_t)next();
    for (size_t at = 0; at < ROWS * row_bytes; at += block)
        for (size_t h = 0; h < 2; h++) {
            const uint16_t v = nb_f32_to_f16(unit() * 0.01F);
            memcpy(w + at + halves[h], &v, 2);
        }
    for (size_t i = 0; i < K; i++)
        x[i] = unit();
    nb_quant_q8_f32_ref(q, d, sum16, x, K);
    const struct nb_q8 xq = {q, d, sum16};
    gemv(y, w, row_bytes, ROWS, K, &xq);
    memset(row, 0, sizeof row);
    for (size_t r = 0; r < ROWS; r++) {
        double want = 0.0, size = 0.0;
        decode(&row[r], w + r * row_bytes);
        for (size_t i = 0; i < K; i++) {
            const double v = row[r].scale[i] * row[r].code[i] + row[r].min[i];
            want += v * q[i] * (double)d[i / 32];
            size += (fabs(row[r].scale[i] * row[r].code[i]) + fabs(row[r].min[i])) * abs(q[i]) *
                    (double)d[i / 32];
            codes[i / 4 * 4 * ROWS + 4 * r + i % 4] = (int8_t)row[r].code[i];
            scale[i / sub * ROWS + r] = (float)row[r].scale[i];
            min[i / sub * ROWS + r] = (float)row[r].min[i];
        }
        assert_close((double)y[r], want, size * 0x1p-18);
    }
    const struct nb_tile tile = {codes, scale, has_min ? min : NULL, sub, 0, 0};
    nb_gemm_f32_tile_q8_ref(z, ROWS, &tile, K, &xq, 1);
    assert_memory_equal(y, z, sizeof y);
}

static void test_blocks(void **unused)
{
    (void)unused;
    const size_t first[2] = {0, 0}, two[2] = {0, 2}, last[2] = {208, 208};
    check_format(nb_gemv_f32_q8_0_q8_ref, decode_q8_0, K / 32 * 34, 34, first, 32, false);
    check_format(nb_gemv_f32_q4_0_q8_ref, decode_q4_0, K / 32 * 18, 18, first, 32, false);
    check_format(nb_gemv_f32_q4_k_q8_ref, decode_q4_k, K / 256 * 144, 144, two, 32, true);
    check_format(nb_gemv_f32_q6_k_q8_ref, decode_q6_k, K / 256 * 210, 210, last, 16, false);
}

static void test_dispatch(void **unused)
{
    (void)unused;
    unsigned flags = 1;
    assert_true(nb_isa_check("ref", &flags) && flags == NB_ISA_NONE);
    assert_true(nb_isa_check("avx512vnni", &flags) && (flags & NB_ISA_AVX2));
    assert_false(nb_isa_check("avx3", &flags));
    assert_string_equal(nb_isa_name(NB_ISA_NONE), "ref");
    assert_string_equal(nb_isa_name(NB_ISA_AVX2), "avx2");
    assert_string_equal(nb_isa_name(NB_ISA_NEON | NB_ISA_DOTPROD), "dotprod");
    assert_int_equal(nb_isa_used() & ~nb_isa_have(), 0);
    const struct nb_kernels *k = nb_kernels_get();
    void (*const *fn)(void) = (void (*const *)(void))(const void *)k;
    for (size_t i = 0; i < sizeof *k / sizeof *fn; i++) /* every field is filled */
        assert_true(fn[i] != NULL);
    assert_ptr_equal(k, nb_kernels_get());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp),      cmocka_unit_test(test_dot),
        cmocka_unit_test(test_softmax),  cmocka_unit_test(test_decoder_pieces),
        cmocka_unit_test(test_quant),    cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_dispatch), cmocka_unit_test(test_panel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
