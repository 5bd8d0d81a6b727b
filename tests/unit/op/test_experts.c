/* Experts: who is chosen, the products of every format, and their sums. */
#include "op_bench.h"

static struct nb_attr *gate_attrs(struct nb_attr attrs[4], int64_t k, int64_t used,
                                  enum nb_gate gate, bool normalize)
{
    const struct nb_attr all[] = {NB_ATTR_INT("k", k), NB_ATTR_INT("used", used),
                                  NB_ATTR_INT("gate", gate), NB_ATTR_INT("normalize", normalize)};
    memcpy(attrs, all, sizeof all);
    return attrs;
}

static uint32_t add_top_k(struct bench *b, uint32_t x, int64_t k, int64_t used, enum nb_gate gate,
                          bool normalize)
{
    struct nb_attr attrs[4];
    return bench_node(b,
                      &(struct nb_node_args){.op = &nb_op_top_k,
                                             .in = {x},
                                             .attrs = gate_attrs(attrs, k, used, gate, normalize),
                                             .n_attrs = 4});
}

enum { E = 13, T = 37 };

/* The weight of expert e before anything is chosen. */
static double gate_of(const float *x, size_t e, enum nb_gate gate)
{
    double sum = 0.0;
    for (size_t i = 0; i < E; i++)
        sum += exp((double)x[i]);
    return gate == NB_GATE_SOFTMAX ? exp((double)x[e]) / sum : 1.0 / (1.0 + exp(-(double)x[e]));
}

static void check_gate(enum nb_gate gate, bool normalize, int64_t k, int64_t used)
{
    struct bench b;
    bench_init(&b, T, 1);
    const uint32_t x = bench_input(&b, "x", E);
    float *xf = b.slots[x].data;
    for (size_t i = 0; i < T * E; i += 3) /* many equals */
        xf[i] = (float)(i % 4) * 0.25F;
    const uint32_t y = add_top_k(&b, x, k, used, gate, normalize);
    const float *w = bench_run(&b);
    const uint32_t *ids = b.slots[nb_graph_second(&b.g, y)].data;
    for (size_t t = 0; t < T; t++, xf += E, w += k, ids += k) {
        double sum = 0.0;
        bool taken[E] = {false};
        for (int64_t j = 0; j < used; j++)
            sum += gate_of(xf, ids[j], gate);
        for (int64_t j = 0; j < k; j++) {
            assert_in_range(ids[j], 0, E - 1);
            assert_false(taken[ids[j]]);
            taken[ids[j]] = true;
            for (uint32_t e = 0; e < E; e++) /* nobody better is left, nor an equal before it */
                assert_true(taken[e] || xf[e] < xf[ids[j]] || (xf[e] <= xf[ids[j]] && e > ids[j]));
            const double want = gate_of(xf, ids[j], gate) / (normalize ? sum : 1.0);
            assert_close((double)w[j], j < used ? want : 0.0, 1e-6);
        }
    }
    bench_fini(&b);
}

static void test_top_k(void **state)
{
    (void)state;
    for (int gate = NB_GATE_SOFTMAX; gate <= NB_GATE_SIGMOID; gate++)
        for (int normalize = 0; normalize < 2; normalize++) {
            check_gate((enum nb_gate)gate, normalize, 1, 1);
            check_gate((enum nb_gate)gate, normalize, 4, 4);
            check_gate((enum nb_gate)gate, normalize, E, E);
            check_gate((enum nb_gate)gate, normalize, E, 2);
        }
}

/* Scores that are not numbers choose somebody, and show. */
static void test_top_k_nan(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, T, 1);
    const uint32_t x = bench_input(&b, "x", E);
    float *xf = b.slots[x].data;
    for (size_t i = 0; i < T * E; i++)
        xf[i] = i % 2 ? NAN : i % 3 ? INFINITY : -INFINITY;
    const uint32_t y = add_top_k(&b, x, 5, 5, NB_GATE_SIGMOID, false);
    const float *w = bench_run(&b);
    const uint32_t *ids = b.slots[nb_graph_second(&b.g, y)].data;
    bool shown = false;
    for (size_t i = 0; i < T * 5; i++) {
        assert_in_range(ids[i], 0, E - 1);
        shown = shown || w[i] != w[i];
    }
    assert_true(shown);
    bench_fini(&b);
}

/* A layer of experts. */
struct job {
    const struct nb_numfmt *type;
    uint64_t tokens, experts, k, rows, cols;
    bool integers, per_slot, scattered, bias;
    unsigned threads;
};

static uint32_t bench_ids(struct bench *b, const struct job *j)
{
    const struct nb_value v = {.name = "ids",
                               .kind = NB_VALUE_INPUT,
                               .type = NB_VALUE_U32,
                               .rank = 2,
                               .dim = {{.n = 1, .sym = NB_SYM_TOKENS}, nb_dim_const(j->k)}};
    const uint32_t id = nb_graph_value(&b->g, &v);
    uint32_t *ids = bench_alloc(b, (size_t)(j->tokens * j->k), sizeof *ids);
    for (size_t i = 0; i < j->tokens * j->k; i++) { /* two tokens of three go to the first k */
        const size_t t = i / j->k;
        ids[i] = (uint32_t)((i % j->k + (t % 3 == 1 ? t : 0)) % j->experts);
    }
    b->slots[id].data = ids;
    return id;
}

