/* numfmt/element_learned.c: levels that come from the tensor.
 *
 * cb<b>: 2^b scalar levels, the weighted optimum of one dimension (math/kmeans.c: Wang and Song 2011),
 * for a tensor, a row or a group. vq<d>_k<n>: n vectors of d neighbours in a row (Linde, Buzo and Gray
 * 1980, math/vq.c), for a tensor; with the granularity c of rows divided by their root mean square.
 */
#include "numfmt/grid.h"

#define SCALARS(b, n)                                                                              \
    const struct nb_element nb_element_cb##b = {                                                   \
        .name = "cb" #b,                                                                           \
        .summary = #n " levels learned from the values",                                           \
        .bits = b,                                                                                 \
        .dim = 1,                                                                                  \
        .learned = true,                                                                           \
    };

SCALARS(2, 4)
SCALARS(3, 8)
SCALARS(4, 16)
SCALARS(5, 32)
SCALARS(6, 64)
SCALARS(8, 256)

#define VECTORS(d, n, b)                                                                           \
    const struct nb_element nb_element_vq##d##_k##n = {                                            \
        .name = "vq" #d "_k" #n,                                                                   \
        .summary = #n " vectors of " #d " values, learned",                                        \
        .bits = b,                                                                                 \
        .dim = d,                                                                                  \
        .learned = true,                                                                           \
    };

VECTORS(2, 16, 4)
VECTORS(2, 64, 6)
VECTORS(2, 256, 8)
VECTORS(3, 16, 4)
VECTORS(3, 64, 6)
VECTORS(3, 256, 8)
VECTORS(4, 16, 4)
VECTORS(4, 256, 8)
VECTORS(4, 4096, 12)
VECTORS(5, 1024, 10)
VECTORS(6, 4096, 12)
VECTORS(7, 4096, 12)
VECTORS(8, 256, 8)
VECTORS(8, 4096, 12)
