/* Gradients of every operator against central differences; the same bits for any pool and on the reference
 * kernels. */
#include "op_bench.h"

#define STEP       0x1p-7
#define TOLERANCE  1e-3 /* of the gradient's norm */
#define DIRECTIONS 4

/* A bench whose last node's output is weighed by `c` and summed: a scalar to differentiate. Memory: the
 * bench's arena. */
struct course {
    struct bench *b;
    const struct nb_kernels *kernels;
    uint32_t last;            /* value */
    float *c;                 /* of the output's extent */
    float *grad[BENCH_SLOTS]; /* by value; NULL: none   */
};

static size_t extent(const struct course *k, uint32_t value)
{
    return (size_t)(k->b->slots[value].rows * k->b->slots[value].cols);
}

static struct nb_op_call call_of(const struct course *k, const struct nb_node *n)
{
    struct bench *b = k->b;
    struct nb_op_call c = {.node = n, .kernels = k->kernels, .pool = b->pool};
    memcpy(c.sym, b->sym, sizeof c.sym);
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++)
        c.in[i] = n->in[i] ? &b->slots[n->in[i]] : NULL;
    for (uint32_t i = 0; i < NB_NODE_OUTPUTS; i++)
        c.out[i] = n->out[i] ? &b->slots[n->out[i]] : NULL;
    return c;
}

static void *poisoned(struct bench *b, size_t n, size_t size)
{
    void *p = bench_alloc(b, n, size);
    memset(p, 0xff, n * size);
    return p;
}

static void grad_node(const struct course *k, const struct nb_node *n)
{
    struct nb_op_call c = call_of(k, n);
    struct nb_op_grad g = {.call = &c};
    size_t shared = 0;
    c.scratch_stride = NB_ALIGN;
    if (n->op->grad_shared_bytes)
        assert_true(n->op->grad_shared_bytes(&c, &shared));
    if (n->op->grad_scratch_bytes)
        assert_true(n->op->grad_scratch_bytes(&c, &c.scratch_stride));
    c.shared = poisoned(k->b, shared, 1);
    c.scratch = poisoned(k->b, nb_pool_threads(k->b->pool), c.scratch_stride);
    for (uint32_t i = 0; i < NB_NODE_OUTPUTS; i++)
        g.out[i] = n->out[i] ? k->grad[n->out[i]] : NULL;
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++)
        g.in[i] = n->in[i] && (n->op->grad_to & (1U << i)) ? k->grad[n->in[i]] : NULL;
    n->op->grad(&g);
}

/* Forward, then all gradients: of inputs, small weights, states and activations. */
static void differentiate(struct course *k)
{
    struct bench *b = k->b;
    (void)bench_run(b);
    k->last = b->g.nodes[b->g.order[b->g.n_nodes - 1]].out[0];
    if (!k->c)
        k->c = bench_floats(b, extent(k, k->last), 1.0);
    for (uint32_t v = 1; v < b->g.n_values; v++) {
        const struct nb_value *value = &b->g.values[v];
        k->grad[v] = NULL;
        if (value->type == NB_VALUE_U32 || (value->kind == NB_VALUE_WEIGHT && !b->slots[v].data))
            continue;
        k->grad[v] = bench_alloc(b, extent(k, v), sizeof(float)); /* zeros */
    }
    memcpy(k->grad[k->last], k->c, extent(k, k->last) * sizeof(float));
    for (size_t i = b->g.n_nodes; i-- > 0;)
        if (b->g.nodes[b->g.order[i]].op->grad)
            grad_node(k, &b->g.nodes[b->g.order[i]]);
}

static double scalar(struct course *k)
{
    const float *y = bench_run(k->b);
    double sum = 0.0;
    for (size_t i = 0; i < extent(k, k->last); i++)
        sum += (double)k->c[i] * (double)y[i];
    return sum;
}

