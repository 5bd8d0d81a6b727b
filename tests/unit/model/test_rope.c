/* Rotary scaling: the divisors of llama3's rule, and the parameters behind given divisors. */
#include "model/model.h"
#include "support/nbtest.h"

#include <math.h>

static struct nb_hparams llama3(uint32_t dim, float factor)
{
    return (struct nb_hparams){.head_dim = dim,
                               .rope.dim = dim,
                               .rope.base = 500000.0F,
                               .rope.scaling = NB_ROPE_LLAMA3,
                               .rope.factor = factor,
                               .rope.low_freq = 1.0F,
                               .rope.high_freq = 4.0F,
                               .rope.ctx_orig = 8192};
}

/* The llama3 rule (docs/architectures.md) in the C library's double arithmetic. */
static double expected(const struct nb_hparams *hp, uint32_t i)
{
    const double pi = 3.14159265358979323846;
    const double wave = 2 * pi * pow((double)hp->rope.base, 2.0 * i / hp->rope.dim);
    const double lo = (double)hp->rope.low_freq, hi = (double)hp->rope.high_freq;
    const double ctx = hp->rope.ctx_orig;
    if (wave < ctx / hi)
        return 1.0;
    if (wave > ctx / lo)
        return (double)hp->rope.factor;
    const double s = (ctx / wave - lo) / (hi - lo);
    return 1.0 / ((1.0 - s) / (double)hp->rope.factor + s);
}

static void test_divisors(void **state)
{
    (void)state;
    float d[64];
    struct nb_hparams hp = llama3(128, 8.0F);
    nb_rope_divisors(&hp, d);
    for (uint32_t i = 0; i < 64; i++)
        assert_ulp(d[i], (float)expected(&hp, i), 1);
    assert_bits(d[0], 1.0F);
    assert_bits(d[63], 8.0F);
    hp.rope.scaling = NB_ROPE_LINEAR;
    nb_rope_divisors(&hp, d);
    assert_bits(d[5], 8.0F);
    hp.rope.scaling = NB_ROPE_NONE;
    nb_rope_divisors(&hp, d);
    assert_bits(d[5], 1.0F);
}

static void recover(uint32_t dim, float factor)
{
    float d[64];
    const struct nb_hparams want = llama3(dim, factor);
    struct nb_hparams got = {.head_dim = dim, .rope.dim = dim, .rope.base = 500000.0F};
    nb_rope_divisors(&want, d);
    assert_true(nb_rope_from_divisors(&got, d));
    assert_memory_equal(&got, &want, sizeof got);
}

static void test_parameters_recovered(void **state)
{
    (void)state;
    recover(128, 8.0F); /* Llama 3.1 */
    recover(64, 32.0F); /* Llama 3.2 1B */
    recover(128, 32.0F);
}

static void test_other_divisors(void **state)
{
    (void)state;
    float d[64];
    struct nb_hparams hp = llama3(128, 8.0F), before;
    nb_rope_divisors(&hp, d);
    d[40] = 3.0F;
    before = hp;
    assert_false(nb_rope_from_divisors(&hp, d));
    for (size_t i = 0; i < 64; i++)
        d[i] = 1.0F;
    assert_false(nb_rope_from_divisors(&hp, d));
    d[63] = (float)NAN;
    assert_false(nb_rope_from_divisors(&hp, d));
    assert_memory_equal(&hp, &before, sizeof hp);
}

NB_TEST_MAIN(cmocka_unit_test(test_divisors), cmocka_unit_test(test_parameters_recovered),
             cmocka_unit_test(test_other_divisors))
