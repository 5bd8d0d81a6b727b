/* Grids of values: by who makes them, by who reads them; where a value goes on behind its rounding. */
#include "net/net.h"
#include "support/nbtest.h"

static const float half = 0.5f;
static const float two_scales[] = {0.5f, 0.25f};
static const int8_t minus = -7;
static const uint8_t plus = 200;
static const int64_t two[] = {2};

static const uint8_t *bytes(const void *p)
{
    return p;
}

#define NODE(op, i, n, o)                                                                          \
    {                                                                                              \
        .op_type = (op), .inputs = (i), .n_inputs = (n), .outputs = (o), .n_outputs = 1            \
    }

static void test_grids(void **state)
{
    (void)state;
    static const char *const dx[] = {"x", "s", "m"}, *const xf[] = {"xf"}, *const hq[] = {"h_q"};
    static const char *const qh[] = {"h", "s", "p"}, *const dh[] = {"h_q", "s", "p"};
    static const char *const hd[] = {"h_dq"}, *const h[] = {"h"}, *const qy[] = {"h_dq", "s"};
    static const char *const y[] = {"y"}, *const dw[] = {"w", "s2"}, *const wf[] = {"wf"};
    const struct nb_onnx_tensor inits[] = {
        {.name = "s", .type = NB_ONNX_FLOAT32, .n = 1, .data = bytes(&half), .bytes = 4},
        {.name = "m", .type = NB_ONNX_INT8, .n = 1, .data = bytes(&minus), .bytes = 1},
        {.name = "s2",
         .type = NB_ONNX_FLOAT32,
         .rank = 1,
         .dims = two,
         .n = 2,
         .data = bytes(two_scales),
         .bytes = 8}};
    const struct nb_onnx_tensor zero = {.type = NB_ONNX_UINT8, .n = 1, .data = &plus, .bytes = 1};
    const struct nb_onnx_attr value = {.name = "value", .type = NB_ONNX_ATTR_TENSOR, .t = &zero};
    static const char *const p[] = {"p"};
    const struct nb_onnx_node nodes[] = {
        {.op_type = "Constant", .outputs = p, .n_outputs = 1, .attrs = &value, .n_attrs = 1},
        NODE("DequantizeLinear", dx, 3, xf),
        NODE("Relu", xf, 1, h),
        NODE("QuantizeLinear", qh, 3, hq),
        NODE("DequantizeLinear", dh, 3, hd),
        NODE("DequantizeLinear", dw, 2, wf),
        NODE("QuantizeLinear", qy, 2, y)};
    const struct nb_onnx_model m = {.graph = {.nodes = nodes,
                                              .n_nodes = NB_COUNTOF(nodes),
                                              .initializers = inits,
                                              .n_initializers = NB_COUNTOF(inits)}};
    struct nb_net_grid g;
    assert_true(nb_net_grid(&m, "x", &g)); /* read */
    assert_true(g.scale == 0.5f && g.zero == -7);
    assert_true(nb_net_grid(&m, "h_q", &g)); /* made; its zero point is a node */
    assert_true(g.scale == 0.5f && g.zero == 200);
    assert_true(nb_net_grid(&m, "y", &g)); /* no zero point */
    assert_int_equal(g.zero, 0);
    assert_false(nb_net_grid(&m, "h", &g));
    assert_false(nb_net_grid(&m, "w", &g)); /* by channel */
    assert_false(nb_net_grid(&m, "nothing", &g));
    assert_true(nb_net_step(&m, "h_dq") == 0.5f && nb_net_step(&m, "y") == 0.5f);
    assert_true(nb_net_step(&m, "h") == 0.0f && nb_net_step(&m, "wf") == 0.0f);
    assert_string_equal(nb_net_rounded(&m, "h"), "h_dq");
    assert_null(nb_net_rounded(&m, "xf"));
    assert_null(nb_net_rounded(&m, "h_dq")); /* it leaves as codes */
}

NB_TEST_MAIN(cmocka_unit_test(test_grids))
