/* Changing a model: names, readers, order, what is left. */
#include "ptq/edit.h"
#include "unit/ptq/small_net.h"

static struct nb_error err;

/* x -> a -> b -> y, w read by both nodes */
static const int64_t two[] = {2};
static const uint8_t bytes[8];

static const char *const n0_in[] = {"x", "w"}, *const n0_out[] = {"a"}, *const n1_in[] = {"a", "w"},
                         *const n1_out[] = {"y"}, *const n2_out[] = {"a2"};

static struct nb_onnx_model small(void)
{
    static struct nb_onnx_node nodes[2];
    static struct nb_onnx_tensor w[2];
    static struct nb_onnx_value in[2], out; /* an old file lists weights among its inputs */
    nodes[0] = net_node("n0", "Add", n0_in, 2, n0_out);
    nodes[1] = net_node("n1", "Mul", n1_in, 2, n1_out);
    for (size_t i = 0; i < 2; i++)
        w[i] = net_tensor(i == 0 ? "w" : "unread", NB_ONNX_FLOAT32, two, 1, bytes);
    in[0] = (struct nb_onnx_value){.name = "x", .rank = -1};
    in[1] = (struct nb_onnx_value){.name = "unread", .rank = -1};
    out = (struct nb_onnx_value){.name = "y", .rank = -1};
    return (struct nb_onnx_model){.graph = {.nodes = nodes,
                                            .n_nodes = 2,
                                            .initializers = w,
                                            .n_initializers = 2,
                                            .inputs = in,
                                            .n_inputs = 2,
                                            .outputs = &out,
                                            .n_outputs = 1}};
}

static void test_edit(void **state)
{
    (void)state;
    const struct nb_onnx_model m = small();
    struct nb_onnx_model out;
    struct nb_edit e;
    size_t reader;
    assert_ok(nb_edit_init(&e, &m, NULL, &err), &err);
    assert_int_equal(nb_edit_readers(&e, "w", &reader), 2);
    assert_int_equal(nb_edit_readers(&e, "a", &reader), 1);
    assert_int_equal(reader, 1);
    assert_int_equal(nb_edit_readers(&e, "y", &reader), 1); /* it leaves */
    assert_int_equal(reader, SIZE_MAX);
    assert_int_equal(nb_edit_producer(&e, "a"), 0);
    assert_int_equal(nb_edit_producer(&e, "x"), SIZE_MAX);
    assert_string_equal(nb_edit_name(&e, "a", "_q"), "a_q");
    assert_string_equal(nb_edit_name(&e, "a", "_q"), "a_q_2");
    assert_string_equal(nb_edit_name(&e, "", "w"), "w_2"); /* an initializer's */
    /* a node between a and its reader, added behind it */
    assert_ok(nb_edit_rename_reads(&e, "a", "a2", &err), &err);
    const struct nb_onnx_node between = net_node("n2", "Relu", n0_out, 1, n2_out);
    assert_ok(nb_edit_add_node(&e, &between, &err), &err);
    assert_ok(nb_edit_model(&e, &out, &err), &err);
    assert_int_equal(out.graph.n_nodes, 3);
    assert_string_equal(out.graph.nodes[1].op_type, "Relu");
    assert_string_equal(out.graph.nodes[2].inputs[0], "a2");
    assert_string_equal(m.graph.nodes[1].inputs[0], "a"); /* the source is as it was */
    assert_int_equal(out.graph.n_initializers, 1);        /* nobody reads the other */
    assert_int_equal(out.graph.n_inputs, 1);
    /* in a circle */
    assert_ok(nb_edit_set_input(&e, 0, 0, "y", &err), &err);
    assert_fails(nb_edit_model(&e, &out, &err), NB_ERR_INTERNAL, &err, "depend on each other");
    nb_edit_fini(&e);
}

static enum nb_status body(void *ctx, const struct nb_allocator *a)
{
    const struct nb_onnx_model m = small();
    struct nb_onnx_model out;
    struct nb_edit e;
    (void)ctx;
    enum nb_status st = nb_edit_init(&e, &m, a, &err);
    if (st == NB_OK && nb_edit_name(&e, "a", "_q") == NULL)
        st = NB_ERR_NOMEM;
    if (st == NB_OK)
        st = nb_edit_rename_reads(&e, "a", "x", &err);
    if (st == NB_OK)
        st = nb_edit_model(&e, &out, &err);
    nb_edit_fini(&e);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(nbtest_oom(body, NULL) > 5);
}

NB_TEST_MAIN(cmocka_unit_test(test_edit), cmocka_unit_test(test_memory))
