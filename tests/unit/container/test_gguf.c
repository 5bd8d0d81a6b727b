/* GGUF: what is read, and each rule of the reference loader as a case of its own. */
#include "container/container.h"
#include "support/nbtest.h"

#include <stdio.h>

/* ---- bytes by hand ---- */

static void u8(struct nb_str *s, unsigned v)
{
    const uint8_t b = (uint8_t)v;
    nb_str_append(s, &b, 1);
}

static void u32(struct nb_str *s, uint32_t v)
{
    uint8_t b[4];
    nb_store_u32(b, v);
    nb_str_append(s, b, sizeof b);
}

static void u64(struct nb_str *s, uint64_t v)
{
    uint8_t b[8];
    nb_store_u64(b, v);
    nb_str_append(s, b, sizeof b);
}

static void text(struct nb_str *s, const char *t)
{
    u64(s, strlen(t));
    nb_str_puts(s, t);
}

static void head(struct nb_str *s, uint32_t version, uint64_t n_tensors, uint64_t n_kv)
{
    nb_str_init(s, NULL);
    nb_str_puts(s, "GGUF");
    u32(s, version);
    u64(s, n_tensors);
    u64(s, n_kv);
}

static void tensor(struct nb_str *s, const char *name, uint64_t ne0, uint64_t ne1, uint32_t type,
                   uint64_t offset)
{
    text(s, name);
    u32(s, 2);
    u64(s, ne0);
    u64(s, ne1);
    u32(s, type);
    u64(s, offset);
}

static void zeros(struct nb_str *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        u8(s, 0);
}

static void pad(struct nb_str *s, size_t align)
{
    while (s->len % align != 0)
        u8(s, 0);
}

/* Opens a copy of exactly that size, so that a sanitizer sees a read past its end. */
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

static void refused(struct nb_str *s, enum nb_status want, const char *message)
{
    struct nb_error err = {0};
    assert_false(s->failed);
    assert_fails(open_exact(s->data, s->len, &err), want, &err, message);
    nb_str_fini(s);
}

/* A key of every type, three tensors. Returns the length of the header with its padding. */
static size_t good(struct nb_str *s, uint32_t version)
{
    head(s, version, 3, 14);
    text(s, "a.u8"), u32(s, 0), u8(s, 200);
    text(s, "a.i8"), u32(s, 1), u8(s, 0x80);
    text(s, "a.u16"), u32(s, 2), u8(s, 0x34), u8(s, 0x12);
    text(s, "a.i16"), u32(s, 3), u8(s, 0xFF), u8(s, 0xFF);
    text(s, "a.u32"), u32(s, 4), u32(s, 0xFFFFFFFF);
    text(s, "a.i32"), u32(s, 5), u32(s, 0xFFFFFFFE);
    text(s, "a.f32"), u32(s, 6), u32(s, nb_f32_bits(1.5f));
    text(s, "a.bool"), u32(s, 7), u8(s, 1);
    text(s, "a.text"), u32(s, 8), text(s, "hello");
    text(s, "a.u64"), u32(s, 10), u64(s, UINT64_MAX);
    text(s, "a.i64"), u32(s, 11), u64(s, (uint64_t)-5);
    text(s, "a.f64"), u32(s, 12), u64(s, 0x3FF8000000000000);
    text(s, "a.i32s"), u32(s, 9), u32(s, 5), u64(s, 2), u32(s, 7), u32(s, 0xFFFFFFFF);
    text(s, "a.texts"), u32(s, 9), u32(s, 8), u64(s, 3), text(s, "x"), text(s, ""), text(s, "yz");
    tensor(s, "w", 3, 2, 0, 0);                       /* 24 bytes of f32 */
    tensor(s, "q", 32, 1, 8, 32);                     /* 34 bytes of q8_0 */
    text(s, "one"), u32(s, 0), u32(s, 1), u64(s, 96); /* a scalar of f16 */
    pad(s, 32);
    const size_t header = s->len;
    for (unsigned i = 0; i < 6; i++)
        u32(s, nb_f32_bits((float)i));
    pad(s, 32);
    zeros(s, 34);
    pad(s, 32);
    u8(s, 0x00), u8(s, 0x3C);
    return header;
}

/* ---- what is read ---- */

