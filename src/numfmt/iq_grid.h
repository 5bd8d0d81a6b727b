/* numfmt/iq_grid.h: the codebooks of ggml's IQ1, IQ2 and IQ3 formats, and a search for any costs.
 *
 * struct nb_iq_grid is in kernels.h; the index that files store is a point's rank by code. The tables are made at build time by gen/iq_grids.c, which says where they come
 * from.
 */
#ifndef NB_NUMFMT_IQ_GRID_H
#define NB_NUMFMT_IQ_GRID_H

#include "kernels/kernels.h"

#define NB_IQ_MAX_HALF   81
#define NB_IQ_MAX_LEVELS 8
#define NB_IQ_MAX_DIM    8

extern const struct nb_iq_grid nb_iq_grid_iq2_xxs, nb_iq_grid_iq2_xs, nb_iq_grid_iq2_s,
    nb_iq_grid_iq3_xxs, nb_iq_grid_iq3_s, nb_iq_grid_iq1;

/* Index of the point with these values (dim), -1 if there is none; every value must be a level. */
int32_t nb_iq_index(const struct nb_iq_grid *grid, const int8_t *value);

/* The point of least total cost, by exact search; of equals the one met first.
 * cost: (base, dim) what digit d of element j costs, finite. *best: its cost. */
int32_t nb_iq_nearest(const struct nb_iq_grid *grid, const float *cost, float *best);

#endif
