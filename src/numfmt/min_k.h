/* numfmt/min_k.h: what q2_k, q4_k and q5_k share: see min_k.c. Internal to the room. */
#ifndef NB_NUMFMT_MIN_K_H
#define NB_NUMFMT_MIN_K_H

#include "numfmt/numfmt_internal.h"

enum { NB_MIN_K_BLOCK = 256, NB_MIN_K_SUB = 32, NB_MIN_K_SUBS = 8, NB_MIN_K_HEAD = 16 };

struct nb_min_k {
    uint32_t sub;      /* elements that share a scale and a minimum                    */
    float top;         /* the highest code                                             */
    int32_t scale_top; /* the highest integer scale and minimum                        */
};

/* The 16 bytes that begin a block of q4_k and q5_k: d f16; dmin f16; scales[12]. */
void nb_min_k_read(struct nb_grid *g, const uint8_t *p);
void nb_min_k_write(uint8_t *p, const struct nb_grid *g);

/* scale[s] and offset[s] from their integers. */
void nb_min_k_derive(struct nb_grid *g, uint32_t s);
int32_t nb_min_k_round(const struct nb_min_k *k, const struct nb_grid *g, uint32_t i, float x,
                       float *value);
void nb_min_k_refit(const struct nb_min_k *k, struct nb_grid *g, uint32_t s, const float *x,
                    const float *importance);

/* (256) values of the codes. */
void nb_min_k_values(const struct nb_min_k *k, const struct nb_grid *g, const int8_t *codes,
                     float *dst);

#endif
