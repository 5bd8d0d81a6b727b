/* net/passes.h: what is done to a graph between the file and the session (docs/design/011-nets.md).
 *
 * `to` is initialized and empty; `from` stays as it is. They are listed in the order in which nb_net_derive runs them.
 */
#ifndef NB_NET_PASSES_H
#define NB_NET_PASSES_H

#include "net/rewrite.h"

typedef enum nb_status nb_pass_fn(struct nb_graph *to, const struct nb_graph *from,
                                  struct nb_error *err);

nb_pass_fn nb_pass_integer; /* layers between dequantizing and quantizing, in integers */
nb_pass_fn nb_pass_affine;  /* batch norms go into the layers before them              */
nb_pass_fn nb_pass_fuse;    /* activations and sums go into the layers before them     */
nb_pass_fn nb_pass_layout;  /* channels last inside                                    */

#endif
