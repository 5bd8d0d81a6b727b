/* Offsets of things that live for a while. */
#include "run/place.h"
#include "support/nbtest.h"

static struct nb_error err;

static bool overlap(const struct nb_placed *a, const struct nb_placed *b)
{
    const bool together = a->life.first <= b->life.last && b->life.first <= a->life.last;
    return together && a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

static void test_random(void **state)
{
    (void)state;
    struct nb_placed items[60];
    struct nb_rng rng = {7, 0};
    for (int round = 0; round < 40; round++) {
        const size_t n = (size_t)((uint32_t)(nb_rng_u64(&rng) >> 32) % 60);
        uint64_t total, sum = 0, largest = 0;
        for (size_t i = 0; i < n; i++) {
            const uint32_t first = (uint32_t)(nb_rng_u64(&rng) >> 32) % 30;
            items[i] = (struct nb_placed){
                .bytes = nb_place_round((uint32_t)(nb_rng_u64(&rng) >> 32) % 1000),
                .life = {.first = first, .last = first + (uint32_t)(nb_rng_u64(&rng) >> 32) % 8},
                .tag = i};
            sum += items[i].bytes;
            largest = NB_MAX(largest, items[i].bytes);
        }
        assert_ok(nb_place(items, n, &total, NULL, &err), &err);
        assert_true(total <= sum && total >= largest);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(items[i].offset % NB_ALIGN, 0);
            assert_true(items[i].offset + items[i].bytes <= total);
            assert_true(i == 0 || items[i].bytes < items[i - 1].bytes ||
                        (items[i].bytes == items[i - 1].bytes && items[i].tag > items[i - 1].tag));
            for (size_t k = 0; k < i; k++)
                assert_false(overlap(&items[i], &items[k]));
        }
    }
}

/* A chain, each value read by the next node alone, needs two places. */
static void test_chain(void **state)
{
    (void)state;
    struct nb_placed items[10];
    uint64_t total;
    for (uint32_t i = 0; i < 10; i++)
        items[i] = (struct nb_placed){.bytes = 640, .life = {i, i + 1}, .tag = i};
    assert_ok(nb_place(items, 10, &total, NULL, &err), &err);
    assert_int_equal(total, 2 * 640);
}

static enum nb_status body(void *ctx, const struct nb_allocator *a)
{
    struct nb_placed items[3] = {{.bytes = 64}, {.bytes = 128}, {.bytes = 64}};
    uint64_t total;
    (void)ctx;
    return nb_place(items, 3, &total, a, &err);
}

static void test_memory(void **state)
{
    (void)state;
    assert_int_equal(nbtest_oom(body, NULL), 2);
}

NB_TEST_MAIN(cmocka_unit_test(test_random), cmocka_unit_test(test_chain),
             cmocka_unit_test(test_memory))
