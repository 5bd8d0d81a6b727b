/* The journal of a calibration: what was added is there again, what is damaged ends it. */
#include "quant/journal.h"
#include "support/nbtest.h"

#include <stdio.h>

static const struct nb_hash job = {1, 2};
static const char *const names[] = {"blk.0.attn_q.weight", "blk.0.attn_k.weight", "output.weight"};

static const char *path_of(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", nbtest_tmpdir(), name);
    return path;
}

/* Entry i has 7 + 1000 i bytes of value i. */
static void add(struct nb_journal *j, size_t i)
{
    uint8_t payload[4096];
    struct nb_error err;
    struct nb_journal_entry e = {.name = names[i], .input = {i, 3}};
    memset(payload, (int)i, sizeof payload);
    e.number[0] = 0.5 * (double)i;
    e.number[NB_JOURNAL_NUMBERS - 1] = -1e300;
    assert_ok(nb_journal_add(j, &e, payload, 7 + 1000 * i, &err), &err);
}

static void check(const struct nb_journal *j, size_t i)
{
    uint8_t payload[4096];
    struct nb_error err;
    const struct nb_journal_entry *e = nb_journal_find(j, names[i]);
    assert_non_null(e);
    assert_int_equal(e->bytes, 7 + 1000 * i);
    assert_int_equal(e->input.lo, i);
    assert_int_equal(e->input.hi, 3);
    assert_true(e->number[0] == 0.5 * (double)i);
    assert_true(e->number[NB_JOURNAL_NUMBERS - 1] == -1e300);
    assert_ok(nb_journal_read(j, e, 0, payload, (size_t)e->bytes, &err), &err);
    for (size_t k = 0; k < e->bytes; k++)
        assert_int_equal(payload[k], i);
    assert_ok(nb_journal_read(j, e, e->bytes - 3, payload, 3, &err), &err);
    assert_int_equal(payload[2], i);
}

static void write_three(const char *path)
{
    struct nb_journal *j;
    struct nb_error err;
    size_t reused = 9;
    remove(path);
    assert_ok(nb_journal_open(&j, path, job, NULL, &reused, &err), &err);
    assert_int_equal(reused, 0);
    for (size_t i = 0; i < 3; i++)
        add(j, i);
    for (size_t i = 0; i < 3; i++)
        check(j, i);
    nb_journal_close(j);
}

static void test_again(void **state)
{
    struct nb_journal *j, *second;
    struct nb_error err;
    size_t reused;
    (void)state;
    const char *path = path_of("again");
    write_three(path);
    assert_ok(nb_journal_open(&j, path, job, NULL, &reused, &err), &err);
    assert_int_equal(reused, 3);
    for (size_t i = 0; i < 3; i++)
        check(j, i);
    assert_null(nb_journal_find(j, "blk.1.attn_q.weight"));
    assert_fails(nb_journal_open(&second, path, job, NULL, &reused, &err), NB_ERR_EXISTS, &err,
                 "another process");
    assert_ok(nb_journal_cut(j, nb_journal_find(j, names[1]), &err), &err);
    check(j, 0);
    assert_null(nb_journal_find(j, names[2]));
    add(j, 1);
    nb_journal_close(j);
    assert_ok(nb_journal_open(&j, path, job, NULL, &reused, &err), &err);
    assert_int_equal(reused, 2);
    check(j, 1);
    nb_journal_finish(j);
    assert_false(nb_path_exists(path));
}

static void test_other_job(void **state)
{
    const struct nb_hash other = {1, 3};
    struct nb_journal *j;
    struct nb_error err;
    size_t reused;
    (void)state;
    const char *path = path_of("other");
    write_three(path);
    assert_ok(nb_journal_open(&j, path, other, NULL, &reused, &err), &err);
    assert_int_equal(reused, 0);
    assert_null(nb_journal_find(j, names[0]));
    nb_journal_finish(j);
}

/* Cut off at any byte, or one byte changed: entries before the damage are there, no other. */
static void test_damage(void **state)
{
    struct nb_journal *j;
    struct nb_error err;
    size_t n, reused;
    uint64_t ends[4] = {24};
    (void)state;
    const char *path = path_of("damage");
    write_three(path);
    uint8_t *whole = nbtest_read(path, &n);
    for (size_t i = 0; i < 3; i++)
        ends[i + 1] =
            ends[i] + 24 + 16 + 8 * NB_JOURNAL_NUMBERS + strlen(names[i]) + 7 + 1000 * i + 16;
    assert_int_equal(ends[3], n);
    for (size_t at = 0; at < n; at += at < 300 || at > n - 40 ? 1 : 37) {
        size_t expected = 0;
        while (expected < 3 && ends[expected + 1] <= at)
            expected++;
        nbtest_write(path, whole, at);
        assert_ok(nb_journal_open(&j, path, job, NULL, &reused, &err), &err);
        assert_int_equal(reused, expected);
        nb_journal_close(j);
        whole[at] ^= 0x10;
        nbtest_write(path, whole, n);
        whole[at] ^= 0x10;
        assert_ok(nb_journal_open(&j, path, job, NULL, &reused, &err), &err);
        assert_int_equal(reused, at < 24 ? 0 : expected);
        nb_journal_close(j);
    }
    free(whole);
    remove(path);
}

NB_TEST_MAIN(cmocka_unit_test(test_again), cmocka_unit_test(test_other_job),
             cmocka_unit_test(test_damage))
