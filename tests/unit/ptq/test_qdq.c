/* A convolution, a batch norm and a Relu become a QDQ model. */
#include <math.h>

#include "ptq/ptq.h"
#include "support/nbtest.h"

static struct nb_error err;

enum { C = 2, M = 3, SIDE = 4, PIXELS = SIDE * SIDE, SAMPLES = 5 };

static const char *const conv_in[] = {"x", "w", "b"}, *const conv_out[] = {"c"};
static const char *const norm_in[] = {"c", "gamma", "beta", "mean", "var"}, *const norm_out[] = {
                                                                                "n"};
static const char *const relu_in[] = {"n"}, *const relu_out[] = {"y"};
static const float w[M * C] = {0.5F, -1.0F, 0.25F, 0.125F, -2.0F, 1.0F}, b[M] = {0.1F, -0.2F, 0.3F},
                         gamma_[M] = {1.0F, 2.0F, 0.5F}, beta[M] = {0.0F, 0.5F, -0.5F},
                         mean[M] = {0.2F, 0.0F, -0.3F}, var[M] = {1.0F, 4.0F, 0.25F};
static const int64_t w_dims[] = {M, C, 1, 1}, m_dims[] = {M};
static float samples[SAMPLES * C * PIXELS];

struct model {
    struct nb_onnx_node nodes[3];
    struct nb_onnx_tensor tensors[6];
    struct nb_onnx_dim in_dims[4];
    struct nb_onnx_value in, out;
    struct nb_onnx_opset opset;
    struct nb_onnx_model m;
};

static struct nb_onnx_tensor tensor(const char *name, const float *data, const int64_t *dims,
                                    size_t rank, uint64_t n)
{
    const void *bytes = data;
    return (struct nb_onnx_tensor){.name = name,
                                   .type = NB_ONNX_FLOAT32,
                                   .rank = rank,
                                   .dims = dims,
                                   .n = n,
                                   .data = bytes,
                                   .bytes = 4 * n};
}

static struct nb_onnx_node node(const char *name, const char *op, const char *const *in, size_t n,
                                const char *const *out)
{
    return (struct nb_onnx_node){.name = name,
                                 .op_type = op,
                                 .domain = "",
                                 .inputs = in,
                                 .outputs = out,
                                 .n_inputs = n,
                                 .n_outputs = 1};
}

static void model_init(struct model *s, int64_t opset)
{
    memset(s, 0, sizeof *s);
    s->nodes[0] = node("conv", "Conv", conv_in, 3, conv_out);
    s->nodes[1] = node("norm", "BatchNormalization", norm_in, 5, norm_out);
    s->nodes[2] = node("relu", "Relu", relu_in, 1, relu_out);
    s->tensors[0] = tensor("w", w, w_dims, 4, M * C);
    s->tensors[1] = tensor("b", b, m_dims, 1, M);
    s->tensors[2] = tensor("gamma", gamma_, m_dims, 1, M);
    s->tensors[3] = tensor("beta", beta, m_dims, 1, M);
    s->tensors[4] = tensor("mean", mean, m_dims, 1, M);
    s->tensors[5] = tensor("var", var, m_dims, 1, M);
    const int64_t dims[] = {1, C, SIDE, SIDE};
    for (size_t i = 0; i < 4; i++)
        s->in_dims[i] = (struct nb_onnx_dim){.value = dims[i]};
    s->in = (struct nb_onnx_value){.name = "x",
                                   .typed = true,
                                   .tensor = true,
                                   .type = NB_ONNX_FLOAT32,
                                   .rank = 4,
                                   .dims = s->in_dims};
    s->out = (struct nb_onnx_value){.name = "y", .rank = -1, .type = NB_ONNX_FLOAT32};
    s->opset = (struct nb_onnx_opset){"", opset};
    s->m = (struct nb_onnx_model){.ir_version = 7,
                                  .opsets = &s->opset,
                                  .n_opsets = 1,
                                  .graph = {.name = "g",
                                            .nodes = s->nodes,
                                            .n_nodes = 3,
                                            .initializers = s->tensors,
                                            .n_initializers = 6,
                                            .inputs = &s->in,
                                            .n_inputs = 1,
                                            .outputs = &s->out,
                                            .n_outputs = 1}};
    for (size_t i = 0; i < NB_COUNTOF(samples); i++)
        samples[i] = (float)((int)(i * 37 % 101) - 40) / 20.0F; /* -2 .. 3 */
}

static const float *const inputs[] = {samples};
static const struct nb_ptq_data data = {.inputs = inputs, .n_samples = SAMPLES};

static const struct nb_onnx_node *maker(const struct nb_onnx_model *m, const char *name)
{
    for (size_t i = 0; i < m->graph.n_nodes; i++)
        for (size_t k = 0; k < m->graph.nodes[i].n_outputs; k++)
            if (strcmp(m->graph.nodes[i].outputs[k], name) == 0)
                return &m->graph.nodes[i];
    return NULL;
}

