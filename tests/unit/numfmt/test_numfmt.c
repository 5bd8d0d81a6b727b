/* numfmt/: names and numbers of the registry, sizes, errors, and decoding bit for bit as the formats'
 * owners do (golden hashes of ggml-org/ggml d99724f2). */
#include "support/nbtest.h"

#include "golden.h"
#include "numfmt/numfmt.h"

#include <math.h>

static void test_find(void **state)
{
    (void)state;
    assert_ptr_equal(nb_numfmt_find("q4_k"), &nb_numfmt_q4_k);
    assert_ptr_equal(nb_numfmt_find("Q4_K"), &nb_numfmt_q4_k);
    assert_ptr_equal(nb_numfmt_find("BF16"), &nb_numfmt_bf16);
    assert_null(nb_numfmt_find("q4_"));
    assert_null(nb_numfmt_find("q4_k_m"));
    assert_null(nb_numfmt_find(""));
    assert_ptr_equal(nb_numfmt_by_gguf(14), &nb_numfmt_q6_k);
    assert_ptr_equal(nb_numfmt_by_gguf(28), &nb_numfmt_f64);
    assert_null(nb_numfmt_by_gguf(-1));
    assert_null(nb_numfmt_by_gguf(4)); /* removed from ggml */
    assert_null(nb_numfmt_by_gguf(137));
    assert_ptr_equal(nb_numfmt_by_st("BOOL"), &nb_numfmt_bool);
    assert_ptr_equal(nb_numfmt_by_st("BF16"), &nb_numfmt_bf16);
    assert_null(nb_numfmt_by_st("bf16")); /* safetensors writes capitals */
    assert_close(nb_numfmt_bpw(&nb_numfmt_q6_k), 6.5625, 0.0);
    assert_close(nb_numfmt_bpw(&nb_numfmt_q8_0), 8.5, 0.0);
}

static void test_sizes(void **state)
{
    (void)state;
    struct nb_error err;
    uint64_t bytes = 0;
    assert_ok(nb_numfmt_row_bytes(&nb_numfmt_q4_k, 512, &bytes, &err), &err);
    assert_int_equal(bytes, 288);
    assert_fails(nb_numfmt_row_bytes(&nb_numfmt_q4_k, 300, &bytes, &err), NB_ERR_FORMAT, &err,
                 "300");
    const struct nb_shape m = nb_shape_2(3, 64);
    assert_ok(nb_numfmt_bytes(&nb_numfmt_q8_0, &m, &bytes, &err), &err);
    assert_int_equal(bytes, 3 * 2 * 34);
    const struct nb_shape empty = nb_shape_2(0, 64);
    assert_ok(nb_numfmt_bytes(&nb_numfmt_q8_0, &empty, &bytes, &err), &err);
    assert_int_equal(bytes, 0);
    const struct nb_shape no_cols = nb_shape_2(64, 0);
    assert_ok(nb_numfmt_bytes(&nb_numfmt_f16, &no_cols, &bytes, &err), &err);
    assert_int_equal(bytes, 0);
    /* As many elements as 64 bits count, but not as many bytes. */
    const struct nb_shape big = nb_shape_2(UINT64_C(1) << 31, UINT64_C(1) << 32);
    assert_fails(nb_numfmt_bytes(&nb_numfmt_f32, &big, &bytes, &err), NB_ERR_FORMAT, &err,
                 "[2147483648, 4294967296]");
    const struct nb_shape bigger = nb_shape_2(UINT64_C(1) << 32, UINT64_C(1) << 32);
    assert_fails(nb_numfmt_bytes(&nb_numfmt_q4_0, &bigger, &bytes, &err), NB_ERR_FORMAT, &err,
                 "elements");
}

/* The scale of iq1_m has no field of its own: it is the top nibbles of four words. */
static void put_d(const struct nb_numfmt *f, uint8_t *block, size_t at, uint32_t d)
{
    if (f != &nb_numfmt_iq1_m) {
        nb_store_u16(block + at, (uint16_t)d);
        return;
    }
    for (size_t k = 0; k < 4; k++) {
        uint8_t *top = block + at + 2 * k + 1;
        *top = (uint8_t)((*top & 15U) | (d >> 4 * k & 15U) << 4);
    }
}

