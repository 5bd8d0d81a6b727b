/* numfmt/nibbles.h: the 32 codes of a legacy ggml block: 16 bytes of nibbles, element i in the low
 * (i < 16) or high one of qs[i % 16], and in the 5-bit formats a word qh with the fifth bit of
 * element i at bit i. Internal to the room. */
#ifndef NB_NUMFMT_NIBBLES_H
#define NB_NUMFMT_NIBBLES_H

#include "numfmt/numfmt_internal.h"

/* bias: what is stored for code 0. */
static inline void nb_nibbles_read(int8_t *codes, const uint8_t *qs, uint32_t qh, int bias)
{
    for (size_t i = 0; i < 16; i++) {
        codes[i] = (int8_t)((int)((qs[i] & 15U) | (qh >> i & 1U) << 4) - bias);
        codes[i + 16] = (int8_t)((int)((qs[i] >> 4) | (qh >> (i + 16) & 1U) << 4) - bias);
    }
}

/* Returns qh. */
static inline uint32_t nb_nibbles_write(uint8_t *qs, const int8_t *codes, int bias)
{
    uint32_t qh = 0;
    for (size_t i = 0; i < 16; i++) {
        const unsigned lo = (unsigned)(codes[i] + bias);
        const unsigned hi = (unsigned)(codes[i + 16] + bias);
        qs[i] = (uint8_t)((lo & 15U) | (hi & 15U) << 4);
        qh |= (lo >> 4) << i | (hi >> 4) << (i + 16);
    }
    return qh;
}

#endif
