/* A convolution, a batch norm and a Relu become a QDQ model. */
#include "unit/ptq/small_net.h"

static struct nb_error err;

enum { C = 2, M = 3, SIDE = 4, PIXELS = SIDE * SIDE, SAMPLES = 5 };

static const char *const conv_in[] = {"x", "w", "b"}, *const conv_out[] = {"c"};
static const char *const norm_in[] = {"c", "gamma", "beta", "mean", "var"}, *const norm_out[] = {
                                                                                "n"};
static const char *const relu_in[] = {"n"}, *const relu_out[] = {"y"};
static const float w[M * C] = {0.5F, -1.0F, 0.25F, 0.125F, -2.0F, 1.0F}, b[M] = {0.1F, -0.2F, 0.3F},
                         gamma_[M] = {1.0F, 2.0F, 0.5F}, beta[M] = {0.0F, 0.5F, -0.5F},
                         mean[M] = {0.2F, 0.0F, -0.3F}, var[M] = {1.0F, 4.0F, 0.25F};
static const int64_t w_dims[] = {M, C, 1, 1}, m_dims[] = {M}, x_dims[] = {1, C, SIDE, SIDE};
static float samples[SAMPLES * C * PIXELS];

struct model {
    struct nb_onnx_node nodes[3];
    struct nb_onnx_tensor tensors[6];
    struct net_ports ports;
    struct nb_onnx_model m;
};

static void model_init(struct model *s, int64_t opset)
{
    memset(s, 0, sizeof *s);
    s->nodes[0] = net_node("conv", "Conv", conv_in, 3, conv_out);
    s->nodes[1] = net_node("norm", "BatchNormalization", norm_in, 5, norm_out);
    s->nodes[2] = net_node("relu", "Relu", relu_in, 1, relu_out);
    s->tensors[0] = net_floats("w", w_dims, 4, w);
    s->tensors[1] = net_floats("b", m_dims, 1, b);
    s->tensors[2] = net_floats("gamma", m_dims, 1, gamma_);
    s->tensors[3] = net_floats("beta", m_dims, 1, beta);
    s->tensors[4] = net_floats("mean", m_dims, 1, mean);
    s->tensors[5] = net_floats("var", m_dims, 1, var);
    s->m = net_model(&s->ports, x_dims, 4, opset, s->nodes, 3, s->tensors, 6);
    for (size_t i = 0; i < NB_COUNTOF(samples); i++)
        samples[i] = (float)((int)(i * 37 % 101) - 40) / 20.0F; /* -2 .. 3 */
}

static const float *const inputs[] = {samples};
static const struct nb_ptq_data data = {.inputs = inputs, .n_samples = SAMPLES};

static void check_close(const struct model *s, const struct nb_ptq *p, double least_db)
{
    const double db = net_decibels(&s->m, nb_ptq_model(p), &data);
    print_message("SQNR %.1f dB\n", db);
    assert_true(db > least_db);
}

static void test_ort(void **state)
{
    (void)state;
    struct model s;
    struct nb_ptq *p;
    const struct nb_ptq_options o = {.profile = NB_PTQ_ORT_CPU};
    model_init(&s, 13);
    assert_ok(nb_ptq_create(&p, &s.m, NULL, &o, &data, NULL, NULL, &err), &err);
    const struct nb_onnx_model *m = nb_ptq_model(p);
    assert_int_equal(count_of(m, "BatchNormalization"), 0);
    assert_int_equal(count_of(m, "QuantizeLinear"),
                     2); /* x, and what Relu makes: not what lies between */
    assert_int_equal(count_of(m, "DequantizeLinear"), 4);
    const struct nb_onnx_node *out = maker_of(m, "y"), *conv = node_of(m, "Conv");
    assert_string_equal(out->op_type, "DequantizeLinear");
    assert_non_null(conv);
    const struct nb_onnx_node *wd = maker_of(m, conv->inputs[1]),
                              *bd = maker_of(m, conv->inputs[2]);
    const struct nb_onnx_node *xd = maker_of(m, conv->inputs[0]);
    const struct nb_onnx_tensor *wq = initializer_of(m, wd->inputs[0]);
    const struct nb_onnx_tensor *ws = initializer_of(m, wd->inputs[1]);
    const struct nb_onnx_tensor *bq = initializer_of(m, bd->inputs[0]);
    const double sx = float_of(initializer_of(m, xd->inputs[1]), 0);
    assert_int_equal(wq->type, NB_ONNX_INT8);
    assert_int_equal(bq->type, NB_ONNX_INT32);
    assert_int_equal(initializer_of(m, xd->inputs[2])->type, NB_ONNX_UINT8);
    assert_int_equal(ws->n, M);
    assert_close(sx, 5.0 / 255.0, 1e-7);
    for (size_t i = 0; i < M; i++) {
        const double f = (double)gamma_[i] / sqrt((double)var[i] + 1e-5);
        const double most = fmax(fabs((double)w[2 * i]), fabs((double)w[2 * i + 1])) * f;
        const double bias = ((double)b[i] - (double)mean[i]) * f + (double)beta[i];
        int32_t q;
        memcpy(&q, bq->data + 4 * i, 4);
        assert_close(float_of(ws, i), most / 127.0, 1e-6 * most);
        assert_close(q * sx * float_of(ws, i), bias, sx * float_of(ws, i));
    }
    check_close(&s, p, 35.0);
    nb_ptq_destroy(p);
}

