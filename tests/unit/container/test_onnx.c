/* ONNX as data: what is read, that it is written and read back the same, and what is refused and why. */
#include "container/onnx.h"
#include "support/nbtest.h"

#include <stdio.h>
#include <unistd.h>

/* ---- a small model by hand ---- */
static const int64_t dims_w[] = {2, 3}, dims_s[] = {2}, dims_odd[] = {3}, dims_none[] = {0, 4};
static const float w[] = {1, 2, 3, 4, 5, -6.5f};
static const struct nb_text words[] = {{"ab\0c", 4}, {"", 0}};
static const struct nb_onnx_tensor inits[] = {
    {.name = "w",
     .type = NB_ONNX_FLOAT32,
     .rank = 2,
     .dims = dims_w,
     .n = 6,
     .data = (const uint8_t *)w,
     .bytes = sizeof w,
     .doc = "weights"},
    {.name = "scalar",
     .type = NB_ONNX_INT64,
     .n = 1,
     .data = (const uint8_t *)"\x07\0\0\0\0\0\0\0",
     .bytes = 8},
    {.name = "four",
     .type = NB_ONNX_INT4,
     .rank = 1,
     .dims = dims_odd,
     .n = 3,
     .data = (const uint8_t *)"\x21\x03",
     .bytes = 2},
    {.name = "empty", .type = NB_ONNX_FLOAT16, .rank = 2, .dims = dims_none},
    {.name = "words", .type = NB_ONNX_STRING, .rank = 1, .dims = dims_s, .n = 2, .strings = words},
};
static const struct nb_onnx_dim dims_x[] = {
    {.value = -1, .name = "N"}, {.value = 3}, {.value = -1}};
static const struct nb_onnx_value ins[] = {
    {.name = "x",
     .typed = true,
     .tensor = true,
     .type = NB_ONNX_FLOAT32,
     .rank = 3,
     .dims = dims_x},
    {.name = "w", .typed = true, .tensor = true, .type = NB_ONNX_FLOAT32, .rank = -1}};
static const struct nb_onnx_value outs[] = {{.name = "y", .rank = -1}};
static const struct nb_onnx_value inner_outs[] = {{.name = "z", .rank = -1}};
static const struct nb_onnx_node inner_nodes[] = {{.op_type = "Neg",
                                                   .inputs = (const char *const[]){"x"},
                                                   .n_inputs = 1,
                                                   .outputs = (const char *const[]){"z"},
                                                   .n_outputs = 1}};
static const struct nb_onnx_graph inner = {
    .name = "inner", .nodes = inner_nodes, .n_nodes = 1, .outputs = inner_outs, .n_outputs = 1};
static const struct nb_onnx_attr attrs[] = {
    {.name = "alpha", .type = NB_ONNX_ATTR_FLOAT, .f = 0.25f},
    {.name = "axis", .type = NB_ONNX_ATTR_INT, .i = -1},
    {.name = "mode", .type = NB_ONNX_ATTR_STRING, .s = {"nearest", 7}},
    {.name = "value", .type = NB_ONNX_ATTR_TENSOR, .t = &inits[0], .n = 1},
    {.name = "then_branch", .type = NB_ONNX_ATTR_GRAPH, .g = &inner, .n = 1},
    {.name = "scales", .type = NB_ONNX_ATTR_FLOATS, .floats = w, .n = 6},
    {.name = "pads", .type = NB_ONNX_ATTR_INTS, .ints = dims_none, .n = 2},
    {.name = "names", .type = NB_ONNX_ATTR_STRINGS, .strings = words, .n = 2},
    {.name = "ts", .type = NB_ONNX_ATTR_TENSORS, .t = inits, .n = 2},
    {.name = "gs", .type = NB_ONNX_ATTR_GRAPHS, .g = &inner, .n = 1},
};
static const struct nb_onnx_entry entries[] = {{"author", "us"}, {"note", ""}};
static const struct nb_onnx_extra extras[] = {{25, 2,
                                               (const uint8_t *)"\x03"
                                                                "abc",
                                               4}};
