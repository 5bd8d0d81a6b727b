/* container/safetensors_internal.h: what the reader and the writer of safetensors share. */
#ifndef NB_CONTAINER_SAFETENSORS_INTERNAL_H
#define NB_CONTAINER_SAFETENSORS_INTERNAL_H

#include "container/container_internal.h"

#define NB_SAFETENSORS_MAX_HEADER 100000000
#define NB_SAFETENSORS_METADATA   "__metadata__"

/* The dtype's place in the reference's order of alignments; -1 if the format has no such dtype. */
int nb_safetensors_dtype_rank(const char *dtype);

/* struct nb_container.layout and .before */
NB_CHECKED enum nb_status nb_safetensors_layout(struct nb_writer *w, const struct nb_meta *meta,
                                                struct nb_str *header, struct nb_error *err);
bool nb_safetensors_before(const struct nb_tensor *a, const struct nb_tensor *b);

#endif
