/* Heap: overflow, alignment, clearing, growth, failure. */
#include "support/nbtest.h"

static void test_overflow_and_zero(void **state)
{
    (void)state;
    struct nbtest_alloc x;
    nbtest_alloc_init(&x, 0);
    assert_null(nb_alloc(&x.a, SIZE_MAX / 2, 3));
    assert_null(nb_alloc(&x.a, SIZE_MAX, 1));
    assert_null(nb_alloc(&x.a, 0, 8));
    assert_null(nb_alloc(&x.a, 8, 0));
    assert_null(nb_alloc_zero(&x.a, SIZE_MAX / 2, 3));
    assert_int_equal(x.n_allocs, 0);
    nb_free(&x.a, NULL);
    nb_free(NULL, NULL);
}

static void test_aligned_and_cleared(void **state)
{
    (void)state;
    struct nbtest_alloc x;
    nbtest_alloc_init(&x, 0);
    for (size_t n = 1; n < 300; n += 7) {
        uint8_t *p = nb_alloc_zero(&x.a, n, 1), *q = nb_alloc(NULL, n, 3);
        assert_non_null(p);
        assert_non_null(q);
        assert_int_equal((uintptr_t)p % NB_ALIGN, 0);
        assert_int_equal((uintptr_t)q % NB_ALIGN, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(q, 1, n * 3);
        nb_free(&x.a, p);
        nb_free(NULL, q);
    }
    assert_int_equal(x.live, 0);
}

static void test_grow(void **state)
{
    (void)state;
    struct nbtest_alloc x;
    nbtest_alloc_init(&x, 0);
    uint32_t *items = NULL;
    size_t cap = 0;
    for (uint32_t n = 0; n < 1000; n++) {
        assert_true(nb_grow(&x.a, &items, &cap, n, sizeof *items));
        assert_true(cap > n);
        items[n] = n * n;
    }
    assert_true(x.n_allocs <= 8); /* doubling */
    assert_int_equal(x.live, 1);
    x.fail_at = x.n_allocs + 1;
    uint32_t *before = items;
    const size_t old_cap = cap;
    assert_false(nb_grow(&x.a, &items, &cap, cap, sizeof *items));
    assert_ptr_equal(items, before);
    assert_int_equal(cap, old_cap);
    for (uint32_t n = 0; n < 1000; n++)
        assert_int_equal(items[n], n * n);
    assert_false(nb_grow(&x.a, &items, &cap, SIZE_MAX, sizeof *items));
    assert_false(nb_grow(&x.a, &items, &cap, SIZE_MAX / 4, sizeof *items));
    nb_free(&x.a, items);
    assert_int_equal(x.live, 0);
}

static void test_strndup(void **state)
{
    (void)state;
    char *s = nb_strndup(NULL, "abcdef", 3), *empty = nb_strndup(NULL, NULL, 0);
    assert_string_equal(s, "abc");
    assert_string_equal(empty, "");
    nb_free(NULL, s);
    nb_free(NULL, empty);
    assert_null(nb_strndup(NULL, "", SIZE_MAX));
}

NB_TEST_MAIN(cmocka_unit_test(test_overflow_and_zero), cmocka_unit_test(test_aligned_and_cleared),
             cmocka_unit_test(test_grow), cmocka_unit_test(test_strndup))
