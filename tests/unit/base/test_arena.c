/* Arena: zeroed, aligned, reset, failure of each allocation. */
#include "support/nbtest.h"

static void test_items_are_zero_and_apart(void **state)
{
    (void)state;
    struct nbtest_alloc x;
    struct nb_arena arena;
    nbtest_alloc_init(&x, 0);
    nb_arena_init(&arena, &x.a, 1024);
    for (int round = 0; round < 3; round++) {
        uint8_t *items[200];
        for (size_t i = 0; i < 200; i++) {
            items[i] = nb_arena_alloc(&arena, i + 1, 1);
            assert_non_null(items[i]);
            assert_int_equal((uintptr_t)items[i] % (i + 1 >= 64 ? 64 : 16), 0);
            for (size_t k = 0; k <= i; k++)
                assert_int_equal(items[i][k], 0);
            memset(items[i], (int)i + 1, i + 1);
        }
        for (size_t i = 0; i < 200; i++)
            for (size_t k = 0; k <= i; k++)
                assert_int_equal(items[i][k], (uint8_t)(i + 1));
        assert_true(x.live > 1);
        nb_arena_reset(&arena);
        assert_int_equal(x.live, 1);
    }
    assert_non_null(nb_arena_alloc(&arena, 10, 1000)); /* larger than a chunk */
    assert_null(nb_arena_alloc(&arena, SIZE_MAX / 2, 3));
    assert_null(nb_arena_alloc(&arena, SIZE_MAX, 1));
    assert_null(nb_arena_alloc(&arena, 0, 1));
    nb_arena_fini(&arena);
    assert_int_equal(x.live, 0);
    nb_arena_reset(&arena);
    nb_arena_fini(&arena);
}

static void test_text(void **state)
{
    (void)state;
    struct nb_arena arena;
    nb_arena_init(&arena, NULL, 0);
    assert_string_equal(nb_arena_strndup(&arena, "abcdef", 2), "ab");
    assert_string_equal(nb_arena_strndup(&arena, NULL, 0), "");
    assert_string_equal(nb_arena_printf(&arena, "%s.%d", "blk", 12), "blk.12");
    assert_null(nb_arena_strndup(&arena, "", SIZE_MAX));
    nb_arena_fini(&arena);
}

static enum nb_status use(void *ctx, const struct nb_allocator *a)
{
    (void)ctx;
    struct nb_arena arena;
    nb_arena_init(&arena, a, 256);
    bool ok = true;
    for (size_t i = 0; i < 20 && ok; i++)
        ok = nb_arena_alloc(&arena, 100, 1) != NULL && nb_arena_printf(&arena, "%zu", i) != NULL;
    nb_arena_fini(&arena);
    return ok ? NB_OK : NB_ERR_NOMEM;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(nbtest_oom(use, NULL) >= 5);
}

NB_TEST_MAIN(cmocka_unit_test(test_items_are_zero_and_apart), cmocka_unit_test(test_text),
             cmocka_unit_test(test_out_of_memory))
