/* container/container_internal.h: what the containers share. */
#ifndef NB_CONTAINER_CONTAINER_INTERNAL_H
#define NB_CONTAINER_CONTAINER_INTERNAL_H

#include "container/container.h"

/* True if the product of the dimensions stays below 2^63, zeros counted as ones: an empty tensor of
 * 2^62 rows is harmless to store, but not to whoever walks its rows. */
bool nb_container_shape_ok(const struct nb_shape *s);

#endif
