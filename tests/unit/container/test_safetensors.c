/* safetensors: what is read, and each rule of the reference parser as a case of its own. */
#include "container/container.h"
#include "support/nbtest.h"

#include <stdio.h>

/* A file of that header (as a JSON text) and n_data bytes 0, 1, 2 ... */
static void make(struct nb_str *s, const char *json, size_t n_data)
{
    uint8_t b[8];
    nb_str_init(s, NULL);
    nb_store_u64(b, strlen(json));
    nb_str_append(s, b, sizeof b);
    nb_str_puts(s, json);
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

static void opens(const char *json, size_t n_data)
{
    struct nb_str s;
    struct nb_error err = {0};
    make(&s, json, n_data);
    assert_ok(open_exact(s.data, s.len, &err), &err);
    nb_str_fini(&s);
}

static void refused(const char *json, size_t n_data, enum nb_status want, const char *message)
{
    struct nb_str s;
    struct nb_error err = {0};
    make(&s, json, n_data);
    assert_fails(open_exact(s.data, s.len, &err), want, &err, message);
    nb_str_fini(&s);
}

#define T(name, dtype, shape, begin, end)                                                          \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #begin        \
    "," #end "]}"

/* ---- what is read ---- */

static void test_reads_in_the_order_of_the_data(void **state)
{
    (void)state;
    struct nb_str s;
    struct nb_file *f;
    struct nb_error err;
    struct nb_text t;
    make(&s,
         "{" T("z", "F32", "2,3", 4, 28) "," T("empty", "F32", "0,9", 4, 4) "," T(
             "a", "F16", "2", 0,
             4) ",\"__metadata__\":{\"format\":\"pt\",\"k\":\"\\u00e9\"}," T("s", "I64", "", 28,
                                                                             36) "}  ",
         36);
    assert_ok(nb_file_open_bytes(&f, s.data, s.len, NULL, &err), &err);
    assert_string_equal(f->container->name, "safetensors");
    assert_int_equal(f->n_tensors, 4);
    assert_string_equal(f->tensors[0].name, "a");
    assert_string_equal(f->tensors[1].name, "empty");
    assert_string_equal(f->tensors[2].name, "z");
    assert_string_equal(f->tensors[3].name, "s");
    assert_int_equal(f->tensors[3].shape.n, 0);
    const struct nb_tensor *z = nb_file_find(f, "z");
    assert_true(z->shape.n == 2 && z->shape.dim[0] == 2 && z->shape.dim[1] == 3);
    assert_int_equal(z->data[0], 4);
    assert_int_equal(z->offset, f->data_offset + 4);
    assert_true(nb_meta_text(&f->meta, "format", &t) && t.n == 2);
    assert_true(nb_meta_text(&f->meta, "k", &t) && t.n == 2);
    nb_file_close(f);
    nb_str_fini(&s);
}

static void test_truncation_at_each_byte(void **state)
{
    (void)state;
    struct nb_str s;
    struct nb_error err = {0};
    make(&s, "{\"__metadata__\":{\"format\":\"pt\"}," T("a", "F32", "2", 0, 8) "}", 8);
    for (size_t n = 0; n < s.len; n++)
        assert_fails(open_exact(s.data, n, &err), NB_ERR_FORMAT, &err, NULL);
    assert_ok(open_exact(s.data, s.len, &err), &err);
    nb_str_fini(&s);
}

/* ---- the header's length ---- */

static void test_header_length(void **state)
{
    (void)state;
    struct nb_str s;
    struct nb_error err = {0};
    static const uint64_t bad[] = {100000001, UINT64_MAX, UINT64_MAX - 7, UINT64_C(1) << 63};
    for (size_t i = 0; i < NB_COUNTOF(bad); i++) {
        make(&s, "{}", 0);
        nb_store_u64(s.data, bad[i]);
        s.data[7] = (char)(bad[i] >> 56);
        const enum nb_status st = open_exact(s.data, s.len, &err);
        if (memchr(s.data, 0, 8) != NULL)
            assert_fails(st, NB_ERR_FORMAT, &err, "at most 100000000");
        else
            assert_int_not_equal(st, NB_OK); /* eight bytes of 0xFF..: no file that nibble knows */
        nb_str_fini(&s);
    }
    make(&s, "{}", 0);
    nb_store_u64(s.data, 3);
    assert_fails(open_exact(s.data, s.len, &err), NB_ERR_FORMAT, &err, "header ends at byte 11");
    nb_store_u64(s.data, 100000000);
    assert_fails(open_exact(s.data, s.len, &err), NB_ERR_FORMAT, &err, "header ends at byte");
    nb_store_u64(s.data, 0);
    assert_fails(open_exact(s.data, s.len, &err), NB_ERR_FORMAT, &err, "begin with '{'");
    nb_str_fini(&s);
}

/* ---- JSON ---- */

static void test_header_is_a_json_object(void **state)
{
    (void)state;
    opens("{}", 0);
    opens("{}      ", 0);
    refused(" {}", 0, NB_ERR_FORMAT, "begin with '{'");
    refused("[]", 0, NB_ERR_FORMAT, "begin with '{'");
    refused("{", 0, NB_ERR_FORMAT, NULL);
    refused("{}x", 0, NB_ERR_FORMAT, NULL);
    refused("{\"a\xff\":1}", 0, NB_ERR_FORMAT, NULL);
    refused("{\"a\\ud800\":1}", 0, NB_ERR_FORMAT, NULL);
    refused("{\"a\\u0000\":1}", 0, NB_ERR_FORMAT, NULL);
    refused("{\"\":{}}", 0, NB_ERR_FORMAT, "must not be empty");
}

static void test_nesting_is_limited(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    char *json = malloc(DEEP + 16);
    memcpy(json, "{\"a\":", 5);
    memset(json + 5, '[', DEEP);
    json[5 + DEEP] = '\0';
    refused(json, 0, NB_ERR_FORMAT, NULL);
    free(json);
}

static void test_duplicates(void **state)
{
    (void)state;
    refused("{" T("a", "U8", "1", 0, 1) "," T("a", "U8", "1", 1, 2) "}", 2, NB_ERR_FORMAT, NULL);
    refused("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
            NB_ERR_FORMAT, NULL);
}

static void test_metadata(void **state)
{
    (void)state;
    opens("{\"__metadata__\":{}}", 0);
    refused("{\"__metadata__\":[]}", 0, NB_ERR_FORMAT, "no object");
    refused("{\"__metadata__\":{\"a\":1}}", 0, NB_ERR_FORMAT, "'a' is no string");
    refused("{\"__metadata__\":{\"a\":null}}", 0, NB_ERR_FORMAT, "'a' is no string");
    refused("{\"__metadata__\":{\"\":\"x\"}}", 0, NB_ERR_FORMAT, "must not be empty");
}

/* ---- entries ---- */

static void test_entries(void **state)
{
    (void)state;
    refused("{\"a\":1}", 0, NB_ERR_FORMAT, "tensor 'a': the entry is no object");
    refused("{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, NB_ERR_FORMAT, "2 fields");
    refused("{\"a\":{\"type\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, NB_ERR_FORMAT,
            "no 'dtype'");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":1,\"data_offsets\":[0,1]}}", 1, NB_ERR_FORMAT,
            "no 'shape'");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, NB_ERR_FORMAT,
            "'data_offsets'");
    refused("{" T("a\\n\\u001b[1m", "U8", "1", 0, 9) "}", 9, NB_ERR_FORMAT,
            "tensor 'a\\x0a\\x1b[1m'");
}

