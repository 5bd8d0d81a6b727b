/* run/net.h: a session of a graph of constant dimensions: inputs and outputs by place, no cache, no tokens.
 *
 * All memory is planned when the session is created; a run allocates nothing. Results are the same bits for any
 * thread count and ISA.
 */
#ifndef NB_RUN_NET_H
#define NB_RUN_NET_H

#include "base/base.h"
#include "graph/graph.h"

struct nb_net_session;

/* A graph and what goes in and out of it: values of kind NB_VALUE_INPUT and NB_VALUE_OUTPUT, in any order. */
struct nb_net_ports {
    struct nb_graph *g;
    const uint32_t *inputs, *outputs; /* (n_inputs), (n_outputs) */
    size_t n_inputs, n_outputs;
};

/* Borrows: p and its graph, which is sorted here and must not change afterwards; pool (NULL: one thread).
 * NB_ERR_LIMIT: its values are too large. */
NB_CHECKED enum nb_status nb_net_session_create(struct nb_net_session **out,
                                                const struct nb_net_ports *p, struct nb_pool *pool,
                                                const struct nb_allocator *a, struct nb_error *err);
void nb_net_session_destroy(struct nb_net_session *s);

/* inputs (n_inputs), outputs (n_outputs): memory for each, as large as nb_value_bytes says and aligned for its
 * elements. */
void nb_net_session_run(struct nb_net_session *s, const void *const *inputs, void *const *outputs);

/* Called with every value that a node has made, after the node has run. Borrowed for the call. NULL: off. */
typedef void nb_net_tap_fn(void *ctx, uint32_t value, const struct nb_slot *slot);
void nb_net_session_tap(struct nb_net_session *s, nb_net_tap_fn *fn, void *ctx);

/* Called before and after each node, for profiles. */
typedef void nb_net_probe_fn(void *ctx, const struct nb_node *node, bool after);
void nb_net_session_probe(struct nb_net_session *s, nb_net_probe_fn *fn, void *ctx);

struct nb_net_memory {
    uint64_t activation_bytes, scratch_bytes, const_bytes, prepared_bytes;
};
void nb_net_session_memory(const struct nb_net_session *s, struct nb_net_memory *out);

#endif
