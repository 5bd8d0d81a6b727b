/* op/lstm.c: long short-term memory (Hochreiter and Schmidhuber 1997, with forget gate and peepholes of Gers et al.;
 * ONNX LSTM); recurrent.h has inputs, outputs and attributes.
 *
 *   i = f(w_i x + r_i h + biases + p_i c),  o = f(w_o x + r_o h + biases + p_o c')
 *   u = f(w_f x + r_f h + biases + p_f c), or with attr input_forget  u = 1 - i
 *   c' = u c + i g(w_c x + r_c h + biases),  h' = o e(c')
 *
 * The gates lie in the order i, o, u (called f by ONNX), c; the functions are f, g, e (called h there).
 */
#include "op/recurrent.h"

enum { INPUT, OUTPUT, FORGET, CELL };

/* A gate, with the peephole that looks at c. */
static float *gate(const struct nb_recurrent *l, size_t b, size_t time, size_t which, size_t begin,
                   size_t end)
{
    const float *c = l->c + b * l->units;
    float *z = nb_recurrent_gate(l, b, time, which, begin, end);
    for (size_t i = begin; l->p && which < CELL && i < end; i++)
        z[i - begin] += l->p[which * l->units + i] * c[i];
    nb_recurrent_act(l, which == CELL ? 1 : 0, z, end - begin);
    return z;
}

static void sequence(const struct nb_recurrent *l, size_t b, size_t time, size_t begin, size_t end)
{
    const size_t n = end - begin;
    float *c = l->c + b * l->units + begin, *next = l->next + b * l->units + begin;
    const float *in = gate(l, b, time, INPUT, begin, end);
    float *forget = l->z + (b * l->gates + FORGET) * l->units + begin;
    if (l->call->node->attr[RNN_OWN].i != 0)
        for (size_t i = 0; i < n; i++)
            forget[i] = 1.0F - in[i];
    else
        (void)gate(l, b, time, FORGET, begin, end);
    float *cell = gate(l, b, time, CELL, begin, end);
    for (size_t i = 0; i < n; i++)
        cell[i] = c[i] = forget[i] * c[i] + in[i] * cell[i];
    const float *out = gate(l, b, time, OUTPUT, begin, end);
    nb_recurrent_act(l, 2, cell, n);
    for (size_t i = 0; i < n; i++)
        next[i] = out[i] * cell[i];
    nb_recurrent_give(l, b, time, begin, end);
}

static void step(const struct nb_recurrent *l, size_t stage, size_t begin, size_t end)
{
    (void)stage;
    nb_recurrent_product(l, INPUT, CELL + 1, l->h, begin, end);
    for (size_t b = 0; b < l->batch; b++) {
        const size_t time = nb_recurrent_time(l, b, begin, end);
        if (time != SIZE_MAX)
            sequence(l, b, time, begin, end);
    }
}

static const struct nb_cell cell = {.gates = 4, .acts = 3, .stages = 1, .step = step};

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

const struct nb_op nb_op_lstm = {
    .name = "lstm",
    .n_in_min = 3,
    .n_in = RNN_P + 1,
    .n_out = 3,
    .attrs = {[RNN_DIRECTION] = "direction",
              [RNN_CLIP] = "clip",
              [RNN_ACTS] = "acts",
              [RNN_OWN] = "input_forget"},
    .quantizable = -1,
    .folds = true,
    .shape = shape,
    .shared_bytes = shared_bytes,
    .run = run,
};
