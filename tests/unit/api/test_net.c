/* nb_executor and nb_npy: types that the graph does not have, fixed inputs, looking inside, what is refused, and every
 * allocation failing in turn. tests/cli/run_net.sh has the rest. */
#include "container/onnx.h"
#include "support/nbtest.h"

#include <nibble/net.h>
#include <stdio.h>
#include <string.h>

static const uint16_t halves[] = {0x3c00, 0x4000, 0xc000}; /* 1, 2, -2 */
static const int64_t three[] = {3};
static const struct nb_onnx_tensor inits[] = {{.name = "w",
                                               .type = NB_ONNX_FLOAT16,
                                               .rank = 1,
                                               .dims = three,
                                               .n = 3,
                                               .data = (const uint8_t *)halves,
                                               .bytes = 6}};
static const struct nb_onnx_dim open_dims[] = {{.value = -1, .name = "N"}, {.value = 3}};
static const struct nb_onnx_dim five[] = {{.value = 5}};
#define VALUE(n, t, r, d)                                                                          \
    {                                                                                              \
        .name = (n), .typed = true, .tensor = true, .type = (t), .rank = (r), .dims = (d)          \
    }
static const struct nb_onnx_value ins[] = {
    VALUE("x", NB_ONNX_FLOAT16, 2, open_dims), VALUE("b", NB_ONNX_BFLOAT16, 1, five),
    VALUE("q", NB_ONNX_INT4, 1, five), VALUE("t", NB_ONNX_BOOL, 1, five),
    VALUE("k", NB_ONNX_FLOAT16, 0, NULL)};
/* z is said to be int64, and is not */
static const struct nb_onnx_value outs[] = {
    VALUE("y", NB_ONNX_FLOAT16, 2, open_dims), VALUE("c", NB_ONNX_BFLOAT16, 1, five),
    VALUE("p", NB_ONNX_INT4, 1, five), VALUE("u", NB_ONNX_BOOL, 1, five),
    VALUE("z", NB_ONNX_INT64, 2, open_dims)};
static const char *const xw[] = {"x", "w"}, *const hk[] = {"h", "k"}, *const bb[] = {"b", "b"};
static const char *const q[] = {"q"}, *const tt[] = {"t", "t"};
static const char *const h[] = {"h"}, *const y[] = {"y"}, *const c[] = {"c"}, *const p[] = {"p"};
static const char *const u[] = {"u"}, *const z[] = {"z"};
#define NODE(op, i, n, o)                                                                          \
    {                                                                                              \
        .op_type = (op), .inputs = (i), .n_inputs = (n), .outputs = (o), .n_outputs = 1            \
    }
static const struct nb_onnx_node nodes[] = {NODE("Mul", xw, 2, h),   NODE("Add", hk, 2, y),
                                            NODE("Add", bb, 2, c),   NODE("Identity", q, 1, p),
                                            NODE("Equal", tt, 2, u), NODE("Identity", h, 1, z)};
static const struct nb_onnx_opset opsets[] = {{.domain = "", .version = 16}};
static const struct nb_onnx_model model = {.ir_version = 8,
                                           .opsets = opsets,
                                           .n_opsets = 1,
                                           .graph = {.nodes = nodes,
                                                     .n_nodes = NB_COUNTOF(nodes),
                                                     .initializers = inits,
                                                     .n_initializers = 1,
                                                     .inputs = ins,
                                                     .n_inputs = NB_COUNTOF(ins),
                                                     .outputs = outs,
                                                     .n_outputs = NB_COUNTOF(outs)}};
static const struct nb_executor_dim dims[] = {{"N", 2}};
static const struct nb_executor_fixed fixed[] = {{.input = "k", .value = 0.5}};

static const char *make_net(void)
{
    struct nb_onnx_write_options o;
    struct nb_error err;
    const char *path = nbtest_tmp("net.onnx");
    nb_onnx_write_options_init(&o);
    o.out_flags = NB_OUT_OVERWRITE;
    assert_ok(nb_onnx_write(path, &model, &o, NULL, &err), &err);
    return path;
}

static void set_up(struct nb_executor_options *o)
{
    nb_executor_options_init(o);
    o->dims = dims;
    o->n_dims = 1;
    o->fixed = fixed;
    o->n_fixed = 1;
}

static const uint16_t x_data[6] = {0x3c00, 0x3c00, 0x3c00, 0x4000, 0x4000, 0x7c00};
static const uint16_t b_data[5] = {0x3f80, 0x4000, 0xbf80, 0, 0x4040};
static const uint8_t q_data[3] = {0x21, 0xf8, 0x07}; /* 1, 2, -8, -1, 7 */
static const uint8_t t_data[5] = {0, 1, 200, 1, 0};

