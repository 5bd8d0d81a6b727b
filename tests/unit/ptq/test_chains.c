/* What stays float though it has an integer form: a GELU, a norm written out, attention's scores, the sums between norms; a
 * product and its bias are one; a cast that changes nothing goes.
 */
#include "ptq/ptq_internal.h"
#include "unit/ptq/small_net.h"

enum { ROWS = 6, COLS = 8, MOST = 40, SAMPLES = 4 };

static struct nb_error err;
static float w[COLS * COLS], bias[COLS], gamma_[COLS], mask[ROWS], samples[SAMPLES * ROWS * COLS];
static float scale = 0.35F, one = 1.0F, half = 0.5F, root = 1.41421356F, two = 2.0F,
             epsilon = 1e-5F;
static const int64_t w_dims[] = {COLS, COLS}, row[] = {COLS}, mask_dims[] = {ROWS}, alone[] = {1};
static const int64_t axis[] = {-1}, swap[] = {0, 2, 1};

/* Nodes of one output, whose names are those of their outputs. */
struct net {
    struct nb_onnx_node nodes[MOST];
    const char *in[MOST][2], *out[MOST][1];
    struct nb_onnx_attr attrs[3];
    struct nb_onnx_tensor tensors[10];
    struct net_ports ports;
    struct nb_onnx_model m;
    struct nb_ptq_data data;
    const float *inputs[1];
};
static struct net net;

static struct nb_onnx_node *add(const char *op, const char *a, const char *b, const char *out)
{
    struct nb_onnx_graph *g = &net.m.graph;
    const size_t i = g->n_nodes++;
    assert_true(i < MOST);
    net.in[i][0] = a;
    net.in[i][1] = b;
    net.out[i][0] = out;
    net.nodes[i] = net_node(out, op, net.in[i], b != NULL ? 2 : 1, net.out[i]);
    return &net.nodes[i];
}

static void add_norm(const char *x, const char *mean, const char *d, const char *root_of,
                     const char *y)
{
    struct nb_onnx_node *n = add("ReduceMean", x, NULL, mean);
    n->attrs = &net.attrs[0];
    n->n_attrs = 1;
    add("Sub", x, mean, d);
    add("Pow", d, "two", "square");
    n = add("ReduceMean", "square", NULL, "variance");
    n->attrs = &net.attrs[0];
    n->n_attrs = 1;
    add("Add", "variance", "epsilon", "variance_e");
    add("Sqrt", "variance_e", NULL, root_of);
    add("Div", d, root_of, "normed");
    add("Mul", "normed", "gamma", "normed_g");
    add("Add", "normed_g", "bias", y);
}

/* A block of an encoder: attention, a GELU, each behind a norm and added to the stream. */
static void net_init(void)
{
    static const int64_t in[] = {1, ROWS, COLS};
    struct nb_rng r = {.seed = 5};
    memset(&net, 0, sizeof net);
    for (size_t i = 0; i < NB_COUNTOF(w); i++)
        w[i] = 0.4F * (float)nb_rng_normal(&r);
    for (size_t i = 0; i < COLS; i++) {
        bias[i] = 0.3F * (float)nb_rng_normal(&r);
        gamma_[i] = 1.0F + 0.2F * (float)nb_rng_normal(&r);
    }
    for (size_t i = 0; i < ROWS; i++)
        mask[i] = i + 2 < ROWS ? 0.0F : -3e38F;
    for (size_t i = 0; i < NB_COUNTOF(samples); i++)
        samples[i] = (float)nb_rng_normal(&r);
    net.attrs[0] =
        (struct nb_onnx_attr){.name = "axes", .type = NB_ONNX_ATTR_INTS, .ints = axis, .n = 1};
    net.attrs[1] =
        (struct nb_onnx_attr){.name = "perm", .type = NB_ONNX_ATTR_INTS, .ints = swap, .n = 3};
    net.attrs[2] = (struct nb_onnx_attr){.name = "to", .type = NB_ONNX_ATTR_INT, .i = 1};
    add("MatMul", "x", "w", "in_product");
    add("Add", "bias", "in_product", "in");
    add_norm("in", "mean", "d", "deviation", "n");
    add("MatMul", "n", "w", "q");
    add("Transpose", "q", NULL, "q_turned")->attrs = &net.attrs[1];
    net.nodes[net.m.graph.n_nodes - 1].n_attrs = 1;
    add("MatMul", "q", "q_turned", "scores");
    add("Mul", "scores", "scale", "scaled");
    add("Add", "scaled", "mask", "masked");
    add("Softmax", "masked", NULL, "p");
    add("Cast", "p", NULL, "p_cast")->attrs = &net.attrs[2];
    net.nodes[net.m.graph.n_nodes - 1].n_attrs = 1;
    add("MatMul", "p_cast", "q", "mixed");
    add("Add", "in", "mixed", "stream");
    struct nb_onnx_node *n = add("ReduceMean", "stream", NULL, "mean2");
    n->attrs = &net.attrs[0];
    n->n_attrs = 1;
    add("Sub", "stream", "mean2", "centred");
    add("MatMul", "centred", "w", "up_product");
    add("Add", "up_product", "bias", "up");
    add("Div", "up", "root", "scaled_up");
    add("Erf", "scaled_up", NULL, "erf");
    add("Add", "erf", "one", "erf_1");
    add("Mul", "up", "erf_1", "gated");
    add("Mul", "gated", "half", "gelu");
    add("MatMul", "gelu", "w", "down");
    add("Add", "stream", "down", "y");
    net.tensors[0] = net_floats("w", w_dims, 2, w);
    net.tensors[1] = net_floats("bias", row, 1, bias);
    net.tensors[2] = net_floats("gamma", row, 1, gamma_);
    net.tensors[3] = net_floats("mask", mask_dims, 1, mask);
    net.tensors[4] = net_floats("scale", alone, 0, &scale);
    net.tensors[5] = net_floats("one", alone, 0, &one);
    net.tensors[6] = net_floats("half", alone, 0, &half);
    net.tensors[7] = net_floats("root", alone, 0, &root);
    net.tensors[8] = net_floats("two", alone, 0, &two);
    net.tensors[9] = net_floats("epsilon", alone, 0, &epsilon);
    net.m = net_model(&net.ports, in, 3, 13, net.nodes, net.m.graph.n_nodes, net.tensors,
                      NB_COUNTOF(net.tensors));
    net.inputs[0] = samples;
    net.data = (struct nb_ptq_data){.inputs = net.inputs, .n_samples = SAMPLES};
}

