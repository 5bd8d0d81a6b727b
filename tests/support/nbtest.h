/* tests/support/nbtest.h: cmocka, and what nibble's tests need beyond it.
 *
 * A test file is one program: static void test_x(void **state) functions and NB_TEST_MAIN(...).
 */
#ifndef NBTEST_H
#define NBTEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

/* NB_TEST_MAIN(cmocka_unit_test(test_a), cmocka_unit_test(test_b)) */
#define NB_TEST_MAIN(...)                                                                          \
    int main(void)                                                                                 \
    {                                                                                              \
        const struct CMUnitTest tests[] = {__VA_ARGS__};                                           \
        return cmocka_run_group_tests(tests, NULL, NULL);                                          \
    }

/* ---- status ---- */
/* A call that must work: prints the message of err when it does not. */
#define assert_ok(call, err) nbtest_ok((call), (err), #call, __FILE__, __LINE__)
/* A call that must fail with `want` and, when `text` is not NULL, with a message that holds it. */
#define assert_fails(call, want, err, text)                                                        \
    nbtest_fails((call), (want), (err), (text), #call, __FILE__, __LINE__)
void nbtest_ok(enum nb_status st, const struct nb_error *err, const char *call, const char *file,
               int line);
void nbtest_fails(enum nb_status st, enum nb_status want, const struct nb_error *err,
                  const char *text, const char *call, const char *file, int line);

/* ---- floats ---- */
/* |a - b| <= tol; NaN is never close. */
#define assert_close(a, b, tol) nbtest_close((a), (b), (tol), #a, __FILE__, __LINE__)
/* At most n representable floats between a and b (0 and -0 are one). */
#define assert_ulp(a, b, n) nbtest_ulp((a), (b), (n), #a, __FILE__, __LINE__)
/* The same bits. */
#define assert_bits(a, b)          nbtest_bits((a), (b), #a, __FILE__, __LINE__)
#define assert_bits_array(a, b, n) nbtest_bits_array((a), (b), (n), #a, __FILE__, __LINE__)
void nbtest_close(double a, double b, double tol, const char *what, const char *file, int line);
void nbtest_ulp(float a, float b, uint32_t n, const char *what, const char *file, int line);
void nbtest_bits(float a, float b, const char *what, const char *file, int line);
void nbtest_bits_array(const float *a, const float *b, size_t n, const char *what, const char *file,
                       int line);

/* ---- memory ---- */
/* Counts, and fails allocation number fail_at (from 1; 0: none) and, with fail_after, all that
 * follow. live is 0 again when everything was freed. Thread-safe through a lock. */
struct nbtest_alloc {
    struct nb_allocator a; /* pass &x.a */
    size_t n_allocs, live, live_bytes, peak_bytes;
    size_t fail_at;
    bool fail_after;
};
void nbtest_alloc_init(struct nbtest_alloc *x, size_t fail_at);

/* Runs body(ctx, allocator) with allocation 1, 2, 3 ... failing until it succeeds; body must return
 * NB_ERR_NOMEM each time before, and free all it took. Returns how many allocations it makes. */
typedef enum nb_status nbtest_oom_fn(void *ctx, const struct nb_allocator *a);
size_t nbtest_oom(nbtest_oom_fn *body, void *ctx);

/* ---- files ---- */
/* A fresh folder below $TMPDIR or /tmp, removed with all it holds at exit of the program. */
const char *nbtest_tmpdir(void);
/* "<tmpdir>/<name>" in one of 16 rotating buffers. */
const char *nbtest_tmp(const char *name);
void nbtest_write(const char *path, const void *data, size_t n);
/* The file's bytes (terminated, malloc-ed, never NULL); fails the test if it cannot be read. */
uint8_t *nbtest_read(const char *path, size_t *n);
size_t nbtest_count_files(const char *dir); /* entries of a folder */

/* "<repository>/models/<name>", "<repository>/data/<name>", "<repository>/<name>"; rotating buffers. */
const char *nbtest_model(const char *name);
const char *nbtest_data(const char *name);
const char *nbtest_root(const char *name);

#endif