/* Four blocks of pseudo-random bytes, their f16 fields set to tame values. */
static void check_decode(const struct nb_numfmt *f, size_t d_at, int min_at, const uint64_t want[2])
{
    uint8_t raw[4 * NB_NUMFMT_MAX_BLOCK];
    float y[4 * NB_NUMFMT_MAX_BLOCK];
    uint32_t s = (uint32_t)f->gguf_type + 1;
    for (size_t i = 0; i < 4U * f->block_bytes; i++)
        raw[i] = (uint8_t)(golden_next(&s) >> 24);
    for (size_t k = 0; k < 4; k++) {
        put_d(f, raw + k * f->block_bytes, d_at, (uint32_t)(0x2e66 + k));
        if (min_at >= 0)
            nb_store_u16(raw + k * f->block_bytes + (size_t)min_at, (uint16_t)(0x2a66 + k));
    }
    assert_true(golden_fnv(raw, 4U * f->block_bytes) == want[0]);
    nb_numfmt_decode(f, raw, y, 4U * f->block);
    assert_true(golden_fnv(y, 4U * f->block * sizeof *y) == want[1]);
}

static void test_golden_decode(void **state)
{
    (void)state;
    check_decode(&nb_numfmt_q4_0, 0, -1,
                 (const uint64_t[]){UINT64_C(0xb1076931a43a661f), UINT64_C(0xf1ce2c52ffe971e4)});
    check_decode(&nb_numfmt_q4_1, 0, 2,
                 (const uint64_t[]){UINT64_C(0xbfa0c74b71ba0b30), UINT64_C(0x5df69710383792ee)});
    check_decode(&nb_numfmt_q5_0, 0, -1,
                 (const uint64_t[]){UINT64_C(0x4c90c874a08aea6a), UINT64_C(0xd98997e481a710a0)});
    check_decode(&nb_numfmt_q5_1, 0, 2,
                 (const uint64_t[]){UINT64_C(0xee242bef28e214fe), UINT64_C(0x558d17318e1d11d1)});
    check_decode(&nb_numfmt_iq1_s, 0, -1,
                 (const uint64_t[]){UINT64_C(0x96e22931ebc560f8), UINT64_C(0x61894465ca0e3c5e)});
    check_decode(&nb_numfmt_iq1_m, 48, -1,
                 (const uint64_t[]){UINT64_C(0x97aa8523dff2f382), UINT64_C(0xf4f1be90d74a0010)});
    check_decode(&nb_numfmt_q1_0, 0, -1,
                 (const uint64_t[]){UINT64_C(0x6a6f81cf8a3e4385), UINT64_C(0x68590397f931b425)});
    check_decode(&nb_numfmt_q2_0, 0, -1,
                 (const uint64_t[]){UINT64_C(0xd9d01b6a6707ae64), UINT64_C(0xb3b954d485bd0eec)});
    check_decode(&nb_numfmt_tq1_0, 52, -1,
                 (const uint64_t[]){UINT64_C(0x6dd2bf9059f9155b), UINT64_C(0x2590e25681a87b3b)});
    check_decode(&nb_numfmt_tq2_0, 64, -1,
                 (const uint64_t[]){UINT64_C(0xea71d48b4b03a216), UINT64_C(0x6d6bef4362ebdebe)});
    check_decode(&nb_numfmt_q8_0, 0, -1,
                 (const uint64_t[]){UINT64_C(0x563b4e094c7e44c6), UINT64_C(0xba6fe2b6becf8a69)});
    check_decode(&nb_numfmt_q2_k, 80, 82,
                 (const uint64_t[]){UINT64_C(0x188931fce3fc4917), UINT64_C(0x3aa8687fc558cdd9)});
    check_decode(&nb_numfmt_q3_k, 108, -1,
                 (const uint64_t[]){UINT64_C(0x772d5b9ec9871a36), UINT64_C(0x24fa94ffbb4fc6c4)});
    check_decode(&nb_numfmt_q4_k, 0, 2,
                 (const uint64_t[]){UINT64_C(0xfe7c6488608b1e51), UINT64_C(0x7b4a71058ccd8a24)});
    check_decode(&nb_numfmt_q5_k, 0, 2,
                 (const uint64_t[]){UINT64_C(0x8ad170f2f6f83747), UINT64_C(0x38b36ee851d3145b)});
    check_decode(&nb_numfmt_q6_k, 208, -1,
                 (const uint64_t[]){UINT64_C(0xa82a3d56a7ca78fb), UINT64_C(0x543b5e40ca23ddfc)});
    check_decode(&nb_numfmt_iq4_nl, 0, -1,
                 (const uint64_t[]){UINT64_C(0x82e95bda5bed948f), UINT64_C(0x6333a31fd55e0938)});
    check_decode(&nb_numfmt_iq4_xs, 0, -1,
                 (const uint64_t[]){UINT64_C(0x4f33d070b7ab04da), UINT64_C(0xc2d63820f49a1fe2)});
}

