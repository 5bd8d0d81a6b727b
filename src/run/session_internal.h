/* run/session_internal.h: what a session holds, for the files of this room. */
#ifndef NB_RUN_SESSION_INTERNAL_H
#define NB_RUN_SESSION_INTERNAL_H

#include "run/run.h"

/* Owns: graph, memory. Borrows: the weights, the pool. */
struct nb_session {
    const struct nb_allocator *a;
    const struct nb_weights *w;
    const struct nb_kernels *kernels;
    struct nb_pool *pool;
    struct nb_graph g;
    struct nb_arena arena; /* slots, small weights as f32, tokens, frequencies */
    struct nb_slot *slots; /* (g.n_values)                                     */
    uint8_t *activations, *scratch, *states;
    size_t scratch_stride; /* bytes of a worker */
    struct nb_session_memory memory;
    uint32_t n_ctx, n_batch, position;
    uint32_t n_window;       /* positions the caches of windowed layers hold                 */
    uint32_t written;        /* positions written since the last call from position 0 on     */
    uint64_t sym[NB_N_SYMS]; /* of the extents now in slots */
    uint32_t *tokens;        /* (n_batch)                   */
    struct nb_slot *hidden;  /* what comes in instead of tokens; NULL: tokens do */
    struct nb_slot *logits;  /* or hidden states */
    uint32_t width;          /* of their rows    */
    size_t head;             /* place in g.order of the product that makes logits; n_nodes: none */
    bool all_rows;           /* every row goes out, wanted or not */
    bool encoder;
    nb_tap_fn *tap;
    void *tap_ctx;
    struct nb_backward *back; /* NULL: no gradients */
};

/* lower.c: quantizes activations once for all integer products that read them. */
NB_CHECKED enum nb_status nb_session_lower(struct nb_graph *g, const struct nb_weights *w,
                                           struct nb_error *err);

/* bind.c: weights, inputs and states get their memory. */
NB_CHECKED enum nb_status nb_session_bind(struct nb_session *s, const struct nb_numfmt *kv_type,
                                          struct nb_error *err);

/* plan.c: activations share one block, scratch is as large as the hungriest node wants. */
NB_CHECKED enum nb_status nb_session_plan(struct nb_session *s, struct nb_error *err);
/* Puts extents for these symbols into the slots; false on overflow. */
NB_CHECKED bool nb_session_extents(struct nb_session *s, const uint64_t sym[NB_N_SYMS]);
/* backward.c */
NB_CHECKED enum nb_status nb_backward_create(struct nb_session *s, unsigned what,
                                             struct nb_error *err);
/* Lengthens the lives of values, gives those of gradients: both (n_values). */
void nb_backward_lives(const struct nb_session *s, struct nb_life *value, struct nb_life *grad);
bool nb_backward_wants(const struct nb_session *s, uint32_t value); /* memory for a gradient */
void nb_backward_place(struct nb_session *s, uint32_t value, void *memory);
bool nb_backward_runs(const struct nb_session *s, size_t place); /* the node there has a gradient */
void nb_backward_ran(struct nb_session *s, size_t n); /* a window of n tokens can be walked back */

void nb_session_call(const struct nb_session *s, const struct nb_node *n, struct nb_op_call *out);

#endif
