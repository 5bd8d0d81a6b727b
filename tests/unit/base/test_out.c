/* Outputs: whole or not at all, whatever happens on the way. */
#include "support/nbtest.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* An empty folder for each test; paths in it. */
static char dir[3000];

static int enter(void **state)
{
    static int n;
    (void)state;
    snprintf(dir, sizeof dir, "%s/out%d", nbtest_tmpdir(), n++);
    return mkdir(dir, 0700);
}

static const char *in(const char *name)
{
    static char buffers[8][4096];
    static int next;
    char *b = buffers[next++ % 8];
    snprintf(b, sizeof buffers[0], "%s/%s", dir, name);
    return b;
}

static void assert_holds(const char *path, const char *text)
{
    size_t n;
    char *data = (char *)nbtest_read(path, &n);
    assert_int_equal(n, strlen(text));
    assert_string_equal(data, text);
    free(data);
}

static void test_commit(void **state)
{
    (void)state;
    struct nb_out o;
    struct nb_error err;
    struct stat st;
    const mode_t old = umask(027);
    assert_ok(nb_out_create(&o, in("f"), 0, 10, NULL, &err), &err);
    assert_ok(nb_out_write(&o, "hello ", 6, &err), &err);
    assert_false(nb_path_exists(in("f")));
    assert_true(nb_path_exists(in("f.partial")));
    assert_ok(nb_out_write(&o, "world", 5, &err), &err);
    assert_ok(nb_out_patch(&o, 0, "J", 1, &err), &err);
    assert_ok(nb_out_patch(&o, 11, "", 0, &err), &err);
    assert_fails(nb_out_patch(&o, 11, "x", 1, &err), NB_ERR_INTERNAL, &err, "11");
    assert_fails(nb_out_patch(&o, UINT64_MAX, "x", 1, &err), NB_ERR_INTERNAL, &err, NULL);
    assert_ok(nb_out_write(&o, "!", 1, &err), &err); /* a patch does not move the end */
    assert_int_equal(o.at, 12);
    assert_ok(nb_out_commit(&o, &err), &err);
    assert_int_equal(o.fd, -1);
    nb_out_abort(&o);
    umask(old);
    assert_holds(in("f"), "Jello world!");
    assert_int_equal(nbtest_count_files(dir), 1);
    assert_int_equal(stat(in("f"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

static void test_abort(void **state)
{
    (void)state;
    struct nb_out o;
    struct nb_error err;
    assert_ok(nb_out_create(&o, in("f"), 0, 0, NULL, &err), &err);
    assert_ok(nb_out_write(&o, "x", 1, &err), &err);
    nb_out_abort(&o);
    assert_int_equal(nbtest_count_files(dir), 0);
    nb_out_abort(&o);
}

static void test_exists(void **state)
{
    (void)state;
    struct nb_out o;
    struct nb_error err;
    nbtest_write(in("f"), "old", 3);
    assert_fails(nb_out_create(&o, in("f"), 0, 0, NULL, &err), NB_ERR_EXISTS, &err, "/f' exists");
    nb_out_abort(&o);
    assert_int_equal(nbtest_count_files(dir), 1);
    assert_ok(nb_out_create(&o, in("f"), NB_OUT_OVERWRITE, 0, NULL, &err), &err);
    assert_ok(nb_out_write(&o, "new", 3, &err), &err);
    assert_holds(in("f"), "old");
    assert_ok(nb_out_commit(&o, &err), &err);
    assert_holds(in("f"), "new");

    /* It appears while we write: still not replaced. */
    assert_ok(nb_out_create(&o, in("g"), 0, 0, NULL, &err), &err);
    nbtest_write(in("g"), "theirs", 6);
    assert_fails(nb_out_commit(&o, &err), NB_ERR_EXISTS, &err, "/g'");
    assert_holds(in("g"), "theirs");
    assert_int_equal(nbtest_count_files(dir), 2);
}

static void test_refused_targets(void **state)
{
    (void)state;
    struct nb_out o;
    struct nb_error err;
    assert_fails(nb_out_create(&o, dir, NB_OUT_OVERWRITE, 0, NULL, &err), NB_ERR_EXISTS, &err,
                 "is a folder");
    assert_fails(nb_out_create(&o, "/dev/null", NB_OUT_OVERWRITE, 0, NULL, &err), NB_ERR_ARG, &err,
                 "device");
    assert_fails(nb_out_create(&o, in("no/f"), 0, 0, NULL, &err), NB_ERR_NOT_FOUND, &err, "/no'");
    assert_fails(nb_out_create(&o, "", 0, 0, NULL, &err), NB_ERR_ARG, &err, NULL);
    assert_fails(nb_out_create(&o, in("f"), 0, UINT64_MAX / 2, NULL, &err), NB_ERR_LIMIT, &err,
                 "needs 9223372036854775807 bytes");
    nb_out_abort(&o);
    assert_int_equal(nbtest_count_files(dir), 0);
}

static void test_stale_and_held(void **state)
{
    (void)state;
    struct nb_out a, b;
    struct nb_error err;
    nbtest_write(in("f.partial"), "left by a killed run", 20);
    assert_ok(nb_out_create(&a, in("f"), 0, 0, NULL, &err), &err);
    assert_ok(nb_out_write(&a, "1", 1, &err), &err);
    assert_fails(nb_out_create(&b, in("f"), 0, 0, NULL, &err), NB_ERR_EXISTS, &err,
                 "being written by another process");
    nb_out_abort(&b);
    assert_true(nb_path_exists(in("f.partial")));
    assert_ok(nb_out_commit(&a, &err), &err);
    assert_holds(in("f"), "1");

    /* Somebody removes the partial file, and a stranger's stands in its place. */
    assert_ok(nb_out_create(&a, in("g"), 0, 0, NULL, &err), &err);
    assert_int_equal(unlink(in("g.partial")), 0);
    nbtest_write(in("g.partial"), "stranger", 8);
    assert_fails(nb_out_commit(&a, &err), NB_ERR_IO, &err, "removed or replaced");
    assert_false(nb_path_exists(in("g")));
    assert_holds(in("g.partial"), "stranger");

    /* A link in place of the partial file is not followed. */
    nbtest_write(in("victim"), "keep", 4);
    assert_int_equal(symlink("victim", in("h.partial")), 0);
    assert_ok(nb_out_create(&a, in("h"), 0, 0, NULL, &err), &err);
    assert_ok(nb_out_write(&a, "x", 1, &err), &err);
    assert_ok(nb_out_commit(&a, &err), &err);
    assert_holds(in("victim"), "keep");
    assert_holds(in("h"), "x");
}

static void test_killed_run_leaves_nothing(void **state)
{
    (void)state;
    nbtest_write(in("f"), "old", 3);
    const pid_t pid = fork();
    if (pid == 0) {
        struct nb_out o;
        if (nb_out_create(&o, in("f"), NB_OUT_OVERWRITE, 0, NULL, NULL) != NB_OK ||
            nb_out_write(&o, "half", 4, NULL) != NB_OK)
            _exit(1);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_holds(in("f"), "old");
    assert_true(nb_path_exists(in("f.partial")));
    struct nb_out o; /* and does not stand in the way of the next */
    struct nb_error err;
    assert_ok(nb_out_create(&o, in("f"), NB_OUT_OVERWRITE, 0, NULL, &err), &err);
    assert_ok(nb_out_commit(&o, &err), &err);
    assert_holds(in("f"), "");
    assert_int_equal(nbtest_count_files(dir), 1);
}

/* A full disk as far as a test can make one: the file may not pass 100 kB. */
static void test_full_disk(void **state)
{
    (void)state;
    struct rlimit old, small;
    struct nb_out o;
    struct nb_error err;
    static uint8_t block[64000];
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 100000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const enum nb_status created = nb_out_create(&o, in("f"), 0, 0, NULL, &err);
    const enum nb_status first = nb_out_write(&o, block, sizeof block, &err);
    const enum nb_status second = nb_out_write(&o, block, sizeof block, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    nb_out_abort(&o);
    assert_int_equal(created, NB_OK);
    assert_int_equal(first, NB_OK);
    assert_fails(second, NB_ERR_LIMIT, &err, "f.partial");
    assert_int_equal(nbtest_count_files(dir), 0);
}

static void test_long_output_is_written_back(void **state)
{
    (void)state;
    struct nb_out o;
    struct nb_error err;
    const size_t n = (size_t)11 << 20;
    uint8_t *block = malloc(n);
    assert_non_null(block);
    memset(block, 3, n);
    assert_ok(nb_out_create(&o, in("f"), 0, n, NULL, &err), &err);
    for (int i = 0; i < 4; i++)
        assert_ok(nb_out_write(&o, block, n, &err), &err);
    assert_true(o.synced >= 32U << 20);
    assert_ok(nb_out_commit(&o, &err), &err);
    uint64_t size;
    assert_ok(nb_path_size(in("f"), &size, &err), &err);
    assert_int_equal(size, 4 * n);
    free(block);
}

static enum nb_status write_one(void *ctx, const struct nb_allocator *a)
{
    (void)ctx;
    struct nb_out o;
    NB_TRY(nb_out_create(&o, in("f"), NB_OUT_OVERWRITE, 0, a, NULL));
    return nb_out_commit(&o, NULL);
}

static enum nb_status write_folder(void *ctx, const struct nb_allocator *a)
{
    (void)ctx;
    struct nb_outdir d;
    NB_TRY(nb_outdir_create(&d, in("d"), NB_OUT_OVERWRITE, 0, a, NULL));
    return nb_outdir_commit(&d, NULL);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(nbtest_oom(write_one, NULL) >= 2);
    assert_true(nbtest_oom(write_folder, NULL) >= 2);
    assert_int_equal(nbtest_count_files(dir), 2);
}

/* ---- folders ---- */
static void put(const struct nb_outdir *d, const char *name, const char *text)
{
    struct nb_out o;
    struct nb_error err;
    char *path = nb_path_join(NULL, d->partial, name);
    assert_ok(nb_out_create(&o, path, 0, 0, NULL, &err), &err);
    assert_ok(nb_out_write(&o, text, strlen(text), &err), &err);
    assert_ok(nb_out_commit(&o, &err), &err);
    nb_free(NULL, path);
}

static void test_folder(void **state)
{
    (void)state;
    struct nb_outdir d, e;
    struct nb_error err;
    assert_ok(nb_outdir_create(&d, in("m/"), 0, 0, NULL, &err), &err);
    put(&d, "a", "1");
    put(&d, "b", "2");
    assert_false(nb_path_exists(in("m")));
    assert_fails(nb_outdir_create(&e, in("m"), 0, 0, NULL, &err), NB_ERR_EXISTS, &err,
                 "being written");
    nb_outdir_abort(&e);
    assert_ok(nb_outdir_commit(&d, &err), &err);
    nb_outdir_abort(&d);
    assert_holds(in("m/a"), "1");
    assert_int_equal(nbtest_count_files(dir), 1);

    assert_fails(nb_outdir_create(&d, in("m"), 0, 0, NULL, &err), NB_ERR_EXISTS, &err, "exists");
    assert_ok(nb_outdir_create(&d, in("m"), NB_OUT_OVERWRITE, 0, NULL, &err), &err);
    put(&d, "c", "3");
    nb_outdir_abort(&d);
    assert_holds(in("m/a"), "1");
    assert_int_equal(nbtest_count_files(dir), 1);

    assert_ok(nb_outdir_create(&d, in("m"), NB_OUT_OVERWRITE, 0, NULL, &err), &err);
    put(&d, "c", "3");
    assert_ok(nb_outdir_commit(&d, &err), &err);
    assert_holds(in("m/c"), "3");
    assert_int_equal(nbtest_count_files(in("m")), 1);
    assert_int_equal(nbtest_count_files(dir), 1);
}

static void test_folder_refusals(void **state)
{
    (void)state;
    struct nb_outdir d;
    struct nb_error err;
    assert_int_equal(mkdir(in("m"), 0700), 0);
    assert_int_equal(mkdir(in("m/inside"), 0700), 0);
    assert_fails(nb_outdir_create(&d, in("m"), NB_OUT_OVERWRITE, 0, NULL, &err), NB_ERR_EXISTS,
                 &err, "more than regular files");
    nbtest_write(in("f"), "file", 4);
    assert_fails(nb_outdir_create(&d, in("f"), NB_OUT_OVERWRITE, 0, NULL, &err), NB_ERR_EXISTS,
                 &err, "no folder");
    assert_fails(nb_outdir_create(&d, "/", NB_OUT_OVERWRITE, 0, NULL, &err), NB_ERR_ARG, &err,
                 NULL);
    assert_holds(in("f"), "file");
    assert_int_equal(nbtest_count_files(dir), 2);

    /* Left by a killed run: replaced; holding a folder: somebody's, refused. */
    assert_int_equal(mkdir(in("n.partial"), 0700), 0);
    nbtest_write(in("n.partial/x"), "half", 4);
    assert_ok(nb_outdir_create(&d, in("n"), 0, 0, NULL, &err), &err);
    assert_ok(nb_outdir_commit(&d, &err), &err);
    assert_int_equal(nbtest_count_files(in("n")), 0);
    assert_int_equal(mkdir(in("o.partial"), 0700), 0);
    assert_int_equal(mkdir(in("o.partial/x"), 0700), 0);
    assert_fails(nb_outdir_create(&d, in("o"), 0, 0, NULL, &err), NB_ERR_EXISTS, &err, "o.partial");
    nb_outdir_abort(&d);
    assert_true(nb_path_exists(in("o.partial/x")));

    /* It appears while we write. */
    assert_ok(nb_outdir_create(&d, in("p"), 0, 0, NULL, &err), &err);
    assert_int_equal(mkdir(in("p"), 0700), 0);
    assert_fails(nb_outdir_commit(&d, &err), NB_ERR_EXISTS, &err, "/p'");
    assert_false(nb_path_exists(in("p.partial")));
}

#define T(f) cmocka_unit_test_setup(f, enter)
NB_TEST_MAIN(T(test_commit), T(test_abort), T(test_exists), T(test_refused_targets),
             T(test_stale_and_held), T(test_killed_run_leaves_nothing), T(test_full_disk),
             T(test_long_output_is_written_back), T(test_out_of_memory), T(test_folder),
             T(test_folder_refusals))
