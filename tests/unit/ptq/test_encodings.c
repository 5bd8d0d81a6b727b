/* Encodings of a small net, and the float net that they belong to. */
#include "unit/ptq/small_net.h"

static struct nb_error err;

enum { C = 2, M = 3, SIDE = 4, PIXELS = SIDE * SIDE, SAMPLES = 5 };

static const char *const conv_in[] = {"x", "w", "b"}, *const conv_out[] = {"c"};
static const char *const relu_in[] = {"c"}, *const relu_out[] = {"y"};
static const float w[M * C] = {0.5F, -1.27F, 0.25F, 0.125F, -2.54F, 1.0F},
                         b[M] = {0.1F, -0.2F, 0.3F};
static const int64_t w_dims[] = {M, C, 1, 1}, m_dims[] = {M}, x_dims[] = {1, C, SIDE, SIDE};
static float samples[SAMPLES * C * PIXELS];

struct model {
    struct nb_onnx_node nodes[2];
    struct nb_onnx_tensor tensors[2];
    struct net_ports ports;
    struct nb_onnx_model m;
};

static void model_init(struct model *s)
{
    memset(s, 0, sizeof *s);
    s->nodes[0] = net_node("conv", "Conv", conv_in, 3, conv_out);
    s->nodes[1] = net_node("relu", "Relu", relu_in, 1, relu_out);
    s->tensors[0] = net_floats("w", w_dims, 4, w);
    s->tensors[1] = net_floats("b", m_dims, 1, b);
    s->m = net_model(&s->ports, x_dims, 4, 13, s->nodes, 2, s->tensors, 2);
    for (size_t i = 0; i < NB_COUNTOF(samples); i++)
        samples[i] = (float)((int)(i * 37 % 102) - 51) / 51.0F; /* -1 .. 50 / 51 */
    samples[0] = 1.55F;                                         /* 255 steps of 0.01, zero at 100 */
}

static const float *const inputs[] = {samples};
static const struct nb_ptq_data data = {.inputs = inputs, .n_samples = SAMPLES};

static void check_text(const char *version, enum nb_ptq_profile profile, const char *want)
{
    const struct nb_ptq_options o = {.profile = profile, .encodings = version};
    struct model s;
    struct nb_ptq *p;
    model_init(&s);
    assert_ok(nb_ptq_create(&p, &s.m, NULL, &o, &data, NULL, NULL, &err), &err);
    if (strstr(nb_ptq_encodings(p)->data, want) == NULL)
        fail_msg("no '%s' in %s", want, nb_ptq_encodings(p)->data);
    nb_ptq_destroy(p);
}

/* real = scale * (q + offset), q from 0 on */
static void test_text(void **state)
{
    (void)state;
    check_text("1.0.0", NB_PTQ_QNN,
               "{\"version\":\"1.0.0\",\n\"activation_encodings\":[\n{\"name\":\"x\"");
    check_text("1.0.0", NB_PTQ_QNN,
               "\"enc_type\":\"PER_TENSOR\",\"dtype\":\"INT\",\"bw\":8,\"is_sym\":false,"
               "\"scale\":[0.00999999978],\"offset\":[-100]},\n{\"name\":\"y\"");
    check_text("1.0.0", NB_PTQ_QNN,
               "\n\"param_encodings\":[\n{\"name\":\"w\",\"enc_type\":\"PER_CHANNEL\",\"dtype\":"
               "\"INT\",\"bw\":8,\"is_sym\":true,\"scale\":[0.00999999978,");
    check_text("1.0.0", NB_PTQ_QNN, "0.0199999996],\"offset\":[-128,-128,-128]}]");
    check_text("0.6.1", NB_PTQ_QNN,
               "\"x\":[{\"bitwidth\":8,\"dtype\":\"int\",\"is_symmetric\":\"False\",\"min\":"
               "-0.999999978,\"max\":1.54999997,\"offset\":-100,\"scale\":0.00999999978}]");
    check_text("0.6.1", NB_PTQ_QNN,
               "\"param_encodings\":{\n\"w\":[{\"bitwidth\":8,\"dtype\":\"int\",\"is_symmetric\":"
               "\"True\",\"min\":-1.27999997,\"max\":1.26999997,\"offset\":-128,");
    check_text("1.0.0", NB_PTQ_TENSORRT, "\"param_encodings\":[\n{\"name\":\"w\"");
}

static void test_float(void **state)
{
    (void)state;
    const struct nb_ptq_options o = {.format = NB_PTQ_FLOAT, .encodings = "1.0.0"};
    struct nb_ptq_error e = {.n_right = 0};
    struct model s;
    struct nb_ptq *p;
    model_init(&s);
    assert_ok(nb_ptq_create(&p, &s.m, NULL, &o, &data, NULL, NULL, &err), &err);
    const struct nb_onnx_graph *g = &nb_ptq_file(p)->graph;
    assert_int_equal(g->n_nodes, 2);
    assert_string_equal(g->nodes[0].inputs[0], "x");
    assert_string_equal(g->nodes[0].inputs[1], "w");
    assert_string_equal(g->nodes[1].outputs[0], "y");
    assert_int_equal(g->n_initializers, 2);
    for (size_t i = 0; i < M * C; i++) {
        float x;
        const double step =
            fmax(fabs((double)w[i / C * C]), fabs((double)w[i / C * C + 1])) / 127.0;
        assert_string_equal(g->initializers[0].name, "w");
        memcpy(&x, g->initializers[0].data + 4 * i, sizeof x);
        assert_close(x / step, nearbyint((double)x / step), 1e-4);
        assert_close(x, w[i], 0.51 * step);
    }
    assert_ok(nb_ptq_measure(&e, &s.m, nb_ptq_file(p), NULL, &data, NULL, NULL, &err), &err);
    assert_true(e.of.noise < 1e-3 * e.of.signal);
    nb_ptq_destroy(p);
}

static enum nb_status make(struct nb_ptq **p, void *ctx, const struct nb_allocator *a)
{
    const struct nb_ptq_options o = {.format = NB_PTQ_FLOAT, .encodings = "0.6.1"};
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

NB_TEST_MAIN(cmocka_unit_test(test_text), cmocka_unit_test(test_float),
             cmocka_unit_test(test_memory))
