/* TFLite as data: what is read, and what is refused and why. Files are built by hand. */
#include "container/tflite.h"
#include "support/fbbuild.h"

#include <stdio.h>

/* ---- a small model ---- */

/* Places of its parts. */
struct parts {
    size_t root, codes, graph, x, w, y, four, conv, own, quant, options, buffers, data, signature,
        meta;
};
static const float w[] = {1, 2, 3, -4.5f};

static void add_buffers(struct nb_str *s, struct parts *p)
{
    p->buffers = fb_list(s, p->root, 4, 5, 4);
    for (size_t i = 0; i < 5; i++) {
        const size_t t = fb_table_at(s, p->buffers + 4 * i, 3);
        if (i == 1) {
            p->data = t;
            fb_bytes(s, t, 0, w, sizeof w);
        } else if (i == 2) {
            fb_bytes(s, t, 0, "\x21\x03", 2);
        } else if (i == 3) {
            fb_bytes(s, t, 0, "1.14.0\0\0", 8);
        }
    }
}

static size_t add_tensor(struct nb_str *s, size_t at, const char *name, int type, int buffer,
                         size_t rank, const int32_t *dims)
{
    const size_t t = fb_table_at(s, at, 9);
    fb_ints(s, t, 0, rank, dims);
    fb_int(s, t, 1, type);
    if (buffer > 0)
        fb_int(s, t, 2, buffer);
    fb_text(s, t, 3, name);
    return t;
}

static void add_tensors(struct nb_str *s, struct parts *p)
{
    const size_t list = fb_list(s, p->graph, 0, 4, 4);
    p->x = add_tensor(s, list, "x", NB_TFLITE_INT8, 0, 2, (const int32_t[]){1, 2});
    fb_ints(s, p->x, 7, 2, (const int32_t[]){-1, 2});
    const size_t q = fb_table_in(s, p->x, 4, 7);
    fb_floats(s, q, 2, 1, (const float[]){0.5f});
    fb_longs(s, q, 3, 1, (const int64_t[]){-128});
    p->w = add_tensor(s, list + 4, "w", NB_TFLITE_FLOAT32, 1, 2, (const int32_t[]){2, 2});
    p->quant = fb_table_in(s, p->w, 4, 7);
    fb_floats(s, p->quant, 2, 2, (const float[]){1, 2});
    fb_longs(s, p->quant, 3, 2, (const int64_t[]){0, 7});
    fb_int(s, p->quant, 6, 1);
    p->four = add_tensor(s, list + 8, "four", NB_TFLITE_INT4, 2, 1, (const int32_t[]){3});
    p->y = add_tensor(s, list + 12, "y", NB_TFLITE_FLOAT32, 4, 0, NULL);
    fb_int(s, p->y, 8, 1);
}

static void add_operators(struct nb_str *s, struct parts *p)
{
    const size_t list = fb_list(s, p->graph, 3, 2, 4);
    p->conv = fb_table_at(s, list, 13);
    fb_ints(s, p->conv, 1, 3, (const int32_t[]){0, 1, -1});
    fb_ints(s, p->conv, 2, 1, (const int32_t[]){3});
    fb_int(s, p->conv, 3, 1);
    p->options = fb_table_in(s, p->conv, 4, 4);
    fb_int(s, p->options, 0, 1);
    fb_int(s, p->options, 1, 2);
    p->own = fb_table_at(s, list + 4, 13);
    fb_int(s, p->own, 0, 1);
    fb_ints(s, p->own, 1, 1, (const int32_t[]){3});
    fb_bytes(s, p->own, 5, "opt", 3);
}

static void add_codes(struct nb_str *s, struct parts *p)
{
    p->codes = fb_list(s, p->root, 1, 3, 4);
    const size_t conv = fb_table_at(s, p->codes, 4), own = fb_table_at(s, p->codes + 4, 4);
    fb_int(s, conv, 0, 3); /* the old field alone */
    fb_int(s, conv, 2, 5);
    fb_int(s, own, 0, 32);
    fb_int(s, own, 3, 32);
    fb_text(s, own, 1, "Mine");
    const size_t late = fb_table_at(s, p->codes + 8, 4);
    fb_int(s, late, 0, 127);
    fb_int(s, late, 3, 128);
}

