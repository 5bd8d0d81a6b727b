/* nb_inspect_net: what it counts, weights among the inputs, and every allocation failing in turn. */
#include "container/onnx.h"
#include "support/nbtest.h"

#include <nibble/nibble.h>

static const int64_t two[] = {2};
static const struct nb_onnx_tensor inits[] = {{.name = "w",
                                               .type = NB_ONNX_INT16,
                                               .rank = 1,
                                               .dims = two,
                                               .n = 2,
                                               .data = (const uint8_t *)"\x01\0\x02\0",
                                               .bytes = 4}};
static const struct nb_onnx_value ins[] = {{.name = "x", .rank = -1}, {.name = "w", .rank = -1}};
static const struct nb_onnx_node inner_nodes[] = {{.op_type = "Neg"}};
static const struct nb_onnx_graph inner = {
    .nodes = inner_nodes, .n_nodes = 1, .initializers = inits, .n_initializers = 1};
static const struct nb_onnx_attr attrs[] = {
    {.name = "then_branch", .type = NB_ONNX_ATTR_GRAPH, .g = &inner, .n = 1},
    {.name = "value", .type = NB_ONNX_ATTR_TENSOR, .t = inits, .n = 1}};
static const struct nb_onnx_node nodes[] = {
    {.op_type = "Abs"},
    {.op_type = "Neg", .domain = "ai.onnx"},
    {.op_type = "Neg", .domain = "other", .attrs = attrs, .n_attrs = 2}};
static const struct nb_onnx_model model = {.ir_version = 8,
                                           .graph = {.nodes = nodes,
                                                     .n_nodes = 3,
                                                     .initializers = inits,
                                                     .n_initializers = 1,
                                                     .inputs = ins,
                                                     .n_inputs = 2}};

static const char *make_net(void)
{
    struct nb_onnx_write_options o;
    struct nb_error err;
    const char *path = nbtest_tmp("net.onnx");
    nb_onnx_write_options_init(&o);
    o.out_flags = NB_OUT_OVERWRITE;
    o.external_above = 2;
    assert_ok(nb_onnx_write(path, &model, &o, NULL, &err), &err);
    return path;
}

static void test_counts(void **state)
{
    (void)state;
    nb_context *ctx;
    struct nb_net_info info;
    struct nb_error err;
    const char *path = make_net();
    assert_ok(nb_context_create(&ctx, NULL, &err), &err);
    assert_int_equal(nb_is_net(path), 1);
    assert_int_equal(nb_is_net(nbtest_tmpdir()), 0);
    assert_int_equal(nb_is_net(nbtest_tmp("none.onnx")), 0);
    assert_ok(nb_inspect_net(ctx, path, &info, &err), &err);
    assert_int_equal(info.n_inputs, 1); /* w is a weight */
    assert_string_equal(info.inputs[0].name, "x");
    assert_null(info.inputs[0].type);
    assert_int_equal(info.n_nodes, 4);
    assert_int_equal(info.n_subgraphs, 1);
    assert_int_equal(info.n_ops, 3);
    assert_string_equal(info.ops[0].name, "Neg"); /* the most frequent, then by name */
    assert_int_equal(info.ops[0].n, 2);
    assert_string_equal(info.ops[1].name, "Abs");
    assert_string_equal(info.ops[2].name, "other.Neg");
    assert_int_equal(info.n_types, 1);
    assert_int_equal(info.types[0].tensors, 3);
    assert_int_equal(info.parameters, 6);
    assert_int_equal(info.tensor_bytes, 12);
    assert_int_equal(info.n_files, 1);
    assert_string_equal(info.files[0].name, "net.onnx.data");
    assert_int_equal(info.files[0].tensors, 2); /* not the one in an attribute */
    nb_net_info_free(&info);
    assert_fails(nb_inspect_net(ctx, nbtest_tmp("none.onnx"), &info, &err), NB_ERR_NOT_FOUND, &err,
                 "none.onnx");
    nb_net_info_free(&info); /* does nothing */
    nb_context_destroy(ctx);
}

static enum nb_status inspect(void *path, const struct nb_allocator *a)
{
    struct nb_context_options o;
    struct nb_net_info info;
    nb_context *ctx;
    nb_context_options_init(&o);
    o.allocator = *a;
    o.threads = 1;
    NB_TRY(nb_context_create(&ctx, &o, NULL));
    const enum nb_status st = nb_inspect_net(ctx, path, &info, NULL);
    if (st == NB_OK)
        nb_net_info_free(&info);
    nb_context_destroy(ctx);
    return st;
}

static void test_no_memory(void **state)
{
    (void)state;
    char path[512];
    const char *made = make_net();
    assert_true(strlen(made) < sizeof path);
    memcpy(path, made, strlen(made) + 1);
    assert_true(nbtest_oom(inspect, path) > 5);
    assert_true(
        nbtest_oom(inspect, (void *)(uintptr_t)nbtest_root("fuzz/corpus/tflite/good-small")) > 5);
}

static void test_tflite(void **state)
{
    (void)state;
    nb_context *ctx;
    struct nb_net_info info;
    struct nb_error err;
    const char *path = nbtest_root("fuzz/corpus/tflite/good-small");
    assert_ok(nb_context_create(&ctx, NULL, &err), &err);
    assert_int_equal(nb_is_net(path), 1);
    assert_ok(nb_inspect_net(ctx, path, &info, &err), &err);
    assert_string_equal(info.dialect, "tflite");
    assert_int_equal(info.n_inputs, 1);
    assert_true(info.inputs[0].rank == 2 && info.inputs[0].dims[0] == -1);
    assert_int_equal(info.inputs[0].n_scales, 1);
    assert_int_equal(info.inputs[0].zero_points[0], -128);
    assert_int_equal(info.n_tensors, 1);
    assert_int_equal(info.tensors[0].n_scales, 2);
    assert_true(info.n_quantized == 2 && info.n_by_dimension == 1);
    assert_int_equal(info.n_ops, 3);
    assert_int_equal(info.n_meta, 2);
    nb_net_info_free(&info);
    nb_context_destroy(ctx);
}

NB_TEST_MAIN(cmocka_unit_test(test_counts), cmocka_unit_test(test_tflite),
             cmocka_unit_test(test_no_memory))
