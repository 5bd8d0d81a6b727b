/* Products with constant weights become MatMulNBits; the rest of a net stays as it is. */
#include "unit/ptq/products.h"

/* Every weight as the operator's definition reads it: within a step of what it was. */
static void check_weights(const struct nb_onnx_model *m, const struct nb_onnx_node *n,
                          unsigned bits, size_t block)
{
    const struct nb_onnx_tensor *codes = initializer_of(m, n->inputs[1]);
    const struct nb_onnx_tensor *scales = initializer_of(m, n->inputs[2]);
    const struct nb_onnx_tensor *zeros = n->n_inputs > 3 ? initializer_of(m, n->inputs[3]) : NULL;
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

/* The same codes behind a DequantizeLinear of ONNX: the same numbers, whatever the grid; K = 40 fills no block of 32. */
static void test_blocks(void **state)
{
    (void)state;
    static const char *const types[] = {"int4_g16", "int4_g32", "int4_g32_asym", "int8_g128",
                                        "int8_g16_asym"};
    static const int32_t codes[] = {NB_ONNX_INT4, NB_ONNX_INT4, NB_ONNX_UINT4, NB_ONNX_INT8,
                                    NB_ONNX_UINT8};
    struct model s;
    model_init(&s);
    for (size_t i = 0; i < NB_COUNTOF(types); i++) {
        struct nb_ptq_weight_options o = {.type = types[i]};
        struct nb_ptq *p, *q;
        struct nb_ptq_error e = {.n_right = 0};
        assert_ok(nb_ptq_create_weights(&p, &s.m, NULL, &o, &nothing, NULL, NULL, &err), &err);
        o.qdq = true;
        assert_ok(nb_ptq_create_weights(&q, &s.m, NULL, &o, &nothing, NULL, NULL, &err), &err);
        const struct nb_onnx_model *m = nb_ptq_model(q);
        assert_int_equal(nb_onnx_opset_version(m, ""), 21);
        assert_int_equal(nb_onnx_opset_version(m, "com.microsoft"), 0);
        assert_int_equal(m->ir_version, 10);
        assert_int_equal(count_of(m, "MatMul"), 2);
        assert_int_equal(count_of(m, "DequantizeLinear"), 2);
        const struct nb_onnx_node *n = node_of(m, "DequantizeLinear");
        const struct nb_onnx_tensor *w_q = initializer_of(m, n->inputs[0]);
        assert_int_equal(w_q->type, codes[i]);
        assert_int_equal(w_q->dims[0], K);
        assert_int_equal(initializer_of(m, n->inputs[1])->dims[1], H);
        assert_int_equal(nb_onnx_find_attr(n, "block_size")->i, strstr(types[i], "g128") != NULL ? K
                                                                : strstr(types[i], "g16") != NULL
                                                                    ? 16
                                                                    : 32);
        assert_int_equal(n->n_inputs, codes[i] == NB_ONNX_INT4 ? 2 : 3);
        assert_ok(nb_ptq_measure(&e, nb_ptq_model(p), m, NULL, &data, NULL, NULL, &err), &err);
        assert_true(e.of.signal > 0.0 && e.of.most < 1e-5);
        nb_ptq_destroy(p);
        nb_ptq_destroy(q);
    }
    const struct nb_ptq_weight_options fz = {.type = "int4_g32_fz", .method = "hqq", .qdq = true};
    struct nb_ptq *p;
    assert_fails(nb_ptq_create_weights(&p, &s.m, NULL, &fz, &nothing, NULL, NULL, &err),
                 NB_ERR_UNSUPPORTED, &err, "no zero points in floating point");
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
    assert_int_equal(initializer_of(m, node_of(m, "MatMulNBits")->inputs[3])->type,
                     NB_ONNX_FLOAT32);
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

static enum nb_status make_blocks(struct nb_ptq **p, void *ctx, const struct nb_allocator *a)
{
    const struct nb_ptq_weight_options o = {.type = "int4_g32_asym", .qdq = true};
    const struct model *s = ctx;
    return nb_ptq_create_weights(p, &s->m, NULL, &o, &nothing, NULL, a, &err);
}

static enum nb_status make(struct nb_ptq **p, void *ctx, const struct nb_allocator *a)
{
    const struct nb_ptq_weight_options o = {.type = "int4_g32_asym"};
    const struct model *s = ctx;
    return nb_ptq_create_weights(p, &s->m, NULL, &o, &data, NULL, a, &err);
}

static void test_memory(void **state)
{
    (void)state;
    struct model s;
    model_init(&s);
    assert_true(net_oom(make, &s) > 40);
    assert_true(net_oom(make_blocks, &s) > 20);
}

NB_TEST_MAIN(cmocka_unit_test(test_types), cmocka_unit_test(test_blocks),
             cmocka_unit_test(test_methods), cmocka_unit_test(test_shared),
             cmocka_unit_test(test_refused), cmocka_unit_test(test_memory))
