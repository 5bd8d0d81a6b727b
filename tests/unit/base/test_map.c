/* Map: many keys, twins, failure. */
#include "support/nbtest.h"

#include <stdio.h>

#define N_KEYS 20000

static void test_many_keys(void **state)
{
    (void)state;
    static char keys[N_KEYS][12];
    struct nb_map m;
    uint64_t v;
    nb_map_init(&m, NULL);
    assert_false(nb_map_get(&m, "x", 1, &v));
    for (uint64_t i = 0; i < N_KEYS; i++) {
        snprintf(keys[i], sizeof keys[i], "k%u", (unsigned)i);
        assert_int_equal(nb_map_put(&m, keys[i], strlen(keys[i]), i), NB_OK);
    }
    assert_int_equal(m.n, N_KEYS);
    for (uint64_t i = 0; i < N_KEYS; i++) {
        v = UINT64_MAX;
        assert_true(nb_map_get(&m, keys[i], strlen(keys[i]), &v));
        assert_true(v == i);
        assert_int_equal(nb_map_put(&m, keys[i], strlen(keys[i]), 0), NB_ERR_EXISTS);
    }
    assert_false(nb_map_get(&m, "k20000", 6, &v));
    assert_false(nb_map_get(&m, "k1", 1, &v));
    nb_map_fini(&m);
    nb_map_fini(&m);
}

static void test_keys_are_bytes(void **state)
{
    (void)state;
    struct nb_map m;
    uint64_t v;
    nb_map_init(&m, NULL);
    assert_int_equal(nb_map_put(&m, "a\0b", 3, 1), NB_OK);
    assert_int_equal(nb_map_put(&m, "a\0c", 3, 2), NB_OK);
    assert_int_equal(nb_map_put(&m, NULL, 0, 3), NB_OK);
    assert_true(nb_map_get(&m, "a\0c", 3, &v) && v == 2);
    assert_true(nb_map_get(&m, "", 0, &v) && v == 3);
    assert_false(nb_map_get(&m, "a", 1, &v));
    nb_map_fini(&m);
}

static enum nb_status fill(void *ctx, const struct nb_allocator *a)
{
    const char *text = ctx;
    struct nb_map m;
    enum nb_status st = NB_OK;
    nb_map_init(&m, a);
    for (size_t i = 0; i < 100 && st == NB_OK; i++)
        st = nb_map_put(&m, text, i, i);
    uint64_t v = 0;
    for (size_t i = 0; i < m.n; i++) /* what went in before a failure is there after it */
        assert_true(nb_map_get(&m, text, i, &v) && v == i);
    nb_map_fini(&m);
    return st;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    char text[100];
    memset(text, 'q', sizeof text);
    assert_int_equal(nbtest_oom(fill, text), 5); /* 16, 32, 64, 128, 256 slots */
}

NB_TEST_MAIN(cmocka_unit_test(test_many_keys), cmocka_unit_test(test_keys_are_bytes),
             cmocka_unit_test(test_out_of_memory))
