/* Attention and the cache against plain doubles; tokens together or alone, the same bits. */
#include "op_bench.h"

#define PLAIN NB_ATTR_INT("window", 0), NB_ATTR_REAL("softcap", 0.0), NB_ATTR_INT("causal", 1)

struct job {
    uint64_t heads, kv_heads, head_dim, capacity, position, tokens;
    const struct nb_numfmt *type;
    unsigned threads;
};

/* The cache holds `position` tokens already; this call stores and attends to its own, too. */
static const float *run(struct bench *b, const struct job *j, const double **want)
{
    const size_t hd = (size_t)j->head_dim, group = (size_t)(j->heads / j->kv_heads);
    bench_init(b, j->tokens, j->capacity);
    b->position = j->position;
    if (j->threads > 1)
        assert_ok(nb_pool_create(&b->pool, j->threads, NULL, &b->err), &b->err);
    const uint32_t keys = bench_state(b, "keys", j->kv_heads, j->head_dim, j->type);
    const uint32_t values = bench_state(b, "values", j->kv_heads, j->head_dim, j->type);
    const uint32_t q = bench_input(b, "q", j->heads * j->head_dim);
    const uint32_t k = bench_input(b, "k", j->kv_heads * j->head_dim);
    const uint32_t v = bench_input(b, "v", j->kv_heads * j->head_dim);
    (void)bench_node(
        b, &(struct nb_node_args){.op = &nb_op_kv_store, .in = {k, v}, .state = {keys, values}});
    const struct nb_attr attrs[] = {NB_ATTR_INT("heads", j->heads),
                                    NB_ATTR_REAL("scale", 1.0 / sqrt((double)j->head_dim)), PLAIN};
    (void)bench_node(
        b, &(struct nb_node_args){
               .op = &nb_op_attention, .in = {q, keys, values}, .attrs = attrs, .n_attrs = 5});
    const float *y = bench_run(b);
    const size_t n = (size_t)(j->kv_heads * j->capacity) * hd;
    float *kf = bench_alloc(b, n, sizeof *kf), *vf = bench_alloc(b, n, sizeof *vf);
    nb_numfmt_decode(j->type, b->slots[keys].data, kf, n);
    nb_numfmt_decode(j->type, b->slots[values].data, vf, n);
    double *out = bench_alloc(b, (size_t)(j->tokens * j->heads) * hd, sizeof *out);
    double *p = bench_alloc(b, (size_t)j->capacity, sizeof *p);
    for (size_t i = 0; i < j->tokens * j->heads; i++) {
        const size_t t = i / j->heads, base = i % j->heads / group * (size_t)j->capacity * hd;
        const float *qf = (const float *)b->slots[q].data + i * hd;
        double sum = 0.0;
        for (size_t s = 0; s <= j->position + t; s++) {
            double dot = 0.0;
            for (size_t d = 0; d < hd; d++)
                dot += (double)qf[d] * (double)kf[base + s * hd + d];
            p[s] = exp(dot / sqrt((double)hd));
            sum += p[s];
        }
        for (size_t s = 0; s <= j->position + t; s++)
            for (size_t d = 0; d < hd; d++)
                out[i * hd + d] += p[s] / sum * (double)vf[base + s * hd + d];
    }
    /* what this call stored is what it was given, in the cache's precision */
    for (size_t t = 0; t < j->tokens; t++)
        for (size_t i = 0; i < j->kv_heads * j->head_dim; i++) {
            const size_t at = (i / hd * j->capacity + j->position + t) * hd + i % hd;
            const float given = ((const float *)b->slots[k].data)[t * j->kv_heads * hd + i];
            assert_close((double)kf[at], (double)given, fabs((double)given) * 0x1p-7 + 1e-7);
        }
    *want = out;
    nb_pool_destroy(b->pool);
    return y;
}