static void check_numbers(const struct nb_meta *m)
{
    uint32_t u;
    float f;
    bool b;
    int64_t i;
    assert_true(nb_meta_u32(m, "a.u8", &u) && u == 200);
    assert_true(nb_meta_u32(m, "a.u16", &u) && u == 0x1234);
    assert_true(nb_meta_u32(m, "a.u32", &u) && u == UINT32_MAX);
    assert_false(nb_meta_u32(m, "a.i32", &u));
    assert_false(nb_meta_u32(m, "a.u64", &u));
    assert_true(nb_meta_item_i64(nb_meta_find(m, "a.i8"), 0, &i) && i == -128);
    assert_true(nb_meta_item_i64(nb_meta_find(m, "a.i16"), 0, &i) && i == -1);
    assert_true(nb_meta_item_i64(nb_meta_find(m, "a.i32"), 0, &i) && i == -2);
    assert_true(nb_meta_item_i64(nb_meta_find(m, "a.i64"), 0, &i) && i == -5);
    assert_false(nb_meta_item_i64(nb_meta_find(m, "a.u64"), 0, &i));
    assert_true(nb_meta_find(m, "a.u64")->v.u == UINT64_MAX);
    assert_true(nb_meta_f32(m, "a.f32", &f) && f == 1.5f);
    assert_true(nb_meta_f32(m, "a.f64", &f) && f == 1.5f);
    assert_true(nb_meta_bool(m, "a.bool", &b) && b);
    assert_false(nb_meta_bool(m, "a.u8", &b));
}

static void check_arrays(const struct nb_meta *m)
{
    int64_t i;
    struct nb_text t;
    const struct nb_meta_kv *kv = nb_meta_find(m, "a.i32s");
    assert_true(kv->n == 2 && kv->item == NB_META_I32);
    assert_true(nb_meta_item_i64(kv, 0, &i) && i == 7);
    assert_true(nb_meta_item_i64(kv, 1, &i) && i == -1);
    assert_false(nb_meta_item_i64(kv, 2, &i));
    kv = nb_meta_find(m, "a.texts");
    const struct nb_text *items = kv->v.items;
    assert_int_equal(kv->n, 3);
    assert_int_equal(items[1].n, 0);
    assert_memory_equal(items[2].s, "yz", 2);
    assert_true(nb_meta_text(m, "a.text", &t) && t.n == 5);
    assert_memory_equal(t.s, "hello", 5);
    assert_false(nb_meta_text(m, "a.u8", &t));
}

static void check_tensors(const struct nb_file *f, size_t header)
{
    float x[6];
    assert_int_equal(f->n_tensors, 3);
    assert_int_equal(f->data_offset, header);
    const struct nb_tensor *w = nb_file_find(f, "w");
    assert_true(w == &f->tensors[0] && w->type == nb_numfmt_find("f32"));
    assert_true(w->shape.n == 2 && w->shape.dim[0] == 2 && w->shape.dim[1] == 3);
    assert_int_equal(w->offset, header);
    nb_numfmt_decode(w->type, w->data, x, 6);
    assert_true(x[0] == 0.0f && x[5] == 5.0f);
    assert_int_equal(nb_file_find(f, "q")->bytes, 34);
    const struct nb_tensor *one = nb_file_find(f, "one");
    assert_int_equal(one->shape.n, 0);
    assert_int_equal(one->bytes, 2);
    nb_numfmt_decode(one->type, one->data, x, 1);
    assert_true(x[0] == 1.0f);
    assert_null(nb_file_find(f, "two"));
}

static void test_reads_everything(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        struct nb_str s;
        struct nb_file *f;
        struct nb_error err;
        const size_t header = good(&s, version);
        assert_ok(nb_file_open_bytes(&f, s.data, s.len, NULL, &err), &err);
        assert_int_equal(f->version, version);
        assert_string_equal(f->container->name, "gguf");
        check_numbers(&f->meta);
        check_arrays(&f->meta);
        check_tensors(f, header);
        nb_file_close(f);
        nb_str_fini(&s);
    }
}

/* Every prefix is refused, up to the last byte of the last tensor. */
static void test_truncation_at_each_byte(void **state)
{
    (void)state;
    struct nb_str s;
    struct nb_error err = {0};
    good(&s, 3);
    for (size_t n = 0; n < s.len; n++)
        assert_fails(open_exact(s.data, n, &err), NB_ERR_FORMAT, &err, NULL);
    assert_ok(open_exact(s.data, s.len, &err), &err);
    nb_str_fini(&s);
}

