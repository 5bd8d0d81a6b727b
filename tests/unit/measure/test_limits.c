/* Limits are positive and finite; medians and byte counts are right. Never a bound on a time. */
#include "support/nbtest.h"

#include <math.h>

#include "measure/measure.h"

static void test_limits(void **state)
{
    (void)state;
    struct nb_limits l;
    struct nb_error err;
    assert_ok(nb_limits_measure(&l, NULL, NULL, &err), &err);
    assert_true(l.read_bandwidth > 0 && isfinite(l.read_bandwidth));
    assert_true(l.float_ops > 0 && isfinite(l.float_ops));
    assert_true(l.int_ops > 0 && isfinite(l.int_ops));
}

static enum nb_status limits(void *ctx, const struct nb_allocator *a)
{
    struct nb_limits l;
    (void)ctx;
    return nb_limits_measure(&l, NULL, a, NULL);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_int_equal(nbtest_oom(limits, NULL), 4);
}

static void test_bytes_and_ops(void **state)
{
    (void)state;
    struct nb_weight items[] = {
        {.spec = {.role = NB_ROLE_EMBED, .quantizable = true, .block = -1}},
        {.spec = {.role = NB_ROLE_ATTN_Q, .quantizable = true}},
        {.spec = {.role = NB_ROLE_NORM}},
    };
    for (size_t i = 0; i < 2; i++)
        items[i].t =
            (struct nb_tensor){.type = &nb_numfmt_q8_0, .shape = nb_shape_2(4, 32), .bytes = 136};
    items[2].t = (struct nb_tensor){.type = &nb_numfmt_f32, .shape = nb_shape_1(32), .bytes = 128};
    struct nb_weights w = {.items = items, .n = 3};
    w.hp = (struct nb_hparams){.n_layers = 2, .n_kv_heads = 3, .head_dim = 8, .tied = true};
    assert_close(nb_decode_bytes(&w, &nb_numfmt_f16, 10), 136 + 136 + 128 + 2 * 2 * 3 * 8 * 2 * 10,
                 0);
    w.hp.tied = false;
    assert_close(nb_decode_bytes(&w, &nb_numfmt_f16, 0), 136 + 128, 0);
    assert_close(nb_token_ops(&w), 2 * 4 * 32, 0);
    assert_true(nb_weights_integer(&w));
    /* Two of four experts. */
    items[1].t.shape = items[1].spec.shape = (struct nb_shape){3, {4, 1, 32}};
    w.hp.n_experts = 4;
    w.hp.n_experts_used = 2;
    assert_close(nb_decode_bytes(&w, &nb_numfmt_f16, 0), 68 + 128, 0);
    assert_close(nb_token_ops(&w), 4 * 32, 0);
}

NB_TEST_MAIN(cmocka_unit_test(test_limits), cmocka_unit_test(test_out_of_memory),
             cmocka_unit_test(test_bytes_and_ops))
