/* op/gru.c: gated recurrent units (Cho et al. 2014; ONNX GRU); recurrent.h has inputs, outputs and attributes.
 *
 *   z = f(w_z x + r_z h + biases),  s = f(w_r x + r_r h + biases)
 *   n = g(w_h x + r_h (s h) + biases), or with attr reset_after (ONNX linear_before_reset)
 *   n = g(w_h x + bias of w + s (r_h h + bias of r))
 *   h' = (1 - z) n + z h
 *
 * The gates lie in the order z, s (called r by ONNX), n. The first form has a second stage: s h of all units.
 */
#include "op/recurrent.h"

enum { UPDATE, RESET, NEW };

static bool after(const struct nb_recurrent *l)
{
    return l->call->node->attr[RNN_OWN].i != 0;
}

static void mix(const struct nb_recurrent *l, size_t b, size_t time, size_t begin, size_t end)
{
    const float *update = l->z + b * l->gates * l->units + UPDATE * l->units;
    const float *fresh = l->z + b * l->gates * l->units + NEW * l->units;
    const float *h = l->h + b * l->units;
    float *next = l->next + b * l->units;
    for (size_t i = begin; i < end; i++)
        next[i] = (1.0F - update[i]) * fresh[i] + update[i] * h[i];
    nb_recurrent_give(l, b, time, begin, end);
}

/* The reset gate over what r_h h has become. */
static void new_after(const struct nb_recurrent *l, size_t b, size_t time, const float *reset,
                      size_t begin, size_t end)
{
    const size_t rows = l->gates * l->units, at = NEW * l->units + begin;
    float *z = l->z + b * rows + at;
    const float *x = l->wx + (time * l->batch + b) * rows + at;
    for (size_t i = 0; i < end - begin; i++) {
        const float own = l->bias ? z[i] + l->bias[rows + at + i] : z[i];
        z[i] = x[i] + reset[i] * own;
        if (l->bias)
            z[i] += l->bias[at + i];
    }
    nb_recurrent_act(l, 1, z, end - begin);
    mix(l, b, time, begin, end);
}

static void gates(const struct nb_recurrent *l, size_t begin, size_t end)
{
    nb_recurrent_product(l, UPDATE, after(l) ? NEW + 1 : NEW, l->h, begin, end);
    for (size_t b = 0; b < l->batch; b++) {
        const size_t time = nb_recurrent_time(l, b, begin, end);
        if (time == SIZE_MAX) /* what is made of it is not read, but it is not to be chance */
            memset(l->reset + b * l->units + begin, 0, (end - begin) * sizeof(float));
        if (time == SIZE_MAX)
            continue;
        nb_recurrent_act(l, 0, nb_recurrent_gate(l, b, time, UPDATE, begin, end), end - begin);
        float *reset = nb_recurrent_gate(l, b, time, RESET, begin, end);
        nb_recurrent_act(l, 0, reset, end - begin);
        if (after(l))
            new_after(l, b, time, reset, begin, end);
        for (size_t i = begin; i < end; i++)
            l->reset[b * l->units + i] = reset[i - begin] * l->h[b * l->units + i];
    }
}

static void step(const struct nb_recurrent *l, size_t stage, size_t begin, size_t end)
{
    if (stage == 0) {
        gates(l, begin, end);
        return;
    }
    if (after(l))
        return;
    nb_recurrent_product(l, NEW, NEW + 1, l->reset, begin, end);
    for (size_t b = 0; b < l->batch; b++) {
        const size_t time = nb_recurrent_time(l, b, begin, end);
        if (time == SIZE_MAX)
            continue;
        nb_recurrent_act(l, 1, nb_recurrent_gate(l, b, time, NEW, begin, end), end - begin);
        mix(l, b, time, begin, end);
    }
}

static const struct nb_cell cell = {.gates = 3, .acts = 2, .stages = 2, .step = step};

static bool shape(struct nb_graph *g, const struct nb_node *n, struct nb_value *out)
{
    return nb_recurrent_shape(g, n, &cell, out);
}

static bool shared_bytes(const struct nb_op_call *call, size_t *bytes)
{
    return nb_recurrent_shared(call, &cell, bytes);
}

static void run(const struct nb_op_call *call)
{
    nb_recurrent_run(call, &cell);
}

const struct nb_op nb_op_gru = {
    .name = "gru",
    .n_in_min = 3,
    .n_in = RNN_NUMBERS + 1,
    .n_out = 2,
    .attrs = {[RNN_DIRECTION] = "direction",
              [RNN_CLIP] = "clip",
              [RNN_ACTS] = "acts",
              [RNN_OWN] = "reset_after"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .shared_bytes = shared_bytes,
    .run = run,
};
