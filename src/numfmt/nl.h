/* numfmt/nl.h: what iq4_nl and iq4_xs share: see nl.c. Internal to the room. */
#ifndef NB_NUMFMT_NL_H
#define NB_NUMFMT_NL_H

#include "kernels/nl.h"
#include "numfmt/numfmt_internal.h"

enum { NB_NL_SUB = 32, NB_NL_MIN = -127, NB_NL_MAX = 113 };

/* 32 codes (values of the table) and the 16 bytes that hold them. */
void nb_nl_read(int8_t *codes, const uint8_t *qs);
void nb_nl_write(uint8_t *qs, const int8_t *codes);

int32_t nb_nl_round(float scale, float x, float *value);

/* Integer scale in lo..hi for 32 values under a frozen d. */
int32_t nb_nl_refit(float d, int32_t lo, int32_t hi, const float *x, const float *importance);

#endif
