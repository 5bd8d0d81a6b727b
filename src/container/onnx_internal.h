/* container/onnx_internal.h: what the files of the ONNX reader share, and the only way to the generated
 * header. */
#ifndef NB_CONTAINER_ONNX_INTERNAL_H
#define NB_CONTAINER_ONNX_INTERNAL_H

#include "container/onnx.h"

#include <onnx.pb-c.h>

#define NB_ONNX_QUOTE_BYTES 80
/* Messages inside messages: three for each nested graph, and what lies in the innermost. */
#define NB_ONNX_MAX_DEPTH (3 * NB_ONNX_MAX_NESTING + 8)
/* What stands for the bytes of raw_data in the message that protobuf-c sees: where they are in the file. */
#define NB_ONNX_RAW_BYTES 16

/* Owns: everything but `bytes` of a model in memory. */
struct nb_onnx {
    const struct nb_allocator *a;
    struct nb_arena arena;
    struct nb_onnx_model model;
    struct nb_mapping map; /* the file */
    bool in_memory;        /* map is borrowed */
    const char *folder;    /* of external data; NULL: none */
    unsigned flags;
    unsigned nesting;       /* of the graph that is being read */
    bool no_memory;         /* protobuf-c was refused some: it has no word for it */
    struct nb_mapping *ext; /* external files, each mapped once */
    size_t n_ext, ext_cap;
    struct nb_map ext_names; /* location -> index */
};

/* ---- onnx_wire.c ---- */
/* Checks the wire format of a whole model and copies it to out without the bytes of raw_data. */
NB_CHECKED enum nb_status nb_onnx_strip(struct nb_str *out, const uint8_t *data, uint64_t n,
                                        struct nb_error *err);

/* ---- onnx_tensor.c ---- */
NB_CHECKED enum nb_status nb_onnx_read_tensor(struct nb_onnx *o, struct nb_onnx_tensor *t,
                                              const Nb__Onnx__Tensor *pb, struct nb_error *err);

/* ---- onnx.c ---- */
NB_CHECKED enum nb_status nb_onnx_read_extras(struct nb_onnx *o, struct nb_onnx_extras *x,
                                              const ProtobufCMessage *pb, struct nb_error *err);
NB_CHECKED enum nb_status nb_onnx_read_meta(struct nb_onnx *o, struct nb_onnx_meta *m, size_t n,
                                            Nb__Onnx__Entry *const *pb, struct nb_error *err);
/* "(n, size)" zeroed items from the arena; NULL is out of memory only if n > 0. */
NB_CHECKED enum nb_status nb_onnx_array(struct nb_onnx *o, void *items /* T ** */, size_t n,
                                        size_t size, struct nb_error *err);

#endif
