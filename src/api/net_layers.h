/* api/net_layers.h: values between the nodes of two nets, compared by name. */
#ifndef NB_API_NET_LAYERS_H
#define NB_API_NET_LAYERS_H

#include "api/net_side.h"
#include "eval/net_score.h"

/* A value of both nets. Owns (with the layers): data. */
struct nb_net_layer {
    uint32_t value[2];          /* of the graphs                              */
    struct nb_net_grid grid[2]; /* scale 0: real numbers                      */
    uint64_t n;                 /* elements                                   */
    void *data;                 /* of the reference, as its graph holds them  */
    bool fresh;                 /* data are of this run                       */
    struct nb_agreement agreement;
};
/* Owns: all but the sides, which run as the files say. */
struct nb_net_layers {
    struct nb_arena arena;
    struct nb_net_side side[2];
    struct nb_net_layer *items; /* (n), in the reference's order */
    struct nb_map names;        /* of the net's values */
    uint32_t *of[2];            /* value -> item + 1   */
    size_t n;
    uint64_t n_alone;
};
/* nb_net_layers_fini in any case. options: of each side. */
NB_CHECKED enum nb_status nb_net_layers_open(struct nb_net_layers *l, nb_context *ctx,
                                             const char *const path[2],
                                             const struct nb_executor_options *options,
                                             struct nb_error *err);
void nb_net_layers_fini(struct nb_net_layers *l);
/* One run of both. from: the reference, fed. */
NB_CHECKED enum nb_status nb_net_layers_run(struct nb_net_layers *l, const struct nb_net_side *from,
                                            struct nb_error *err);
/* out (n); names borrow from the layers. */
void nb_net_layers_report(const struct nb_net_layers *l, struct nb_net_nearness *out,
                          double *room /* (values of the reference) */);

#endif
