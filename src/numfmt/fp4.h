/* numfmt/fp4.h: what mxfp4 and nvfp4 share: see fp4.c. Internal to the room. */
#ifndef NB_NUMFMT_FP4_H
#define NB_NUMFMT_FP4_H

#include "kernels/fp4.h"
#include "numfmt/numfmt_internal.h"

/* n codes (doubled E2M1 values) and the n / 2 bytes that hold them: element i in the low nibble of byte
 * i, element i + n / 2 in the high one. */
void nb_fp4_read(int8_t *codes, const uint8_t *qs, size_t n);
void nb_fp4_write(uint8_t *qs, const int8_t *codes, size_t n);

/* The nearest code of a value in units of the scale. */
int32_t nb_fp4_code(float t);

#endif
