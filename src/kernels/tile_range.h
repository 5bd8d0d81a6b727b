/* kernels/tile_range.h: how the codes of a packed tile let a kernel add them up. */
#ifndef NB_KERNELS_TILE_RANGE_H
#define NB_KERNELS_TILE_RANGE_H

#include "kernels/kernels.h"

enum tile_range {
    TILE_U4, /* 0..15 as they are: 32 products sum in 16 bits          */
    TILE_S4, /* -8..7, bias 8 makes them so                             */
    TILE_S6, /* -32..31, bias 32: 4 products sum in 16 bits             */
    TILE_S8, /* -128..127                                               */
};

static inline enum tile_range tile_range_of(const struct nb_tile *w)
{
    if (w->code_min >= 0 && w->code_max <= 15 && w->code_max > 0)
        return TILE_U4;
    if (w->code_min >= -8 && w->code_max <= 7 && w->code_min < w->code_max)
        return TILE_S4;
    if (w->code_min >= -32 && w->code_max <= 31 && w->code_min < w->code_max)
        return TILE_S6;
    return TILE_S8;
}

/* Added to the codes to make them unsigned; the sum is corrected by bias * xsum. */
static inline int tile_bias(enum tile_range range)
{
    return range == TILE_S4 ? 8 : range == TILE_S6 ? 32 : 0;
}

#endif
