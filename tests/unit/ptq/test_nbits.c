/* Products with constant weights become MatMulNBits; the rest of a net stays as it is. */
#include <math.h>

#include "ptq/ptq.h"
#include "support/nbtest.h"

static struct nb_error err;

enum { K = 40, H = 24, N = 6, ROWS = 3, SAMPLES = 9 };

static const char *const in_a[] = {"x", "w"}, *const out_a[] = {"a"};
static const char *const in_b[] = {"a", "v", "b"}, *const out_b[] = {"y"};
static const int64_t w_dims[] = {K, H}, v_dims[] = {N, H}, b_dims[] = {N};
static float w[K * H], v[N * H], b[N], samples[SAMPLES * ROWS * K];

struct model {
    struct nb_onnx_node nodes[2];
    struct nb_onnx_attr attrs[2];
    struct nb_onnx_tensor tensors[3];
    struct nb_onnx_dim in_dims[2];
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

static void fill(float *x, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((int)((i * 131 + seed * 977) % 499) - 249) / 250.0F;
}

/* x W, then half of that times V^T, plus b. */
static void model_init(struct model *s)
{
    memset(s, 0, sizeof *s);
    fill(w, K * H, 1);
    fill(v, N * H, 2);
    fill(b, N, 3);
    fill(samples, SAMPLES * ROWS * K, 4);
    s->attrs[0] = (struct nb_onnx_attr){.name = "transB", .type = NB_ONNX_ATTR_INT, .i = 1};
    s->attrs[1] = (struct nb_onnx_attr){.name = "alpha", .type = NB_ONNX_ATTR_FLOAT, .f = 0.5F};
    s->nodes[0] = (struct nb_onnx_node){.name = "first",
                                        .op_type = "MatMul",
                                        .domain = "",
                                        .inputs = in_a,
                                        .outputs = out_a,
                                        .n_inputs = 2,
                                        .n_outputs = 1};
    s->nodes[1] = (struct nb_onnx_node){.name = "second",
                                        .op_type = "Gemm",
                                        .domain = "",
                                        .inputs = in_b,
                                        .outputs = out_b,
                                        .n_inputs = 3,
                                        .n_outputs = 1,
                                        .attrs = s->attrs,
                                        .n_attrs = 2};
    s->tensors[0] = tensor("w", w, w_dims, 2, K * H);
    s->tensors[1] = tensor("v", v, v_dims, 2, N * H);
    s->tensors[2] = tensor("b", b, b_dims, 1, N);
    s->in_dims[0] = (struct nb_onnx_dim){.value = ROWS};
    s->in_dims[1] = (struct nb_onnx_dim){.value = K};
    s->in = (struct nb_onnx_value){.name = "x",
                                   .typed = true,
                                   .tensor = true,
                                   .type = NB_ONNX_FLOAT32,
                                   .rank = 2,
                                   .dims = s->in_dims};
    s->out = (struct nb_onnx_value){.name = "y", .rank = -1, .type = NB_ONNX_FLOAT32};
    s->opset = (struct nb_onnx_opset){"", 13};
    s->m = (struct nb_onnx_model){.ir_version = 7,
                                  .opsets = &s->opset,
                                  .n_opsets = 1,
                                  .graph = {.name = "g",
                                            .nodes = s->nodes,
                                            .n_nodes = 2,
                                            .initializers = s->tensors,
                                            .n_initializers = 3,
                                            .inputs = &s->in,
                                            .n_inputs = 1,
                                            .outputs = &s->out,
                                            .n_outputs = 1}};
}

static const float *const inputs[] = {samples};
static const struct nb_ptq_data data = {.inputs = inputs, .n_samples = SAMPLES},
                                nothing = {.n_samples = 0};

static const struct nb_onnx_node *node_of(const struct nb_onnx_model *m, const char *op)
{
    for (size_t i = 0; i < m->graph.n_nodes; i++)
        if (strcmp(m->graph.nodes[i].op_type, op) == 0)
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

static double decibels(const struct model *s, const struct nb_ptq *p)
{
    struct nb_ptq_error e = {0};
    assert_ok(nb_ptq_measure(&e, &s->m, nb_ptq_model(p), NULL, &data, NULL, NULL, &err), &err);
    return 10.0 * log10(e.signal / e.noise);
}

/* Every weight as the operator's definition reads it: within a step of what it was. */
static void check_weights(const struct nb_onnx_model *m, const struct nb_onnx_node *n,
                          unsigned bits, size_t block)
{
    const struct nb_onnx_tensor *codes = initializer(m, n->inputs[1]);
    const struct nb_onnx_tensor *scales = initializer(m, n->inputs[2]);
    const struct nb_onnx_tensor *zeros = n->n_inputs > 3 ? initializer(m, n->inputs[3]) : NULL;
    const size_t blocks = (K + block - 1) / block, row = block * bits / 8 * blocks;
    const size_t zero_row = (blocks * bits + 7) / 8, per = 8 / bits;
    assert_int_equal(codes->type, NB_ONNX_UINT8);
    assert_int_equal(codes->rank, 3);
    assert_int_equal(codes->bytes, H * row);
    assert_int_equal(scales->n, H * blocks);
    for (size_t h = 0; h < H; h++)
        for (size_t k = 0; k < K; k++) {
            const size_t at = k / block;
            float scale;
            memcpy(&scale, scales->data + 4 * (h * blocks + at), 4);
            const unsigned mask = (1U << bits) - 1;
            const unsigned q = codes->data[h * row + k / per] >> (k % per * bits) & mask;
            unsigned z = 1U << (bits - 1);
            if (zeros != NULL)
                z = zeros->data[h * zero_row + at / per] >> (at % per * bits) & mask;
            const float x = ((float)q - (float)z) * scale;
            assert_close(x, w[k * H + h], 1.3 * fabs((double)scale));
        }
}

static void test_types(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        unsigned bits;
        size_t block;
        bool zeros;
        double least_db;
    } all[] = {{"int4_g16", 4, 16, false, 18.0},
               {"int4_g32_asym", 4, 32, true, 18.0},
               {"int4_g128", 4, 128, false, 16.0},
               {"int8_g32", 8, 32, false, 40.0},
               {"int8_g256_asym", 8, 256, true, 38.0}};
    struct model s;
    model_init(&s);
    for (size_t i = 0; i < NB_COUNTOF(all); i++) {
        const struct nb_ptq_weight_options o = {.type = all[i].type};
        struct nb_ptq *p;
        assert_ok(nb_ptq_create_weights(&p, &s.m, NULL, &o, &nothing, NULL, NULL, &err), &err);
        const struct nb_onnx_model *m = nb_ptq_model(p);
        const struct nb_onnx_node *n = node_of(m, "MatMulNBits");
        assert_string_equal(n->domain, "com.microsoft");
        assert_int_equal(nb_onnx_opset_version(m, "com.microsoft"), 1);
        assert_int_equal(nb_onnx_opset_version(m, ""), 13);
        assert_int_equal(nb_onnx_find_attr(n, "K")->i, K);
        assert_int_equal(nb_onnx_find_attr(n, "N")->i, H);
        assert_int_equal(nb_onnx_find_attr(n, "bits")->i, all[i].bits);
        assert_int_equal(nb_onnx_find_attr(n, "block_size")->i, all[i].block);
        assert_int_equal(n->n_inputs, all[i].zeros ? 4 : 3);
        check_weights(m, n, all[i].bits, all[i].block);
        assert_null(node_of(m, "Gemm"));
        assert_string_equal(node_of(m, "Add")->inputs[1], "b");
        assert_string_equal(node_of(m, "Add")->outputs[0], "y");
        assert_int_equal(nb_ptq_report(p)->n_quantized, 2);
        assert_true(decibels(&s, p) > all[i].least_db);
        nb_ptq_destroy(p);
    }
}

/* Rounding that knows the inputs does better on them. */
static void test_methods(void **state)
{
    (void)state;
    static const char *const keep[] = {"Gemm"};
    struct nb_ptq_weight_options o = {.type = "int4_g32", .method = "rtn"};
    struct model s;
    struct nb_ptq *p;
    model_init(&s);
    assert_ok(nb_ptq_create_weights(&p, &s.m, NULL, &o, &data, NULL, NULL, &err), &err);
    const double plain = decibels(&s, p);
    nb_ptq_destroy(p);
    o.method = NULL;
    assert_ok(nb_ptq_create_weights(&p, &s.m, NULL, &o, &data, NULL, NULL, &err), &err);
    const double fed = decibels(&s, p);
    nb_ptq_destroy(p);
    print_message("rtn %.1f dB, with samples %.1f dB\n", plain, fed);
    assert_true(fed > plain + 1.0);
    o = (struct nb_ptq_weight_options){
        .type = "int4_g32_fz", .method = "hqq", .keep = keep, .n_keep = 1};
    assert_ok(nb_ptq_create_weights(&p, &s.m, NULL, &o, &nothing, NULL, NULL, &err), &err);
    const struct nb_onnx_model *m = nb_ptq_model(p);
    assert_non_null(node_of(m, "Gemm"));
    assert_int_equal(initializer(m, node_of(m, "MatMulNBits")->inputs[3])->type, NB_ONNX_FLOAT32);
    assert_true(decibels(&s, p) > 16.0);
    nb_ptq_destroy(p);
}

/* One weight that two products read is stored once; what data make is left. */
static void test_shared(void **state)
{
    (void)state;
    static const char *const again[] = {"x", "w"}, *const out[] = {"z"};
    static const char *const both[] = {"a", "z"}, *const sum[] = {"y"};
    const struct nb_ptq_weight_options o = {.type = "int4_g32"};
    struct model s;
    struct nb_ptq *p;
    model_init(&s);
    struct nb_onnx_node nodes[3] = {s.nodes[0], s.nodes[0], s.nodes[0]};
    nodes[1].inputs = again;
    nodes[1].outputs = out;
    nodes[1].name = "third";
    nodes[2].op_type = "Add";
    nodes[2].inputs = both;
    nodes[2].outputs = sum;
    s.m.graph.nodes = nodes;
    s.m.graph.n_nodes = 3;
    assert_ok(nb_ptq_create_weights(&p, &s.m, NULL, &o, &nothing, NULL, NULL, &err), &err);
    assert_int_equal(nb_ptq_model(p)->graph.n_initializers, 2); /* codes and scales */
    assert_int_equal(nb_ptq_report(p)->n_quantized, 2);
    nb_ptq_destroy(p);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const types[] = {"q4_k",        "int4",    "int4_c", "int3_g32",
                                        "int8_g32_fz", "nf4_g64", "nothing"};
    struct nb_ptq_weight_options o = {.type = "int4_g32", .method = "gptq"};
    struct model s;
    struct nb_ptq *p;
    model_init(&s);
    assert_fails(nb_ptq_create_weights(&p, &s.m, NULL, &o, &nothing, NULL, NULL, &err), NB_ERR_ARG,
                 &err, "gptq needs samples");
    o.method = "awq";
    assert_fails(nb_ptq_create_weights(&p, &s.m, NULL, &o, &nothing, NULL, NULL, &err), NB_ERR_ARG,
                 &err, "no method 'awq'");
    o.method = "hqq";
    assert_fails(nb_ptq_create_weights(&p, &s.m, NULL, &o, &nothing, NULL, NULL, &err),
                 NB_ERR_UNSUPPORTED, &err, "weight 'w': method hqq cannot round to int4_g32");
    o.method = NULL;
    for (size_t i = 0; i < NB_COUNTOF(types); i++) {
        o.type = types[i];
        assert_fails(nb_ptq_create_weights(&p, &s.m, NULL, &o, &nothing, NULL, NULL, &err),
                     NB_ERR_ARG, &err, "expected int4 or int8 in groups");
    }
    w[5] = NAN;
    o.type = "int4_g32";
    assert_fails(nb_ptq_create_weights(&p, &s.m, NULL, &o, &nothing, NULL, NULL, &err),
                 NB_ERR_NUMERIC, &err, "weight 'w'");
}

static enum nb_status body(void *ctx, const struct nb_allocator *a)
{
    const struct nb_ptq_weight_options o = {.type = "int4_g32_asym"};
    const struct model *s = ctx;
    struct nb_ptq *p;
    const enum nb_status st = nb_ptq_create_weights(&p, &s->m, NULL, &o, &data, NULL, a, &err);
    nb_ptq_destroy(p);
    return st;
}

static void test_memory(void **state)
{
    (void)state;
    struct model s;
    model_init(&s);
    assert_true(nbtest_oom(body, &s) > 40);
}

NB_TEST_MAIN(cmocka_unit_test(test_types), cmocka_unit_test(test_methods),
             cmocka_unit_test(test_shared), cmocka_unit_test(test_refused),
             cmocka_unit_test(test_memory))