/* The derivative along random directions of one value. */
static void check_value(struct course *k, uint32_t v)
{
    const size_t n = extent(k, v);
    float *x = k->b->slots[v].data, *kept = bench_alloc(k->b, n, sizeof *kept);
    double norm = 0.0;
    for (size_t i = 0; i < n; i++)
        norm += (double)k->grad[v][i] * (double)k->grad[v][i];
    norm = sqrt(norm);
    assert_true(norm > 0.0 && isfinite(norm));
    memcpy(kept, x, n * sizeof *x);
    for (int d = 0; d < DIRECTIONS; d++) {
        const float *u = bench_floats(k->b, n, 1.0);
        double side[2], want = 0.0;
        for (int s = 0; s < 2; s++) {
            for (size_t i = 0; i < n; i++)
                x[i] = kept[i] + (s ? -1.0F : 1.0F) * (float)STEP * u[i];
            side[s] = scalar(k);
        }
        for (size_t i = 0; i < n; i++)
            want += (double)k->grad[v][i] * (double)u[i];
        memcpy(x, kept, n * sizeof *x);
        assert_close((side[0] - side[1]) / (2.0 * STEP), want, TOLERANCE * norm);
    }
}

static struct nb_kernels reference(void)
{
    struct nb_kernels k;
#define SET_ref(op)              k.op = nb_##op##_ref
#define SET_avx2(op)             (void)0
#define SET_avx512vnni(op)       (void)0
#define SET_neon(op)             (void)0
#define SET_dotprod(op)          (void)0
#define NB_KERNEL(op, isa, need) SET_##isa(op);
    memset(&k, 0, sizeof k);
#include "kernels/kernels.inc"
#undef NB_KERNEL
    return k;
}

/* Again with other threads and on the reference: the same bits. */
static void check_bits(struct course *k)
{
    const struct nb_kernels ref = reference();
    float *want[BENCH_SLOTS];
    memcpy(want, k->grad, sizeof want);
    for (unsigned way = 0; way < 3; way++) {
        k->kernels = way == 2 ? &ref : nb_kernels_get();
        if (way < 2)
            assert_ok(nb_pool_create(&k->b->pool, way == 0 ? 2 : 7, NULL, &k->b->err), &k->b->err);
        differentiate(k);
        for (uint32_t v = 1; v < k->b->g.n_values; v++)
            if (want[v])
                assert_bits_array(k->grad[v], want[v], extent(k, v));
        nb_pool_destroy(k->b->pool);
        k->b->pool = NULL;
    }
}

/* Every value a gradient is made for, unless `but` says to leave it out. */
static void check(struct bench *b, uint32_t but)
{
    struct course k = {.b = b, .kernels = nb_kernels_get()};
    differentiate(&k);
    for (uint32_t v = 1; v < b->g.n_values; v++) {
        const enum nb_value_kind kind = b->g.values[v].kind;
        if (k.grad[v] && v != but && (kind == NB_VALUE_INPUT || kind == NB_VALUE_WEIGHT))
            check_value(&k, v);
    }
    check_bits(&k);
    bench_fini(b);
}

static uint32_t add(struct bench *b, const struct nb_op *op, uint32_t x, uint32_t y, uint32_t z)
{
    return bench_node(b, &(struct nb_node_args){.op = op, .in = {x, y, z}});
}

static uint32_t add_with(struct bench *b, const struct nb_op *op, uint32_t x, uint32_t y,
                         struct nb_attr attr)
{
    return bench_node(b,
                      &(struct nb_node_args){.op = op, .in = {x, y}, .attrs = &attr, .n_attrs = 1});
}

static void test_linear(void **state)
{
    static const struct {
        const char *type;
        uint64_t rows, cols, tokens;
    } cases[] = {{"f32", 1, 1, 1},    {"f32", 37, 19, 5},     {"f16", 300, 48, 70},
                 {"bf16", 9, 530, 3}, {"q8_0", 65, 64, 33},   {"q4_k", 70, 512, 4},
                 {"q6_k", 8, 256, 9}, {"iq4_xs", 20, 256, 66}};
    (void)state;
    for (size_t i = 0; i < NB_COUNTOF(cases); i++)
        for (int bias = 0; bias < 2; bias++) {
            struct bench b;
            bench_init(&b, cases[i].tokens, 1);
            const uint32_t x = bench_input(&b, "x", cases[i].cols);
            const uint32_t w =
                bench_weight(&b, "w", cases[i].rows, cases[i].cols, nb_numfmt_find(cases[i].type));
            const uint32_t v = bias ? bench_weight(&b, "b", 0, cases[i].rows, &nb_numfmt_f32) : 0;
            (void)add(&b, &nb_op_linear, x, w, v);
            check(&b, 0);
        }
}

