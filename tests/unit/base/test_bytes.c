/* Checked arithmetic, byte order, the cursor's bounds. */
#include "support/nbtest.h"

static void test_arithmetic(void **state)
{
    (void)state;
    size_t s = 7;
    uint64_t u = 7;
    assert_true(nb_mul_size(&s, 1000, 1000));
    assert_int_equal(s, 1000000);
    assert_false(nb_mul_size(&s, SIZE_MAX, 2));
    assert_false(nb_mul_size(&s, SIZE_MAX / 2 + 1, 2));
    assert_false(nb_add_size(&s, SIZE_MAX, 1));
    assert_int_equal(s, 1000000); /* untouched */
    assert_true(nb_add_size(&s, SIZE_MAX - 1, 1));
    assert_true(nb_mul_u64(&u, UINT64_MAX, 1));
    assert_true(u == UINT64_MAX);
    assert_false(nb_mul_u64(&u, UINT64_C(1) << 32, UINT64_C(1) << 32));
    assert_false(nb_add_u64(&u, UINT64_MAX, UINT64_MAX));
    assert_true(u == UINT64_MAX);
    assert_true(nb_mul_u64(&u, 0, UINT64_MAX));
    assert_true(u == 0);
}

static void test_little_endian(void **state)
{
    (void)state;
    const uint8_t b[9] = {0xff, 0x01, 0x82, 0x03, 0x84, 0x05, 0x86, 0x07, 0x88};
    assert_int_equal(nb_load_u16(b + 1), 0x8201);
    assert_true(nb_load_u32(b + 1) == UINT32_C(0x84038201));
    assert_true(nb_load_u64(b + 1) == UINT64_C(0x8807860584038201));
    uint8_t c[9] = {0};
    nb_store_u16(c + 1, nb_load_u16(b + 1));
    assert_memory_equal(c + 1, b + 1, 2);
    nb_store_u32(c + 1, nb_load_u32(b + 1));
    assert_memory_equal(c + 1, b + 1, 4);
    nb_store_u64(c + 1, nb_load_u64(b + 1));
    assert_memory_equal(c + 1, b + 1, 8);
}

static void test_cursor_reads(void **state)
{
    (void)state;
    const uint8_t b[] = {1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 'x', 'y'};
    struct nb_cursor c = {b, sizeof b, 0};
    struct nb_error err;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    const uint8_t *p;
    assert_ok(nb_cursor_u8(&c, &u8, "a", &err), &err);
    assert_ok(nb_cursor_u16(&c, &u16, "b", &err), &err);
    assert_ok(nb_cursor_u32(&c, &u32, "c", &err), &err);
    assert_ok(nb_cursor_u64(&c, &u64, "d", &err), &err);
    assert_int_equal(u8, 1);
    assert_int_equal(u16, 2);
    assert_int_equal(u32, 3);
    assert_int_equal(u64, 4);
    assert_fails(nb_cursor_take(&c, &p, 3, "name", &err), NB_ERR_FORMAT, &err,
                 "name ends at byte 18, file has 17");
    assert_true(err.offset == 15);
    assert_int_equal(c.at, 15);
    assert_ok(nb_cursor_take(&c, &p, 2, "name", &err), &err);
    assert_memory_equal(p, "xy", 2);
    assert_ok(nb_cursor_take(&c, &p, 0, "nothing", &err), &err);
    assert_fails(nb_cursor_u8(&c, &u8, "a", NULL), NB_ERR_FORMAT, NULL, NULL);
}

static void test_cursor_never_overflows(void **state)
{
    (void)state;
    const uint8_t b[16] = {0};
    const uint64_t sizes[] = {UINT64_MAX, UINT64_MAX - 7, UINT64_C(1) << 63, SIZE_MAX, 9};
    struct nb_error err;
    const uint8_t *p = b;
    for (size_t i = 0; i < NB_COUNTOF(sizes); i++) {
        struct nb_cursor c = {b, 16, 8};
        assert_fails(nb_cursor_take(&c, &p, sizes[i], "n", &err), NB_ERR_FORMAT, &err,
                     "file has 16");
        assert_int_equal(c.at, 8);
        assert_ptr_equal(p, b);
    }
    struct nb_cursor outside = {b, 16, 17}; /* somebody seeked too far */
    assert_fails(nb_cursor_take(&outside, &p, 0, "n", &err), NB_ERR_FORMAT, &err, NULL);
    struct nb_cursor empty = {NULL, 0, 0};
    assert_ok(nb_cursor_take(&empty, &p, 0, "n", &err), &err);
    assert_fails(nb_cursor_take(&empty, &p, 1, "n", &err), NB_ERR_FORMAT, &err, NULL);
}

NB_TEST_MAIN(cmocka_unit_test(test_arithmetic), cmocka_unit_test(test_little_endian),
             cmocka_unit_test(test_cursor_reads), cmocka_unit_test(test_cursor_never_overflows))
