/* Functions of one element: floats against libm in doubles, integers, ends, refusals. */
#include "one_node.h"

enum { N = 5003 };

static struct one_node node(enum nb_unary op, double alpha, double beta, enum nb_value_type type)
{
    return (struct one_node){
        .op = &nb_op_unary,
        .attrs = {NB_ATTR_INT("op", op), NB_ATTR_REAL("alpha", alpha), NB_ATTR_REAL("beta", beta)},
        .n_attrs = 3,
        .type = type,
        .dims = {N},
        .rank = 1};
}

/* Floats are those of doubles, which libm computes, to so much of their size, or of 1e-30. */
static void check(enum nb_unary op, double alpha, double beta, double scale, double relative)
{
    const struct one_node narrow = node(op, alpha, beta, NB_VALUE_F32);
    const struct one_node wide = node(op, alpha, beta, NB_VALUE_F64);
    float *x = one_node_floats(N, scale, 7 + (uint64_t)op);
    double *xd = malloc(N * sizeof *xd);
    void *y, *yd;
    for (size_t i = 0; i < 600; i++) /* close to 0 as well */
        x[i] *= 1e-3F;
    x[0] = 0.0F;
    x[1] = NAN;
    x[2] = -1e-20F;
    for (size_t i = 0; i < N; i++)
        xd[i] = (double)x[i];
    one_node_run(&narrow, x, &y, 1);
    one_node_run(&wide, xd, &yd, 1);
    for (size_t i = 0; i < N; i++) {
        const double a = (double)((float *)y)[i], b = ((double *)yd)[i];
        if (isnan(b))
            assert_true(isnan(a));
        else if (a != b)
            assert_close(a, b, relative * fabs(b) + 1e-30);
    }
    free(x);
    free(xd);
    free(y);
    free(yd);
}

static void test_floats(void **state)
{
    (void)state;
    check(NB_UNARY_ABS, 0, 0, 3, 0);
    check(NB_UNARY_NEG, 0, 0, 3, 0);
    check(NB_UNARY_SIGN, 0, 0, 3, 0);
    check(NB_UNARY_RELU, 0, 0, 3, 0);
    check(NB_UNARY_CLIP, -0.5, 2, 3, 0);
    check(NB_UNARY_ROUND, 0, 0, 3, 0);
    check(NB_UNARY_SQRT, 0, 0, 3, 1e-7);
    check(NB_UNARY_RECIPROCAL, 0, 0, 3, 1e-7);
    check(NB_UNARY_LOG, 0, 0, 3, 1e-7);
    check(NB_UNARY_SIN, 0, 0, 3, 1e-7);
    check(NB_UNARY_ATANH, 0, 0, 0.5, 1e-7);
    check(NB_UNARY_EXP, 0, 0, 20, 1e-7);
    check(NB_UNARY_ERF, 0, 0, 1, 1e-6);
    check(NB_UNARY_TANH, 0, 0, 2, 1e-6);
    check(NB_UNARY_SIGMOID, 0, 0, 5, 1e-6);
    check(NB_UNARY_SWISH, 1, 0, 5, 1e-6);
    check(NB_UNARY_SWISH, 1.5, 0, 5, 1e-6);
    check(NB_UNARY_GELU, 0, 0, 1.5, 1e-6);
    check(NB_UNARY_GELU_TANH, 0, 0, 1, 3e-6);
    check(NB_UNARY_MISH, 0, 0, 5, 1e-6);
    check(NB_UNARY_SOFTPLUS, 0, 0, 5, 1e-6);
    check(NB_UNARY_SOFTSIGN, 0, 0, 5, 2e-7);
    check(NB_UNARY_ELU, 1.25, 1, 3, 1e-6);
    check(NB_UNARY_ELU, (double)1.67326319F, (double)1.05070102F, 3, 1e-6);
    check(NB_UNARY_CELU, 0.75, 0, 3, 1e-6);
    check(NB_UNARY_CELU, -0.75, 0, 0.3, 1e-6);
    check(NB_UNARY_LEAKY_RELU, 0.125, 0, 3, 1e-7);
    check(NB_UNARY_THRESHOLDED_RELU, 0.5, 0, 3, 0);
    check(NB_UNARY_SHRINK, 0.5, 0.25, 3, 1e-6);
}