static void test_norms(void **state)
{
    (void)state;
    for (uint64_t run = 8; run <= 24; run += 8) { /* 8 and 24 divide 24, 16 does not */
        struct bench b;
        if (run == 16)
            continue;
        bench_init(&b, 19, 1);
        const uint32_t x = bench_input(&b, "x", 24);
        const uint32_t w = bench_weight(&b, "w", 0, run, &nb_numfmt_f32);
        (void)add_with(&b, &nb_op_rms_norm, x, w, (struct nb_attr)NB_ATTR_REAL("eps", 1e-2));
        check(&b, 0);
    }
    for (int bias = 0; bias < 2; bias++) {
        struct bench b;
        bench_init(&b, 21, 1);
        const uint32_t x = bench_input(&b, "x", 30);
        const uint32_t w = bench_weight(&b, "w", 0, 30, &nb_numfmt_f32);
        const uint32_t v = bias ? bench_weight(&b, "b", 0, 30, &nb_numfmt_f32) : 0;
        const struct nb_attr eps = NB_ATTR_REAL("eps", 1e-2);
        (void)bench_node(
            &b, &(struct nb_node_args){
                    .op = &nb_op_layer_norm, .in = {x, w, v}, .attrs = &eps, .n_attrs = 1});
        check(&b, 0);
    }
}

/* Sums, factors, caps, columns, tails, one vector to all rows. */
static void test_small(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 23, 1);
    b.sym[NB_SYM_ROWS] = 17;
    const uint32_t x = bench_input(&b, "x", 40), y = bench_input(&b, "y", 13);
    const uint32_t w = bench_weight(&b, "w", 0, 13, &nb_numfmt_f32);
    const struct nb_attr part[] = {NB_ATTR_INT("first", 9), NB_ATTR_INT("count", 13)};
    const uint32_t cut = bench_node(
        &b, &(struct nb_node_args){.op = &nb_op_columns, .in = {x}, .attrs = part, .n_attrs = 2});
    const uint32_t scaled =
        add_with(&b, &nb_op_scale, cut, 0, (struct nb_attr)NB_ATTR_REAL("factor", -0.7));
    const uint32_t sum = add(&b, &nb_op_add, scaled, y, 0);
    const uint32_t twice = add(&b, &nb_op_add, sum, sum, 0);
    const uint32_t more = add(&b, &nb_op_add_row, twice, w, 0);
    const uint32_t capped =
        add_with(&b, &nb_op_softcap, more, 0, (struct nb_attr)NB_ATTR_REAL("cap", 3.0));
    (void)add(&b, &nb_op_tail, capped, 0, 0);
    check(&b, 0);
}

static void test_activations(void **state)
{
    (void)state;
    for (int act = NB_ACT_SILU; act <= NB_ACT_RELU2; act++)
        for (int gated = 0; gated < 2; gated++) {
            struct bench b;
            bench_init(&b, 9, 1);
            const uint32_t x = bench_input(&b, "x", 300);
            const uint32_t y = gated ? bench_input(&b, "y", 300) : 0;
            float *v = b.slots[x].data;
            for (size_t i = 0; i < 9 * 300; i++) /* no difference across a kink */
                v[i] += v[i] < 0.0F ? -0.05F : 0.05F;
            (void)add_with(&b, gated ? &nb_op_glu : &nb_op_act, x, y,
                           (struct nb_attr)NB_ATTR_INT("act", act));
            check(&b, 0);
        }
}

static void test_rope(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        const bool halves = i % 2, table = i < 4;
        const uint64_t dims = i < 2 ? 16 : 20;
        struct bench b;
        bench_init(&b, 11, 1);
        const uint32_t x = bench_input(&b, "x", UINT64_C(3) * 20);
        const uint32_t r = table ? bench_input(&b, "table", dims) : 0;
        const struct nb_attr attrs[] = {NB_ATTR_INT("heads", 3), NB_ATTR_INT("halves", halves)};
        (void)bench_node(&b, &(struct nb_node_args){
                                 .op = &nb_op_rope, .in = {x, r}, .attrs = attrs, .n_attrs = 2});
        check(&b, r);
    }
}