static void test_golden_decode_iq(void **state)
{
    (void)state;
    check_decode(&nb_numfmt_iq2_xxs, 0, -1,
                 (const uint64_t[]){UINT64_C(0x985dfc2a1b35404b), UINT64_C(0x8a2940451dc540ea)});
    check_decode(&nb_numfmt_iq2_xs, 0, -1,
                 (const uint64_t[]){UINT64_C(0xe606a42b3051fcca), UINT64_C(0x5653d28b3ce81377)});
    check_decode(&nb_numfmt_iq2_s, 0, -1,
                 (const uint64_t[]){UINT64_C(0xe890217d974a69e8), UINT64_C(0xfe014c8748d9ecc2)});
    check_decode(&nb_numfmt_iq3_xxs, 0, -1,
                 (const uint64_t[]){UINT64_C(0x39bc4b7d1d194029), UINT64_C(0xdd40e80981cb8e77)});
    check_decode(&nb_numfmt_iq3_s, 0, -1,
                 (const uint64_t[]){UINT64_C(0xeb31f7c79dda9a39), UINT64_C(0x6e4afad0774c9979)});
}

/* Every 16-bit pattern against arithmetic on its fields; aligned and at an odd address. */
static void test_halves_exhaustive(void **state)
{
    (void)state;
    static uint8_t raw[2 * 65536 + 1];
    static float y[2][65536];
    for (int odd = 0; odd < 2; odd++) {
        for (uint32_t i = 0; i < 65536; i++)
            nb_store_u16(raw + odd + 2 * i, (uint16_t)i);
        nb_numfmt_decode(&nb_numfmt_f16, raw + odd, y[0], 65536);
        nb_numfmt_decode(&nb_numfmt_bf16, raw + odd, y[1], 65536);
        for (uint32_t i = 0; i < 65536; i++) {
            const double sign = i & 0x8000U ? -1.0 : 1.0;
            const int e = (int)(i >> 10 & 31U);
            const double frac = (double)(i & 1023U);
            if (e == 31)
                assert_true(frac == 0.0 ? y[0][i] == (float)(sign * INFINITY) : isnan(y[0][i]));
            else
                assert_bits(y[0][i], (float)(sign * (e == 0 ? ldexp(frac, -24)
                                                            : ldexp(1024.0 + frac, e - 25))));
            if ((i & 0x7fffU) <= 0x7f80U)
                assert_bits(y[1][i], nb_f32_from_bits(i << 16));
            else
                assert_true(isnan(y[1][i]));
        }
    }
}

/* Encoding what was decoded gives the same 16 bits back (NaN stays NaN, quiet). */
static void test_halves_encode(void **state)
{
    (void)state;
    static uint16_t h[65536];
    static float x[65536];
    static uint16_t back[65536];
    const struct nb_numfmt *const both[] = {&nb_numfmt_f16, &nb_numfmt_bf16};
    for (size_t f = 0; f < 2; f++) {
        for (uint32_t i = 0; i < 65536; i++)
            h[i] = (uint16_t)i;
        nb_numfmt_decode(both[f], h, x, 65536);
        both[f]->encode(back, x, NULL, 65536);
        for (uint32_t i = 0; i < 65536; i++)
            if (!isnan(x[i]))
                assert_int_equal(back[i], h[i]);
    }
    /* Halfway between two codes: to the even one. */
    const float tie[2] = {1.0F + 0x1p-11F, 1.0F + 0x3p-11F};
    both[0]->encode(back, tie, NULL, 2);
    assert_int_equal(back[0], 0x3c00);
    assert_int_equal(back[1], 0x3c02);
}

static void test_storage(void **state)
{
    (void)state;
    struct nb_error err;
    float y[2];
    const int64_t wide[2] = {-3, INT64_C(1) << 40};
    nb_numfmt_decode(&nb_numfmt_i64, wide, y, 2);
    assert_bits(y[0], -3.0F);
    assert_bits(y[1], 0x1p40F);
    const double d[2] = {0.1, -2.5};
    nb_numfmt_decode(&nb_numfmt_f64, d, y, 2);
    assert_bits(y[0], 0.1F);
    assert_bits(y[1], -2.5F);
    uint8_t out[16];
    assert_fails(nb_numfmt_encode(&nb_numfmt_i8, out, y, NULL, 2, &err), NB_ERR_UNSUPPORTED, &err,
                 "i8");
}

/* Our own encoders: one hash for every compiler, ISA and thread count. A change of the search changes
 * it, and should say in the commit by how much the error fell. */