static const struct nb_onnx_node all_nodes[] = {{.name = "n1",
                                                 .op_type = "Anything",
                                                 .domain = "com.example",
                                                 .doc = "a node",
                                                 .inputs = (const char *const[]){"x", "", "w"},
                                                 .n_inputs = 3,
                                                 .outputs = (const char *const[]){"h", ""},
                                                 .n_outputs = 2,
                                                 .attrs = attrs,
                                                 .n_attrs = sizeof attrs / sizeof *attrs,
                                                 .meta = {entries, 1}},
                                                {.op_type = "Relu",
                                                 .inputs = (const char *const[]){"h"},
                                                 .n_inputs = 1,
                                                 .outputs = (const char *const[]){"y"},
                                                 .n_outputs = 1}};
static const struct nb_onnx_opset opsets[] = {{"", 17}, {"com.example", 1}};
static const struct nb_onnx_model good = {
    .ir_version = 8,
    .model_version = 3,
    .producer = "test",
    .producer_version = "1.0",
    .domain = "org.example",
    .doc = "a model",
    .opsets = opsets,
    .n_opsets = 2,
    .graph =
        {.name = "g",
         .doc = "a graph",
         .nodes = all_nodes,
         .n_nodes = 2,
         .initializers = inits,
         .n_initializers = 5,
         .inputs = ins,
         .n_inputs = 2,
         .outputs = outs,
         .n_outputs = 1,
         .values =
             (const struct nb_onnx_value[]){
                 {.name = "h", .typed = true, .tensor = true, .type = NB_ONNX_FLOAT16, .rank = 0}},
         .n_values = 1},
    .meta = {entries, 2},
    .extras = {extras, 1},
};

static void pack(struct nb_str *s, const struct nb_onnx_model *m)
{
    struct nb_error err;
    nb_str_init(s, NULL);
    assert_ok(nb_onnx_pack(s, m, NULL, &err), &err);
}

/* Exactly n bytes on the heap, so that a sanitizer sees a byte too many. */
static enum nb_status open_exact(const void *data, size_t n, const char *folder,
                                 struct nb_error *err)
{
    struct nb_onnx *o;
    void *copy = calloc(n + (n == 0), 1);
    memcpy(copy, data, n);
    const enum nb_status st = nb_onnx_open_bytes(&o, copy, n, folder, 0, NULL, err);
    if (st == NB_OK)
        nb_onnx_close(o);
    free(copy);
    return st;
}

static void same_bytes(const struct nb_onnx_model *a, const struct nb_onnx_model *b)
{
    struct nb_str x, y;
    pack(&x, a);
    pack(&y, b);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    nb_str_fini(&x);
    nb_str_fini(&y);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct nb_str s;
    struct nb_onnx *o;
    struct nb_error err;
    pack(&s, &good);
    assert_ok(nb_onnx_open_bytes(&o, s.data, s.len, NULL, 0, NULL, &err), &err);
    const struct nb_onnx_model *m = nb_onnx_model(o);
    const struct nb_onnx_graph *g = &m->graph;
    assert_int_equal(m->ir_version, 8);
    assert_string_equal(m->producer, "test");
    assert_int_equal(nb_onnx_opset_version(m, "ai.onnx"), 17);
    assert_int_equal(nb_onnx_opset_version(m, "com.example"), 1);
    assert_int_equal(nb_onnx_opset_version(m, "other"), 0);
    assert_string_equal(m->meta.items[0].value, "us");
    assert_int_equal(m->extras.n, 1);
    assert_int_equal(m->extras.items[0].field, 25);
    assert_int_equal(g->n_initializers, 5);
    assert_memory_equal(g->initializers[0].data, w, sizeof w);
    assert_true((const char *)g->initializers[0].data > s.data &&
                (const char *)g->initializers[0].data < s.data + s.len); /* borrowed, not copied */
    assert_int_equal(g->initializers[1].rank, 0);
    assert_int_equal(g->initializers[2].bytes, 2);
    assert_int_equal(g->initializers[3].n, 0);
    assert_memory_equal(g->initializers[4].strings[0].s, "ab\0c", 4);
    assert_int_equal(g->inputs[0].rank, 3);
    assert_string_equal(g->inputs[0].dims[0].name, "N");
    assert_int_equal(g->inputs[0].dims[1].value, 3);
    assert_true(g->inputs[0].dims[2].name == NULL && g->inputs[0].dims[2].value == -1);
    assert_int_equal(g->inputs[1].rank, -1);
    assert_false(g->outputs[0].typed);
    assert_int_equal(g->values[0].rank, 0);
    const struct nb_onnx_node *n = &g->nodes[0];
    assert_string_equal(n->inputs[1], "");
    assert_int_equal(nb_onnx_find_attr(n, "axis")->i, -1);
    assert_true(nb_onnx_find_attr(n, "alpha")->f == 0.25f);
    assert_int_equal(nb_onnx_find_attr(n, "scales")->n, 6);
    assert_string_equal(nb_onnx_find_attr(n, "then_branch")->g->nodes[0].op_type, "Neg");
    assert_null(nb_onnx_find_attr(n, "nothing"));
    same_bytes(&good, m);
    nb_onnx_close(o);
    nb_str_fini(&s);
}

