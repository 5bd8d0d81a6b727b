/* What multiplies and adds a constant for each channel goes into a transposed convolution before it. */
#include "net/net.h"
#include "run/net.h"
#include "support/nbtest.h"

enum { C = 3, M = 2, KERNEL = 2, SIDE = 3, OUT = 2 * SIDE };

static struct nb_error err;
static const char *const in_xw[] = {"x", "w"}, *const out_t[] = {"t"}, *const in_ts[] = {"t", "s"};
static const char *const out_u[] = {"u"}, *const in_bu[] = {"b", "u"}, *const out_y[] = {"y"};
static const int64_t kernel[] = {KERNEL, KERNEL};
static const int64_t w_dims[] = {C, M, KERNEL, KERNEL}, s_dims[] = {1, M, 1, 1},
                     b_dims[] = {M, 1, 1};
static float w_data[C * M * KERNEL * KERNEL];
static const float s_data[] = {0.5F, -3.0F}, b_data[] = {7.0F, 0.25F};

static struct nb_onnx_tensor tensor(const char *name, const int64_t *dims, uint32_t rank,
                                    const float *data, size_t n)
{
    return (struct nb_onnx_tensor){.name = name,
                                   .type = NB_ONNX_FLOAT32,
                                   .rank = rank,
                                   .dims = dims,
                                   .n = n,
                                   .data = (const void *)data,
                                   .bytes = n * sizeof *data};
}

static struct nb_onnx_node node(const char *type, const char *const *in, const char *const *out)
{
    return (struct nb_onnx_node){.name = type,
                                 .op_type = type,
                                 .domain = "",
                                 .inputs = in,
                                 .outputs = out,
                                 .n_inputs = 2,
                                 .n_outputs = 1};
}

static void run(struct nb_net *net, const float *x, float *y)
{
    const struct nb_net_ports ports = {&net->g, net->input_values, net->output_values, 1, 1};
    const void *in[] = {x};
    void *out[] = {y};
    struct nb_net_session *s;
    assert_ok(nb_net_session_create(&s, &ports, NULL, NULL, &err), &err);
    nb_net_session_run(s, in, out);
    nb_net_session_destroy(s);
}

/* y = b + s ConvTranspose(x, w) */
static void check(int64_t stride, size_t n_nodes)
{
    const int64_t strides[] = {stride, stride};
    const struct nb_onnx_attr attrs[] = {
        {.name = "kernel_shape", .type = NB_ONNX_ATTR_INTS, .ints = kernel, .n = 2},
        {.name = "strides", .type = NB_ONNX_ATTR_INTS, .ints = strides, .n = 2}};
    struct nb_onnx_node nodes[] = {node("ConvTranspose", in_xw, out_t), node("Mul", in_ts, out_u),
                                   node("Add", in_bu, out_y)};
    const struct nb_onnx_tensor tensors[] = {tensor("w", w_dims, 4, w_data, NB_COUNTOF(w_data)),
                                             tensor("s", s_dims, 4, s_data, M),
                                             tensor("b", b_dims, 3, b_data, M)};
    struct nb_onnx_dim dims[] = {{.value = 1}, {.value = C}, {.value = SIDE}, {.value = SIDE}};
    const struct nb_onnx_value x_value = {.name = "x",
                                          .typed = true,
                                          .tensor = true,
                                          .type = NB_ONNX_FLOAT32,
                                          .rank = 4,
                                          .dims = dims};
    const struct nb_onnx_value y_value = {.name = "y", .rank = -1, .type = NB_ONNX_FLOAT32};
    const struct nb_onnx_opset opset = {"", 13};
    const struct nb_onnx_model m = {.opsets = &opset,
                                    .n_opsets = 1,
                                    .graph = {.nodes = nodes,
                                              .n_nodes = NB_COUNTOF(nodes),
                                              .initializers = tensors,
                                              .n_initializers = NB_COUNTOF(tensors),
                                              .inputs = &x_value,
                                              .n_inputs = 1,
                                              .outputs = &y_value,
                                              .n_outputs = 1}};
    float x[C * SIDE * SIDE], want[M * OUT * OUT], y[M * OUT * OUT];
    const size_t side = (size_t)((SIDE - 1) * stride + KERNEL);
    struct nb_net *net, *derived;
    nodes[0].attrs = attrs;
    nodes[0].n_attrs = NB_COUNTOF(attrs);
    for (size_t i = 0; i < NB_COUNTOF(x); i++)
        x[i] = (float)(i % 7) - 2.5F;
    for (size_t i = 0; i < NB_COUNTOF(w_data); i++)
        w_data[i] = 0.3F * (float)(i % 5) - 0.4F;
    assert_ok(nb_net_import(&net, &m, NULL, NULL, &err), &err);
    assert_ok(nb_net_derive(&derived, net, NB_NET_AFFINE, &err), &err);
    assert_int_equal(net->g.n_nodes, 3);
    assert_int_equal(derived->g.n_nodes, n_nodes);
    run(net, x, want);
    run(derived, x, y);
    for (size_t i = 0; i < M * side * side; i++)
        assert_close(y[i], want[i], 1e-5);
    nb_net_close(derived);
    nb_net_close(net);
}

static void test_conv_transpose(void **state)
{
    (void)state;
    check(2, 1);
    check(1, 1);
}

NB_TEST_MAIN(cmocka_unit_test(test_conv_transpose))
