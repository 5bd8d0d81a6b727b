/* A net for tests: x -> Conv a -> Relu -> Conv b (depthwise) -> Relu -> Conv c (1 x 1) -> y. Rows of a's weights are of very
 * different size, which one scale for all of them does not like; channel 0 has a bias and next to no weights.
 */
#ifndef TESTS_UNIT_PTQ_CHAIN_H
#define TESTS_UNIT_PTQ_CHAIN_H

#include "ptq/ptq_internal.h"
#include "unit/ptq/small_net.h"

enum { CHAIN_C = 3, CHAIN_M = 8, CHAIN_SIDE = 6, CHAIN_OUT = 4, CHAIN_SAMPLES = 24 };

struct chain {
    float wa[CHAIN_M * CHAIN_C * 9], ba[CHAIN_M], wb[CHAIN_M * 9], wc[CHAIN_OUT * CHAIN_M];
    float samples[CHAIN_SAMPLES * CHAIN_C * CHAIN_SIDE * CHAIN_SIDE];
    const float *inputs[1];
    struct nb_ptq_data data;
    struct nb_onnx_attr pads, group[2];
    struct nb_onnx_node nodes[5];
    struct nb_onnx_tensor tensors[4];
    struct net_ports ports;
    struct nb_onnx_model m;
};

static inline void chain_fill(struct chain *c)
{
    struct nb_rng r = {.seed = 11};
    for (size_t i = 0; i < NB_COUNTOF(c->wa); i++)
        c->wa[i] = (float)nb_rng_normal(&r) * (i < 27 ? 1e-7F : (float)(1 << i / 27) / 64.0F);
    for (size_t i = 0; i < CHAIN_M; i++)
        c->ba[i] = i == 0 ? 0.5F : 0.05F * (float)nb_rng_normal(&r);
    for (size_t i = 0; i < NB_COUNTOF(c->wb); i++)
        c->wb[i] = (float)nb_rng_normal(&r) / (float)(1 << i / 9);
    for (size_t i = 0; i < NB_COUNTOF(c->wc); i++)
        c->wc[i] = (float)nb_rng_normal(&r);
    for (size_t i = 0; i < NB_COUNTOF(c->samples); i++)
        c->samples[i] = (float)nb_rng_unit(&r);
}

static inline void chain_init(struct chain *c)
{
    static const char *const a_in[] = {"x", "wa", "ba"}, *const a_out[] = {"a"};
    static const char *const ra_in[] = {"a"}, *const ra_out[] = {"ra"};
    static const char *const b_in[] = {"ra", "wb"}, *const b_out[] = {"b"};
    static const char *const rb_in[] = {"b"}, *const rb_out[] = {"rb"};
    static const char *const c_in[] = {"rb", "wc"}, *const c_out[] = {"y"};
    static const int64_t wa[] = {CHAIN_M, CHAIN_C, 3, 3}, ba[] = {CHAIN_M},
                         wb[] = {CHAIN_M, 1, 3, 3};
    static const int64_t wc[] = {CHAIN_OUT, CHAIN_M, 1, 1}, pads[] = {1, 1, 1, 1};
    static const int64_t in[] = {1, CHAIN_C, CHAIN_SIDE, CHAIN_SIDE};
    memset(c, 0, sizeof *c);
    chain_fill(c);
    c->inputs[0] = c->samples;
    c->data = (struct nb_ptq_data){.inputs = c->inputs, .n_samples = CHAIN_SAMPLES};
    c->pads =
        (struct nb_onnx_attr){.name = "pads", .type = NB_ONNX_ATTR_INTS, .ints = pads, .n = 4};
    c->group[0] = (struct nb_onnx_attr){.name = "group", .type = NB_ONNX_ATTR_INT, .i = CHAIN_M};
    c->group[1] = c->pads;
    c->nodes[0] = net_node("conv_a", "Conv", a_in, 3, a_out);
    c->nodes[1] = net_node("relu_a", "Relu", ra_in, 1, ra_out);
    c->nodes[2] = net_node("conv_b", "Conv", b_in, 2, b_out);
    c->nodes[3] = net_node("relu_b", "Relu", rb_in, 1, rb_out);
    c->nodes[4] = net_node("conv_c", "Conv", c_in, 2, c_out);
    c->nodes[0].attrs = &c->pads;
    c->nodes[0].n_attrs = 1;
    c->nodes[2].attrs = c->group;
    c->nodes[2].n_attrs = 2;
    c->tensors[0] = net_floats("wa", wa, 4, c->wa);
    c->tensors[1] = net_floats("ba", ba, 1, c->ba);
    c->tensors[2] = net_floats("wb", wb, 4, c->wb);
    c->tensors[3] = net_floats("wc", wc, 4, c->wc);
    c->m = net_model(&c->ports, in, 4, 13, c->nodes, 5, c->tensors, 4);
}

/* The ratio of a model's output. */
static inline double chain_db(const struct chain *c, const struct nb_onnx_model *m)
{
    return net_decibels(&c->m, m, &c->data);
}

#endif
