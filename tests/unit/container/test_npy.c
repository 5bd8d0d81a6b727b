/* .npy: what is read, what is refused and why, and files to the byte as NumPy writes them. */
#include "container/container.h"
#include "support/nbtest.h"

#include <stdio.h>

/* A file of that version, dictionary and n_data bytes 0, 1, 2 ... */
static void make(struct nb_str *s, uint8_t version, const char *header, size_t n_data)
{
    uint8_t n[4];
    nb_str_init(s, NULL);
    nb_str_append(s, "\x93NUMPY", 6);
    nb_str_append(s, (uint8_t[]){version, 0}, 2);
    nb_store_u32(n, (uint32_t)strlen(header));
    nb_str_append(s, n, version == 1 ? 2 : 4);
    nb_str_puts(s, header);
    for (size_t i = 0; i < n_data; i++)
        nb_str_append(s, &(uint8_t){(uint8_t)i}, 1);
}

static enum nb_status open_exact(const void *data, size_t n, struct nb_error *err)
{
    struct nb_file *f;
    void *copy = malloc(n == 0 ? 1 : n);
    memcpy(copy, data, n);
    const enum nb_status st = nb_file_open_bytes(&f, copy, n, NULL, err);
    if (st == NB_OK)
        nb_file_close(f);
    free(copy);
    return st;
}

static void opens(const char *header, size_t n_data, const struct nb_numfmt *type,
                  struct nb_shape shape)
{
    for (uint8_t version = 1; version <= 3; version++) {
        struct nb_str s;
        struct nb_file *f;
        struct nb_error err;
        make(&s, version, header, n_data);
        assert_ok(nb_file_open_bytes(&f, s.data, s.len, NULL, &err), &err);
        assert_string_equal(f->container->name, "npy");
        assert_int_equal(f->n_tensors, 1);
        assert_int_equal(f->version, version);
        const struct nb_tensor *t = nb_file_find(f, NB_NPY_NAME);
        assert_ptr_equal(t, &f->tensors[0]);
        assert_ptr_equal(t->type, type);
        assert_true(nb_shape_eq(&t->shape, &shape));
        assert_int_equal(t->bytes, n_data);
        assert_true(n_data == 0 || memcmp(t->data, s.data + s.len - n_data, n_data) == 0);
        nb_file_close(f);
        nb_str_fini(&s);
    }
}

static void refused(const char *header, size_t n_data, enum nb_status want, const char *message)
{
    struct nb_str s;
    struct nb_error err = {0};
    make(&s, 1, header, n_data);
    assert_fails(open_exact(s.data, s.len, &err), want, &err, message);
    nb_str_fini(&s);
}

#define D(descr, order, shape)                                                                     \
    "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }   \n"

static void test_what_is_read(void **state)
{
    (void)state;
    const struct nb_shape scalar = {.n = 0};
    opens(D("'<f4'", "False", "(2, 3)"), 24, &nb_numfmt_f32, nb_shape_2(2, 3));
    opens(D("'<f2'", "False", "(2, 3)"), 12, &nb_numfmt_f16, nb_shape_2(2, 3));
    opens(D("'<f8'", "False", "()"), 8, &nb_numfmt_f64, scalar);
    opens(D("'|i1'", "False", "(5,)"), 5, &nb_numfmt_i8, nb_shape_1(5));
    opens(D("'|u1'", "False", "(5L,)"), 5, &nb_numfmt_u8, nb_shape_1(5));
    opens(D("'|b1'", "False", "(5,)"), 5, &nb_numfmt_bool, nb_shape_1(5));
    opens(D("'<i2'", "False", "(5,)"), 10, &nb_numfmt_i16, nb_shape_1(5));
    opens(D("'<u2'", "False", "(5,)"), 10, &nb_numfmt_u16, nb_shape_1(5));
    opens(D("'<i4'", "False", "(5,)"), 20, &nb_numfmt_i32, nb_shape_1(5));
    opens(D("'<u4'", "False", "(5,)"), 20, &nb_numfmt_u32, nb_shape_1(5));
    opens(D("'<i8'", "False", "(5,)"), 40, &nb_numfmt_i64, nb_shape_1(5));
    opens(D("'<u8'", "False", "(5,)"), 40, &nb_numfmt_u64, nb_shape_1(5));
    opens(D("'<f4'", "False", "(0, 7)"), 0, &nb_numfmt_f32, nb_shape_2(0, 7));
    opens(D("'<f4'", "True", "(3,)"), 12, &nb_numfmt_f32, nb_shape_1(3)); /* no other order */
    opens("{\"shape\":(1,2,),\"fortran_order\":False,\"descr\":\"<f4\"}", 8, &nb_numfmt_f32,
          nb_shape_2(1, 2));
}