static void test_truncation(void **state)
{
    (void)state;
    struct nb_str s;
    pack(&s, &good);
    size_t whole = 0;
    for (size_t n = 0; n < s.len; n++) {
        struct nb_error err = {0};
        const enum nb_status st = open_exact(s.data, n, NULL, &err);
        if (st == NB_OK) /* between two fields of the model itself, behind the graph */
            whole++;
        else
            assert_fails(st, NB_ERR_FORMAT, &err, NULL);
    }
    assert_in_range(whole, 1, 6);
    nb_str_fini(&s);
}

/* What may be written may be read: graphs nested as deep as allowed, and one more. */
static void test_nesting(void **state)
{
    (void)state;
    static struct nb_onnx_graph g[NB_ONNX_MAX_NESTING + 2];
    static struct nb_onnx_node n[NB_ONNX_MAX_NESTING + 2];
    static struct nb_onnx_attr a[NB_ONNX_MAX_NESTING + 2];
    struct nb_onnx_model m = {.ir_version = 8};
    struct nb_str s;
    struct nb_error err;
    g[0] = inner;
    g[0].inputs = ins; /* the deepest messages: dimensions */
    g[0].n_inputs = 2;
    for (size_t i = 1; i < NB_COUNTOF(g); i++) {
        a[i] = (struct nb_onnx_attr){
            .name = "body", .type = NB_ONNX_ATTR_GRAPH, .g = &g[i - 1], .n = 1};
        n[i] = (struct nb_onnx_node){.op_type = "Loop", .attrs = &a[i], .n_attrs = 1};
        g[i] = (struct nb_onnx_graph){.nodes = &n[i], .n_nodes = 1};
    }
    m.graph = g[NB_ONNX_MAX_NESTING];
    pack(&s, &m);
    assert_ok(open_exact(s.data, s.len, NULL, &err), &err);
    m.graph = g[NB_ONNX_MAX_NESTING + 1];
    assert_fails(nb_onnx_pack(&s, &m, NULL, &err), NB_ERR_LIMIT, &err, "more than 24 deep");
    nb_str_fini(&s);
}