/* Builds and runs: y (tokens, k * rows) and the doubles it should be. */
static const float *run(struct bench *b, const struct job *j, const double **want)
{
    bench_init(b, j->tokens, 1);
    if (j->threads > 1)
        assert_ok(nb_pool_create(&b->pool, j->threads, NULL, &b->err), &b->err);
    const uint32_t w = bench_experts(b, "w", j->experts, j->rows, j->cols, j->type, j->scattered);
    const uint32_t bias = j->bias ? bench_weight(b, "b", j->experts, j->rows, &nb_numfmt_f32) : 0;
    if (bias)
        b->slots[bias].data = (void *)(uintptr_t)bench_decoded(b, bias);
    const uint32_t x = bench_input(b, "x", j->cols * (j->per_slot ? j->k : 1));
    const uint32_t ids = bench_ids(b, j);
    const uint32_t xq =
        j->integers ? bench_node(b, &(struct nb_node_args){.op = &nb_op_quantize_q8, .in = {x}})
                    : 0;
    (void)bench_node(
        b, &(struct nb_node_args){.op = &nb_op_expert_linear, .in = {x, w, ids, bias, xq}});
    const float *y = bench_run(b);
    const float *wf = bench_decoded(b, w), *xf = b->slots[x].data, *bf = b->slots[bias].data;
    const uint32_t *chosen = b->slots[ids].data;
    const struct nb_q8 q = xq ? nb_slot_q8(&b->slots[xq]) : (struct nb_q8){0};
    double *sums = bench_alloc(b, (size_t)(j->tokens * j->k * j->rows), sizeof *sums);
    for (size_t s = 0; s < j->tokens * j->k; s++)
        for (size_t r = 0; r < j->rows; r++) {
            const size_t row = chosen[s] * j->rows + r, from = j->per_slot ? s : s / j->k;
            double sum = bias ? (double)bf[row] : 0.0;
            for (size_t i = 0; i < j->cols; i++) {
                const size_t at = from * j->cols + i;
                sum += (double)wf[row * j->cols + i] *
                       (xq ? (double)q.q[at] * (double)q.d[at / NB_Q8_BLOCK] : (double)xf[at]);
            }
            sums[s * j->rows + r] = sum;
        }
    *want = sums;
    nb_pool_destroy(b->pool);
    return y;
}

static const char *const formats[] = {"f32", "f16", "q8_0", "q4_k", "q5_k"};

/* Few tokens and many, rows that fill no tile, each expert's matrix where it may lie. */
static void test_values(void **state)
{
    (void)state;
    static const uint64_t tokens[] = {1, 5, 33, 150};
    static const uint64_t rows[] = {3, 8, 75};
    for (size_t f = 0; f < NB_COUNTOF(formats); f++)
        for (size_t i = 0; i < NB_COUNTOF(tokens) * NB_COUNTOF(rows) * 4; i++) {
            struct bench b;
            const double *want;
            struct job j = {.type = nb_numfmt_find(formats[f]),
                            .tokens = tokens[i / 4 % NB_COUNTOF(tokens)],
                            .rows = rows[i / 4 / NB_COUNTOF(tokens)],
                            .cols = 256,
                            .experts = 6,
                            .k = 1 + i % 3,
                            .per_slot = i % 4 > 1,
                            .scattered = i % 2,
                            .bias = i % 5 == 0};
            j.integers = i % 4 % 3 == 0 && j.type->expand;
            const float *y = run(&b, &j, &want);
            for (size_t r = 0; r < j.tokens * j.k * j.rows; r++)
                assert_close((double)y[r], want[r], 2e-4);
            bench_fini(&b);
        }
}

/* The first token's results are the same bits whatever comes with it, wherever the experts lie, and with
 * any number of threads. */
static void test_bits(void **state)
{
    (void)state;
    for (size_t f = 0; f < NB_COUNTOF(formats); f++)
        for (int integers = 0; integers < 2; integers++) {
            struct bench one;
            const double *want;
            struct job j = {.type = nb_numfmt_find(formats[f]),
                            .tokens = 1,
                            .experts = 5,
                            .k = 2,
                            .rows = 83,
                            .cols = 512};
            j.integers = integers && j.type->expand;
            const float *y = run(&one, &j, &want);
            for (uint64_t tokens = 2; tokens <= 120; tokens += 29) {
                struct bench many;
                j.tokens = tokens;
                j.threads = tokens % 3 == 0 ? 7 : 2;
                j.scattered = !j.scattered;
                assert_bits_array(run(&many, &j, &want), y, 2 * j.rows);
                bench_fini(&many);
            }
            bench_fini(&one);
        }
}

static void test_sum(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, T, 1);
    const uint32_t y = bench_input(&b, "y", 3 * 50), w = bench_input(&b, "w", 3);
    (void)bench_node(&b, &(struct nb_node_args){.op = &nb_op_expert_sum, .in = {y, w}});
    float *yf = b.slots[y].data, *wf = b.slots[w].data;
    wf[3 * 7 + 1] = 0.0F; /* whatever such an expert says */
    yf[7 * 150 + 50] = NAN;
    const float *out = bench_run(&b);
    for (size_t t = 0; t < T; t++)
        for (size_t i = 0; i < 50; i++) {
            double want = 0.0;
            for (size_t j = 0; j < 3; j++)
                if (wf[3 * t + j] != 0.0F)
                    want += (double)wf[3 * t + j] * (double)yf[t * 150 + j * 50 + i];
            assert_close((double)out[t * 50 + i], want, 1e-5);
        }
    bench_fini(&b);
}

NB_TEST_MAIN(cmocka_unit_test(test_top_k), cmocka_unit_test(test_top_k_nan),
             cmocka_unit_test(test_values), cmocka_unit_test(test_bits), cmocka_unit_test(test_sum))
