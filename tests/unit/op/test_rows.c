/* Operators that work row by row: norms, ranges of columns, factors, vectors and positions added. */
#include "op_bench.h"

struct job {
    uint64_t tokens, cols, run; /* run: columns normalized together */
    bool bias;
};

/* Row statistics in double: subtracts the mean only if `centred`. */
static void norm_row(double *y, const float *x, size_t n, double eps, bool centred)
{
    double mean = 0.0, var = 0.0;
    for (size_t i = 0; centred && i < n; i++)
        mean += (double)x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        var += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
    for (size_t i = 0; i < n; i++)
        y[i] = ((double)x[i] - mean) / sqrt(var + eps);
}

static void check_norm(const struct nb_op *op, const struct job *j)
{
    const double eps = 1e-3;
    struct bench b;
    bench_init(&b, j->tokens, 1);
    const uint32_t x = bench_input(&b, "x", j->cols);
    const uint32_t w = bench_weight(&b, "w", 0, j->run, &nb_numfmt_f32);
    const uint32_t bias = j->bias ? bench_weight(&b, "bias", 0, j->run, &nb_numfmt_f32) : 0;
    const struct nb_attr attrs[] = {NB_ATTR_REAL("eps", eps)};
    (void)bench_node(
        &b, &(struct nb_node_args){.op = op, .in = {x, w, bias}, .attrs = attrs, .n_attrs = 1});
    const float *y = bench_run(&b), *xf = b.slots[x].data, *wf = b.slots[w].data;
    const float *bf = b.slots[bias].data;
    double *z = bench_alloc(&b, j->run, sizeof *z);
    for (size_t at = 0; at < j->tokens * j->cols; at += j->run) {
        norm_row(z, xf + at, j->run, eps, op == &nb_op_layer_norm);
        for (size_t i = 0; i < j->run; i++) {
            const double want = z[i] * (double)wf[i] + (j->bias ? (double)bf[i] : 0.0);
            assert_close((double)y[at + i], want, 2e-6 * (1.0 + fabs(want)));
        }
    }
    bench_check_steps(&b, y, j->cols);
    bench_fini(&b);
}

static void test_norms(void **state)
{
    (void)state;
    static const struct job jobs[] = {
        {37, 100, 100, false}, {3, 1, 1, false}, {19, 257, 257, true}, {70, 640, 640, true}};
    static const struct job runs[] = {{21, 120, 20, false}, {5, 96, 32, false}, {3, 7, 1, false}};
    for (size_t i = 0; i < NB_COUNTOF(jobs); i++) {
        check_norm(&nb_op_layer_norm, &jobs[i]);
        if (!jobs[i].bias)
            check_norm(&nb_op_rms_norm, &jobs[i]);
    }
    for (size_t i = 0; i < NB_COUNTOF(runs); i++)
        check_norm(&nb_op_rms_norm, &runs[i]);
}

static void test_columns(void **state)
{
    (void)state;
    static const size_t parts[][2] = {{0, 53}, {0, 1}, {52, 1}, {7, 30}};
    for (size_t i = 0; i < NB_COUNTOF(parts); i++) {
        const size_t first = parts[i][0], count = parts[i][1];
        struct bench b;
        bench_init(&b, 41, 1);
        const uint32_t x = bench_input(&b, "x", 53);
        const struct nb_attr attrs[] = {NB_ATTR_INT("first", first), NB_ATTR_INT("count", count)};
        (void)bench_node(&b, &(struct nb_node_args){
                                 .op = &nb_op_columns, .in = {x}, .attrs = attrs, .n_attrs = 2});
        const float *y = bench_run(&b), *xf = b.slots[x].data;
        for (size_t t = 0; t < 41; t++)
            assert_bits_array(y + t * count, xf + t * 53 + first, count);
        bench_check_steps(&b, y, count);
        bench_fini(&b);
    }
}

static void test_scale(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 17, 1);
    const uint32_t x = bench_input(&b, "x", 1003);
    const struct nb_attr attrs[] = {NB_ATTR_REAL("factor", sqrt(640.0))};
    (void)bench_node(
        &b, &(struct nb_node_args){.op = &nb_op_scale, .in = {x}, .attrs = attrs, .n_attrs = 1});
    const float *y = bench_run(&b), *xf = b.slots[x].data;
    for (size_t i = 0; i < 17 * 1003; i++)
        assert_bits(y[i], (float)sqrt(640.0) * xf[i]);
    bench_check_steps(&b, y, 1003);
    bench_fini(&b);
}