/* ---- hostile bytes: fields by hand ---- */
static void put(struct nb_str *s, const void *bytes, size_t n)
{
    nb_str_append(s, bytes, n);
}
static void varint(struct nb_str *s, uint64_t v)
{
    for (; v > 127; v >>= 7)
        put(s, &(uint8_t){(uint8_t)(v | 128)}, 1);
    put(s, &(uint8_t){(uint8_t)v}, 1);
}
static void number(struct nb_str *s, unsigned field, uint64_t v)
{
    varint(s, field << 3);
    varint(s, v);
}
static void blob(struct nb_str *s, unsigned field, const void *p, size_t n)
{
    varint(s, field << 3 | 2);
    varint(s, n);
    put(s, p, n);
}
/* Puts what s holds into a field of its own. */
static void wrap(struct nb_str *s, unsigned field)
{
    struct nb_str t;
    nb_str_init(&t, NULL);
    blob(&t, field, s->data, s->len);
    nb_str_fini(s);
    *s = t;
}
/* A graph's fields -> a model. */
static void in_model(struct nb_str *s)
{
    struct nb_str t;
    wrap(s, 7);
    nb_str_init(&t, NULL);
    number(&t, 1, 8);
    put(&t, s->data, s->len);
    nb_str_fini(s);
    *s = t;
}
static void refused(struct nb_str *s, const char *folder, enum nb_status want, const char *message)
{
    struct nb_error err = {0};
    assert_fails(open_exact(s->data, s->len, folder, &err), want, &err, message);
    nb_str_fini(s);
}
/* The fields of a tensor named t -> refused as an initializer. */
static void tensor_refused(struct nb_str *s, const char *folder, enum nb_status want,
                           const char *message)
{
    blob(s, 8, "t", 1);
    wrap(s, 5);
    in_model(s);
    refused(s, folder, want, message);
}

static void test_wire(void **state)
{
    (void)state;
    struct nb_str s;
    struct nb_error err = {0};
    assert_fails(open_exact("", 0, NULL, &err), NB_ERR_FORMAT, &err, "not an ONNX model");
    nb_str_init(&s, NULL);
    number(&s, 1, 8);
    blob(&s, 2, "p", 1);
    refused(&s, NULL, NB_ERR_FORMAT, "the model has no graph");
    nb_str_init(&s, NULL);
    number(&s, 1, 8);
    put(&s, "\x3a\xff\xff\xff\x7f\x00", 6);
    refused(&s, NULL, NB_ERR_FORMAT,
            "field 7 has 268435455 bytes, the message around it has 1 left");
    nb_str_init(&s, NULL);
    blob(&s, 2, "a\0b", 3);
    in_model(&s);
    refused(&s, NULL, NB_ERR_FORMAT, "Graph at byte 4: a text holds a zero byte");
    nb_str_init(&s, NULL);
    put(&s, "\x13\x14", 2);
    in_model(&s);
    refused(&s, NULL, NB_ERR_FORMAT, "wire type");
    nb_str_init(&s, NULL);
    number(&s, 1, 5);
    in_model(&s);
    refused(&s, NULL, NB_ERR_FORMAT, "field 'node' has wire type 0");
    nb_str_init(&s, NULL);
    number(&s, 1, 5);
    wrap(&s, 7);
    number(&s, 1, 0);
    refused(&s, NULL, NB_ERR_FORMAT, "not an ONNX model");
    nb_str_init(&s, NULL);
    in_model(&s);
    number(&s, 1, 1000);
    refused(&s, NULL, NB_ERR_FORMAT, "IR version 1000, expected 1 to 127");
    nb_str_init(&s, NULL); /* graphs in attributes in nodes in graphs ... */
    blob(&s, 4, "X", 1);
    for (int i = 0; i < 2000; i++) {
        wrap(&s, 1);
        wrap(&s, 6);
        wrap(&s, 5);
    }
    wrap(&s, 1);
    in_model(&s);
    refused(&s, NULL, NB_ERR_LIMIT, "nested more than 24 deep");
}

static void test_names(void **state)
{
    (void)state;
    struct nb_str s, value;
    nb_str_init(&value, NULL);
    blob(&value, 1, "x", 1);
    nb_str_init(&s, NULL);
    blob(&s, 11, value.data, value.len);
    blob(&s, 11, value.data, value.len);
    in_model(&s);
    refused(&s, NULL, NB_ERR_FORMAT, "input 'x' is defined twice");
    nb_str_init(&s, NULL);
    blob(&s, 2, "x", 1);
    blob(&s, 3, "second", 6);
    blob(&s, 4, "Relu", 4);
    wrap(&s, 1);
    blob(&s, 11, value.data, value.len);
    in_model(&s);
    refused(&s, NULL, NB_ERR_FORMAT, "node 'second' (Relu): output 'x' is defined twice");
    nb_str_init(&s, NULL);
    blob(&s, 2, "x", 1);
    wrap(&s, 1);
    in_model(&s);
    refused(&s, NULL, NB_ERR_FORMAT, "node 0 (): has no operator");
    nb_str_fini(&value);
}