static void test_what_is_refused(void **state)
{
    (void)state;
    const enum nb_status no = NB_ERR_UNSUPPORTED, bad = NB_ERR_FORMAT;
    refused(D("'<f4'", "True", "(2, 3)"), 24, no, "Fortran order");
    refused(D("'>f4'", "False", "(2, 3)"), 24, no, "save x.astype('<f4')");
    refused(D("'|O'", "False", "(2,)"), 24, no, "Python objects");
    refused(D("'<c8'", "False", "(3,)"), 24, no, "type '<c8'");
    refused(D("'<U2'", "False", "(3,)"), 24, no, "type '<U2'");
    refused(D("'<M8[ns]'", "False", "(3,)"), 24, no, "type '<M8[ns]'");
    refused(D("''", "False", "(3,)"), 24, no, "type ''");
    refused(D("[('a', '<f4')]", "False", "(3,)"), 12, no, "structured");
    refused(D("'<f4'", "False", "(1, 1, 1, 1, 1, 1, 1, 1, 1)"), 4, no, "8 dimensions");
    refused(D("4", "False", "(1,)"), 4, bad, "expected the type's name in quotes");
    refused(D("'<f4'", "0", "(1,)"), 4, bad, "expected True or False");
    refused(D("'<f4'", "False", "(1)"), 4, bad, "comma in a tuple of one");
    refused(D("'<f4'", "False", "(-1,)"), 4, bad, "expected a size");
    refused(D("'<f4'", "False", "(01,)"), 4, bad, "expected a size");
    refused(D("'<f4'", "False", "(1 2)"), 8, bad, "expected a size");
    refused(D("'<f4'", "False", "(18446744073709551616,)"), 8, bad, "expected a size");
    refused(D("'<f4'", "False", "(4294967296, 4294967296)"), 8, bad, "too many elements");
    refused(D("'<f4'", "False", "(3,)"), 11, bad, "takes 12 bytes, the file has 11");
    refused(D("'<f4'", "False", "(3,)"), 13, bad, "takes 12 bytes, the file has 13");
    refused(D("'<f4'", "False", "(1,)") "x", 4, bad, "nothing behind");
    refused("{'descr': '<f4', 'shape': (1,)}", 4, bad, "no 'fortran_order'");
    refused("{'descr': '<f4', 'descr': '<f4', 'shape': (1,)}", 4, bad, "key 'descr'");
    refused("{'descr': '<f4' 'shape': (1,)}", 4, bad, "expected a comma");
    refused("{'Descr': '<f4'}", 4, bad, "key 'Descr'");
    refused("[]", 4, bad, "expected '{'");
    refused("", 4, bad, "expected '{'");
}

static void test_versions_and_lengths(void **state)
{
    (void)state;
    struct nb_str s;
    struct nb_error err = {0};
    make(&s, 4, D("'<f4'", "False", "(1,)"), 4);
    assert_fails(open_exact(s.data, s.len, &err), NB_ERR_UNSUPPORTED, &err, "version 4.0");
    s.data[6] = 1;
    s.data[7] = 1;
    assert_fails(open_exact(s.data, s.len, &err), NB_ERR_UNSUPPORTED, &err, "version 1.1");
    nb_str_fini(&s);
    make(&s, 2, D("'<f4'", "False", "(1,)"), 4);
    nb_store_u32(s.data + 8, UINT32_MAX);
    assert_fails(open_exact(s.data, s.len, &err), NB_ERR_FORMAT, &err, "at most 65535");
    nb_store_u32(s.data + 8, 65535);
    assert_fails(open_exact(s.data, s.len, &err), NB_ERR_FORMAT, &err, "header ends at byte 65547");
    nb_str_fini(&s);
}

