/* Products become integers whose inputs are quantized as they come; what reads one value shares its codes. */
#include "unit/ptq/products.h"

static void test_products(void **state)
{
    (void)state;
    struct model s;
    struct nb_ptq *p;
    model_init(&s);
    assert_ok(nb_ptq_create_dynamic(&p, &s.m, NULL, 0, NULL, &err), &err);
    const struct nb_onnx_model *m = nb_ptq_model(p);
    assert_int_equal(count_of(m, "DynamicQuantizeLinear"), 2);
    assert_int_equal(count_of(m, "MatMulInteger"), 2);
    assert_int_equal(count_of(m, "Add"), 1); /* Gemm's bias */
    assert_int_equal(count_of(m, "MatMul") + count_of(m, "Gemm"), 0);
    assert_int_equal(nb_ptq_report(p)->n_quantized, 2);
    /* symmetric, a scale for each column: the largest of each is 127 or -127 */
    const struct nb_onnx_node *n = node_of(m, "MatMulInteger");
    const struct nb_onnx_tensor *codes = initializer_of(m, n->inputs[1]);
    assert_int_equal(codes->type, NB_ONNX_INT8);
    for (int64_t j = 0; j < codes->dims[1]; j++) {
        int most = 0;
        for (int64_t k = 0; k < codes->dims[0]; k++) {
            const int c = ((const int8_t *)codes->data)[k * codes->dims[1] + j];
            most = NB_MAX(most, NB_MAX(c, -c));
        }
        assert_int_equal(most, 127);
    }
    assert_true(decibels(&s, p) > 35.0);
    nb_ptq_destroy(p);
}

/* Two products of one value and one weight: codes once. */
static void test_shared(void **state)
{
    (void)state;
    static const char *const in[] = {"x", "w"}, *const out[] = {"y"};
    struct model s;
    struct nb_ptq *p;
    model_init(&s);
    s.nodes[1].op_type = "MatMul";
    s.nodes[1].inputs = in;
    s.nodes[1].outputs = out;
    s.nodes[1].n_inputs = 2;
    s.nodes[1].n_attrs = 0;
    assert_ok(nb_ptq_create_dynamic(&p, &s.m, NULL, 0, NULL, &err), &err);
    const struct nb_onnx_model *m = nb_ptq_model(p);
    assert_int_equal(count_of(m, "DynamicQuantizeLinear"), 1);
    assert_int_equal(count_of(m, "MatMulInteger"), 2);
    assert_non_null(initializer_of(m, "w_q8"));
    assert_null(initializer_of(m, "w_q8_1"));
    nb_ptq_destroy(p);
}

static void test_kept_and_refused(void **state)
{
    (void)state;
    static const char *const one[] = {"first"}, *const all[] = {"MatMul", "Gemm"};
    struct model s;
    struct nb_ptq *p;
    model_init(&s);
    assert_ok(nb_ptq_create_dynamic(&p, &s.m, one, 1, NULL, &err), &err);
    assert_int_equal(count_of(nb_ptq_model(p), "MatMul"), 1);
    assert_int_equal(count_of(nb_ptq_model(p), "MatMulInteger"), 1);
    nb_ptq_destroy(p);
    assert_int_equal(nb_ptq_create_dynamic(&p, &s.m, all, 2, NULL, &err), NB_ERR_UNSUPPORTED);
    assert_null(p);
    s.ports.opset.version = 10;
    assert_int_equal(nb_ptq_create_dynamic(&p, &s.m, NULL, 0, NULL, &err), NB_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "operator set 10"));
    s.ports.opset.version = 13;
    w[3] = INFINITY;
    assert_int_equal(nb_ptq_create_dynamic(&p, &s.m, NULL, 0, NULL, &err), NB_ERR_NUMERIC);
    assert_non_null(strstr(err.message, "'w'"));
}

static enum nb_status make(struct nb_ptq **p, void *ctx, const struct nb_allocator *a)
{
    const struct model *s = ctx;
    return nb_ptq_create_dynamic(p, &s->m, NULL, 0, a, &err);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct model s;
    model_init(&s);
    assert_true(net_oom(make, &s) > 3);
}

NB_TEST_MAIN(cmocka_unit_test(test_products), cmocka_unit_test(test_shared),
             cmocka_unit_test(test_kept_and_refused), cmocka_unit_test(test_no_memory))
