/* What every registered container promises: write, read and write again give the same bytes; every
 * prefix is refused; no other container claims its files; memory may fail at any call. */
#include "container/container.h"
#include "support/nbtest.h"

#include <stdio.h>

/* ---- a model of every number format the container can hold ---- */

static bool can_hold(const struct nb_container *c, const struct nb_numfmt *type)
{
    struct nb_writer *w;
    struct nb_error err = {0};
    uint64_t bytes;
    const struct nb_shape shape = nb_shape_1(type->block);
    assert_ok(nb_writer_create(&w, c, NULL, &err), &err);
    assert_ok(nb_writer_add(w, "t", type, &shape, &err), &err);
    const enum nb_status st = nb_writer_bytes(w, NULL, &bytes, &err);
    assert_true(st == NB_OK || st == NB_ERR_UNSUPPORTED);
    nb_writer_destroy(w);
    return st == NB_OK;
}

/* Shapes of 0 to 4 dimensions, an empty one among them, for one format. */
static size_t shapes_of(const struct nb_numfmt *type, struct nb_shape out[5])
{
    const uint64_t b = type->block;
    size_t n = 0;
    out[n++] = nb_shape_1(b * 3);
    out[n++] = nb_shape_2(5, b);
    out[n++] = (struct nb_shape){.n = 4, .dim = {2, 1, 3, b * 2}};
    out[n++] = nb_shape_2(0, b);
    if (b == 1)
        out[n++] = (struct nb_shape){.n = 0};
    return n;
}

static enum nb_status declare(struct nb_writer *w, struct nb_error *err)
{
    size_t n_formats;
    const struct nb_numfmt *const *formats = nb_numfmt_all(&n_formats);
    const size_t max = w->container->max_tensors > 0 ? w->container->max_tensors : SIZE_MAX;
    for (size_t i = 0; i < n_formats; i++) {
        struct nb_shape shapes[5];
        char name[64];
        if (!can_hold(w->container, formats[i]))
            continue;
        const size_t n = shapes_of(formats[i], shapes);
        for (size_t k = 0; k < n; k++) {
            if (w->n_tensors == max)
                return NB_OK;
            snprintf(name, sizeof name, "blk.%d.%s", (int)k, formats[i]->name);
            NB_TRY(nb_writer_add(w, name, formats[i], &shapes[k], err));
        }
    }
    return NB_OK;
}

/* Bytes without meaning: containers carry, they do not decode. 13 a piece: pieces cross tensors. */
static enum nb_status append_noise(struct nb_writer *w, struct nb_error *err)
{
    uint64_t left = 0;
    uint8_t piece[13];
    for (size_t i = 0; i < w->n_tensors; i++)
        left += w->tensors[i].bytes;
    for (uint32_t x = 1; left > 0;) {
        const size_t n = (size_t)NB_MIN(left, (uint64_t)sizeof piece);
        for (size_t i = 0; i < n; i++) {
            x = (uint32_t)((uint64_t)x * 69069 % 4294967291U);
            piece[i] = (uint8_t)(x >> 24);
        }
        NB_TRY(nb_writer_append(w, piece, n, err));
        left -= n;
    }
    return NB_OK;
}

static enum nb_status write_model(const struct nb_container *c, const char *path,
                                  const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_writer *w = NULL;
    struct nb_meta meta;
    enum nb_status st;
    nb_meta_init(&meta, a);
    NB_TRY_TO(done, nb_meta_set_text(&meta, "general.name", "a \"quoted\"\nname", 15));
    NB_TRY_TO(done, nb_meta_set_text(&meta, "format", "pt", 2));
    NB_TRY_TO(done, nb_writer_create(&w, c, a, err));
    NB_TRY_TO(done, declare(w, err));
    NB_TRY_TO(done, nb_writer_begin(w, path, NB_OUT_OVERWRITE, &meta, err));
    NB_TRY_TO(done, append_noise(w, err));
    st = nb_writer_commit(w, err);
done:
    nb_writer_destroy(w);
    nb_meta_fini(&meta);
    return st;
}

/* From what was read. */
static void write_again(const struct nb_file *f, const char *path)
{
    struct nb_writer *w;
    struct nb_error err;
    assert_ok(nb_writer_create(&w, f->container, NULL, &err), &err);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct nb_tensor *t = &f->tensors[i];
        assert_ok(nb_writer_add(w, t->name, t->type, &t->shape, &err), &err);
    }
    assert_ok(nb_writer_begin(w, path, 0, &f->meta, &err), &err);
    for (size_t i = 0; i < f->n_tensors; i++)
        assert_ok(nb_writer_append(w, f->tensors[i].data, f->tensors[i].bytes, &err), &err);
    assert_ok(nb_writer_commit(w, &err), &err);
    nb_writer_destroy(w);
}

static const char *path_of(const struct nb_container *c, const char *name)
{
    char file[64];
    snprintf(file, sizeof file, "%s%s", name, c->suffix);
    return nbtest_tmp(file);
}

/* ---- promises ---- */

static void test_write_read_write_identity(void **state)
{
    (void)state;
    size_t n;
    const struct nb_container *const *all = nb_container_all(&n);
    for (size_t i = 0; i < n; i++) {
        struct nb_file *f;
        struct nb_error err;
        size_t n_first, n_second;
        const char *first = path_of(all[i], "first"), *second = path_of(all[i], "second");
        assert_ok(write_model(all[i], first, NULL, &err), &err);
        assert_ok(nb_file_open(&f, first, NULL, &err), &err);
        assert_ptr_equal(f->container, all[i]);
        assert_true(f->n_tensors >= (all[i]->max_tensors == 1 ? 1 : 4));
        write_again(f, second);
        nb_file_close(f);
        uint8_t *a = nbtest_read(first, &n_first), *b = nbtest_read(second, &n_second);
        assert_int_equal(n_first, n_second);
        assert_memory_equal(a, b, n_first);
        free(a);
        free(b);
    }
}

