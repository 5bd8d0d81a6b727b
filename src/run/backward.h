/* run/backward.h: gradients of a scalar of what a session gives, with respect to what flows through it.
 *
 * A session made with options.gradients keeps what the way back reads, all of it planned when it is created:
 * the context is one batch. The caller evaluates a window, forms the gradient of its scalar with respect to
 * the output (p - onehot(y) of logits for -log p(y)), and nb_session_backward walks the graph in reverse.
 * A part of a model (struct nb_model_part) takes and gives gradients of hidden states, so that a model can
 * be walked block by block. Weights in blocks are differentiated as the floats they decode to; activations
 * quantized to 8 bits as if they were not. The same bits for any thread count and ISA.
 */
#ifndef NB_RUN_BACKWARD_H
#define NB_RUN_BACKWARD_H

#include "run/run.h"

/* A linear layer: the gradient at its output, complete. Borrowed for the call, but weight, which lives as
 * long as the session. */
struct nb_grad_tap {
    const char *weight; /* canonical name                                             */
    int32_t block;      /* NB_NO_BLOCK: outside the decoder blocks                    */
    const float *dy;    /* (n_tokens, n_rows)                                         */
    const float *x;     /* (n_tokens, k), its input; NULL without NB_GRADIENTS_INPUTS */
    size_t n_tokens, n_rows, k;
};
typedef void nb_grad_tap_fn(void *ctx, const struct nb_grad_tap *tap);

struct nb_backward_args {
    const float *d_out; /* (n, nb_session_width), for every row the last call gave                */
    float *d_hidden;    /* (n, n_embd) receives the gradient of the hidden states that came in;
                            NULL: not wanted, or tokens came in                                    */
    nb_grad_tap_fn
        *tap; /* from the last linear layer to the first; NULL: off                     */
    void *tap_ctx;
};

/* The last call must have been one of a whole window from position 0 on, with all its rows wanted; the memory
 * of hidden states that came in must still hold them. Can be called again for other gradients of the same
 * output. NB_ERR_ARG otherwise. */
NB_CHECKED enum nb_status nb_session_backward(struct nb_session *s,
                                              const struct nb_backward_args *args,
                                              struct nb_error *err);

/* Norms and biases, which a session holds as floats of its own. What is written to value counts from the next
 * call on; grad, NULL without NB_GRADIENTS_WEIGHTS, is added to by each nb_session_backward. */
struct nb_small_weight {
    const char *name;
    float *value, *grad; /* (n) */
    size_t n;
};
/* The i-th in the order of the graph; false: there are no more. */
bool nb_session_small_weight(const struct nb_session *s, size_t i, struct nb_small_weight *out);
void nb_session_clear_gradients(struct nb_session *s); /* of small weights: 0 */

#endif
