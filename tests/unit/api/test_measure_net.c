/* nb_evaluate_net and nb_compare_nets: every allocation failing in turn. tests/cli/eval_net.sh and compare_nets.sh have
 * what they say. */
#include "container/onnx.h"
#include "support/nbtest.h"

#include <nibble/net.h>
#include <stdio.h>
#include <string.h>

static const struct nb_onnx_dim dims[] = {{.value = -1, .name = "N"}, {.value = 3}};
#define VALUE(n)                                                                                   \
    {                                                                                              \
        .name = (n), .typed = true, .tensor = true, .type = NB_ONNX_FLOAT32, .rank = 2,            \
        .dims = dims                                                                               \
    }
static const struct nb_onnx_value ins[] = {VALUE("x")}, outs[] = {VALUE("y")};
static const char *const x[] = {"x"}, *const h[] = {"h"}, *const y[] = {"y"};
#define NODE(op, i, o)                                                                             \
    {                                                                                              \
        .op_type = (op), .inputs = (i), .n_inputs = 1, .outputs = (o), .n_outputs = 1              \
    }
static const struct nb_onnx_node nodes[] = {NODE("Relu", x, h), NODE("Softmax", h, y)};
static const struct nb_onnx_opset opsets[] = {{.domain = "", .version = 16}};
static const struct nb_onnx_model model = {.ir_version = 8,
                                           .opsets = opsets,
                                           .n_opsets = 1,
                                           .graph = {.nodes = nodes,
                                                     .n_nodes = NB_COUNTOF(nodes),
                                                     .inputs = ins,
                                                     .n_inputs = 1,
                                                     .outputs = outs,
                                                     .n_outputs = 1}};
static const float samples[] = {1, 2, 0, 3, 1, 2};
static const int64_t labels[] = {1, 1};

/* Borrows: all. */
struct files {
    char net[512], x[512];
};

static void make_files(struct files *f)
{
    struct nb_onnx_write_options o;
    const struct nb_executor_port port = {.name = "x",
                                          .type = "float32",
                                          .rank = 2,
                                          .dims = {2, 3},
                                          .elements = 6,
                                          .bytes = sizeof samples};
    struct nb_error err;
    nb_context *ctx;
    snprintf(f->net, sizeof f->net, "%s", nbtest_tmp("measured.onnx"));
    snprintf(f->x, sizeof f->x, "%s", nbtest_tmp("measured.npy"));
    nb_onnx_write_options_init(&o);
    o.out_flags = NB_OUT_OVERWRITE;
    assert_ok(nb_onnx_write(f->net, &model, &o, NULL, &err), &err);
    assert_ok(nb_context_create(&ctx, NULL, &err), &err);
    assert_ok(nb_npy_write(ctx, f->x, &port, samples, 1, &err), &err);
    nb_context_destroy(ctx);
}

static enum nb_status measure(nb_context *ctx, const struct files *f, struct nb_error *err)
{
    const struct nb_net_samples from = {.path = f->x};
    struct nb_eval_net_options e;
    struct nb_compare_net_options c;
    struct nb_eval_net_result r;
    struct nb_compare_net_result both;
    nb_eval_net_options_init(&e);
    e.labels = labels;
    e.n_labels = 2;
    e.expected = f->x;
    e.samples = &from;
    e.n_samples = 1;
    enum nb_status st = nb_evaluate_net(ctx, f->net, &e, &r, err);
    if (st != NB_OK)
        return st;
    assert_int_equal(r.n_right, 1);
    assert_true(r.has_expected && r.loss > 0.0);
    nb_compare_net_options_init(&c);
    c.labels = labels;
    c.n_labels = 2;
    c.samples = &from;
    c.n_samples = 1;
    st = nb_compare_nets(ctx, f->net, f->net, &c, &both, err);
    if (st != NB_OK)
        return st;
    assert_int_equal(both.n_layers, 2);
    assert_string_equal(both.layers[0].name, "h");
    assert_true(both.n_right[0] == 1 && both.n_right[1] == 1 && both.outputs[0].n_same == 2);
    nb_compare_net_result_free(&both);
    return NB_OK;
}

static enum nb_status body(void *arg, const struct nb_allocator *a)
{
    struct nb_context_options o;
    struct nb_error err;
    nb_context *ctx;
    nb_context_options_init(&o);
    o.allocator = *a;
    o.threads = 1;
    enum nb_status st = nb_context_create(&ctx, &o, &err);
    if (st != NB_OK)
        return st;
    st = measure(ctx, arg, &err);
    nb_context_destroy(ctx);
    return st;
}

static void test_no_memory(void **state)
{
    (void)state;
    struct files f;
    make_files(&f);
    assert_true(nbtest_oom(body, &f) > 50);
}

NB_TEST_MAIN(cmocka_unit_test(test_no_memory))