static void build(struct nb_str *s, struct parts *p)
{
    p->root = fb_begin(s, "TFL3", 8);
    fb_int(s, p->root, 0, 3);
    fb_text(s, p->root, 3, "by hand");
    add_codes(s, p);
    const size_t graphs = fb_list(s, p->root, 2, 1, 4);
    p->graph = fb_table_at(s, graphs, 5);
    fb_text(s, p->graph, 4, "main");
    add_tensors(s, p);
    fb_ints(s, p->graph, 1, 1, (const int32_t[]){0});
    fb_ints(s, p->graph, 2, 1, (const int32_t[]){3});
    add_operators(s, p);
    p->meta = fb_table_at(s, fb_list(s, p->root, 6, 1, 4), 2);
    fb_text(s, p->meta, 0, "min_runtime_version");
    fb_int(s, p->meta, 1, 3);
    p->signature = fb_table_at(s, fb_list(s, p->root, 7, 1, 4), 5);
    fb_text(s, p->signature, 2, "serving_default");
    const size_t alias = fb_table_at(s, fb_list(s, p->signature, 0, 1, 4), 2);
    fb_text(s, alias, 0, "image");
    add_buffers(s, p);
    assert_false(s->failed);
}

/* From a block of exactly n bytes, so that a sanitizer sees a read past them. */
static enum nb_status open_exact(const void *data, size_t n, struct nb_error *err)
{
    struct nb_tflite *t;
    uint8_t *exact = malloc(n > 0 ? n : 1);
    if (n > 0)
        memcpy(exact, data, n);
    const enum nb_status st = nb_tflite_open_bytes(&t, exact, n, NULL, err);
    nb_tflite_close(t);
    free(exact);
    return st;
}

/* ---- what is read ---- */

static void check_tensors(const struct nb_tflite_graph *g)
{
    assert_int_equal(g->n_tensors, 4);
    const struct nb_tflite_tensor *x = &g->tensors[0], *c = &g->tensors[1];
    assert_string_equal(x->name, "x");
    assert_int_equal(x->type, NB_TFLITE_INT8);
    assert_int_equal(x->rank, 2);
    assert_true(x->dims[0] == 1 && x->signature[0] == -1 && x->signature[1] == 2);
    assert_true(x->data == NULL && x->n == 2 && !x->ranked);
    assert_int_equal(x->quant.n, 1);
    assert_true(x->quant.scales[0] == 0.5f && x->quant.zero_points[0] == -128);
    assert_memory_equal(c->data, w, sizeof w);
    assert_int_equal(c->quant.n, 2);
    assert_true(c->quant.scales[1] == 2.0f && c->quant.zero_points[1] == 7 && c->quant.dim == 1);
    assert_true(g->tensors[2].n == 3 && g->tensors[2].bytes == 2);
    assert_true(g->tensors[3].rank == 0 && g->tensors[3].n == 1 && g->tensors[3].ranked);
}

static void check_operators(const struct nb_tflite_model *m, const struct nb_tflite_graph *g)
{
    int32_t v;
    assert_int_equal(g->n_ops, 2);
    const struct nb_tflite_op *conv = &g->ops[0], *own = &g->ops[1];
    assert_string_equal(conv->name, "CONV_2D");
    assert_true(conv->code == NB_TFLITE_CONV_2D && conv->version == 5 && conv->options_type == 1);
    assert_true(conv->n_inputs == 3 && conv->inputs[2] == -1 && conv->outputs[0] == 3);
    assert_int_equal(nb_fb_i32(&m->fb, &conv->options, 1, 9, &v, NULL), NB_OK);
    assert_int_equal(v, 2);
    assert_int_equal(nb_fb_i32(&m->fb, &conv->options, 2, 9, &v, NULL), NB_OK);
    assert_int_equal(v, 9);
    assert_int_equal(nb_fb_i32(&m->fb, &conv->options, 50, 8, &v, NULL), NB_OK);
    assert_int_equal(v, 8);
    assert_int_equal(nb_fb_i32(&m->fb, &conv->options2, 0, 7, &v, NULL), NB_OK);
    assert_int_equal(v, 7);
    assert_true(own->code == NB_TFLITE_CUSTOM && own->version == 1 && own->n_outputs == 0);
    assert_string_equal(own->name, "Mine");
    assert_int_equal(own->custom_bytes, 3);
    assert_memory_equal(own->custom, "opt", 3);
}

