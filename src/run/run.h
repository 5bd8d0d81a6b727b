/* run/run.h: a planned, allocated, runnable graph, and picking the next token.
 *
 * A session plans all memory when it is created; nb_session_eval allocates nothing. Results are the
 * same bits for any thread count, ISA and split of the tokens into calls.
 */
#ifndef NB_RUN_RUN_H
#define NB_RUN_RUN_H

#include "base/base.h"
#include "model/model.h"
#include "numfmt/numfmt.h"

struct nb_session;

/* What a session is ready to differentiate (run/backward.h). */
enum nb_gradients {
    NB_GRADIENTS_ACTIVATIONS = 1 << 0, /* taps, hidden states                                   */
    NB_GRADIENTS_WEIGHTS = 1 << 1,     /* and norms and biases                                  */
    NB_GRADIENTS_INPUTS = 1 << 2       /* and taps see the inputs of linear layers              */
};

struct nb_session_options {
    uint32_t n_ctx;   /* positions of the KV cache; 0: the model's own context               */
    uint32_t n_batch; /* most tokens computed at once; 0: 512 (longer calls are split)        */
    const struct nb_numfmt *kv_type; /* f16 or f32; NULL: f16                                 */
    bool float_activations; /* quantized weights are decoded to f32 instead of multiplying integers:
                               slower; isolates the error of the weights                      */
    bool hidden;            /* hidden states behind the last norm instead of logits; always of an
                               encoder, which takes a whole text at once and starts anew with it */
    bool all_experts;     /* every token meets every expert, those not chosen count 0: for taps   */
    struct nb_pool *pool; /* borrowed; NULL: one thread                                    */
    struct nb_model_part part; /* of the model; all zero: the whole */
    unsigned gradients; /* enum nb_gradients; above 0: the context is one batch, and costs what it
                           takes to keep. NB_ERR_UNSUPPORTED names an operator that has none   */
};

/* Borrows: w and everything behind it, for its life. */
NB_CHECKED enum nb_status nb_session_create(struct nb_session **out, const struct nb_weights *w,
                                            const struct nb_session_options *options,
                                            const struct nb_allocator *a, struct nb_error *err);
void nb_session_destroy(struct nb_session *s);

/* Appends n tokens at the current position. logits (n - logits_first, nb_session_width) receives the rows of
 * tokens logits_first .. n-1; logits_first == n: none wanted. NB_ERR_LIMIT when the context is full,
 * NB_ERR_ARG for a token outside the vocabulary: then nothing has changed. */
NB_CHECKED enum nb_status nb_session_eval(struct nb_session *s, const uint32_t *tokens, size_t n,
                                          float *logits, size_t logits_first, struct nb_error *err);
uint32_t nb_session_width(const struct nb_session *s); /* n_vocab, of hidden states n_embd */

/* Parts of a model, one after the other, give the bits that the whole gives:
 *   {.to_hidden}                                     the embedding:  tokens -> hidden states
 *   {.from_hidden, .to_hidden, .first_block = b, .n_blocks = 1}      a block:  hidden -> hidden
 *   {.from_hidden, .first_block = n_layers}          the tail:  hidden -> logits; with .hidden what the
 *                                                    head reads: the states behind the last norm
 * A session binds the weights of its part alone, and its cache holds the blocks of its part.
 *
 * Appends n positions. hidden (n, n_embd) of a part from_hidden, else NULL; tokens (n) of one that is not,
 * else NULL. out (n, nb_session_width); it may be `hidden` itself where both are hidden states. A part that
 * makes logits takes out == NULL: the head is shown to the tap, but not multiplied. NB_ERR_LIMIT when the
 * context is full: a window of its own begins with nb_session_rewind(s, 0). */
NB_CHECKED enum nb_status nb_session_eval_part(struct nb_session *s, const float *hidden,
                                               const uint32_t *tokens, size_t n, float *out,
                                               struct nb_error *err);
uint32_t nb_session_position(const struct nb_session *s);
uint32_t nb_session_context(const struct nb_session *s);
/* Forgets everything from there on. Returns the position that was reached: `position`, or 0 if layers
 * with a window have forgotten what comes before it (they keep the window and a batch). */
uint32_t nb_session_rewind(struct nb_session *s, uint32_t position);

struct nb_session_memory {
    uint64_t kv_bytes, activation_bytes, scratch_bytes;
    uint64_t weight_bytes; /* mapped, not owned */
};
void nb_session_memory(const struct nb_session *s, struct nb_session_memory *out);

/* Calibration taps an edge: called with the input of every linear node, before it runs. Nodes that read
 * the same value (q, k and v; gate and up) have the same edge. Borrowed for the call, but weight, which
 * lives as long as the session. NULL: off. */
struct nb_tap {
    const char *weight; /* canonical name                      */
    uint32_t edge;      /* which value it is, from 1 on        */
    const float
        *x; /* (n_tokens, k), or with experts that read each their own (n_tokens, n_ids, k) */
    size_t n_tokens, k;
    /* Experts: the matrices that each token meets, (n_tokens, n_ids), the first n_chosen of them with a
     * weight; NULL: there is one, n_ids is 0. */
    const uint32_t *ids;
    size_t n_ids, n_chosen, n_experts;
    bool per_id; /* x has a row for each id */
};
typedef void nb_tap_fn(void *ctx, const struct nb_tap *tap);
void nb_session_tap(struct nb_session *s, nb_tap_fn *fn, void *ctx);

/* ---- sampling ---- */
struct nb_sampler_options {
    float temperature;    /* 0: greedy                                                  */
    uint32_t top_k;       /* 0: off                                                     */
    float top_p;          /* 1: off                                                     */
    float min_p;          /* 0: off; relative to the most likely token                  */
    float repeat_penalty; /* 1: off; divides positive and multiplies negative logits */
    uint32_t repeat_last; /* tokens looked back on                                   */
    uint64_t seed;
};
void nb_sampler_options_init(struct nb_sampler_options *o); /* 0.8, 40, 0.95, 0.05, 1.0, 64, 42 */

struct nb_sampler;
NB_CHECKED enum nb_status nb_sampler_create(struct nb_sampler **out,
                                            const struct nb_sampler_options *o, uint32_t n_vocab,
                                            const struct nb_allocator *a, struct nb_error *err);
void nb_sampler_destroy(struct nb_sampler *s);
/* Also of the prompt: for the penalty. */
void nb_sampler_accept(struct nb_sampler *s, uint32_t token);
/* Penalties, then top-k, top-p, min-p, temperature. */
uint32_t nb_sampler_pick(struct nb_sampler *s, const float *logits);

#endif
