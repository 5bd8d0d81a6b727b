/* The 4-bit formats whose values are no uniform grid: decoding of mxfp4 and nvfp4, that their search leaves
 * no better scale, and the squared error of all four on Gaussians. */
#include "support/nbtest.h"

#include "base/rng.h"
#include "golden.h"
#include "kernels/fp4.h"
#include "numfmt/numfmt.h"

#include <math.h>

/* Golden hashes of ggml-org/ggml d99724f2: four blocks of pseudo-random bytes, the scales tame. */
static void check_decode(const struct nb_numfmt *f, const uint8_t *raw, const uint64_t want[2])
{
    float y[4 * NB_NUMFMT_MAX_BLOCK];
    assert_true(golden_fnv(raw, 4U * f->block_bytes) == want[0]);
    nb_numfmt_decode(f, raw, y, 4U * f->block);
    assert_true(golden_fnv(y, 4U * f->block * sizeof *y) == want[1]);
}

static void golden_bytes(uint8_t *raw, const struct nb_numfmt *f)
{
    uint32_t s = (uint32_t)f->gguf_type + 1;
    for (size_t i = 0; i < 4U * f->block_bytes; i++)
        raw[i] = (uint8_t)(golden_next(&s) >> 24);
}

static void test_golden_decode(void **state)
{
    (void)state;
    uint8_t raw[4 * NB_NUMFMT_MAX_BLOCK];
    golden_bytes(raw, &nb_numfmt_mxfp4);
    for (size_t k = 0; k < 4; k++)
        raw[17 * k] = (uint8_t)(118 + k);
    check_decode(&nb_numfmt_mxfp4, raw,
                 (const uint64_t[]){UINT64_C(0xcddbf7dd719caf7e), UINT64_C(0x71598d5306c0f681)});
    golden_bytes(raw, &nb_numfmt_nvfp4);
    for (size_t k = 0; k < 16; k++) {
        uint8_t *scale = raw + 36 * (k / 4) + k % 4;
        *scale = (uint8_t)(*scale & 0x7f);
        *scale = *scale == 0x7f ? 0x7e : *scale;
    }
    check_decode(&nb_numfmt_nvfp4, raw,
                 (const uint64_t[]){UINT64_C(0x142d40f33186530b), UINT64_C(0xf8bedd7af2a55baf)});
}

/* All scale bytes, one code of either sign. */
static void test_scales(void **state)
{
    (void)state;
    float y[64];
    for (int byte = 0; byte < 256; byte++) {
        uint8_t raw[36] = {(uint8_t)byte, 0xa1};
        nb_numfmt_decode(&nb_numfmt_mxfp4, raw, y, 32);
        assert_bits(y[0], ldexpf(1.0F, byte - 128));
        assert_bits(y[16], -ldexpf(2.0F, byte - 128));
        memset(raw, 0, sizeof raw);
        raw[1] = (uint8_t)byte;
        raw[12] = 0xa1;
        nb_numfmt_decode(&nb_numfmt_nvfp4, raw, y, 64);
        const int e = byte >> 3 & 15;
        const float m = (float)(byte & 7);
        const float want = byte == 0x7f ? 0.0F : e == 0 ? ldexpf(m, -10) : ldexpf(8.0F + m, e - 11);
        assert_bits(y[16], want);
        assert_bits(y[24], -2.0F * want);
    }
}

/* ---- the search ---- */

static double block_error(const float *x, const float *w, size_t n, float scale)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double a = fabs((double)x[i]);
        double least = a;
        for (size_t k = 1; k < 8; k++)
            least = fmin(least, fabs(a - (double)scale * nb_fp4_values[k]));
        sum += (w != NULL ? (double)w[i] : 1.0) * least * least;
    }
    return sum;
}

