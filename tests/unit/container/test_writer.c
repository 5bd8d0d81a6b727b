/* The writer: what it refuses, what it leaves behind, and that the size of pieces does not matter. */
#include "container/container.h"
#include "support/nbtest.h"

#include <stdio.h>

static struct nb_writer *create(const struct nb_container *c)
{
    struct nb_writer *w;
    struct nb_error err;
    assert_ok(nb_writer_create(&w, c, NULL, &err), &err);
    return w;
}

static void add(struct nb_writer *w, const char *name, const char *type, uint64_t rows,
                uint64_t cols)
{
    struct nb_error err;
    const struct nb_shape shape = nb_shape_2(rows, cols);
    assert_ok(nb_writer_add(w, name, nb_numfmt_find(type), &shape, &err), &err);
}

/* Beginning fails with that message, and leaves no file. */
static void begin_fails(struct nb_writer *w, const struct nb_meta *meta, enum nb_status want,
                        const char *message)
{
    struct nb_error err = {0};
    const size_t before = nbtest_count_files(nbtest_tmpdir());
    assert_fails(nb_writer_begin(w, nbtest_tmp("refused"), 0, meta, &err), want, &err, message);
    assert_int_equal(nbtest_count_files(nbtest_tmpdir()), before);
    nb_writer_destroy(w);
    assert_int_equal(nbtest_count_files(nbtest_tmpdir()), before);
}

/* ---- declaring ---- */

static void test_declarations(void **state)
{
    (void)state;
    struct nb_error err = {0};
    struct nb_shape shape = nb_shape_2(2, 256);
    const struct nb_numfmt *q4_k = nb_numfmt_find("q4_k");
    struct nb_writer *w = create(&nb_container_gguf);
    assert_fails(nb_writer_add(w, "", q4_k, &shape, &err), NB_ERR_ARG, &err, "needs a name");
    assert_ok(nb_writer_add(w, "a\n", q4_k, &shape, &err), &err);
    assert_fails(nb_writer_add(w, "a\n", q4_k, &shape, &err), NB_ERR_ARG, &err,
                 "'a\\x0a' is declared twice");
    shape.dim[1] = 255;
    assert_fails(nb_writer_add(w, "b", q4_k, &shape, &err), NB_ERR_FORMAT, &err,
                 "tensor 'b': a row of 255");
    shape.dim[0] = shape.dim[1] = UINT64_C(1) << 60;
    assert_fails(nb_writer_add(w, "b", q4_k, &shape, &err), NB_ERR_FORMAT, &err, "tensor 'b'");
    assert_int_equal(w->n_tensors, 1);
    assert_fails(nb_writer_append(w, "x", 1, &err), NB_ERR_ARG, &err, "not begun");
    assert_fails(nb_writer_commit(w, &err), NB_ERR_ARG, &err, "not begun");
    nb_writer_destroy(w);
    nb_writer_destroy(NULL);
}

static void test_what_gguf_cannot_hold(void **state)
{
    (void)state;
    char name[65] = {0};
    struct nb_meta meta;
    struct nb_error err = {0};
    struct nb_writer *w = create(&nb_container_gguf);
    memset(name, 'n', 64);
    add(w, name, "f32", 1, 1);
    begin_fails(w, NULL, NB_ERR_UNSUPPORTED, "at most 63 bytes, not 64");
    w = create(&nb_container_gguf);
    add(w, "t", "u8", 1, 1);
    begin_fails(w, NULL, NB_ERR_UNSUPPORTED, "tensor 't': GGUF has no type for u8");
    w = create(&nb_container_gguf);
    const struct nb_shape five = {.n = 5, .dim = {1, 1, 1, 1, 1}};
    assert_ok(nb_writer_add(w, "t", nb_numfmt_find("f32"), &five, &err), &err);
    begin_fails(w, NULL, NB_ERR_UNSUPPORTED, "at most 4 dimensions, not 5");
    nb_meta_init(&meta, NULL);
    assert_int_equal(nb_meta_set_u32(&meta, "general.alignment", 24), NB_OK);
    begin_fails(create(&nb_container_gguf), &meta, NB_ERR_FORMAT, "24 is no power of two");
    assert_int_equal(nb_meta_set_u32(&meta, "general.alignment", UINT32_C(1) << 31), NB_OK);
    begin_fails(create(&nb_container_gguf), &meta, NB_ERR_LIMIT, "at most 65536");
    nb_meta_fini(&meta);
}

