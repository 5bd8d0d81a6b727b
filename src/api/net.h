/* api/net.h: what the files of nb_executor share (net.c, net_look.c). */
#ifndef NB_API_NET_H
#define NB_API_NET_H

#include "api/api.h"
#include "net/net.h"
#include "run/net.h"

#include <nibble/net.h>

/* An input or output. Borrows: value. Owns: staging. */
struct nb_executor_end {
    struct nb_executor_port port;
    const struct nb_value *value;
    int32_t type;  /* enum nb_onnx_type: as the caller holds it                     */
    void *staging; /* as the graph holds it; NULL: the caller's memory will do      */
};

struct nb_executor_time {
    uint64_t runs, ns;
};

/* Owns: everything but net and pool. */
struct nb_executor {
    struct nb_allocator allocator;
    const struct nb_allocator *a;
    struct nb_net *file, *rewritten; /* rewritten: NULL if it runs as the file says */
    struct nb_net *net;              /* which of the two runs */
    struct nb_pool *pool, *own_pool;
    struct nb_net_session *session;
    struct nb_executor_end *ends; /* (inputs, then outputs) */
    const void **inputs;          /* (n_inputs) of a run */
    void **outputs;               /* (n_outputs) */
    uint64_t staging_bytes;
    struct nb_executor_time *times; /* (nodes) */
    uint64_t began;                 /* the node that runs */
    nb_executor_tap_fn *tap;
    void *tap_ctx;
};

/* A value as a caller sees it; type: the file's, or NB_ONNX_UNDEFINED for what the graph has. */
NB_CHECKED enum nb_status nb_executor_describe(struct nb_executor_port *out, const char *name,
                                               int32_t type, const struct nb_value *v,
                                               struct nb_error *err);

#endif