static void test_dtypes(void **state)
{
    (void)state;
    refused("{" T("a", "Q9", "1", 0, 1) "}", 1, NB_ERR_FORMAT, "unknown dtype 'Q9'");
    refused("{" T("a", "U8\\u0000", "1", 0, 1) "}", 1, NB_ERR_FORMAT, "unknown dtype 'U8\\x00'");
    refused("{" T("a", "f32", "1", 0, 4) "}", 4, NB_ERR_FORMAT, "unknown dtype 'f32'");
    refused("{" T("a", "C64", "1", 0, 8) "}", 8, NB_ERR_UNSUPPORTED, "dtype C64");
    opens("{" T("a", "BF16", "1", 0, 2) "}", 2);
    opens("{" T("a", "BOOL", "3", 0, 3) "}", 3);
}

static void test_numbers(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "-1", "1.0", "1e0", "\"1\"", "null", "18446744073709551616", "9223372036854775808"};
    for (size_t i = 0; i < NB_COUNTOF(bad); i++) {
        char json[200];
        snprintf(json, sizeof json,
                 "{\"a\":{\"dtype\":\"U8\",\"shape\":[%s],\"data_offsets\":[0,1]}}", bad[i]);
        refused(json, 1, NB_ERR_FORMAT, NULL);
        snprintf(json, sizeof json,
                 "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%s,1]}}", bad[i]);
        refused(json, 1, NB_ERR_FORMAT, NULL);
        snprintf(json, sizeof json,
                 "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,%s]}}", bad[i]);
        refused(json, 1, NB_ERR_FORMAT, NULL);
    }
}

