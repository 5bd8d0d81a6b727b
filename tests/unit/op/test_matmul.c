/* Products of matrices against sums in doubles; all ways a product can be computed give the bits of the canonical dot,
 * for any number of threads. */
#include "plain_node.h"

static void attrs_of(struct nb_attr *a, bool ta, bool tb, double alpha, double beta)
{
    const struct nb_attr all[] = {NB_ATTR_INT("trans_a", ta), NB_ATTR_INT("trans_b", tb),
                                  NB_ATTR_REAL("alpha", alpha), NB_ATTR_REAL("beta", beta)};
    memcpy(a, all, sizeof all);
}

/* One product, every element the dot of a row and a column. */
static void check_one(size_t m, size_t n, size_t k, bool ta, bool tb)
{
    const struct nb_kernels *kernels = nb_kernels_get();
    struct nb_attr attrs[4];
    struct plain_out out;
    float *a = plain_floats(m * k, 1), *b = plain_floats(k * n, 2);
    float *row = plain_floats(k, 0), *col = plain_floats(k, 0);
    attrs_of(attrs, ta, tb, 1.0, 1.0);
    const struct plain p = {.op = &nb_op_matmul,
                            .in = {{NB_VALUE_F32, 2, {ta ? k : m, ta ? m : k}, a},
                                   {NB_VALUE_F32, 2, {tb ? n : k, tb ? k : n}, b}},
                            .attrs = attrs,
                            .n_attrs = 4};
    plain_run_both(&p, &out);
    assert_int_equal(out.value[0].dim[0].n, m);
    assert_int_equal(out.value[0].dim[1].n, n);
    const float *y = out.data[0];
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            for (size_t l = 0; l < k; l++) {
                row[l] = ta ? a[l * m + i] : a[i * k + l];
                col[l] = tb ? b[j * k + l] : b[l * n + j];
            }
            assert_bits(y[i * n + j], kernels->dot_f32_f32(row, col, k));
        }
    plain_free(&out, &p);
    free(a);
    free(b);
    free(row);
    free(col);
}

static void test_sizes(void **state)
{
    (void)state;
    static const size_t sizes[][3] = {{1, 1, 1},    {1, 5, 7},    {1, 300, 40},  {3, 129, 33},
                                      {4, 129, 33}, {50, 1, 20},  {2, 1, 17},    {5, 3, 0},
                                      {70, 67, 65}, {197, 70, 9}, {40, 90, 530}, {7, 9, 1100}};
    for (size_t i = 0; i < NB_COUNTOF(sizes); i++)
        for (unsigned t = 0; t < 4; t++)
            check_one(sizes[i][0], sizes[i][1], sizes[i][2], t & 1, t & 2);
}

/* (2, 1, m, k) (3, k, n) + (3, 1, n), (n), (2, 1, m, 1) or one number. */
static void check_batches(size_t m, size_t n, size_t k, const struct plain_in *c, size_t c_batch0,
                          size_t c_batch1, size_t c_row, size_t c_col)
{
    struct nb_attr attrs[4];
    struct plain_out out;
    float *a = plain_floats(2 * m * k, 3), *b = plain_floats(3 * k * n, 4);
    attrs_of(attrs, false, false, 0.5, 3.0);
    const struct plain p = {
        .op = &nb_op_matmul,
        .in = {{NB_VALUE_F32, 4, {2, 1, m, k}, a}, {NB_VALUE_F32, 3, {3, k, n}, b}, *c},
        .attrs = attrs,
        .n_attrs = 4};
    plain_run_both(&p, &out);
    const float *y = out.data[0], *cf = c->data;
    assert_int_equal(out.value[0].rank, 4);
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 3; j++)
            for (size_t r = 0; r < m; r++)
                for (size_t s = 0; s < n; s++) {
                    double want = 0.0;
                    for (size_t l = 0; l < k; l++)
                        want += (double)a[(i * m + r) * k + l] * (double)b[(j * k + l) * n + s];
                    want = 0.5 * want +
                           3.0 * (double)cf[i * c_batch0 + j * c_batch1 + r * c_row + s * c_col];
                    assert_close((double)y[((i * 3 + j) * m + r) * n + s], want, 1e-5);
                }
    plain_free(&out, &p);
    free(a);
    free(b);
}

static void test_batches(void **state)
{
    (void)state;
    float *c = plain_floats(4096, 5);
    for (size_t m = 1; m <= 13; m += 3) {
        const size_t n = 11, k = 19;
        check_batches(m, n, k, &(struct plain_in){NB_VALUE_F32, 3, {3, 1, n}, c}, 0, n, 0, 1);
        check_batches(m, n, k, &(struct plain_in){NB_VALUE_F32, 1, {n}, c}, 0, 0, 0, 1);
        check_batches(m, n, k, &(struct plain_in){NB_VALUE_F32, 0, {0}, c}, 0, 0, 0, 0);
        check_batches(m, n, k, &(struct plain_in){NB_VALUE_F32, 4, {2, 1, m, 1}, c}, m, 0, 1, 0);
    }
    free(c);
}

