/* Two products with constant weights and what tests ask of the models made of them. */
#ifndef TEST_PTQ_PRODUCTS_H
#define TEST_PTQ_PRODUCTS_H

#include <math.h>

#include "ptq/ptq.h"
#include "support/nbtest.h"

static struct nb_error err;

enum { K = 40, H = 24, N = 6, ROWS = 3, SAMPLES = 9 };

static const char *const in_a[] = {"x", "w"}, *const out_a[] = {"a"};
static const char *const in_b[] = {"a", "v", "b"}, *const out_b[] = {"y"};
static const int64_t w_dims[] = {K, H}, v_dims[] = {N, H}, b_dims[] = {N};
static float w[K * H], v[N * H], b[N], samples[SAMPLES * ROWS * K];

struct model {
    struct nb_onnx_node nodes[2];
    struct nb_onnx_attr attrs[2];
    struct nb_onnx_tensor tensors[3];
    struct nb_onnx_dim in_dims[2];
    struct nb_onnx_value in, out;
    struct nb_onnx_opset opset;
    struct nb_onnx_model m;
};

static inline struct nb_onnx_tensor tensor(const char *name, const float *data, const int64_t *dims,
                                           size_t rank, uint64_t n)
{
    const void *bytes = data;
    return (struct nb_onnx_tensor){.name = name,
                                   .type = NB_ONNX_FLOAT32,
                                   .rank = rank,
                                   .dims = dims,
                                   .n = n,
                                   .data = bytes,
                                   .bytes = 4 * n};
}

static inline void fill(float *x, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((int)((i * 131 + seed * 977) % 499) - 249) / 250.0F;
}

/* x W, then half of that times V^T, plus b. */
static inline void model_init(struct model *s)
{
    memset(s, 0, sizeof *s);
    fill(w, K * H, 1);
    fill(v, N * H, 2);
    fill(b, N, 3);
    fill(samples, SAMPLES * ROWS * K, 4);
    s->attrs[0] = (struct nb_onnx_attr){.name = "transB", .type = NB_ONNX_ATTR_INT, .i = 1};
    s->attrs[1] = (struct nb_onnx_attr){.name = "alpha", .type = NB_ONNX_ATTR_FLOAT, .f = 0.5F};
    s->nodes[0] = (struct nb_onnx_node){.name = "first",
                                        .op_type = "MatMul",
                                        .domain = "",
                                        .inputs = in_a,
                                        .outputs = out_a,
                                        .n_inputs = 2,
                                        .n_outputs = 1};
    s->nodes[1] = (struct nb_onnx_node){.name = "second",
                                        .op_type = "Gemm",
                                        .domain = "",
                                        .inputs = in_b,
                                        .outputs = out_b,
                                        .n_inputs = 3,
                                        .n_outputs = 1,
                                        .attrs = s->attrs,
                                        .n_attrs = 2};
    s->tensors[0] = tensor("w", w, w_dims, 2, K * H);
    s->tensors[1] = tensor("v", v, v_dims, 2, N * H);
    s->tensors[2] = tensor("b", b, b_dims, 1, N);
    s->in_dims[0] = (struct nb_onnx_dim){.value = ROWS};
    s->in_dims[1] = (struct nb_onnx_dim){.value = K};
    s->in = (struct nb_onnx_value){.name = "x",
                                   .typed = true,
                                   .tensor = true,
                                   .type = NB_ONNX_FLOAT32,
                                   .rank = 2,
                                   .dims = s->in_dims};
    s->out = (struct nb_onnx_value){.name = "y", .rank = -1, .type = NB_ONNX_FLOAT32};
    s->opset = (struct nb_onnx_opset){"", 13};
    s->m = (struct nb_onnx_model){.ir_version = 7,
                                  .opsets = &s->opset,
                                  .n_opsets = 1,
                                  .graph = {.name = "g",
                                            .nodes = s->nodes,
                                            .n_nodes = 2,
                                            .initializers = s->tensors,
                                            .n_initializers = 3,
                                            .inputs = &s->in,
                                            .n_inputs = 1,
                                            .outputs = &s->out,
                                            .n_outputs = 1}};
}

static const float *const inputs[] = {samples};
static const struct nb_ptq_data data = {.inputs = inputs, .n_samples = SAMPLES},
                                nothing = {.n_samples = 0};

static inline const struct nb_onnx_node *node_of(const struct nb_onnx_model *m, const char *op)
{
    for (size_t i = 0; i < m->graph.n_nodes; i++)
        if (strcmp(m->graph.nodes[i].op_type, op) == 0)
            return &m->graph.nodes[i];
    return NULL;
}

static inline const struct nb_onnx_tensor *initializer(const struct nb_onnx_model *m,
                                                       const char *name)
{
    for (size_t i = 0; i < m->graph.n_initializers; i++)
        if (strcmp(m->graph.initializers[i].name, name) == 0)
            return &m->graph.initializers[i];
    return NULL;
}

static inline double decibels(const struct model *s, const struct nb_ptq *p)
{
    struct nb_ptq_error e = {0};
    assert_ok(nb_ptq_measure(&e, &s->m, nb_ptq_model(p), NULL, &data, NULL, NULL, &err), &err);
    return 10.0 * log10(e.signal / e.noise);
}

#endif