static void test_padding_after_the_last_tensor_is_optional(void **state)
{
    (void)state;
    struct nb_str s;
    struct nb_error err = {0};
    good(&s, 3);
    pad(&s, 32);
    assert_ok(open_exact(s.data, s.len, &err), &err);
    nb_str_fini(&s);
}

static void test_metadata_alone(void **state)
{
    (void)state;
    struct nb_str s;
    struct nb_error err = {0};
    head(&s, 3, 0, 1);
    text(&s, "k"), u32(&s, 7), u8(&s, 0);
    assert_ok(open_exact(s.data, s.len, &err), &err);
    nb_str_fini(&s);
}

/* ---- the head ---- */

static void test_versions(void **state)
{
    (void)state;
    struct nb_str s;
    head(&s, 0, 0, 0), refused(&s, NB_ERR_UNSUPPORTED, "version 0");
    head(&s, 1, 0, 0), refused(&s, NB_ERR_UNSUPPORTED, "version 1");
    head(&s, 4, 0, 0), refused(&s, NB_ERR_UNSUPPORTED, "version 4");
    head(&s, 0x03000000, 0, 0), refused(&s, NB_ERR_UNSUPPORTED, "big-endian");
}

static void test_counts_that_cannot_fit(void **state)
{
    (void)state;
    struct nb_str s;
    head(&s, 3, 0, UINT64_MAX), refused(&s, NB_ERR_FORMAT, "key-values cannot fit");
    head(&s, 3, UINT64_MAX, 0), refused(&s, NB_ERR_FORMAT, "tensors cannot fit");
    head(&s, 3, 0, 3), zeros(&s, 41), refused(&s, NB_ERR_FORMAT, "3 key-values cannot fit in 41");
    head(&s, 3, 2, 0), zeros(&s, 49), refused(&s, NB_ERR_FORMAT, "2 tensors cannot fit in 49");
}

/* ---- key-values ---- */

static void test_keys(void **state)
{
    (void)state;
    struct nb_str s;
    head(&s, 3, 0, 1), text(&s, ""), u32(&s, 4), u64(&s, 0), refused(&s, NB_ERR_FORMAT, "is empty");
    head(&s, 3, 0, 2);
    text(&s, "same"), u32(&s, 4), u32(&s, 1);
    text(&s, "same"), u32(&s, 4), u32(&s, 2);
    refused(&s, NB_ERR_FORMAT, "key 'same' at byte 44 appears twice");
    head(&s, 3, 0, 1), u64(&s, 3), nb_str_append(&s, "a\0b", 3), u32(&s, 4), u32(&s, 0);
    refused(&s, NB_ERR_FORMAT, "zero byte");
    head(&s, 3, 0, 1), u64(&s, UINT64_MAX), zeros(&s, 8), refused(&s, NB_ERR_FORMAT, "2^30");
    head(&s, 3, 0, 1), u64(&s, 1 << 30), zeros(&s, 8), refused(&s, NB_ERR_FORMAT, "ends at byte");
}

static void test_names_in_messages_are_printable(void **state)
{
    (void)state;
    struct nb_str s;
    head(&s, 3, 0, 2);
    text(&s, "a\n\x1b[31m"), u32(&s, 4), u32(&s, 1);
    text(&s, "a\n\x1b[31m"), u32(&s, 4), u32(&s, 1);
    refused(&s, NB_ERR_FORMAT, "key 'a\\x0a\\x1b[31m'");
    head(&s, 3, 1, 0);
    tensor(&s, "a\rb", 1, 1, 99, 0);
    refused(&s, NB_ERR_UNSUPPORTED, "tensor 'a\\x0db'");
}

static void test_values(void **state)
{
    (void)state;
    struct nb_str s;
    head(&s, 3, 0, 1), text(&s, "k"), u32(&s, 13), zeros(&s, 8);
    refused(&s, NB_ERR_FORMAT, "key 'k': unknown value type 13");
    head(&s, 3, 0, 1), text(&s, "k"), u32(&s, 7), u8(&s, 2), refused(&s, NB_ERR_FORMAT, "bool");
    head(&s, 3, 0, 1), text(&s, "k"), u32(&s, 8), u64(&s, 100);
    refused(&s, NB_ERR_FORMAT, "key 'k': string ends at byte 145");
}

static void array(struct nb_str *s, uint32_t item, uint64_t n, size_t bytes)
{
    head(s, 3, 0, 1), text(s, "k"), u32(s, 9), u32(s, item), u64(s, n), zeros(s, bytes);
}

