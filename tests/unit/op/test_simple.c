/* The operators of one file and few lines: rows, norms, rotations, sums. */
#include "op_bench.h"

#include "math/math.h"

static void test_registry(void **state)
{
    (void)state;
    size_t n;
    const struct nb_op *const *ops = nb_op_all(&n);
    assert_true(n >= 11);
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(nb_op_find(ops[i]->name), ops[i]);
        assert_true(ops[i]->n_in_min >= 1 && ops[i]->n_in_min <= ops[i]->n_in);
        assert_true(ops[i]->n_in <= NB_NODE_INPUTS && ops[i]->n_state <= NB_NODE_OUTPUTS);
        assert_true(ops[i]->quantizable < (int32_t)ops[i]->n_in);
        assert_non_null(ops[i]->shape);
        assert_non_null(ops[i]->run);
    }
    assert_null(nb_op_find("no such operator"));
}

static void test_embed(void **state)
{
    (void)state;
    static const char *const formats[] = {"f32", "bf16", "q8_0", "q4_k", "q6_k"};
    for (size_t f = 0; f < NB_COUNTOF(formats); f++) {
        struct bench b;
        bench_init(&b, 90, 1);
        const uint32_t tokens = bench_tokens(&b, 31);
        const uint32_t table = bench_weight(&b, "table", 31, 256, nb_numfmt_find(formats[f]));
        (void)bench_node(&b, &(struct nb_node_args){.op = &nb_op_embed, .in = {tokens, table}});
        const float *y = bench_run(&b), *rows = bench_decoded(&b, table);
        const uint32_t *ids = b.slots[tokens].data;
        for (size_t t = 0; t < 90; t++)
            assert_bits_array(y + t * 256, rows + ids[t] * 256, 256);
        bench_fini(&b);
    }
}

static void test_rms_norm(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 300, 1);
    const uint32_t x = bench_input(&b, "x", 100);
    const uint32_t w = bench_weight(&b, "w", 0, 100, &nb_numfmt_f32);
    const struct nb_attr attrs[] = {NB_ATTR_REAL("eps", 1e-5)};
    (void)bench_node(&b, &(struct nb_node_args){
                             .op = &nb_op_rms_norm, .in = {x, w}, .attrs = attrs, .n_attrs = 1});
    const float *y = bench_run(&b), *xf = b.slots[x].data, *wf = b.slots[w].data;
    for (size_t t = 0; t < 300; t++) {
        double ss = 0.0;
        for (size_t i = 0; i < 100; i++)
            ss += (double)xf[t * 100 + i] * (double)xf[t * 100 + i];
        for (size_t i = 0; i < 100; i++) {
            const double want = (double)xf[t * 100 + i] / sqrt(ss / 100.0 + 1e-5) * (double)wf[i];
            assert_close((double)y[t * 100 + i], want, 1e-6 * (1.0 + fabs(want)));
        }
    }
    bench_fini(&b);
}

static void test_quantize_q8(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 70, 1);
    const uint32_t x = bench_input(&b, "x", 320);
    const uint32_t y = bench_node(&b, &(struct nb_node_args){.op = &nb_op_quantize_q8, .in = {x}});
    (void)bench_run(&b);
    const struct nb_q8 q = nb_slot_q8(&b.slots[y]);
    const float *xf = b.slots[x].data;
    for (size_t i = 0; i < 70 * 320; i++) {
        const double d = (double)q.d[i / 32];
        assert_close(d * q.q[i], (double)xf[i], 0.5001 * d);
    }
    for (size_t i = 0; i < 70 * 320 / 16; i++) {
        int sum = 0;
        for (size_t k = 0; k < 16; k++)
            sum += q.q[16 * i + k];
        assert_int_equal(q.sum16[i], sum);
    }
    bench_fini(&b);
}