/* Files written by the packages that own the formats: read, and written again to the byte. */
static void test_files_of_others(void **state)
{
    (void)state;
    size_t n;
    const struct nb_container *const *all = nb_container_all(&n);
    for (size_t i = 0; i < n; i++) {
        struct nb_file *f;
        struct nb_error err;
        char name[64];
        size_t n_theirs, n_ours;
        snprintf(name, sizeof name, "fuzz/corpus/%s/peer-all", all[i]->name);
        const char *theirs = nbtest_root(name), *ours = path_of(all[i], "ours");
        assert_ok(nb_file_open(&f, theirs, NULL, &err), &err);
        write_again(f, ours);
        nb_file_close(f);
        uint8_t *a = nbtest_read(theirs, &n_theirs), *b = nbtest_read(ours, &n_ours);
        assert_int_equal(n_ours, n_theirs);
        assert_memory_equal(b, a, n_ours);
        free(a);
        free(b);
    }
}

static void test_every_prefix_is_refused(void **state)
{
    (void)state;
    size_t n;
    const struct nb_container *const *all = nb_container_all(&n);
    for (size_t i = 0; i < n; i++) {
        struct nb_file *f;
        struct nb_error err = {0};
        size_t size;
        const char *path = path_of(all[i], "prefix");
        assert_ok(write_model(all[i], path, NULL, &err), &err);
        uint8_t *data = nbtest_read(path, &size);
        assert_ok(nb_file_open_bytes(&f, data, size, NULL, &err), &err);
        const uint64_t header = f->data_offset;
        const struct nb_tensor *last = &f->tensors[f->n_tensors - 1];
        const uint64_t end = last->offset + last->bytes; /* padding behind it may be missing */
        nb_file_close(f);
        /* Each byte of the header, then steps through the data. */
        for (uint64_t k = 0; k < end; k += k < header ? 1 : 61) {
            uint8_t *exact = malloc(k == 0 ? 1 : k);
            memcpy(exact, data, k);
            assert_fails(nb_file_open_bytes(&f, exact, k, NULL, &err), NB_ERR_FORMAT, &err, NULL);
            assert_null(f);
            free(exact);
        }
        free(data);
    }
}

static void test_only_one_container_claims_a_file(void **state)
{
    (void)state;
    size_t n;
    const struct nb_container *const *all = nb_container_all(&n);
    for (size_t i = 0; i < n; i++) {
        size_t size;
        struct nb_error err;
        const char *path = path_of(all[i], "probe");
        assert_ok(write_model(all[i], path, NULL, &err), &err);
        uint8_t *data = nbtest_read(path, &size);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(all[k]->probe(data, NB_MIN(size, (size_t)64)), k == i);
        free(data);
    }
}

static void test_bytes_foretells_the_size(void **state)
{
    (void)state;
    size_t n;
    const struct nb_container *const *all = nb_container_all(&n);
    for (size_t i = 0; i < n; i++) {
        struct nb_writer *w;
        struct nb_error err;
        uint64_t foretold, size;
        const char *path = path_of(all[i], "size");
        assert_ok(nb_writer_create(&w, all[i], NULL, &err), &err);
        assert_ok(declare(w, &err), &err);
        assert_ok(nb_writer_bytes(w, NULL, &foretold, &err), &err);
        assert_ok(nb_writer_begin(w, path, NB_OUT_OVERWRITE, NULL, &err), &err);
        assert_ok(append_noise(w, &err), &err);
        assert_ok(nb_writer_commit(w, &err), &err);
        nb_writer_destroy(w);
        assert_ok(nb_path_size(path, &size, &err), &err);
        assert_int_equal(foretold, size);
    }
}

/* ---- memory ---- */

struct oom {
    const struct nb_container *c;
    const char *path;
    const uint8_t *data; /* NULL: open by path */
    size_t size;
};

static enum nb_status oom_open(void *ctx, const struct nb_allocator *a)
{
    const struct oom *o = ctx;
    struct nb_file *f;
    struct nb_error err;
    const enum nb_status st = o->data == NULL ? nb_file_open(&f, o->path, a, &err)
                                              : nb_file_open_bytes(&f, o->data, o->size, a, &err);
    nb_file_close(f);
    return st;
}

static enum nb_status oom_write(void *ctx, const struct nb_allocator *a)
{
    const struct oom *o = ctx;
    struct nb_error err = {0};
    const enum nb_status st = write_model(o->c, o->path, a, &err);
    if (st != NB_OK)
        assert_false(nb_path_exists(o->path));
    return st;
}

static void test_memory_may_fail_at_any_call(void **state)
{
    (void)state;
    size_t n;
    const struct nb_container *const *all = nb_container_all(&n);
    for (size_t i = 0; i < n; i++) {
        struct oom o = {.c = all[i], .path = path_of(all[i], "oom")};
        assert_true(nbtest_oom(oom_write, &o) > 3);
        assert_true(nbtest_oom(oom_open, &o) > 3);
        uint8_t *data = nbtest_read(o.path, &o.size);
        o.data = data;
        assert_true(nbtest_oom(oom_open, &o) > 3);
        free(data);
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_write_read_write_identity),
             cmocka_unit_test(test_files_of_others), cmocka_unit_test(test_every_prefix_is_refused),
             cmocka_unit_test(test_only_one_container_claims_a_file),
             cmocka_unit_test(test_bytes_foretells_the_size),
             cmocka_unit_test(test_memory_may_fail_at_any_call))
