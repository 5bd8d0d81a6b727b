/* Linear layers of every format against plain doubles; one token or many, the same bits. */
#include "op/linear.h"

#include "op_bench.h"

static const char *const formats[] = {"f32", "f16", "bf16", "q8_0", "q6_k", "q5_k", "q4_k", "q4_0"};

struct job {
    const struct nb_numfmt *type;
    uint64_t tokens, n, k;
    bool integers, bias;
    unsigned threads;
};

/* Builds and runs; y (tokens, n) and the doubles it should be. */
static const float *run(struct bench *b, const struct job *j, const double **want)
{
    bench_init(b, j->tokens, 1);
    if (j->threads > 1)
        assert_ok(nb_pool_create(&b->pool, j->threads, NULL, &b->err), &b->err);
    /* weights first: they must not depend on the number of tokens */
    const uint32_t w = bench_weight(b, "w", j->n, j->k, j->type);
    const uint32_t bias = j->bias ? bench_weight(b, "b", 0, j->n, &nb_numfmt_f32) : 0;
    const uint32_t x = bench_input(b, "x", j->k);
    const uint32_t xq =
        j->integers ? bench_node(b, &(struct nb_node_args){.op = &nb_op_quantize_q8, .in = {x}})
                    : 0;
    (void)bench_node(b, &(struct nb_node_args){.op = &nb_op_linear, .in = {x, w, bias, xq}});
    const float *y = bench_run(b);
    double *sums = bench_alloc(b, (size_t)(j->tokens * j->n), sizeof *sums);
    const float *wf = bench_decoded(b, w), *xf = b->slots[x].data, *bf = b->slots[bias].data;
    const struct nb_q8 q = xq ? nb_slot_q8(&b->slots[xq]) : (struct nb_q8){0};
    for (size_t t = 0; t < j->tokens; t++)
        for (size_t r = 0; r < j->n; r++) {
            double s = bias ? (double)bf[r] : 0.0;
            for (size_t i = 0; i < j->k; i++) {
                const size_t at = t * j->k + i;
                s += (double)wf[r * j->k + i] *
                     (xq ? (double)q.q[at] * (double)q.d[at / NB_Q8_BLOCK] : (double)xf[at]);
            }
            sums[t * j->n + r] = s;
        }
    *want = sums;
    nb_pool_destroy(b->pool);
    return y;
}

static bool integers_possible(const struct nb_numfmt *f)
{
    return f->expand != NULL;
}

/* Rows that fill no tile, tokens on both sides of every threshold. */
static void test_values(void **state)
{
    (void)state;
    static const uint64_t tokens[] = {1, 2, 3, 4, 7, 8, 9, 33, 70};
    static const uint64_t rows[] = {1, 7, 8, 65, 150};
    for (size_t f = 0; f < NB_COUNTOF(formats); f++)
        for (size_t i = 0; i < NB_COUNTOF(tokens) * NB_COUNTOF(rows) * 2; i++) {
            struct bench b;
            const double *want;
            struct job j = {.type = nb_numfmt_find(formats[f]),
                            .tokens = tokens[i / 2 % NB_COUNTOF(tokens)],
                            .n = rows[i / 2 / NB_COUNTOF(tokens)],
                            .k = 256,
                            .bias = i % 3 == 0};
            j.integers = i % 2 && integers_possible(j.type);
            const float *y = run(&b, &j, &want);
            for (size_t r = 0; r < j.tokens * j.n; r++)
                assert_close((double)y[r], want[r], 2e-4);
            bench_fini(&b);
        }
}

/* The first token's results are the same bits whatever comes with it, and with any number of threads. */
static void test_bits(void **state)
{
    (void)state;
    for (size_t f = 0; f < NB_COUNTOF(formats); f++)
        for (int integers = 0; integers < 2; integers++) {
            struct bench one;
            const double *want;
            struct job j = {.type = nb_numfmt_find(formats[f]), .tokens = 1, .n = 203, .k = 512};
            j.integers = integers && integers_possible(j.type);
            j.bias = true;
            const float *y = run(&one, &j, &want);
            for (uint64_t tokens = 2; tokens <= 80; tokens += 13) {
                struct bench many;
                j.tokens = tokens;
                j.threads = tokens % 3 == 0 ? 7 : 2;
                assert_bits_array(run(&many, &j, &want), y, j.n);
                bench_fini(&many);
            }
            bench_fini(&one);
        }
}

/* A safetensors file may start a tensor at any byte. */
static void test_misaligned(void **state)
{
    (void)state;
    for (size_t f = 0; f < 3; f++) {
        struct bench b;
        bench_init(&b, 2, 1);
        const uint32_t w = bench_weight(&b, "w", 9, 64, nb_numfmt_find(formats[f]));
        const uint32_t x = bench_input(&b, "x", 64);
        (void)bench_node(&b, &(struct nb_node_args){.op = &nb_op_linear, .in = {x, w}});
        const float *want = bench_run(&b);
        uint8_t *odd = bench_alloc(&b, (size_t)b.tensors[w].bytes + 1, 1);
        memcpy(odd + 1, b.tensors[w].data, (size_t)b.tensors[w].bytes);
        b.tensors[w].data = odd + 1;
        assert_bits_array((const float *)bench_run(&b), want, 2 * 9);
        bench_fini(&b);
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_values), cmocka_unit_test(test_bits),
             cmocka_unit_test(test_misaligned))
