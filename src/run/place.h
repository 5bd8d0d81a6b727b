/* run/place.h: offsets in one block of memory for things that live for a while. */
#ifndef NB_RUN_PLACE_H
#define NB_RUN_PLACE_H

#include "graph/graph.h"

struct nb_placed {
    uint64_t bytes;      /* a multiple of NB_ALIGN (nb_place_round)              */
    uint64_t offset;     /* filled                                               */
    struct nb_life life; /* two that share a moment share no byte                */
    size_t tag;          /* the caller's; items of one size stay in their order  */
};

static inline uint64_t nb_place_round(uint64_t bytes)
{
    return (bytes + NB_ALIGN - 1) / NB_ALIGN * NB_ALIGN;
}

/* Largest first, each at the lowest offset where nothing that lives at the same time lies (greedy by size;
 * Pisarchyk and Lee 2020, arXiv 2001.03288). items (n): sorted and filled. *total: bytes of the block. */
NB_CHECKED enum nb_status nb_place(struct nb_placed *items, size_t n, uint64_t *total,
                                   const struct nb_allocator *a, struct nb_error *err);

#endif
