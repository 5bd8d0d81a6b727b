/* A net in float16: casts where it meets what stays float32, constants that it does not hold, inputs and outputs. */
#include <math.h>

#include "ptq/ptq.h"
#include "support/nbtest.h"

static struct nb_error err;

enum { K = 4, N = 3, ROWS = 2, SAMPLES = 6, NODES = 6 };

static const char *const i0[] = {"x", "w"}, *const o0[] = {"a"};
static const char *const i1[] = {"a", "big"}, *const o1[] = {"m"};
static const char *const i2[] = {"a", "b"}, *const o2[] = {"y"};
static const char *const i3[] = {"m"}, *const o3[] = {"z"};
static const char *const i4[] = {"y"}, *const o4[] = {"shape"};
static const char *const i5[] = {"y"}, *const o5[] = {"last"};
static const int64_t w_dims[] = {K, N}, b_dims[] = {N}, one[] = {1};
static float w[K * N], b[N], samples[SAMPLES * ROWS * K];
static const float big = 1e6F;

struct model {
    struct nb_onnx_node nodes[NODES];
    struct nb_onnx_tensor tensors[3];
    struct nb_onnx_dim in_dims[2];
    struct nb_onnx_value inputs[2], outs[4];
    struct nb_onnx_opset opset;
    struct nb_onnx_model m;
};

static struct nb_onnx_tensor tensor(const char *name, const void *data, const int64_t *dims,
                                    size_t rank, uint64_t n)
{
    return (struct nb_onnx_tensor){.name = name,
                                   .type = NB_ONNX_FLOAT32,
                                   .rank = rank,
                                   .dims = dims,
                                   .n = n,
                                   .data = data,
                                   .bytes = 4 * n};
}

static struct nb_onnx_node node(const char *op, const char *const *in, size_t n,
                                const char *const *out)
{
    return (struct nb_onnx_node){.name = op,
                                 .op_type = op,
                                 .domain = "",
                                 .inputs = in,
                                 .outputs = out,
                                 .n_inputs = n,
                                 .n_outputs = 1};
}

static void model_init(struct model *s)
{
    static const char *const names[] = {"y", "z", "shape", "last"};
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < K * N; i++)
        w[i] = (float)(i % 5) / 7.0F - 0.3F;
    for (size_t i = 0; i < N; i++)
        b[i] = (float)i / 3.0F;
    for (size_t i = 0; i < NB_COUNTOF(samples); i++)
        samples[i] = (float)((int)(i * 37 % 101) - 50) / 31.0F;
    s->nodes[0] = node("MatMul", i0, 2, o0);
    s->nodes[1] = node("Mul", i1, 2, o1); /* a constant that float16 does not hold */
    s->nodes[2] = node("Add", i2, 2, o2);
    s->nodes[3] = node("Tanh", i3, 1, o3);
    s->nodes[4] = node("Shape", i4, 1, o4); /* of any type */
    s->nodes[5] = node("Sigmoid", i5, 1, o5);
    s->tensors[0] = tensor("w", w, w_dims, 2, K * N);
    s->tensors[1] = tensor("b", b, b_dims, 1, N);
    s->tensors[2] = tensor("big", &big, one, 1, 1);
    s->in_dims[0] = (struct nb_onnx_dim){.value = ROWS};
    s->in_dims[1] = (struct nb_onnx_dim){.value = K};
    s->inputs[0] = (struct nb_onnx_value){.name = "x",
                                          .typed = true,
                                          .tensor = true,
                                          .type = NB_ONNX_FLOAT32,
                                          .rank = 2,
                                          .dims = s->in_dims};
    s->inputs[1] = s->inputs[0]; /* a weight, as old files list them */
    s->inputs[1].name = "w";
    for (size_t i = 0; i < 4; i++)
        s->outs[i] = (struct nb_onnx_value){.name = names[i],
                                            .typed = true,
                                            .tensor = true,
                                            .rank = -1,
                                            .type = i == 2 ? NB_ONNX_INT64 : NB_ONNX_FLOAT32};
    s->opset = (struct nb_onnx_opset){"", 13};
    s->m = (struct nb_onnx_model){.ir_version = 3,
                                  .opsets = &s->opset,
                                  .n_opsets = 1,
                                  .graph = {.name = "g",
                                            .nodes = s->nodes,
                                            .n_nodes = NODES,
                                            .initializers = s->tensors,
                                            .n_initializers = 3,
                                            .inputs = s->inputs,
                                            .n_inputs = 2,
                                            .outputs = s->outs,
                                            .n_outputs = 4}};
}

static const float *const inputs[] = {samples};
static const struct nb_ptq_data data = {.inputs = inputs, .n_samples = SAMPLES},
                                nothing = {.n_samples = 0};

static const struct nb_onnx_node *maker(const struct nb_onnx_model *m, const char *name)
{
    for (size_t i = 0; i < m->graph.n_nodes; i++)
        if (strcmp(m->graph.nodes[i].outputs[0], name) == 0)
            return &m->graph.nodes[i];
    return NULL;
}

static int32_t type_of(const struct nb_onnx_model *m, const char *name)
{
    for (size_t i = 0; i < m->graph.n_initializers; i++)
        if (strcmp(m->graph.initializers[i].name, name) == 0)
            return m->graph.initializers[i].type;
    return NB_ONNX_UNDEFINED;
}

