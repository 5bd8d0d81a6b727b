/* Outliers go into the weights: by a norm, by a product through a Relu, by a Mul of its own; not where nothing takes them. What
 * the net computes stays, and what 8 bits make of it comes nearer.
 */
#include "ptq/ptq_internal.h"
#include "unit/ptq/small_net.h"

enum { ROWS = 6, COLS = 8, N_NODES = 14, SAMPLES = 8 };

static struct nb_error err;
static float w[COLS * COLS], v[COLS * COLS], gamma_[COLS], beta[COLS],
    samples[SAMPLES * ROWS * COLS];
static const int64_t square[] = {COLS, COLS}, row[] = {COLS};

static const char *const in[N_NODES][3] = {
    {"x", "gamma", "beta"},
    {"n", "w"},
    {"n", "w"},
    {"q"},
    {"r", "v"},
    {"k"},
    {"p", "v"},
    {"q2"},
    {"e", "v"},
    {"a", "b"},
    {"s", "gamma", "beta"},
    {"n2", "turned", "bias"},
    {"n2", "g"},
    {"n", "v"},
};
static const char *const out[N_NODES][1] = {{"n"}, {"q"}, {"k"}, {"r"},  {"a"}, {"p"}, {"b"},
                                            {"e"}, {"c"}, {"s"}, {"n2"}, {"g"}, {"y"}, {"q2"}};
static const char *const ops[N_NODES] = {"LayerNormalization",
                                         "MatMul",
                                         "MatMul",
                                         "Relu",
                                         "MatMul",
                                         "Softmax",
                                         "MatMul",
                                         "Erf",
                                         "MatMul",
                                         "Add",
                                         "LayerNormalization",
                                         "Gemm",
                                         "Add",
                                         "MatMul"};
static const size_t n_in[N_NODES] = {3, 2, 2, 1, 2, 1, 2, 1, 2, 2, 3, 3, 2, 2};

/* Of matrices (ROWS, COLS): a Gemm takes no more. Borrows: what is static. */
struct net {
    struct nb_onnx_node nodes[N_NODES];
    struct nb_onnx_attr transposed;
    struct nb_onnx_tensor tensors[6];
    struct net_ports ports;
    struct nb_onnx_model m;
    struct nb_ptq_data data;
    const float *inputs[1];
};
static struct net net;

static void net_init(void)
{
    static const int64_t dims[] = {ROWS, COLS};
    struct nb_rng r = {.seed = 3};
    memset(&net, 0, sizeof net);
    for (size_t i = 0; i < COLS; i++) {
        gamma_[i] = (i == 2 ? 60.0F : 1.0F) * (1.0F + 0.1F * (float)nb_rng_normal(&r));
        beta[i] = 0.2F * (float)nb_rng_normal(&r);
    }
    for (size_t i = 0; i < NB_COUNTOF(w); i++) {
        w[i] = 0.4F * (float)nb_rng_normal(&r) / (i / COLS == 2 ? 60.0F : 1.0F);
        v[i] = 0.4F * (float)nb_rng_normal(&r);
    }
    for (size_t i = 0; i < NB_COUNTOF(samples); i++)
        samples[i] = (float)nb_rng_normal(&r);
    net.transposed = (struct nb_onnx_attr){.name = "transB", .type = NB_ONNX_ATTR_INT, .i = 1};
    for (size_t i = 0; i < N_NODES; i++)
        net.nodes[i] = net_node(out[i][0], ops[i], in[i], n_in[i], out[i]);
    net.nodes[11].attrs = &net.transposed;
    net.nodes[11].n_attrs = 1;
    /* makers first: q2 before what reads it; c is for nobody, g + n2 leave */
    const struct nb_onnx_node last = net.nodes[N_NODES - 1];
    memmove(&net.nodes[8], &net.nodes[7], (N_NODES - 8) * sizeof last);
    net.nodes[7] = last;
    net.tensors[0] = net_floats("w", square, 2, w);
    net.tensors[1] = net_floats("v", square, 2, v);
    net.tensors[2] = net_floats("gamma", row, 1, gamma_);
    net.tensors[3] = net_floats("beta", row, 1, beta);
    net.tensors[4] = net_floats("turned", square, 2, v);
    net.tensors[5] = net_floats("bias", row, 1, beta);
    net.m = net_model(&net.ports, dims, 2, 17, net.nodes, N_NODES, net.tensors, 6);
    net.inputs[0] = samples;
    net.data = (struct nb_ptq_data){.inputs = net.inputs, .n_samples = SAMPLES};
}

