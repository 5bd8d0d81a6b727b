/* Two products with constant weights and what tests ask of the models made of them. */
#ifndef TEST_PTQ_PRODUCTS_H
#define TEST_PTQ_PRODUCTS_H

#include "unit/ptq/small_net.h"

static struct nb_error err;

enum { K = 40, H = 24, N = 6, ROWS = 3, SAMPLES = 9 };

static const char *const in_a[] = {"x", "w"}, *const out_a[] = {"a"};
static const char *const in_b[] = {"a", "v", "b"}, *const out_b[] = {"y"};
static const int64_t w_dims[] = {K, H}, v_dims[] = {N, H}, b_dims[] = {N}, x_dims[] = {ROWS, K};
static float w[K * H], v[N * H], b[N], samples[SAMPLES * ROWS * K];

struct model {
    struct nb_onnx_node nodes[2];
    struct nb_onnx_attr attrs[2];
    struct nb_onnx_tensor tensors[3];
    struct net_ports ports;
    struct nb_onnx_model m;
};

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
    s->nodes[0] = net_node("first", "MatMul", in_a, 2, out_a);
    s->nodes[1] = net_node("second", "Gemm", in_b, 3, out_b);
    s->nodes[1].attrs = s->attrs;
    s->nodes[1].n_attrs = 2;
    s->tensors[0] = net_floats("w", w_dims, 2, w);
    s->tensors[1] = net_floats("v", v_dims, 2, v);
    s->tensors[2] = net_floats("b", b_dims, 1, b);
    s->m = net_model(&s->ports, x_dims, 2, 13, s->nodes, 2, s->tensors, 3);
}

static const float *const inputs[] = {samples};
static const struct nb_ptq_data data = {.inputs = inputs, .n_samples = SAMPLES},
                                nothing = {.n_samples = 0};

static inline double decibels(const struct model *s, const struct nb_ptq *p)
{
    return net_decibels(&s->m, nb_ptq_model(p), &data);
}

#endif
