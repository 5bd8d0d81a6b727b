/* TFLite nets as graphs: a sum with a constant, what is refused, memory. What whole nets give: interop. */
#include "net/net.h"
#include "net/tflite.h"
#include "support/fbbuild.h"

#include <nibble/net.h>
#include <stdio.h>

struct parts {
    size_t root, code, op, x, y;
};

static size_t add_tensor(struct nb_str *s, size_t at, const char *name, int buffer)
{
    const size_t t = fb_table_at(s, at, 9);
    fb_ints(s, t, 0, 2, (const int32_t[]){1, 2});
    fb_int(s, t, 1, NB_TFLITE_FLOAT32);
    fb_int(s, t, 2, buffer);
    fb_text(s, t, 3, name);
    fb_int(s, t, 5, 0); /* no variable */
    return t;
}

/* y = x + w, with the fused activation none. */
static void build(struct nb_str *s, struct parts *p)
{
    static const float w[] = {1.5f, -2};
    p->root = fb_begin(s, "TFL3", 5);
    fb_int(s, p->root, 0, 3);
    p->code = fb_table_at(s, fb_list(s, p->root, 1, 1, 4), 4);
    fb_int(s, p->code, 3, NB_TFLITE_ADD);
    const size_t graph = fb_table_at(s, fb_list(s, p->root, 2, 1, 4), 5);
    const size_t tensors = fb_list(s, graph, 0, 3, 4);
    p->x = add_tensor(s, tensors, "x", 0);
    (void)add_tensor(s, tensors + 4, "x", 1); /* a name twice */
    p->y = add_tensor(s, tensors + 8, "y", 0);
    fb_ints(s, graph, 1, 1, (const int32_t[]){0});
    fb_ints(s, graph, 2, 1, (const int32_t[]){2});
    p->op = fb_table_at(s, fb_list(s, graph, 3, 1, 4), 5);
    fb_ints(s, p->op, 1, 2, (const int32_t[]){0, 1});
    fb_ints(s, p->op, 2, 1, (const int32_t[]){2});
    fb_int(s, p->op, 3, 11);
    fb_int(s, fb_table_in(s, p->op, 4, 2), 0, 0);
    const size_t buffers = fb_list(s, p->root, 4, 2, 4);
    (void)fb_table_at(s, buffers, 1);
    fb_bytes(s, fb_table_at(s, buffers + 4, 1), 0, w, sizeof w);
}

static const char *save(const struct nb_str *s)
{
    const char *path = nbtest_tmp("net.tflite");
    nbtest_write(path, s->data, s->len);
    return path;
}

static void test_open(void **state)
{
    (void)state;
    struct nb_str s;
    struct parts p;
    struct nb_net *net;
    struct nb_error err;
    build(&s, &p);
    assert_ok(nb_net_open(&net, save(&s), NULL, NULL, &err), &err);
    assert_true(net->n_inputs == 1 && net->n_outputs == 1);
    assert_string_equal(net->inputs[0].name, "x");
    assert_string_equal(net->outputs[0].name, "y");
    assert_string_equal(nb_net_source_model(&net->source)->graph.nodes[0].outputs[0], "y~Add");
    const struct nb_value *y = &net->g.values[net->outputs[0].value];
    assert_true(y->type == NB_VALUE_F32 && y->rank == 2 && y->dim[1].n == 2);
    nb_net_close(net);
    nb_str_fini(&s);
}

