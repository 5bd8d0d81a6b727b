/* What import says of nets that it cannot take, and what it makes of open dimensions and fixed inputs. */
#include "net/net.h"
#include "run/net.h"
#include "support/nbtest.h"

static struct nb_error err;

static const char *const in_xw[] = {"x", "w"}, *const out_a[] = {"a"}, *const in_a[] = {"a"},
                         *const out_y[] = {"y"}, *const in_q[] = {"q"};
static const float w_data[] = {1, 2, 3};
static const int64_t w_dims[] = {3};

/* y = Identity(x + w), x (N, 3) */
struct net {
    struct nb_onnx_node nodes[2];
    struct nb_onnx_tensor w;
    struct nb_onnx_dim dims[2];
    struct nb_onnx_value in, out;
    struct nb_onnx_opset opset;
    struct nb_onnx_model m;
};

static void net_init(struct net *n)
{
    const void *data = w_data;
    memset(n, 0, sizeof *n);
    n->nodes[0] = (struct nb_onnx_node){.name = "sum",
                                        .op_type = "Add",
                                        .domain = "",
                                        .inputs = in_xw,
                                        .outputs = out_a,
                                        .n_inputs = 2,
                                        .n_outputs = 1};
    n->nodes[1] = (struct nb_onnx_node){.name = "same",
                                        .op_type = "Identity",
                                        .domain = "",
                                        .inputs = in_a,
                                        .outputs = out_y,
                                        .n_inputs = 1,
                                        .n_outputs = 1};
    n->w = (struct nb_onnx_tensor){.name = "w",
                                   .type = NB_ONNX_FLOAT32,
                                   .rank = 1,
                                   .dims = w_dims,
                                   .n = 3,
                                   .data = data,
                                   .bytes = sizeof w_data};
    n->dims[0] = (struct nb_onnx_dim){.value = -1, .name = "N"};
    n->dims[1] = (struct nb_onnx_dim){.value = 3};
    n->in = (struct nb_onnx_value){.name = "x",
                                   .typed = true,
                                   .tensor = true,
                                   .type = NB_ONNX_FLOAT32,
                                   .rank = 2,
                                   .dims = n->dims};
    n->out = (struct nb_onnx_value){.name = "y", .rank = -1, .type = NB_ONNX_FLOAT32};
    n->opset = (struct nb_onnx_opset){"", 13};
    n->m = (struct nb_onnx_model){.opsets = &n->opset,
                                  .n_opsets = 1,
                                  .graph = {.nodes = n->nodes,
                                            .n_nodes = 2,
                                            .initializers = &n->w,
                                            .n_initializers = 1,
                                            .inputs = &n->in,
                                            .n_inputs = 1,
                                            .outputs = &n->out,
                                            .n_outputs = 1}};
}

static const struct nb_net_dim four = {"N", 4};
static const struct nb_net_options n_is_4 = {.dims = &four, .n_dims = 1};

static void test_run(void **state)
{
    (void)state;
    struct net n;
    struct nb_net *net;
    struct nb_net_session *s;
    float x[12], y[12];
    const void *in[] = {x};
    void *out[] = {y};
    net_init(&n);
    assert_ok(nb_net_import(&net, &n.m, &n_is_4, NULL, &err), &err);
    assert_int_equal(net->n_inputs, 1);
    assert_int_equal(net->n_outputs, 1);
    assert_string_equal(net->outputs[0].name, "y");
    assert_int_equal(net->g.values[net->inputs[0].value].dim[0].n, 4);
    const struct nb_net_ports ports = {&net->g, net->input_values, net->output_values, 1, 1};
    assert_ok(nb_net_session_create(&s, &ports, NULL, NULL, &err), &err);
    for (int i = 0; i < 12; i++)
        x[i] = (float)i;
    nb_net_session_run(s, in, out);
    for (int i = 0; i < 12; i++)
        assert_true(y[i] == (float)i + w_data[i % 3]);
    nb_net_session_destroy(s);
    nb_net_close(net);
}

