/* op/op.h: the operators, one file each; graph/graph.h says what an operator is. */
#ifndef NB_OP_OP_H
#define NB_OP_OP_H

#include "graph/graph.h"

const struct nb_op *const *nb_op_all(size_t *n);
const struct nb_op *nb_op_find(const char *name); /* NULL: none */

#endif
