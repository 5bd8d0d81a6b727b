/* kernels/nl.h: the sixteen values of ggml's non-linear 4-bit table (iq4_nl, iq4_xs), and the nearest of
 * them. A value halfway between two is given to the upper one. Thresholds are sums of two small
 * integers, halved: exact. */
#ifndef NB_KERNELS_NL_H
#define NB_KERNELS_NL_H

#include <stdint.h>

static const int8_t nb_nl_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};

/* Index of the nearest value. */
static inline unsigned nb_nl_nearest(float t)
{
    unsigned k = 0;
    for (unsigned i = 0; i < 15; i++)
        k += t >= 0.5F * (float)(nb_nl_values[i] + nb_nl_values[i + 1]);
    return k;
}

#endif