static void test_what_safetensors_cannot_hold(void **state)
{
    (void)state;
    struct nb_meta meta;
    struct nb_writer *w = create(&nb_container_safetensors);
    add(w, "t", "q4_k", 1, 256);
    begin_fails(w, NULL, NB_ERR_UNSUPPORTED, "tensor 't': safetensors has no dtype for q4_k");
    w = create(&nb_container_safetensors);
    add(w, "t\xff", "f32", 1, 1);
    begin_fails(w, NULL, NB_ERR_ARG, "tensor 't\\xff'");
    w = create(&nb_container_safetensors);
    add(w, "__metadata__", "f32", 1, 1);
    begin_fails(w, NULL, NB_ERR_ARG, "tensor '__metadata__'");
    nb_meta_init(&meta, NULL);
    assert_int_equal(nb_meta_set_u32(&meta, "n", 1), NB_OK);
    begin_fails(create(&nb_container_safetensors), &meta, NB_ERR_ARG, "key 'n'");
    assert_int_equal(nb_meta_set_text(&meta, "n", "\xff", 1), NB_OK);
    begin_fails(create(&nb_container_safetensors), &meta, NB_ERR_ARG, "key 'n': not UTF-8");
    nb_meta_fini(&meta);
}

static void test_the_disk_is_asked_first(void **state)
{
    (void)state;
    struct nb_writer *w = create(&nb_container_gguf);
    add(w, "t", "f32", UINT64_C(1) << 30, UINT64_C(1) << 28);
    begin_fails(w, NULL, NB_ERR_LIMIT, "free");
}

/* ---- appending ---- */

/* Two tensors and an empty one between them (or one, if that is all a file holds), written in pieces
 * of that many bytes. */
static void write_pieces(const struct nb_container *c, const char *path, size_t piece)
{
    struct nb_error err;
    uint8_t data[4 * 7 + 34];
    struct nb_writer *w = create(c);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 11 + 1);
    if (c->max_tensors == 1) {
        add(w, "all", "i16", 1, sizeof data / 2);
    } else {
        add(w, "first", "f32", 7, 1);
        add(w, "none", "f32", 0, 3);
        add(w, "last", "i16", 1, 17);
    }
    assert_ok(nb_writer_begin(w, path, NB_OUT_OVERWRITE, NULL, &err), &err);
    for (size_t at = 0; at < sizeof data; at += piece)
        assert_ok(nb_writer_append(w, data + at, NB_MIN(piece, sizeof data - at), &err), &err);
    assert_false(nb_path_exists(path));
    assert_ok(nb_writer_commit(w, &err), &err);
    assert_true(nb_path_exists(path));
    nb_writer_destroy(w);
}

static void test_pieces_of_any_size(void **state)
{
    (void)state;
    size_t n_containers;
    const struct nb_container *const *all = nb_container_all(&n_containers);
    for (size_t i = 0; i < n_containers; i++) {
        size_t n_whole, n;
        write_pieces(all[i], nbtest_tmp("whole"), 1000);
        uint8_t *whole = nbtest_read(nbtest_tmp("whole"), &n_whole);
        remove(nbtest_tmp("whole"));
        for (size_t piece = 1; piece < 40; piece++) {
            write_pieces(all[i], nbtest_tmp("pieces"), piece);
            uint8_t *pieces = nbtest_read(nbtest_tmp("pieces"), &n);
            remove(nbtest_tmp("pieces"));
            assert_int_equal(n, n_whole);
            assert_memory_equal(pieces, whole, n);
            free(pieces);
        }
        free(whole);
    }
}

static void test_tensors_of_nothing(void **state)
{
    (void)state;
    struct nb_error err;
    struct nb_file *f;
    struct nb_writer *w = create(&nb_container_gguf);
    add(w, "a", "f32", 0, 3);
    add(w, "b", "f32", 3, 0);
    assert_ok(nb_writer_begin(w, nbtest_tmp("nothing"), 0, NULL, &err), &err);
    assert_ok(nb_writer_commit(w, &err), &err);
    nb_writer_destroy(w);
    assert_ok(nb_file_open(&f, nbtest_tmp("nothing"), NULL, &err), &err);
    assert_int_equal(f->n_tensors, 2);
    nb_file_close(f);
    remove(nbtest_tmp("nothing"));
}