static void test_same(void **state)
{
    (void)state;
    struct nb_edit e;
    struct nb_onnx_model m;
    struct nb_ptq_smoothed s;
    net_init();
    assert_ok(nb_edit_init(&e, &net.m, NULL, &err), &err);
    assert_ok(nb_ptq_smooth(&e, 0.5, NULL, &net.data, NULL, &s, &err), &err);
    assert_int_equal(s.n_folded, 2);     /* n by its norm, r by the weights of q */
    assert_int_equal(s.n_multiplied, 1); /* n2, which the last sum reads too */
    assert_int_equal(s.n_even, 1);       /* e */
    assert_int_equal(s.n_stuck, 1);      /* p */
    assert_ok(nb_edit_model(&e, &m, &err), &err);
    const double db = net_decibels(&net.m, &m, &net.data);
    print_message("%.1f dB\n", db);
    assert_true(db > 110.0);
    assert_int_equal(count_of(&m, "Mul"), 1);
    nb_edit_fini(&e);
}

static void test_gain(void **state)
{
    (void)state;
    double db[3];
    net_init();
    for (int k = 0; k < 3; k++) {
        const struct nb_ptq_options o = {.smooth = k > 0, .alpha = k == 1 ? 0.5 : -1.0};
        struct nb_ptq *p;
        assert_ok(nb_ptq_create(&p, &net.m, NULL, &o, &net.data, NULL, NULL, &err), &err);
        assert_int_equal(nb_ptq_report(p)->smoothed.n_folded, k > 0 ? 2 : 0);
        db[k] = net_decibels(&net.m, nb_ptq_model(p), &net.data);
        nb_ptq_destroy(p);
    }
    print_message("%.1f dB, smoothed %.1f dB, by the best of some %.1f dB\n", db[0], db[1], db[2]);
    assert_true(db[1] > db[0] + 6.0);
    assert_true(db[2] >= db[1]);
}

/* A value that leaves the net, and one whose maker has another reader, are not divided by what makes them. */
static void test_fold(void **state)
{
    (void)state;
    struct nb_edit e;
    bool can;
    net_init();
    assert_ok(nb_edit_init(&e, &net.m, NULL, &err), &err);
    assert_ok(nb_smooth_fold(&e, "r", COLS, NULL, &can, &err), &err);
    assert_true(can);
    assert_ok(nb_smooth_fold(&e, "n", COLS, NULL, &can, &err), &err);
    assert_true(can);
    assert_ok(nb_smooth_fold(&e, "n", COLS - 1, NULL, &can, &err), &err);
    assert_false(can);
    assert_ok(nb_smooth_fold(&e, "p", COLS, NULL, &can, &err), &err);
    assert_false(can);
    assert_ok(nb_smooth_fold(&e, "x", COLS, NULL, &can, &err), &err);
    assert_false(can);
    assert_true(nb_smooth_is_float(&e, "e"));
    assert_true(nb_smooth_is_float(&e, "n2"));
    assert_false(nb_smooth_is_float(&e, "p"));
    nb_edit_fini(&e);
}

static enum nb_status body(void *ctx, const struct nb_allocator *a)
{
    const struct nb_ptq_options o = {.smooth = true, .alpha = 0.5};
    struct nb_ptq *p;
    (void)ctx;
    const enum nb_status st = nb_ptq_create(&p, &net.m, NULL, &o, &net.data, NULL, a, &err);
    nb_ptq_destroy(p);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    net_init();
    assert_true(nbtest_oom(body, NULL) > 60);
}

NB_TEST_MAIN(cmocka_unit_test(test_same), cmocka_unit_test(test_gain), cmocka_unit_test(test_fold),
             cmocka_unit_test(test_memory))
