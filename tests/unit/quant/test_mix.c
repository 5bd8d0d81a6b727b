/* Mixes: where the finer formats go (llama-quantize's; 32 blocks worked out by hand). */
#include "quant/quant.h"
#include "support/nbtest.h"

static void test_more(void **state)
{
    (void)state;
    static const char want[] = "11110010010010010010010010011111";
    for (size_t i = 0; i < 32; i++)
        assert_int_equal(nb_mix_applies(NB_MIX_MORE, i, 32), want[i] == '1');
    size_t n = 0;
    for (size_t i = 0; i < 12; i++)
        n += nb_mix_applies(NB_MIX_MORE, i, 12);
    assert_int_equal(n, 6);
}

static void test_first(void **state)
{
    (void)state;
    assert_true(nb_mix_applies(NB_MIX_FIRST_4, 3, 100));
    assert_false(nb_mix_applies(NB_MIX_FIRST_4, 4, 100));
    assert_true(nb_mix_applies(NB_MIX_FIRST_8TH, 3, 32));
    assert_false(nb_mix_applies(NB_MIX_FIRST_8TH, 4, 32));
    assert_false(nb_mix_applies(NB_MIX_FIRST_8TH, 0, 7));
    assert_false(nb_mix_applies(NB_MIX_NEVER, 0, 1));
}

static void test_table(void **state)
{
    (void)state;
    size_t n;
    const struct nb_mix *all = nb_mix_all(&n);
    assert_true(n >= 8);
    for (size_t i = 0; i < n; i++) {
        assert_non_null(nb_numfmt_find(all[i].base));
        assert_non_null(nb_numfmt_find(all[i].head));
        assert_ptr_equal(nb_mix_find(all[i].name), &all[i]);
    }
    assert_null(nb_mix_find("q9_9"));
    assert_int_equal(nb_mix_find("q4_k_m")->gguf_ftype, 15);
}

NB_TEST_MAIN(cmocka_unit_test(test_more), cmocka_unit_test(test_first),
             cmocka_unit_test(test_table))