static const struct nb_onnx_tensor *initializer(const struct nb_onnx_model *m, const char *name)
{
    for (size_t i = 0; i < m->graph.n_initializers; i++)
        if (strcmp(m->graph.initializers[i].name, name) == 0)
            return &m->graph.initializers[i];
    return NULL;
}

static size_t count(const struct nb_onnx_model *m, const char *op)
{
    size_t n = 0;
    for (size_t i = 0; i < m->graph.n_nodes; i++)
        n += strcmp(m->graph.nodes[i].op_type, op) == 0;
    return n;
}

static float number(const struct nb_onnx_tensor *t, size_t i)
{
    float x;
    memcpy(&x, t->data + 4 * i, 4);
    return x;
}

static void check_close(const struct model *s, const struct nb_ptq *p, double least_db)
{
    struct nb_ptq_error e = {0};
    assert_ok(nb_ptq_measure(&e, &s->m, nb_ptq_model(p), NULL, &data, NULL, NULL, &err), &err);
    print_message("SQNR %.1f dB\n", 10.0 * log10(e.signal / e.noise));
    assert_true(10.0 * log10(e.signal / e.noise) > least_db);
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
    assert_int_equal(count(m, "BatchNormalization"), 0);
    assert_int_equal(count(m, "QuantizeLinear"),
                     2); /* x, and what Relu makes: not what lies between */
    assert_int_equal(count(m, "DequantizeLinear"), 4);
    const struct nb_onnx_node *out = maker(m, "y"), *conv = NULL;
    assert_string_equal(out->op_type, "DequantizeLinear");
    for (size_t i = 0; i < m->graph.n_nodes; i++)
        if (strcmp(m->graph.nodes[i].op_type, "Conv") == 0)
            conv = &m->graph.nodes[i];
    assert_non_null(conv);
    const struct nb_onnx_node *wd = maker(m, conv->inputs[1]), *bd = maker(m, conv->inputs[2]);
    const struct nb_onnx_node *xd = maker(m, conv->inputs[0]);
    const struct nb_onnx_tensor *wq = initializer(m, wd->inputs[0]);
    const struct nb_onnx_tensor *ws = initializer(m, wd->inputs[1]);
    const struct nb_onnx_tensor *bq = initializer(m, bd->inputs[0]);
    const double sx = (double)number(initializer(m, xd->inputs[1]), 0);
    assert_int_equal(wq->type, NB_ONNX_INT8);
    assert_int_equal(bq->type, NB_ONNX_INT32);
    assert_int_equal(initializer(m, xd->inputs[2])->type, NB_ONNX_UINT8);
    assert_int_equal(ws->n, M);
    assert_close(sx, 5.0 / 255.0, 1e-7);
    for (size_t i = 0; i < M; i++) {
        const double f = (double)gamma_[i] / sqrt((double)var[i] + 1e-5);
        const double most = fmax(fabs((double)w[2 * i]), fabs((double)w[2 * i + 1])) * f;
        const double bias = ((double)b[i] - (double)mean[i]) * f + (double)beta[i];
        int32_t q;
        memcpy(&q, bq->data + 4 * i, 4);
        assert_close((double)number(ws, i), most / 127.0, 1e-6 * most);
        assert_close(q * sx * (double)number(ws, i), bias, sx * (double)number(ws, i));
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
    assert_int_equal(count(nb_ptq_model(p), "QuantizeLinear"), 2); /* x and the weights */
    assert_int_equal(count(nb_ptq_model(p), "DequantizeLinear"), 2);
    assert_string_equal(maker(nb_ptq_model(p), "y")->op_type, "Relu");
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
    assert_string_equal(maker(nb_ptq_model(p), "n")->op_type, "Conv");
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
    struct nb_ptq_error e[1] = {{0}};
    struct nb_ptq *q;
    struct model s;
    model_init(&s, 13);
    s.tensors[2] = tensor("gamma", off, m_dims, 1, M);
    s.tensors[3] = tensor("beta", high, m_dims, 1, M);
    assert_ok(nb_ptq_create(&q, &s.m, &net, &o, &data, NULL, NULL, &err), &err);
    assert_ok(nb_ptq_measure(e, &s.m, nb_ptq_model(q), &net, &data, NULL, NULL, &err), &err);
    assert_true(e->most < 0.1);
    nb_ptq_destroy(q);
}

static enum nb_status body(void *ctx, const struct nb_allocator *a)
{
    const struct nb_ptq_options o = {.range = NB_PTQ_MSE};
    const struct model *s = ctx;
    struct nb_ptq *p;
    const enum nb_status st = nb_ptq_create(&p, &s->m, NULL, &o, &data, NULL, a, &err);
    nb_ptq_destroy(p);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    struct model s;
    model_init(&s, 13);
    assert_true(nbtest_oom(body, &s) > 40);
}

NB_TEST_MAIN(cmocka_unit_test(test_ort), cmocka_unit_test(test_profiles),
             cmocka_unit_test(test_refused), cmocka_unit_test(test_dead_channel),
             cmocka_unit_test(test_memory))
