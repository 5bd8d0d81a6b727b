/* tensor/tensor.c: counting, comparing and printing shapes. */
#include "support/nbtest.h"

#include "tensor/tensor.h"

static void test_count(void **state)
{
    (void)state;
    uint64_t n = 7;
    assert_true(nb_shape_count(&(struct nb_shape){.n = 0}, &n));
    assert_int_equal(n, 1); /* a scalar */
    const struct nb_shape m = nb_shape_2(3, 5);
    assert_true(nb_shape_count(&m, &n));
    assert_int_equal(n, 15);
    assert_int_equal(nb_shape_rows(&m), 3);
    assert_int_equal(nb_shape_cols(&m), 5);
    const struct nb_shape v = nb_shape_1(9);
    assert_int_equal(nb_shape_rows(&v), 1);
    assert_int_equal(nb_shape_cols(&v), 9);
    assert_int_equal(nb_shape_cols(&(struct nb_shape){.n = 0}), 1);
}

static void test_count_overflow(void **state)
{
    (void)state;
    uint64_t n = 7;
    const uint64_t half = UINT64_C(1) << 32;
    struct nb_shape s = {.n = 2, .dim = {half, half}};
    assert_false(nb_shape_count(&s, &n));
    assert_int_equal(n, 7);
    s.dim[1] = half - 1;
    assert_true(nb_shape_count(&s, &n));
    assert_true(n == half * (half - 1));
    /* empty, however large the rest claims to be */
    s = (struct nb_shape){.n = 4, .dim = {half, half, half, 0}};
    assert_true(nb_shape_count(&s, &n));
    assert_int_equal(n, 0);
}

static void test_equal(void **state)
{
    (void)state;
    const struct nb_shape a = nb_shape_2(4, 1);
    const struct nb_shape b = nb_shape_1(4);
    const struct nb_shape c = nb_shape_2(4, 2);
    assert_true(nb_shape_eq(&a, &a));
    assert_false(nb_shape_eq(&a, &b));
    assert_false(nb_shape_eq(&a, &c));
}

static void test_text(void **state)
{
    (void)state;
    char text[NB_SHAPE_TEXT_BYTES];
    assert_string_equal(nb_shape_text(&(struct nb_shape){.n = 0}, text), "[]");
    const struct nb_shape s = nb_shape_2(8192, 256);
    assert_string_equal(nb_shape_text(&s, text), "[8192, 256]");
    struct nb_shape big = {.n = NB_MAX_DIMS};
    for (size_t i = 0; i < NB_MAX_DIMS; i++)
        big.dim[i] = UINT64_MAX;
    assert_true(strlen(nb_shape_text(&big, text)) == 176);
    assert_non_null(strstr(text, "[18446744073709551615, "));
}

NB_TEST_MAIN(cmocka_unit_test(test_count), cmocka_unit_test(test_count_overflow),
             cmocka_unit_test(test_equal), cmocka_unit_test(test_text))
