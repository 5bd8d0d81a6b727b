/* Attention and the cache against plain doubles; tokens together or alone, the same bits. */
#include "op_bench.h"

struct job {
    uint64_t heads, kv_heads, head_dim, capacity, position, tokens;
    const struct nb_numfmt *type;
    unsigned threads;
    uint64_t window;
    double softcap;
    bool all;      /* not causal */
    uint64_t ring; /* positions the cache holds; 0: capacity */
};

static uint64_t held(const struct job *j)
{
    return j->ring ? j->ring : j->capacity;
}

static uint32_t cache(struct bench *b, const struct job *j, const char *name)
{
    b->sym[NB_SYM_WINDOW] = held(j);
    return bench_cache(b, name, j->kv_heads, j->head_dim, j->type,
                       j->window ? NB_SYM_WINDOW : NB_SYM_CACHE);
}

#define N_ATTRS 5
#define ATTRS(j)                                                                                   \
    {                                                                                              \
        NB_ATTR_INT("heads", (j)->heads),                                                          \
            NB_ATTR_REAL("scale", 1.0 / sqrt((double)(j)->head_dim)),                              \
            NB_ATTR_INT("window", (j)->window), NB_ATTR_REAL("softcap", (j)->softcap),             \
            NB_ATTR_INT("causal", !(j)->all)                                                       \
    }

/* Attention in doubles over decoded keys and values. */
static void reference(const struct job *j, const float *q, const float *kf, const float *vf,
                      double *p, double *out)
{
    const size_t hd = (size_t)j->head_dim, group = (size_t)(j->heads / j->kv_heads);
    for (size_t i = 0; i < j->tokens * j->heads; i++) {
        const size_t t = i / j->heads, base = i % j->heads / group * (size_t)held(j) * hd;
        const size_t end = j->all ? j->tokens : j->position + t + 1;
        const size_t first = j->window && end > j->window ? end - j->window : 0;
        double sum = 0.0;
        for (size_t s = first; s < end; s++) {
            double dot = 0.0;
            for (size_t d = 0; d < hd; d++)
                dot += (double)q[i * hd + d] * (double)kf[base + s % held(j) * hd + d];
            dot /= sqrt((double)hd);
            if (j->softcap > 0.0)
                dot = j->softcap * tanh(dot / j->softcap);
            p[s] = exp(dot);
            sum += p[s];
        }
        for (size_t s = first; s < end; s++)
            for (size_t d = 0; d < hd; d++)
                out[i * hd + d] += p[s] / sum * (double)vf[base + s % held(j) * hd + d];
    }
}

/* The cache holds `position` tokens already; this call stores and attends to its own, too. */
static const float *run(struct bench *b, const struct job *j, const double **want)
{
    const size_t hd = (size_t)j->head_dim;
    bench_init(b, j->tokens, j->capacity);
    b->position = j->position;
    if (j->threads > 1)
        assert_ok(nb_pool_create(&b->pool, j->threads, NULL, &b->err), &b->err);
    const uint32_t keys = cache(b, j, "keys");
    const uint32_t values = cache(b, j, "values");
    const uint32_t q = bench_input(b, "q", j->heads * j->head_dim);
    const uint32_t k = bench_input(b, "k", j->kv_heads * j->head_dim);
    const uint32_t v = bench_input(b, "v", j->kv_heads * j->head_dim);
    (void)bench_node(
        b, &(struct nb_node_args){.op = &nb_op_kv_store, .in = {k, v}, .state = {keys, values}});
    const struct nb_attr attrs[] = ATTRS(j);
    (void)bench_node(b, &(struct nb_node_args){.op = &nb_op_attention,
                                               .in = {q, keys, values},
                                               .attrs = attrs,
                                               .n_attrs = N_ATTRS});
    const float *y = bench_run(b);
    const size_t n = (size_t)(j->kv_heads * held(j)) * hd;
    float *kf = bench_alloc(b, n, sizeof *kf), *vf = bench_alloc(b, n, sizeof *vf);
    nb_numfmt_decode(j->type, b->slots[keys].data, kf, n);
    nb_numfmt_decode(j->type, b->slots[values].data, vf, n);
    double *out = bench_alloc(b, (size_t)(j->tokens * j->heads) * hd, sizeof *out);
    double *p = bench_alloc(b, (size_t)j->capacity, sizeof *p);
    reference(j, b->slots[q].data, kf, vf, p, out);
    /* what this call stored is what it was given, in the cache's precision */
    for (size_t t = 0; t < j->tokens; t++)
        for (size_t i = 0; i < j->kv_heads * j->head_dim; i++) {
            const size_t slot = (j->position + t) % held(j);
            const size_t at = (i / hd * held(j) + slot) * hd + i % hd;
            const float given = ((const float *)b->slots[k].data)[t * j->kv_heads * hd + i];
            assert_close((double)kf[at], (double)given, fabs((double)given) * 0x1p-7 + 1e-7);
        }
    *want = out;
    nb_pool_destroy(b->pool);
    return y;
}