static void test_too_much_and_too_little(void **state)
{
    (void)state;
    struct nb_error err = {0};
    const uint8_t data[16] = {0};
    const size_t before = nbtest_count_files(nbtest_tmpdir());
    struct nb_writer *w = create(&nb_container_gguf);
    add(w, "t", "f32", 1, 2);
    assert_ok(nb_writer_begin(w, nbtest_tmp("short"), 0, NULL, &err), &err);
    assert_fails(nb_writer_begin(w, nbtest_tmp("short"), 0, NULL, &err), NB_ERR_ARG, &err, "begun");
    assert_ok(nb_writer_append(w, data, 7, &err), &err);
    assert_fails(nb_writer_commit(w, &err), NB_ERR_ARG, &err, "tensor 't': 7 of 8 bytes written");
    assert_ok(nb_writer_append(w, data, 1, &err), &err); /* not lost yet */
    assert_fails(nb_writer_append(w, data, 2, &err), NB_ERR_ARG, &err, "2 bytes more");
    assert_fails(nb_writer_commit(w, &err), NB_ERR_ARG, &err, "an earlier write failed");
    nb_writer_destroy(w);
    assert_int_equal(nbtest_count_files(nbtest_tmpdir()), before);
}

/* ---- what is left behind ---- */

static void test_abort_leaves_nothing(void **state)
{
    (void)state;
    struct nb_error err;
    const uint8_t data[8] = {0};
    const size_t before = nbtest_count_files(nbtest_tmpdir());
    for (int stage = 0; stage < 4; stage++) {
        struct nb_writer *w = create(&nb_container_safetensors);
        add(w, "t", "f32", 1, 2);
        if (stage > 0)
            assert_ok(nb_writer_begin(w, nbtest_tmp("abort"), 0, NULL, &err), &err);
        if (stage > 1)
            assert_ok(nb_writer_append(w, data, stage == 2 ? 5 : 8, &err), &err);
        assert_false(nb_path_exists(nbtest_tmp("abort")));
        nb_writer_destroy(w);
        assert_int_equal(nbtest_count_files(nbtest_tmpdir()), before);
    }
}

static void test_an_existing_file_is_safe(void **state)
{
    (void)state;
    struct nb_error err = {0};
    size_t n;
    const char *path = nbtest_tmp("there");
    nbtest_write(path, "precious", 8);
    struct nb_writer *w = create(&nb_container_gguf);
    assert_fails(nb_writer_begin(w, path, 0, NULL, &err), NB_ERR_EXISTS, &err, "exists");
    nb_writer_destroy(w);
    w = create(&nb_container_gguf);
    assert_ok(nb_writer_begin(w, path, NB_OUT_OVERWRITE, NULL, &err), &err);
    nb_writer_destroy(w); /* aborted: the old one stays */
    uint8_t *old = nbtest_read(path, &n);
    assert_memory_equal(old, "precious", 8);
    free(old);
    w = create(&nb_container_gguf);
    assert_ok(nb_writer_begin(w, path, NB_OUT_OVERWRITE, NULL, &err), &err);
    assert_ok(nb_writer_commit(w, &err), &err);
    nb_writer_destroy(w);
    struct nb_file *f;
    assert_ok(nb_file_open(&f, path, NULL, &err), &err);
    nb_file_close(f);
    remove(path);
}

/* ---- layouts ---- */

static void test_gguf_alignment(void **state)
{
    (void)state;
    static const uint32_t aligns[] = {1, 8, 32, 64, 4096, 65536};
    for (size_t i = 0; i < NB_COUNTOF(aligns); i++) {
        struct nb_meta meta;
        struct nb_error err;
        struct nb_file *f;
        uint64_t size;
        const uint8_t data[7] = {1, 2, 3, 4, 5, 6, 7};
        struct nb_writer *w = create(&nb_container_gguf);
        nb_meta_init(&meta, NULL);
        assert_int_equal(nb_meta_set_u32(&meta, "general.alignment", aligns[i]), NB_OK);
        add(w, "a", "i8", 1, 4);
        add(w, "b", "i8", 1, 3);
        assert_ok(nb_writer_begin(w, nbtest_tmp("align"), NB_OUT_OVERWRITE, &meta, &err), &err);
        assert_ok(nb_writer_append(w, data, sizeof data, &err), &err);
        assert_ok(nb_writer_commit(w, &err), &err);
        nb_writer_destroy(w);
        nb_meta_fini(&meta);
        assert_ok(nb_path_size(nbtest_tmp("align"), &size, &err), &err);
        assert_int_equal(size % aligns[i], 0); /* the last tensor is padded too */
        assert_ok(nb_file_open(&f, nbtest_tmp("align"), NULL, &err), &err);
        assert_int_equal(f->tensors[1].offset % aligns[i], 0);
        assert_memory_equal(f->tensors[1].data, data + 4, 3);
        nb_file_close(f);
    }
    remove(nbtest_tmp("align"));
}

