/* numfmt/sym_k.h: what q3_k and q6_k share: see sym_k.c. Internal to the room. */
#ifndef NB_NUMFMT_SYM_K_H
#define NB_NUMFMT_SYM_K_H

#include "numfmt/numfmt_internal.h"

enum { NB_SYM_K_BLOCK = 256, NB_SYM_K_SUB = 16, NB_SYM_K_SUBS = 16 };

struct nb_sym_k {
    float lo, hi;      /* codes                                                       */
    int32_t top_scale; /* integer scales: -top_scale - 1 .. top_scale                 */
};

int32_t nb_sym_k_round(const struct nb_sym_k *k, const struct nb_grid *g, uint32_t i, float x,
                       float *value);
void nb_sym_k_refit(const struct nb_sym_k *k, struct nb_grid *g, uint32_t s, const float *x,
                    const float *importance);

/* (256) values of the codes. */
void nb_sym_k_values(const struct nb_grid *g, const int8_t *codes, float *dst);

#endif