/* The node of an operator, and that input k of it is a cast of `from` to that type. */
static const struct nb_onnx_node *cast_of(const struct nb_onnx_model *m, const char *name,
                                          const char *from, int64_t type)
{
    const struct nb_onnx_node *c = maker(m, name);
    assert_non_null(c);
    assert_string_equal(c->op_type, "Cast");
    assert_int_equal(nb_onnx_find_attr(c, "to")->i, type);
    if (from != NULL)
        assert_string_equal(c->inputs[0], from);
    return c;
}

static const struct nb_onnx_node *find(const struct nb_onnx_model *m, const char *op)
{
    for (size_t i = 0; i < m->graph.n_nodes; i++)
        if (strcmp(m->graph.nodes[i].op_type, op) == 0)
            return &m->graph.nodes[i];
    return NULL;
}

static double decibels(const struct model *s, const struct nb_ptq *p)
{
    struct nb_ptq_error e[4] = {{0}};
    assert_ok(nb_ptq_measure(e, &s->m, nb_ptq_model(p), NULL, &data, NULL, NULL, &err), &err);
    return 10.0 * log10(e[0].signal / e[0].noise);
}

static void test_half(void **state)
{
    (void)state;
    const struct nb_ptq_half_options o = {.n_keep = 0};
    struct model s;
    struct nb_ptq *p;
    model_init(&s);
    assert_ok(nb_ptq_create_half(&p, &s.m, NULL, &o, &nothing, NULL, NULL, &err), &err);
    const struct nb_onnx_model *m = nb_ptq_model(p);
    assert_int_equal(nb_ptq_report(p)->n_quantized, 4); /* all but Mul and Shape */
    assert_int_equal(nb_ptq_report(p)->n_beyond, 1);
    assert_int_equal(nb_ptq_report(p)->n_kept, 1);
    assert_int_equal(m->graph.n_inputs, 1);
    assert_int_equal(m->ir_version, 4);
    const struct nb_onnx_node *product = find(m, "MatMul"), *mul = find(m, "Mul");
    cast_of(m, product->inputs[0], "x", NB_ONNX_FLOAT16);
    assert_int_equal(type_of(m, product->inputs[1]), NB_ONNX_FLOAT16);
    cast_of(m, mul->inputs[0], "a", NB_ONNX_FLOAT32);
    assert_int_equal(type_of(m, mul->inputs[1]), NB_ONNX_FLOAT32);
    cast_of(m, find(m, "Tanh")->inputs[0], "m", NB_ONNX_FLOAT16);
    const struct nb_onnx_node *add = find(m, "Add");
    assert_string_equal(add->inputs[0], "a");
    cast_of(m, "y", add->outputs[0], NB_ONNX_FLOAT32);
    cast_of(m, "z", find(m, "Tanh")->outputs[0], NB_ONNX_FLOAT32);
    assert_string_equal(find(m, "Shape")->inputs[0], add->outputs[0]);
    assert_string_equal(find(m, "Sigmoid")->inputs[0], add->outputs[0]);
    assert_true(decibels(&s, p) > 60.0);
    nb_ptq_destroy(p);
}

/* What samples take too far, or is kept by name, stays. */
static void test_kept(void **state)
{
    (void)state;
    static const char *const keep[] = {"Add"};
    struct nb_ptq_half_options o = {.keep = keep, .n_keep = 1};
    struct model s;
    struct nb_ptq *p;
    model_init(&s);
    assert_ok(nb_ptq_create_half(&p, &s.m, NULL, &o, &data, NULL, NULL, &err), &err);
    const struct nb_onnx_model *m = nb_ptq_model(p);
    assert_string_equal(maker(m, "y")->op_type, "Add");
    assert_string_equal(maker(m, "y")->inputs[1], "b");
    assert_string_equal(maker(m, "z")->op_type, "Tanh"); /* m passes 65504 */
    assert_string_equal(maker(m, "z")->inputs[0], "m");
    assert_int_equal(nb_ptq_report(p)->n_beyond_values, 1);
    assert_int_equal(nb_ptq_report(p)->n_quantized, 2);
    assert_true(decibels(&s, p) > 60.0);
    nb_ptq_destroy(p);
}

static void test_refused(void **state)
{
    (void)state;
    const struct nb_ptq_half_options o = {.n_keep = 0};
    struct model s;
    struct nb_ptq *p;
    model_init(&s);
    for (size_t i = 0; i < NODES; i++)
        s.nodes[i].domain = "com.example";
    assert_fails(nb_ptq_create_half(&p, &s.m, NULL, &o, &nothing, NULL, NULL, &err),
                 NB_ERR_UNSUPPORTED, &err, "no node of this net takes float16");
}

static enum nb_status body(void *ctx, const struct nb_allocator *a)
{
    const struct nb_ptq_half_options o = {.n_keep = 0};
    const struct model *s = ctx;
    struct nb_ptq *p;
    const enum nb_status st = nb_ptq_create_half(&p, &s->m, NULL, &o, &data, NULL, a, &err);
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

NB_TEST_MAIN(cmocka_unit_test(test_half), cmocka_unit_test(test_kept),
             cmocka_unit_test(test_refused), cmocka_unit_test(test_memory))
