/* The activation functions of kernels/act.h against the C library in double: their errors as stated. */
#include "kernels/act.h"
#include "kernels/kernels.h"
#include "support/nbtest.h"

#include <math.h>

#define EACH     1009U /* every so many floats between SMALLEST and LARGEST, of either sign */
#define SMALLEST 1e-9F
#define LARGEST  100.0F

static double tanh_of(double x)
{
    return tanh(x);
}

static double gelu(double x)
{
    return 0.5 * x * erfc(-x * sqrt(0.5));
}

static double gelu_tanh(double x)
{
    const double pi = 3.14159265358979323846;
    return x / (1.0 + exp(-2.0 * sqrt(2.0 / pi) * (x + 0.044715 * x * x * x)));
}

static double silu(double x)
{
    return x / (1.0 + exp(-x));
}

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

struct claim {
    const char *name;
    double (*exact)(double x);
    enum nb_act act; /* not of tanh, erf, sigmoid                                */
    double relative; /* error at most, where |y| >= floor |x| ...                */
    double floor;    /* ...                                                      */
    double beyond;   /* and elsewhere, as a part of |x|                          */
};

static float kernel(const struct claim *c, float x)
{
    float y;
    if (c->exact == tanh_of)
        nb_softcap_f32_ref(&y, &x, 1, 1.0F, 1.0F);
    else if (c->exact == erf)
        nb_erf_f32_ref(&y, &x, 1);
    else if (c->exact == sigmoid)
        nb_sigmoid_f32_ref(&y, &x, 1);
    else
        nb_act_f32_ref(&y, &x, 1, c->act);
    return y;
}

static void check_at(const struct claim *c, float x)
{
    const double want = c->exact((double)x), got = (double)kernel(c, x), error = fabs(got - want);
    const double size = fabs(want), scale = fabs((double)x);
    if (error > (size >= c->floor * scale ? c->relative * size : c->beyond * scale))
        fail_msg("%s of %.9g is %.9g, not %.9g", c->name, (double)x, got, want);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct claim claims[] = {
        {"tanh", tanh_of, NB_ACT_SILU, 1.6e-7, 0.0, 0.0},
        {"gelu", gelu, NB_ACT_GELU, 5e-7, 1e-37, 1e-37},
        {"gelu by tanh", gelu_tanh, NB_ACT_GELU_TANH, 2e-6, 1e-7, 1e-12},
        {"silu", silu, NB_ACT_SILU, 2e-7, 1e-37, 1e-37},
        {"erf", erf, NB_ACT_SILU, 3e-7, 0.0, 0.0},
        {"sigmoid", sigmoid, NB_ACT_SILU, 2e-7, 1e-38, 1e-38},
    };
    for (size_t i = 0; i < NB_COUNTOF(claims); i++)
        for (uint32_t u = nb_f32_bits(SMALLEST); u < nb_f32_bits(LARGEST); u += EACH) {
            check_at(&claims[i], nb_f32_from_bits(u));
            check_at(&claims[i], -nb_f32_from_bits(u));
        }
}

static double silu_grad(double x)
{
    const double s = 1.0 / (1.0 + exp(-x));
    return s * (1.0 + x * (1.0 - s));
}

static double gelu_grad(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0)) + x * exp(-0.5 * x * x) * 0.3989422804014327;
}

static double gelu_tanh_grad(double x)
{
    const double c = 0.7978845608028654, t = tanh(c * (x + 0.044715 * x * x * x));
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * c * (1.0 + 3.0 * 0.044715 * x * x);
}

static double relu_grad(double x)
{
    return x > 0.0 ? 1.0 : 0.0;
}

static double relu2_grad(double x)
{
    return x > 0.0 ? 2.0 * x : 0.0;
}

