/* Activation functions, gated and alone, and the soft cap. */
#include "op_bench.h"

static double act(double x, enum nb_act which)
{
    const double pi = 3.14159265358979323846;
    switch (which) {
    case NB_ACT_GELU_TANH:
        return 0.5 * x * (1.0 + tanh(sqrt(2.0 / pi) * (x + 0.044715 * x * x * x)));
    case NB_ACT_GELU:
        return 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
    case NB_ACT_RELU:
        return fmax(x, 0.0);
    case NB_ACT_RELU2:
        return fmax(x, 0.0) * fmax(x, 0.0);
    case NB_ACT_SILU:
    default:
        return x / (1.0 + exp(-x));
    }
}

static void check(enum nb_act which, bool gated, uint64_t tokens, uint64_t cols, unsigned threads)
{
    struct bench b;
    bench_init(&b, tokens, 1);
    if (threads > 1)
        assert_ok(nb_pool_create(&b.pool, threads, NULL, &b.err), &b.err);
    const uint32_t x = bench_input(&b, "x", cols), up = gated ? bench_input(&b, "up", cols) : 0;
    const struct nb_attr attrs[] = {NB_ATTR_INT("act", which)};
    (void)bench_node(&b, &(struct nb_node_args){.op = gated ? &nb_op_glu : &nb_op_act,
                                                .in = {x, up},
                                                .attrs = attrs,
                                                .n_attrs = 1});
    const float *y = bench_run(&b), *xf = b.slots[x].data, *uf = b.slots[up].data;
    for (size_t i = 0; i < tokens * cols; i++) {
        const double want = act((double)xf[i], which) * (gated ? (double)uf[i] : 1.0);
        assert_close((double)y[i], want, 1e-6 * (1.0 + fabs(want)));
    }
    bench_check_steps(&b, y, cols);
    nb_pool_destroy(b.pool);
    bench_fini(&b);
}

static void test_act(void **state)
{
    (void)state;
    for (int which = NB_ACT_SILU; which <= NB_ACT_RELU2; which++)
        for (int gated = 0; gated < 2; gated++) {
            check((enum nb_act)which, gated, 33, 1001, 2);
            check((enum nb_act)which, gated, 7, 1, 1);
            check((enum nb_act)which, gated, 5, 16, 1);
        }
}

static void test_softcap(void **state)
{
    (void)state;
    static const double caps[] = {0.25, 1.0, 30.0};
    for (size_t i = 0; i < NB_COUNTOF(caps); i++) {
        struct bench b;
        bench_init(&b, 9, 1);
        const uint32_t x = bench_input(&b, "x", 77);
        const struct nb_attr attrs[] = {NB_ATTR_REAL("cap", caps[i])};
        (void)bench_node(&b, &(struct nb_node_args){
                                 .op = &nb_op_softcap, .in = {x}, .attrs = attrs, .n_attrs = 1});
        const float *y = bench_run(&b), *xf = b.slots[x].data;
        for (size_t k = 0; k < 9 * 77; k++)
            assert_close((double)y[k], caps[i] * tanh((double)xf[k] / caps[i]), 1e-6 * caps[i]);
        bench_check_steps(&b, y, 77);
        bench_fini(&b);
    }
}

static void refused(const struct nb_op *op, const struct nb_attr *attr, const char *text)
{
    struct bench b;
    bench_init(&b, 1, 1);
    const uint32_t x = bench_input(&b, "x", 4);
    (void)nb_graph_add(
        &b.g, &(struct nb_node_args){
                  .op = op, .in = {x, op->n_in_min > 1 ? x : 0}, .attrs = attr, .n_attrs = 1});
    assert_fails(nb_graph_check(&b.g, &b.err), NB_ERR_INTERNAL, &b.err, text);
    bench_fini(&b);
}

static void test_refused(void **state)
{
    (void)state;
    const struct nb_attr none = NB_ATTR_INT("act", NB_ACT_RELU2 + 1);
    const struct nb_attr negative = NB_ATTR_INT("act", -1), zero = NB_ATTR_REAL("cap", 0.0);
    refused(&nb_op_act, &none, "no activation 5");
    refused(&nb_op_glu, &negative, "no activation -1");
    refused(&nb_op_softcap, &zero, "above 0");
}

NB_TEST_MAIN(cmocka_unit_test(test_act), cmocka_unit_test(test_softcap),
             cmocka_unit_test(test_refused))