static void test_profiles(void **state)
{
    (void)state;
    static const char *const keep[] = {"conv"};
    struct model s;
    struct nb_ptq *p;
    struct nb_ptq_options o = {.profile = NB_PTQ_TENSORRT};
    model_init(&s, 11); /* raised */
    assert_ok(nb_ptq_create(&p, &s.m, NULL, &o, &data, NULL, NULL, &err), &err);
    assert_int_equal(nb_ptq_model(p)->opsets[0].version, 13);
    assert_int_equal(count_of(nb_ptq_model(p), "QuantizeLinear"), 2); /* x and the weights */
    assert_int_equal(count_of(nb_ptq_model(p), "DequantizeLinear"), 2);
    assert_string_equal(maker_of(nb_ptq_model(p), "y")->op_type, "Relu");
    check_close(&s, p, 30.0);
    nb_ptq_destroy(p);
    for (int r = 0; r < NB_N_PTQ_RANGES; r++) {
        o = (struct nb_ptq_options){.range = (enum nb_ptq_range)r, .per_tensor = true};
        assert_ok(nb_ptq_create(&p, &s.m, NULL, &o, &data, NULL, NULL, &err), &err);
        check_close(&s, p, 15.0);
        nb_ptq_destroy(p);
    }
    o = (struct nb_ptq_options){.keep = keep, .n_keep = 1};
    assert_ok(nb_ptq_create(&p, &s.m, NULL, &o, &data, NULL, NULL, &err), &err);
    assert_string_equal(maker_of(nb_ptq_model(p), "n")->op_type, "Conv");
    nb_ptq_destroy(p);
}

static void test_refused(void **state)
{
    (void)state;
    struct model s;
    struct nb_ptq *p;
    const struct nb_ptq_options o = {.profile = NB_PTQ_ORT_CPU};
    const struct nb_ptq_data nothing = {.inputs = inputs};
    model_init(&s, 13);
    assert_fails(nb_ptq_create(&p, &s.m, NULL, &o, &nothing, NULL, NULL, &err), NB_ERR_ARG, &err,
                 "no samples");
    samples[17] = NAN;
    assert_fails(nb_ptq_create(&p, &s.m, NULL, &o, &data, NULL, NULL, &err), NB_ERR_NUMERIC, &err,
                 "'x' is not finite");
    model_init(&s, 11);
    s.nodes[2].op_type = "TopK";
    assert_fails(nb_ptq_create(&p, &s.m, NULL, &o, &data, NULL, NULL, &err), NB_ERR_UNSUPPORTED,
                 &err, "'TopK' of operator set 11 cannot be raised");
}

/* A channel that its norm has switched off: the scale of its weights would be too fine for its bias. */
static void test_dead_channel(void **state)
{
    (void)state;
    static const float off[M] = {1.0F, 1e-12F, 0.5F}, high[M] = {0.0F, 2.5F, -0.5F};
    const struct nb_net_options net = {.n_dims = 0};
    struct nb_ptq_options o = {.profile = NB_PTQ_ORT_CPU, .range = NB_PTQ_MINMAX};
    struct nb_ptq_error e[1] = {{.n_right = 0}};
    struct nb_ptq *q;
    struct model s;
    model_init(&s, 13);
    s.tensors[2] = net_floats("gamma", m_dims, 1, off);
    s.tensors[3] = net_floats("beta", m_dims, 1, high);
    for (int wide = 0; wide < 2; wide++) { /* steps of 16 bits are finer still */
        o.activations = wide ? NB_PTQ_INT16 : NB_PTQ_INT8;
        assert_ok(nb_ptq_create(&q, &s.m, &net, &o, &data, NULL, NULL, &err), &err);
        memset(e, 0, sizeof e);
        assert_ok(nb_ptq_measure(e, &s.m, nb_ptq_model(q), &net, &data, NULL, NULL, &err), &err);
        assert_true(e->of.most < 0.1);
        nb_ptq_destroy(q);
    }
}

static enum nb_status make(struct nb_ptq **p, void *ctx, const struct nb_allocator *a)
{
    const struct nb_ptq_options o = {.range = NB_PTQ_MSE};
    const struct model *s = ctx;
    return nb_ptq_create(p, &s->m, NULL, &o, &data, NULL, a, &err);
}

static void test_memory(void **state)
{
    (void)state;
    struct model s;
    model_init(&s, 13);
    assert_true(net_oom(make, &s) > 40);
}

NB_TEST_MAIN(cmocka_unit_test(test_ort), cmocka_unit_test(test_profiles),
             cmocka_unit_test(test_refused), cmocka_unit_test(test_dead_channel),
             cmocka_unit_test(test_memory))