/* Sum over all sub-blocks of the least error that any scale gives. */
static double least_error(const struct nb_numfmt *f, const float *x, const float *w, size_t n)
{
    double sum = 0.0;
    for (size_t at = 0; at < n; at += f->sub) {
        double least = INFINITY;
        for (int code = 0; code < (f == &nb_numfmt_mxfp4 ? 253 : 127); code++) {
            const float scale = f == &nb_numfmt_mxfp4 ? ldexpf(1.0F, code - 128)
                                                      : 0.5F * nb_e4m3_value((unsigned)code);
            least = fmin(least, block_error(x + at, w != NULL ? w + at : NULL, f->sub, scale));
        }
        sum += least;
    }
    return sum;
}

static void check_search(const struct nb_numfmt *f, float size, bool heavy)
{
    enum { SOME = 2048 };
    static float x[SOME];
    static float y[SOME];
    static float importance[SOME];
    static uint8_t raw[SOME];
    struct nb_error err;
    struct nb_rng rng = {.seed = heavy ? 5 : 6};
    for (size_t i = 0; i < SOME; i++) {
        const double g = nb_rng_normal(&rng);
        x[i] = size * (float)(heavy ? g * g * g : g);
        importance[i] = (float)exp(1.5 * nb_rng_normal(&rng));
    }
    for (int with = 0; with < 2; with++) {
        const float *w = with ? importance : NULL;
        assert_ok(nb_numfmt_encode(f, raw, x, w, SOME, &err), &err);
        nb_numfmt_decode(f, raw, y, SOME);
        double error = 0.0;
        for (size_t i = 0; i < SOME; i++)
            error += (with ? (double)importance[i] : 1.0) * ((double)x[i] - (double)y[i]) *
                     ((double)x[i] - (double)y[i]);
        /* importance is used with a thousandth of its mean added */
        assert_true(error <= least_error(f, x, w, SOME) * (with ? 1.001 : 1.000001));
    }
}

static void test_search_is_exact(void **state)
{
    (void)state;
    const float sizes[] = {1.0F, 0.02F, 0.003F, 100.0F};
    for (size_t s = 0; s < NB_COUNTOF(sizes); s++)
        for (int heavy = 0; heavy < 2; heavy++) {
            check_search(&nb_numfmt_mxfp4, sizes[s], heavy);
            check_search(&nb_numfmt_nvfp4, sizes[s], heavy);
        }
}

/* ---- Gaussians ---- */

static void test_gaussian_error(void **state)
{
    (void)state;
    enum { RUN = 1 << 14, RUNS = 64 };
    static float x[RUN];
    static float y[RUN];
    static uint8_t raw[RUN];
    /* 1 % above what a search over all real scales (iq4), exponents and E4M3 numbers gives */
    const struct {
        const struct nb_numfmt *f;
        double limit;
    } want[] = {{&nb_numfmt_iq4_nl, 0.00538 * 1.01},
                {&nb_numfmt_iq4_xs, 0.00538 * 1.01 * 1.01},
                {&nb_numfmt_mxfp4, 0.01243 * 1.01},
                {&nb_numfmt_nvfp4, 0.00659 * 1.01}};
    struct nb_error err;
    double error[NB_COUNTOF(want)] = {0.0};
    struct nb_rng rng = {.seed = 1};
    for (size_t r = 0; r < RUNS; r++) {
        for (size_t i = 0; i < RUN; i++)
            x[i] = (float)nb_rng_normal(&rng);
        for (size_t k = 0; k < NB_COUNTOF(want); k++) {
            assert_ok(nb_numfmt_encode(want[k].f, raw, x, NULL, RUN, &err), &err);
            nb_numfmt_decode(want[k].f, raw, y, RUN);
            for (size_t i = 0; i < RUN; i++)
                error[k] += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        }
    }
    for (size_t k = 0; k < NB_COUNTOF(want); k++)
        assert_true(error[k] / (double)(RUN * RUNS) <= want[k].limit);
}

NB_TEST_MAIN(cmocka_unit_test(test_golden_decode), cmocka_unit_test(test_scales),
             cmocka_unit_test(test_search_is_exact), cmocka_unit_test(test_gaussian_error))
