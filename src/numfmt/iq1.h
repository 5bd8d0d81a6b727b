/* numfmt/iq1.h: what iq1_s and iq1_m share: see iq1.c. Internal to the room. */
#ifndef NB_NUMFMT_IQ1_H
#define NB_NUMFMT_IQ1_H

#include "numfmt/iq.h"

enum { NB_IQ1_BLOCK = 256, NB_IQ1_DIM = 8 };

/* sub: elements with one scale; run: elements with one shift, of which a sub-block has one or two. */
struct nb_iq1_shape {
    uint32_t sub, run;
};

/* The step of an eighth, as the decoder forms it: d (2 code + 1) / 8. */
static inline float nb_iq1_step(float d, int32_t scale_code)
{
    return d * (float)(2 * scale_code + 1) * 0.125F;
}

/* g: d and scale codes, and, where a sub-block is one run, its shift (1 or -1) in min_code. */
void nb_iq1_fit(struct nb_grid *g, const float *x, const float *importance,
                struct nb_iq1_shape shape);
void nb_iq1_refit(struct nb_grid *g, uint32_t s, const float *x, const float *importance,
                  struct nb_iq1_shape shape);

/* The nearest code word to x (8) for a step; shift 1 or -1, or 0: the better of both. w NULL: all ones. */
void nb_iq1_round(const float *x, const float *w, float step, int shift, int8_t *codes,
                  float *values);

/* 1 or -1: which one the code 8 g + shift has. */
int nb_iq1_shift(int8_t code);

/* codes (8) of either shift <-> index in the grid. */
uint32_t nb_iq1_index(const int8_t *codes);
void nb_iq1_codes(int8_t *codes, uint32_t index, int shift);

#endif
