/* tests/unit/op/op_bench.h: a workbench for one operator: a graph of one node, memory for its values. */
#ifndef OP_BENCH_H
#define OP_BENCH_H

#include <math.h>

#include "numfmt/numfmt.h"
#include "op/op.h"
#include "support/nbtest.h"

#define BENCH_SLOTS 12

/* Owns: all memory it hands out, through test_malloc's heap. */
struct bench {
    struct nb_graph g;
    struct nb_slot slots[BENCH_SLOTS];
    struct nb_tensor tensors[BENCH_SLOTS];
    struct nb_arena arena;
    struct nb_rng rng;
    uint64_t sym[NB_N_SYMS], position;
    struct nb_pool *pool;
    struct nb_error err;
};

static inline void bench_init(struct bench *b, uint64_t tokens, uint64_t capacity)
{
    memset(b, 0, sizeof *b);
    nb_graph_init(&b->g, NULL);
    nb_arena_init(&b->arena, NULL, 0);
    b->rng.seed = 11;
    b->sym[NB_SYM_ONE] = 1;
    b->sym[NB_SYM_TOKENS] = tokens;
    b->sym[NB_SYM_CACHE] = capacity;
    b->sym[NB_SYM_ROWS] = tokens;
    b->sym[NB_SYM_WINDOW] = capacity;
}

static inline void bench_fini(struct bench *b)
{
    nb_graph_fini(&b->g);
    nb_arena_fini(&b->arena);
}

static inline void *bench_alloc(struct bench *b, size_t n, size_t size)
{
    void *p = nb_arena_alloc(&b->arena, n + 1, size);
    assert_non_null(p);
    return p;
}