/* What cancels near the end of a piece has an absolute error. */
static void test_hard(void **state)
{
    (void)state;
    static const float x[N] = {-4, -3, -1.5F, 0, 1.5F, 3, 4, INFINITY, -INFINITY};
    struct one_node o = node(NB_UNARY_HARD_SWISH, 0, 0, NB_VALUE_F32);
    void *y;
    const float want[] = {0, 0, -0.375F, 0, 1.125F, 3, 4, INFINITY};
    one_node_run(&o, x, &y, 1);
    for (size_t i = 0; i < NB_COUNTOF(want); i++)
        assert_true(((float *)y)[i] == want[i] || fabsf(((float *)y)[i] - want[i]) < 1e-6F);
    free(y);
    o = node(NB_UNARY_HARD_SIGMOID, 0.25, 0.5, NB_VALUE_F32);
    const float steps[] = {0, 0, 0.125F, 0.5F, 0.875F, 1, 1, 1, 0};
    one_node_run(&o, x, &y, 1);
    assert_bits_array(y, steps, NB_COUNTOF(steps));
    free(y);
}

static void test_ends(void **state)
{
    (void)state;
    static const struct {
        enum nb_unary op;
        double low, high; /* of -inf, inf */
    } ends[] = {{NB_UNARY_SIGMOID, 0, 1},     {NB_UNARY_TANH, -1, 1},
                {NB_UNARY_ERF, -1, 1},        {NB_UNARY_EXP, 0, INFINITY},
                {NB_UNARY_ELU, -1, INFINITY}, {NB_UNARY_RELU, 0, INFINITY}};
    static const float x[N] = {-INFINITY, INFINITY, -200, 200};
    for (size_t k = 0; k < NB_COUNTOF(ends); k++) {
        const struct one_node o = node(ends[k].op, 1, 1, NB_VALUE_F32);
        void *y;
        one_node_run(&o, x, &y, 1);
        const float *f = y;
        assert_true(f[0] == (float)ends[k].low && f[1] == (float)ends[k].high);
        assert_true(f[2] == (float)ends[k].low && fabsf(f[3]) <= (float)ends[k].high);
        free(y);
    }
    struct one_node o = node(NB_UNARY_IS_INF, 0, 1, NB_VALUE_F32);
    void *y;
    one_node_run(&o, x, &y, 1);
    assert_memory_equal(y, ((uint8_t[]){0, 1, 0, 0}), 4);
    free(y);
    static const float some[N] = {1, NAN, INFINITY, -NAN};
    o = node(NB_UNARY_IS_NAN, 0, 0, NB_VALUE_F32);
    one_node_run(&o, some, &y, 1);
    assert_memory_equal(y, ((uint8_t[]){0, 1, 0, 1}), 4);
    free(y);
}

static void test_integers(void **state)
{
    (void)state;
    static const int32_t x[N] = {-5, 0, 7, INT32_MIN};
    static const struct {
        enum nb_unary op;
        int32_t want[4];
    } cases[] = {
        {NB_UNARY_ABS, {5, 0, 7, INT32_MIN}}, {NB_UNARY_NEG, {5, 0, -7, INT32_MIN}},
        {NB_UNARY_SIGN, {-1, 0, 1, -1}},      {NB_UNARY_RELU, {0, 0, 7, 0}},
        {NB_UNARY_CLIP, {-1, 0, 3, -1}},      {NB_UNARY_BITWISE_NOT, {4, -1, -8, INT32_MAX}}};
    for (size_t k = 0; k < NB_COUNTOF(cases); k++) {
        const struct one_node o = node(cases[k].op, -1, 3, NB_VALUE_I32);
        void *y;
        one_node_run(&o, x, &y, 1);
        assert_memory_equal(y, cases[k].want, sizeof cases[k].want);
        free(y);
    }
    static const uint8_t b[N] = {200, 3};
    const struct one_node o = node(NB_UNARY_CLIP, -INFINITY, 100, NB_VALUE_U8);
    void *y;
    one_node_run(&o, b, &y, 1);
    assert_memory_equal(y, ((uint8_t[]){100, 3, 0}), 3);
    free(y);
}

static void test_refused(void **state)
{
    (void)state;
    struct one_node o = node(NB_N_UNARY, 0, 0, NB_VALUE_F32);
    one_node_refused(&o, "no operation");
    o = node(NB_UNARY_EXP, 0, 0, NB_VALUE_I32);
    one_node_refused(&o, "not one of elements of this type");
    o = node(NB_UNARY_NOT, 0, 0, NB_VALUE_U8);
    one_node_refused(&o, "not one of elements of this type");
    o = node(NB_UNARY_BITWISE_NOT, 0, 0, NB_VALUE_F32);
    one_node_refused(&o, "not one of elements of this type");
}

NB_TEST_MAIN(cmocka_unit_test(test_floats), cmocka_unit_test(test_hard),
             cmocka_unit_test(test_ends), cmocka_unit_test(test_integers),
             cmocka_unit_test(test_refused))
