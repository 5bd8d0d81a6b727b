/* A net in float16: casts where it meets what stays float32, constants that it does not hold, inputs and outputs. */
#include "unit/ptq/small_net.h"

static struct nb_error err;

enum { K = 4, N = 3, ROWS = 2, SAMPLES = 6, NODES = 6 };

static const char *const i0[] = {"x", "w"}, *const o0[] = {"a"};
static const char *const i1[] = {"a", "big"}, *const o1[] = {"m"};
static const char *const i2[] = {"a", "b"}, *const o2[] = {"y"};
static const char *const i3[] = {"m"}, *const o3[] = {"z"};
static const char *const i4[] = {"y"}, *const o4[] = {"shape"};
static const char *const i5[] = {"y"}, *const o5[] = {"last"};
static const int64_t w_dims[] = {K, N}, b_dims[] = {N}, one[] = {1}, x_dims[] = {ROWS, K};
static float w[K * N], b[N], samples[SAMPLES * ROWS * K];
static const float big = 1e6F;

struct model {
    struct nb_onnx_node nodes[NODES];
    struct nb_onnx_tensor tensors[3];
    struct net_ports ports;
    struct nb_onnx_value inputs[2], outs[4];
    struct nb_onnx_model m;
};

static void model_init(struct model *s)
{
    static const char *const names[] = {"y", "z", "shape", "last"};
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < K * N; i++)
        w[i] = (float)(i % 5) / 7.0F - 0.3F;
    for (size_t i = 0; i < N; i++)
        b[i] = (float)i / 3.0F;
    for (size_t i = 0; i < NB_COUNTOF(samples); i++)
        samples[i] = (float)((int)(i * 37 % 101) - 50) / 31.0F;
    s->nodes[0] = net_node("MatMul", "MatMul", i0, 2, o0);
    s->nodes[1] = net_node("Mul", "Mul", i1, 2, o1); /* a constant that float16 does not hold */
    s->nodes[2] = net_node("Add", "Add", i2, 2, o2);
    s->nodes[3] = net_node("Tanh", "Tanh", i3, 1, o3);
    s->nodes[4] = net_node("Shape", "Shape", i4, 1, o4); /* of any type */
    s->nodes[5] = net_node("Sigmoid", "Sigmoid", i5, 1, o5);
    s->tensors[0] = net_floats("w", w_dims, 2, w);
    s->tensors[1] = net_floats("b", b_dims, 1, b);
    s->tensors[2] = net_floats("big", one, 1, &big);
    s->m = net_model(&s->ports, x_dims, 2, 13, s->nodes, NODES, s->tensors, 3);
    s->inputs[0] = s->inputs[1] = s->ports.in;
    s->inputs[1].name = "w"; /* a weight, as old files list them */
    for (size_t i = 0; i < 4; i++)
        s->outs[i] = (struct nb_onnx_value){.name = names[i],
                                            .typed = true,
                                            .tensor = true,
                                            .rank = -1,
                                            .type = i == 2 ? NB_ONNX_INT64 : NB_ONNX_FLOAT32};
    s->m.ir_version = 3;
    s->m.graph.inputs = s->inputs;
    s->m.graph.n_inputs = 2;
    s->m.graph.outputs = s->outs;
    s->m.graph.n_outputs = 4;
}

static const float *const inputs[] = {samples};
static const struct nb_ptq_data data = {.inputs = inputs, .n_samples = SAMPLES},
                                nothing = {.n_samples = 0};

static int32_t type_of(const struct nb_onnx_model *m, const char *name)
{
    const struct nb_onnx_tensor *t = initializer_of(m, name);
    return t != NULL ? t->type : NB_ONNX_UNDEFINED;
}

/* The node of an operator, and that input k of it is a cast of `from` to that type. */
static const struct nb_onnx_node *cast_of(const struct nb_onnx_model *m, const char *name,
                                          const char *from, int64_t type)
{
    const struct nb_onnx_node *c = maker_of(m, name);
    assert_non_null(c);
    assert_string_equal(c->op_type, "Cast");
    assert_int_equal(nb_onnx_find_attr(c, "to")->i, type);
    if (from != NULL)
        assert_string_equal(c->inputs[0], from);
    return c;
}

static double decibels(const struct model *s, const struct nb_ptq *p)
{
    return net_decibels(&s->m, nb_ptq_model(p), &data);
}

