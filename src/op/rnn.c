/* op/rnn.c: a recurrent layer of one gate, h' = f(w x + r h + biases) (ONNX RNN); recurrent.h has inputs, outputs and
 * attributes.
 */
#include "op/recurrent.h"

static void step(const struct nb_recurrent *l, size_t stage, size_t begin, size_t end)
{
    (void)stage;
    nb_recurrent_product(l, 0, 1, l->h, begin, end);
    for (size_t b = 0; b < l->batch; b++) {
        const size_t time = nb_recurrent_time(l, b, begin, end);
        if (time == SIZE_MAX)
            continue;
        float *z = nb_recurrent_gate(l, b, time, 0, begin, end);
        nb_recurrent_act(l, 0, z, end - begin);
        memcpy(l->next + b * l->units + begin, z, (end - begin) * sizeof *z);
        nb_recurrent_give(l, b, time, begin, end);
    }
}

static const struct nb_cell cell = {.gates = 1, .acts = 1, .stages = 1, .step = step};

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

const struct nb_op nb_op_rnn = {
    .name = "rnn",
    .n_in_min = 3,
    .n_in = RNN_NUMBERS + 1,
    .n_out = 2,
    .attrs =
        {
            [RNN_DIRECTION] = "direction",
            [RNN_CLIP] = "clip",
            [RNN_ACTS] = "acts",
        },
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .shared_bytes = shared_bytes,
    .run = run,
};
