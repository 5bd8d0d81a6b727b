/* MatMulNBits: weights of 2, 4 and 8 bits, zero points of every kind, a bias; what is refused. */
#include "net/net.h"
#include "run/net.h"
#include "support/nbtest.h"

static struct nb_error err;

enum { N = 3, K = 20, BLOCK = 16, BLOCKS = 2, ROWS = 2 };

static const char *const outs[] = {"y"};
static uint8_t codes[N * BLOCKS * BLOCK], zeros[N * BLOCKS];
static float scales[N * BLOCKS], real_zeros[N * BLOCKS], bias[N];
static const int64_t flat_dims[] = {N * BLOCKS}, bias_dims[] = {N};
static int64_t code_dims[] = {N, BLOCKS, 0}, zero_dims[] = {0};
static const int64_t g_dims[] = {K};
static int32_t g_idx[K];

struct net {
    struct nb_onnx_node node;
    struct nb_onnx_attr attrs[4];
    struct nb_onnx_tensor tensors[6];
    struct nb_onnx_dim dims[3];
    struct nb_onnx_value in, out;
    struct nb_onnx_opset opset;
    struct nb_onnx_model m;
};

static struct nb_onnx_tensor tensor(const char *name, int32_t type, const int64_t *dims,
                                    size_t rank, const void *data)
{
    struct nb_onnx_tensor t = {
        .name = name, .type = type, .rank = rank, .dims = dims, .data = data};
    assert_true(nb_onnx_count(&t.n, &t.bytes, type, dims, rank));
    return t;
}

/* inputs: (n_inputs) names of x, codes, scales, zeros or real_zeros, g_idx, bias */
static void net_init(struct net *n, unsigned bits, const char *const *inputs, size_t n_inputs)
{
    memset(n, 0, sizeof *n);
    code_dims[2] = BLOCK * bits / 8;
    zero_dims[0] = N * ((BLOCKS * bits + 7) / 8);
    for (size_t i = 0; i < sizeof codes; i++)
        codes[i] = (uint8_t)(i * 73 + 11);
    for (size_t i = 0; i < N * BLOCKS; i++) {
        scales[i] = 0.25F * (float)(i + 1);
        zeros[i] = (uint8_t)(i * 29 + 5);
        real_zeros[i] = 1.5F + (float)i;
    }
    for (size_t i = 0; i < N; i++)
        bias[i] = (float)i - 1.0F;
    const struct nb_onnx_attr attrs[] = {
        {.name = "K", .type = NB_ONNX_ATTR_INT, .i = K},
        {.name = "N", .type = NB_ONNX_ATTR_INT, .i = N},
        {.name = "bits", .type = NB_ONNX_ATTR_INT, .i = bits},
        {.name = "block_size", .type = NB_ONNX_ATTR_INT, .i = BLOCK}};
    memcpy(n->attrs, attrs, sizeof attrs);
    n->node = (struct nb_onnx_node){.name = "product",
                                    .op_type = "MatMulNBits",
                                    .domain = "com.microsoft",
                                    .inputs = inputs,
                                    .outputs = outs,
                                    .n_inputs = n_inputs,
                                    .n_outputs = 1,
                                    .attrs = n->attrs,
                                    .n_attrs = 4};
    n->tensors[0] = tensor("codes", NB_ONNX_UINT8, code_dims, 3, codes);
    n->tensors[1] = tensor("scales", NB_ONNX_FLOAT32, flat_dims, 1, scales);
    n->tensors[2] = tensor("zeros", NB_ONNX_UINT8, zero_dims, 1, zeros);
    n->tensors[3] = tensor("real_zeros", NB_ONNX_FLOAT32, flat_dims, 1, real_zeros);
    n->tensors[4] = tensor("g_idx", NB_ONNX_INT32, g_dims, 1, g_idx);
    n->tensors[5] = tensor("bias", NB_ONNX_FLOAT32, bias_dims, 1, bias);
    n->dims[0] = (struct nb_onnx_dim){.value = 1};
    n->dims[1] = (struct nb_onnx_dim){.value = ROWS};
    n->dims[2] = (struct nb_onnx_dim){.value = K};
    n->in = (struct nb_onnx_value){.name = "x",
                                   .typed = true,
                                   .tensor = true,
                                   .type = NB_ONNX_FLOAT32,
                                   .rank = 3,
                                   .dims = n->dims};
    n->out = (struct nb_onnx_value){.name = "y", .rank = -1, .type = NB_ONNX_FLOAT32};
    n->opset = (struct nb_onnx_opset){"", 13};
    n->m = (struct nb_onnx_model){.opsets = &n->opset,
                                  .n_opsets = 1,
                                  .graph = {.nodes = &n->node,
                                            .n_nodes = 1,
                                            .initializers = n->tensors,
                                            .n_initializers = 6,
                                            .inputs = &n->in,
                                            .n_inputs = 1,
                                            .outputs = &n->out,
                                            .n_outputs = 1}};
}