static void test_read(void **state)
{
    (void)state;
    struct nb_str s;
    struct parts p;
    struct nb_tflite *t;
    struct nb_error err;
    build(&s, &p);
    assert_true(nb_tflite_probe((const uint8_t *)s.data, 8));
    assert_false(nb_tflite_probe((const uint8_t *)s.data, 7));
    assert_ok(nb_tflite_open_bytes(&t, s.data, s.len, NULL, &err), &err);
    const struct nb_tflite_model *m = nb_tflite_model(t);
    assert_string_equal(m->description, "by hand");
    assert_int_equal(m->n_graphs, 1);
    assert_string_equal(m->graphs[0].name, "main");
    assert_true(m->graphs[0].inputs[0] == 0 && m->graphs[0].outputs[0] == 3);
    check_tensors(&m->graphs[0]);
    check_operators(m, &m->graphs[0]);
    assert_int_equal(m->n_meta, 1);
    assert_string_equal(m->meta[0].name, "min_runtime_version");
    assert_memory_equal(m->meta[0].data, "1.14.0\0\0", 8);
    assert_int_equal(m->n_signatures, 1);
    assert_string_equal(m->signatures[0].key, "serving_default");
    assert_string_equal(m->signatures[0].inputs[0].name, "image");
    assert_true(m->signatures[0].n_outputs == 0 && m->signatures[0].inputs[0].tensor == 0);
    nb_tflite_close(t);
    nb_str_fini(&s);
}

static void test_names(void **state)
{
    (void)state;
    for (int32_t i = 0; i < NB_TFLITE_N_CODES; i++)
        assert_non_null(nb_tflite_code_name(i));
    assert_string_equal(nb_tflite_code_name(NB_TFLITE_QUANTIZE), "QUANTIZE");
    assert_int_equal(NB_TFLITE_QUANTIZE, 114);
    assert_null(nb_tflite_code_name(-1));
    assert_null(nb_tflite_code_name(NB_TFLITE_N_CODES));
    for (int32_t i = 0; i < NB_TFLITE_N_TYPES; i++)
        assert_non_null(nb_tflite_type_info(i)->name);
    assert_null(nb_tflite_type_info(-1));
    assert_null(nb_tflite_type_info(NB_TFLITE_N_TYPES));
}

static void test_count(void **state)
{
    (void)state;
    uint64_t n, bytes;
    const int64_t large[] = {INT64_C(1) << 31, INT64_C(1) << 31, 4}, open[] = {-1},
                  none[] = {1 << 30, 1 << 30, 1 << 30, 0};
    assert_true(nb_tflite_count(&n, &bytes, NB_TFLITE_INT4, (const int64_t[]){5}, 1));
    assert_true(n == 5 && bytes == 3);
    assert_true(nb_tflite_count(&n, &bytes, NB_TFLITE_STRING, (const int64_t[]){5}, 1));
    assert_true(n == 5 && bytes == 0);
    assert_true(nb_tflite_count(&n, &bytes, NB_TFLITE_FLOAT32, none, 4));
    assert_true(n == 0 && bytes == 0);
    assert_false(nb_tflite_count(&n, &bytes, NB_TFLITE_INT8, large, 3));
    assert_false(nb_tflite_count(&n, &bytes, NB_TFLITE_INT8, open, 1));
    assert_false(nb_tflite_count(&n, &bytes, 99, open, 0));
}

/* Data behind the flatbuffer, as in files of more than 2 GiB. */
static void test_outside(void **state)
{
    (void)state;
    struct nb_str s;
    struct parts p;
    struct nb_tflite *t;
    struct nb_error err;
    build(&s, &p);
    const size_t end = s.len;
    nb_str_append(&s, w, sizeof w);
    nb_store_u16(s.data + p.data - nb_load_u32(s.data + p.data) + 4, 0); /* no data inside */
    fb_int(&s, p.data, 1, (int64_t)end);
    fb_int(&s, p.data, 2, sizeof w);
    assert_ok(nb_tflite_open_bytes(&t, s.data, s.len, NULL, &err), &err);
    assert_ptr_equal(nb_tflite_model(t)->graphs[0].tensors[1].data, s.data + end);
    nb_tflite_close(t);
    assert_fails(open_exact(s.data, s.len - 1, &err), NB_ERR_FORMAT, &err, "buffer 1: 16 bytes at");
    fb_int(&s, p.data, 1, INT64_MAX);
    assert_fails(open_exact(s.data, s.len, &err), NB_ERR_FORMAT, &err, "buffer 1: 16 bytes at");
    nb_str_fini(&s);
}

static void test_files(void **state)
{
    (void)state;
    struct nb_str s;
    struct parts p;
    struct nb_tflite *t;
    struct nb_error err;
    build(&s, &p);
    const char *path = nbtest_tmp("net.tflite");
    nbtest_write(path, s.data, s.len);
    assert_ok(nb_tflite_open(&t, path, NULL, &err), &err);
    nb_tflite_close(t);
    nbtest_write(path, s.data, 40);
    assert_fails(nb_tflite_open(&t, path, NULL, &err), NB_ERR_FORMAT, &err, "net.tflite: ");
    assert_fails(nb_tflite_open(&t, nbtest_tmp("none"), NULL, &err), NB_ERR_NOT_FOUND, &err, NULL);
    nb_str_fini(&s);
}

