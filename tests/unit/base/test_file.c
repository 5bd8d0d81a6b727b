/* Reading: mapping, whole files, paths. */
#include "support/nbtest.h"

#include <sys/stat.h>
#include <unistd.h>

static void test_mapping(void **state)
{
    (void)state;
    struct nb_mapping m;
    struct nb_error err;
    const char *path = nbtest_tmp("map");
    uint8_t data[10000];
    memset(data, 7, sizeof data);
    nbtest_write(path, data, sizeof data);
    assert_ok(nb_mapping_open(&m, path, &err), &err);
    assert_int_equal(m.size, sizeof data);
    assert_memory_equal(m.data, data, sizeof data);
    nb_mapping_willneed(&m, 0, UINT64_MAX);
    nb_mapping_willneed(&m, 5000, 10);
    nb_mapping_dontneed(&m, 1, 9000);
    nb_mapping_dontneed(&m, 4096, UINT64_MAX);
    nb_mapping_dontneed(&m, UINT64_MAX, UINT64_MAX);
    assert_memory_equal(m.data, data, sizeof data);
    nb_mapping_close(&m);
    assert_null(m.data);
    nb_mapping_close(&m);

    nbtest_write(path, "", 0);
    assert_ok(nb_mapping_open(&m, path, &err), &err);
    assert_null(m.data);
    assert_true(m.size == 0);
    nb_mapping_willneed(&m, 0, 1);
    nb_mapping_close(&m);
}

static void test_mapping_refuses(void **state)
{
    (void)state;
    struct nb_mapping m;
    struct nb_error err;
    assert_fails(nb_mapping_open(&m, nbtest_tmp("absent"), &err), NB_ERR_NOT_FOUND, &err, "absent");
    assert_fails(nb_mapping_open(&m, nbtest_tmpdir(), &err), NB_ERR_UNSUPPORTED, &err, "a folder");
    assert_fails(nb_mapping_open(&m, "/dev/null", &err), NB_ERR_UNSUPPORTED, &err, "/dev/null");
    const char *fifo = nbtest_tmp("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_fails(nb_mapping_open(&m, fifo, &err), NB_ERR_UNSUPPORTED, &err, "fifo");
    assert_null(m.data);
    assert_fails(nb_mapping_open(&m, "bad\x1b[1mname", &err), NB_ERR_NOT_FOUND, &err,
                 "bad\\x1b[1mname");
}

static enum nb_status read_it(void *ctx, const struct nb_allocator *a)
{
    struct nb_str s;
    nb_str_init(&s, a);
    const enum nb_status st = nb_file_read_all(&s, ctx, 1000000, NULL);
    if (st == NB_OK) {
        assert_int_equal(s.len, 200000);
        assert_int_equal(s.data[s.len], 0);
    }
    nb_str_fini(&s);
    return st;
}

static void test_read_all(void **state)
{
    (void)state;
    struct nb_str s;
    struct nb_error err;
    char *data = malloc(200000);
    char path[4096];
    assert_non_null(data);
    memset(data, 'x', 200000);
    strcpy(path, nbtest_tmp("all"));
    nbtest_write(path, data, 200000);
    nb_str_init(&s, NULL);
    assert_ok(nb_file_read_all(&s, path, 200000, &err), &err);
    assert_int_equal(s.len, 200000);
    assert_memory_equal(s.data, data, 200000);
    assert_ok(nb_file_read_all(&s, path, UINT64_MAX, &err), &err);
    assert_int_equal(s.len, 200000); /* not appended */
    assert_fails(nb_file_read_all(&s, path, 199999, &err), NB_ERR_LIMIT, &err, "200000 bytes");
    assert_int_equal(s.len, 0);
    assert_true(nbtest_oom(read_it, path) >= 3);
    nbtest_write(path, "", 0);
    assert_ok(nb_file_read_all(&s, path, 0, &err), &err);
    assert_string_equal(s.data, "");
    assert_fails(nb_file_read_all(&s, nbtest_tmp("none"), 9, &err), NB_ERR_NOT_FOUND, &err, "none");
    assert_fails(nb_file_read_all(&s, nbtest_tmpdir(), 9, &err), NB_ERR_UNSUPPORTED, &err, NULL);
    nb_str_fini(&s);
    free(data);
}

static void test_paths(void **state)
{
    (void)state;
    struct nb_error err;
    uint64_t n = 0;
    char file[4096];
    strcpy(file, nbtest_tmp("f"));
    nbtest_write(file, "abc", 3);
    assert_true(nb_path_exists(file));
    assert_false(nb_path_exists(nbtest_tmp("g")));
    assert_true(nb_path_is_dir(nbtest_tmpdir()));
    assert_false(nb_path_is_dir(file));
    assert_true(nb_path_same(file, nbtest_tmp("./f")));
    assert_int_equal(symlink("f", nbtest_tmp("link")), 0);
    assert_true(nb_path_same(file, nbtest_tmp("link")));
    assert_false(nb_path_same(file, nbtest_tmpdir()));
    assert_false(nb_path_same(nbtest_tmp("g"), nbtest_tmp("g")));
    assert_ok(nb_path_size(file, &n, &err), &err);
    assert_int_equal(n, 3);
    assert_fails(nb_path_size(nbtest_tmp("g"), &n, &err), NB_ERR_NOT_FOUND, &err, "g");
    assert_ok(nb_path_free_bytes(nbtest_tmp("not yet there"), &n, &err), &err);
    assert_ok(nb_path_free_bytes("relative", &n, &err), &err);
    assert_ok(nb_path_free_bytes("/", &n, &err), &err);
    assert_fails(nb_path_free_bytes("/no/such/folder/f", &n, &err), NB_ERR_NOT_FOUND, &err,
                 "/no/such/folder");
}

static void test_names(void **state)
{
    (void)state;
    char *p = nb_path_join(NULL, "a", "b"), *q = nb_path_join(NULL, "a/", "b"),
         *r = nb_path_join(NULL, "", "b");
    assert_string_equal(p, "a/b");
    assert_string_equal(q, "a/b");
    assert_string_equal(r, "b");
    nb_free(NULL, p);
    nb_free(NULL, q);
    nb_free(NULL, r);
    assert_true(nb_path_is_plain_name("model-00001-of-00002.safetensors"));
    assert_true(nb_path_is_plain_name("..x"));
    static const char *const bad[] = {"", ".", "..", "a/b", "/a", "a\\b", "a\nb", "\x7f", "../a"};
    for (size_t i = 0; i < NB_COUNTOF(bad); i++)
        assert_false(nb_path_is_plain_name(bad[i]));
}

NB_TEST_MAIN(cmocka_unit_test(test_mapping), cmocka_unit_test(test_mapping_refuses),
             cmocka_unit_test(test_read_all), cmocka_unit_test(test_paths),
             cmocka_unit_test(test_names))