static void test_half(void **state)
{
    (void)state;
    const struct nb_ptq_half_options o = {.n_keep = 0};
    struct model s;
    struct nb_ptq *p;
    model_init(&s);
    assert_ok(nb_ptq_create_half(&p, &s.m, NULL, &o, &nothing, NULL, NULL, &err), &err);
    const struct nb_onnx_model *m = nb_ptq_model(p);
    assert_int_equal(nb_ptq_report(p)->n_quantized, 4); /* all but Mul and Shape */
    assert_int_equal(nb_ptq_report(p)->n_beyond, 1);
    assert_int_equal(nb_ptq_report(p)->n_kept, 1);
    assert_int_equal(m->graph.n_inputs, 1);
    assert_int_equal(m->ir_version, 4);
    const struct nb_onnx_node *product = node_of(m, "MatMul"), *mul = node_of(m, "Mul");
    cast_of(m, product->inputs[0], "x", NB_ONNX_FLOAT16);
    assert_int_equal(type_of(m, product->inputs[1]), NB_ONNX_FLOAT16);
    cast_of(m, mul->inputs[0], "a", NB_ONNX_FLOAT32);
    assert_int_equal(type_of(m, mul->inputs[1]), NB_ONNX_FLOAT32);
    cast_of(m, node_of(m, "Tanh")->inputs[0], "m", NB_ONNX_FLOAT16);
    const struct nb_onnx_node *add = node_of(m, "Add");
    assert_string_equal(add->inputs[0], "a");
    cast_of(m, "y", add->outputs[0], NB_ONNX_FLOAT32);
    cast_of(m, "z", node_of(m, "Tanh")->outputs[0], NB_ONNX_FLOAT32);
    assert_string_equal(node_of(m, "Shape")->inputs[0], add->outputs[0]);
    assert_string_equal(node_of(m, "Sigmoid")->inputs[0], add->outputs[0]);
    assert_true(decibels(&s, p) > 60.0);
    nb_ptq_destroy(p);
}

/* What samples take too far, or is kept by name, stays. */
static void test_kept(void **state)
{
    (void)state;
    static const char *const keep[] = {"Add"};
    struct nb_ptq_half_options o = {.keep = keep, .n_keep = 1};
    struct model s;
    struct nb_ptq *p;
    model_init(&s);
    assert_ok(nb_ptq_create_half(&p, &s.m, NULL, &o, &data, NULL, NULL, &err), &err);
    const struct nb_onnx_model *m = nb_ptq_model(p);
    assert_string_equal(maker_of(m, "y")->op_type, "Add");
    assert_string_equal(maker_of(m, "y")->inputs[1], "b");
    assert_string_equal(maker_of(m, "z")->op_type, "Tanh"); /* m passes 65504 */
    assert_string_equal(maker_of(m, "z")->inputs[0], "m");
    assert_int_equal(nb_ptq_report(p)->n_beyond_values, 1);
    assert_int_equal(nb_ptq_report(p)->n_quantized, 2);
    assert_true(decibels(&s, p) > 60.0);
    nb_ptq_destroy(p);
}

static void test_refused(void **state)
{
    (void)state;
    const struct nb_ptq_half_options o = {.n_keep = 0};
    struct model s;
    struct nb_ptq *p;
    model_init(&s);
    for (size_t i = 0; i < NODES; i++)
        s.nodes[i].domain = "com.example";
    assert_fails(nb_ptq_create_half(&p, &s.m, NULL, &o, &nothing, NULL, NULL, &err),
                 NB_ERR_UNSUPPORTED, &err, "no node of this net takes float16");
}

static enum nb_status make(struct nb_ptq **p, void *ctx, const struct nb_allocator *a)
{
    const struct nb_ptq_half_options o = {.n_keep = 0};
    const struct model *s = ctx;
    return nb_ptq_create_half(p, &s->m, NULL, &o, &data, NULL, a, &err);
}

static void test_memory(void **state)
{
    (void)state;
    struct model s;
    model_init(&s);
    assert_true(net_oom(make, &s) > 40);
}

NB_TEST_MAIN(cmocka_unit_test(test_half), cmocka_unit_test(test_kept),
             cmocka_unit_test(test_refused), cmocka_unit_test(test_memory))
