/* ptq/edit.h: an ONNX model that is being changed: nodes and initializers in lists that grow, names that are
 * unique. The file's own structs, names and weights are used where they lie.
 */
#ifndef NB_PTQ_EDIT_H
#define NB_PTQ_EDIT_H

#include "container/onnx.h"

/* Owns: arena, lists. Borrows: the model it was made from. */
struct nb_edit {
    const struct nb_allocator *a;
    struct nb_arena arena;
    struct nb_onnx_model model; /* of everything but the two lists below */
    struct nb_onnx_node *nodes; /* op_type NULL: dropped */
    struct nb_onnx_tensor *tensors;
    size_t n_nodes, cap_nodes, n_tensors, cap_tensors;
    struct nb_map tensor_of; /* name -> index of an initializer */
    struct nb_map names;     /* all names of values, nodes and initializers */
};

NB_CHECKED enum nb_status nb_edit_init(struct nb_edit *e, const struct nb_onnx_model *m,
                                       const struct nb_allocator *a, struct nb_error *err);
void nb_edit_fini(struct nb_edit *e);
/* The model as it is now; later changes do not reach it. */
NB_CHECKED enum nb_status nb_edit_model(struct nb_edit *e, struct nb_onnx_model *out,
                                        struct nb_error *err);

/* "<base><suffix>", with a number behind it where that is taken. NULL: no memory. Taken from now on. */
const char *nb_edit_name(struct nb_edit *e, const char *base, const char *suffix);
const struct nb_onnx_tensor *nb_edit_tensor(const struct nb_edit *e, const char *name); /* NULL */
NB_CHECKED enum nb_status nb_edit_add_tensor(struct nb_edit *e, const struct nb_onnx_tensor *t,
                                             struct nb_error *err);
/* The same of elements as they are stored; name NULL: there was no memory for it. dims, data: of the arena. */
NB_CHECKED enum nb_status nb_edit_put(struct nb_edit *e, const char *name, int32_t type,
                                      const int64_t *dims, size_t rank, const void *data,
                                      struct nb_error *err);
/* Adds a node before which nothing changes places: nb_edit_model sorts them. inputs, outputs: of the arena. */
NB_CHECKED enum nb_status nb_edit_add_node(struct nb_edit *e, const struct nb_onnx_node *n,
                                           struct nb_error *err);
/* The same of lists that are the caller's, named after its first output; a NULL among its names: there was no memory for
 * it. */
NB_CHECKED enum nb_status nb_edit_put_node(struct nb_edit *e, const struct nb_onnx_node *n,
                                           const char *suffix, struct nb_error *err);
/* Puts another name in input i of a node, or output i. */
NB_CHECKED enum nb_status nb_edit_set_input(struct nb_edit *e, size_t node, size_t i,
                                            const char *name, struct nb_error *err);
NB_CHECKED enum nb_status nb_edit_set_output(struct nb_edit *e, size_t node, size_t i,
                                             const char *name, struct nb_error *err);
/* Every reader of one name (nodes, not graph outputs) reads another. */
NB_CHECKED enum nb_status nb_edit_rename_reads(struct nb_edit *e, const char *from, const char *to,
                                               struct nb_error *err);
/* An operator set of a domain, if the model has none of it. */
NB_CHECKED enum nb_status nb_edit_import_domain(struct nb_edit *e, const char *domain,
                                                int64_t version, struct nb_error *err);
void nb_edit_drop(struct nb_edit *e, size_t node);

/* ---- asking ---- */
size_t nb_edit_producer(const struct nb_edit *e, const char *name); /* node; SIZE_MAX: none */
/* Nodes that read a name, and 1 more if it leaves the graph; *reader: the last of them. */
size_t nb_edit_readers(const struct nb_edit *e, const char *name, size_t *reader);
bool nb_edit_read_inside(const struct nb_edit *e, const char *name); /* by a graph in a node (If) */
uint64_t nb_edit_bytes(const struct nb_edit *e); /* of initializers that something reads */
bool nb_edit_is_output(const struct nb_edit *e, const char *name);

#endif
