/* numfmt/iq_grid.h: the codebooks of ggml's IQ1, IQ2 and IQ3 formats, and the search for the best point.
 *
 * A point is a tuple of `dim` digits; its code is sum digit[j] * base^j and the index that files store
 * is its rank by code. The tables are made at build time by gen/iq_grids.c, which says where they come
 * from.
 */
#ifndef NB_NUMFMT_IQ_GRID_H
#define NB_NUMFMT_IQ_GRID_H

#include <stdint.h>

#define NB_IQ_MAX_HALF   81
#define NB_IQ_MAX_LEVELS 8
#define NB_IQ_MAX_DIM    8

struct nb_iq_grid {
    uint16_t n;            /* points: 256, 512, 1024 or 2048                                      */
    uint8_t dim, base;     /* 8 digits of base 3, or 4 of base 8                                  */
    uint8_t half;          /* base^(dim / 2): codes of half a tuple                               */
    const int8_t *value;   /* (n, dim)                                                            */
    const int16_t *index;  /* (half * half) code -> index, -1 off the grid                        */
    const uint8_t *low;    /* (n) code of the first half of the digits                            */
    const uint16_t *start; /* (half + 1) first point whose second half has this code or a greater */
    const uint8_t *digit;  /* (64) value - level[0] -> digit                                      */
    const int8_t *level;   /* (base) digit -> value                                               */
};

extern const struct nb_iq_grid nb_iq_grid_iq2_xxs, nb_iq_grid_iq2_xs, nb_iq_grid_iq2_s,
    nb_iq_grid_iq3_xxs, nb_iq_grid_iq3_s, nb_iq_grid_iq1;

/* Index of the point with these values (dim), -1 if there is none; every value must be a level. */
int32_t nb_iq_index(const struct nb_iq_grid *grid, const int8_t *value);

/* The point of least total cost, by exact search; of equals the one met first.
 * cost: (base, dim) what digit d of element j costs, finite. *best: its cost. */
int32_t nb_iq_nearest(const struct nb_iq_grid *grid, const float *cost, float *best);

/* The same where in addition one element, the cheapest, must pay flip[d][j] for its digit: the price of
 * giving it the other sign. flip: (base, dim). */
int32_t nb_iq_nearest_flip(const struct nb_iq_grid *grid, const float *cost, const float *flip,
                           float *best);

#endif
