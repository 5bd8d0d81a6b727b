/* The yardstick of ggml_recipe.h against bytes that ggml wrote (golden hashes of ggml-org/ggml d99724f2). */
#include "support/nbtest.h"

#include "ggml_recipes.h"
#include "golden.h"

static void check(const struct recipe *r)
{
    const struct nb_numfmt *f = r->f;
    float x[1024];
    float qw[256];
    uint8_t out[4 * 8 * 34];
    const size_t row = 256 / f->block * f->block_bytes;
    golden_values(x, 1024, 12345);
    assert_true(golden_fnv(x, sizeof x) == UINT64_C(0x6fbe17a32d4a0326));
    for (size_t j = 0; j < 256; j++)
        qw[j] = 1.0F + (float)((7 * j) % 13) / 4.0F;
    for (int with = 0; with < 2; with++) {
        const uint64_t want = with ? r->weighted : r->plain;
        for (size_t i = 0; i < 4; i++)
            r->fn(out + i * row, x + 256 * i, with ? qw : NULL, 256);
        if (want != 0 && golden_fnv(out, 4 * row) != want)
            fail_msg("%s %s importance", f->name, with ? "with" : "without");
    }
}

static void test_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < NB_COUNTOF(recipes); i++)
        check(&recipes[i]);
}

NB_TEST_MAIN(cmocka_unit_test(test_bytes))
