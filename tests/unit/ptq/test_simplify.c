/* Transposes of constants, and those that undo each other; biases and batch norms behind layers; nodes that do nothing at the end; old operators as new ones. */
#include "ptq/ptq_internal.h"
#include "unit/ptq/small_net.h"

static struct nb_error err;

static const float w[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                          12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};
static const int64_t w_dims[] = {2, 3, 4}, turned[] = {2, 0, 1}, back[] = {1, 2, 0},
                     other[] = {0, 2, 1};
static const char *const x[] = {"x"}, *const a[] = {"a"}, *const b[] = {"b"}, *const c[] = {"c"};
static const char *const wn[] = {"w"}, *const wt[] = {"wt"}, *const in[] = {"b", "wt"};
static const char *const y[] = {"y"};

#define PERM(v)                                                                                    \
    {                                                                                              \
        .name = "perm", .type = NB_ONNX_ATTR_INTS, .ints = (v), .n = 3                             \
    }
static const struct nb_onnx_attr to = PERM(turned), fro = PERM(back), aside = PERM(other);
#define NODE(op, i, n, o, at)                                                                      \
    {                                                                                              \
        .name = (o)[0], .op_type = (op), .domain = "", .inputs = (i), .n_inputs = (n),             \
        .outputs = (o), .n_outputs = 1, .attrs = (at), .n_attrs = 1                                \
    }

/* x -> a -> b -> y = b + wt; second: what is done to a */
static enum nb_status simplify(const struct nb_onnx_attr *second, struct nb_onnx_node *nodes,
                               size_t n_nodes, const char *const *out, struct nb_edit *e,
                               struct nb_onnx_model *result, const struct nb_allocator *alloc)
{
    const struct nb_onnx_tensor t = net_floats("w", w_dims, 3, w);
    const struct nb_onnx_value input = {.name = "x", .rank = -1},
                               output = {.name = out[0], .rank = -1};
    nodes[0] = (struct nb_onnx_node)NODE("Transpose", x, 1, a, &to);
    nodes[1] = (struct nb_onnx_node)NODE("Transpose", a, 1, b, second);
    nodes[2] = (struct nb_onnx_node)NODE("Transpose", wn, 1, wt, &to);
    nodes[3] = (struct nb_onnx_node)NODE("Add", in, 2, y, NULL);
    nodes[3].n_attrs = 0;
    nodes[4] = (struct nb_onnx_node)NODE("Relu", a, 1, c, NULL);
    nodes[4].n_attrs = 0;
    const struct nb_onnx_model m = {.graph = {.nodes = nodes,
                                              .n_nodes = n_nodes,
                                              .initializers = &t,
                                              .n_initializers = 1,
                                              .inputs = &input,
                                              .n_inputs = 1,
                                              .outputs = &output,
                                              .n_outputs = 1}};
    NB_TRY(nb_edit_init(e, &m, alloc, &err));
    NB_TRY(nb_ptq_simplify(e, &err));
    return nb_edit_model(e, result, &err);
}

static void test_transposes(void **state)
{
    (void)state;
    struct nb_onnx_node nodes[5];
    struct nb_onnx_model m;
    struct nb_edit e;
    assert_ok(simplify(&fro, nodes, 4, y, &e, &m, NULL), &err);
    assert_int_equal(m.graph.n_nodes, 1);
    assert_string_equal(m.graph.nodes[0].inputs[0], "x");
    assert_string_equal(m.graph.nodes[0].inputs[1], "wt");
    assert_int_equal(m.graph.n_initializers, 1);
    const struct nb_onnx_tensor *t = &m.graph.initializers[0];
    assert_string_equal(t->name, "wt");
    assert_true(t->dims[0] == 4 && t->dims[1] == 2 && t->dims[2] == 3);
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 2; j++)
            for (size_t k = 0; k < 3; k++)
                assert_memory_equal(t->data + 4 * (i * 6 + j * 3 + k), &w[j * 12 + k * 4 + i], 4);
    nb_edit_fini(&e);
    /* not the inverse; read in between; what leaves the net */
    assert_ok(simplify(&aside, nodes, 4, y, &e, &m, NULL), &err);
    assert_int_equal(m.graph.n_nodes, 3);
    nb_edit_fini(&e);
    assert_ok(simplify(&fro, nodes, 5, c, &e, &m, NULL), &err);
    assert_int_equal(m.graph.n_nodes, 3); /* the first, Relu, Add */
    nb_edit_fini(&e);
    assert_ok(simplify(&fro, nodes, 4, b, &e, &m, NULL), &err);
    assert_int_equal(m.graph.n_nodes, 3);
    nb_edit_fini(&e);
}