static double code_at(const uint8_t *data, size_t i, unsigned bits)
{
    const size_t bit = i * bits;
    return data[bit / 8] >> (bit % 8) & ((1U << bits) - 1);
}

static void check_run(unsigned bits, const char *const *inputs, size_t n_inputs)
{
    struct net n;
    struct nb_net *net;
    struct nb_net_session *s;
    float x[ROWS * K], y[ROWS * N];
    const void *in[] = {x};
    void *out[] = {y};
    net_init(&n, bits, inputs, n_inputs);
    assert_ok(nb_net_import(&net, &n.m, NULL, NULL, &err), &err);
    assert_int_equal(net->g.values[net->output_values[0]].rank, 3);
    const struct nb_net_ports ports = {&net->g, net->input_values, net->output_values, 1, 1};
    assert_ok(nb_net_session_create(&s, &ports, NULL, NULL, &err), &err);
    for (int i = 0; i < ROWS * K; i++)
        x[i] = (float)(i % 7) - 3.0F;
    nb_net_session_run(s, in, out);
    const char *z = n_inputs > 3 ? inputs[3] : "";
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < N; i++) {
            double sum = n_inputs > 5 ? (double)bias[i] : 0.0;
            for (size_t k = 0; k < K; k++) {
                const size_t b = k / BLOCK, at = i * BLOCKS + b;
                double zero = (double)(1U << (bits - 1));
                if (strcmp(z, "real_zeros") == 0)
                    zero = (double)real_zeros[at];
                else if (z[0] != '\0')
                    zero = code_at(zeros + i * ((BLOCKS * bits + 7) / 8), b, bits);
                const double q = code_at(codes + i * BLOCKS * BLOCK * bits / 8, k, bits);
                sum += (q - zero) * (double)scales[at] * (double)x[r * K + k];
            }
            assert_close(y[r * N + i], sum, 1e-3);
        }
    nb_net_session_destroy(s);
    nb_net_close(net);
}

static void test_run(void **state)
{
    (void)state;
    static const char *const plain[] = {"x", "codes", "scales"};
    static const char *const whole[] = {"x", "codes", "scales", "zeros"};
    static const char *const all[] = {"x", "codes", "scales", "real_zeros", "", "bias"};
    static const char *const biased[] = {"x", "codes", "scales", "", "", "bias"};
    for (unsigned bits = 2; bits <= 8; bits *= 2) {
        check_run(bits, plain, 3);
        check_run(bits, whole, 4);
        check_run(bits, all, 6);
        check_run(bits, biased, 6);
    }
}

static void refused(const struct net *n, enum nb_status st, const char *text)
{
    struct nb_net *net;
    assert_fails(nb_net_import(&net, &n->m, NULL, NULL, &err), st, &err, text);
    assert_null(net);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const plain[] = {"x", "codes", "scales"};
    static const char *const ordered[] = {"x", "codes", "scales", "", "g_idx"};
    static const char *const made[] = {"x", "codes", "x"};
    struct net n;
    net_init(&n, 4, ordered, 5);
    refused(&n, NB_ERR_UNSUPPORTED, "g_idx");
    net_init(&n, 4, made, 3);
    refused(&n, NB_ERR_UNSUPPORTED, "scales depend on data");
    net_init(&n, 4, plain, 3);
    n.attrs[2].i = 3;
    refused(&n, NB_ERR_UNSUPPORTED, "weights of 3 bits");
    net_init(&n, 4, plain, 3);
    n.attrs[0].i = 21;
    refused(&n, NB_ERR_FORMAT, "input 0 does not have 21 columns");
    n.attrs[0].i = 33; /* three blocks */
    refused(&n, NB_ERR_FORMAT, "weights: 48 elements, expected 72");
    n.attrs[3].i = 24;
    refused(&n, NB_ERR_FORMAT, "blocks of 24");
    net_init(&n, 4, plain, 3);
    n.node.domain = "com.example";
    refused(&n, NB_ERR_UNSUPPORTED, "no such operator of domain com.example");
    n.node.domain = "";
    refused(&n, NB_ERR_UNSUPPORTED, "no such operator");
}

NB_TEST_MAIN(cmocka_unit_test(test_run), cmocka_unit_test(test_refused))
