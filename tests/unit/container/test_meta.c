/* Metadata: setters copy and replace, getters convert exactly or not at all, files keep every type. */
#include "container/container.h"
#include "support/nbtest.h"

#include <math.h>

static void test_set_replace_remove(void **state)
{
    (void)state;
    struct nb_meta m;
    struct nb_text t;
    uint32_t u;
    char text[] = "value";
    nb_meta_init(&m, NULL);
    assert_int_equal(nb_meta_set_u32(&m, "a", 1), NB_OK);
    assert_int_equal(nb_meta_set_text(&m, "b", text, 5), NB_OK);
    assert_int_equal(nb_meta_set_bool(&m, "c", true), NB_OK);
    memset(text, 'x', 5); /* setters copy */
    assert_true(nb_meta_text(&m, "b", &t));
    assert_memory_equal(t.s, "value", 5);
    assert_int_equal(nb_meta_set_u32(&m, "b", 7), NB_OK); /* replaced in place, type and all */
    assert_int_equal(m.n, 3);
    assert_string_equal(m.kv[1].key, "b");
    assert_true(nb_meta_u32(&m, "b", &u) && u == 7);
    assert_false(nb_meta_text(&m, "b", &t));
    nb_meta_remove(&m, "a");
    nb_meta_remove(&m, "nobody");
    assert_int_equal(m.n, 2);
    assert_null(nb_meta_find(&m, "a"));
    assert_string_equal(m.kv[0].key, "b");
    assert_int_equal(nb_meta_set_u32(&m, "", 1), NB_ERR_ARG);
    nb_meta_fini(&m);
}

static void test_exact_conversion_or_none(void **state)
{
    (void)state;
    struct nb_meta m;
    uint32_t u;
    float f;
    bool b;
    int64_t i;
    double d;
    nb_meta_init(&m, NULL);
    const struct nb_meta_kv negative = {.key = "neg", .type = NB_META_I64, .n = 1, .v.i = -1};
    const struct nb_meta_kv wide = {.key = "wide", .type = NB_META_U64, .n = 1, .v.u = 1ULL << 32};
    const struct nb_meta_kv dbl = {.key = "dbl", .type = NB_META_F64, .n = 1, .v.f = 1e-6};
    assert_int_equal(nb_meta_set_kv(&m, &negative), NB_OK);
    assert_int_equal(nb_meta_set_kv(&m, &wide), NB_OK);
    assert_int_equal(nb_meta_set_kv(&m, &dbl), NB_OK);
    assert_int_equal(nb_meta_set_bool(&m, "yes", true), NB_OK);
    assert_false(nb_meta_u32(&m, "neg", &u));
    assert_false(nb_meta_u32(&m, "wide", &u));
    assert_false(nb_meta_u32(&m, "dbl", &u));
    assert_false(nb_meta_u32(&m, "yes", &u));
    assert_false(nb_meta_f32(&m, "wide", &f));
    assert_true(nb_meta_f32(&m, "dbl", &f) && f == 1e-6f);
    assert_false(nb_meta_bool(&m, "wide", &b));
    assert_true(nb_meta_item_i64(nb_meta_find(&m, "wide"), 0, &i) && i == 1LL << 32);
    assert_false(nb_meta_item_i64(nb_meta_find(&m, "wide"), 1, &i));
    assert_true(nb_meta_item_f64(nb_meta_find(&m, "dbl"), 0, &d) && d == 1e-6);
    assert_false(nb_meta_item_f64(nb_meta_find(&m, "wide"), 0, &d));
    assert_false(nb_meta_u32(&m, "absent", &u) || nb_meta_f32(&m, "absent", &f));
    nb_meta_fini(&m);
}

static void test_arrays_copy(void **state)
{
    (void)state;
    struct nb_meta m;
    int64_t i;
    double d;
    int16_t numbers[3] = {-1, 0, 32767};
    const float floats[2] = {0.5f, -INFINITY};
    char s[] = "one";
    struct nb_text texts[2] = {{s, 3}, {"", 0}};
    nb_meta_init(&m, NULL);
    assert_int_equal(nb_meta_set_array(&m, "n", NB_META_I16, numbers, 3), NB_OK);
    assert_int_equal(nb_meta_set_array(&m, "f", NB_META_F32, floats, 2), NB_OK);
    assert_int_equal(nb_meta_set_array(&m, "none", NB_META_F64, NULL, 0), NB_OK);
    assert_int_equal(nb_meta_set_texts(&m, "t", texts, 2), NB_OK);
    assert_int_equal(nb_meta_set_array(&m, "x", NB_META_STRING, texts, 2), NB_ERR_ARG);
    numbers[0] = 5;
    s[0] = 'x';
    assert_true(nb_meta_item_i64(nb_meta_find(&m, "n"), 0, &i) && i == -1);
    assert_true(nb_meta_item_i64(nb_meta_find(&m, "n"), 2, &i) && i == 32767);
    assert_false(nb_meta_item_i64(nb_meta_find(&m, "n"), 3, &i));
    assert_true(nb_meta_item_f64(nb_meta_find(&m, "f"), 1, &d) && d == -INFINITY);
    assert_false(nb_meta_item_f64(nb_meta_find(&m, "none"), 0, &d));
    const struct nb_text *t = nb_meta_find(&m, "t")->v.items;
    assert_memory_equal(t[0].s, "one", 3);
    assert_int_equal(t[1].n, 0);
    nb_meta_fini(&m);
}

