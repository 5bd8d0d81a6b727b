/* What tests of quantized nets are made of: nodes, constants, a model around them, and questions to a model that was made.
 */
#ifndef TESTS_UNIT_PTQ_SMALL_NET_H
#define TESTS_UNIT_PTQ_SMALL_NET_H

#include <math.h>

#include "ptq/ptq.h"
#include "support/nbtest.h"

/* ---- a model by hand ---- */

static inline struct nb_onnx_node net_node(const char *name, const char *op, const char *const *in,
                                           size_t n, const char *const *out)
{
    return (struct nb_onnx_node){.name = name,
                                 .op_type = op,
                                 .domain = "",
                                 .inputs = in,
                                 .outputs = out,
                                 .n_inputs = n,
                                 .n_outputs = 1};
}

static inline struct nb_onnx_tensor net_tensor(const char *name, int32_t type, const int64_t *dims,
                                               size_t rank, const void *data)
{
    struct nb_onnx_tensor t = {
        .name = name, .type = type, .rank = rank, .dims = dims, .data = data};
    assert_true(nb_onnx_count(&t.n, &t.bytes, type, dims, rank));
    return t;
}

static inline struct nb_onnx_tensor net_floats(const char *name, const int64_t *dims, size_t rank,
                                               const float *data)
{
    return net_tensor(name, NB_ONNX_FLOAT32, dims, rank, data);
}

/* How data come in, as "x", and leave, as "y". */
struct net_ports {
    struct nb_onnx_dim dims[4];
    struct nb_onnx_value in, out;
    struct nb_onnx_opset opset;
};

static inline struct nb_onnx_model net_model(struct net_ports *p, const int64_t *dims, size_t rank,
                                             int64_t opset, const struct nb_onnx_node *nodes,
                                             size_t n_nodes, const struct nb_onnx_tensor *tensors,
                                             size_t n_tensors)
{
    for (size_t i = 0; i < rank; i++)
        p->dims[i] = (struct nb_onnx_dim){.value = dims[i]};
    p->in = (struct nb_onnx_value){.name = "x",
                                   .typed = true,
                                   .tensor = true,
                                   .type = NB_ONNX_FLOAT32,
                                   .rank = (int)rank,
                                   .dims = p->dims};
    p->out = (struct nb_onnx_value){.name = "y", .rank = -1, .type = NB_ONNX_FLOAT32};
    p->opset = (struct nb_onnx_opset){"", opset};
    return (struct nb_onnx_model){.ir_version = 7,
                                  .opsets = &p->opset,
                                  .n_opsets = 1,
                                  .graph = {.name = "g",
                                            .nodes = nodes,
                                            .n_nodes = n_nodes,
                                            .initializers = tensors,
                                            .n_initializers = n_tensors,
                                            .inputs = &p->in,
                                            .n_inputs = 1,
                                            .outputs = &p->out,
                                            .n_outputs = 1}};
}

/* ---- what a model has; NULL: no such ---- */

static inline const struct nb_onnx_node *node_of(const struct nb_onnx_model *m, const char *op)
{
    for (size_t i = 0; i < m->graph.n_nodes; i++)
        if (strcmp(m->graph.nodes[i].op_type, op) == 0)
            return &m->graph.nodes[i];
    return NULL;
}

static inline size_t count_of(const struct nb_onnx_model *m, const char *op)
{
    size_t n = 0;
    for (size_t i = 0; i < m->graph.n_nodes; i++)
        n += strcmp(m->graph.nodes[i].op_type, op) == 0;
    return n;
}

/* The node that makes a value. */
static inline const struct nb_onnx_node *maker_of(const struct nb_onnx_model *m, const char *name)
{
    for (size_t i = 0; i < m->graph.n_nodes; i++)
        for (size_t k = 0; k < m->graph.nodes[i].n_outputs; k++)
            if (strcmp(m->graph.nodes[i].outputs[k], name) == 0)
                return &m->graph.nodes[i];
    return NULL;
}

static inline const struct nb_onnx_tensor *initializer_of(const struct nb_onnx_model *m,
                                                          const char *name)
{
    for (size_t i = 0; i < m->graph.n_initializers; i++)
        if (strcmp(m->graph.initializers[i].name, name) == 0)
            return &m->graph.initializers[i];
    return NULL;
}

static inline double float_of(const struct nb_onnx_tensor *t, size_t i)
{
    float x;
    memcpy(&x, t->data + 4 * i, 4);
    return (double)x;
}

/* ---- what a model is worth, and whether it can run out of memory ---- */

/* The ratio of the first output; at most four. */
static inline double net_decibels(const struct nb_onnx_model *reference,
                                  const struct nb_onnx_model *m, const struct nb_ptq_data *data)
{
    struct nb_ptq_error e[4] = {{.n_right = 0}};
    struct nb_error err;
    assert_ok(nb_ptq_measure(e, reference, m, NULL, data, NULL, NULL, &err), &err);
    return 10.0 * log10(e[0].of.signal / e[0].of.noise);
}

/* Makes a quantized model of what the test has, with memory of a. */
typedef enum nb_status net_make_fn(struct nb_ptq **p, void *ctx, const struct nb_allocator *a);
struct net_oom {
    net_make_fn *make;
    void *ctx;
};

static inline enum nb_status net_oom_body(void *ctx, const struct nb_allocator *a)
{
    const struct net_oom *o = ctx;
    struct nb_ptq *p;
    const enum nb_status st = o->make(&p, o->ctx, a);
    nb_ptq_destroy(p);
    return st;
}

/* How often it had to be called until it passed. */
static inline size_t net_oom(net_make_fn *make, void *ctx)
{
    struct net_oom o = {make, ctx};
    return nbtest_oom(net_oom_body, &o);
}

#endif