/* A vector, or the first row of a matrix (whose small copy is that row, as a session binds it). */
static void test_add_row(void **state)
{
    (void)state;
    for (uint64_t rows = 0; rows <= 2; rows += 2) {
        struct bench b;
        bench_init(&b, 23, 1);
        const uint32_t x = bench_input(&b, "x", 65);
        const uint32_t w = bench_weight(&b, "w", rows, 65, &nb_numfmt_f32);
        const float *wf = bench_decoded(&b, w);
        float *first = bench_alloc(&b, 65, sizeof *first);
        memcpy(first, wf, 65 * sizeof *first);
        b.slots[w].data = first;
        (void)bench_node(&b, &(struct nb_node_args){.op = &nb_op_add_row, .in = {x, w}});
        const float *y = bench_run(&b), *xf = b.slots[x].data;
        for (size_t i = 0; i < 23 * 65; i++)
            assert_bits(y[i], xf[i] + wf[i % 65]);
        bench_check_steps(&b, y, 65);
        bench_fini(&b);
    }
}

static void test_embed_position(void **state)
{
    (void)state;
    static const char *const formats[] = {"f32", "f16", "q8_0"};
    for (size_t f = 0; f < NB_COUNTOF(formats); f++) {
        struct bench b;
        bench_init(&b, 30, 1);
        b.position = 11;
        const uint32_t tokens = bench_tokens(&b, 5);
        const uint32_t w = bench_weight(&b, "w", 41, 96, nb_numfmt_find(formats[f]));
        (void)bench_node(&b,
                         &(struct nb_node_args){.op = &nb_op_embed_position, .in = {tokens, w}});
        const float *y = bench_run(&b), *table = bench_decoded(&b, w);
        assert_bits_array(y, table + 11 * 96, 30 * 96);
        bench_check_steps(&b, y, 96);
        assert_int_equal(nb_op_embed_position.positions(&b.g, &b.g.nodes[0]), 41);
        bench_fini(&b);
    }
}

static void refused(const struct nb_node_args *args, struct bench *b, const char *text)
{
    (void)nb_graph_add(&b->g, args);
    assert_fails(nb_graph_check(&b->g, &b->err), NB_ERR_INTERNAL, &b->err, text);
    bench_fini(b);
}

static uint32_t fresh(struct bench *b, uint64_t cols)
{
    bench_init(b, 2, 1);
    return bench_input(b, "x", cols);
}

static void test_refused(void **state)
{
    (void)state;
    static const int64_t parts[][2] = {{0, 7}, {-1, 2}, {3, 0}, {5, 2}, {6, 1}, {INT64_MAX, 1}};
    struct bench b;
    for (size_t i = 0; i < NB_COUNTOF(parts); i++) {
        const uint32_t x = fresh(&b, 6);
        const struct nb_attr attrs[] = {NB_ATTR_INT("first", parts[i][0]),
                                        NB_ATTR_INT("count", parts[i][1])};
        refused(
            &(struct nb_node_args){.op = &nb_op_columns, .in = {x}, .attrs = attrs, .n_attrs = 2},
            &b, "the input has 6");
    }
    const struct nb_attr eps = NB_ATTR_REAL("eps", 1e-5);
    uint32_t x = fresh(&b, 6), w = bench_weight(&b, "w", 0, 4, &nb_numfmt_f32);
    refused(
        &(struct nb_node_args){.op = &nb_op_rms_norm, .in = {x, w}, .attrs = &eps, .n_attrs = 1},
        &b, "a weight per column");
    x = fresh(&b, 6);
    w = bench_weight(&b, "w", 0, 3, &nb_numfmt_f32); /* runs are for rms_norm alone */
    refused(
        &(struct nb_node_args){.op = &nb_op_layer_norm, .in = {x, w}, .attrs = &eps, .n_attrs = 1},
        &b, "a weight per column");
    x = fresh(&b, 6);
    w = bench_weight(&b, "w", 3, 5, &nb_numfmt_f32);
    refused(&(struct nb_node_args){.op = &nb_op_add_row, .in = {x, w}}, &b, "6 columns");
    x = fresh(&b, 6);
    refused(&(struct nb_node_args){.op = &nb_op_embed_position, .in = {x, x}}, &b, "tokens");
}

NB_TEST_MAIN(cmocka_unit_test(test_norms), cmocka_unit_test(test_columns),
             cmocka_unit_test(test_scale), cmocka_unit_test(test_add_row),
             cmocka_unit_test(test_embed_position), cmocka_unit_test(test_refused))