/* A TFLite net is quantized, and converted, as the model made of it. */
static void test_quantize(void **state)
{
    (void)state;
    static const float x[] = {1, 2, -3, 4};
    const struct nb_executor_port port = {.name = "x",
                                          .type = "float32",
                                          .rank = 2,
                                          .dims = {2, 2},
                                          .elements = 4,
                                          .bytes = sizeof x};
    struct nb_quantize_net_options o;
    struct nb_quantize_net_result r;
    struct nb_net_samples samples = {.input = "x"};
    struct nb_error err;
    struct nb_str s;
    struct parts p;
    char net[512], data[512];
    nb_context *ctx;
    build(&s, &p);
    snprintf(net, sizeof net, "%s", save(&s));
    snprintf(data, sizeof data, "%s", nbtest_tmp("x.npy"));
    samples.path = data;
    assert_ok(nb_context_create(&ctx, NULL, &err), &err);
    assert_ok(nb_npy_write(ctx, data, &port, x, 1, &err), &err);
    nb_quantize_net_options_init(&o);
    o.samples = &samples;
    o.n_samples = 1;
    o.overwrite = 1;
    assert_ok(nb_quantize_net(ctx, net, nbtest_tmp("q.onnx"), &o, &r, &err), &err);
    assert_true(r.n_samples == 2 && r.n_quantized == 1 && r.n_activations == 2);
    assert_true(r.sqnr_db > 30.0 && r.same_top == 1.0);
    /* and as it is */
    struct nb_compare_net_options co;
    struct nb_compare_net_result both;
    char out[512];
    snprintf(out, sizeof out, "%s", nbtest_tmp("converted.onnx"));
    assert_ok(nb_convert_net(ctx, net, out, 1, &err), &err);
    assert_fails(nb_convert_net(ctx, net, out, 0, &err), NB_ERR_EXISTS, &err, "converted.onnx");
    nb_compare_net_options_init(&co);
    co.samples = &samples;
    co.n_samples = 1;
    assert_ok(nb_compare_nets(ctx, net, out, &co, &both, &err), &err);
    assert_true(both.n == 2 && both.n_layers >= 1 && both.n_alone == 0);
    assert_true(both.outputs[0].most == 0.0);
    nb_compare_net_result_free(&both);
    nb_context_destroy(ctx);
    nb_str_fini(&s);
}

/* With one number of the file changed. */
static void refused(struct nb_str *s, size_t at, uint32_t v, enum nb_status want, const char *text)
{
    struct nb_net_tflite *t;
    struct nb_error err = {0};
    const uint32_t kept = nb_load_u32(s->data + at);
    fb_u32(s, at, v);
    assert_fails(nb_net_tflite_open(&t, save(s), NULL, &err), want, &err, text);
    fb_u32(s, at, kept);
}

static void test_refused(void **state)
{
    (void)state;
    struct nb_str s;
    struct parts p;
    build(&s, &p);
    const size_t in = fb_field(&s, p.op, 1), inputs = in + nb_load_u32(s.data + in) + 4;
    refused(&s, fb_field(&s, p.code, 3), NB_TFLITE_LSTM, NB_ERR_UNSUPPORTED,
            "net.tflite: operator 0 (LSTM): nibble does not have this operator");
    refused(&s, fb_field(&s, p.op, 3), 1, NB_ERR_FORMAT, "options of kind 1, expected 11");
    refused(&s, inputs, 2, NB_ERR_FORMAT, "input 0 is not computed yet");
    refused(&s, inputs, UINT32_MAX, NB_ERR_FORMAT, "input 0 is missing");
    refused(&s, fb_field(&s, p.x, 1), NB_TFLITE_INT16 + 1, NB_ERR_UNSUPPORTED,
            "tensor 0 'x': elements of type complex64");
    refused(&s, fb_field(&s, p.x, 5), 1, NB_ERR_UNSUPPORTED, "a variable");
    nb_str_fini(&s);
}

static enum nb_status open_net(void *path, const struct nb_allocator *a)
{
    struct nb_net *net;
    NB_TRY(nb_net_open(&net, path, NULL, a, NULL));
    nb_net_close(net);
    return NB_OK;
}

static void test_no_memory(void **state)
{
    (void)state;
    struct nb_str s;
    struct parts p;
    char path[512];
    build(&s, &p);
    assert_true(snprintf(path, sizeof path, "%s", save(&s)) < (int)sizeof path);
    assert_true(nbtest_oom(open_net, path) > 5);
    nb_str_fini(&s);
}

NB_TEST_MAIN(cmocka_unit_test(test_open), cmocka_unit_test(test_quantize),
             cmocka_unit_test(test_refused), cmocka_unit_test(test_no_memory))
