/* Norms against sums in doubles, for any number of threads the same bits. */
#include "plain_node.h"

/* The row's shift and factor. */
static void reference(const float *x, size_t n, enum nb_norm kind, double eps, double *shift,
                      double *factor)
{
    double mean = 0.0, sum = 0.0;
    for (size_t k = 0; kind == NB_NORM_STANDARD && k < n; k++)
        mean += (double)x[k] / (double)n;
    for (size_t k = 0; k < n; k++)
        sum +=
            kind == NB_NORM_L1 ? fabs((double)x[k]) : ((double)x[k] - mean) * ((double)x[k] - mean);
    *shift = mean;
    *factor = kind == NB_NORM_L1   ? 1.0 / sum
              : kind == NB_NORM_L2 ? 1.0 / sqrt(sum)
                                   : 1.0 / sqrt(sum / (double)n + eps);
}

/* x (2, 3, rest): rows from axis on; scale and bias of dimensions (s0, s1). */
static void check(size_t rest, int64_t axis, enum nb_norm kind, uint64_t s0, uint64_t s1)
{
    const struct nb_attr attrs[] = {NB_ATTR_INT("axis", axis), NB_ATTR_REAL("eps", 1e-3),
                                    NB_ATTR_INT("kind", kind)};
    float *x = plain_floats(6 * rest, 1), *scale = plain_floats((size_t)(s0 * s1), 2),
          *bias = plain_floats((size_t)(s0 * s1), 3);
    struct plain_out out;
    const struct plain p = {.op = &nb_op_norm,
                            .in = {{NB_VALUE_F32, 3, {2, 3, rest}, x},
                                   {NB_VALUE_F32, 2, {s0, s1}, scale},
                                   {NB_VALUE_F32, 2, {s0, s1}, bias}},
                            .attrs = attrs,
                            .n_attrs = 3};
    const size_t row = axis == 3 ? 1 : axis == 2 ? rest : axis == 1 ? 3 * rest : 6 * rest;
    plain_run_both(&p, &out);
    const float *y = out.data[0];
    double shift = 0.0, factor = 0.0;
    for (size_t i = 0; i < 6 * rest; i++) {
        if (i % row == 0)
            reference(x + i, row, kind, 1e-3, &shift, &factor);
        const size_t at = (s0 == 1 ? 0 : i / rest % 3 * (size_t)s1) + (s1 == 1 ? 0 : i % rest);
        const double want = ((double)x[i] - shift) * factor * (double)scale[at] + (double)bias[at];
        assert_close((double)y[i], want, 2e-6 * (1.0 + fabs(want)));
    }
    plain_free(&out, &p);
    free(x);
    free(scale);
    free(bias);
}

static void test_norms(void **state)
{
    (void)state;
    for (int kind = 0; kind < NB_N_NORM; kind++)
        for (int64_t axis = 0; axis <= 2; axis++) {
            check(37, axis, (enum nb_norm)kind, 3, 1);
            check(37, axis, (enum nb_norm)kind, 1, 1);
            check(37, axis, (enum nb_norm)kind, 1, 37);
            check(9001, axis, (enum nb_norm)kind, 3, 9001);
        }
    check(37, 3, NB_NORM_STANDARD, 1, 37);
}

static void test_zeros(void **state)
{
    (void)state;
    static const float x[40];
    for (int kind = NB_NORM_L1; kind <= NB_NORM_L2; kind++) {
        const struct nb_attr attrs[] = {NB_ATTR_INT("axis", 1), NB_ATTR_REAL("eps", 0.0),
                                        NB_ATTR_INT("kind", kind)};
        const struct plain p = {
            .op = &nb_op_norm, .in = {{NB_VALUE_F32, 2, {2, 20}, x}}, .attrs = attrs, .n_attrs = 3};
        struct plain_out out;
        plain_run_both(&p, &out);
        assert_bits_array((float *)out.data[0], x, 40);
        plain_free(&out, &p);
    }
}

static void test_moments(void **state)
{
    (void)state;
    const struct nb_attr attrs[] = {NB_ATTR_INT("axis", 1), NB_ATTR_REAL("eps", 0.5)};
    static const float x[] = {1.0F, 3.0F, 5.0F, 5.0F};
    const struct plain p = {
        .op = &nb_op_moments, .in = {{NB_VALUE_F32, 2, {2, 2}, x}}, .attrs = attrs, .n_attrs = 2};
    struct plain_out out;
    plain_run_both(&p, &out);
    assert_int_equal(out.value[1].dim[0].n, 2);
    assert_int_equal(out.value[1].dim[1].n, 1);
    assert_bits(((float *)out.data[0])[0], 2.0F);
    assert_bits(((float *)out.data[0])[1], 5.0F);
    assert_close((double)((float *)out.data[1])[0], 1.0 / sqrt(1.5), 1e-7);
    assert_close((double)((float *)out.data[1])[1], 1.0 / sqrt(0.5), 1e-6);
    plain_free(&out, &p);
}

static void test_lrn(void **state)
{
    (void)state;
    enum { C = 7, N = 301 };
    float *x = plain_floats((size_t)2 * C * N, 9);
    for (int size = 1; size <= 10; size += 3) {
        const double beta = size == 4 ? 0.6 : 0.75;
        const struct nb_attr attrs[] = {NB_ATTR_INT("size", size), NB_ATTR_REAL("alpha", 0.3),
                                        NB_ATTR_REAL("beta", beta), NB_ATTR_REAL("bias", 2.0)};
        const struct plain p = {.op = &nb_op_lrn,
                                .in = {{NB_VALUE_F32, 3, {2, C, N}, x}},
                                .attrs = attrs,
                                .n_attrs = 4};
        struct plain_out out;
        plain_run_both(&p, &out);
        for (int i = 0; i < 2 * C * N; i++) {
            const int image = i / (C * N) * C * N, c = i / N % C;
            double sum = 0.0;
            for (int k = c - (size - 1) / 2; k <= c + size / 2; k++)
                if (k >= 0 && k < C)
                    sum += pow((double)x[image + k * N + i % N], 2.0);
            assert_close((double)((float *)out.data[0])[i],
                         (double)x[i] / pow(2.0 + 0.3 / size * sum, beta), 1e-6);
        }
        plain_free(&out, &p);
    }
    free(x);
}

static void test_refusals(void **state)
{
    (void)state;
    static const double x[8];
    struct nb_attr attrs[] = {NB_ATTR_INT("axis", 3), NB_ATTR_REAL("eps", 0.0),
                              NB_ATTR_INT("kind", 0)};
    struct plain p = {
        .op = &nb_op_norm, .in = {{NB_VALUE_F32, 2, {2, 2}, x}}, .attrs = attrs, .n_attrs = 3};
    plain_refused(&p, "axis 3 of 2");
    attrs[0].i = 1;
    attrs[2].i = NB_N_NORM;
    plain_refused(&p, "no norm");
    attrs[2].i = 0;
    p.in[1] = (struct plain_in){NB_VALUE_F32, 1, {3}, x};
    plain_refused(&p, "does not broadcast");
    p.in[1] = (struct plain_in){NB_VALUE_F32, 3, {2, 2, 2}, x};
    plain_refused(&p, "does not broadcast");
    p.in[1].data = NULL;
    p.in[0].type = NB_VALUE_F64;
    plain_refused(&p, "float32");
}

NB_TEST_MAIN(cmocka_unit_test(test_norms), cmocka_unit_test(test_zeros),
             cmocka_unit_test(test_moments), cmocka_unit_test(test_lrn),
             cmocka_unit_test(test_refusals))