static void check_values(const struct job *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct bench b;
        const double *want;
        const float *y = run(&b, &jobs[i], &want);
        for (size_t k = 0; k < jobs[i].tokens * jobs[i].heads * jobs[i].head_dim; k++)
            assert_close((double)y[k], want[k], 1e-5);
        bench_fini(&b);
    }
}

static void test_values(void **state)
{
    (void)state;
    static const struct job jobs[] = {
        {4, 2, 32, 40, 0, 40, &nb_numfmt_f32, 1, .window = 0},
        {4, 4, 16, 300, 131, 1, &nb_numfmt_f16, 1, .window = 0},
        {8, 1, 64, 200, 60, 70, &nb_numfmt_f16, 2, .window = 0},
        {6, 2, 20, 150, 20, 65, &nb_numfmt_bf16, 3, .window = 0},
        {64, 1, 8, 70, 3, 5, &nb_numfmt_f32, 2, .window = 0},
        {2, 1, 128, 64, 63, 1, &nb_numfmt_f16, 1, .window = 0},
        {1, 1, 64, 130, 0, 130, &nb_numfmt_f32, 2, .window = 0},
    };
    check_values(jobs, NB_COUNTOF(jobs));
}

static void test_attributes(void **state)
{
    (void)state;
    static const struct job jobs[] = {
        {4, 2, 32, 40, 0, 40, &nb_numfmt_f32, 1, .window = 1},
        {4, 2, 32, 200, 90, 110, &nb_numfmt_f32, 2, .window = 7},
        {1, 1, 16, 400, 0, 400, &nb_numfmt_f32, 1, .window = 64},
        {1, 1, 16, 400, 150, 250, &nb_numfmt_f16, 2, .window = 129},
        {8, 1, 24, 300, 299, 1, &nb_numfmt_f16, 1, .window = 100},
        {2, 2, 8, 90, 0, 90, &nb_numfmt_f32, 1, .window = 90},
        {2, 2, 8, 90, 0, 90, &nb_numfmt_f32, 1, .window = 91},
        {2, 2, 8, 90, 40, 50, &nb_numfmt_f32, 1, .window = UINT32_MAX},
        {4, 2, 32, 2000, 90, 110, &nb_numfmt_f32, 2, .window = 7, .ring = 116},
        {1, 1, 16, 4000, 3000, 250, &nb_numfmt_f16, 2, .window = 129, .ring = 400},
        {6, 3, 24, 300, 299, 1, &nb_numfmt_f16, 1, .window = 100, .ring = 100},
        {4, 1, 8, 1000, 63, 64, &nb_numfmt_f32, 1, .window = 65, .ring = 128},
        {4, 2, 32, 70, 10, 60, &nb_numfmt_f32, 1, .softcap = 0.5},
        {4, 2, 32, 200, 90, 110, &nb_numfmt_f16, 2, .window = 33, .softcap = 50.0},
        {4, 4, 32, 70, 0, 67, &nb_numfmt_f32, 1, .all = true},
        {6, 2, 20, 150, 0, 130, &nb_numfmt_f16, 3, .softcap = 2.0, .all = true},
        {12, 12, 32, 9, 0, 1, &nb_numfmt_f32, 1, .all = true},
    };
    check_values(jobs, NB_COUNTOF(jobs));
}

/* What lies behind a token in the cache or before its window, be it NaN, is not looked at. */
static void check_unseen(uint64_t window)
{
    const struct job j = {1, 1, 8, 200, 130, 20, &nb_numfmt_f32, 1, .window = window};
    float first[8 * 20];
    for (int poison = 0; poison < 2; poison++) {
        struct bench b;
        bench_init(&b, j.tokens, j.capacity);
        b.position = j.position;
        const uint32_t keys = cache(&b, &j, "keys");
        const uint32_t values = cache(&b, &j, "values");
        const uint32_t q = bench_input(&b, "q", 8);
        const size_t begin = window ? (size_t)(j.position + 1 - window) : 0;
        for (size_t i = 0; poison && i < 200 * 8; i++)
            if (i < begin * 8 || i >= 150 * 8)
                ((float *)b.slots[keys].data)[i] = ((float *)b.slots[values].data)[i] = NAN;
        const struct nb_attr attrs[] = ATTRS(&j);
        (void)bench_node(&b, &(struct nb_node_args){.op = &nb_op_attention,
                                                    .in = {q, keys, values},
                                                    .attrs = attrs,
                                                    .n_attrs = N_ATTRS});
        const float *y = bench_run(&b);
        if (poison)
            assert_bits_array(y, first, 8 * 20);
        memcpy(first, y, sizeof first);
        bench_fini(&b);
    }
}