/* An Identity at the end: what it copies leaves instead, unless it is read elsewhere. */
static void test_idle(void **state)
{
    (void)state;
    struct nb_onnx_node nodes[3] = {NODE("Relu", x, 1, a, NULL), NODE("Identity", a, 1, y, NULL),
                                    NODE("Relu", a, 1, c, NULL)};
    const struct nb_onnx_value input = {.name = "x", .rank = -1};
    const struct nb_onnx_value outputs[] = {{.name = "y", .rank = -1}, {.name = "c", .rank = -1}};
    struct nb_onnx_model m = {.graph = {.nodes = nodes,
                                        .n_nodes = 2,
                                        .inputs = &input,
                                        .n_inputs = 1,
                                        .outputs = outputs,
                                        .n_outputs = 1}};
    struct nb_onnx_model out;
    struct nb_edit e;
    for (size_t i = 0; i < 3; i++)
        nodes[i].n_attrs = 0;
    assert_ok(nb_edit_init(&e, &m, NULL, &err), &err);
    assert_ok(nb_ptq_simplify(&e, &err), &err);
    assert_ok(nb_edit_model(&e, &out, &err), &err);
    assert_int_equal(out.graph.n_nodes, 1);
    assert_string_equal(out.graph.nodes[0].outputs[0], "y");
    nb_edit_fini(&e);
    m.graph.n_nodes = 3;
    m.graph.n_outputs = 2;
    assert_ok(nb_edit_init(&e, &m, NULL, &err), &err);
    assert_ok(nb_ptq_simplify(&e, &err), &err);
    assert_ok(nb_edit_model(&e, &out, &err), &err);
    assert_int_equal(out.graph.n_nodes, 3);
    nb_edit_fini(&e);
}

/* ---- what goes into layers ---- */

enum { ROWS = 4, EACH = 3, TAPS = 4 };

static float fold_w[ROWS * EACH * TAPS],
    fold_p[5][2 * EACH]; /* bias, gamma, beta, mean, variance */
static const int64_t fold_w_dims[] = {ROWS, EACH, 2, 2}, bias_dims[] = {1, 2 * EACH, 1, 1},
                     list_dims[] = {2 * EACH}, last_dims[] = {2 * EACH};

/* BatchNormalization(b + ConvTranspose(x, w), groups of it); the net's outputs: y and, if not NULL, more */
static void fold(const int64_t *b_dims, uint32_t b_rank, int64_t groups, const char *more,
                 struct nb_edit *e, struct nb_onnx_model *out)
{
    static const char *const xw[] = {"x", "w"}, *const ba[] = {"b", "a"};
    static const char *const params[] = {"c", "gamma", "beta", "mean", "var"};
    static struct nb_onnx_attr group = {.name = "group", .type = NB_ONNX_ATTR_INT};
    static struct nb_onnx_node nodes[3];
    static struct nb_onnx_tensor t[6];
    static struct nb_onnx_value outputs[2];
    static const struct nb_onnx_value input = {.name = "x", .rank = -1};
    outputs[0] = (struct nb_onnx_value){.name = "y", .rank = -1};
    outputs[1] = (struct nb_onnx_value){.name = more, .rank = -1};
    group.i = groups;
    nodes[0] = (struct nb_onnx_node)NODE("ConvTranspose", xw, 2, a, &group);
    nodes[1] = (struct nb_onnx_node)NODE("Add", ba, 2, c, NULL);
    nodes[2] = (struct nb_onnx_node)NODE("BatchNormalization", params, 5, y, NULL);
    nodes[1].n_attrs = nodes[2].n_attrs = 0;
    for (size_t i = 0; i < NB_COUNTOF(fold_w); i++)
        fold_w[i] = 0.37F * (float)(i % 11) - 1.0F;
    for (size_t i = 0; i < NB_COUNTOF(fold_p); i++)
        for (size_t k = 0; k < 2 * EACH; k++)
            fold_p[i][k] = 0.3F + 0.17F * (float)((i * 5 + k * 3) % 7);
    t[0] = net_floats("w", fold_w_dims, 4, fold_w);
    t[1] = net_floats("b", b_dims, b_rank, fold_p[0]);
    for (uint32_t i = 1; i < 5; i++)
        t[i + 1] = net_floats(params[i], list_dims, 1, fold_p[i]);
    const struct nb_onnx_model m = {.graph = {.nodes = nodes,
                                              .n_nodes = 3,
                                              .initializers = t,
                                              .n_initializers = 6,
                                              .inputs = &input,
                                              .n_inputs = 1,
                                              .outputs = outputs,
                                              .n_outputs = more != NULL ? 2 : 1}};
    assert_ok(nb_edit_init(e, &m, NULL, &err), &err);
    assert_ok(nb_ptq_simplify(e, &err), &err);
    assert_ok(nb_edit_model(e, out, &err), &err);
}

