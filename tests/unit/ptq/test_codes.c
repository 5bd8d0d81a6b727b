/* Codes of 4 and 16 bits: how they are stored, which nodes read them, what a net is worth with them. */
#include "ptq/ptq_internal.h"
#include "unit/ptq/chain.h"

static struct nb_error err;
static struct chain chain;

static void test_stored(void **state)
{
    (void)state;
    static const struct {
        int32_t type, q[5];
    } all[] = {{NB_ONNX_INT4, {-8, 7, -1, 0, 3}},
               {NB_ONNX_INT8, {-128, 127, -1, 0, 3}},
               {NB_ONNX_UINT8, {0, 255, 128, 127, 3}},
               {NB_ONNX_INT16, {-32768, 32767, -1, 256, 3}},
               {NB_ONNX_UINT16, {0, 65535, 32768, 255, 3}},
               {NB_ONNX_INT32, {INT32_MIN, INT32_MAX, -1, 0, 3}}};
    static const int64_t dims[] = {5};
    struct nb_edit e;
    chain_init(&chain);
    assert_ok(nb_edit_init(&e, &chain.m, NULL, &err), &err);
    for (size_t i = 0; i < NB_COUNTOF(all); i++) {
        const uint8_t *data = nb_ptq_store(&e, all[i].type, all[i].q, 5);
        const struct nb_onnx_tensor t = net_tensor("t", all[i].type, dims, 1, data);
        for (size_t k = 0; k < 5; k++)
            assert_close(nb_ptq_number(&t, k), all[i].q[k], 0.0);
        if (all[i].type == NB_ONNX_INT4) { /* the first in the low half */
            assert_int_equal(t.bytes, 3);
            assert_int_equal(data[0], 0x78);
            assert_int_equal(data[2], 0x03);
        }
    }
    nb_edit_fini(&e);
}

struct want {
    enum nb_ptq_activations activations;
    unsigned bits;
    int32_t type;
    double least_db;
};
static const struct want widths[] = {{NB_PTQ_INT8, 8, NB_ONNX_UINT8, 18.0},
                                     {NB_PTQ_UINT16, 8, NB_ONNX_UINT16, 38.0},
                                     {NB_PTQ_INT16, 8, NB_ONNX_INT16, 38.0},
                                     {NB_PTQ_INT8, 4, NB_ONNX_UINT8, 13.0},
                                     {NB_PTQ_UINT16, 4, NB_ONNX_UINT16, 14.5}};

/* Nodes of an input or output of the net, and of a weight; both from the domain that has such codes. */
static void check_nodes(const struct nb_onnx_model *m, const struct want *w, bool old)
{
    const struct nb_onnx_node *last = maker_of(m, "y"), *conv = node_of(m, "Conv");
    const struct nb_onnx_node *weight = maker_of(m, conv->inputs[1]);
    const struct nb_onnx_tensor *codes = initializer_of(m, weight->inputs[0]);
    const bool wide = w->activations != NB_PTQ_INT8, narrow = w->bits == 4;
    assert_string_equal(last->op_type, "DequantizeLinear");
    assert_string_equal(last->domain, wide && old ? "com.microsoft" : "");
    assert_int_equal(initializer_of(m, last->inputs[2])->type, w->type);
    assert_string_equal(maker_of(m, last->inputs[0])->domain, last->domain);
    assert_string_equal(weight->domain, narrow && old ? "com.microsoft" : "");
    assert_int_equal(codes->type, narrow ? NB_ONNX_INT4 : NB_ONNX_INT8);
    assert_int_equal(codes->bytes, narrow ? (codes->n + 1) / 2 : codes->n);
    assert_int_equal(initializer_of(m, weight->inputs[2])->type, codes->type);
    for (uint64_t i = 0; i < codes->n; i++)
        assert_true(fabs(nb_ptq_number(codes, i)) <= (narrow ? 7.0 : 127.0));
    assert_int_equal(nb_onnx_opset_version(m, "com.microsoft"), old && (wide || narrow));
    assert_true(m->ir_version >= (narrow ? 10 : 7));
}

