/* api/net_side.h: a net that is run over samples, its inputs and outputs as real numbers. */
#ifndef NB_API_NET_SIDE_H
#define NB_API_NET_SIDE_H

#include "api/net.h"

/* An input or output of a net. Owns (with the side): data. */
struct nb_net_end {
    struct nb_executor_port port;
    struct nb_net_grid grid; /* of integers that stand for reals; scale 0: there is none */
    float step;              /* distance of the reals that it can be; 0: any */
    void *data;
};
/* Owns: all, through the arena. */
struct nb_net_side {
    struct nb_arena arena;
    const char *path;
    nb_executor *e;
    struct nb_net_end *in, *out;
    const void **inputs;
    void **outputs;
    size_t n_in, n_out;
    double *reals; /* room for as many as the largest input or output has */
};
/* nb_net_side_close in any case. */
NB_CHECKED enum nb_status nb_net_side_open(struct nb_net_side *s, nb_context *ctx, const char *path,
                                           const struct nb_executor_options *o,
                                           struct nb_error *err);
void nb_net_side_close(struct nb_net_side *s);

/* One run's samples become the inputs: integers of the input's own type as they are, other numbers for floats. */
NB_CHECKED enum nb_status nb_net_side_feed(struct nb_net_side *s, const struct nb_net_feed *f,
                                           uint64_t run, struct nb_error *err);
/* Inputs as those of another net, which has been fed: by name, else by place; real numbers go through both grids. */
NB_CHECKED enum nb_status
nb_net_side_feed_like(struct nb_net_side *s, const struct nb_net_side *other, struct nb_error *err);
NB_CHECKED enum nb_status nb_net_side_run(struct nb_net_side *s, struct nb_error *err);
/* What the numbers of an input or output stand for. dst: (elements) */
void nb_net_end_reals(const struct nb_net_end *end, double *dst);
/* Codes to what they stand for, in place. */
void nb_net_grid_reals(struct nb_net_grid g, double *x, uint64_t n);

/* Index of the output of that name, or of the only one. NB_ERR_ARG tells which there are. */
NB_CHECKED enum nb_status nb_net_side_output(const struct nb_net_side *s, const char *name,
                                             size_t *index, struct nb_error *err);

/* Classes: `batch` samples of a run have a row of scores each, of `*classes`; labels (n) lie below it. */
NB_CHECKED enum nb_status nb_net_side_classes(const struct nb_net_side *s, size_t output,
                                              uint64_t batch, const int64_t *labels, size_t n,
                                              uint64_t *classes, struct nb_error *err);

#endif
