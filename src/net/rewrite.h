/* net/rewrite.h: a graph made from another, node by node: what passes stand on.
 *
 * A pass has one function, asked for every node of the graph in order. It may leave the node to be copied, or add
 * something else to the new graph and say which new value stands for each of the node's outputs. The old graph stays
 * as it is, and its constants are used where they lie.
 */
#ifndef NB_NET_REWRITE_H
#define NB_NET_REWRITE_H

#include "net/net.h"
#include "op/op.h"

struct nb_rewrite {
    const struct nb_graph *from;
    struct nb_graph *to;
    uint32_t *map;       /* (from->n_values) new value; 0: none yet                       */
    uint32_t *n_readers; /* (from->n_values) inputs of nodes, and leaving the graph is one */
    uint32_t *reader;    /* (from->n_values) node + 1 of the last one                     */
    uint32_t *instead;   /* (from->n_nodes) pass's: node + 1 that is done where this one was,
                            UINT32_MAX: nothing is                                        */
    void *pass;          /* the pass's own */
};

/* A node of the old graph. *done: it has been dealt with, the new values of its outputs are in r->map. */
typedef enum nb_status nb_rewrite_fn(struct nb_rewrite *r, uint32_t node, bool *done,
                                     struct nb_error *err);

/* to: initialized, empty. */
NB_CHECKED enum nb_status nb_rewrite_graph(struct nb_graph *to, const struct nb_graph *from,
                                           nb_rewrite_fn *fn, void *pass, struct nb_error *err);

/* ---- for passes ---- */

/* The new value of an old one: a constant or an input is taken over when it is first asked for. */
uint32_t nb_rewrite_value(struct nb_rewrite *r, uint32_t value);
/* A value of the old graph. */
static inline const struct nb_value *nb_rewrite_old(const struct nb_rewrite *r, uint32_t value)
{
    return &r->from->values[value];
}
/* The arguments that would copy a node, without inputs: attributes (attrs: NB_NODE_ATTRS, filled), block, name. */
void nb_rewrite_start(const struct nb_rewrite *r, const struct nb_node *n,
                      struct nb_node_args *args, struct nb_attr *attrs);
/* The same with its inputs. */
void nb_rewrite_args(struct nb_rewrite *r, uint32_t node, struct nb_node_args *args,
                     struct nb_attr *attrs);
/* Sets an attribute among those. */
void nb_rewrite_set_int(struct nb_node_args *args, struct nb_attr *attrs, const char *name,
                        int64_t value);
void nb_rewrite_set_real(struct nb_node_args *args, struct nb_attr *attrs, const char *name,
                         double value);
/* The only node that reads a value made by a node and not leaving the graph; UINT32_MAX: another number of them. */
uint32_t nb_rewrite_only_reader(const struct nb_rewrite *r, uint32_t value);
/* An attribute of a node; NULL: its operator has none of this name. */
const struct nb_attr *nb_node_attr(const struct nb_node *n, const char *name);
size_t nb_node_n_attrs(const struct nb_node *n);
bool nb_value_is_const(const struct nb_value *v, enum nb_value_type type);
/* A node outside of blocks, or what it folds to: its first output, 0 on failure (status). */
uint32_t nb_rewrite_add(struct nb_rewrite *r, const struct nb_node_args *args);
uint32_t nb_rewrite_reshape(struct nb_rewrite *r, uint32_t x, const int64_t *dims, size_t rank);
/* name: NULL, none. */
uint32_t nb_rewrite_transpose(struct nb_rewrite *r, uint32_t x, const int64_t *perm, size_t rank,
                              const char *name);
/* A constant of the new graph's arena: `data` is to be filled. 0: no memory (status). */
uint32_t nb_rewrite_const(struct nb_rewrite *r, const char *name, enum nb_value_type type,
                          const uint64_t *dims, uint32_t rank, void **data);

#endif