static void test_safetensors_header(void **state)
{
    (void)state;
    for (int pad = 0; pad < 8; pad++) { /* every length of the header modulo 8 */
        char name[16];
        size_t n;
        struct nb_error err;
        struct nb_text t;
        struct nb_file *f;
        struct nb_writer *w = create(&nb_container_safetensors);
        snprintf(name, sizeof name, "%.*s", pad + 1, "aaaaaaaaa");
        add(w, name, "f32", 0, 1);
        assert_ok(nb_writer_begin(w, nbtest_tmp("st"), NB_OUT_OVERWRITE, NULL, &err), &err);
        assert_ok(nb_writer_commit(w, &err), &err);
        nb_writer_destroy(w);
        uint8_t *data = nbtest_read(nbtest_tmp("st"), &n);
        assert_int_equal((8 + nb_load_u64(data)) % 8, 0);
        assert_int_equal(data[8], '{');
        free(data);
        assert_ok(nb_file_open(&f, nbtest_tmp("st"), NULL, &err), &err);
        assert_true(nb_meta_text(&f->meta, "format", &t) && t.n == 2 && memcmp(t.s, "pt", 2) == 0);
        assert_int_equal(f->meta.n, 1);
        nb_file_close(f);
    }
    remove(nbtest_tmp("st"));
}

static void test_safetensors_format_can_be_chosen(void **state)
{
    (void)state;
    struct nb_meta meta;
    struct nb_error err;
    struct nb_text t;
    struct nb_file *f;
    struct nb_writer *w = create(&nb_container_safetensors);
    nb_meta_init(&meta, NULL);
    assert_int_equal(nb_meta_set_text(&meta, "nibble.recipe", "{\"a\":\t1,\0\x01}", 12), NB_OK);
    assert_int_equal(nb_meta_set_text(&meta, "format", "mlx", 3), NB_OK);
    assert_ok(nb_writer_begin(w, nbtest_tmp("mlx"), 0, &meta, &err), &err);
    assert_ok(nb_writer_commit(w, &err), &err);
    nb_writer_destroy(w);
    nb_meta_fini(&meta);
    assert_ok(nb_file_open(&f, nbtest_tmp("mlx"), NULL, &err), &err);
    assert_int_equal(f->meta.n, 2);
    assert_true(nb_meta_text(&f->meta, "format", &t) && t.n == 3 && memcmp(t.s, "mlx", 3) == 0);
    assert_true(nb_meta_text(&f->meta, "nibble.recipe", &t) && t.n == 12);
    assert_memory_equal(t.s, "{\"a\":\t1,\0\x01}", 12);
    nb_file_close(f);
    remove(nbtest_tmp("mlx"));
}

static void test_the_reference_order(void **state)
{
    (void)state;
    const struct nb_numfmt *f32 = nb_numfmt_find("f32"), *f16 = nb_numfmt_find("f16"),
                           *bf16 = nb_numfmt_find("bf16"), *u8 = nb_numfmt_find("u8");
    const struct nb_tensor in_order[] = {{.name = "z", .type = f32},
                                         {.name = "a", .type = bf16},
                                         {.name = "a", .type = f16},
                                         {.name = "b", .type = f16},
                                         {.name = "a", .type = u8}};
    for (size_t i = 0; i < NB_COUNTOF(in_order); i++)
        for (size_t k = 0; k < NB_COUNTOF(in_order); k++)
            assert_int_equal(nb_container_safetensors.before(&in_order[i], &in_order[k]), i < k);
}

NB_TEST_MAIN(cmocka_unit_test(test_declarations), cmocka_unit_test(test_what_gguf_cannot_hold),
             cmocka_unit_test(test_what_safetensors_cannot_hold),
             cmocka_unit_test(test_the_disk_is_asked_first),
             cmocka_unit_test(test_pieces_of_any_size), cmocka_unit_test(test_tensors_of_nothing),
             cmocka_unit_test(test_too_much_and_too_little),
             cmocka_unit_test(test_abort_leaves_nothing),
             cmocka_unit_test(test_an_existing_file_is_safe), cmocka_unit_test(test_gguf_alignment),
             cmocka_unit_test(test_safetensors_header),
             cmocka_unit_test(test_safetensors_format_can_be_chosen),
             cmocka_unit_test(test_the_reference_order))