static void test_arrays(void **state)
{
    (void)state;
    struct nb_str s;
    array(&s, 9, 1, 64), refused(&s, NB_ERR_UNSUPPORTED, "array of arrays");
    array(&s, 13, 1, 64), refused(&s, NB_ERR_FORMAT, "unknown item type 13");
    array(&s, 4, UINT64_MAX, 64), refused(&s, NB_ERR_FORMAT, "where 64 bytes are left");
    array(&s, 4, (UINT64_MAX / 4) + 2, 64), refused(&s, NB_ERR_FORMAT, "where 64 bytes");
    array(&s, 4, 17, 64), refused(&s, NB_ERR_FORMAT, "17 items");
    array(&s, 8, UINT64_MAX / 16 + 1, 64), refused(&s, NB_ERR_FORMAT, "where 64 bytes");
    array(&s, 8, 9, 64), refused(&s, NB_ERR_FORMAT, "9 items");
    array(&s, 8, 1, 0), refused(&s, NB_ERR_FORMAT, "1 items");
    array(&s, 7, 1, 0), u8(&s, 3), refused(&s, NB_ERR_FORMAT, "expected a bool");
    array(&s, 7, 0, 0), u8(&s, 3);
    struct nb_error err = {0};
    assert_ok(open_exact(s.data, s.len, &err),
              &err); /* an empty array, and a byte nobody asks for */
    nb_str_fini(&s);
}

static void test_alignment(void **state)
{
    (void)state;
    struct nb_str s;
    head(&s, 3, 0, 1), text(&s, "general.alignment"), u32(&s, 4), u32(&s, 0);
    refused(&s, NB_ERR_FORMAT, "power of two");
    head(&s, 3, 0, 1), text(&s, "general.alignment"), u32(&s, 4), u32(&s, 48);
    refused(&s, NB_ERR_FORMAT, "48 is no power of two");
    head(&s, 3, 0, 1), text(&s, "general.alignment"), u32(&s, 10), u64(&s, 32);
    refused(&s, NB_ERR_FORMAT, "value type 10, expected 4");
    struct nb_error err = {0};
    head(&s, 3, 2, 1), text(&s, "general.alignment"), u32(&s, 4), u32(&s, 8);
    tensor(&s, "a", 1, 1, 0, 0), tensor(&s, "b", 1, 1, 0, 8);
    pad(&s, 8), zeros(&s, 12);
    assert_ok(open_exact(s.data, s.len, &err), &err);
    nb_str_fini(&s);
}

/* ---- tensors ---- */

/* One tensor in a file with plenty of bytes behind. */
static void lone(struct nb_str *s, const char *name, uint64_t ne0, uint64_t ne1, uint32_t type,
                 uint64_t offset)
{
    head(s, 3, 1, 0);
    tensor(s, name, ne0, ne1, type, offset);
    pad(s, 32);
    zeros(s, 256);
}

static void test_tensor_names(void **state)
{
    (void)state;
    struct nb_str s;
    char name[65] = {0};
    struct nb_error err = {0};
    lone(&s, "", 1, 1, 0, 0), refused(&s, NB_ERR_FORMAT, "is empty");
    memset(name, 'n', 63);
    lone(&s, name, 1, 1, 0, 0);
    assert_ok(open_exact(s.data, s.len, &err), &err);
    nb_str_fini(&s);
    name[63] = 'n';
    lone(&s, name, 1, 1, 0, 0), refused(&s, NB_ERR_FORMAT, "64 bytes, at most 63");
    head(&s, 3, 2, 0), tensor(&s, "t", 1, 1, 0, 0), tensor(&s, "t", 1, 1, 0, 32), pad(&s, 32);
    zeros(&s, 64), refused(&s, NB_ERR_FORMAT, "tensor 't' appears twice");
}