/* ---- what is refused ---- */

static void test_truncation(void **state)
{
    (void)state;
    struct nb_str s;
    struct parts p;
    size_t whole = 0;
    build(&s, &p);
    for (size_t n = 0; n < s.len; n++) {
        struct nb_error err = {0};
        const enum nb_status st = open_exact(s.data, n, &err);
        if (st == NB_OK) /* unused slots of the last table */
            whole++;
        else
            assert_fails(st, NB_ERR_FORMAT, &err, NULL);
    }
    assert_in_range(whole, 0, 3 * FB_SLOT);
    nb_str_fini(&s);
}

/* Every byte, every one of some values: read or refused, and the tables that were read hold. */
static void test_any_byte(void **state)
{
    (void)state;
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    struct nb_str s;
    struct parts p;
    build(&s, &p);
    for (size_t i = 0; i < s.len; i++) {
        const char kept = s.data[i];
        for (size_t k = 0; k < sizeof values; k++) {
            struct nb_error err = {0};
            s.data[i] = (char)values[k];
            const enum nb_status st = open_exact(s.data, s.len, &err);
            assert_true(st == NB_OK || err.message[0] != '\0');
        }
        s.data[i] = kept;
    }
    nb_str_fini(&s);
}

/* The model with one 32-bit number changed. */
static void refused(struct nb_str *s, size_t at, uint32_t v, enum nb_status want, const char *text)
{
    struct nb_error err = {0};
    const uint32_t kept = nb_load_u32(s->data + at);
    fb_u32(s, at, v);
    assert_fails(open_exact(s->data, s->len, &err), want, &err, text);
    fb_u32(s, at, kept);
}

/* Where the vector that a field refers to has its number of items; the first is 4 further. */
static size_t list_of(struct nb_str *s, size_t table, unsigned field)
{
    const size_t at = fb_field(s, table, field);
    return at + nb_load_u32(s->data + at);
}

static void test_offsets(void **state)
{
    (void)state;
    struct nb_str s;
    struct parts p;
    build(&s, &p);
    refused(&s, 4, 0, NB_ERR_FORMAT, "not a TFLite model");
    refused(&s, 0, UINT32_MAX, NB_ERR_FORMAT, "a table begins at byte 4294967295");
    refused(&s, p.root, 0x80000000U, NB_ERR_FORMAT, "has its vtable at byte");
    refused(&s, p.root, 0x7fffffffU, NB_ERR_FORMAT, "has its vtable at byte -");
    refused(&s, p.root - nb_load_u32(s.data + p.root), 3, NB_ERR_FORMAT, "the vtable at byte");
    refused(&s, p.root - nb_load_u32(s.data + p.root), 0xffff0014U, NB_ERR_FORMAT,
            "has 65535 bytes");
    refused(&s, p.root - nb_load_u32(s.data + p.root) + 4, 0xfff0, NB_ERR_FORMAT, "has field 0 at");
    refused(&s, fb_field(&s, p.root, 2), UINT32_MAX, NB_ERR_FORMAT, "refers to byte");
    refused(&s, fb_field(&s, p.root, 2), 0, NB_ERR_FORMAT, "refers to byte");
    refused(&s, list_of(&s, p.root, 2), 0x40000000U, NB_ERR_FORMAT, "has 1073741824 items");
    refused(&s, p.graph, 0x80000000U, NB_ERR_FORMAT, "subgraph 0: the table at byte");
    refused(&s, list_of(&s, p.w, 3), 2, NB_ERR_FORMAT, "holds a zero byte");
    refused(&s, list_of(&s, p.w, 3), 0, NB_ERR_FORMAT, "is not terminated");
    refused(&s, p.quant, 0x80000000U, NB_ERR_FORMAT,
            "subgraph 0: tensor 1: 'w': the table at byte");
    nb_str_fini(&s);
}

