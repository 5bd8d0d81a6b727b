/* Files without a name: what is written is read, and nothing is left. */
#include "support/nbtest.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct nb_error err;

static void test_round_trip(void **state)
{
    (void)state;
    const char *dir = nbtest_tmp("temp");
    struct nb_temp t;
    uint8_t a[100], b[100];
    assert_int_equal(mkdir(dir, 0700), 0);
    for (size_t i = 0; i < sizeof a; i++)
        a[i] = (uint8_t)(i * 7 + 1);
    assert_ok(nb_temp_create(&t, dir, 1000, NULL, &err), &err);
    assert_int_equal(nbtest_count_files(dir), 0);
    assert_ok(nb_temp_write(&t, 900, a, 100, &err), &err);
    assert_ok(nb_temp_write(&t, 17, a, 50, &err), &err);
    assert_ok(nb_temp_read(&t, 900, b, 100, &err), &err);
    assert_memory_equal(a, b, 100);
    assert_ok(nb_temp_read(&t, 0, b, 100, &err), &err);
    assert_int_equal(b[16], 0);
    assert_memory_equal(b + 17, a, 50);
    assert_int_equal(b[67], 0);
    assert_ok(nb_temp_read(&t, 1000, b, 0, &err), &err);
    assert_fails(nb_temp_read(&t, 901, b, 100, &err), NB_ERR_INTERNAL, &err, "has 1000");
    assert_fails(nb_temp_write(&t, UINT64_MAX, b, 2, &err), NB_ERR_INTERNAL, &err, NULL);
    nb_temp_close(&t);
    nb_temp_close(&t); /* once more is harmless */
    assert_int_equal(nbtest_count_files(dir), 0);
}

static void test_no_room(void **state)
{
    (void)state;
    struct nb_temp t;
    assert_fails(nb_temp_create(&t, nbtest_tmpdir(), UINT64_C(1) << 60, NULL, &err), NB_ERR_LIMIT,
                 &err, "1152921504606846976 bytes does not fit in");
    assert_int_equal(t.fd, -1);
    assert_fails(nb_temp_create(&t, nbtest_tmp("absent"), 10, NULL, &err), NB_ERR_NOT_FOUND, &err,
                 "absent");
    assert_fails(nb_temp_create(&t, "/dev/null", 10, NULL, &err), NB_ERR_NOT_FOUND, &err,
                 "/dev/null");
}

/* A limit of the system on the size of files is said like a full disk. */
static void test_file_limit(void **state)
{
    (void)state;
    struct nb_temp t;
    struct rlimit old, low;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = old;
    low.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    const enum nb_status st = nb_temp_create(&t, nbtest_tmpdir(), 1 << 20, NULL, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_fails(st, NB_ERR_LIMIT, &err, "does not fit in");
}

static void test_folder(void **state)
{
    (void)state;
    struct nb_temp t;
    assert_ok(nb_temp_create(&t, NULL, 0, NULL, &err), &err); /* $TMPDIR or /tmp */
    nb_temp_close(&t);
}

static enum nb_status create_once(void *ctx, const struct nb_allocator *a)
{
    struct nb_temp t;
    (void)ctx;
    NB_TRY(nb_temp_create(&t, nbtest_tmpdir(), 64, a, &err));
    nb_temp_close(&t);
    return NB_OK;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(nbtest_oom(create_once, NULL) >= 2);
}

NB_TEST_MAIN(cmocka_unit_test(test_round_trip), cmocka_unit_test(test_no_room),
             cmocka_unit_test(test_file_limit), cmocka_unit_test(test_folder),
             cmocka_unit_test(test_out_of_memory))