struct attention {
    uint64_t tokens, capacity, heads, kv_heads, head_dim;
    int64_t window;
    double softcap;
    bool all; /* not causal */
};

/* Through the cache: the gradients of keys and values are those of what kv_store wrote. */
static void check_attention(const struct attention *c)
{
    const enum nb_sym sym = c->window ? NB_SYM_WINDOW : NB_SYM_CACHE;
    const struct nb_attr attrs[] = {
        NB_ATTR_INT("heads", c->heads), NB_ATTR_REAL("scale", 1.3 / sqrt((double)c->head_dim)),
        NB_ATTR_INT("window", c->window), NB_ATTR_REAL("softcap", c->softcap),
        NB_ATTR_INT("causal", !c->all)};
    struct bench b;
    bench_init(&b, c->tokens, c->capacity);
    const uint32_t q = bench_input(&b, "q", c->heads * c->head_dim);
    const uint32_t k = bench_input(&b, "k", c->kv_heads * c->head_dim);
    const uint32_t v = bench_input(&b, "v", c->kv_heads * c->head_dim);
    const uint32_t keys = bench_cache(&b, "K", c->kv_heads, c->head_dim, &nb_numfmt_f32, sym);
    const uint32_t values = bench_cache(&b, "V", c->kv_heads, c->head_dim, &nb_numfmt_f32, sym);
    (void)nb_graph_add(
        &b.g, &(struct nb_node_args){.op = &nb_op_kv_store, .in = {k, v}, .state = {keys, values}});
    (void)bench_node(&b, &(struct nb_node_args){.op = &nb_op_attention,
                                                .in = {q, keys, values},
                                                .attrs = attrs,
                                                .n_attrs = NB_COUNTOF(attrs)});
    check(&b, 0);
}

static void test_attention(void **state)
{
    static const struct attention cases[] = {
        {7, 9, 1, 1, 8, 0, 0.0, false},       {2, 4, 2, 1, 16, 0, 0.0, false},
        {150, 160, 4, 2, 16, 0, 0.0, false}, /* several chunks, blocks of positions */
        {99, 99, 3, 3, 10, 0, 4.0, false},    {130, 130, 4, 1, 8, 17, 0.0, false},
        {110, 120, 2, 2, 12, 70, 2.5, false}, {70, 70, 4, 2, 16, 0, 0.0, true},
        {5, 5, 64, 1, 4, 0, 0.0, false} /* a group larger than a task */
    };
    (void)state;
    for (size_t i = 0; i < NB_COUNTOF(cases); i++)
        check_attention(&cases[i]);
}

/* What an operator says it can do it does: a gradient function where inputs are named. */
static void test_registry(void **state)
{
    size_t n;
    const struct nb_op *const *ops = nb_op_all(&n);
    (void)state;
    for (size_t i = 0; i < n; i++) {
        assert_true((ops[i]->grad != NULL) == (ops[i]->grad_to != 0));
        assert_true(ops[i]->grad_to >> ops[i]->n_in == 0);
        assert_true(ops[i]->grad_reads >> ops[i]->n_in == 0);
        assert_true(ops[i]->grad || (!ops[i]->grad_scratch_bytes && !ops[i]->grad_shared_bytes));
    }
}

/* Differences measure errors: the real machine does that. The bits of a whole model are held elsewhere
 * (tests/unit/run/test_backward.c), emulated too. */
int main(void)
{
    const struct CMUnitTest registry[] = {cmocka_unit_test(test_registry)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear), cmocka_unit_test(test_norms),
        cmocka_unit_test(test_small),  cmocka_unit_test(test_activations),
        cmocka_unit_test(test_rope),   cmocka_unit_test(test_attention)};
    const int failed = cmocka_run_group_tests(registry, NULL, NULL);
    if (failed != 0 || nb_env("NB_EMULATED") != NULL)
        return failed;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