static void test_unseen(void **state)
{
    (void)state;
    check_unseen(0);
    check_unseen(1);
    check_unseen(33);
    check_unseen(100);
}

/* The same tokens one by one. */
static void check_split(const struct job *j)
{
    struct bench whole, part;
    const double *want;
    const size_t cols = (size_t)(j->heads * j->head_dim);
    const float *y = run(&whole, j, &want);
    bench_init(&part, 1, j->capacity);
    const uint32_t keys = cache(&part, j, "keys");
    const uint32_t values = cache(&part, j, "values");
    const uint32_t q = bench_input(&part, "q", cols);
    const struct nb_attr attrs[] = ATTRS(j);
    (void)bench_node(&part, &(struct nb_node_args){.op = &nb_op_attention,
                                                   .in = {q, keys, values},
                                                   .attrs = attrs,
                                                   .n_attrs = N_ATTRS});
    part.slots[keys].data = whole.slots[nb_graph_find(&whole.g, "keys")].data;
    part.slots[values].data = whole.slots[nb_graph_find(&whole.g, "values")].data;
    float *all = whole.slots[nb_graph_find(&whole.g, "q")].data;
    for (size_t t = 0; t < j->tokens; t++) {
        part.position = j->position + t;
        part.slots[q].data = all + t * cols;
        assert_bits_array((const float *)bench_run(&part), y + t * cols, cols);
    }
    bench_fini(&part);
    bench_fini(&whole);
}

static void test_split(void **state)
{
    (void)state;
    static const struct job jobs[] = {
        {6, 2, 24, 128, 19, 77, &nb_numfmt_f16, 2, .window = 0},
        {6, 2, 24, 128, 19, 77, &nb_numfmt_f16, 2, .window = 5},
        {1, 1, 24, 300, 19, 277, &nb_numfmt_f32, 2, .window = 70, .softcap = 20.0},
        {8, 1, 20, 300, 0, 177, &nb_numfmt_f32, 1, .window = 128},
        {8, 1, 20, 900, 400, 77, &nb_numfmt_f32, 1, .window = 128, .ring = 211},
    };
    for (size_t i = 0; i < NB_COUNTOF(jobs); i++)
        check_split(&jobs[i]);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        struct job j;
        const char *text;
    } bad[] = {
        {{.heads = 2, .head_dim = 4, .window = UINT64_MAX}, "neither may be below 0"},
        {{.heads = 2, .head_dim = 4, .softcap = -1.0}, "neither may be below 0"},
        {{.heads = 2, .head_dim = 4, .softcap = NAN}, "neither may be below 0"},
        {{.heads = 2, .head_dim = 4, .window = 3, .all = true}, "a window needs causal attention"},
        {{.heads = 3, .head_dim = 4}, "3 heads"},
    };
    for (size_t i = 0; i < NB_COUNTOF(bad); i++) {
        struct bench b;
        bench_init(&b, 1, 16);
        const uint32_t keys = bench_cache(&b, "keys", 1, 4, &nb_numfmt_f32,
                                          bad[i].j.window ? NB_SYM_WINDOW : NB_SYM_CACHE);
        const uint32_t q = bench_input(&b, "q", 8);
        const struct nb_attr attrs[] = ATTRS(&bad[i].j);
        (void)nb_graph_add(&b.g, &(struct nb_node_args){.op = &nb_op_attention,
                                                        .in = {q, keys, keys},
                                                        .attrs = attrs,
                                                        .n_attrs = N_ATTRS});
        assert_fails(nb_graph_check(&b.g, &b.err), NB_ERR_INTERNAL, &b.err, bad[i].text);
        bench_fini(&b);
    }
}

NB_TEST_MAIN(cmocka_unit_test(test_values), cmocka_unit_test(test_attributes),
             cmocka_unit_test(test_unseen), cmocka_unit_test(test_split),
             cmocka_unit_test(test_refused))
