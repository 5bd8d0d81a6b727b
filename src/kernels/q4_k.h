/* kernels/q4_k.h: the 6-bit scales and mins of a q4_K super-block: 8 of each in 12 bytes. */
#ifndef NB_KERNELS_Q4_K_H
#define NB_KERNELS_Q4_K_H

#include <stddef.h>
#include <stdint.h>

/* s: the 12 bytes; j: sub-block 0..7. */
static inline unsigned q4_k_scale(const uint8_t *s, size_t j)
{
    return j < 4 ? s[j] & 63U : (s[j + 4] & 15U) | ((unsigned)(s[j - 4] >> 6) << 4);
}

static inline unsigned q4_k_min(const uint8_t *s, size_t j)
{
    return j < 4 ? s[j + 4] & 63U : (unsigned)(s[j + 4] >> 4) | ((unsigned)(s[j] >> 6) << 4);
}

#endif
