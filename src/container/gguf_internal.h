/* container/gguf_internal.h: what the reader and the writer of GGUF share. */
#ifndef NB_CONTAINER_GGUF_INTERNAL_H
#define NB_CONTAINER_GGUF_INTERNAL_H

#include "container/container_internal.h"

#define NB_GGUF_MAGIC         "GGUF"
#define NB_GGUF_VERSION       3
#define NB_GGUF_MAX_DIMS      4
#define NB_GGUF_MAX_NAME      63 /* bytes of a tensor's name */
#define NB_GGUF_MAX_STRING    (UINT64_C(1) << 30)
#define NB_GGUF_MAX_ITEMS     (UINT64_C(1) << 30)
#define NB_GGUF_ALIGN_KEY     "general.alignment"
#define NB_GGUF_ALIGN_DEFAULT 32

/* The alignment that metadata asks for; refuses what the reference loader refuses. */
NB_CHECKED enum nb_status nb_gguf_align(const struct nb_meta *meta, uint64_t *align,
                                        struct nb_error *err);
/* Up to the next multiple of align (a power of two); false on overflow. */
NB_CHECKED bool nb_gguf_round_up(uint64_t *v, uint64_t align);

/* struct nb_container.layout */
NB_CHECKED enum nb_status nb_gguf_layout(struct nb_writer *w, const struct nb_meta *meta,
                                         struct nb_str *header, struct nb_error *err);

#endif