static void test_encoded_bytes(void **state)
{
    (void)state;
    static float x[8192];
    static float w[8192];
    static uint8_t out[8192 / 32 * 34];
    struct nb_error err;
    const struct {
        const struct nb_numfmt *f;
        uint64_t plain, weighted;
    } want[] = {
        {&nb_numfmt_q8_0, UINT64_C(0x096897670e0a995b), UINT64_C(0x9f625397eef75eeb)},
        {&nb_numfmt_q6_k, UINT64_C(0x12745619e3702570), UINT64_C(0x7ab79d6b36b2cec1)},
        {&nb_numfmt_q5_k, UINT64_C(0xf29516f003e2d3b8), UINT64_C(0x546c973e278d94d1)},
        {&nb_numfmt_q3_k, UINT64_C(0xad3dc2cf21d3c532), UINT64_C(0xfdd9ef7fdffd62d5)},
        {&nb_numfmt_q2_k, UINT64_C(0x35a7b8ae3c8b9c5f), UINT64_C(0x134ba60b5c7b9660)},
        {&nb_numfmt_q4_k, UINT64_C(0xd99e6becf6d98ea2), UINT64_C(0xd8511fbc2f90cf9f)},
        {&nb_numfmt_q5_1, UINT64_C(0xe413068961084975), UINT64_C(0x404da56f8a84aa72)},
        {&nb_numfmt_q5_0, UINT64_C(0xb1b2c48b18933dec), UINT64_C(0x0cf93a998e443adb)},
        {&nb_numfmt_q4_1, UINT64_C(0x2fd217c5fee6dd59), UINT64_C(0xbe38174231132ccf)},
        {&nb_numfmt_q4_0, UINT64_C(0xd9660b4d2d303b4b), UINT64_C(0xd02caf820c46a72d)},
        {&nb_numfmt_q2_0, UINT64_C(0x1324a93b5e959001), UINT64_C(0x3922d03de5318753)},
        {&nb_numfmt_tq2_0, UINT64_C(0x06005c383b2554c8), UINT64_C(0xebfbb5d55a75c896)},
        {&nb_numfmt_tq1_0, UINT64_C(0x0b1705549731c2f0), UINT64_C(0x2627502b9efbd168)},
        {&nb_numfmt_q1_0, UINT64_C(0x5690058daee82aab), UINT64_C(0xee3b132688f19394)},
        {&nb_numfmt_iq3_s, UINT64_C(0x6913c0caeee4599b), UINT64_C(0x5ea650f52c14140f)},
        {&nb_numfmt_iq3_xxs, UINT64_C(0xae7f62213d5cfb0a), UINT64_C(0x4813e74795abafcb)},
        {&nb_numfmt_iq2_s, UINT64_C(0x516015f5eb05f84f), UINT64_C(0x3eae11a149f131f9)},
        {&nb_numfmt_iq2_xs, UINT64_C(0xf9c4bccc030220f3), UINT64_C(0x3e09363797f79d7a)},
        {&nb_numfmt_iq2_xxs, UINT64_C(0x28d1ee95fbf3cae1), UINT64_C(0xe6a9bd85df98c0c4)},
        {&nb_numfmt_iq1_m, UINT64_C(0x4446341ca20df612), UINT64_C(0xe7b45c59e177a2d0)},
        {&nb_numfmt_iq1_s, UINT64_C(0x794f4632064acf36), UINT64_C(0x00205aef83671c3d)},
    };
    golden_values(x, NB_COUNTOF(x), 12345);
    for (size_t i = 0; i < NB_COUNTOF(w); i++)
        w[i] = 1.0F + (float)(7 * i % 13) / 4.0F;
    for (size_t k = 0; k < NB_COUNTOF(want); k++) {
        const struct nb_numfmt *f = want[k].f;
        const size_t bytes = NB_COUNTOF(x) / f->block * f->block_bytes;
        assert_ok(nb_numfmt_encode(f, out, x, NULL, NB_COUNTOF(x), &err), &err);
        const uint64_t plain = golden_fnv(out, bytes);
        assert_ok(nb_numfmt_encode(f, out, x, w, NB_COUNTOF(x), &err), &err);
        const uint64_t weighted = golden_fnv(out, bytes);
        if (plain != want[k].plain || weighted != want[k].weighted)
            fail_msg("%s: %016llx, weighted %016llx", f->name, (unsigned long long)plain,
                     (unsigned long long)weighted);
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_find), cmocka_unit_test(test_sizes),
             cmocka_unit_test(test_golden_decode), cmocka_unit_test(test_golden_decode_iq),
             cmocka_unit_test(test_halves_exhaustive), cmocka_unit_test(test_halves_encode),
             cmocka_unit_test(test_storage), cmocka_unit_test(test_encoded_bytes))
