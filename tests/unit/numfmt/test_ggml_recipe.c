/* The yardstick of ggml_recipe.h against bytes that ggml wrote (golden hashes of ggml-org/ggml d99724f2). */
#include "support/nbtest.h"

#include "ggml_recipe.h"
#include "ggml_recipe_few.h"
#include "ggml_recipe_4bit.h"
#include "ggml_recipe_iq.h"
#include "golden.h"

typedef void recipe_fn(uint8_t *dst, const float *x, const float *qw, size_t n);

/* want: without importance (0: ggml refuses), with it. */
static void check(const struct nb_numfmt *f, recipe_fn *recipe, const uint64_t want[2])
{
    float x[1024];
    float qw[256];
    uint8_t out[4 * 8 * 34];
    const size_t row = 256 / f->block * f->block_bytes;
    golden_values(x, 1024, 12345);
    assert_true(golden_fnv(x, sizeof x) == UINT64_C(0x6fbe17a32d4a0326));
    for (size_t j = 0; j < 256; j++)
        qw[j] = 1.0F + (float)((7 * j) % 13) / 4.0F;
    for (int with = 0; with < 2; with++) {
        for (size_t r = 0; r < 4; r++)
            recipe(out + r * row, x + 256 * r, with ? qw : NULL, 256);
        if (want[with] != 0)
            assert_true(golden_fnv(out, 4 * row) == want[with]);
    }
}

static void test_q8_0(void **state)
{
    (void)state;
    check(&nb_numfmt_q8_0, recipe_q8_0,
          (const uint64_t[]){UINT64_C(0x8751de6b7176ee99), UINT64_C(0x8751de6b7176ee99)});
}

static void test_q4_0(void **state)
{
    (void)state;
    check(&nb_numfmt_q4_0, recipe_q4_0,
          (const uint64_t[]){UINT64_C(0x2274a3781740bbf4), UINT64_C(0xd7ad2d48af09f80d)});
}

static void test_q4_1(void **state)
{
    (void)state;
    check(&nb_numfmt_q4_1, recipe_q4_1,
          (const uint64_t[]){UINT64_C(0x6509d43404a90dc8), UINT64_C(0x7a6d876a695ceedd)});
}

static void test_q5_0(void **state)
{
    (void)state;
    check(&nb_numfmt_q5_0, recipe_q5_0,
          (const uint64_t[]){UINT64_C(0x2c05f9a18845641c), UINT64_C(0xe4cc1b75d6dd7b60)});
}

static void test_q5_1(void **state)
{
    (void)state;
    check(&nb_numfmt_q5_1, recipe_q5_1,
          (const uint64_t[]){UINT64_C(0x348fb8da37e69c56), UINT64_C(0xbdf2a934fdec1923)});
}

static void test_q4_k(void **state)
{
    (void)state;
    check(&nb_numfmt_q4_k, recipe_q4_k,
          (const uint64_t[]){UINT64_C(0xcb78d06229f90c8a), UINT64_C(0x071ecc0584d132fc)});
}

static void test_q5_k(void **state)
{
    (void)state;
    check(&nb_numfmt_q5_k, recipe_q5_k,
          (const uint64_t[]){UINT64_C(0x4f38843c74633048), UINT64_C(0x84eef9889e38ccae)});
}

static void test_q6_k(void **state)
{
    (void)state;
    check(&nb_numfmt_q6_k, recipe_q6_k,
          (const uint64_t[]){UINT64_C(0xf5b92255d330d064), UINT64_C(0xfe183cfe0ba2cbb3)});
}

static void test_q1_0(void **state)
{
    (void)state;
    check(&nb_numfmt_q1_0, recipe_q1_0,
          (const uint64_t[]){UINT64_C(0xa7eae00930921511), UINT64_C(0xa7eae00930921511)});
}

static void test_q2_0(void **state)
{
    (void)state;
    check(&nb_numfmt_q2_0, recipe_q2_0,
          (const uint64_t[]){UINT64_C(0x55d7e7041649e61e), UINT64_C(0x55d7e7041649e61e)});
}

static void test_tq1_0(void **state)
{
    (void)state;
    check(&nb_numfmt_tq1_0, recipe_tq1_0,
          (const uint64_t[]){UINT64_C(0x06853304a772e8fa), UINT64_C(0x06853304a772e8fa)});
}

static void test_tq2_0(void **state)
{
    (void)state;
    check(&nb_numfmt_tq2_0, recipe_tq2_0,
          (const uint64_t[]){UINT64_C(0x68d7a134457d27bf), UINT64_C(0x68d7a134457d27bf)});
}

static void test_iq4_nl(void **state)
{
    (void)state;
    check(&nb_numfmt_iq4_nl, recipe_iq4_nl,
          (const uint64_t[]){UINT64_C(0x793756e3c7dacead), UINT64_C(0x38ed4eba3638b792)});
}

static void test_iq4_xs(void **state)
{
    (void)state;
    check(&nb_numfmt_iq4_xs, recipe_iq4_xs,
          (const uint64_t[]){UINT64_C(0x946af4d68e73efe4), UINT64_C(0x02f9622ed8ce355b)});
}

static void test_iq2_xxs(void **state)
{
    (void)state;
    check(&nb_numfmt_iq2_xxs, recipe_iq2_xxs, (const uint64_t[]){0, UINT64_C(0x43c7a300154658da)});
}

static void test_iq2_xs(void **state)
{
    (void)state;
    check(&nb_numfmt_iq2_xs, recipe_iq2_xs, (const uint64_t[]){0, UINT64_C(0x784a706a7074aa2f)});
}

static void test_iq2_s(void **state)
{
    (void)state;
    check(&nb_numfmt_iq2_s, recipe_iq2_s,
          (const uint64_t[]){UINT64_C(0xf708e1a62c0a9128), UINT64_C(0x6399ab20500ac47b)});
}

static void test_iq3_xxs(void **state)
{
    (void)state;
    check(&nb_numfmt_iq3_xxs, recipe_iq3_xxs,
          (const uint64_t[]){UINT64_C(0x4bc2a76f360515f3), UINT64_C(0x3c3e30d9166300a1)});
}

static void test_iq3_s(void **state)
{
    (void)state;
    check(&nb_numfmt_iq3_s, recipe_iq3_s,
          (const uint64_t[]){UINT64_C(0x85c046a1cf4872ca), UINT64_C(0x0442b0142cb13284)});
}

/* clang-format off */
NB_TEST_MAIN(cmocka_unit_test(test_q8_0),
             cmocka_unit_test(test_q4_0),
             cmocka_unit_test(test_q4_1),
             cmocka_unit_test(test_q5_0),
             cmocka_unit_test(test_q5_1),
             cmocka_unit_test(test_q4_k),
             cmocka_unit_test(test_q5_k),
             cmocka_unit_test(test_q6_k),
             cmocka_unit_test(test_q1_0),
             cmocka_unit_test(test_q2_0),
             cmocka_unit_test(test_tq1_0),
             cmocka_unit_test(test_tq2_0),
             cmocka_unit_test(test_iq2_xxs),
             cmocka_unit_test(test_iq2_xs),
             cmocka_unit_test(test_iq2_s),
             cmocka_unit_test(test_iq3_xxs),
             cmocka_unit_test(test_iq3_s),
             cmocka_unit_test(test_iq4_nl),
             cmocka_unit_test(test_iq4_xs))
/* clang-format on */
