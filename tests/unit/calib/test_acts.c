/* Hidden states in memory, on disk and partly each: the same bits. */
#include "calib/acts.h"

#include "support/nbtest.h"

#define WINDOWS 5
#define CTX     12

static struct nb_error err;

static struct nb_acts *store(size_t width, uint64_t max_bytes)
{
    struct nb_acts *s;
    const struct nb_acts_options o = {.n_windows = WINDOWS,
                                      .ctx = CTX,
                                      .width = width,
                                      .max_bytes = max_bytes,
                                      .folder = nbtest_tmpdir()};
    assert_ok(nb_acts_create(&s, &o, NULL, &err), &err);
    return s;
}

static void test_store(void **state)
{
    (void)state;
    enum { WIDTH = 7, FLOATS = CTX * WIDTH, BYTES = FLOATS * 4 };
    static const uint64_t budgets[] = {UINT64_MAX, WINDOWS * BYTES, 2 * BYTES + 1, BYTES - 1, 0};
    static const uint64_t spilled[] = {0, 0, 3 * BYTES, WINDOWS * BYTES, WINDOWS * BYTES};
    for (size_t k = 0; k < NB_COUNTOF(budgets); k++) {
        struct nb_acts *s = store(WIDTH, budgets[k]);
        float x[FLOATS], y[FLOATS], *z;
        uint64_t all, in_memory;
        const struct nb_acts_options o = {WINDOWS, CTX, WIDTH, budgets[k], NULL};
        assert_true(nb_acts_bytes(&o, &all, &in_memory));
        assert_int_equal(all, WINDOWS * BYTES);
        assert_int_equal(in_memory, all - spilled[k] + BYTES);
        assert_int_equal(nb_acts_spilled_bytes(s), spilled[k]);
        for (size_t w = 0; w < WINDOWS; w++) {
            for (size_t i = 0; i < FLOATS; i++)
                x[i] = (float)(w * 1000 + i);
            assert_ok(nb_acts_write(s, w, x, &err), &err);
        }
        for (size_t w = WINDOWS; w-- > 0;) {
            assert_ok(nb_acts_get(s, w, &z, &err), &err);
            for (size_t i = 0; i < FLOATS; i++)
                assert_true(z[i] == (float)(w * 1000 + i));
            z[5] = -1.0F;
            assert_ok(nb_acts_put(s, w, z, &err), &err);
        }
        for (size_t w = 0; w < WINDOWS; w++) {
            assert_ok(nb_acts_read(s, w, y, &err), &err);
            assert_true(y[5] == -1.0F && y[6] == (float)(w * 1000 + 6));
        }
        assert_fails(nb_acts_read(s, WINDOWS, y, &err), NB_ERR_ARG, &err, "there are 5 windows");
        nb_acts_destroy(s);
    }
    nb_acts_destroy(NULL);
}

static void test_limits(void **state)
{
    (void)state;
    struct nb_acts *s;
    uint64_t all, in_memory;
    struct nb_acts_options o = {.n_windows = 1U << 31, .ctx = 1U << 20, .width = 4096};
    o.folder = nbtest_tmpdir();
    assert_false(nb_acts_bytes(&o, &all, &in_memory));
    assert_fails(nb_acts_create(&s, &o, NULL, &err), NB_ERR_LIMIT, &err, "are too many");
    assert_null(s);
    o = (struct nb_acts_options){.n_windows = 0, .ctx = 2, .width = 4};
    assert_fails(nb_acts_create(&s, &o, NULL, &err), NB_ERR_LIMIT, &err, "are none");
    o = (struct nb_acts_options){.n_windows = 1U << 30, .ctx = 1024, .width = 1024};
    o.folder = nbtest_tmpdir();
    assert_fails(nb_acts_create(&s, &o, NULL, &err), NB_ERR_LIMIT, &err, "does not fit in");
    assert_null(s);
}

static enum nb_status create_once(void *ctx, const struct nb_allocator *a)
{
    struct nb_acts *s;
    const struct nb_acts_options o = {
        .n_windows = 4, .ctx = 8, .width = 16, .max_bytes = 1024, .folder = nbtest_tmpdir()};
    (void)ctx;
    NB_TRY(nb_acts_create(&s, &o, a, &err));
    nb_acts_destroy(s);
    return NB_OK;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(nbtest_oom(create_once, NULL) >= 4);
}

NB_TEST_MAIN(cmocka_unit_test(test_store), cmocka_unit_test(test_limits),
             cmocka_unit_test(test_out_of_memory))
