/* quant/quant_internal.h: what the files of this room share. */
#ifndef NB_QUANT_QUANT_INTERNAL_H
#define NB_QUANT_QUANT_INTERNAL_H

#include "quant/algo.h"
#include "quant/quant.h"

#define NB_KEY_VERSION     "nibble.version"
#define NB_KEY_RECIPE      "nibble.recipe"
#define NB_KEY_SOURCE_HASH "nibble.source_hash"

/* types.c: which type each weight shall have (before the output's convention has its say). Fills
 * tensors[i].type and .note. */
NB_CHECKED enum nb_status nb_quant_choose(struct nb_quant_plan *p, struct nb_error *err);

/* importance.c: which weights are rounded with importance; says when it is missing where it counts. */
NB_CHECKED enum nb_status nb_quant_weigh(struct nb_quant_plan *p, struct nb_error *err);
/* The keys by which llama.cpp's tools know that there was an imatrix. NB_ERR_NOMEM only. */
NB_CHECKED enum nb_status nb_quant_describe_imatrix(const struct nb_quant_settings *s,
                                                    struct nb_meta *meta);

/* The spec under which a plan's output is exported. */
struct nb_export_spec nb_quant_spec(const struct nb_quant_plan *p);

/* calibrated_plan.c: memory and time of a calibration; nothing without text. */
NB_CHECKED enum nb_status nb_calibrated_plan(struct nb_quant_plan *p, struct nb_error *err);
/* Is it a matrix that calibration rounds? */
bool nb_calibrated_takes(const struct nb_plan_tensor *t);

/* How an algorithm's scales are searched: as the recipe says, else as the algorithm does. */
struct nb_scale_options nb_quant_scale_search(const struct nb_quant_plan *p,
                                              const struct nb_algo *algo);

/* Sizes of the unit of work and of a worker's scratch. */
struct nb_quant_sizes {
    size_t batch;   /* elements decoded and encoded at once */
    size_t gather;  /* bytes of a segment's source rows     */
    size_t segment; /* encoded bytes of a segment           */
};
struct nb_quant_sizes nb_quant_sizes(const struct nb_plan_tensor *t);
/* Matrices in a tensor (experts): each has importance of its own. At least 1. */
uint64_t nb_quant_matrices(const struct nb_shape *shape);

/* array.c: an array of zero bytes with its parts placed, to be filled. */
NB_CHECKED enum nb_status nb_qarray_allocate(struct nb_qarray **out, const struct nb_numfmt *type,
                                             const struct nb_shape *shape,
                                             const struct nb_allocator *a, struct nb_error *err);

#endif