static void test_shapes(void **state)
{
    (void)state;
    refused("{" T("a", "U8", "4294967296,4294967296", 0, 0) "}", 0, NB_ERR_FORMAT, "2^63");
    refused("{" T("a", "F32", "4611686018427387904", 0, 0) "}", 0, NB_ERR_FORMAT, "2^64 bytes");
    refused("{" T("a", "U8", "4611686018427387904,4,0", 0, 0) "}", 0, NB_ERR_FORMAT, "2^63");
    refused("{" T("a", "U8", "1,1,1,1,1,1,1,1,1", 0, 1) "}", 1, NB_ERR_UNSUPPORTED, "9 dimensions");
    opens("{" T("a", "U8", "1,1,1,1,1,1,1,1", 0, 1) "}", 1);
    opens("{" T("a", "F64", "", 0, 8) "}", 8);
    opens("{" T("a", "F64", "0", 0, 0) "}", 0);
}

static void test_offsets(void **state)
{
    (void)state;
    refused("{" T("a", "U8", "1", 1, 0) "}", 1, NB_ERR_FORMAT, "after its end");
    refused("{" T("a", "U8", "2", 0, 2) "}", 1, NB_ERR_FORMAT, "the buffer has 1 bytes");
    refused("{" T("a", "U8", "2", 0, 9223372036854775807) "}", 1, NB_ERR_FORMAT,
            "the buffer has 1");
    refused("{" T("a", "U8", "1", 0, 2) "}", 2, NB_ERR_FORMAT, "data of 2 bytes, expected 1");
    refused("{" T("a", "F32", "1", 0, 2) "}", 2, NB_ERR_FORMAT, "data of 2 bytes, expected 4");
}

static void test_the_buffer_is_covered_once(void **state)
{
    (void)state;
    refused("{" T("a", "U8", "1", 1, 2) "}", 2, NB_ERR_FORMAT, "'a': data begins at 1, expected 0");
    refused("{" T("a", "U8", "1", 0, 1) "," T("b", "U8", "1", 2, 3) "}", 3, NB_ERR_FORMAT,
            "a hole");
    refused("{" T("a", "U8", "2", 0, 2) "," T("b", "U8", "2", 1, 3) "}", 3, NB_ERR_FORMAT,
            "an overlap");
    refused("{" T("a", "U8", "2", 0, 2) "," T("b", "U8", "2", 0, 2) "}", 2, NB_ERR_FORMAT,
            "an overlap");
    refused("{" T("a", "U8", "1", 0, 1) "}", 2, NB_ERR_FORMAT,
            "tensors end at 1, the buffer has 2 bytes");
    refused("{}", 1, NB_ERR_FORMAT, "tensors end at 0");
}

/* Many tensors in the reverse order of their data: the sort is a sort. */
static void test_many_tensors_out_of_order(void **state)
{
    (void)state;
    enum { N = 777 };
    struct nb_str json, s;
    struct nb_file *f;
    struct nb_error err;
    nb_str_init(&json, NULL);
    for (int i = 0; i < N; i++) {
        const int at = (i * 331) % N; /* a permutation: gcd(331, 777) = 1 */
        nb_str_printf(&json,
                      "%s\"t%03d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}",
                      i == 0 ? "{" : ",", at, at, at + 1);
    }
    nb_str_puts(&json, "}");
    make(&s, json.data, N);
    assert_ok(nb_file_open_bytes(&f, s.data, s.len, NULL, &err), &err);
    for (size_t i = 0; i < N; i++) {
        char name[8];
        snprintf(name, sizeof name, "t%03d", (int)i);
        assert_string_equal(f->tensors[i].name, name);
        assert_int_equal(*nb_file_find(f, name)->data, i & 0xFF);
    }
    nb_file_close(f);
    nb_str_fini(&s);
    nb_str_fini(&json);
}

NB_TEST_MAIN(cmocka_unit_test(test_reads_in_the_order_of_the_data),
             cmocka_unit_test(test_truncation_at_each_byte), cmocka_unit_test(test_header_length),
             cmocka_unit_test(test_header_is_a_json_object),
             cmocka_unit_test(test_nesting_is_limited), cmocka_unit_test(test_duplicates),
             cmocka_unit_test(test_metadata), cmocka_unit_test(test_entries),
             cmocka_unit_test(test_dtypes), cmocka_unit_test(test_numbers),
             cmocka_unit_test(test_shapes), cmocka_unit_test(test_offsets),
             cmocka_unit_test(test_the_buffer_is_covered_once),
             cmocka_unit_test(test_many_tensors_out_of_order))