static void test_tensor_shapes(void **state)
{
    (void)state;
    struct nb_str s;
    const uint64_t big = UINT64_C(1) << 32;
    head(&s, 3, 1, 0), text(&s, "t"), u32(&s, 5), zeros(&s, 64);
    refused(&s, NB_ERR_FORMAT, "tensor 't': 5 dimensions");
    lone(&s, "t", big, big, 0, 0), refused(&s, NB_ERR_FORMAT, "passes 2^63");
    lone(&s, "t", UINT64_C(1) << 63, 1, 0, 0), refused(&s, NB_ERR_FORMAT, "passes 2^63");
    lone(&s, "t", UINT64_C(1) << 63, 0, 0, 0), refused(&s, NB_ERR_FORMAT, "passes 2^63");
    lone(&s, "t", big, big / 4, 0, 0), refused(&s, NB_ERR_FORMAT, "more than 2^64 bytes");
    lone(&s, "t", 33, 1, 8, 0), refused(&s, NB_ERR_FORMAT, "row of 33 elements");
    lone(&s, "t", 16, 2, 8, 0), refused(&s, NB_ERR_FORMAT, "row of 16 elements");
    lone(&s, "t", big, 1, 0, 0), refused(&s, NB_ERR_FORMAT, "17179869184 bytes at byte");
}

static void test_an_empty_tensor_is_legal(void **state)
{
    (void)state;
    struct nb_str s;
    struct nb_error err = {0};
    lone(&s, "t", 0, 7, 0, 0);
    assert_ok(open_exact(s.data, s.len, &err), &err);
    nb_str_fini(&s);
}

static void test_tensor_types(void **state)
{
    (void)state;
    struct nb_str s;
    static const uint32_t ids[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, 137, 0x7FFFFFFF};
    for (size_t i = 0; i < NB_COUNTOF(ids); i++) {
        char want[64];
        snprintf(want, sizeof want, "tensor 't': ggml type %u ", ids[i]);
        lone(&s, "t", 256, 1, ids[i], 0), refused(&s, NB_ERR_UNSUPPORTED, want);
    }
    lone(&s, "t", 256, 1, UINT32_MAX, 0), refused(&s, NB_ERR_UNSUPPORTED, "ggml type -1 ");
}

static void test_tensor_offsets(void **state)
{
    (void)state;
    struct nb_str s;
    lone(&s, "t", 1, 1, 0, 32), refused(&s, NB_ERR_FORMAT, "tensor 't': offset 32, expected 0");
    head(&s, 3, 2, 0), tensor(&s, "a", 1, 1, 0, 0), tensor(&s, "b", 1, 1, 0, 64), zeros(&s, 200);
    refused(&s, NB_ERR_FORMAT, "tensor 'b': offset 64, expected 32"); /* a hole */
    head(&s, 3, 2, 0), tensor(&s, "a", 1, 1, 0, 0), tensor(&s, "b", 1, 1, 0, 0), zeros(&s, 200);
    refused(&s, NB_ERR_FORMAT, "tensor 'b': offset 0, expected 32"); /* an overlap */
    head(&s, 3, 2, 0), tensor(&s, "a", 1, 1, 0, 0), tensor(&s, "b", 1, 1, 0, 4), zeros(&s, 200);
    refused(&s, NB_ERR_FORMAT, "padded to 32");
    head(&s, 3, 3, 0);
    tensor(&s, "a", UINT64_C(1) << 61, 1, 24, 0);
    tensor(&s, "b", UINT64_C(7) << 61, 1, 24, UINT64_C(1) << 61), zeros(&s, 200);
    refused(&s, NB_ERR_FORMAT, "passes 2^63");
    /* Sizes that fit one by one, and whose sum does not. */
    head(&s, 3, 3, 0);
    tensor(&s, "a", INT64_MAX - 31, 1, 24, 0);
    tensor(&s, "b", INT64_MAX - 31, 1, 24, INT64_MAX - 31);
    tensor(&s, "c", INT64_MAX - 31, 1, 24, UINT64_MAX - 63), zeros(&s, 200);
    refused(&s, NB_ERR_FORMAT, "pass 2^64");
}

NB_TEST_MAIN(cmocka_unit_test(test_reads_everything),
             cmocka_unit_test(test_truncation_at_each_byte),
             cmocka_unit_test(test_padding_after_the_last_tensor_is_optional),
             cmocka_unit_test(test_metadata_alone), cmocka_unit_test(test_versions),
             cmocka_unit_test(test_counts_that_cannot_fit), cmocka_unit_test(test_keys),
             cmocka_unit_test(test_names_in_messages_are_printable), cmocka_unit_test(test_values),
             cmocka_unit_test(test_arrays), cmocka_unit_test(test_alignment),
             cmocka_unit_test(test_tensor_names), cmocka_unit_test(test_tensor_shapes),
             cmocka_unit_test(test_an_empty_tensor_is_legal), cmocka_unit_test(test_tensor_types),
             cmocka_unit_test(test_tensor_offsets))