static void test_tensors(void **state)
{
    (void)state;
    struct nb_str s;
    struct {
        int64_t dims[2];
        int32_t type;
        unsigned field;
        size_t n;
        const char *message;
        enum nb_status want;
    } cases[] = {
        {{2, 3},
         1,
         9,
         23,
         "tensor 't': 23 bytes of raw data, its type and dimensions want 24",
         NB_ERR_FORMAT},
        {{2, 3}, 99, 9, 24, "tensor 't': element type 99", NB_ERR_UNSUPPORTED},
        {{2, 3}, 0, 9, 24, "element type 0", NB_ERR_UNSUPPORTED},
        {{-1, 3}, 1, 9, 0, "dimension 0 is -1", NB_ERR_FORMAT},
        {{INT64_MAX, 3}, 1, 9, 0, "overflows", NB_ERR_FORMAT},
        {{INT64_MAX, INT64_MAX}, 22, 9, 0, "overflows", NB_ERR_FORMAT},
        {{2, 3}, 1, 4, 20, "5 numbers in float_data, its dimensions want 6", NB_ERR_FORMAT},
        {{2, 3}, 7, 4, 24, "int64 of 48 bytes with float_data", NB_ERR_FORMAT},
        {{2, 3}, 8, 9, 24, "strings as raw data", NB_ERR_FORMAT},
        {{2, 3}, 8, 6, 1, "1 strings, its dimensions want 6", NB_ERR_FORMAT},
        {{2, 3}, 6, 12, 4, "int32 of 24 bytes with no data", NB_ERR_FORMAT},
    };
    static const char bytes[64] = {0};
    for (size_t i = 0; i < NB_COUNTOF(cases); i++) {
        nb_str_init(&s, NULL);
        number(&s, 1, (uint64_t)cases[i].dims[0]);
        number(&s, 1, (uint64_t)cases[i].dims[1]);
        number(&s, 2, (uint64_t)cases[i].type);
        blob(&s, cases[i].field, cases[i].field == 12 ? "text" : bytes, cases[i].n);
        tensor_refused(&s, NULL, cases[i].want, cases[i].message);
    }
    nb_str_init(&s, NULL);
    number(&s, 2, NB_ONNX_INT8);
    number(&s, 5, 256);
    tensor_refused(&s, NULL, NB_ERR_FORMAT, "number 0 in int32_data is 256, which is no int8");
    nb_str_init(&s, NULL);
    number(&s, 2, NB_ONNX_INT8);
    number(&s, 5, 1);
    blob(&s, 9, "\x01", 1);
    tensor_refused(&s, NULL, NB_ERR_FORMAT, "data in more than one field");
    nb_str_init(&s, NULL);
    number(&s, 2, NB_ONNX_FLOAT32);
    number(&s, 3, 1);
    tensor_refused(&s, NULL, NB_ERR_UNSUPPORTED, "stored in segments");
}

/* One tensor of that type and these numbers in a field -> its packed bytes. */
static void decodes(int32_t type, unsigned field, const uint64_t *v, size_t n, int64_t dim,
                    const void *want, size_t bytes)
{
    struct nb_str s;
    struct nb_onnx *o;
    struct nb_error err;
    nb_str_init(&s, NULL);
    number(&s, 1, (uint64_t)dim);
    number(&s, 2, (uint64_t)type);
    for (size_t i = 0; i < n; i++) {
        uint8_t le[8];
        nb_store_u64(le, v[i]);
        if (field == 4 || field == 10) {
            varint(&s, field << 3 | (field == 4 ? 5 : 1));
            put(&s, le, field == 4 ? 4 : 8);
        } else {
            number(&s, field, v[i]);
        }
    }
    blob(&s, 8, "t", 1);
    wrap(&s, 5);
    in_model(&s);
    assert_ok(nb_onnx_open_bytes(&o, s.data, s.len, NULL, 0, NULL, &err), &err);
    const struct nb_onnx_tensor *t = &nb_onnx_model(o)->graph.initializers[0];
    assert_int_equal(t->bytes, bytes);
    assert_memory_equal(t->data, want, bytes);
    nb_onnx_close(o);
    nb_str_fini(&s);
}

