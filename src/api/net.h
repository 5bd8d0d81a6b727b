/* api/net.h: what the files about nets share. */
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

/* As the room net/ takes them. Borrows: the arena, what o borrows. */
NB_CHECKED enum nb_status nb_executor_room_options(struct nb_net_options *out,
                                                   struct nb_arena *arena,
                                                   const struct nb_executor_options *o,
                                                   struct nb_error *err);

/* ---- npy.c ---- */
/* Room for an array that is not in a file: *data (bytes of it). dims (rank) */
NB_CHECKED enum nb_status nb_npy_room(nb_context *ctx, struct nb_npy *out, const char *type,
                                      const int64_t *dims, uint32_t rank, void **data,
                                      struct nb_error *err);

/* ---- net_pictures.c: pictures as samples, and what is done to numbers ---- */
/* Where an input has its channels, and how many elements lie between two; prepared: there is something to do. */
struct nb_net_channels {
    const struct nb_net_prepare *p; /* NULL: nothing */
    uint64_t inner, n;              /* element i is of channel i / inner % n */
};
/* dims (rank): the input's. NB_ERR_ARG: means of channels that it does not have. */
NB_CHECKED enum nb_status nb_net_channels_find(struct nb_net_channels *c,
                                               const struct nb_net_prepare *p, const char *input,
                                               const int64_t *dims, size_t rank,
                                               struct nb_error *err);
/* Numbers `first` to first + n of an array of samples. */
void nb_net_channels_apply(const struct nb_net_channels *c, double *x, uint64_t first, uint64_t n);
/* Pictures of a path as bytes in the order of dims (4, the input's; -1: open, the first does not matter). */
NB_CHECKED enum nb_status nb_net_pictures_read(struct nb_npy *out, nb_context *ctx,
                                               const struct nb_net_samples *s, const char *input,
                                               const int64_t *dims, size_t rank,
                                               struct nb_error *err);
/* Codes of 8 bits, rounded to even and cut; of NaN: the least. */
void nb_net_codes(void *dst, bool is_unsigned, const double *x, uint64_t n);

/* ---- net_feed.c: samples ---- */

/* n elements of a value; of types that are no numbers: 0. */
void nb_net_widen(double *dst, enum nb_value_type type, const void *src, size_t n);
/* n numbers of a type ("float16", "int8"), from number `first` on, which begins a byte. */
void nb_net_numbers(double *dst, const char *type, const void *data, uint64_t first, uint64_t n);

struct nb_net_feed_options {
    const struct nb_net_samples *samples;
    const struct nb_executor_dim *dims;
    const struct nb_executor_fixed *fixed;
    size_t n_samples, n_dims, n_fixed;
};
/* Owns: npy. Borrows: the rest. */
struct nb_net_feed_input {
    const char *name, *path;
    struct nb_npy npy;   /* (n_runs, n_elements) */
    uint64_t n_elements; /* of a run */
    int64_t batch;       /* samples of a run */
    struct nb_net_channels channels;
};
/* Samples of a net's inputs, in their order, without those that are fixed. Owns: all but what options borrow. */
struct nb_net_feed {
    struct nb_arena arena;
    struct nb_net_info info;
    struct nb_net_feed_input *inputs;   /* (n_inputs) */
    struct nb_executor_shape *shapes;   /* (n_inputs) */
    struct nb_executor_options options; /* to open the net with */
    size_t n_inputs;
    uint64_t n_runs;
    int64_t batch; /* of the first input */
};
/* nb_net_feed_fini in any case. */
NB_CHECKED enum nb_status nb_net_feed_read(struct nb_net_feed *f, nb_context *ctx, const char *path,
                                           const struct nb_net_feed_options *o,
                                           struct nb_error *err);
/* Without samples: an open first dimension is 1, others are those of the options. nb_net_feed_fini in any case. */
NB_CHECKED enum nb_status nb_net_feed_suppose(struct nb_net_feed *f, nb_context *ctx,
                                              const char *path, const struct nb_net_feed_options *o,
                                              struct nb_error *err);
void nb_net_feed_fini(struct nb_net_feed *f);
/* Of input i: the numbers of one run (n_elements); those of all, as floats, the feed's. */
void nb_net_feed_numbers(const struct nb_net_feed *f, size_t i, uint64_t run, double *dst);
NB_CHECKED enum nb_status nb_net_feed_floats(struct nb_net_feed *f, size_t i, const float **out,
                                             struct nb_error *err);

#endif
