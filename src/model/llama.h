/* model/llama.h: what the files of the llama family share inside this room. */
#ifndef NB_MODEL_LLAMA_H
#define NB_MODEL_LLAMA_H

#include "model/model.h"

/* One decoder step over a symbolic number of tokens (nb_arch.build). */
enum nb_status nb_llama_build(const struct nb_hparams *hp, struct nb_graph *g,
                              struct nb_error *err);

#endif