static void test_fixed(void **state)
{
    (void)state;
    const struct nb_net_fixed seven = {.input = "x", .value = 7.0};
    const struct nb_net_options o = {.dims = &four, .n_dims = 1, .fixed = &seven, .n_fixed = 1};
    struct net n;
    struct nb_net *net;
    net_init(&n);
    assert_ok(nb_net_import(&net, &n.m, &o, NULL, &err), &err);
    assert_int_equal(net->n_inputs, 0);
    assert_int_equal(net->g.n_nodes, 1); /* the copy to the output */
    nb_net_close(net);
}

static void refused(const struct net *n, const struct nb_net_options *o, enum nb_status st,
                    const char *text)
{
    struct nb_net *net;
    assert_fails(nb_net_import(&net, &n->m, o, NULL, &err), st, &err, text);
    assert_null(net);
}

static void test_refused(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    refused(&n, NULL, NB_ERR_ARG, "dimension 0 of input 'x' is open, it is called N");
    const struct nb_net_dim m = {"M", 4};
    refused(&n, &(struct nb_net_options){.dims = &m, .n_dims = 1}, NB_ERR_ARG,
            "no input of the net has a dimension 'M'");
    const int64_t dims[] = {4, 5};
    struct nb_net_shape shape = {"x", dims, 2};
    const struct nb_net_options by_shape = {.shapes = &shape, .n_shapes = 1};
    refused(&n, &by_shape, NB_ERR_ARG, "dimension 1 of input 'x' is 3, 5 was given");
    shape.rank = 1;
    refused(&n, &by_shape, NB_ERR_ARG, "has 2 dimensions, 1 were given");
    shape.input = "z";
    refused(&n, &by_shape, NB_ERR_ARG, "the net has no input 'z'");
    n.in.type = NB_ONNX_STRING;
    refused(&n, &n_is_4, NB_ERR_UNSUPPORTED, "input 'x' is of type string");
    net_init(&n);
    n.nodes[1].op_type = "Frobnicate";
    refused(&n, &n_is_4, NB_ERR_UNSUPPORTED,
            "node 'same' (Frobnicate): nibble has no such operator");
    n.nodes[1].domain = "org.example";
    refused(&n, &n_is_4, NB_ERR_UNSUPPORTED, "of domain org.example");
    net_init(&n);
    n.nodes[1].inputs = in_q;
    refused(&n, &n_is_4, NB_ERR_FORMAT, "node 'same' (Identity): input 'q' is made by nothing");
    net_init(&n);
    n.dims[1].value = 4;
    refused(&n, &n_is_4, NB_ERR_FORMAT, "node 'sum' (Add): graph: node 0 (binary): dimensions");
    net_init(&n);
    n.out.name = "nothing";
    refused(&n, &n_is_4, NB_ERR_FORMAT, "output 'nothing' is made by no node");
    net_init(&n);
    n.opset.version = 0;
    refused(&n, &n_is_4, NB_ERR_FORMAT, "operator set");
}

static enum nb_status body(void *ctx, const struct nb_allocator *a)
{
    struct nb_net *net, *derived = NULL;
    struct nb_net_session *s = NULL;
    const struct net *n = ctx;
    NB_TRY(nb_net_import(&net, &n->m, &n_is_4, a, &err));
    enum nb_status st = nb_net_derive(&derived, net, NB_NET_ALL, &err);
    if (st == NB_OK) {
        const struct nb_net_ports ports = {&derived->g, derived->input_values,
                                           derived->output_values, 1, 1};
        st = nb_net_session_create(&s, &ports, NULL, a, &err);
    }
    nb_net_session_destroy(s);
    nb_net_close(derived);
    nb_net_close(net);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    assert_true(nbtest_oom(body, &n) > 20);
}

NB_TEST_MAIN(cmocka_unit_test(test_run), cmocka_unit_test(test_fixed),
             cmocka_unit_test(test_refused), cmocka_unit_test(test_memory))