/* A batch of matrices and one matrix are one product of more rows. */
static void test_one_right(void **state)
{
    (void)state;
    float *a = plain_floats(6 * 5 * 33, 6), *b = plain_floats(33 * 21, 7), *c = plain_floats(21, 8);
    struct nb_attr attrs[4];
    struct plain_out whole, flat;
    attrs_of(attrs, false, false, 1.0, 1.0);
    struct plain p = {.op = &nb_op_matmul,
                      .in = {{NB_VALUE_F32, 4, {2, 3, 5, 33}, a},
                             {NB_VALUE_F32, 2, {33, 21}, b},
                             {NB_VALUE_F32, 1, {21}, c}},
                      .attrs = attrs,
                      .n_attrs = 4};
    plain_run_both(&p, &whole);
    p.in[0] = (struct plain_in){NB_VALUE_F32, 2, {30, 33}, a};
    plain_run_both(&p, &flat);
    assert_bits_array((float *)whole.data[0], (float *)flat.data[0], (size_t)30 * 21);
    plain_free(&whole, &p);
    plain_free(&flat, &p);
    free(a);
    free(b);
    free(c);
}

static void test_other_types(void **state)
{
    (void)state;
    static const int64_t a[] = {1, -2, 3, 4, 5, INT64_MAX}, b[] = {7, 8, -9, 10, 11, 12},
                         c[] = {100, 200}, want[] = {158, 224, 83, 282};
    static const uint8_t a8[] = {200, 3, 5, 7}, b8[] = {2, 1, 9, 4};
    static const double ad[] = {1.5, 2.0}, bd[] = {4.0, 0.25}, cd[] = {1.0};
    struct nb_attr attrs[4];
    struct plain_out out;
    attrs_of(attrs, false, false, 1.0, 1.0);
    struct plain p = {.op = &nb_op_matmul,
                      .in = {{NB_VALUE_I64, 2, {2, 3}, a},
                             {NB_VALUE_I64, 2, {3, 2}, b},
                             {NB_VALUE_I64, 1, {2}, c}},
                      .attrs = attrs,
                      .n_attrs = 4};
    plain_run_both(&p, &out);
    for (size_t i = 0; i < 3; i++)
        if (i != 2) /* row 1 wraps */
            assert_int_equal(((int64_t *)out.data[0])[i], want[i]);
    plain_free(&out, &p);
    p.in[0] = (struct plain_in){NB_VALUE_U8, 2, {2, 2}, a8};
    p.in[1] = (struct plain_in){NB_VALUE_U8, 2, {2, 2}, b8};
    p.in[2].data = NULL;
    plain_run_both(&p, &out);
    assert_int_equal(((uint8_t *)out.data[0])[0], (uint8_t)(400 + 27));
    assert_int_equal(((uint8_t *)out.data[0])[3], 5 + 28);
    plain_free(&out, &p);
    attrs_of(attrs, false, true, 2.0, 0.5);
    p.in[0] = (struct plain_in){NB_VALUE_F64, 2, {1, 2}, ad};
    p.in[1] = (struct plain_in){NB_VALUE_F64, 2, {1, 2}, bd};
    p.in[2] = (struct plain_in){NB_VALUE_F64, 2, {1, 1}, cd};
    plain_run_both(&p, &out);
    assert_true(((double *)out.data[0])[0] == 13.5);
    plain_free(&out, &p);
}

static void test_refusals(void **state)
{
    (void)state;
    static const int64_t x[64];
    struct nb_attr attrs[4];
    attrs_of(attrs, false, false, 1.0, 1.0);
    struct plain p = {.op = &nb_op_matmul,
                      .in = {{NB_VALUE_F32, 2, {2, 3}, x}, {NB_VALUE_F32, 2, {4, 2}, x}},
                      .attrs = attrs,
                      .n_attrs = 4};
    plain_refused(&p, "3 columns meet 4 rows");
    p.in[1] = (struct plain_in){NB_VALUE_F32, 1, {3}, x};
    plain_refused(&p, "2 are needed");
    p.in[1] = (struct plain_in){NB_VALUE_F64, 2, {3, 2}, x};
    plain_refused(&p, "types");
    p.in[0] = (struct plain_in){NB_VALUE_F32, 3, {2, 2, 3}, x};
    p.in[1] = (struct plain_in){NB_VALUE_F32, 3, {3, 3, 2}, x};
    plain_refused(&p, "batches of 2 and 3");
    p.in[1] = (struct plain_in){NB_VALUE_F32, 2, {3, 2}, x};
    p.in[2] = (struct plain_in){NB_VALUE_F32, 1, {3}, x};
    plain_refused(&p, "does not broadcast");
    p.in[2] = (struct plain_in){NB_VALUE_F32, 4, {1, 1, 1, 1}, x};
    plain_refused(&p, "does not go with");
    p.in[0] = (struct plain_in){NB_VALUE_I32, 2, {2, 3}, x};
    p.in[1] = (struct plain_in){NB_VALUE_I32, 2, {3, 2}, x};
    p.in[2].data = NULL;
    attrs_of(attrs, false, false, 0.5, 1.0);
    plain_refused(&p, "must be 1");
}

NB_TEST_MAIN(cmocka_unit_test(test_sizes), cmocka_unit_test(test_batches),
             cmocka_unit_test(test_one_right), cmocka_unit_test(test_other_types),
             cmocka_unit_test(test_refusals))