static void test_folds(void **state)
{
    (void)state;
    struct nb_onnx_model m;
    struct nb_edit e;
    fold(bias_dims, 4, 2, NULL, &e, &m);
    assert_int_equal(m.graph.n_nodes, 1);
    assert_string_equal(m.graph.nodes[0].outputs[0], "y");
    assert_int_equal(m.graph.nodes[0].n_inputs, 3);
    const struct nb_onnx_tensor *tw = nb_edit_tensor(&e, m.graph.nodes[0].inputs[1]),
                                *tb = nb_edit_tensor(&e, m.graph.nodes[0].inputs[2]);
    assert_true(tw->n == NB_COUNTOF(fold_w) && tb->n == 2 * EACH);
    for (size_t row = 0; row < ROWS; row++)
        for (size_t j = 0; j < EACH; j++) {
            const size_t ch = row / (ROWS / 2) * EACH + j;
            const double s = (double)fold_p[1][ch] / sqrt((double)fold_p[4][ch] + 1e-5);
            const double shift =
                ((double)fold_p[0][ch] - (double)fold_p[3][ch]) * s + (double)fold_p[2][ch];
            assert_close(((const float *)(const void *)tb->data)[ch], shift, 1e-6);
            for (size_t k = (row * EACH + j) * TAPS; k < (row * EACH + j + 1) * TAPS; k++)
                assert_close(((const float *)(const void *)tw->data)[k], (double)fold_w[k] * s,
                             1e-6);
        }
    nb_edit_fini(&e);
    /* a number for each column; what lies between leaves the net; other channels */
    fold(last_dims, 1, 2, NULL, &e, &m);
    assert_int_equal(m.graph.n_nodes, 3);
    nb_edit_fini(&e);
    fold(bias_dims, 4, 2, "a", &e, &m);
    assert_int_equal(m.graph.n_nodes, 3);
    nb_edit_fini(&e);
    fold(bias_dims, 4, 2, "c", &e, &m);
    assert_int_equal(m.graph.n_nodes, 2);
    nb_edit_fini(&e);
    fold(bias_dims, 4, 1, NULL, &e, &m);
    assert_int_equal(m.graph.n_nodes, 3);
    nb_edit_fini(&e);
}