struct seen {
    size_t n;
    char names[256];
    bool float32;
};

static void look(void *ctx, const struct nb_executor_port *value, const void *data)
{
    struct seen *s = ctx;
    const size_t at = strlen(s->names);
    snprintf(s->names + at, sizeof s->names - at, "%s ", value->name);
    s->n++;
    if (strcmp(value->name, "z") == 0) /* h, which leaves under this name */
        s->float32 = strcmp(value->type, "float32") == 0 && value->bytes == 24 &&
                     ((const float *)data)[2] == -2.0F;
}

static void run_and_check(nb_executor *e)
{
    struct nb_error err;
    const void *in[] = {x_data, b_data, q_data, t_data};
    uint16_t y_data[6], c_data[5];
    uint8_t p_data[3], u_data[5];
    float z_data[6];
    void *out[] = {y_data, c_data, p_data, u_data, z_data};
    assert_ok(nb_executor_run(e, in, out, &err), &err);
    assert_int_equal(y_data[0], 0x3e00); /* 1.5 */
    assert_int_equal(y_data[1], 0x4100); /* 2.5 */
    assert_int_equal(y_data[4], 0x4480); /* 4.5 */
    assert_int_equal(y_data[5], 0xfc00); /* -inf */
    assert_int_equal(c_data[2], 0xc000);
    assert_memory_equal(p_data, q_data, 3);
    assert_memory_equal(u_data, "\1\1\1\1\1", 5);
    assert_true(z_data[1] == 2.0F && z_data[3] == 2.0F);
    in[1] = NULL;
    assert_fails(nb_executor_run(e, in, out, &err), NB_ERR_ARG, &err, "input 'b'");
}

static void check_ports(const nb_executor *e)
{
    struct nb_executor_port port;
    assert_int_equal(nb_executor_input(e, 0, &port), NB_OK);
    assert_string_equal(port.name, "x");
    assert_string_equal(port.type, "float16");
    assert_int_equal(port.rank, 2);
    assert_int_equal(port.dims[0], 2);
    assert_int_equal(port.elements, 6);
    assert_int_equal(port.bytes, 12);
    assert_int_equal(nb_executor_input(e, 2, &port), NB_OK);
    assert_int_equal(port.bytes, 3);
    assert_int_equal(nb_executor_input(e, 4, &port), NB_ERR_NOT_FOUND); /* fixed */
    assert_int_equal(nb_executor_output(e, 4, &port), NB_OK);
    assert_string_equal(port.type, "float32"); /* what is made, not what is said */
    assert_int_equal(port.bytes, 24);
    assert_int_equal(nb_executor_output(e, 5, &port), NB_ERR_NOT_FOUND);
}

static void test_types(void **state)
{
    (void)state;
    nb_context *ctx;
    nb_executor *e;
    struct nb_executor_options o;
    struct nb_error err;
    const char *path = make_net();
    assert_ok(nb_context_create(&ctx, NULL, &err), &err);
    for (uint32_t i = 0; i < 4; i++) {
        set_up(&o);
        o.flags = i & 1;
        o.threads = i; /* 0: the context's */
        assert_ok(nb_executor_create(&e, ctx, path, &o, &err), &err);
        if (i > 0)
            assert_int_equal(nb_executor_threads(e), i);
        check_ports(e);
        run_and_check(e);
        nb_executor_destroy(e);
    }
    nb_executor_destroy(NULL);
    nb_context_destroy(ctx);
}

static void test_look(void **state)
{
    (void)state;
    nb_context *ctx;
    nb_executor *e;
    struct nb_executor_options o;
    struct nb_executor_memory memory;
    struct nb_executor_node node;
    struct nb_error err;
    struct seen s = {.n = 0};
    size_t n = 0;
    assert_ok(nb_context_create(&ctx, NULL, &err), &err);
    set_up(&o);
    o.flags = NB_EXECUTOR_AS_FILE;
    assert_ok(nb_executor_create(&e, ctx, make_net(), &o, &err), &err);
    nb_executor_tap(e, look, &s);
    nb_executor_profile(e, 1);
    run_and_check(e);
    nb_executor_tap(e, NULL, NULL);
    nb_executor_profile(e, 0);
    run_and_check(e);
    assert_true(s.float32);
    assert_true(strstr(s.names, "z y ") != NULL);
    for (; nb_executor_node(e, n, &node) == NB_OK; n++) {
        assert_int_equal(node.runs, 1);
        assert_true(node.seconds >= 0);
    }
    assert_int_equal(n, s.n);
    nb_executor_memory(e, &memory);
    assert_true(memory.weight_bytes >= 12 && memory.staging_bytes > 0);
    nb_executor_destroy(e);
    nb_context_destroy(ctx);
}