static void test_number_fields(void **state)
{
    (void)state;
    const uint64_t v[] = {1, (uint64_t)-2, 0x12};
    const uint64_t f[] = {0x3f800000, 0xc0000000};
    const uint64_t h[] = {0x3c00, 0xc000};
    decodes(NB_ONNX_FLOAT32, 4, f, 2, 2, "\0\0\x80\x3f\0\0\0\xc0", 8);
    decodes(NB_ONNX_COMPLEX64, 4, f, 2, 1, "\0\0\x80\x3f\0\0\0\xc0", 8);
    decodes(NB_ONNX_INT8, 5, v, 3, 3, "\x01\xfe\x12", 3);
    decodes(NB_ONNX_INT16, 5, v, 3, 3, "\x01\0\xfe\xff\x12\0", 6);
    decodes(NB_ONNX_INT32, 5, v, 2, 2, "\x01\0\0\0\xfe\xff\xff\xff", 8);
    decodes(NB_ONNX_FLOAT16, 5, h, 2, 2, "\0\x3c\0\xc0", 4);
    decodes(NB_ONNX_INT64, 7, v, 2, 2, "\x01\0\0\0\0\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff", 16);
    decodes(NB_ONNX_FLOAT64, 10, v, 1, 1, "\x01\0\0\0\0\0\0\0", 8);
    decodes(NB_ONNX_UINT64, 11, v, 1, 1, "\x01\0\0\0\0\0\0\0", 8);
    decodes(NB_ONNX_UINT32, 11, v, 1, 1, "\x01\0\0\0", 4);
    decodes(NB_ONNX_UINT4, 5, (const uint64_t[]){0x21, 0x03}, 2, 3, "\x21\x03",
            2); /* packed bytes */
    decodes(NB_ONNX_UINT2, 5, (const uint64_t[]){0xe4, 0x01}, 2, 5, "\xe4\x01", 2);
}

/* ---- external data ---- */
static void external(struct nb_str *s, const char *location, const char *offset, const char *length)
{
    const char *const kv[][2] = {{"location", location}, {"offset", offset}, {"length", length}};
    nb_str_init(s, NULL);
    number(s, 1, 4);
    number(s, 2, NB_ONNX_FLOAT32);
    number(s, 14, 1);
    for (size_t i = 0; i < 3; i++) {
        struct nb_str e;
        if (kv[i][1] == NULL)
            continue;
        nb_str_init(&e, NULL);
        blob(&e, 1, kv[i][0], strlen(kv[i][0]));
        blob(&e, 2, kv[i][1], strlen(kv[i][1]));
        blob(s, 13, e.data, e.len);
        nb_str_fini(&e);
    }
}

