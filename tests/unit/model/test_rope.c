/* Rotary scaling: every rule against its formula in the C library's doubles, what depends on the context,
 * the divisors of llama3's rule and the parameters behind given divisors. */
#include <math.h>

#include "support/rope_config.h"

#define PI 3.14159265358979323846

static struct nb_error err;

static struct nb_rope rope_of(const char *text)
{
    const struct nb_arch arch = rope_arch(NULL);
    struct nb_hparams hp;
    assert_ok(rope_read(&hp, &arch, text, &err), &err);
    assert_int_equal(hp.rope.dim, 16);
    assert_int_equal(hp.rope.ctx_train, 128);
    return hp.rope;
}

/* want (8), for base b without scaling */
static void plain(double b, double *want)
{
    for (int i = 0; i < 8; i++)
        want[i] = pow(b, -2.0 * i / 16);
}

static void check(const struct nb_rope *r, uint32_t n_ctx, const double *want, double scale)
{
    double got[8];
    nb_rope_frequencies(r, n_ctx, got);
    for (int i = 0; i < 8; i++)
        assert_close(got[i] / want[i], 1.0, 1e-12);
    assert_close(nb_rope_table_scale(r, n_ctx), scale, 1e-12);
}

static void test_plain(void **state)
{
    (void)state;
    double want[8];
    const struct nb_rope none = rope_of("\"rope_theta\": 500000");
    plain(500000, want);
    check(&none, 1000000, want, 1.0);
    const struct nb_rope linear =
        rope_of("\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}");
    plain(10000, want);
    for (int i = 0; i < 8; i++)
        want[i] /= 4.0;
    check(&linear, 1000, want, 1.0);
}

static void test_dynamic(void **state)
{
    (void)state;
    double want[8];
    const struct nb_rope r = rope_of("\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2}");
    plain(10000, want);
    check(&r, 1, want, 1.0);
    check(&r, 128, want, 1.0);
    plain(10000 * pow(2.0 * 129 / 128 - 1, 16.0 / 14), want);
    check(&r, 129, want, 1.0);
    plain(10000 * pow(2.0 * 1000 / 128 - 1, 16.0 / 14), want);
    check(&r, 1000, want, 1.0);
}

struct yarn {
    double base, factor, original, fast, slow;
    bool truncate;
};

static void yarn(const struct yarn *y, double *want)
{
    double low = 16 * log(y->original / (y->fast * 2 * PI)) / (2 * log(y->base));
    double high = 16 * log(y->original / (y->slow * 2 * PI)) / (2 * log(y->base));
    if (y->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, 15);
    for (int i = 0; i < 8; i++) {
        const double ramp = fmin(fmax((i - low) / (high == low ? 0.001 : high - low), 0), 1);
        const double w = pow(y->base, -2.0 * i / 16);
        want[i] = w / y->factor * ramp + w * (1 - ramp);
    }
}

static void test_yarn(void **state)
{
    (void)state;
    double want[8];
    const struct nb_rope r = rope_of(rope_configs[7]);
    yarn(&(struct yarn){10000, 4, 128, 32, 1, true}, want);
    check(&r, 100, want, 0.1 * log(4) + 1);
    const struct nb_rope derived = rope_of(rope_configs[8]);
    yarn(&(struct yarn){10000, 4, 32, 32, 1, true}, want);
    check(&derived, 4096, want, 0.1 * log(4) + 1); /* no matter how long */
    const struct nb_rope all = rope_of(rope_configs[9]);
    yarn(&(struct yarn){500, 4, 32, 16, 0.5, false}, want);
    check(&all, 100, want, (double)1.3F);
    const struct nb_rope mscale = rope_of(rope_configs[10]);
    yarn(&(struct yarn){10000, 40, 32, 32, 1, true}, want);
    check(&mscale, 100, want, (0.1 * (double)0.707F * log(40) + 1) / (0.05 * log(40) + 1));
}

/* The largest context and the smallest base leave the ramp outside the pairs. */
static void test_yarn_bounds(void **state)
{
    (void)state;
    double want[8];
    const struct nb_rope late =
        rope_of("\"rope_theta\": 1.001, \"rope_scaling\": {\"type\": \"yarn\", "
                "\"factor\": 8, \"original_max_position_embeddings\": 2147483647}");
    yarn(&(struct yarn){(double)1.001F, 8, 2147483647, 32, 1, true}, want);
    check(&late, 100, want, 0.1 * log(8) + 1);
    const struct nb_rope early = rope_of("\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 8, "
                                         "\"original_max_position_embeddings\": 1}");
    yarn(&(struct yarn){10000, 8, 1, 32, 1, true}, want);
    check(&early, 100, want, 0.1 * log(8) + 1);
}

static void test_longrope(void **state)
{
    (void)state;
    static const double shorts[8] = {1, 1, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5};
    static const double longs[8] = {1, 1.25, 1.5, 2, 3, 4.5, 6, 8};
    double below[8], above[8];
    plain(10000, below);
    plain(10000, above);
    for (int i = 0; i < 8; i++) {
        below[i] /= (double)(float)shorts[i];
        above[i] /= longs[i];
    }
    const struct nb_rope phi = rope_of(rope_configs[11]);
    check(&phi, 16, below, sqrt(1 + log(8) / log(16)));
    check(&phi, 17, above, sqrt(1 + log(8) / log(16)));
    const struct nb_rope factor = rope_of(rope_configs[12]);
    check(&factor, 128, below, sqrt(1 + log(4) / log(128)));
    check(&factor, 129, above, sqrt(1 + log(4) / log(128)));
    const struct nb_rope attention = rope_of(rope_configs[13]);
    check(&attention, 32, below, 1.25);
    check(&attention, 33, above, 1.25);
    const struct nb_rope sides = rope_of(rope_configs[14]);
    check(&sides, 32, below, (double)1.1F);
    check(&sides, 33, above, (double)1.2F);
}

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
    const double wave = 2 * PI * pow((double)hp->rope.base, 2.0 * i / hp->rope.dim);
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

static void test_llama3(void **state)
{
    (void)state;
    double want[8];
    const struct nb_rope r = rope_of("\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, "
                                     "\"low_freq_factor\": 1, \"high_freq_factor\": 4, "
                                     "\"original_max_position_embeddings\": 64}");
    const struct nb_hparams hp = {.head_dim = 16, .rope = r};
    plain(10000, want);
    for (uint32_t i = 0; i < 8; i++)
        want[i] /= (double)(float)expected(&hp, i);
    check(&r, 100, want, 1.0);
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

NB_TEST_MAIN(cmocka_unit_test(test_plain), cmocka_unit_test(test_dynamic),
             cmocka_unit_test(test_yarn), cmocka_unit_test(test_yarn_bounds),
             cmocka_unit_test(test_longrope), cmocka_unit_test(test_llama3),
             cmocka_unit_test(test_divisors), cmocka_unit_test(test_parameters_recovered),
             cmocka_unit_test(test_other_divisors))