static void test_widths(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * NB_COUNTOF(widths); i++) {
        const struct want *w = &widths[i / 2];
        const struct nb_ptq_options o = {.profile = NB_PTQ_QNN,
                                         .bias_correct = true,
                                         .activations = w->activations,
                                         .weight_bits = w->bits};
        struct nb_ptq *p;
        chain_init(&chain);
        chain.ports.opset.version = i % 2 == 0 ? 13 : 21;
        assert_ok(nb_ptq_create(&p, &chain.m, NULL, &o, &chain.data, NULL, NULL, &err), &err);
        const double db = chain_db(&chain, nb_ptq_model(p));
        print_message("%s, weights of %u bits: %.1f dB\n", nb_ptq_activations_name(w->activations),
                      w->bits, db);
        assert_true(db > w->least_db);
        check_nodes(nb_ptq_model(p), w, i % 2 == 0);
        nb_ptq_destroy(p);
    }
}

/* Where there are but 15 levels, what knows the data is worth more. */
static void test_rules(void **state)
{
    (void)state;
    double db[NB_N_PTQ_WEIGHTS];
    chain_init(&chain);
    for (int r = 0; r < NB_N_PTQ_WEIGHTS; r++) {
        const struct nb_ptq_options o = {.weights = (enum nb_ptq_weights)r,
                                         .bias_correct = r < NB_PTQ_GPTQ,
                                         .activations = NB_PTQ_UINT16,
                                         .weight_bits = 4};
        struct nb_ptq *p;
        assert_ok(nb_ptq_create(&p, &chain.m, NULL, &o, &chain.data, NULL, NULL, &err), &err);
        db[r] = chain_db(&chain, nb_ptq_model(p));
        print_message("%s: %.1f dB\n", nb_ptq_weights_name(o.weights), db[r]);
        nb_ptq_destroy(p);
    }
    for (int r = 1; r < NB_N_PTQ_WEIGHTS; r++)
        assert_true(db[r] > db[NB_PTQ_RTN]);
    assert_true(db[NB_PTQ_WEIGHTS_MSE] > db[NB_PTQ_RTN] + 1.0);
}

/* Encodings of such codes, and the float net that they are of: the QDQ file but for the grids of activations. */
static void test_encodings(void **state)
{
    (void)state;
    const struct nb_ptq_options o = {.format = NB_PTQ_FLOAT,
                                     .encodings = "1.0.0",
                                     .activations = NB_PTQ_UINT16,
                                     .weight_bits = 4};
    struct nb_ptq *p;
    chain_init(&chain);
    assert_ok(nb_ptq_create(&p, &chain.m, NULL, &o, &chain.data, NULL, NULL, &err), &err);
    const char *text = nb_ptq_encodings(p)->data;
    assert_non_null(strstr(text, "\"bw\":16,\"is_sym\":false"));
    assert_non_null(strstr(text, "\"bw\":4,\"is_sym\":true"));
    assert_non_null(strstr(text, "\"offset\":[-8,-8,"));
    assert_non_null(strstr(text, "\"activation_bitwidth\":16,\"param_bitwidth\":4"));
    assert_true(net_decibels(nb_ptq_model(p), nb_ptq_file(p), &chain.data) > 38.0);
    nb_ptq_destroy(p);
}

static enum nb_status make(struct nb_ptq **p, void *ctx, const struct nb_allocator *a)
{
    const struct nb_ptq_options o = {.activations = NB_PTQ_INT16, .weight_bits = 4};
    (void)ctx;
    return nb_ptq_create(p, &chain.m, NULL, &o, &chain.data, NULL, a, &err);
}

static void test_memory(void **state)
{
    (void)state;
    chain_init(&chain);
    chain.data.n_samples = 2;
    assert_true(net_oom(make, NULL) > 60);
}

NB_TEST_MAIN(cmocka_unit_test(test_stored), cmocka_unit_test(test_widths),
             cmocka_unit_test(test_rules), cmocka_unit_test(test_encodings),
             cmocka_unit_test(test_memory))