static void test_external(void **state)
{
    (void)state;
    static const char bytes[32] = "0123456789abcdefghijklmnopqrstu";
    const char *folder = nbtest_tmpdir();
    struct nb_str s;
    struct nb_onnx *o;
    struct nb_error err;
    nbtest_write(nbtest_tmp("w.bin"), bytes, sizeof bytes);
    assert_int_equal(symlink("w.bin", nbtest_tmp("link.bin")), 0);
    assert_int_equal(symlink("/tmp", nbtest_tmp("out")), 0);
    const struct {
        const char *location, *offset, *length;
        enum nb_status want;
        const char *message;
    } bad[] = {
        {"../w.bin", "0", "16", NB_ERR_UNSUPPORTED, "leads out through '..'"},
        {"./a/../../w.bin", "0", "16", NB_ERR_NOT_FOUND, "cannot open './a/../../w.bin'"},
        {"/etc/passwd", "0", "16", NB_ERR_UNSUPPORTED, "'/etc/passwd' is an absolute path"},
        {"link.bin", "0", "16", NB_ERR_UNSUPPORTED, "passes a symbolic link"},
        {"out/w.bin", "0", "16", NB_ERR_UNSUPPORTED, "passes a symbolic link"},
        {"none.bin", "0", "16", NB_ERR_NOT_FOUND,
         "tensor 't': external data: cannot open 'none.bin'"},
        {".", "0", "16", NB_ERR_UNSUPPORTED, "is no regular file"},
        {"w.bin", "17", "16", NB_ERR_FORMAT, "external data end at 33, file 'w.bin' has 32 bytes"},
        {"w.bin", "18446744073709551615", "16", NB_ERR_FORMAT, "ends past 2^64"},
        {"w.bin", "0", "15", NB_ERR_FORMAT,
         "external data of 15 bytes, its type and dimensions want 16"},
        {"w.bin", "-1", "16", NB_ERR_FORMAT, "offset '-1', expected a number of bytes"},
        {"w.bin", "99999999999999999999", NULL, NB_ERR_FORMAT, "expected a number of bytes"},
        {NULL, "0", "16", NB_ERR_FORMAT, "without a location"},
    };
    for (size_t i = 0; i < NB_COUNTOF(bad); i++) {
        external(&s, bad[i].location, bad[i].offset, bad[i].length);
        tensor_refused(&s, folder, bad[i].want, bad[i].message);
    }
    external(&s, "w.bin", NULL, NULL);
    tensor_refused(&s, NULL, NB_ERR_UNSUPPORTED, "no folder to look in");
    external(&s, "./w.bin", "16", NULL);
    blob(&s, 8, "t", 1);
    wrap(&s, 5);
    in_model(&s);
    assert_ok(nb_onnx_open_bytes(&o, s.data, s.len, folder, 0, NULL, &err), &err);
    assert_memory_equal(nb_onnx_model(o)->graph.initializers[0].data, bytes + 16, 16);
    nb_onnx_close(o);
    assert_ok(nb_onnx_open_bytes(&o, s.data, s.len, NULL, NB_ONNX_NO_DATA, NULL, &err), &err);
    assert_null(nb_onnx_model(o)->graph.initializers[0].data);
    assert_string_equal(nb_onnx_model(o)->graph.initializers[0].location, "./w.bin");
    struct nb_str t;
    nb_str_init(&t, NULL);
    assert_fails(nb_onnx_pack(&t, nb_onnx_model(o), NULL, &err), NB_ERR_ARG, &err,
                 "tensor 't': its data were not read");
    nb_str_fini(&t);
    nb_onnx_close(o);
    nb_str_fini(&s);
}

/* ---- files ---- */
static void test_files(void **state)
{
    (void)state;
    struct nb_onnx_write_options wo;
    struct nb_onnx *o;
    struct nb_error err;
    const char *path = nbtest_tmp("net.onnx");
    size_t n;
    nb_onnx_write_options_init(&wo);
    assert_ok(nb_onnx_write(path, &good, &wo, NULL, &err), &err);
    assert_false(nb_path_exists(nbtest_tmp("net.onnx.data")));
    assert_ok(nb_onnx_open(&o, path, 0, NULL, &err), &err);
    same_bytes(&good, nb_onnx_model(o));
    nb_onnx_close(o);
    assert_fails(nb_onnx_write(path, &good, &wo, NULL, &err), NB_ERR_EXISTS, &err, "net.onnx");
    wo.out_flags = NB_OUT_OVERWRITE;
    wo.external_above = 4;
    assert_ok(nb_onnx_write(path, &good, &wo, NULL, &err), &err);
    uint8_t *data = nbtest_read(nbtest_tmp("net.onnx.data"), &n);
    assert_int_equal(n, 4096 + 8); /* w, then scalar at the next page */
    assert_memory_equal(data, w, sizeof w);
    assert_int_equal(data[4096], 7);
    free(data);
    assert_ok(nb_onnx_open(&o, path, 0, NULL, &err), &err);
    same_bytes(&good, nb_onnx_model(o));
    assert_string_equal(nb_onnx_model(o)->graph.initializers[1].location, "net.onnx.data");
    assert_int_equal(nb_onnx_model(o)->graph.initializers[1].offset, 4096);
    /* Over itself, while it is mapped. */
    wo.data_name = "other.bin";
    assert_ok(nb_onnx_write(path, nb_onnx_model(o), &wo, NULL, &err), &err);
    nb_onnx_close(o);
    assert_ok(nb_onnx_open(&o, path, 0, NULL, &err), &err);
    same_bytes(&good, nb_onnx_model(o));
    nb_onnx_close(o);
    wo.data_name = "../x";
    assert_fails(nb_onnx_write(path, &good, &wo, NULL, &err), NB_ERR_ARG, &err,
                 "'../x' is no name");
}

