/* tests/support/arch_cases.h: the folders under tests/golden/archs (tests/golden/make_archs.py), a cmocka
 * test for each. */
#ifndef ARCH_CASES_H
#define ARCH_CASES_H

#include <dirent.h>
#include <stdio.h>

#include "dialect/dialect.h"
#include "support/nbtest.h"

#define ARCH_MAX_CASES 256
#define ARCH_NAME      64

/* What nibble refuses, and how. */
static const struct {
    const char *name, *message;
} arch_refused[] = {
    {"olmo", "architecture 'OlmoForCausalLM' is not supported"},
    {"olmo-clip-old", "architecture 'OlmoForCausalLM' is not supported"},
    {"phi-qk-norm-old", "config.json: qk_layernorm is true, expected false"},
    {"stablelm-parallel-old", "config.json: qk_layernorm is true, expected false"},
};

static char arch_names[ARCH_MAX_CASES][ARCH_NAME];

/* A file of a case, or its folder. In one of nbtest_root's buffers. */
static inline const char *arch_path(const char *name, const char *file)
{
    char path[512];
    (void)snprintf(path, sizeof path, "tests/golden/archs/%s%s%s", name, *file ? "/" : "", file);
    return nbtest_root(path);
}

static inline int arch_by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static inline size_t arch_list(void)
{
    size_t n = 0;
    DIR *d = opendir(arch_path("", ""));
    if (d == NULL)
        return 0;
    for (struct dirent *e = readdir(d); e != NULL && n < ARCH_MAX_CASES; e = readdir(d))
        if (e->d_name[0] != '.')
            (void)snprintf(arch_names[n++], ARCH_NAME, "%.63s", e->d_name);
    closedir(d);
    qsort(arch_names, n, ARCH_NAME, arch_by_name);
    return n;
}

/* Holds it to its message. */
static inline bool arch_is_refused(const char *name)
{
    struct nb_error err;
    struct nb_model *m;
    for (size_t i = 0; i < NB_COUNTOF(arch_refused); i++) {
        if (strcmp(name, arch_refused[i].name) != 0)
            continue;
        assert_fails(nb_model_open(&m, arch_path(name, ""), NULL, NULL, &err), NB_ERR_UNSUPPORTED,
                     &err, arch_refused[i].message);
        return true;
    }
    return false;
}

/* A main function: check(&name) for each case. */
static inline int arch_run(const char *group, CMUnitTestFunction check)
{
    static struct CMUnitTest tests[ARCH_MAX_CASES];
    const size_t n = arch_list();
    for (size_t i = 0; i < n; i++)
        tests[i] = (struct CMUnitTest){
            .name = arch_names[i], .test_func = check, .initial_state = arch_names[i]};
    if (n < 80 || n == ARCH_MAX_CASES) {
        print_error("%zu folders in tests/golden/archs, expected 80 to 255\n", n);
        return 1;
    }
    return _cmocka_run_group_tests(group, tests, n, NULL, NULL);
}

#endif
