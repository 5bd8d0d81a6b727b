/* tests/unit/op/one_node.h: a graph of one node on one input of constant dimensions, run with one thread and with three. */
#ifndef ONE_NODE_H
#define ONE_NODE_H

#include <math.h>

#include "op/op.h"
#include "run/net.h"
#include "support/nbtest.h"

struct one_node {
    const struct nb_op *op;
    struct nb_attr attrs[NB_NODE_ATTRS];
    size_t n_attrs;
    enum nb_value_type type;
    uint64_t dims[NB_VALUE_DIMS];
    uint32_t rank;
};

/* Node and outputs; refused: NULL, or a part of why. */
static inline uint32_t one_node_build(struct nb_graph *g, const struct one_node *o,
                                      const char *refused)
{
    struct nb_error err;
    struct nb_value v = {.name = "x",
                         .kind = NB_VALUE_INPUT,
                         .type = o->type,
                         .rank = o->rank,
                         .block = NB_NO_BLOCK};
    for (uint32_t i = 0; i < o->rank; i++)
        v.dim[i] = nb_dim_const(o->dims[i]);
    nb_graph_init(g, NULL);
    const uint32_t x = nb_graph_value(g, &v);
    const uint32_t y = nb_graph_add(g, &(struct nb_node_args){.op = o->op,
                                                              .in = {x},
                                                              .attrs = o->attrs,
                                                              .n_attrs = o->n_attrs,
                                                              .block = NB_NO_BLOCK});
    if (refused == NULL)
        assert_ok(nb_graph_check(g, &err), &err);
    else
        assert_fails(nb_graph_check(g, &err), NB_ERR_INTERNAL, &err, refused);
    return y;
}

static inline void one_node_refused(const struct one_node *o, const char *why)
{
    struct nb_graph g;
    (void)one_node_build(&g, o, why);
    nb_graph_fini(&g);
}

/* The outputs (out[0] to out[n_out - 1], to be freed) on x; the same bits with any number of threads. */
static inline void one_node_run(const struct one_node *o, const void *x, void **out, size_t n_out)
{
    static const char *const names[] = {"y0", "y1", "y2", "y3"};
    const uint64_t sym[NB_N_SYMS] = {1, 1, 1, 1, 1};
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        struct nb_graph g;
        struct nb_pool *pool;
        struct nb_net_session *s;
        struct nb_error err;
        void *have[NB_NODE_OUTPUTS];
        uint32_t in = 1, values[NB_NODE_OUTPUTS];
        uint64_t bytes;
        const uint32_t y = one_node_build(&g, o, NULL);
        const struct nb_net_ports ports = {&g, &in, values, 1, n_out};
        for (uint32_t i = 0; i < n_out; i++) {
            values[i] = y + i;
            nb_graph_output(&g, y + i, names[i]);
        }
        assert_ok(nb_pool_create(&pool, threads, NULL, &err), &err);
        assert_ok(nb_net_session_create(&s, &ports, pool, NULL, &err), &err);
        for (size_t i = 0; i < n_out; i++) {
            assert_true(nb_value_bytes(&g.values[values[i]], sym, &bytes));
            have[i] = malloc((size_t)bytes + 1);
            assert_non_null(have[i]);
            memset(have[i], 0xa5, (size_t)bytes);
        }
        nb_net_session_run(s, (const void *const[]){x}, have);
        for (size_t i = 0; i < n_out; i++) {
            assert_true(nb_value_bytes(&g.values[values[i]], sym, &bytes));
            if (threads == 1) {
                out[i] = have[i];
            } else {
                assert_memory_equal(have[i], out[i], (size_t)bytes);
                free(have[i]);
            }
        }
        nb_net_session_destroy(s);
        nb_pool_destroy(pool);
        nb_graph_fini(&g);
    }
}

static inline float *one_node_floats(size_t n, double scale, uint64_t seed)
{
    struct nb_rng rng = {.seed = seed};
    float *x = malloc((n + 1) * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(scale * nb_rng_normal(&rng));
    return x;
}

#endif