static void test_values(void **state)
{
    (void)state;
    static const struct job jobs[] = {
        {4, 2, 32, 40, 0, 40, &nb_numfmt_f32, 1},   {4, 4, 16, 300, 131, 1, &nb_numfmt_f16, 1},
        {8, 1, 64, 200, 60, 70, &nb_numfmt_f16, 2}, {6, 2, 20, 150, 20, 65, &nb_numfmt_bf16, 3},
        {64, 1, 8, 70, 3, 5, &nb_numfmt_f32, 2},    {2, 1, 128, 64, 63, 1, &nb_numfmt_f16, 1},
        {1, 1, 64, 130, 0, 130, &nb_numfmt_f32, 2},
    };
    for (size_t i = 0; i < NB_COUNTOF(jobs); i++) {
        struct bench b;
        const double *want;
        const float *y = run(&b, &jobs[i], &want);
        for (size_t k = 0; k < jobs[i].tokens * jobs[i].heads * jobs[i].head_dim; k++)
            assert_close((double)y[k], want[k], 1e-5);
        bench_fini(&b);
    }
}

/* What lies behind a token in the cache, be it NaN, is not looked at. */
static void test_causal(void **state)
{
    (void)state;
    for (int poison = 0; poison < 2; poison++) {
        static float first[8 * 20];
        struct bench b;
        bench_init(&b, 20, 64);
        b.position = 30;
        const uint32_t keys = bench_state(&b, "keys", 1, 8, &nb_numfmt_f32);
        const uint32_t values = bench_state(&b, "values", 1, 8, &nb_numfmt_f32);
        const uint32_t q = bench_input(&b, "q", 8);
        for (size_t i = 50 * 8; poison && i < 64 * 8; i++)
            ((float *)b.slots[keys].data)[i] = ((float *)b.slots[values].data)[i] = NAN;
        const struct nb_attr attrs[] = {NB_ATTR_INT("heads", 1), NB_ATTR_REAL("scale", 0.3), PLAIN};
        (void)bench_node(
            &b, &(struct nb_node_args){
                    .op = &nb_op_attention, .in = {q, keys, values}, .attrs = attrs, .n_attrs = 5});
        const float *y = bench_run(&b);
        if (poison)
            assert_bits_array(y, first, 8 * 20);
        memcpy(first, y, sizeof first);
        bench_fini(&b);
    }
}

/* The same tokens one by one. */
static void test_split(void **state)
{
    (void)state;
    enum { TOKENS = 77, HEADS = 6, DIM = 24, START = 19 };
    struct bench whole, part;
    const double *want;
    const struct job j = {HEADS, 2, DIM, 128, START, TOKENS, &nb_numfmt_f16, 2};
    const float *y = run(&whole, &j, &want);
    bench_init(&part, 1, 128);
    const uint32_t keys = bench_state(&part, "keys", 2, DIM, &nb_numfmt_f16);
    const uint32_t values = bench_state(&part, "values", 2, DIM, &nb_numfmt_f16);
    const uint32_t q = bench_input(&part, "q", HEADS * DIM);
    const struct nb_attr attrs[] = {NB_ATTR_INT("heads", HEADS),
                                    NB_ATTR_REAL("scale", 1.0 / sqrt((double)DIM)), PLAIN};
    (void)bench_node(
        &part, &(struct nb_node_args){
                   .op = &nb_op_attention, .in = {q, keys, values}, .attrs = attrs, .n_attrs = 5});
    part.slots[keys].data = whole.slots[nb_graph_find(&whole.g, "keys")].data;
    part.slots[values].data = whole.slots[nb_graph_find(&whole.g, "values")].data;
    float *all = whole.slots[nb_graph_find(&whole.g, "q")].data;
    for (size_t t = 0; t < TOKENS; t++) {
        part.position = START + t;
        part.slots[q].data = all + t * HEADS * DIM;
        assert_bits_array((const float *)bench_run(&part), y + t * HEADS * DIM, HEADS * DIM);
    }
    bench_fini(&part);
    bench_fini(&whole);
}

NB_TEST_MAIN(cmocka_unit_test(test_values), cmocka_unit_test(test_causal),
             cmocka_unit_test(test_split))
