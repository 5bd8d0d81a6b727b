/* api/inspect_net.h: what the dialects of nets share to describe a file. */
#ifndef NB_API_INSPECT_NET_H
#define NB_API_INSPECT_NET_H

#include "api/api.h"
#include "container/onnx.h"
#include "container/tflite.h"

#define NB_NET_TYPES 32 /* numbers of element types of any dialect are below */

/* Owns: everything the public struct points to. */
struct nb_net_owner {
    struct nb_allocator a;
    struct nb_arena arena;
    struct nb_onnx *net;
    struct nb_tflite *tflite;
    struct nb_map ops, files; /* -> index below */
    struct nb_map weights;    /* names of initializers */
    struct nb_net_count *op;
    struct nb_net_file *file;
    struct nb_net_value *tensor;
    size_t op_cap, file_cap, tensor_cap;
    struct nb_net_type type[NB_NET_TYPES]; /* by the dialect's number */
};

/* One more node of this operator; the name must live as long as the owner. known: nibble has it. */
NB_CHECKED enum nb_status nb_net_count_op(struct nb_net_owner *o, struct nb_net_info *info,
                                          const char *name, bool known, struct nb_error *err);
/* A constant of n elements. */
NB_CHECKED enum nb_status nb_net_count_tensor(struct nb_net_owner *o, struct nb_net_info *info,
                                              size_t type, const struct nb_net_value *v, uint64_t n,
                                              struct nb_error *err);

/* inspect_tflite.c */
NB_CHECKED enum nb_status nb_net_fill_tflite(struct nb_net_owner *o, struct nb_net_info *info,
                                             const char *path, struct nb_error *err);

#endif