/* Position p turns pair i by p * freq_i, wherever in the head the pair lies, and scales it. */
static void check_rope(bool halves, uint64_t head_dim)
{
    enum { PAIRS = 8, HEADS = 3, TOKENS = 40, START = 1000 };
    struct bench b;
    bench_init(&b, TOKENS, 1);
    b.position = START;
    const uint32_t tokens = bench_tokens(&b, 5);
    const struct nb_value v = {.name = "freqs",
                               .kind = NB_VALUE_INPUT,
                               .type = NB_VALUE_F64,
                               .rank = 1,
                               .dim = {nb_dim_const(PAIRS)}};
    const uint32_t freqs = nb_graph_value(&b.g, &v);
    double *freq = bench_alloc(&b, PAIRS, sizeof *freq);
    for (size_t i = 0; i < PAIRS; i++)
        freq[i] = pow(10000.0, -(double)i / (double)PAIRS);
    b.slots[freqs].data = freq;
    const uint32_t x = bench_input(&b, "x", HEADS * head_dim);
    const struct nb_attr scale[] = {NB_ATTR_REAL("scale", 1.25)};
    const uint32_t table = bench_node(
        &b, &(struct nb_node_args){
                .op = &nb_op_rope_table, .in = {tokens, freqs}, .attrs = scale, .n_attrs = 1});
    const struct nb_attr attrs[] = {NB_ATTR_INT("heads", HEADS), NB_ATTR_INT("halves", halves)};
    (void)bench_node(&b, &(struct nb_node_args){
                             .op = &nb_op_rope, .in = {x, table}, .attrs = attrs, .n_attrs = 2});
    const float *y = bench_run(&b), *xf = b.slots[x].data;
    for (size_t row = 0; row < TOKENS * HEADS; row++, y += head_dim, xf += head_dim) {
        const double p = (double)(START + row / HEADS);
        for (size_t i = 0; i < PAIRS; i++) {
            const double x0 = (double)xf[halves ? i : 2 * i], c = 1.25 * cos(p * freq[i]);
            const double x1 = (double)xf[halves ? i + PAIRS : 2 * i + 1],
                         s = 1.25 * sin(p * freq[i]);
            assert_close((double)y[2 * i], x0 * c - x1 * s, 1e-6);
            assert_close((double)y[2 * i + 1], x0 * s + x1 * c, 1e-6);
        }
        assert_bits_array(y + 2 * PAIRS, xf + 2 * PAIRS, head_dim - 2 * PAIRS);
    }
    bench_fini(&b);
}

/* Without a table. */
static void check_place(bool halves)
{
    enum { HEADS = 3, HEAD_DIM = 10, TOKENS = 4 };
    struct bench b;
    bench_init(&b, TOKENS, 1);
    const uint32_t x = bench_input(&b, "x", HEADS * HEAD_DIM);
    const struct nb_attr attrs[] = {NB_ATTR_INT("heads", HEADS), NB_ATTR_INT("halves", halves)};
    (void)bench_node(
        &b, &(struct nb_node_args){.op = &nb_op_rope, .in = {x}, .attrs = attrs, .n_attrs = 2});
    const float *y = bench_run(&b), *xf = b.slots[x].data;
    for (size_t head = 0; head < TOKENS * HEADS; head++, y += HEAD_DIM, xf += HEAD_DIM)
        for (size_t i = 0; i < HEAD_DIM; i++)
            assert_bits(y[i], xf[halves ? i / 2 + i % 2 * (HEAD_DIM / 2) : i]);
    bench_fini(&b);
}

static void test_rope(void **state)
{
    (void)state;
    check_rope(false, 16);
    check_rope(true, 16);
    check_rope(false, 20);
    check_rope(true, 20);
    check_place(false);
    check_place(true);
}

static void test_elements(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 33, 1);
    assert_ok(nb_pool_create(&b.pool, 2, NULL, &b.err), &b.err);
    const uint32_t x = bench_input(&b, "x", 1001), z = bench_input(&b, "z", 1001);
    const struct nb_attr attrs[] = {NB_ATTR_INT("act", NB_ACT_SILU)};
    const uint32_t act = bench_node(
        &b, &(struct nb_node_args){.op = &nb_op_glu, .in = {x, z}, .attrs = attrs, .n_attrs = 1});
    (void)bench_node(&b, &(struct nb_node_args){.op = &nb_op_add, .in = {x, act}});
    const float *y = bench_run(&b), *xf = b.slots[x].data, *zf = b.slots[z].data;
    for (size_t i = 0; i < 33 * 1001; i++) {
        const double g = (double)xf[i];
        assert_close((double)y[i], g + g / (1.0 + exp(-g)) * (double)zf[i], 2e-6);
    }
    nb_pool_destroy(b.pool);
    bench_fini(&b);
}

static void test_tail(void **state)
{
    (void)state;
    for (uint64_t rows = 0; rows <= 9; rows += 3) {
        struct bench b;
        bench_init(&b, 9, 1);
        b.sym[NB_SYM_ROWS] = rows;
        const uint32_t x = bench_input(&b, "x", 5);
        (void)bench_node(&b, &(struct nb_node_args){.op = &nb_op_tail, .in = {x}});
        const float *y = bench_run(&b);
        assert_bits_array(y, (const float *)b.slots[x].data + (9 - rows) * 5, rows * 5);
        bench_fini(&b);
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_registry), cmocka_unit_test(test_embed),
             cmocka_unit_test(test_rms_norm), cmocka_unit_test(test_quantize_q8),
             cmocka_unit_test(test_rope), cmocka_unit_test(test_elements),
             cmocka_unit_test(test_tail))
