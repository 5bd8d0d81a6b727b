/* op/recurrent.h: what the recurrent layers share (ONNX RNN, GRU, LSTM; recurrent.c).
 *
 * Inputs, for t steps of b sequences, d directions, g gates of h units:
 *   0 x (t, b, i)   1 w (d, g h, i)   2 r (d, g h, h)   3 bias (d, 2 g h): that of w, then that of r; optional
 *   4 lengths (b) i32, optional; taken into 0 .. t   5 first state (d, b, h), optional: 0
 *   6 the two numbers of every activation function (d a, 2)
 * LSTM also 7 first cell (d, b, h), optional: 0   8 peepholes (d, 3 h): of input, output and forget gate, optional
 * Outputs: y (t, d, b, h), last state (d, b, h), LSTM also the last cell. All floats are f32. Behind the end of a
 * sequence y is 0; a sequence without steps ends as it starts.
 *
 * attr direction: 0 forward, 1 backward, 2 both; clip: bound of what goes into activation functions, 0: none;
 * acts: list of enum nb_recurrent_act (d a), a functions for each direction.
 *
 * Order: a gate is ((w x) + (r h)) + (bias of w + bias of r), where both products are the canonical dot of
 * kernels/kernels.h, everything else one rounding after the other. tanh is the kernel's, sigmoid 0.5 + 0.5 tanh(x/2);
 * exp and log of the rare ones are libm's in doubles.
 */
#ifndef NB_OP_RECURRENT_H
#define NB_OP_RECURRENT_H

#include "op/op.h"
#include "op/op_internal.h"

enum { RNN_X, RNN_W, RNN_R, RNN_BIAS, RNN_LENGTHS, RNN_H0, RNN_NUMBERS, RNN_C0, RNN_P };
enum { RNN_DIRECTION, RNN_CLIP, RNN_ACTS, RNN_OWN }; /* attributes: the last is the layer's */
#define RNN_MOST_ACTS 3

/* Sizes, and the memory of the direction at hand. Borrows: all. */
struct nb_recurrent {
    const struct nb_op_call *call;
    const struct nb_kernels *kernels;
    size_t steps, batch, inputs, units, gates, directions;
    size_t direction, step;
    bool backward;
    float clip;
    const float *w, *r, *bias, *p; /* bias, p: may be NULL */
    const int32_t *lengths;        /* NULL: all steps      */
    const int64_t *acts;
    const float *numbers;
    float *wx;        /* (t, b, g h): of all steps      */
    float *z;         /* (b, g h): r h, then the gates  */
    float *h, *next;  /* (b, h): state before and after */
    float *c, *reset; /* (b, h): LSTM's cell; GRU's state times its reset gate */
};

/* One step of units begin .. end - 1. stage: 0, or 1 of a layer that has two. */
struct nb_cell {
    size_t gates, acts, stages;
    void (*step)(const struct nb_recurrent *l, size_t stage, size_t begin, size_t end);
};

bool nb_recurrent_shape(struct nb_graph *g, const struct nb_node *n, const struct nb_cell *cell,
                        struct nb_value *out);
NB_CHECKED bool nb_recurrent_shared(const struct nb_op_call *call, const struct nb_cell *cell,
                                    size_t *bytes);
void nb_recurrent_run(const struct nb_op_call *call, const struct nb_cell *cell);

/* ---- for step ---- */

/* z of gates first .. last - 1 := r x, for all sequences; x (b, h). */
void nb_recurrent_product(const struct nb_recurrent *l, size_t first, size_t last, const float *x,
                          size_t begin, size_t end);
/* Time of sequence b in this step; SIZE_MAX: it has ended, which this call has dealt with. */
size_t nb_recurrent_time(const struct nb_recurrent *l, size_t b, size_t begin, size_t end);
/* z of one gate += w x and the biases; returns it, from unit `begin` on. */
float *nb_recurrent_gate(const struct nb_recurrent *l, size_t b, size_t time, size_t gate,
                         size_t begin, size_t end);
/* x := act k of this direction, after clipping. */
void nb_recurrent_act(const struct nb_recurrent *l, size_t k, float *x, size_t n);
/* The new state is in l->next: y gets it too. */
void nb_recurrent_give(const struct nb_recurrent *l, size_t b, size_t time, size_t begin,
                       size_t end);

#endif
