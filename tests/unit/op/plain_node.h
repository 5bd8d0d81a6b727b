/* One operator of a graph from a file, run on arrays: outputs are allocated here, values and threads chosen by the
 * test. */
#ifndef TEST_PLAIN_NODE_H
#define TEST_PLAIN_NODE_H

#include <math.h>
#include <stdlib.h>

#include "op/op.h"
#include "run/net.h"
#include "support/nbtest.h"

struct plain_in {
    enum nb_value_type type;
    uint32_t rank; /* with data NULL: an input that is absent */
    uint64_t dims[NB_VALUE_DIMS];
    const void *data;
};

struct plain {
    const struct nb_op *op;
    struct plain_in in[NB_NODE_INPUTS];
    const struct nb_attr *attrs;
    size_t n_attrs;
    uint32_t constants; /* bit i: input i is a constant of the graph */
};

struct plain_out {
    struct nb_value value[NB_NODE_OUTPUTS];
    void *data[NB_NODE_OUTPUTS]; /* free */
};

static inline uint32_t plain_build(struct nb_graph *g, const struct plain *p, uint32_t *inputs,
                                   const void **data, size_t *n_inputs)
{
    struct nb_node_args args = {.op = p->op, .attrs = p->attrs, .n_attrs = p->n_attrs};
    *n_inputs = 0;
    args.block = NB_NO_BLOCK;
    for (uint32_t i = 0; i < NB_NODE_INPUTS; i++) {
        static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h",
                                            "i", "j", "k", "l", "m", "n", "o", "p"};
        struct nb_value v = {.name = names[i],
                             .kind = NB_VALUE_INPUT,
                             .type = p->in[i].type,
                             .rank = p->in[i].rank,
                             .block = NB_NO_BLOCK};
        if (p->in[i].data == NULL)
            continue;
        for (uint32_t d = 0; d < v.rank; d++)
            v.dim[d] = nb_dim_const(p->in[i].dims[d]);
        if (p->constants >> i & 1) {
            args.in[i] = nb_graph_const(g, NULL, v.type, p->in[i].dims, v.rank, p->in[i].data);
            continue;
        }
        args.in[i] = inputs[*n_inputs] = nb_graph_value(g, &v);
        data[(*n_inputs)++] = p->in[i].data;
    }
    return nb_graph_add(g, &args);
}

static inline void plain_run(const struct plain *p, struct plain_out *out, unsigned threads)
{
    const uint64_t sym[NB_N_SYMS] = {1, 1, 1, 1, 1};
    static const char *const names[] = {"y0", "y1", "y2", "y3"};
    uint32_t inputs[NB_NODE_INPUTS], outputs[NB_NODE_OUTPUTS];
    const void *data[NB_NODE_INPUTS];
    struct nb_net_session *s;
    struct nb_pool *pool;
    struct nb_graph g;
    struct nb_error err;
    struct nb_net_ports ports = {.g = &g, .inputs = inputs, .outputs = outputs};
    nb_graph_init(&g, NULL);
    const uint32_t first = plain_build(&g, p, inputs, data, &ports.n_inputs);
    assert_ok(nb_graph_check(&g, &err), &err);
    for (uint32_t i = 0; i < NB_MAX(p->op->n_out, 1U); i++) {
        uint64_t bytes;
        nb_graph_output(&g, first + i, names[i]);
        outputs[ports.n_outputs++] = first + i;
        out->value[i] = g.values[first + i];
        assert_true(nb_value_bytes(&out->value[i], sym, &bytes));
        out->data[i] = malloc((size_t)bytes + 1);
        assert_non_null(out->data[i]);
        memset(out->data[i], 0xAA, (size_t)bytes);
    }
    assert_ok(nb_pool_create(&pool, threads, NULL, &err), &err);
    assert_ok(nb_net_session_create(&s, &ports, pool, NULL, &err), &err);
    nb_net_session_run(s, data, out->data);
    nb_net_session_destroy(s);
    nb_pool_destroy(pool);
    nb_graph_fini(&g);
}

static inline void plain_free(struct plain_out *out, const struct plain *p)
{
    for (uint32_t i = 0; i < NB_MAX(p->op->n_out, 1U); i++)
        free(out->data[i]);
}

/* One thread, with the output kept, and three: the same bytes. */
static inline void plain_run_both(const struct plain *p, struct plain_out *out)
{
    const uint64_t sym[NB_N_SYMS] = {1, 1, 1, 1, 1};
    struct plain_out other;
    plain_run(p, out, 1);
    plain_run(p, &other, 3);
    for (uint32_t i = 0; i < NB_MAX(p->op->n_out, 1U); i++) {
        uint64_t bytes;
        assert_true(nb_value_bytes(&out->value[i], sym, &bytes));
        assert_memory_equal(out->data[i], other.data[i], (size_t)bytes);
    }
    plain_free(&other, p);
}

static inline void plain_refused(const struct plain *p, const char *text)
{
    uint32_t inputs[NB_NODE_INPUTS];
    const void *data[NB_NODE_INPUTS];
    struct nb_graph g;
    struct nb_error err;
    size_t n;
    nb_graph_init(&g, NULL);
    assert_int_equal(plain_build(&g, p, inputs, data, &n), 0);
    const enum nb_status st = nb_graph_check(&g, &err);
    assert_true(st != NB_OK);
    if (strstr(err.message, text) == NULL)
        fail_msg("'%s' does not say '%s'", err.message, text);
    nb_graph_fini(&g);
}

/* n floats in [-1, 1), always the same; free. */
static inline float *plain_floats(size_t n, uint32_t seed)
{
    float *x = malloc((n + 1) * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525U + 1013904223U;
        x[i] = (float)(seed >> 8) / 8388608.0F - 1.0F;
    }
    return x;
}

#endif