/* The lists of an old Slice are inputs of the new one. */
static void test_old_slice(void **state)
{
    (void)state;
    static const int64_t starts[] = {1, 0}, ends[] = {3, 2}, axes[] = {2, 0};
    const struct nb_onnx_attr attrs[] = {
        {.name = "axes", .type = NB_ONNX_ATTR_INTS, .ints = axes, .n = 2},
        {.name = "ends", .type = NB_ONNX_ATTR_INTS, .ints = ends, .n = 2},
        {.name = "starts", .type = NB_ONNX_ATTR_INTS, .ints = starts, .n = 2}};
    struct nb_onnx_node nodes[1] = {NODE("Slice", x, 1, y, attrs)};
    const struct nb_onnx_value input = {.name = "x", .rank = -1},
                               output = {.name = "y", .rank = -1};
    const struct nb_onnx_opset opset = {"", 9};
    const struct nb_onnx_model m = {.ir_version = 5,
                                    .opsets = &opset,
                                    .n_opsets = 1,
                                    .graph = {.nodes = nodes,
                                              .n_nodes = 1,
                                              .inputs = &input,
                                              .n_inputs = 1,
                                              .outputs = &output,
                                              .n_outputs = 1}};
    struct nb_onnx_model out;
    struct nb_edit e;
    nodes[0].n_attrs = 3;
    assert_ok(nb_edit_init(&e, &m, NULL, &err), &err);
    assert_ok(nb_ptq_raise_opset(&e, &err), &err);
    assert_ok(nb_edit_model(&e, &out, &err), &err);
    assert_int_equal(nb_onnx_opset_version(&out, ""), 13);
    assert_int_equal(out.graph.nodes[0].n_attrs, 0);
    assert_int_equal(out.graph.nodes[0].n_inputs, 4);
    const int64_t *const want[] = {starts, ends, axes};
    for (size_t i = 0; i < 3; i++) {
        const struct nb_onnx_tensor *t = nb_edit_tensor(&e, out.graph.nodes[0].inputs[i + 1]);
        assert_true(t != NULL && t->type == NB_ONNX_INT64 && t->n == 2);
        assert_memory_equal(t->data, want[i], 16);
    }
    nb_edit_fini(&e);
}

/* A list of axes, and parts of equal size, as operator set 21 has them; what it changed otherwise is refused. */
static void test_to_21(void **state)
{
    (void)state;
    static const int64_t axes[] = {-1};
    static const char *const parts[] = {"b", "c"}, *const two[] = {"b", "c"};
    const struct nb_onnx_attr attrs[] = {
        {.name = "keepdims", .type = NB_ONNX_ATTR_INT, .i = 0},
        {.name = "axes", .type = NB_ONNX_ATTR_INTS, .ints = axes, .n = 1}};
    struct nb_onnx_node nodes[3] = {net_node("mean", "ReduceMean", x, 1, a),
                                    net_node("parts", "Split", a, 1, parts),
                                    net_node("sum", "Add", two, 2, y)};
    struct net_ports ports;
    static const int64_t dims[] = {4, 4};
    struct nb_onnx_model out;
    struct nb_edit e;
    nodes[0].attrs = attrs;
    nodes[0].n_attrs = 2;
    nodes[1].n_outputs = 2;
    const struct nb_onnx_model m = net_model(&ports, dims, 2, 17, nodes, 3, NULL, 0);
    assert_ok(nb_edit_init(&e, &m, NULL, &err), &err);
    assert_ok(nb_ptq_raise_for_blocks(&e, &err), &err);
    assert_ok(nb_edit_model(&e, &out, &err), &err);
    assert_int_equal(nb_onnx_opset_version(&out, ""), 21);
    assert_int_equal(out.ir_version, 10);
    const struct nb_onnx_node *mean = node_of(&out, "ReduceMean"), *split = node_of(&out, "Split");
    assert_int_equal(mean->n_attrs, 1);
    assert_string_equal(mean->attrs[0].name, "keepdims");
    assert_int_equal(mean->n_inputs, 2);
    assert_memory_equal(initializer_of(&out, mean->inputs[1])->data, axes, 8);
    assert_int_equal(nb_onnx_find_attr(split, "num_outputs")->i, 2);
    nb_edit_fini(&e);
    nodes[0].op_type = "GridSample";
    assert_ok(nb_edit_init(&e, &m, NULL, &err), &err);
    assert_fails(nb_ptq_raise_for_blocks(&e, &err), NB_ERR_UNSUPPORTED, &err,
                 "'GridSample' of operator set 17 cannot be raised to 21");
    nb_edit_fini(&e);
}

static enum nb_status body(void *ctx, const struct nb_allocator *alloc)
{
    struct nb_onnx_node nodes[5];
    struct nb_onnx_model m;
    struct nb_edit e;
    (void)ctx;
    const enum nb_status st = simplify(&fro, nodes, 4, y, &e, &m, alloc);
    nb_edit_fini(&e);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    assert_true(nbtest_oom(body, NULL) > 5);
}

NB_TEST_MAIN(cmocka_unit_test(test_transposes), cmocka_unit_test(test_idle),
             cmocka_unit_test(test_folds), cmocka_unit_test(test_old_slice),
             cmocka_unit_test(test_to_21), cmocka_unit_test(test_memory))