static inline float *bench_floats(struct bench *b, size_t n, double scale)
{
    float *x = bench_alloc(b, n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(scale * nb_rng_normal(&b->rng));
    return x;
}

/* An input (T, cols) of floats. */
static inline uint32_t bench_input(struct bench *b, const char *name, uint64_t cols)
{
    const struct nb_value v = {.name = name,
                               .kind = NB_VALUE_INPUT,
                               .type = NB_VALUE_F32,
                               .rank = 2,
                               .dim = {{.n = 1, .sym = NB_SYM_TOKENS}, nb_dim_const(cols)},
                               .block = NB_NO_BLOCK};
    const uint32_t id = nb_graph_value(&b->g, &v);
    assert_in_range(id, 1, BENCH_SLOTS - 1);
    b->slots[id].data = bench_floats(b, (size_t)(b->sym[NB_SYM_TOKENS] * cols), 1.0);
    return id;
}

static inline uint32_t bench_tokens(struct bench *b, uint32_t n_vocab)
{
    const struct nb_value v = {.name = "tokens",
                               .kind = NB_VALUE_INPUT,
                               .type = NB_VALUE_U32,
                               .rank = 1,
                               .dim = {{.n = 1, .sym = NB_SYM_TOKENS}}};
    const uint32_t id = nb_graph_value(&b->g, &v);
    uint32_t *t = bench_alloc(b, (size_t)b->sym[NB_SYM_TOKENS], sizeof *t);
    for (size_t i = 0; i < b->sym[NB_SYM_TOKENS]; i++)
        t[i] = (uint32_t)(nb_rng_u64(&b->rng) % n_vocab);
    b->slots[id].data = t;
    return id;
}

/* A weight stored as `type`; a vector (rows == 0) as plain f32. */
static inline uint32_t bench_weight(struct bench *b, const char *name, uint64_t rows, uint64_t cols,
                                    const struct nb_numfmt *type)
{
    const uint32_t id = nb_graph_weight(&b->g, name, rows, cols, 0);
    const size_t n = (size_t)((rows ? rows : 1) * cols);
    struct nb_tensor *t = &b->tensors[id];
    assert_in_range(id, 1, BENCH_SLOTS - 1);
    float *x = bench_floats(b, n, 1.0);
    *t = (struct nb_tensor){.name = name, .type = type, .shape = nb_shape_2(rows ? rows : 1, cols)};
    assert_ok(nb_numfmt_bytes(type, &t->shape, &t->bytes, &b->err), &b->err);
    uint8_t *data = bench_alloc(b, (size_t)t->bytes, 1);
    assert_ok(nb_numfmt_encode(type, data, x, NULL, n, &b->err), &b->err);
    t->data = data;
    b->slots[id] = (struct nb_slot){.tensor = t, .type = type, .data = rows ? NULL : x};
    return id;
}

/* Experts: n matrices in one tensor, or (scattered) each in memory of its own. */
static inline uint32_t bench_experts(struct bench *b, const char *name, uint64_t n, uint64_t rows,
                                     uint64_t cols, const struct nb_numfmt *type, bool scattered)
{
    const uint32_t id = nb_graph_experts(&b->g, name, n, rows, cols, 0);
    struct nb_tensor *t = &b->tensors[id];
    assert_in_range(id, 1, BENCH_SLOTS - 1);
    *t = (struct nb_tensor){.name = name, .type = type, .shape = {3, {n, rows, cols}}};
    assert_ok(nb_numfmt_bytes(type, &t->shape, &t->bytes, &b->err), &b->err);
    uint8_t *data = bench_alloc(b, (size_t)t->bytes, 1);
    const float *x = bench_floats(b, (size_t)(n * rows * cols), 1.0);
    assert_ok(nb_numfmt_encode(type, data, x, NULL, (size_t)(n * rows * cols), &b->err), &b->err);
    b->slots[id] = (struct nb_slot){.tensor = t, .type = type};
    t->data = data;
    if (!scattered)
        return id;
    struct nb_tensor *slabs = bench_alloc(b, (size_t)n, sizeof *slabs);
    const size_t bytes = (size_t)(t->bytes / n);
    for (size_t e = 0; e < n; e++) {
        uint8_t *copy = bench_alloc(b, bytes, 1);
        memcpy(copy, data + e * bytes, bytes);
        slabs[e] = *t;
        slabs[e].shape = nb_shape_slab(&t->shape);
        slabs[e].bytes = bytes;
        slabs[e].data = copy;
    }
    memset(data, 0xff, (size_t)t->bytes); /* nobody looks there */
    t->data = NULL;
    t->slabs = slabs;
    return id;
}

/* A cache (heads, positions, head_dim), filled with finite nonsense. */
static inline uint32_t bench_cache(struct bench *b, const char *name, uint64_t heads,
                                   uint64_t head_dim, const struct nb_numfmt *type,
                                   enum nb_sym positions)
{
    const struct nb_value v = {
        .name = name,
        .kind = NB_VALUE_STATE,
        .type = NB_VALUE_STORED,
        .rank = 3,
        .dim = {nb_dim_const(heads), {.n = 1, .sym = positions}, nb_dim_const(head_dim)}};
    const uint32_t id = nb_graph_value(&b->g, &v);
    const size_t n = (size_t)(heads * b->sym[positions] * head_dim);
    assert_in_range(id, 1, BENCH_SLOTS - 1);
    b->slots[id].type = type;
    b->slots[id].data = bench_alloc(b, n, sizeof(float));
    assert_ok(nb_numfmt_encode(type, b->slots[id].data, bench_floats(b, n, 1.0), NULL, n, &b->err),
              &b->err);
    return id;
}

static inline uint32_t bench_state(struct bench *b, const char *name, uint64_t heads,
                                   uint64_t head_dim, const struct nb_numfmt *type)
{
    return bench_cache(b, name, heads, head_dim, type, NB_SYM_CACHE);
}

static inline uint32_t bench_node(struct bench *b, const struct nb_node_args *args)
{
    const uint32_t id = nb_graph_add(&b->g, args);
    assert_ok(nb_graph_check(&b->g, &b->err), &b->err);
    assert_in_range(id, 1, BENCH_SLOTS - 1);
    return id;
}

static inline void bench_output(struct bench *b, uint32_t id)
{
    uint64_t bytes;
    if (b->g.values[id].kind != NB_VALUE_ACTIVATION)
        return;
    assert_true(nb_value_bytes(&b->g.values[id], b->sym, &bytes));
    b->slots[id].data = bench_alloc(b, (size_t)bytes, 1);
    memset(b->slots[id].data, 0xff, (size_t)bytes);
}

/* Runs every node; outputs get fresh memory, poisoned with NaN. Returns the last one's first output. */
static inline void *bench_run(struct bench *b)
{
    uint32_t last = 0;
    assert_ok(nb_graph_sort(&b->g, &b->err), &b->err);
    for (uint32_t i = 1; i < b->g.n_values; i++)
        assert_true(nb_value_extent(&b->g.values[i], b->sym, &b->slots[i].rows, &b->slots[i].cols));
    for (size_t i = 0; i < b->g.n_nodes; i++) {
        const struct nb_node *n = &b->g.nodes[b->g.order[i]];
        struct nb_op_call c = {
            .node = n, .kernels = nb_kernels_get(), .pool = b->pool, .position = b->position};
        memcpy(c.sym, b->sym, sizeof c.sym);
        for (uint32_t k = 0; k < NB_NODE_INPUTS; k++)
            c.in[k] = n->in[k] ? &b->slots[n->in[k]] : NULL;
        for (uint32_t k = 0; k < NB_NODE_OUTPUTS; k++)
            c.out[k] = n->out[k] ? &b->slots[n->out[k]] : NULL;
        last = n->out[0];
        for (uint32_t k = 0; k < NB_NODE_OUTPUTS; k++)
            bench_output(b, n->out[k]);
        size_t scratch = NB_ALIGN, shared = 0;
        if (n->op->shared_bytes)
            assert_true(n->op->shared_bytes(&c, &shared));
        c.shared = bench_alloc(b, shared, 1);
        memset(c.shared, 0xff, shared);
        if (n->op->scratch_bytes)
            assert_true(n->op->scratch_bytes(&c, &scratch));
        c.scratch_stride = scratch;
        c.scratch = bench_alloc(b, nb_pool_threads(b->pool), scratch);
        memset(c.scratch, 0xff, nb_pool_threads(b->pool) * scratch);
        n->op->run(&c);
    }
    return b->slots[last].data;
}

/* Runs the tokens again one by one, at their positions: the bits of y, (T, cols), must come out. */
static inline void bench_check_steps(struct bench *b, const float *y, size_t cols)
{
    const uint64_t n = b->sym[NB_SYM_TOKENS], first = b->position;
    b->sym[NB_SYM_TOKENS] = b->sym[NB_SYM_ROWS] = 1;
    for (uint64_t t = 0; t < n; t++) {
        b->position = first + t;
        assert_bits_array((const float *)bench_run(b), y + t * cols, cols);
        for (uint32_t i = 1; i < b->g.n_values; i++)
            if (b->g.values[i].kind == NB_VALUE_INPUT && b->g.values[i].dim[0].sym == NB_SYM_TOKENS)
                b->slots[i].data = (float *)b->slots[i].data + b->slots[i].cols;
    }
}

/* The weight as plain floats. */
static inline const float *bench_decoded(struct bench *b, uint32_t id)
{
    const struct nb_tensor *t = &b->tensors[id];
    const uint64_t rows = nb_shape_rows(&t->shape);
    float *x = bench_alloc(b, (size_t)(rows * nb_shape_cols(&t->shape)), sizeof *x);
    nb_tensor_decode(t, 0, rows, x);
    return x;
}

#endif