/* Every type with extreme values, through a GGUF file and back. */
static void fill_all(struct nb_meta *m)
{
    static const struct nb_meta_kv all[] = {
        {.key = "u8", .type = NB_META_U8, .n = 1, .v.u = UINT8_MAX},
        {.key = "i8", .type = NB_META_I8, .n = 1, .v.i = INT8_MIN},
        {.key = "u16", .type = NB_META_U16, .n = 1, .v.u = UINT16_MAX},
        {.key = "i16", .type = NB_META_I16, .n = 1, .v.i = INT16_MIN},
        {.key = "u32", .type = NB_META_U32, .n = 1, .v.u = UINT32_MAX},
        {.key = "i32", .type = NB_META_I32, .n = 1, .v.i = INT32_MIN},
        {.key = "u64", .type = NB_META_U64, .n = 1, .v.u = UINT64_MAX},
        {.key = "i64", .type = NB_META_I64, .n = 1, .v.i = INT64_MIN},
        {.key = "f32", .type = NB_META_F32, .n = 1, .v.f = -0.0},
        {.key = "f64", .type = NB_META_F64, .n = 1, .v.f = 0x1.fffffffffffffp-1000},
        {.key = "no", .type = NB_META_BOOL, .n = 1, .v.u = 0},
        {.key = "yes", .type = NB_META_BOOL, .n = 1, .v.u = 1},
        {.key = "text", .type = NB_META_STRING, .n = 1, .v.text = {"a\0b", 3}},
    };
    static const uint64_t words[] = {0, UINT64_MAX, 1};
    for (size_t i = 0; i < NB_COUNTOF(all); i++)
        assert_int_equal(nb_meta_set_kv(m, &all[i]), NB_OK);
    for (enum nb_meta_type t = NB_META_U8; t <= NB_META_F64; t++) {
        char key[] = "array.a";
        key[6] = (char)('a' + (int)t);
        if (nb_meta_type_bytes(t) > 0 && t != NB_META_BOOL)
            assert_int_equal(nb_meta_set_array(m, key, t, words, 3), NB_OK);
    }
    const uint8_t flags[] = {0, 1, 1};
    const struct nb_text texts[] = {{"", 0}, {"\0", 1}, {"x y", 3}};
    assert_int_equal(nb_meta_set_array(m, "flags", NB_META_BOOL, flags, 3), NB_OK);
    assert_int_equal(nb_meta_set_array(m, "empty", NB_META_I32, NULL, 0), NB_OK);
    assert_int_equal(nb_meta_set_texts(m, "texts", texts, 3), NB_OK);
    assert_int_equal(nb_meta_set_texts(m, "no texts", NULL, 0), NB_OK);
}

static void assert_same_kv(const struct nb_meta_kv *a, const struct nb_meta_kv *b)
{
    assert_string_equal(a->key, b->key);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->n, b->n);
    if (a->type == NB_META_STRING) {
        assert_int_equal(a->v.text.n, b->v.text.n);
        assert_memory_equal(a->v.text.s, b->v.text.s, a->v.text.n);
    } else if (a->type != NB_META_ARRAY) {
        assert_memory_equal(&a->v.u, &b->v.u, sizeof a->v.u);
    } else if (a->item == NB_META_STRING) {
        const struct nb_text *x = a->v.items, *y = b->v.items;
        for (uint64_t i = 0; i < a->n; i++) {
            assert_int_equal(x[i].n, y[i].n);
            assert_memory_equal(x[i].s, y[i].s, x[i].n);
        }
    } else {
        assert_int_equal(a->item, b->item);
        assert_memory_equal(a->v.items, b->v.items, a->n * nb_meta_type_bytes(a->item));
    }
}

static void test_gguf_keeps_every_type(void **state)
{
    (void)state;
    struct nb_meta m;
    struct nb_writer *w;
    struct nb_file *f;
    struct nb_error err;
    nb_meta_init(&m, NULL);
    fill_all(&m);
    assert_ok(nb_writer_create(&w, &nb_container_gguf, NULL, &err), &err);
    assert_ok(nb_writer_begin(w, nbtest_tmp("m.gguf"), 0, &m, &err), &err);
    assert_ok(nb_writer_commit(w, &err), &err);
    nb_writer_destroy(w);
    assert_ok(nb_file_open(&f, nbtest_tmp("m.gguf"), NULL, &err), &err);
    assert_int_equal(f->meta.n, m.n);
    for (size_t i = 0; i < m.n; i++)
        assert_same_kv(&f->meta.kv[i], &m.kv[i]);
    struct nb_meta copy; /* and of a file's metadata a copy can be made that outlives it */
    nb_meta_init(&copy, NULL);
    for (size_t i = 0; i < f->meta.n; i++)
        assert_int_equal(nb_meta_set_kv(&copy, &f->meta.kv[i]), NB_OK);
    nb_file_close(f);
    for (size_t i = 0; i < m.n; i++)
        assert_same_kv(&copy.kv[i], &m.kv[i]);
    nb_meta_fini(&copy);
    nb_meta_fini(&m);
}

NB_TEST_MAIN(cmocka_unit_test(test_set_replace_remove),
             cmocka_unit_test(test_exact_conversion_or_none), cmocka_unit_test(test_arrays_copy),
             cmocka_unit_test(test_gguf_keeps_every_type))
