/* Hashes: published values, streaming in pieces, FNV-1a. */
#include "support/nbtest.h"

static void test_xxh3_known(void **state)
{
    (void)state;
    char hex[NB_HASH_HEX_BYTES];
    /* XXH3-128 of nothing, seed 0: the value of xxHash's own test vectors. */
    assert_string_equal(nb_hash_hex(nb_hash_bytes("", 0), hex), "99aa06d3014798d86001c324468d497f");
    assert_string_equal(nb_hash_hex(nb_hash_bytes(NULL, 0), hex),
                        "99aa06d3014798d86001c324468d497f");
    const struct nb_hash h = {UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210)};
    assert_string_equal(nb_hash_hex(h, hex), "fedcba98765432100123456789abcdef");
}

static void test_streaming_equals_whole(void **state)
{
    (void)state;
    static uint8_t data[5000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 131 >> 3);
    for (size_t piece = 1; piece < sizeof data; piece = piece * 3 + 1) {
        struct nb_hasher *h = nb_hasher_create(NULL);
        assert_non_null(h);
        for (size_t at = 0; at < sizeof data; at += piece)
            nb_hasher_update(h, data + at, NB_MIN(piece, sizeof data - at));
        nb_hasher_update(h, NULL, 0);
        const struct nb_hash got = nb_hasher_digest(h), want = nb_hash_bytes(data, sizeof data);
        assert_true(got.lo == want.lo && got.hi == want.hi);
        nb_hasher_destroy(h);
    }
    nb_hasher_destroy(NULL);
    struct nbtest_alloc x;
    nbtest_alloc_init(&x, 1);
    assert_null(nb_hasher_create(&x.a));
}

static void test_fnv(void **state)
{
    (void)state;
    assert_true(nb_fnv1a64("", 0, NB_FNV_SEED) == NB_FNV_SEED);
    assert_true(nb_fnv1a64("a", 1, NB_FNV_SEED) == UINT64_C(0xaf63dc4c8601ec8c));
    assert_true(nb_fnv1a64("foobar", 6, NB_FNV_SEED) == UINT64_C(0x85944171f73967e8));
    assert_true(nb_fnv1a64("bar", 3, nb_fnv1a64("foo", 3, NB_FNV_SEED)) ==
                UINT64_C(0x85944171f73967e8));
}

NB_TEST_MAIN(cmocka_unit_test(test_xxh3_known), cmocka_unit_test(test_streaming_equals_whole),
             cmocka_unit_test(test_fnv))