static bool has_grid(const struct nb_onnx_model *m, const char *name)
{
    for (size_t i = 0; i < m->graph.n_nodes; i++)
        if (nb_str_eq(m->graph.nodes[i].op_type, "QuantizeLinear") &&
            nb_str_eq(m->graph.nodes[i].inputs[0], name))
            return true;
    return false;
}

static void test_encoder(void **state)
{
    (void)state;
    static const char *const grids[] = {"x", "in",    "n",  "q",    "scores",
                                        "p", "mixed", "up", "gelu", "down"};
    static const char *const floats[] = {
        "in_product", "mean",       "d",         "variance_e", "normed_g", "scaled", "masked",
        "stream",     "up_product", "scaled_up", "erf_1",      "gated",    "erf"};
    const struct nb_ptq_options o = {.bias_correct = true};
    struct nb_ptq *p;
    net_init();
    assert_ok(nb_ptq_create(&p, &net.m, NULL, &o, &net.data, NULL, NULL, &err), &err);
    const struct nb_onnx_model *m = nb_ptq_model(p);
    for (size_t i = 0; i < NB_COUNTOF(grids); i++)
        if (!has_grid(m, grids[i]))
            fail_msg("'%s' has no grid", grids[i]);
    for (size_t i = 0; i < NB_COUNTOF(floats); i++)
        if (has_grid(m, floats[i]))
            fail_msg("'%s' has a grid", floats[i]);
    for (size_t i = 0; i < m->graph.n_nodes; i++)
        assert_string_not_equal(m->graph.nodes[i].op_type, "Cast");
    const double db = net_decibels(&net.m, m, &net.data);
    print_message("%.1f dB\n", db);
    assert_true(db > 30.0);
    nb_ptq_destroy(p);
}

/* Integer operators have no product that ends in floats: there it keeps its grid, and the sum another. */
static void test_integer_operators(void **state)
{
    (void)state;
    const struct nb_ptq_options o = {.format = NB_PTQ_QOPERATOR};
    struct nb_ptq *p;
    size_t n_products = 0, n_sums = 0;
    net_init();
    assert_ok(nb_ptq_create(&p, &net.m, NULL, &o, &net.data, NULL, NULL, &err), &err);
    const struct nb_onnx_graph *g = &nb_ptq_model(p)->graph;
    for (size_t i = 0; i < g->n_nodes; i++) {
        n_products += nb_str_eq(g->nodes[i].op_type, "QLinearMatMul");
        n_sums += nb_str_eq(g->nodes[i].op_type, "QLinearAdd");
    }
    assert_int_equal(n_products, 6);
    assert_int_equal(n_sums, 2); /* both biases */
    assert_true(net_decibels(&net.m, nb_ptq_model(p), &net.data) > 25.0);
    nb_ptq_destroy(p);
}

/* A kept product keeps its bias float. */
static void test_kept(void **state)
{
    (void)state;
    static const char *const keep[] = {"up_product"};
    const struct nb_ptq_options o = {.keep = keep, .n_keep = 1};
    struct nb_ptq *p;
    net_init();
    assert_ok(nb_ptq_create(&p, &net.m, NULL, &o, &net.data, NULL, NULL, &err), &err);
    assert_false(has_grid(nb_ptq_model(p), "up"));
    assert_true(has_grid(nb_ptq_model(p), "gelu"));
    nb_ptq_destroy(p);
}

static enum nb_status body(void *ctx, const struct nb_allocator *a)
{
    const struct nb_ptq_options o = {.bias_correct = true};
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

NB_TEST_MAIN(cmocka_unit_test(test_encoder), cmocka_unit_test(test_integer_operators),
             cmocka_unit_test(test_kept), cmocka_unit_test(test_memory))
