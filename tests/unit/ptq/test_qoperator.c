/* A QDQ model with integer operators gives what the QDQ model gives. */
#include "unit/ptq/small_net.h"

static struct nb_error err;

enum { C = 2, M = 3, SIDE = 4, PIXELS = SIDE * SIDE, SAMPLES = 5, NODES = 10, N = 4, MOST_IN = 3 };

static const int64_t w_dims[] = {M, C, 1, 1}, b_dims[] = {M}, v_dims[] = {2 * M, N}, c_dims[] = {N},
                     to_dims[] = {2}, x_dims[] = {1, C, SIDE, SIDE};
static float w[M * C], b[M], v[2 * M * N], c[N], samples[SAMPLES * C * PIXELS];
static const int64_t to[] = {1, -1};
static const struct {
    const char *op, *in[MOST_IN], *out;
} nodes[NODES] = {
    {"Conv", {"x", "w", "b"}, "a"},    {"Relu", {"a"}, "r"},
    {"Add", {"r", "r"}, "s"},          {"Sigmoid", {"s"}, "g"},
    {"Mul", {"s", "g"}, "m"},          {"Concat", {"m", "r"}, "k"},
    {"GlobalAveragePool", {"k"}, "p"}, {"Reshape", {"p", "to"}, "f"},
    {"Gemm", {"f", "v", "c"}, "e"},    {"Softmax", {"e"}, "y"},
};

struct model {
    struct nb_onnx_node nodes[NODES];
    struct nb_onnx_attr axis;
    struct nb_onnx_tensor tensors[5];
    struct net_ports ports;
    struct nb_onnx_model m;
};

static void fill(float *x, size_t n, int seed)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(((int)i * 37 + seed) % 101 - 45) / 50.0F;
}

static void model_init(struct model *s)
{
    memset(s, 0, sizeof *s);
    fill(w, M * C, 1);
    fill(b, M, 2);
    fill(v, 2 * M * N, 3);
    fill(c, N, 4);
    fill(samples, NB_COUNTOF(samples), 5);
    s->axis = (struct nb_onnx_attr){.name = "axis", .type = NB_ONNX_ATTR_INT, .i = 1};
    for (size_t i = 0; i < NODES; i++) {
        size_t n = 0;
        while (n < MOST_IN && nodes[i].in[n] != NULL)
            n++;
        s->nodes[i] = net_node(nodes[i].out, nodes[i].op, nodes[i].in, n, &nodes[i].out);
        if (strcmp(nodes[i].op, "Concat") == 0) {
            s->nodes[i].attrs = &s->axis;
            s->nodes[i].n_attrs = 1;
        }
    }
    s->tensors[0] = net_floats("w", w_dims, 4, w);
    s->tensors[1] = net_floats("b", b_dims, 1, b);
    s->tensors[2] = net_floats("v", v_dims, 2, v);
    s->tensors[3] = net_floats("c", c_dims, 1, c);
    s->tensors[4] = net_tensor("to", NB_ONNX_INT64, to_dims, 1, to);
    s->m = net_model(&s->ports, x_dims, 4, 13, s->nodes, NODES, s->tensors, 5);
}

static const float *const inputs[] = {samples};
static const struct nb_ptq_data data = {.inputs = inputs, .n_samples = SAMPLES};

static void create(struct nb_ptq **p, const struct model *s, const struct nb_ptq_options *o)
{
    assert_ok(nb_ptq_create(p, &s->m, NULL, o, &data, NULL, NULL, &err), &err);
}

static void test_same(void **state)
{
    (void)state;
    static const struct {
        const char *op;
        size_t n;
    } want[] = {{"QLinearConv", 1},
                {"QLinearAdd", 1},
                {"QLinearSigmoid", 1},
                {"QLinearMul", 1},
                {"QGemm", 1},
                {"QLinearConcat", 1},
                {"Reshape", 1},
                {"Softmax", 1},
                {"QLinearGlobalAveragePool", 1},
                {"Conv", 0},
                {"Relu", 0},
                {"Gemm", 0},
                {"QuantizeLinear", 2}, /* x, and what Softmax makes */
                {"DequantizeLinear", 2}};
    struct nb_ptq_error e = {.n_right = 0};
    struct model s;
    struct nb_ptq *qdq, *whole;
    model_init(&s);
    create(&qdq, &s, &(struct nb_ptq_options){.format = NB_PTQ_QDQ});
    create(&whole, &s, &(struct nb_ptq_options){.format = NB_PTQ_QOPERATOR});
    const struct nb_onnx_model *m = nb_ptq_model(whole);
    for (size_t i = 0; i < NB_COUNTOF(want); i++)
        if (count_of(m, want[i].op) != want[i].n)
            fail_msg("%zu nodes %s, expected %zu", count_of(m, want[i].op), want[i].op, want[i].n);
    assert_int_equal(nb_onnx_opset_version(m, "com.microsoft"), 1);
    assert_ok(nb_ptq_measure(&e, nb_ptq_model(qdq), m, NULL, &data, NULL, NULL, &err), &err);
    assert_true(e.of.signal > 0.0 && e.of.most < 1.01 / 255.0); /* a step of Softmax's grid */
    nb_ptq_destroy(qdq);
    nb_ptq_destroy(whole);
}

/* Without a grid on both sides an operator stays as it is, and so does its Relu. */
static void test_kept(void **state)
{
    (void)state;
    static const char *const keep[] = {"Add", "Gemm"};
    struct nb_ptq_error e = {.n_right = 0};
    struct model s;
    struct nb_ptq *p;
    model_init(&s);
    create(&p, &s,
           &(struct nb_ptq_options){
               .format = NB_PTQ_QOPERATOR, .keep = keep, .n_keep = 2, .per_tensor = true});
    assert_int_equal(count_of(nb_ptq_model(p), "Add"), 1);
    assert_int_equal(count_of(nb_ptq_model(p), "Gemm"), 1);
    assert_int_equal(count_of(nb_ptq_model(p), "QGemm"), 0);
    assert_ok(nb_ptq_measure(&e, &s.m, nb_ptq_model(p), NULL, &data, NULL, NULL, &err), &err);
    assert_true(e.of.noise < 1e-3 * e.of.signal);
    nb_ptq_destroy(p);
}

static enum nb_status make(struct nb_ptq **p, void *ctx, const struct nb_allocator *a)
{
    const struct nb_ptq_options o = {.format = NB_PTQ_QOPERATOR};
    const struct model *s = ctx;
    return nb_ptq_create(p, &s->m, NULL, &o, &data, NULL, a, &err);
}

static void test_memory(void **state)
{
    (void)state;
    struct model s;
    model_init(&s);
    assert_true(net_oom(make, &s) > 40);
}

NB_TEST_MAIN(cmocka_unit_test(test_same), cmocka_unit_test(test_kept),
             cmocka_unit_test(test_memory))