/* Derivatives, from exact ones; far out they are 0 and 1. */
static void test_grads(void **state)
{
    (void)state;
    static double (*const exact[])(double) = {[NB_ACT_SILU] = silu_grad,
                                              [NB_ACT_GELU_TANH] = gelu_tanh_grad,
                                              [NB_ACT_GELU] = gelu_grad,
                                              [NB_ACT_RELU] = relu_grad,
                                              [NB_ACT_RELU2] = relu2_grad};
    for (int act = NB_ACT_SILU; act <= NB_ACT_RELU2; act++) {
        float x[2] = {1e25F, -1e25F}, y[2];
        nb_act_grad_f32_ref(y, x, 2, (enum nb_act)act);
        assert_bits(y[0], act == NB_ACT_RELU2 ? 2e25F : 1.0F);
        assert_true(y[1] == 0.0F);
        for (uint32_t u = nb_f32_bits(1e-6F); u < nb_f32_bits(40.0F); u += EACH) {
            x[0] = nb_f32_from_bits(u);
            x[1] = -x[0];
            nb_act_grad_f32_ref(y, x, 2, (enum nb_act)act);
            assert_close((double)y[0], exact[act]((double)x[0]), 2e-6);
            assert_close((double)y[1], exact[act]((double)x[1]), 2e-6);
        }
        x[0] = 0.0F;
        nb_act_grad_f32_ref(y, x, 1, (enum nb_act)act);
        assert_true(y[0] == (act >= NB_ACT_RELU ? 0.0F : 0.5F));
    }
}

/* Far out, at the seams, and where there is no number. */
static void test_ends(void **state)
{
    (void)state;
    static const float large[] = {NB_GELU_END, 15.0F, 90.0F, 1e10F, 1e25F, 3e38F, INFINITY};
    for (int act = NB_ACT_SILU; act <= NB_ACT_RELU2; act++) {
        float x, y;
        for (size_t i = 0; i < NB_COUNTOF(large); i++) {
            nb_act_f32_ref(&y, &large[i], 1, (enum nb_act)act);
            if (act == NB_ACT_RELU2)
                assert_bits(y, large[i] * large[i]);
            else if (large[i] >= 20.0F)
                assert_bits(y, large[i]);
            x = -large[i];
            nb_act_f32_ref(&y, &x, 1, (enum nb_act)act);
            if (large[i] >= 90.0F && (isfinite(x) || act >= NB_ACT_RELU))
                assert_true(y == 0.0F);
        }
        x = NAN;
        nb_act_f32_ref(&y, &x, 1, (enum nb_act)act);
        assert_true(isnan(y));
        x = 0.0F;
        nb_act_f32_ref(&y, &x, 1, (enum nb_act)act);
        assert_true(y == 0.0F);
    }
    for (size_t i = 0; i < NB_COUNTOF(large); i++) {
        float y[2] = {large[i], -large[i]};
        nb_softcap_f32_ref(y, y, 2, 1.0F, 30.0F); /* in place */
        assert_bits(y[0], 30.0F);
        assert_bits(y[1], -30.0F);
    }
    const float seams[] = {NB_TANH_SPLIT, nextafterf(NB_TANH_SPLIT, 0.0F), NAN};
    float y[3];
    nb_softcap_f32_ref(y, seams, 3, 1.0F, 1.0F);
    assert_true(y[1] <= y[0] && isnan(y[2]));
}

static void test_layernorm(void **state)
{
    (void)state;
    struct nb_rng rng = {.seed = 3};
    for (size_t n = 1; n < 70; n += 3)
        for (size_t biased = 0; biased < 2; biased++) {
            float x[70], w[70], b[70], y[70];
            double mean = 0.0, var = 0.0;
            for (size_t i = 0; i < n; i++) {
                x[i] = (float)(5.0 + nb_rng_normal(&rng));
                w[i] = (float)nb_rng_normal(&rng);
                b[i] = (float)nb_rng_normal(&rng);
                mean += (double)x[i] / (double)n;
            }
            for (size_t i = 0; i < n; i++)
                var += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
            nb_layernorm_f32_ref(y, x, w, biased ? b : NULL, n, 1e-5F);
            for (size_t i = 0; i < n; i++) {
                const double z = ((double)x[i] - mean) / sqrt(var + 1e-5) * (double)w[i];
                assert_close((double)y[i], biased ? z + (double)b[i] : z, 1e-5);
            }
        }
}

NB_TEST_MAIN(cmocka_unit_test(test_errors), cmocka_unit_test(test_grads),
             cmocka_unit_test(test_ends), cmocka_unit_test(test_layernorm))
