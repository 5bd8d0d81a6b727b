/* net/passes.h: what is done to a graph between the file and the session (docs/design/011-nets.md).
 *
 * A pass is a function for nb_rewrite_graph. They are listed in the order in which nb_net_derive runs them.
 */
#ifndef NB_NET_PASSES_H
#define NB_NET_PASSES_H

#include "net/rewrite.h"

nb_rewrite_fn nb_pass_affine; /* batch norms go into the layers before them */
nb_rewrite_fn nb_pass_fuse;   /* activations and sums go into the layers before them */

/* Layers between dequantizing and quantizing, in integers; it keeps notes of its own, see pass_integer.c. */
NB_CHECKED enum nb_status nb_pass_integer(struct nb_graph *to, const struct nb_graph *from,
                                          struct nb_error *err);
/* Channels last inside; its own walk over values, see pass_layout.c. */
NB_CHECKED enum nb_status nb_pass_layout(struct nb_graph *to, const struct nb_graph *from,
                                         struct nb_error *err);

#endif