static void test_refused(void **state)
{
    (void)state;
    static const int64_t minus[] = {2, -1}, wrong[] = {2, 4};
    const struct nb_executor_shape negative = {"x", minus, 2}, other = {"x", wrong, 2};
    nb_context *ctx;
    nb_executor *e = NULL;
    struct nb_executor_options o;
    struct nb_error err;
    const char *path = make_net();
    assert_ok(nb_context_create(&ctx, NULL, &err), &err);
    assert_fails(nb_executor_create(&e, ctx, path, NULL, &err), NB_ERR_ARG, &err, "called N");
    assert_null(e);
    assert_fails(nb_executor_create(&e, ctx, NULL, NULL, &err), NB_ERR_ARG, &err, "needs");
    set_up(&o);
    o.flags = 8;
    assert_fails(nb_executor_create(&e, ctx, path, &o, &err), NB_ERR_ARG, &err, "no such flag");
    set_up(&o);
    o.shapes = &negative;
    o.n_shapes = 1;
    assert_fails(nb_executor_create(&e, ctx, path, &o, &err), NB_ERR_ARG, &err, "negative");
    o.shapes = &other;
    assert_fails(nb_executor_create(&e, ctx, path, &o, &err), NB_ERR_ARG, &err, "is 3, 4 was");
    nb_context_destroy(ctx);
}

static void test_npy(void **state)
{
    (void)state;
    nb_context *ctx;
    struct nb_npy npy;
    struct nb_error err;
    char path[512];
    const struct nb_executor_port brain = {.type = "bfloat16", .rank = 1, .dims = {5}};
    const struct nb_executor_port codes = {.type = "int4", .rank = 1, .dims = {5}};
    const struct nb_executor_port none = {.type = "int64", .rank = 2, .dims = {0, 3}};
    const struct nb_executor_port text = {.type = "string", .rank = 0};
    assert_ok(nb_context_create(&ctx, NULL, &err), &err);
    snprintf(path, sizeof path, "%s", nbtest_tmp("a.npy"));
    assert_ok(nb_npy_write(ctx, path, &brain, b_data, 1, &err), &err);
    assert_ok(nb_npy_read(ctx, path, &npy, &err), &err);
    assert_string_equal(npy.type, "float32");
    assert_true(((const float *)npy.data)[4] == 3.0F);
    nb_npy_free(&npy);
    assert_fails(nb_npy_write(ctx, path, &codes, q_data, 0, &err), NB_ERR_EXISTS, &err, "");
    assert_ok(nb_npy_write(ctx, path, &codes, q_data, 1, &err), &err);
    assert_ok(nb_npy_read(ctx, path, &npy, &err), &err);
    assert_string_equal(npy.type, "int8");
    assert_memory_equal(npy.data, "\1\2\xf8\xff\7", 5);
    nb_npy_free(&npy);
    assert_ok(nb_npy_write(ctx, path, &none, q_data, 1, &err), &err);
    assert_ok(nb_npy_read(ctx, path, &npy, &err), &err);
    assert_int_equal(npy.elements, 0);
    assert_non_null(npy.data);
    nb_npy_free(&npy);
    assert_fails(nb_npy_write(ctx, path, &text, q_data, 1, &err), NB_ERR_UNSUPPORTED, &err,
                 "string");
    assert_fails(nb_npy_read(ctx, make_net(), &npy, &err), NB_ERR_UNSUPPORTED, &err, "");
    nb_npy_free(&npy); /* does nothing */
    nb_context_destroy(ctx);
}

static enum nb_status open_and_run(void *path, const struct nb_allocator *a)
{
    struct nb_context_options o;
    struct nb_executor_options eo;
    nb_executor *e;
    nb_context *ctx;
    nb_context_options_init(&o);
    o.allocator = *a;
    o.threads = 1;
    NB_TRY(nb_context_create(&ctx, &o, NULL));
    set_up(&eo);
    const enum nb_status st = nb_executor_create(&e, ctx, path, &eo, NULL);
    if (st == NB_OK) {
        run_and_check(e);
        nb_executor_destroy(e);
    }
    nb_context_destroy(ctx);
    return st;
}

static void test_no_memory(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", make_net());
    assert_true(nbtest_oom(open_and_run, path) > 20);
}

NB_TEST_MAIN(cmocka_unit_test(test_types), cmocka_unit_test(test_look),
             cmocka_unit_test(test_refused), cmocka_unit_test(test_npy),
             cmocka_unit_test(test_no_memory))