static void test_contents(void **state)
{
    (void)state;
    struct nb_str s;
    struct parts p;
    build(&s, &p);
    refused(&s, fb_field(&s, p.root, 0), 2, NB_ERR_UNSUPPORTED, "schema version 2, expected 3");
    refused(&s, list_of(&s, p.root, 2), 0, NB_ERR_FORMAT, "no subgraph");
    refused(&s, fb_field(&s, p.x, 1), 99, NB_ERR_UNSUPPORTED, "element type 99");
    refused(&s, fb_field(&s, p.w, 2), 5, NB_ERR_FORMAT, "'w': buffer 5 of 5");
    refused(&s, list_of(&s, p.w, 0) + 4, 3, NB_ERR_FORMAT,
            "'w': buffer 1 has 16 bytes, type and dimensions say 24");
    refused(&s, list_of(&s, p.w, 0) + 4, UINT32_MAX, NB_ERR_FORMAT, "buffer 1 has 16 bytes");
    refused(&s, list_of(&s, p.x, 0) + 4, UINT32_MAX - 1, NB_ERR_FORMAT, "dimension 0 is -2");
    refused(&s, list_of(&s, p.x, 7), 1, NB_ERR_FORMAT, "2 dimensions with a signature of 1");
    refused(&s, list_of(&s, p.quant, 3), 3, NB_ERR_FORMAT, "2 scales and 3 zero points");
    refused(&s, fb_field(&s, p.quant, 6), 2, NB_ERR_FORMAT, "scales are for dimension 2 of 2");
    refused(&s, fb_field(&s, p.quant, 6), UINT32_MAX, NB_ERR_FORMAT, "dimension -1 of 2");
    refused(&s, list_of(&s, p.conv, 1) + 4, 4, NB_ERR_FORMAT,
            "operator 0: CONV_2D: input 0 is tensor 4 of 4");
    refused(&s, list_of(&s, p.conv, 2) + 4, UINT32_MAX - 1, NB_ERR_FORMAT, "output 0 is tensor -2");
    refused(&s, list_of(&s, p.graph, 1) + 4, UINT32_MAX, NB_ERR_FORMAT, "input 0 is tensor -1");
    refused(&s, fb_field(&s, p.own, 0), 3, NB_ERR_FORMAT, "operator 1: operator code 3 of 3");
    refused(&s, fb_field(&s, p.meta, 1), 9, NB_ERR_FORMAT, "metadata 0: buffer 9 of 5");
    refused(&s, fb_field(&s, p.signature, 4), 1, NB_ERR_FORMAT, "signature 0: subgraph 1 of 1");
    fb_int(&s, p.data, 1, 40);
    refused(&s, fb_field(&s, p.data, 2), 8, NB_ERR_FORMAT, "buffer 1: data inside, and also");
    nb_str_fini(&s);
}

static void test_first_buffer(void **state)
{
    (void)state;
    struct nb_str s;
    struct parts p;
    build(&s, &p);
    /* buffer 0 becomes another name of buffer 1 */
    refused(&s, p.buffers, (uint32_t)(p.data - p.buffers), NB_ERR_FORMAT, "buffer 0 has 16 bytes");
    nb_str_fini(&s);
}

/* Few bytes, many tables: each of 4000 subgraphs has the same list of 4000 tensors. */
static void test_shared(void **state)
{
    (void)state;
    struct nb_str s;
    struct nb_error err = {0};
    const size_t n = 4000;
    const size_t root = fb_begin(&s, "TFL3", 8);
    fb_int(&s, root, 0, 3);
    fb_table_at(&s, fb_list(&s, root, 4, 1, 4), 3);
    const size_t graphs = fb_list(&s, root, 2, n, 4), graph = fb_table(&s, 5);
    const size_t tensors = fb_list(&s, graph, 0, n, 4), tensor = fb_table(&s, 9);
    for (size_t i = 0; i < n; i++) {
        fb_u32(&s, graphs + 4 * i, (uint32_t)(graph - (graphs + 4 * i)));
        fb_u32(&s, tensors + 4 * i, (uint32_t)(tensor - (tensors + 4 * i)));
    }
    assert_fails(open_exact(s.data, s.len, &err), NB_ERR_LIMIT, &err, "shared too often");
    nb_str_fini(&s);
}

static enum nb_status read_all(void *ctx, const struct nb_allocator *a)
{
    const struct nb_str *s = ctx;
    struct nb_tflite *t;
    NB_TRY(nb_tflite_open_bytes(&t, s->data, s->len, a, NULL));
    nb_tflite_close(t);
    return NB_OK;
}

static void test_no_memory(void **state)
{
    (void)state;
    struct nb_str s;
    struct parts p;
    build(&s, &p);
    assert_true(nbtest_oom(read_all, &s) > 1);
    nb_str_fini(&s);
}

NB_TEST_MAIN(cmocka_unit_test(test_read), cmocka_unit_test(test_names),
             cmocka_unit_test(test_count), cmocka_unit_test(test_outside),
             cmocka_unit_test(test_files), cmocka_unit_test(test_truncation),
             cmocka_unit_test(test_any_byte), cmocka_unit_test(test_offsets),
             cmocka_unit_test(test_contents), cmocka_unit_test(test_first_buffer),
             cmocka_unit_test(test_shared), cmocka_unit_test(test_no_memory))
