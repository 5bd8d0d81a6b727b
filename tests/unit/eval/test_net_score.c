/* Places of classes, cross entropy and its bounds, signal to noise, rows. */
#include "eval/net_score.h"
#include "support/nbtest.h"

#include <math.h>

static void test_place(void **state)
{
    (void)state;
    const double x[] = {1.0, 3.0, 3.0, -1.0, (double)NAN};
    assert_int_equal(nb_class_place(x, 5, 1), 0);
    assert_int_equal(nb_class_place(x, 5, 2), 1); /* as large, behind */
    assert_int_equal(nb_class_place(x, 5, 0), 2);
    assert_int_equal(nb_class_place(x, 5, 3), 3);
    assert_int_equal(nb_class_place(x, 5, 4), 5); /* NaN is last of all, and beyond */
}

static void test_classes(void **state)
{
    (void)state;
    struct nb_class_score s = {.top = 2};
    const double p[] = {0.5, 0.25, 0.25}, zero[] = {1.0, 0.0, 0.0}, logits[] = {2.0, 1.0, -1.0};
    nb_class_score_add(&s, p, 3, 0);
    nb_class_score_add(&s, p, 3, 1);
    nb_class_score_add(&s, p, 3, 2);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.n_right, 1);
    assert_int_equal(s.n_right_top, 2);
    assert_close(nb_class_score_loss(&s), (log(2.0) + 2.0 * log(4.0)) / 3.0, 1e-12);
    nb_class_score_add(&s, zero, 3, 1); /* not infinite */
    assert_close(nb_class_score_loss(&s), (log(2.0) + 2.0 * log(4.0) + log(1e7)) / 4.0, 1e-9);
    nb_class_score_add(&s, logits, 3, 0);
    assert_int_equal(s.n_right, 2);
    assert_true(isnan(nb_class_score_loss(&s)));
}

/* Softmax on a grid of 1/256 never says 1, and rounds the small ones away. */
static void test_codes(void **state)
{
    (void)state;
    struct nb_class_score s = {.top = 1, .step = 1.0 / 256};
    const double p[] = {255.0 / 256, 0.0, 0.0};
    nb_class_score_add(&s, p, 3, 0);
    nb_class_score_add(&s, p, 3, 1);
    assert_close(nb_class_score_loss(&s), (log(256.0 / 255.0) + log(512.0)) / 2.0, 1e-12);
    s = (struct nb_class_score){.top = 1};
    nb_class_score_add(&s, p, 3, 0);
    assert_true(isnan(nb_class_score_loss(&s))); /* of floats the sum is 1 */
}

static void test_agreement(void **state)
{
    (void)state;
    struct nb_agreement a = {0};
    const double x[] = {3.0, 4.0, 1.0, 0.0}, y[] = {3.0, 4.5, 1.0, 2.0};
    assert_true(isnan(nb_agreement_sqnr(&a)));
    nb_agreement_add(&a, x, x, 4, 2);
    assert_true(isinf(nb_agreement_sqnr(&a)));
    assert_close(nb_agreement_cosine(&a), 1.0, 1e-15);
    a = (struct nb_agreement){0};
    nb_agreement_add(&a, x, y, 4, 2);
    assert_int_equal(a.n_rows, 2);
    assert_int_equal(a.n_same, 1); /* 4 of {3, 4}; then 1 of {1, 0}, but 2 of {1, 2} */
    assert_true(a.most == 2.0);
    assert_close(nb_agreement_sqnr(&a), 10.0 * log10(26.0 / 4.25), 1e-12);
    assert_close(nb_agreement_cosine(&a), 28.0 / (sqrt(26.0) * sqrt(34.25)), 1e-12);
    const double nan[] = {(double)NAN, 1.0};
    nb_agreement_add(&a, x, nan, 2, 2);
    assert_true(isnan(a.most) && isnan(nb_agreement_sqnr(&a)));
    assert_int_equal(a.n_same, 2); /* the largest number is at the same place */
}

NB_TEST_MAIN(cmocka_unit_test(test_place), cmocka_unit_test(test_classes),
             cmocka_unit_test(test_codes), cmocka_unit_test(test_agreement))