/* The text behind the magic is what NumPy 2.4 wrote for the same arrays. */
static void test_written_as_numpy_does(void **state)
{
    (void)state;
    static const struct {
        const struct nb_numfmt *type;
        struct nb_shape shape;
        const char *dict;
        size_t spaces;
    } cases[] = {
        {&nb_numfmt_f32,
         {.n = 2, .dim = {3, 4}},
         "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }",
         58},
        {&nb_numfmt_u8,
         {.n = 1, .dim = {100000}},
         "{'descr': '|u1', 'fortran_order': False, 'shape': (100000,), }",
         55},
        {&nb_numfmt_f64, {.n = 0}, "{'descr': '<f8', 'fortran_order': False, 'shape': (), }", 62},
    };
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        struct nb_writer *w;
        struct nb_error err;
        size_t n;
        const char *path = nbtest_tmp("numpy.npy");
        assert_ok(nb_writer_create(&w, &nb_container_npy, NULL, &err), &err);
        assert_ok(nb_writer_add(w, "x", cases[i].type, &cases[i].shape, &err), &err);
        assert_ok(nb_writer_begin(w, path, NB_OUT_OVERWRITE, NULL, &err), &err);
        const uint64_t bytes = w->tensors[0].bytes;
        uint8_t *zeros = calloc(1, bytes);
        assert_ok(nb_writer_append(w, zeros, bytes, &err), &err);
        assert_ok(nb_writer_commit(w, &err), &err);
        nb_writer_destroy(w);
        free(zeros);
        uint8_t *data = nbtest_read(path, &n);
        const size_t len = strlen(cases[i].dict);
        assert_int_equal(n, 128 + bytes);
        assert_memory_equal(data, "\x93NUMPY\x01\0v\0", 10);
        assert_memory_equal(data + 10, cases[i].dict, len);
        for (size_t k = 10 + len; k < 127; k++)
            assert_int_equal(data[k], ' ');
        assert_int_equal(10 + len + cases[i].spaces, 127);
        assert_int_equal(data[127], '\n');
        free(data);
    }
}

static void test_what_cannot_be_written(void **state)
{
    (void)state;
    struct nb_writer *w;
    struct nb_error err = {0};
    uint64_t bytes;
    const struct nb_shape shape = nb_shape_2(2, 256);
    assert_ok(nb_writer_create(&w, &nb_container_npy, NULL, &err), &err);
    assert_fails(nb_writer_bytes(w, NULL, &bytes, &err), NB_ERR_UNSUPPORTED, &err, "not 0");
    assert_ok(nb_writer_add(w, "a", &nb_numfmt_q4_k, &shape, &err), &err);
    assert_fails(nb_writer_bytes(w, NULL, &bytes, &err), NB_ERR_UNSUPPORTED, &err,
                 "no type for q4_k");
    assert_ok(nb_writer_add(w, "b", &nb_numfmt_f32, &shape, &err), &err);
    assert_fails(nb_writer_bytes(w, NULL, &bytes, &err), NB_ERR_UNSUPPORTED, &err, "not 2");
    nb_writer_destroy(w);
}

/* Each item type and shape there and back. */
static void test_round_trip(void **state)
{
    (void)state;
    size_t n_formats, n_held = 0;
    const struct nb_numfmt *const *formats = nb_numfmt_all(&n_formats);
    const struct nb_shape shapes[] = {{.n = 0},
                                      {.n = 1, .dim = {7}},
                                      {.n = 3, .dim = {2, 0, 4}},
                                      {.n = 8, .dim = {1, 2, 1, 3, 1, 1, 2, 1}}};
    for (size_t i = 0; i < n_formats; i++) {
        for (size_t k = 0; k < NB_COUNTOF(shapes) && formats[i]->block == 1; k++) {
            struct nb_writer *w;
            struct nb_file *f;
            struct nb_error err;
            uint64_t bytes;
            uint8_t data[128];
            const char *path = nbtest_tmp("round.npy");
            for (size_t b = 0; b < sizeof data; b++)
                data[b] = (uint8_t)(b * 37);
            assert_ok(nb_writer_create(&w, &nb_container_npy, NULL, &err), &err);
            assert_ok(nb_writer_add(w, "x", formats[i], &shapes[k], &err), &err);
            if (nb_writer_bytes(w, NULL, &bytes, &err) == NB_OK) {
                n_held += k == 0;
                assert_ok(nb_writer_begin(w, path, NB_OUT_OVERWRITE, NULL, &err), &err);
                assert_ok(nb_writer_append(w, data, w->tensors[0].bytes, &err), &err);
                assert_ok(nb_writer_commit(w, &err), &err);
                assert_ok(nb_file_open(&f, path, NULL, &err), &err);
                assert_int_equal(f->map.size, bytes);
                assert_ptr_equal(f->tensors[0].type, formats[i]);
                assert_true(nb_shape_eq(&f->tensors[0].shape, &shapes[k]));
                assert_memory_equal(f->tensors[0].data, data, f->tensors[0].bytes);
                nb_file_close(f);
            }
            nb_writer_destroy(w);
        }
    }
    assert_int_equal(n_held, 12);
}

NB_TEST_MAIN(cmocka_unit_test(test_what_is_read), cmocka_unit_test(test_what_is_refused),
             cmocka_unit_test(test_versions_and_lengths),
             cmocka_unit_test(test_written_as_numpy_does),
             cmocka_unit_test(test_what_cannot_be_written), cmocka_unit_test(test_round_trip))