static void test_too_large(void **state)
{
    (void)state;
    struct nb_onnx_tensor big[2] = {inits[0], inits[0]};
    struct nb_onnx_model m = good;
    struct nb_str s;
    struct nb_error err;
    const int64_t half = INT64_C(1) << 30;
    big[1].name = "second";
    for (int i = 0; i < 2; i++) { /* sizes are asked for before any byte is */
        big[i].type = NB_ONNX_INT8;
        big[i].rank = 1;
        big[i].dims = &half;
        big[i].n = big[i].bytes = (uint64_t)half;
    }
    m.graph.initializers = big;
    m.graph.n_initializers = 2;
    nb_str_init(&s, NULL);
    assert_fails(nb_onnx_pack(&s, &m, NULL, &err), NB_ERR_LIMIT, &err, "external data");
    assert_int_equal(s.len, 0);
    big[0].n--;
    assert_fails(nb_onnx_pack(&s, &m, NULL, &err), NB_ERR_ARG, &err, "do not agree");
    nb_str_fini(&s);
}

static enum nb_status read_and_pack(void *ctx, const struct nb_allocator *a)
{
    const struct nb_str *s = ctx;
    struct nb_onnx *o;
    struct nb_str out;
    NB_TRY(nb_onnx_open_bytes(&o, s->data, s->len, NULL, 0, a, NULL));
    nb_str_init(&out, a);
    const enum nb_status st = nb_onnx_pack(&out, nb_onnx_model(o), a, NULL);
    nb_str_fini(&out);
    nb_onnx_close(o);
    return st;
}

static void test_no_memory(void **state)
{
    (void)state;
    struct nb_str s;
    pack(&s, &good);
    assert_true(nbtest_oom(read_and_pack, &s) > 5);
    nb_str_fini(&s);
}

static void test_types(void **state)
{
    (void)state;
    uint64_t n, bytes;
    assert_string_equal(nb_onnx_type_info(NB_ONNX_INT4)->name, "int4");
    assert_null(nb_onnx_type_info(0));
    assert_null(nb_onnx_type_info(-1));
    assert_null(nb_onnx_type_info(27));
    for (int32_t i = 1; i <= NB_ONNX_INT2; i++)
        assert_non_null(nb_onnx_type_info(i));
    assert_true(nb_onnx_count(&n, &bytes, NB_ONNX_INT4, dims_odd, 1));
    assert_true(n == 3 && bytes == 2);
    assert_true(nb_onnx_count(&n, &bytes, NB_ONNX_FLOAT64, NULL, 0));
    assert_true(n == 1 && bytes == 8);
}

NB_TEST_MAIN(cmocka_unit_test(test_types), cmocka_unit_test(test_round_trip),
             cmocka_unit_test(test_truncation), cmocka_unit_test(test_nesting),
             cmocka_unit_test(test_wire), cmocka_unit_test(test_names),
             cmocka_unit_test(test_tensors), cmocka_unit_test(test_number_fields),
             cmocka_unit_test(test_external), cmocka_unit_test(test_files),
             cmocka_unit_test(test_too_large), cmocka_unit_test(test_no_memory))
