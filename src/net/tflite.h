/* net/tflite.h: a TFLite net as an ONNX model in memory, which import.c then imports. */
#ifndef NB_NET_TFLITE_H
#define NB_NET_TFLITE_H

#include "container/onnx.h"
#include "container/tflite.h"

/* Owns: the file, and all that the model is made of. */
struct nb_net_tflite;

/* NB_ERR_UNSUPPORTED names the operator, tensor or option that has no counterpart here. */
NB_CHECKED enum nb_status nb_net_tflite_open(struct nb_net_tflite **out, const char *path,
                                             const struct nb_allocator *a, struct nb_error *err);
const struct nb_onnx_model *nb_net_tflite_model(const struct nb_net_tflite *t);
void nb_net_tflite_close(struct nb_net_tflite *t);

/* Is this builtin operator translated? */
bool nb_net_tflite_knows(int32_t code);

#endif
